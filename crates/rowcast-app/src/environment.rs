//! The process environment: the only place where Rowcast reads variables that may hold secrets.

/// A variable, if it is set and is text.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that hands variables to configuration"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
