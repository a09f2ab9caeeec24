//! The next time of a schedule, the next few of several, and the latest one that has passed.

use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Span, Timestamp};

use super::local::{Counting, Note, instants};
use super::{Schedule, Trigger, period};

/// A date that exists comes at least once in eight years, on a given weekday in forty.
const DAYS_SEARCHED: i64 = 41 * 366;

/// A time at which a sync is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fire {
    pub at: Timestamp,
    /// What the clocks do to it.
    pub note: Option<Note>,
}

/// See [`Schedule::next`].
pub(super) fn next(schedule: &Schedule, sync: &str, after: Timestamp) -> Option<Fire> {
    let delay = delay(sync, schedule.jitter);
    let after = after.checked_sub(delay).ok()?;
    let zone = &schedule.zone;
    let (at, note) = match &schedule.trigger {
        Trigger::Every { every, at } => {
            let every = i64::try_from(every.as_millis()).ok()?;
            period::next(zone, every, at.unwrap_or(Time::midnight()), after)?
        }
        Trigger::Days { days, at } => {
            let matches = |date: Date| days.contains(&date.weekday());
            by_day(
                schedule,
                after,
                matches,
                &[(at.hour(), vec![*at])],
                Counting::Once,
            )?
        }
        Trigger::Cron(cron) => by_day(
            schedule,
            after,
            |date| cron.on(date),
            &cron.times(),
            cron.counting(),
        )?,
        Trigger::After { .. } | Trigger::Dbt { .. } => return None,
    };
    Some(Fire {
        at: at.checked_add(delay).ok()?,
        note,
    })
}

/// The next time on the days that match, at the given times of day by hour.
fn by_day(
    schedule: &Schedule,
    after: Timestamp,
    matches: impl Fn(Date) -> bool,
    times: &[(i8, Vec<Time>)],
    counting: Counting,
) -> Option<(Timestamp, Option<Note>)> {
    let zone = &schedule.zone;
    let now = zone.to_datetime(after);
    // Further back than any clock was ever set at once.
    let passed = now.checked_sub(Span::new().hours(26)).ok()?;
    let mut date = passed.date();
    for _ in 0..DAYS_SEARCHED {
        if matches(date) {
            let found = times
                .iter()
                .filter(|(hour, _)| date.at(*hour, 59, 59, 0) >= passed)
                .flat_map(|(_, times)| times)
                .flat_map(|time| instants(zone, date.to_datetime(*time), counting))
                .filter(|(at, _)| *at > after)
                .min_by_key(|(at, note)| (*at, note.is_some()));
            if found.is_some() {
                return found;
            }
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// How long after its time a sync of this name starts: the same each time, below `jitter`, and
/// spread evenly over the names.
fn delay(sync: &str, jitter: Duration) -> SignedDuration {
    let jitter = jitter.as_secs();
    if jitter == 0 {
        return SignedDuration::ZERO;
    }
    let hash = blake3::hash(sync.as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&hash.as_bytes()[..8]);
    SignedDuration::from_secs((u64::from_le_bytes(head) % jitter) as i64)
}

/// The next `count` times of a sync with several forms, each time once.
pub fn upcoming(schedules: &[Schedule], sync: &str, after: Timestamp, count: usize) -> Vec<Fire> {
    let mut found: Vec<Fire> = Vec::new();
    let mut last = after;
    while found.len() < count {
        let next = schedules
            .iter()
            .filter_map(|schedule| schedule.next(sync, last))
            .min_by_key(|fire| (fire.at, fire.note.is_some()));
        let Some(next) = next else { break };
        last = next.at;
        found.push(next);
    }
    found
}

/// The latest time after `after` and not after `now`: what a server that was away has missed, as
/// one run however many there were.
pub fn latest(
    schedule: &Schedule,
    sync: &str,
    after: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut back = SignedDuration::from_mins(1);
    loop {
        let from = now.checked_sub(back).map_or(after, |from| from.max(after));
        let mut found = schedule.next(sync, from).filter(|fire| fire.at <= now);
        while let Some(fire) = found {
            match schedule.next(sync, fire.at).filter(|fire| fire.at <= now) {
                Some(later) => found = Some(later),
                None => return Some(fire.at),
            }
        }
        if from <= after {
            return None;
        }
        back = back.checked_mul(2).unwrap_or(SignedDuration::MAX);
    }
}
