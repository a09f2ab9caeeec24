//! Named places between two steps of a run at which a test ends the process.
//!
//! A crash must be survivable anywhere; the crash tests make one happen at every place named here
//! and judge by what the receiver saw. In release builds `reach` is empty. It must never do
//! anything unless a test armed it.

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(super) struct Plan {
        pub(super) name: String,
        pub(super) left: AtomicU32,
        pub(super) action: fn(),
    }

    pub(super) static PLAN: OnceLock<Plan> = OnceLock::new();

    pub(super) fn reach(name: &str) {
        if let Some(plan) = PLAN.get()
            && plan.name == name
            && plan.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            (plan.action)();
        }
    }
}

/// Arms the point `name`: `action` runs at its `nth` passage (from 1). Does nothing in release builds.
pub fn arm(name: String, nth: u32, action: fn()) {
    #[cfg(debug_assertions)]
    let _ = armed::PLAN.set(armed::Plan {
        name,
        left: nth.into(),
        action,
    });
    #[cfg(not(debug_assertions))]
    let _ = (name, nth, action);
}

/// Passes a named point.
#[inline]
pub fn reach(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::reach(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// All points, about in the order a run passes them: the engine's, and, by their first words, those
/// of the ledger in PostgreSQL and of the PostgreSQL destination. The crash tests walk this list.
pub const POINTS: &[&str] = &[
    "ledger-leased",
    "run-opened",
    "postgres-destination-opened",
    "ledger-recovery-written",
    "ledger-recovered",
    "run-recovered",
    "ledger-plan-stored",
    "ledger-snapshot",
    "ledger-spooled",
    "run-diffed",
    "run-guarded",
    "window-before-intent",
    "ledger-step-written",
    "ledger-mark-written",
    "ledger-step-committed",
    "ledger-mark-committed",
    "ledger-ahead-before",
    "ledger-ahead-written",
    "ledger-ahead-folded",
    "window-intent-committed",
    "request-before",
    "postgres-destination-written",
    "postgres-destination-committed",
    "request-answered",
    "retry-before",
    "split-before",
    "acknowledge-before",
    "acknowledge-committed",
    "skips-acknowledged",
    "deletes-done",
    "run-before-publish",
    "run-before-finish",
    "ledger-fold-before",
    "ledger-fold-loaded",
    "ledger-fold-written",
    "ledger-folded",
    "ledger-recent-before",
    "ledger-recent-written",
    "ledger-recent-folded",
    "ledger-finish-written",
    "ledger-finished",
    "run-finished",
];
