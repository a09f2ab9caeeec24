//! Keys that a project can preset for all its syncs or destinations, and the shapes they are made of.

use rowcast_core::alert::{Counter, RUNS_MAX};

use crate::schedule::DAYS;
use crate::shape::{Key, Kind, Shape};

pub(crate) fn list(item: Shape) -> Shape {
    Shape::List(Box::new(item))
}

pub(crate) fn map(value: Shape) -> Shape {
    Shape::Map(Box::new(value))
}

pub(crate) fn count() -> Shape {
    Shape::Integer {
        min: 1,
        max: u64::MAX,
    }
}

pub(crate) fn up_to(max: u64) -> Shape {
    Shape::Integer { min: 1, max }
}

fn schedule() -> Shape {
    let time_zone =
        || Key::optional("timezone", Shape::TimeZone, "Zone of the times").default("UTC");
    let overlap = || {
        Key::optional(
            "overlap",
            Shape::Choice(vec!["skip", "queue"]),
            "What happens when the sync is still running",
        )
        .default("skip")
    };
    let catch_up = || {
        Key::optional(
            "catch_up",
            Shape::Boolean,
            "Whether a missed run is made up for, once",
        )
        .default("true")
    };
    let jitter = Key::optional(
        "jitter",
        Shape::Duration,
        "Starts later by a part of this that depends on the sync's name and is the same each time, so that syncs due at one time do not start at once",
    )
    .default("0s");
    let days = DAYS.iter().map(|(word, _)| *word).collect();
    // One group: which keys belong together is checked when the schedule is read, because the
    // message can then name the form that was meant.
    let form = Shape::Group(vec![
        Key::optional("every", Shape::Period, "Period, from 10s").example("15m"),
        Key::optional(
            "cron",
            Shape::Cron,
            "Minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly, @yearly",
        )
        .example("\"0 6 * * 1-5\""),
        Key::optional(
            "days",
            list(Shape::Choice(days)),
            "Days of the week, with `at`",
        )
        .example("[mon, thu]"),
        Key::optional(
            "after",
            list(Shape::Reference(Kind::Sync)),
            "Syncs after whose end this one runs",
        )
        .example("[orders]"),
        Key::optional(
            "dbt",
            Shape::Group(vec![
                Key::required(
                    "job",
                    Shape::Plain,
                    "The dbt Cloud job after whose end this sync runs",
                )
                .example("1234"),
            ]),
            "A dbt Cloud job",
        ),
        Key::optional(
            "at",
            Shape::TimeOfDay,
            "Time of day, for `days`, or from which `every` is counted; midnight without it",
        )
        .example("\"09:30\""),
        Key::optional(
            "when",
            Shape::Choice(vec!["succeeded", "finished"]),
            "Which ends of the other syncs count, for `after`",
        )
        .default("succeeded"),
        time_zone(),
        overlap(),
        catch_up(),
        jitter,
    ]);
    Shape::Either(vec![
        Shape::Choice(vec!["manual"]),
        form.clone(),
        list(form),
    ])
}

fn run() -> Shape {
    Shape::Group(vec![
        Key::optional(
            "max_duration",
            Shape::Period,
            "A run stops after this time; the rest follows in the next run",
        )
        .example("1h"),
        Key::optional(
            "max_records",
            count(),
            "A run sends at most this many records",
        )
        .example("50000"),
    ])
}

fn retry() -> Shape {
    Shape::Group(vec![
        Key::optional(
            "runs",
            Shape::Integer {
                min: 0,
                max: 10_000,
            },
            "In how many following runs a rejected row is tried again",
        )
        .default("5"),
        Key::optional("for", Shape::Duration, "For how long it is tried again").default("14d"),
    ])
}

fn guards() -> Shape {
    Shape::Group(vec![
        Key::optional(
            "removed",
            Shape::Percent,
            "Share of the rows in state that may be removed within 24 hours",
        )
        .default("10%"),
        Key::optional(
            "changed",
            Shape::Percent,
            "Share of the rows in state that may change in one run",
        )
        .default("100%"),
        Key::optional("calls", count(), "Most requests in one run").example("100000"),
    ])
}

fn alerts() -> Shape {
    let yes_or_no = |name, help| Key::optional(name, Shape::Boolean, help);
    let counters = Counter::ALL
        .iter()
        .map(|counter| counter.as_str())
        .collect();
    let deviation = Shape::Group(vec![
        Key::required("over", Shape::Percent, "How far it may be from the mean").example("50%"),
        Key::optional(
            "of",
            Shape::Choice(counters),
            "Which count of a run is compared",
        )
        .default("read"),
        Key::optional(
            "runs",
            up_to(RUNS_MAX.into()),
            "The mean is of so many successful runs before it; nothing is told before there are three",
        )
        .default("10"),
    ]);
    Shape::Group(vec![
        yes_or_no("failed", "Tell when a run failed or could not begin").default("true"),
        yes_or_no("held", "Tell when a guard held a run").default("true"),
        Key::optional(
            "rejected",
            Shape::Percent,
            "Tell when more of the records that a run tried to deliver were rejected or invalid",
        )
        .example("5%"),
        Key::optional(
            "late",
            Shape::Period,
            "Tell when the last success is older than this, whether or not anything ran",
        )
        .example("1h"),
        Key::optional("runtime", Shape::Period, "Tell when a run takes longer").example("30m"),
        Key::optional(
            "deviation",
            deviation,
            "Tell when a count differs from the mean of earlier runs",
        )
        .example("{ over: 50% }"),
        yes_or_no(
            "full",
            "Tell when a run sent every row again, and why; not for `refresh: full`",
        )
        .default("false"),
        Key::optional(
            "remind",
            Shape::Either(vec![Shape::Choice(vec!["never"]), Shape::Period]),
            "Tell again while it lasts",
        )
        .default("1d"),
        yes_or_no("recovery", "Tell when it is over").default("true"),
        Key::optional(
            "to",
            list(Shape::Plain),
            "Channels of rowcast.yml; nothing is told without",
        )
        .example("[ops]"),
    ])
}

/// Keys of a sync that a project can preset.
pub(crate) fn sync_policies() -> Vec<Key> {
    vec![
        Key::optional(
            "schedule",
            schedule(),
            "When it is due: one form or a list of forms",
        )
        .example("{ every: 15m }"),
        Key::optional("run", run(), "Limits of one run"),
        Key::optional(
            "retry",
            retry(),
            "How rejected rows are tried again: with their newest value",
        ),
        Key::optional(
            "guards",
            guards(),
            "What holds a run before its first request",
        ),
        Key::optional("alerts", alerts(), "What a server tells, and to whom"),
        Key::optional(
            "log",
            Shape::Choice(vec!["errors", "all"]),
            "Which rows the row log names",
        )
        .example("errors"),
        Key::optional(
            "keep",
            Shape::Choice(vec!["rows"]),
            "Keeps the values sent, for old and new in plans, undo and delete payloads",
        ),
    ]
}

/// Keys of a destination that a project can preset.
pub(crate) fn destination_policies() -> Vec<Key> {
    vec![
        Key::optional(
            "batch",
            Shape::Group(vec![
                Key::optional(
                    "max_records",
                    up_to(1_000_000),
                    "Most records in one request",
                )
                .example("100"),
                Key::optional("max_bytes", Shape::Size, "Most bytes in one request").example("1MB"),
            ]),
            "Records that travel together; without it, what the connector does by default",
        ),
        Key::optional(
            "rate",
            Shape::Group(vec![
                Key::required("requests", up_to(1_000_000), "How many requests").example("50"),
                Key::required("per", Shape::Period, "In which time").example("1s"),
            ]),
            "Limit shared by all syncs of this destination",
        )
        .example("{ requests: 50, per: 1s }"),
        Key::optional(
            "quota",
            Shape::Group(vec![
                Key::required("requests", up_to(1_000_000_000), "How many requests")
                    .example("250000"),
                Key::required("per", Shape::Period, "In which time, counted from 1970 in UTC")
                    .example("1d"),
            ]),
            "What the account is allowed in a longer time: shared by all its syncs and by all processes, counted \
             where state lives",
        )
        .example("{ requests: 250000, per: 1d }"),
        Key::optional(
            "concurrency",
            up_to(1_000),
            "Most requests of a run in flight together: fewer when the service asks to send slower",
        )
        .example("8"),
        Key::optional("timeout", Shape::Period, "How long one request may take").example("30s"),
        Key::optional(
            "allow_addresses",
            list(Shape::Addresses),
            "Loopback, private and link-local addresses that may be reached",
        )
        .example("[10.0.0.0/8]"),
    ]
}
