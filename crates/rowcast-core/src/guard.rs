//! Guards: what holds a run before its first request (semantics 20).

use crate::code::Code;
use crate::fault::Reason;
use crate::ledger::DiffCounts;

/// A run below this many removed rows is never held for removals.
pub const REMOVED_ROWS_FREE: u64 = 10;

/// A guard that holds the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub guard: Guard,
    pub reason: Reason,
}

/// The guards, by the names `--override` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    Removed,
    Empty,
    Columns,
    MovedBack,
    Changed,
    Calls,
    Rehash,
}

impl Guard {
    /// All guards.
    pub const ALL: [Self; 7] = [
        Self::Removed,
        Self::Empty,
        Self::Columns,
        Self::MovedBack,
        Self::Changed,
        Self::Calls,
        Self::Rehash,
    ];

    /// The word of `--override`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Empty => "empty",
            Self::Columns => "columns",
            Self::MovedBack => "moved-back",
            Self::Changed => "changed",
            Self::Calls => "calls",
            Self::Rehash => "rehash",
        }
    }

    /// The guard of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|guard| guard.as_str() == word)
    }

    fn code(self) -> Code {
        match self {
            Self::Removed => Code::GuardRemoved,
            Self::Empty => Code::GuardEmpty,
            Self::Columns => Code::GuardColumns,
            Self::MovedBack => Code::GuardMovedBack,
            Self::Changed => Code::GuardChanged,
            Self::Calls => Code::GuardCalls,
            Self::Rehash => Code::GuardRehash,
        }
    }

    /// A hold with its way out.
    pub fn hold(self, message: String, detail: String) -> Held {
        let hint = format!(
            "look at `rowcast plan`; if this is what you want, run again with `--override {}`",
            self.as_str()
        );
        Held {
            guard: self,
            reason: Reason::new(self.code(), message).detail(detail).hint(hint),
        }
    }
}

/// The limits of a sync, in percent or counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guards {
    /// Share of state that may be removed in 24 hours, in percent. Default 10.
    pub removed_percent: f64,
    /// Share of state that may change in one run, in percent. Default 100: never holds.
    pub changed_percent: f64,
    /// Most requests in one run.
    pub calls: Option<u64>,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            removed_percent: 10.0,
            changed_percent: 100.0,
            calls: None,
        }
    }
}

/// Judges a change set. `removals_matter` is false for runs that ignore removals; `calls` is the
/// number of requests the run would make.
pub fn judge(guards: &Guards, counts: &DiffCounts, removals_matter: bool, calls: u64) -> Vec<Held> {
    let mut held = Vec::new();
    let present = counts.read;
    if removals_matter && present == 0 && counts.state_rows > 0 {
        held.push(Guard::Empty.hold(
            "the model is empty while state has rows".into(),
            format!(
                "state holds {} rows that would all count as removed",
                counts.state_rows
            ),
        ));
    } else if removals_matter {
        let removed = counts.removed + counts.removed_24h;
        // The share is taken of what state held before the removals of the last 24 hours.
        let base = counts.state_rows + counts.removed_24h;
        let percent = 100.0 * removed as f64 / base.max(1) as f64;
        if counts.removed > 0 && removed > REMOVED_ROWS_FREE && percent > guards.removed_percent {
            held.push(Guard::Removed.hold(
                format!("{} rows were removed", counts.removed),
                format!(
                    "{removed} of {base} rows in 24 hours are {percent:.1} %, more than the {} % allowed",
                    guards.removed_percent
                ),
            ));
        }
    }
    let changed = counts.updated + counts.removed;
    let percent = 100.0 * changed as f64 / counts.state_rows.max(1) as f64;
    if changed > REMOVED_ROWS_FREE && percent > guards.changed_percent {
        held.push(Guard::Changed.hold(
            format!("{changed} rows changed"),
            format!(
                "{changed} of {} rows are {percent:.1} %, more than the {} % allowed",
                counts.state_rows, guards.changed_percent
            ),
        ));
    }
    if let Some(limit) = guards.calls
        && calls > limit
    {
        held.push(Guard::Calls.hold(
            format!("the run would make {calls} requests"),
            format!("{limit} are allowed by `guards.calls`"),
        ));
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(held: &[Held]) -> Vec<&'static str> {
        held.iter().map(|held| held.guard.as_str()).collect()
    }

    #[test]
    fn rule_20_removals_are_counted_over_24_hours_and_few_are_free() {
        let guards = Guards::default();
        let counts = |removed, removed_24h| DiffCounts {
            read: 90,
            state_rows: 100 - removed_24h,
            removed,
            removed_24h,
            ..Default::default()
        };
        assert!(names(&judge(&guards, &counts(10, 0), true, 0)).is_empty());
        assert_eq!(names(&judge(&guards, &counts(11, 0), true, 0)), ["removed"]);
        assert_eq!(names(&judge(&guards, &counts(6, 6), true, 0)), ["removed"]);
        assert!(names(&judge(&guards, &counts(0, 50), true, 0)).is_empty());
        assert!(names(&judge(&guards, &counts(50, 0), false, 0)).is_empty());
    }

    #[test]
    fn rule_20_an_empty_model_is_held_even_for_few_rows() {
        let counts = DiffCounts {
            read: 0,
            state_rows: 3,
            removed: 3,
            ..Default::default()
        };
        assert_eq!(
            names(&judge(&Guards::default(), &counts, true, 0)),
            ["empty"]
        );
    }

    #[test]
    fn too_many_calls_and_changes_are_held_when_limited() {
        let guards = Guards {
            changed_percent: 5.0,
            calls: Some(10),
            ..Guards::default()
        };
        let counts = DiffCounts {
            read: 1000,
            state_rows: 1000,
            updated: 51,
            ..Default::default()
        };
        assert_eq!(
            names(&judge(&guards, &counts, true, 11)),
            ["changed", "calls"]
        );
    }
}
