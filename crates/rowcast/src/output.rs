//! What people and programs see: data on stdout, everything else on stderr.
//!
//! The only module that writes to the terminal. Output must be understandable without colour; a
//! reader that goes away (`| head`) is no error.

pub(crate) mod number;
pub(crate) mod plan;
pub(crate) mod problem;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod table;
mod tame;

use std::io::{IsTerminal, Write};

use serde::Serialize;

use self::tame::{tame, tame_json};

/// Longest command that has its purpose beside it.
const STEP_MAX: usize = 64;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// What a piece of text is, so that one table decides how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Good,
    Warning,
    Bad,
    Muted,
    Strong,
}

/// The status marks of command line, console and docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Healthy,
    Warning,
    Failing,
    Paused,
    New,
    Passed,
    Failed,
    Skipped,
}

impl Mark {
    fn role(self) -> Role {
        match self {
            Self::Healthy | Self::Passed => Role::Good,
            Self::Warning => Role::Warning,
            Self::Failing | Self::Failed => Role::Bad,
            Self::Paused | Self::New | Self::Skipped => Role::Muted,
        }
    }

    fn symbol(self, unicode: bool) -> &'static str {
        match (self, unicode) {
            (Self::Healthy, true) => "●",
            (Self::Warning, true) => "▲",
            (Self::Failing, true) => "■",
            (Self::Paused, true) => "❙❙",
            (Self::New, true) => "○",
            (Self::Passed, true) => "✓",
            (Self::Failed, true) => "✗",
            (Self::Skipped, true) => "–",
            (Self::Healthy | Self::Passed, false) => "+",
            (Self::Warning, false) => "!",
            (Self::Failing | Self::Failed, false) => "x",
            (Self::Paused, false) => "||",
            (Self::New, false) => "o",
            (Self::Skipped, false) => "-",
        }
    }
}

/// How one stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) colour: bool,
    pub(crate) unicode: bool,
    /// A person watches: lines may be redrawn.
    pub(crate) terminal: bool,
}

impl Style {
    /// Without colour, with the marks of every modern terminal: what tests read.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self {
        colour: false,
        unicode: true,
        terminal: false,
    };

    /// Text in its role.
    pub(crate) fn paint(self, role: Role, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let sgr = match role {
            Role::Good => "32",
            Role::Warning => "33",
            Role::Bad => "1;31",
            Role::Muted => "2",
            Role::Strong => "1",
        };
        format!("\u{1b}[{sgr}m{text}\u{1b}[0m")
    }

    /// A status mark in its colour.
    pub(crate) fn mark(self, mark: Mark) -> String {
        self.paint(mark.role(), mark.symbol(self.unicode))
    }

    /// A status mark without colour, for cells whose width is measured.
    pub(crate) fn plain_mark(self, mark: Mark) -> &'static str {
        mark.symbol(self.unicode)
    }
}

/// How commands are typed here: `rowcast` when the shell finds it, else where this program is, so
/// that what is printed works when it is pasted.
fn program() -> String {
    let known = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("rowcast").is_file())
    });
    let here = std::env::current_exe().ok().filter(|_| !known);
    here.map_or_else(|| "rowcast".to_owned(), |path| path.display().to_string())
}

/// Commands to type, each with what it is for.
pub(crate) fn steps<'a>(commands: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let program = program();
    let commands: Vec<(String, &str)> = commands
        .map(|(command, why)| (command.replace("rowcast ", &format!("{program} ")), why))
        .collect();
    let width = commands
        .iter()
        .map(|(command, _)| command.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for (command, why) in &commands {
        if width > STEP_MAX {
            out.push_str(&format!("  # {why}\n  {command}\n"));
        } else {
            out.push_str(&format!("  {command:<width$}   {why}\n"));
        }
    }
    out
}

/// Both streams, and whether the answer is JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) stdout: Style,
    pub(crate) stderr: Style,
}

impl Output {
    /// Decides by the flags, `NO_COLOR`, the locale and whether a terminal listens.
    pub(crate) fn new(json: bool, choice: ColorChoice) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(std::env::var_os)
            .find(|value| !value.is_empty())
            .map(|value| value.to_string_lossy().to_ascii_lowercase())
            .unwrap_or_default();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let style = |terminal: bool| Style {
            colour: match choice {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => terminal && !dumb && !set("NO_COLOR"),
            },
            unicode,
            terminal: terminal && !dumb,
        };
        Self {
            json,
            stdout: style(std::io::stdout().is_terminal()),
            stderr: style(std::io::stderr().is_terminal()),
        }
    }

    /// Data for people: a text that ends without a newline. `false`: nobody reads any more.
    pub(crate) fn data(self, text: &str) -> bool {
        let text = tame(text, self.stdout.colour);
        write(std::io::stdout().lock(), text.trim_end_matches('\n'))
    }

    /// Data for programs: a JSON text, written so that it is harmless on a terminal too.
    #[expect(
        clippy::unused_self,
        reason = "whoever writes must have been given the output"
    )]
    pub(crate) fn json(self, text: &str) -> bool {
        write(std::io::stdout().lock(), &tame_json(text))
    }

    /// Data for programs: one JSON document.
    pub(crate) fn document(self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => {
                self.json(&text);
            }
            Err(error) => self.say(&format!(
                "error: the answer can't be written as JSON: {error}"
            )),
        }
    }

    /// The answer, as JSON or as text, whichever was asked for.
    pub(crate) fn answer(self, value: &impl Serialize, text: impl FnOnce(Style) -> String) {
        if self.json {
            self.document(value);
        } else {
            self.data(&text(self.stdout));
        }
    }

    /// One of several answers, as text; with `--json` one document with all of them follows.
    pub(crate) fn answer_in_turn<T>(self, value: &T, text: impl FnOnce(&T, Style) -> String) {
        if !self.json {
            self.data(&text(value, self.stdout));
        }
    }

    /// Anything that is not data.
    pub(crate) fn say(self, text: &str) {
        let text = tame(text, self.stderr.colour);
        write(std::io::stderr().lock(), text.trim_end_matches('\n'));
    }

    /// Words for people, where no program listens.
    pub(crate) fn say_unless_json(self, text: &str) {
        if !self.json {
            self.say(text);
        }
    }

    /// Something a person should know that is not an error. Programs that asked for JSON find it
    /// in the document.
    pub(crate) fn note(self, text: &str) {
        self.say_unless_json(&format!(
            "{} {text}",
            self.stderr.paint(Role::Muted, "note:")
        ));
    }
}

/// Whether it could be written: a reader that goes away is no error, but nobody is left to tell.
fn write(mut stream: impl Write, text: &str) -> bool {
    stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.write_all(b"\n"))
        .and_then(|()| stream.flush())
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_an_ascii_form_of_their_own_and_colour_is_optional() {
        let ascii = Style {
            unicode: false,
            ..Style::PLAIN
        };
        assert_eq!(Style::PLAIN.mark(Mark::Warning), "▲");
        assert_eq!(ascii.mark(Mark::Warning), "!");
        let coloured = Style {
            colour: true,
            ..Style::PLAIN
        };
        assert_eq!(coloured.mark(Mark::Warning), "\u{1b}[33m▲\u{1b}[0m");
    }
}
