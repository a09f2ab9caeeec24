//! When syncs are due by their schedules, as far as the clock decides.
//!
//! Starts nothing; that is the server's business.

use jiff::{SignedDuration, Timestamp};
use rowcast_core::schedule::{Fire, Schedule, Trigger, upcoming};
use schemars::JsonSchema;
use serde::Serialize;

use crate::map::now_us;

/// How many times are shown.
const SHOWN: usize = 5;

/// What a sync waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Due {
    /// The next times by the clock, the first one first; empty when no clock decides.
    pub next_runs: Vec<NextRun>,
    /// Syncs after whose end it runs.
    pub after: Vec<String>,
    /// dbt Cloud jobs after whose end it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dbt_jobs: Vec<String>,
}

/// A time at which a sync is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NextRun {
    /// RFC 3339 in UTC.
    pub at: String,
    /// The same in the schedule's own zone: `Sun 2026-03-29 03:00 Europe/Paris`.
    pub local: String,
    /// What a change of the clocks does to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a sync of the project waits for, from now on.
pub(crate) fn due(sync: &rowcast_config::Sync) -> Due {
    let now = Timestamp::from_microsecond(now_us()).unwrap_or(Timestamp::UNIX_EPOCH);
    due_from(&sync.schedules, &sync.name, now)
}

fn due_from(schedules: &[Schedule], sync: &str, now: Timestamp) -> Due {
    let mut due = Due {
        next_runs: upcoming(schedules, sync, now, SHOWN)
            .into_iter()
            .map(|fire| shown(schedules, sync, fire))
            .collect(),
        ..Due::default()
    };
    for schedule in schedules {
        match &schedule.trigger {
            Trigger::After { syncs, .. } => due.after.extend(syncs.iter().cloned()),
            Trigger::Dbt { job } => due.dbt_jobs.push(job.clone()),
            Trigger::Every { .. } | Trigger::Cron(_) | Trigger::Days { .. } => {}
        }
    }
    due
}

/// A time in the zone of the form that it comes from.
fn shown(schedules: &[Schedule], sync: &str, fire: Fire) -> NextRun {
    let before = fire.at - SignedDuration::from_nanos(1);
    let form = schedules
        .iter()
        .find(|schedule| schedule.next(sync, before).is_some_and(|at| at == fire));
    let zone = form.map_or(jiff::tz::TimeZone::UTC, |form| form.zone.clone());
    let local = fire.at.to_zoned(zone);
    let seconds = if local.second() == 0 { "" } else { ":%S" };
    NextRun {
        at: fire.at.to_string(),
        local: local
            .strftime(&format!("%a %Y-%m-%d %H:%M{seconds} %Q"))
            .to_string(),
        note: fire.note.map(|note| note.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rowcast_core::schedule::{AfterWhen, Cron};

    use super::*;

    #[test]
    fn five_times_are_shown_in_their_zone_with_what_the_clocks_do() {
        let paris = Schedule {
            zone: jiff::tz::TimeZone::get("Europe/Paris").unwrap(),
            ..Schedule::new(Trigger::Cron(Cron::parse("30 2 * * *").unwrap()))
        };
        let orders = Schedule::new(Trigger::After {
            syncs: vec!["orders".into()],
            when: AfterWhen::Succeeded,
        });
        let now = "2026-03-28T12:00:00Z".parse().unwrap();
        let due = due_from(&[paris, orders], "customers", now);
        assert_eq!(due.next_runs.len(), 5);
        assert_eq!(
            due.next_runs[0],
            NextRun {
                at: "2026-03-29T01:00:00Z".into(),
                local: "Sun 2026-03-29 03:00 Europe/Paris".into(),
                note: Some(
                    "02:30 does not exist on this day, the clocks go forward over it".into()
                ),
            }
        );
        assert_eq!(due.next_runs[1].local, "Mon 2026-03-30 02:30 Europe/Paris");
        assert_eq!(due.after, ["orders"]);
    }
}
