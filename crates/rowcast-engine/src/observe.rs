//! What a run tells while it runs: for progress bars, logs and `--json` lines.
//!
//! An observer sees; it can't change the run and must not block.

use std::time::Duration;

use rowcast_core::Reason;
use rowcast_core::ledger::DiffCounts;
use rowcast_core::settle::Settled;

/// The steps of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Taking the lease, opening the destination, settling what an earlier run left.
    Open,
    /// Reading the model and comparing it with the state.
    Diff,
    /// Judging the change set before the first request.
    Guard,
    /// Mapping, batching, delivering, acknowledging.
    Deliver,
    /// Making accepted records durable at the destination.
    Publish,
    /// Writing the report.
    Finish,
}

impl Phase {
    /// The word used in the report and in progress lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Diff => "diff",
            Self::Guard => "guard",
            Self::Deliver => "deliver",
            Self::Publish => "publish",
            Self::Finish => "finish",
        }
    }
}

/// How far delivery is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Changes this run has to decide about.
    pub total: u64,
    /// Changes that are decided and acknowledged.
    pub done: u64,
    pub delivered: u64,
    pub rejected: u64,
    /// Records answered per second, lately; 0 when not known yet.
    pub rate: f64,
    /// Since delivery began.
    pub elapsed: Duration,
}

/// A batch that waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrying {
    /// Attempts made so far.
    pub attempts: u32,
    pub wait: Duration,
    pub records: usize,
    pub reason: Reason,
}

/// Sees a run go by.
pub trait Observer: Send + Sync {
    /// A step begins.
    fn phase(&self, phase: Phase) {
        let _ = phase;
    }

    /// The changes are known; nothing was sent yet.
    fn diffed(&self, counts: &DiffCounts) {
        let _ = counts;
    }

    /// Something moved on.
    fn progress(&self, progress: &Progress) {
        let _ = progress;
    }

    /// A batch failed and waits.
    fn retrying(&self, retrying: &Retrying) {
        let _ = retrying;
    }

    /// Whether `settled` should be called.
    fn wants_settled(&self) -> bool {
        false
    }

    /// These changes are settled, and the ledger has it.
    fn settled(&self, settled: &[Settled]) {
        let _ = settled;
    }
}

/// Looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Observer for Quiet {}
