//! `every:` as windows of the clock, so that it means the same whoever computes it and whenever the
//! server was started.
//!
//! A period that divides a day is counted anew each day from `at` (midnight without it): every 3h
//! is due at 00:00, 03:00, …, whenever the sync was made. Whole days are counted from 1970-01-01
//! and keep their time of day. Any other period is counted through from 1970-01-01.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::local::{Counting, Note, instants};

const DAY_MS: i64 = 86_400_000;

/// The first window strictly after `after`. `every` in milliseconds.
pub(super) fn next(
    zone: &TimeZone,
    every: i64,
    at: Time,
    after: Timestamp,
) -> Option<(Timestamp, Option<Note>)> {
    if every <= 0 {
        return None;
    }
    if every % DAY_MS == 0 {
        whole_days(zone, every / DAY_MS, at, after)
    } else if DAY_MS % every == 0 {
        part_of_a_day(zone, every, at, after)
    } else {
        let (epoch, _) = anchor(zone, Date::constant(1970, 1, 1), at)?;
        Some((step(epoch, every, after)?, None))
    }
}

/// The moment of a day from which is counted.
fn anchor(zone: &TimeZone, date: Date, at: Time) -> Option<(Timestamp, Option<Note>)> {
    instants(zone, date.to_datetime(at), Counting::Once).next()
}

/// The first multiple of `every` from `base` that is after `after`, which is not before `base`.
fn step(base: Timestamp, every: i64, after: Timestamp) -> Option<Timestamp> {
    // Floored: within the same millisecond as a window is still after it.
    let passed = after.duration_since(base).as_millis();
    let next = (passed.div_euclid(i128::from(every)) + 1) * i128::from(every);
    base.checked_add(SignedDuration::from_millis(i64::try_from(next).ok()?))
        .ok()
}

fn part_of_a_day(
    zone: &TimeZone,
    every: i64,
    at: Time,
    after: Timestamp,
) -> Option<(Timestamp, Option<Note>)> {
    let today = zone.to_datetime(after).date();
    let mut base = None;
    for days in -2_i64..=2 {
        let date = today.checked_add(jiff::Span::new().days(days)).ok()?;
        let (found, note) = anchor(zone, date, at)?;
        if found > after {
            // The day that changes its clocks ends with a shorter window, never with a longer one.
            let counted = step(base?, every, after)?;
            return Some(if counted < found {
                (counted, None)
            } else {
                (found, note)
            });
        }
        base = Some(found);
    }
    None
}

fn whole_days(
    zone: &TimeZone,
    days: i64,
    at: Time,
    after: Timestamp,
) -> Option<(Timestamp, Option<Note>)> {
    let epoch = Date::constant(1970, 1, 1);
    let today = zone.to_datetime(after).date();
    let number = i64::from(today.since(epoch).ok()?.get_days());
    let mut window = number.div_euclid(days) - 1;
    loop {
        let date = epoch
            .checked_add(jiff::Span::new().try_days(window.checked_mul(days)?).ok()?)
            .ok()?;
        let found = anchor(zone, date, at)?;
        if found.0 > after {
            return Some(found);
        }
        window += 1;
    }
}
