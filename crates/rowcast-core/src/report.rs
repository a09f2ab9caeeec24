//! The report of a run, which must add up.

use std::collections::BTreeMap;

use crate::fault::Reason;
use crate::guard::Held;
use crate::ledger::DiffCounts;
use crate::value::Name;

/// How a run stands or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    Running,
    Succeeded,
    /// Finished, with some records rejected or invalid.
    Partial,
    Failed,
    Cancelled,
    /// Stopped by a guard before the first request.
    Held,
}

impl RunStatus {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Held => "held",
        }
    }
}

/// What a run cost the database, beside the rows it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// How long the run waited for source and state, in microseconds; what overlaps counts once.
    pub database_us: u64,
    /// Bytes of write-ahead log, and whose; `None` when it could not be learned.
    pub wal: Option<(u64, WalOf)>,
}

/// Whose write-ahead log was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WalOf {
    /// What the run's own connection wrote.
    Run,
    /// What the whole server wrote meanwhile: the run's share is at most that.
    Server,
}

impl WalOf {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Server => "server",
        }
    }
}

/// Everything a run did, in counts. Every row and every change is in exactly one bucket.
#[derive(Debug, Clone)]
pub struct RunReport {
    pub sync: Name,
    pub run: i64,
    pub status: RunStatus,
    /// Microseconds since 1970 in UTC.
    pub started_at: i64,
    pub duration_us: u64,

    pub counts: DiffCounts,
    pub delivered: u64,
    pub skipped: u64,
    pub invalid: u64,
    pub rejected: u64,
    pub held: u64,
    pub pending: u64,
    /// Those of `pending` that were sent without a known outcome: doubts, sent again by the next run.
    pub unknown: u64,

    /// Requests made, retries included.
    pub requests: u64,
    /// Requests that were repeated.
    pub retries: u64,
    /// Reasons of rejected, invalid and, by trigger or consent, skipped records: (code, message) → count, for grouped display.
    pub reasons: BTreeMap<(String, String), u64>,
    /// Why the run failed or was held.
    pub failure: Option<Reason>,
    pub guards: Vec<Held>,
    pub notes: Vec<String>,
    /// Duration of each step in microseconds, in the order of the flow.
    pub phases: Vec<(&'static str, u64)>,
    /// What it cost the database, where that is measured.
    pub cost: Option<Cost>,
}

impl RunReport {
    /// An empty report.
    pub fn new(sync: Name, run: i64, started_at: i64) -> Self {
        Self {
            sync,
            run,
            status: RunStatus::Running,
            started_at,
            duration_us: 0,
            counts: DiffCounts::default(),
            delivered: 0,
            skipped: 0,
            invalid: 0,
            rejected: 0,
            held: 0,
            pending: 0,
            unknown: 0,
            requests: 0,
            retries: 0,
            reasons: BTreeMap::new(),
            failure: None,
            guards: Vec::new(),
            notes: Vec::new(),
            phases: Vec::new(),
            cost: None,
        }
    }

    /// The two laws of semantics 25.
    ///
    /// # Errors
    /// Which law does not hold, with both sides.
    pub fn balance(&self) -> Result<(), Reason> {
        let c = &self.counts;
        let rows = c.unchanged + c.added + c.updated + c.retried_present + c.invalid_keys;
        if c.read != rows {
            return Err(Reason::defect(format!(
                "the rows of run {} do not add up: read {} = unchanged {} + added {} + updated {} \
                 + retried present {} + invalid keys {}",
                self.run,
                c.read,
                c.unchanged,
                c.added,
                c.updated,
                c.retried_present,
                c.invalid_keys
            )));
        }
        let changes = c.added + c.updated + c.removed + c.retried;
        let buckets =
            self.delivered + self.skipped + self.invalid + self.rejected + self.held + self.pending;
        if changes != buckets {
            return Err(Reason::defect(format!(
                "the changes of run {} do not add up: added {} + updated {} + removed {} + retried {} \
                 = delivered {} + skipped {} + invalid {} + rejected {} + held {} + pending {}",
                self.run,
                c.added,
                c.updated,
                c.removed,
                c.retried,
                self.delivered,
                self.skipped,
                self.invalid,
                self.rejected,
                self.held,
                self.pending
            )));
        }
        Ok(())
    }
}
