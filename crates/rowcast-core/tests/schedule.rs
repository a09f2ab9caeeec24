//! The arithmetic of schedules against an oracle that looks at every minute, and tables of the days
//! on which the clocks change.

use std::time::Duration;

use jiff::civil::{Time, Weekday, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rowcast_core::schedule::{Cron, Schedule, Trigger, latest, upcoming};

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("the zone is in the database")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn cron(text: &str, zone_name: &str) -> Schedule {
    Schedule {
        zone: zone(zone_name),
        ..Schedule::new(Trigger::Cron(Cron::parse(text).expect("an expression")))
    }
}

fn every(seconds: u64, start: Option<(i8, i8)>, zone_name: &str) -> Schedule {
    let at = start.map(|(hour, minute)| Time::constant(hour, minute, 0, 0));
    Schedule {
        zone: zone(zone_name),
        ..Schedule::new(Trigger::Every {
            every: Duration::from_secs(seconds),
            at,
        })
    }
}

fn days(days: &[Weekday], hour: i8, minute: i8, zone_name: &str) -> Schedule {
    Schedule {
        zone: zone(zone_name),
        ..Schedule::new(Trigger::Days {
            days: days.to_vec(),
            at: Time::constant(hour, minute, 0, 0),
        })
    }
}

/// The next times in the schedule's own zone, with notes.
fn shown(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
    upcoming(std::slice::from_ref(schedule), "s", at(after), count)
        .into_iter()
        .map(|fire| {
            let local = fire.at.to_zoned(schedule.zone.clone());
            let time = local.strftime("%a %d %H:%M %:z").to_string();
            match fire.note {
                Some(note) => format!("{time} ({note})"),
                None => time,
            }
        })
        .collect()
}

#[test]
fn every_three_hours_seen_at_half_past_twelve_is_due_at_three() {
    let schedule = every(3 * 3_600, None, "UTC");
    assert_eq!(
        shown(&schedule, "2026-11-21T12:30:00Z", 2),
        ["Sat 21 15:00 +00:00", "Sat 21 18:00 +00:00"]
    );
    let next = |seconds, start| {
        let next = every(seconds, start, "UTC").next("s", at("2026-11-21T12:30:00Z"));
        next.map(|fire| fire.at.to_string()).unwrap_or_default()
    };
    for (seconds, start, expected) in [
        (10, None, "2026-11-21T12:30:10Z"),
        (300, None, "2026-11-21T12:35:00Z"),
        (1_800, None, "2026-11-21T13:00:00Z"),
        (3_600, None, "2026-11-21T13:00:00Z"),
        (6 * 3_600, None, "2026-11-21T18:00:00Z"),
        (12 * 3_600, None, "2026-11-22T00:00:00Z"),
        (86_400, None, "2026-11-22T00:00:00Z"),
        (3 * 3_600, Some((12, 30)), "2026-11-21T15:30:00Z"),
        (3 * 3_600, Some((12, 31)), "2026-11-21T12:31:00Z"),
        (86_400, Some((9, 0)), "2026-11-22T09:00:00Z"),
        // Weekly windows are counted from 1970-01-01, a Thursday.
        (7 * 86_400, Some((9, 0)), "2026-11-26T09:00:00Z"),
        // Periods that do not divide a day are counted through: no short window at midnight.
        (7 * 3_600, None, "2026-11-21T15:00:00Z"),
    ] {
        assert_eq!(next(seconds, start), expected, "{seconds} {start:?}");
    }
}

#[test]
fn clocks_go_forward() {
    let missing = "02:30 does not exist on this day, the clocks go forward over it";
    assert_eq!(
        shown(
            &cron("30 2 * * *", "Europe/Paris"),
            "2026-03-28T00:00:00Z",
            3
        ),
        [
            "Sat 28 02:30 +01:00".to_owned(),
            format!("Sun 29 03:00 +02:00 ({missing})"),
            "Mon 30 02:30 +02:00".to_owned(),
        ]
    );
    assert_eq!(
        shown(
            &cron("30 2 * * *", "America/New_York"),
            "2026-03-07T12:00:00Z",
            2
        ),
        [
            format!("Sun 08 03:00 -04:00 ({missing})"),
            "Mon 09 02:30 -04:00".to_owned(),
        ]
    );
    // Half an hour, from 02:00 to 02:30.
    assert_eq!(
        shown(
            &cron("15 2 * * *", "Australia/Lord_Howe"),
            "2026-10-03T00:00:00Z",
            2
        ),
        [
            "Sun 04 02:30 +11:00 (02:15 does not exist on this day, the clocks go forward over it)",
            "Mon 05 02:15 +11:00",
        ]
    );
    // Several times in the gap are made up for once, and a time at its end is not doubled.
    assert_eq!(
        shown(
            &cron("0,30 2,3 * * *", "Europe/Paris"),
            "2026-03-29T00:00:00Z",
            3
        ),
        [
            "Sun 29 03:00 +02:00",
            "Sun 29 03:30 +02:00",
            "Mon 30 02:00 +02:00"
        ]
    );
    // What counts through the day goes on as the clock shows it.
    assert_eq!(
        shown(
            &cron("*/30 * * * *", "Europe/Paris"),
            "2026-03-29T00:00:00Z",
            3
        ),
        [
            "Sun 29 01:30 +01:00",
            "Sun 29 03:00 +02:00",
            "Sun 29 03:30 +02:00"
        ]
    );
    assert_eq!(
        shown(
            &days(&[Weekday::Sunday], 2, 30, "Europe/Paris"),
            "2026-03-28T00:00:00Z",
            2
        ),
        [
            format!("Sun 29 03:00 +02:00 ({missing})"),
            "Sun 05 02:30 +02:00".to_owned(),
        ]
    );
    assert_eq!(
        shown(
            &every(86_400, Some((2, 30)), "Europe/Paris"),
            "2026-03-28T12:00:00Z",
            2
        ),
        [
            format!("Sun 29 03:00 +02:00 ({missing})"),
            "Mon 30 02:30 +02:00".to_owned(),
        ]
    );
}

#[test]
fn clocks_go_back() {
    let first = "the clocks go back and this time comes twice: the first of the two";
    let second = "the clocks go back and this time comes twice: the second of the two";
    assert_eq!(
        shown(
            &cron("30 2 * * *", "Europe/Paris"),
            "2026-10-24T12:00:00Z",
            2
        ),
        [
            format!("Sun 25 02:30 +02:00 ({first})"),
            "Mon 26 02:30 +01:00".to_owned(),
        ]
    );
    assert_eq!(
        shown(
            &cron("30 1 * * *", "America/New_York"),
            "2026-10-31T12:00:00Z",
            2
        ),
        [
            format!("Sun 01 01:30 -04:00 ({first})"),
            "Mon 02 01:30 -05:00".to_owned(),
        ]
    );
    // Half an hour, from 02:00 back to 01:30.
    assert_eq!(
        shown(
            &cron("45 1 * * *", "Australia/Lord_Howe"),
            "2026-04-04T00:00:00Z",
            2
        ),
        [
            format!("Sun 05 01:45 +11:00 ({first})"),
            "Mon 06 01:45 +10:30".to_owned(),
        ]
    );
    // What counts through the day runs in both hours.
    assert_eq!(
        shown(
            &cron("0 * * * *", "Europe/Paris"),
            "2026-10-24T23:30:00Z",
            4
        ),
        [
            format!("Sun 25 02:00 +02:00 ({first})"),
            format!("Sun 25 02:00 +01:00 ({second})"),
            "Sun 25 03:00 +01:00".to_owned(),
            "Sun 25 04:00 +01:00".to_owned(),
        ]
    );
    // A quarter of an hour is one, whatever the clocks do.
    let quarter = every(900, None, "Europe/Paris");
    let fires = upcoming(&[quarter], "s", at("2026-10-24T22:00:00Z"), 40);
    for pair in fires.windows(2) {
        assert_eq!(
            pair[1].at.duration_since(pair[0].at),
            SignedDuration::from_mins(15)
        );
    }
}

#[test]
fn a_day_that_changes_its_clocks_ends_with_a_shorter_window() {
    let schedule = every(3 * 3_600, Some((0, 30)), "Europe/Paris");
    assert_eq!(
        shown(&schedule, "2026-10-24T22:30:00Z", 9),
        [
            "Sun 25 02:30 +01:00",
            "Sun 25 05:30 +01:00",
            "Sun 25 08:30 +01:00",
            "Sun 25 11:30 +01:00",
            "Sun 25 14:30 +01:00",
            "Sun 25 17:30 +01:00",
            "Sun 25 20:30 +01:00",
            "Sun 25 23:30 +01:00",
            "Mon 26 00:30 +01:00",
        ]
    );
}

#[test]
fn several_forms_are_merged_and_a_common_time_counts_once() {
    let forms = [
        cron("0 6 * * *", "UTC"),
        days(&[Weekday::Sunday, Weekday::Monday], 6, 0, "UTC"),
        every(86_400, None, "UTC"),
    ];
    let fires: Vec<String> = upcoming(&forms, "s", at("2026-11-21T12:00:00Z"), 5)
        .iter()
        .map(|fire| fire.at.to_string())
        .collect();
    assert_eq!(
        fires,
        [
            "2026-11-22T00:00:00Z",
            "2026-11-22T06:00:00Z",
            "2026-11-23T00:00:00Z",
            "2026-11-23T06:00:00Z",
            "2026-11-24T00:00:00Z",
        ]
    );
}

#[test]
fn jitter_spreads_syncs_and_is_the_same_each_time() {
    let schedule = Schedule {
        jitter: Duration::from_secs(600),
        ..cron("0 6 * * *", "UTC")
    };
    let mut starts = std::collections::BTreeSet::new();
    for i in 0..50 {
        let name = format!("sync_{i}");
        let fires = upcoming(
            std::slice::from_ref(&schedule),
            &name,
            at("2026-11-21T12:00:00Z"),
            3,
        );
        let late = fires[0].at.duration_since(at("2026-11-22T06:00:00Z"));
        assert!((0..600).contains(&late.as_secs()), "{late:?}");
        for pair in fires.windows(2) {
            assert_eq!(
                pair[1].at.duration_since(pair[0].at),
                SignedDuration::from_hours(24)
            );
        }
        starts.insert(late.as_secs());
    }
    assert!(starts.len() > 40, "only {} different starts", starts.len());
}

#[test]
fn what_was_missed_is_one_run() {
    let quarter = every(900, None, "UTC");
    let missed =
        |after: &str, now: &str| latest(&quarter, "s", at(after), at(now)).map(|at| at.to_string());
    assert_eq!(
        missed("2026-11-18T03:00:00Z", "2026-11-21T12:29:59Z").as_deref(),
        Some("2026-11-21T12:15:00Z")
    );
    assert_eq!(missed("2026-11-21T12:15:00Z", "2026-11-21T12:29:59Z"), None);
    assert_eq!(
        missed("2026-11-21T12:15:00Z", "2026-11-21T12:30:00Z").as_deref(),
        Some("2026-11-21T12:30:00Z")
    );
    let yearly = cron("0 0 29 2 *", "UTC");
    assert_eq!(
        latest(
            &yearly,
            "s",
            at("2020-03-01T00:00:00Z"),
            at("2026-11-21T00:00:00Z")
        )
        .map(|at| at.to_string())
        .as_deref(),
        Some("2024-02-29T00:00:00Z")
    );
}

#[test]
fn events_have_no_time() {
    let after = Schedule::new(Trigger::Dbt { job: "1".into() });
    assert_eq!(after.next("s", at("2026-11-21T12:00:00Z")), None);
    assert_eq!(after.smallest_gap(), None);
}

/// A cron field as text beside the set it means, made independently of the parser.
#[derive(Debug, Clone)]
struct OracleField {
    text: String,
    values: Vec<i64>,
}

fn field(min: i64, max: i64) -> impl Strategy<Value = OracleField> {
    let list = |values: Vec<i64>| OracleField {
        text: values
            .iter()
            .map(i64::to_string)
            .collect::<Vec<_>>()
            .join(","),
        values,
    };
    prop_oneof![
        Just(OracleField {
            text: "*".into(),
            values: (min..=max).collect(),
        }),
        (2_i64..=5).prop_map(move |step| OracleField {
            text: format!("*/{step}"),
            values: (min..=max).filter(|v| (v - min) % step == 0).collect(),
        }),
        prop::collection::vec(min..=max, 1..4).prop_map(list),
        (min..=max, min..=max).prop_map(move |(a, b)| OracleField {
            text: format!("{}-{}", a.min(b), a.max(b)),
            values: (a.min(b)..=a.max(b)).collect(),
        }),
    ]
}

const ZONES: [&str; 4] = [
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "UTC",
];

/// Whether a minute is due, by what the wall shows then and shortly before.
fn due(zone: &TimeZone, fields: &[OracleField; 5], minute: Timestamp) -> bool {
    let wanted = |date: jiff::civil::Date, hour: i8, minute: i8| {
        let has = |i: usize, v: i8| fields[i].values.contains(&i64::from(v));
        let star = |i: usize| fields[i].text.starts_with('*');
        let by_day = has(2, date.day());
        let by_weekday = has(4, date.weekday().to_sunday_zero_offset());
        let day = if !star(2) && !star(4) {
            by_day || by_weekday
        } else {
            by_day && by_weekday
        };
        has(0, minute) && has(1, hour) && has(3, date.month()) && day
    };
    let wall = zone.to_datetime(minute);
    let matches = wanted(wall.date(), wall.hour(), wall.minute());
    if fields[1].text.starts_with('*') {
        return matches;
    }
    // Shown before: by an earlier minute of the last two hours.
    let earlier = |minutes: i64| minute - SignedDuration::from_mins(minutes);
    let again = matches && (1..=120).any(|m| zone.to_datetime(earlier(m)) == wall);
    // Jumped over: between the minute before and this one.
    let mut jumped = zone.to_datetime(earlier(1)) + SignedDuration::from_mins(1);
    let mut missed = false;
    while jumped < wall {
        missed |= wanted(jumped.date(), jumped.hour(), jumped.minute());
        jumped += SignedDuration::from_mins(1);
    }
    (matches && !again) || missed
}

fn around_a_change() -> impl Strategy<Value = Timestamp> {
    let days = [
        date(2026, 3, 28),
        date(2026, 10, 24),
        date(2026, 3, 7),
        date(2026, 10, 31),
        date(2026, 10, 3),
        date(2026, 4, 4),
        date(2027, 12, 30),
        date(2028, 2, 28),
    ];
    (prop::sample::select(days.to_vec()), 0_i64..2_880).prop_map(|(day, minutes)| {
        let start = day.to_zoned(TimeZone::UTC).expect("a day").timestamp();
        start + SignedDuration::from_mins(minutes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn cron_agrees_with_a_look_at_every_minute(
        minutes in field(0, 59),
        hours in field(0, 23),
        day in field(1, 31),
        month in Just(OracleField { text: "*".into(), values: (1..=12).collect() }),
        weekday in field(0, 6),
        zone_name in prop::sample::select(ZONES.to_vec()),
        start in around_a_change(),
    ) {
        let fields = [minutes, hours, day, month, weekday];
        let text = fields.iter().map(|f| f.text.clone()).collect::<Vec<_>>().join(" ");
        let Ok(parsed) = Cron::parse(&text) else {
            // Days that exist in some month always do.
            return Err(TestCaseError::fail(format!("{text} was refused")));
        };
        let zone = zone(zone_name);
        let schedule = Schedule { zone: zone.clone(), ..Schedule::new(Trigger::Cron(parsed)) };
        let horizon = 2 * 1_440;
        let oracle: Vec<Timestamp> = (1..=horizon)
            .map(|m| start + SignedDuration::from_mins(m))
            .filter(|minute| due(&zone, &fields, *minute))
            .take(12)
            .collect();
        let found: Vec<Timestamp> = upcoming(&[schedule], "s", start, 12)
            .into_iter()
            .map(|fire| fire.at)
            .filter(|at| *at <= start + SignedDuration::from_mins(horizon))
            .collect();
        prop_assert_eq!(found, oracle, "{} in {}", text, zone_name);
    }

    #[test]
    fn the_next_time_is_strictly_later_and_not_too_late(
        seconds in 10_u64..200_000,
        start in prop::option::of((0_i8..24, 0_i8..60)),
        zone_name in prop::sample::select(ZONES.to_vec()),
        from in around_a_change(),
        nanos in 0_i64..1_000_000_000,
    ) {
        let schedule = every(seconds, start, zone_name);
        let from = from + SignedDuration::from_nanos(nanos);
        let first = schedule.next("s", from).expect("a period has a next time");
        let second = schedule.next("s", first.at).expect("a period has a next time");
        prop_assert!(first.at > from && second.at > first.at);
        // A day has at most 25 hours.
        let days = seconds.div_ceil(86_400) as i64;
        let longest = SignedDuration::from_secs(seconds as i64) + SignedDuration::from_hours(days);
        prop_assert!(second.at.duration_since(first.at) <= longest);
        // Whoever asks in between gets the same answer.
        let between = first.at + (second.at.duration_since(first.at)) / 2;
        prop_assert_eq!(schedule.next("s", between), Some(second));
        prop_assert_eq!(latest(&schedule, "s", from, first.at), Some(first.at));
    }
}
