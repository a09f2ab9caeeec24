//! What xtask says to the person at the terminal. Nothing else in xtask prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the one place of a command-line tool that writes to the terminal"
)]

/// A plain line.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// The start of a step: its name and what it proves.
pub(crate) fn heading(name: &str, proves: &str) {
    println!("\n── {name}: {proves}");
}

/// A failure, on standard error.
pub(crate) fn complain(message: &str) {
    eprintln!("\nxtask: {message}");
}
