//! Lets a crash test end this process at a named place: `ROWCAST_KILL_AT=name:nth`. Debug builds
//! only; a release build does not know the variable.

/// Arms the point named by the environment, if any.
#[cfg_attr(
    debug_assertions,
    expect(
        clippy::disallowed_methods,
        reason = "a switch of the crash tests, not configuration"
    )
)]
pub(crate) fn arm() {
    #[cfg(debug_assertions)]
    if let Ok(place) = std::env::var("ROWCAST_KILL_AT") {
        let (name, nth) = place.rsplit_once(':').unwrap_or((&place, "1"));
        rowcast_core::killpoint::arm(name.to_owned(), nth.parse().unwrap_or(1), die);
    }
}

/// As abrupt as a power cut: no destructor, no flush.
#[cfg(debug_assertions)]
fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal is delivered before the call returns; this is for the compiler and for nobody.
    std::process::abort();
}
