//! How a sync stands, in two words: its health, which is what its last run left, and its activity,
//! which is what it does now. A sync that is running is not healthier for it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::view::RunSummary;

/// What the last run that ended left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No run has ended yet.
    Pending,
    Healthy,
    /// Rows are rejected or invalid, or a guard or somebody stopped the run.
    Incomplete,
    /// Behind, for no other reason than a limit: of rate, records or time.
    Delayed,
    Failed,
}

/// What it does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Nothing, until it is due or somebody asks.
    Pending,
    Running,
    /// It is due, and waits for room or for an earlier run of its own.
    Waiting,
    Paused,
}

impl Health {
    /// The words, from the best to the worst but for the first.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Healthy,
        Self::Delayed,
        Self::Incomplete,
        Self::Failed,
    ];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Healthy => "healthy",
            Self::Incomplete => "incomplete",
            Self::Delayed => "delayed",
            Self::Failed => "failed",
        }
    }

    /// From the last run that ended, and the rows that are rejected now.
    pub(crate) fn of(last_ended: Option<&RunSummary>, rejects: u64) -> Self {
        let Some(run) = last_ended else {
            return Self::Pending;
        };
        match run.status.as_str() {
            "failed" => Self::Failed,
            "partial" | "held" | "cancelled" => Self::Incomplete,
            _ if rejects > 0 => Self::Incomplete,
            _ if run.pending > 0 => Self::Delayed,
            _ => Self::Healthy,
        }
    }
}

impl Activity {
    /// The words.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Running, Self::Waiting, Self::Paused];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
        }
    }

    pub(crate) fn of(running: bool, waiting: bool, paused: bool) -> Self {
        if running {
            Self::Running
        } else if paused {
            Self::Paused
        } else if waiting {
            Self::Waiting
        } else {
            Self::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: &str, pending: u64) -> RunSummary {
        RunSummary {
            status: status.to_owned(),
            pending,
            ..RunSummary::default()
        }
    }

    #[test]
    fn health_is_what_the_last_run_left() {
        for (status, pending, rejects, health) in [
            ("succeeded", 0, 0, Health::Healthy),
            ("succeeded", 0, 3, Health::Incomplete),
            ("succeeded", 9, 0, Health::Delayed),
            ("partial", 0, 1, Health::Incomplete),
            ("held", 9, 0, Health::Incomplete),
            ("cancelled", 9, 0, Health::Incomplete),
            ("failed", 9, 0, Health::Failed),
        ] {
            let run = ended(status, pending);
            assert_eq!(Health::of(Some(&run), rejects), health, "{status}");
        }
        assert_eq!(Health::of(None, 0), Health::Pending);
    }

    #[test]
    fn a_paused_sync_may_still_be_running_and_does_not_wait() {
        assert_eq!(Activity::of(true, true, true), Activity::Running);
        assert_eq!(Activity::of(false, true, true), Activity::Paused);
        assert_eq!(Activity::of(false, true, false), Activity::Waiting);
        assert_eq!(Activity::of(false, false, false), Activity::Pending);
    }
}
