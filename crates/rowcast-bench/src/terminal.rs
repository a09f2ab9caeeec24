//! What the benchmark says to the person at the terminal. Nothing else here prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the one place of a command-line tool that writes to the terminal"
)]

use std::io::IsTerminal as _;

/// A plain line.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// The start of a step.
pub(crate) fn heading(line: &str) {
    println!("\n── {line}");
}

/// Something that went wrong, on standard error.
pub(crate) fn complain(line: &str) {
    eprintln!("{line}");
}

/// A word in red (a missed bar) or green, where standard output is a terminal.
pub(crate) fn judged(word: &str, good: bool) -> String {
    if std::io::stdout().is_terminal() {
        let colour = if good { 32 } else { 31 };
        format!("\u{1b}[{colour}m{word}\u{1b}[0m")
    } else {
        word.to_owned()
    }
}
