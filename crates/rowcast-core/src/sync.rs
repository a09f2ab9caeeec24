//! What the engine needs to know of a sync: policy, never connections or SQL.

use std::time::Duration;

use crate::gate::Gate;
use crate::guard::{Guard, Guards};
use crate::mode::{Mode, Selection};
use crate::segment::Batching;
use crate::value::Name;

/// When rejected rows are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// In how many following runs. Default 5.
    pub runs: u32,
    /// For how long after the first rejection. Default 14 days.
    pub within: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            runs: 5,
            within: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

/// How a run of a sync behaves.
#[derive(Debug, Clone)]
pub struct SyncPlan {
    pub name: Name,
    pub object: Name,
    pub key_columns: Vec<Name>,
    pub mode: Mode,
    pub on: Selection,
    /// What a change must pass beside `on`: a trigger and consents.
    pub gate: Gate,
    /// What the mapping says about batches.
    pub batching: Batching,
    pub guards: Guards,
    /// Guards the caller overrides, recorded with the run.
    pub overrides: Vec<Guard>,
    /// The identity differs from the primary key and the mode deletes: state keeps match values.
    pub tracks_match: bool,
    /// Values sent are kept in state (`keep: rows`).
    pub keep_rows: bool,
    /// `run.max_records`.
    pub records_max: Option<u64>,
    /// `run.max_duration`.
    pub duration_max: Option<Duration>,
    pub backoff: Backoff,
}

/// How transient faults are waited out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure; doubles with each. Default 500 ms.
    pub first: Duration,
    /// Longest wait between attempts of our own choosing. Default 60 s.
    pub max: Duration,
    /// Attempts of one batch before the run gives up. Default 8.
    pub attempts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            max: Duration::from_secs(60),
            attempts: 8,
        }
    }
}
