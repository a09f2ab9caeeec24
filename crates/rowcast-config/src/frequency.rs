//! How often schedules run syncs: never more often than the project allows, and jitter never reaches
//! the next run.

use std::time::Duration;

use rowcast_core::Code;
use rowcast_core::schedule::{EVERY_MIN, Schedule, Trigger};

use crate::checks::note;
use crate::problem::{Problem, reason};
use crate::project::{Project, Sync};
use crate::shape::Kind;
use crate::walk::subject;

pub(crate) fn check(project: &Project, problems: &mut Vec<Problem>) {
    for (name, sync) in &project.syncs {
        for (i, schedule) in sync.schedules.iter().enumerate() {
            let Some(gap) = schedule.smallest_gap() else {
                continue;
            };
            let least = project.schedule_gap_min;
            // Below the floor of all is reported where the period is read.
            if gap < least && gap >= EVERY_MIN {
                let message = format!("a schedule of {} runs too often", subject(Kind::Sync, name));
                let found = reason(Code::InvalidSchedule, message)
                    .detail(format!(
                        "two of its runs are {} apart; the project allows {} (`schedule_gap_min` of rowcast.yml)",
                        words(gap),
                        words(least)
                    ))
                    .hint(hint(schedule, least));
                note(
                    problems,
                    found,
                    &sync.positions,
                    &path(sync, i, form(schedule)),
                );
            }
            if schedule.jitter >= gap {
                let message = format!(
                    "the jitter of a schedule of {} reaches its next run",
                    subject(Kind::Sync, name)
                );
                let found = reason(Code::InvalidSchedule, message)
                    .detail(format!("two of its runs are {} apart", words(gap)))
                    .hint("write a shorter one");
                note(problems, found, &sync.positions, &path(sync, i, "jitter"));
            }
        }
    }
}

fn form(schedule: &Schedule) -> &'static str {
    match schedule.trigger {
        Trigger::Every { .. } => "every",
        Trigger::Cron(_) => "cron",
        Trigger::Days { .. } => "days",
        Trigger::After { .. } => "after",
        Trigger::Dbt { .. } => "dbt",
    }
}

fn hint(schedule: &Schedule, least: Duration) -> String {
    match schedule.trigger {
        Trigger::Every { .. } => format!("write {} or more", words(least)),
        _ => format!("leave at least {} between two times", words(least)),
    }
}

/// Where a key of the i-th form stands: schedules are one form or a list.
fn path(sync: &Sync, i: usize, key: &str) -> String {
    let listed = format!("schedule[{i}].{key}");
    if sync.positions.0.contains_key(&listed) {
        listed
    } else {
        format!("schedule.{key}")
    }
}

/// `2 minutes`, `90 seconds`, `1 hour`.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        s if s > 0 && s % 86_400 == 0 => (s / 86_400, "day"),
        s if s > 0 && s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s > 0 && s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_their_largest_whole_unit() {
        for (seconds, expected) in [
            (120, "2 minutes"),
            (90, "90 seconds"),
            (3_600, "1 hour"),
            (172_800, "2 days"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), expected);
        }
    }
}
