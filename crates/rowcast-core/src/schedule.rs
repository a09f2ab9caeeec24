//! When a sync is due: the forms of `schedule:` and their arithmetic.
//!
//! Pure: the present instant and the zone's rules come in, instants go out. It must never read a
//! clock, look up a zone by name, or know whether a run is going on; that is the scheduler's
//! business. Concepts: docs/src/concepts/schedules.md.

pub mod cron;
mod due;
mod local;
mod period;

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

pub use cron::Cron;
pub use due::{Fire, latest, upcoming};
pub use local::Note;

/// The shortest period of `every:`, and the shortest distance between two runs that any form may ask
/// for.
pub const EVERY_MIN: Duration = Duration::from_secs(10);

/// One form of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub trigger: Trigger,
    /// For `at`, `cron` and `days`. Default UTC.
    pub zone: TimeZone,
    /// What happens when the sync is still running. Default skip.
    pub overlap: Overlap,
    /// Whether a run that was missed (the server was down) is made up for, once. Default true.
    pub catch_up: bool,
    /// Syncs that are due at the same time start spread over this long. Default zero.
    pub jitter: Duration,
}

/// What starts a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Periodically; with `at`, counted from that time of day.
    Every { every: Duration, at: Option<Time> },
    /// Five fields.
    Cron(Cron),
    /// On these days of the week.
    Days { days: Vec<Weekday>, at: Time },
    /// When other syncs have ended.
    After { syncs: Vec<String>, when: AfterWhen },
    /// When a dbt Cloud job has ended.
    Dbt { job: String },
}

/// Which ends of another sync count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterWhen {
    /// The run delivered what it found; some rows may have been rejected.
    #[default]
    Succeeded,
    /// However the run ended.
    Finished,
}

/// What happens to a run that is due while the one before is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    #[default]
    Skip,
    /// It starts when the one before has ended.
    Queue,
}

impl Schedule {
    /// A form with the defaults of everything but its trigger: UTC, skip, caught up, no jitter.
    pub fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            zone: TimeZone::UTC,
            overlap: Overlap::default(),
            catch_up: true,
            jitter: Duration::ZERO,
        }
    }

    /// The first time strictly after `after` at which a sync of this name is due by the clock; `None`
    /// for forms that follow events.
    pub fn next(&self, sync: &str, after: Timestamp) -> Option<Fire> {
        due::next(self, sync, after)
    }

    /// The smallest distance between two runs over the whole calendar, by the clock on the wall;
    /// `None` for forms that follow events.
    pub fn smallest_gap(&self) -> Option<Duration> {
        match &self.trigger {
            Trigger::Every { every, .. } => Some(*every),
            Trigger::Cron(cron) => Some(cron.smallest_gap()),
            Trigger::Days { days, .. } => Some(days_apart(days)),
            Trigger::After { .. } | Trigger::Dbt { .. } => None,
        }
    }
}

/// The smallest distance between two of these days of the week.
fn days_apart(days: &[Weekday]) -> Duration {
    let smallest = days
        .iter()
        .flat_map(|a| days.iter().map(move |b| a.until(*b)))
        .filter(|days| *days > 0)
        .min()
        .unwrap_or(7);
    Duration::from_secs(86_400 * u64::from(smallest.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_week_are_whole_days_apart() {
        let gap = |days: &[Weekday]| days_apart(days).as_secs() / 86_400;
        assert_eq!(gap(&[Weekday::Monday]), 7);
        assert_eq!(gap(&[Weekday::Monday, Weekday::Thursday]), 3);
        assert_eq!(gap(&[Weekday::Sunday, Weekday::Monday]), 1);
    }
}
