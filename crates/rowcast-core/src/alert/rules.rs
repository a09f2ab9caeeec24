//! What is watched of a sync, and from where on it is worth telling.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Counts;

/// Fewest earlier runs that make a mean worth comparing with.
pub const RUNS_MIN: usize = 3;
/// Most runs that a mean may be made of.
pub const RUNS_MAX: u32 = 100;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// A run failed.
    Failed,
    /// A guard held a run.
    Held,
    /// Too many records of a run were rejected or invalid.
    Rejected,
    /// The last success is too long ago.
    Late,
    /// A run takes too long.
    Runtime,
    /// A count differs from those of earlier runs.
    Deviation,
    /// Every row was sent again.
    Full,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::Held,
        Self::Rejected,
        Self::Late,
        Self::Runtime,
        Self::Deviation,
        Self::Full,
    ];

    /// The word for it, which is also the key in `alerts:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Late => "late",
            Self::Runtime => "runtime",
            Self::Deviation => "deviation",
            Self::Full => "full",
        }
    }
}

/// A count of a run that is compared with those of earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counter {
    #[default]
    Read,
    Added,
    Updated,
    Removed,
    /// Added, updated and removed together.
    Changed,
    Delivered,
    Rejected,
}

impl Counter {
    /// Every counter.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Added,
        Self::Updated,
        Self::Removed,
        Self::Changed,
        Self::Delivered,
        Self::Rejected,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Added => "added",
            Self::Updated => "updated",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
        }
    }

    /// The counter of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|counter| counter.as_str() == word)
    }

    /// Its value in a run.
    pub fn of(self, counts: &Counts) -> u64 {
        match self {
            Self::Read => counts.read,
            Self::Added => counts.added,
            Self::Updated => counts.updated,
            Self::Removed => counts.removed,
            Self::Changed => counts.added + counts.updated + counts.removed,
            Self::Delivered => counts.delivered,
            Self::Rejected => counts.rejected,
        }
    }
}

/// How far a count may be from the mean of earlier runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    pub percent: f64,
    /// The mean is of so many successful runs, or of as many as there are.
    pub runs: u32,
    pub of: Counter,
}

impl Deviation {
    /// The mean of earlier runs; `None` while there are too few.
    pub fn mean(&self, before: &[u64]) -> Option<f64> {
        let runs = usize::try_from(self.runs).unwrap_or(usize::MAX);
        let before = &before[..before.len().min(runs)];
        if before.len() < RUNS_MIN.min(runs) {
            return None;
        }
        let sum: f64 = before.iter().map(|count| *count as f64).sum();
        Some(sum / before.len() as f64)
    }

    /// How far a value is from a mean, in percent of it.
    pub fn off(&self, value: u64, mean: f64) -> f64 {
        let distance = (value as f64 - mean).abs();
        if distance == 0.0 {
            0.0
        } else if mean == 0.0 {
            f64::INFINITY
        } else {
            distance * 100.0 / mean
        }
    }
}

/// What is watched of a sync.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Default true.
    pub failed: bool,
    /// Default true.
    pub held: bool,
    /// In percent of the records that a run tried to deliver.
    pub rejected_percent: Option<f64>,
    /// Longest time without a success.
    pub late: Option<Duration>,
    /// Longest time of a run.
    pub runtime: Option<Duration>,
    pub deviation: Option<Deviation>,
    pub full: bool,
    /// Tells again while it lasts. Default a day; `None` for never.
    pub remind: Option<Duration>,
    /// Tells when it is over. Default true.
    pub recovery: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            failed: true,
            held: true,
            rejected_percent: None,
            late: None,
            runtime: None,
            deviation: None,
            full: false,
            remind: Some(Duration::from_secs(86_400)),
            recovery: true,
        }
    }
}

impl Rules {
    /// Whether a condition is watched.
    pub fn watches(&self, condition: Condition) -> bool {
        match condition {
            Condition::Failed => self.failed,
            Condition::Held => self.held,
            Condition::Rejected => self.rejected_percent.is_some(),
            Condition::Late => self.late.is_some(),
            Condition::Runtime => self.runtime.is_some(),
            Condition::Deviation => self.deviation.is_some(),
            Condition::Full => self.full,
        }
    }
}
