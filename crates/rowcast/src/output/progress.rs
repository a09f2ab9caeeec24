//! What is seen while a run goes on: a bar with rows/s and time left on a terminal, a plain line
//! now and then otherwise.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use rowcast_app::{Progress as Now, Retrying};

use super::number::{counted, duration, grouped};
use super::{Output, Style};

/// At most one plain line in so long.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The progress of one sync.
pub(crate) struct Progress {
    output: Output,
    sync: String,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    /// Begins with the phase whose length nobody knows: reading and comparing.
    pub(crate) fn start(output: Output, sync: &str) -> Self {
        let style = output.stderr;
        let bar = (style.terminal && !output.json).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(spinner(style));
            bar.set_message(format!("{sync}: reading and comparing"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            output,
            sync: sync.to_owned(),
            bar,
            last_line: Instant::now(),
        }
    }

    /// The changes are known: delivering begins.
    pub(crate) fn total(&mut self, changes: u64) {
        self.last_line = Instant::now();
        if let Some(bar) = &self.bar {
            bar.disable_steady_tick();
            bar.set_length(changes);
            bar.set_style(bars(self.output.stderr));
            bar.set_message(self.sync.clone());
        } else if changes > 0 {
            self.output.say_unless_json(&format!(
                "{}: {} to deliver",
                self.sync,
                counted(changes, "change")
            ));
        }
    }

    /// Delivery moved on.
    pub(crate) fn settled(&mut self, now: &Now) {
        if let Some(bar) = &self.bar {
            bar.set_length(now.total);
            bar.set_position(now.done);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let left = match eta(now) {
                Some(seconds) => format!(", {} left", duration(seconds * 1_000)),
                None => String::new(),
            };
            self.output.say_unless_json(&format!(
                "{}: {} of {}, {} rows/s{left}",
                self.sync,
                grouped(now.done),
                grouped(now.total),
                grouped(now.rate as u64)
            ));
        }
    }

    /// A batch failed and waits for its next attempt.
    pub(crate) fn retrying(&self, retrying: &Retrying) {
        let line = format!(
            "{}: retrying {}, attempt {}, next in {}: {}",
            self.sync,
            counted(retrying.records as u64, "record"),
            retrying.attempts + 1,
            duration(retrying.wait.as_millis() as u64),
            retrying.reason
        );
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.say_unless_json(&line)),
            None => self.output.say_unless_json(&line),
        }
    }

    /// Takes the bar away; the report follows.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// Seconds left at the present rate.
fn eta(now: &Now) -> Option<u64> {
    (now.rate >= 1.0).then(|| (now.total.saturating_sub(now.done) as f64 / now.rate) as u64)
}

fn spinner(style: Style) -> ProgressStyle {
    let ticks: &[&str] = if style.unicode {
        &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "]
    } else {
        &["-", "\\", "|", "/", " "]
    };
    template("{spinner} {msg} {elapsed:.dim}").tick_strings(ticks)
}

fn bars(style: Style) -> ProgressStyle {
    let chars = if style.unicode {
        "█▉▊▋▌▍▎▏ "
    } else {
        "#>-"
    };
    template("{msg} {bar:28} {human_pos}/{human_len}  {per_sec}  {eta} left")
        .with_key(
            "per_sec",
            |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{} rows/s", grouped(state.per_sec() as u64));
            },
        )
        .progress_chars(chars)
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar())
}
