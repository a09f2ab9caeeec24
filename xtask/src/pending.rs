//! What is known to be missing while the first version is being put together.
//!
//! Every check is strict; this list is the only way around one. It is temporary: it may only
//! shrink, `cargo xtask tidy` counts it out loud, and an entry that is no longer needed is named.

/// (check, how the problem's text starts): a problem that starts so is reported, not failed.
pub(crate) const PENDING: &[(&str, &str)] = &[];

/// Whether a problem is on the list.
pub(crate) fn is_pending(check: &str, problem: &str) -> bool {
    PENDING
        .iter()
        .any(|(of, start)| *of == check && problem.starts_with(start))
}
