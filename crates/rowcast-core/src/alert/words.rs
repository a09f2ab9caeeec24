//! What notices say happened. Counts and codes only, never a value of a row.

use std::time::Duration;

use super::{Cause, Deviation, Ended, percent};
use crate::report::RunStatus;

/// `run 12`, or what there is when it did not begin.
fn subject(run: &Ended) -> String {
    run.run
        .map_or_else(|| "a run".to_owned(), |run| format!("run {run}"))
}

fn cause(run: &Ended, text: String) -> Cause {
    Cause {
        text,
        code: run.code.clone(),
        run: run.run,
        counts: run.counts,
    }
}

/// ` with E0601: the destination can't be reached`.
fn reason(run: &Ended) -> String {
    match (&run.code, &run.message) {
        (Some(code), Some(message)) => format!(" with {code}: {message}"),
        (Some(code), None) => format!(" with {code}"),
        (None, Some(message)) => format!(": {message}"),
        (None, None) => String::new(),
    }
}

pub(super) fn failed(run: &Ended) -> Cause {
    let what = if run.run.is_some() {
        "failed"
    } else {
        "could not begin"
    };
    cause(run, format!("{} {what}{}", subject(run), reason(run)))
}

pub(super) fn held(run: &Ended) -> Cause {
    let text = format!(
        "{} was held before its first request{}",
        subject(run),
        reason(run)
    );
    cause(run, text)
}

pub(super) fn went_well(run: &Ended) -> Cause {
    let text = match (run.status, run.counts) {
        (RunStatus::Partial, Some(counts)) => format!(
            "{} delivered {}; {} rejected or invalid",
            subject(run),
            records(counts.delivered),
            counts.rejected + counts.invalid
        ),
        _ => format!("{} succeeded", subject(run)),
    };
    Cause {
        code: None,
        ..cause(run, text)
    }
}

pub(super) fn rejected(run: &Ended, bad: u64, tried: u64, most: f64) -> Cause {
    let text = format!(
        "{} had {bad} of {} rejected or invalid: {}, over {}",
        subject(run),
        records(tried),
        share(percent(bad, tried)),
        share(most)
    );
    cause(run, text)
}

pub(super) fn few_rejected(run: &Ended, bad: u64, tried: u64) -> Cause {
    let text = format!(
        "{} had {bad} of {} rejected or invalid",
        subject(run),
        records(tried)
    );
    cause(run, text)
}

pub(super) fn running(us: i64, most: Duration) -> Cause {
    Cause {
        text: format!(
            "a run has been going on for {}, longer than {}",
            span(us),
            span(super::micros(most))
        ),
        ..Cause::default()
    }
}

pub(super) fn took(run: &Ended, us: i64, most: Duration) -> Cause {
    let text = format!(
        "{} took {}, longer than {}",
        subject(run),
        span(us),
        span(super::micros(most))
    );
    cause(run, text)
}

pub(super) fn in_time(run: &Ended, us: i64) -> Cause {
    cause(run, format!("{} took {}", subject(run), span(us)))
}

pub(super) fn deviates(
    run: &Ended,
    deviation: &Deviation,
    value: u64,
    mean: f64,
    runs: usize,
) -> Cause {
    let runs = runs.min(usize::try_from(deviation.runs).unwrap_or(usize::MAX));
    let off = deviation.off(value, mean);
    let far = if off.is_finite() {
        format!(
            "{} off, with {} permitted",
            share(off),
            share(deviation.percent)
        )
    } else {
        "where there were none before".to_owned()
    };
    let text = format!(
        "{}: {value} rows {}, on average {mean:.1} in the last {runs} successful runs; {far}",
        subject(run),
        deviation.of.as_str(),
    );
    cause(run, text)
}

pub(super) fn full(run: &Ended, why: &str) -> Cause {
    cause(run, format!("{} was a full sync: {why}", subject(run)))
}

pub(super) fn late(ago_us: i64, most: Duration, succeeded_before: bool) -> Cause {
    let since = if succeeded_before {
        "no run has succeeded"
    } else {
        "no run has succeeded since it is watched,"
    };
    Cause {
        text: format!(
            "{since} for {}; one is expected every {}",
            span(ago_us),
            span(super::micros(most))
        ),
        ..Cause::default()
    }
}

pub(super) fn succeeded_lately(ago_us: i64) -> Cause {
    Cause {
        text: format!("a run succeeded {} ago", span(ago_us)),
        ..Cause::default()
    }
}

pub(super) fn not_watched() -> Cause {
    Cause {
        text: "it is not watched any more".to_owned(),
        ..Cause::default()
    }
}

fn records(count: u64) -> String {
    if count == 1 {
        "1 record".to_owned()
    } else {
        format!("{count} records")
    }
}

fn share(percent: f64) -> String {
    let text = format!("{percent:.1}");
    format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
}

/// `2h 5m`: the two largest parts of a span.
fn span(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..]
        .iter()
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() {
        "0s".to_owned()
    } else {
        shown.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_parts_at_most() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (7_500, "2h 5m"),
            (86_400, "1d"),
            (90_061, "1d 1h"),
            (3_601, "1h"),
        ] {
            assert_eq!(span(seconds * 1_000_000), text);
        }
        assert_eq!(share(5.0), "5%");
        assert_eq!(share(12.34), "12.3%");
    }
}
