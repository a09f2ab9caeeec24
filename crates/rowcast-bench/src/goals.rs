//! The goals: which figures, against which bar. The only place where a result is called met or
//! missed.

use crate::results::Results;
use crate::stats::ratio;

/// What a figure must not pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

/// One figure with its bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Check {
    /// The goal's number and a letter: what notes refer to.
    pub(crate) key: String,
    pub(crate) goal: u8,
    pub(crate) what: &'static str,
    /// `None`: not measured, or void.
    pub(crate) value: Option<f64>,
    pub(crate) unit: &'static str,
    pub(crate) bar: Bar,
}

impl Check {
    /// `None` when there is no figure.
    pub(crate) fn met(&self) -> Option<bool> {
        let value = self.value?;
        Some(match self.bar {
            Bar::AtMost(most) => value <= most,
            Bar::AtLeast(least) => value >= least,
        })
    }
}

/// A figure of a measure, by goal, measure and name.
fn figure(results: &Results, goal: u8, id: &str, name: &str) -> Option<f64> {
    results.find(goal, id)?.figure(name)
}

fn wall(results: &Results, goal: u8, id: &str) -> Option<f64> {
    figure(results, goal, id, "wall_s")
}

fn speed(results: &Results, goal: u8, id: &str) -> Option<f64> {
    results.find(goal, id)?.rows_per_second()
}

/// All checks of all goals.
pub(crate) fn checks(results: &Results) -> Vec<Check> {
    use Bar::{AtLeast, AtMost};
    let r = results;
    let walls = |goal, a, b| ratio(wall(r, goal, a), wall(r, goal, b));
    let speeds = |goal, a, b| ratio(speed(r, goal, a), speed(r, goal, b));
    let get = |goal, id, name| figure(r, goal, id, name);
    let milliseconds = |value: Option<f64>| value.map(|seconds| seconds * 1000.0);
    let most = |ids: &[&str]| {
        let values: Option<Vec<f64>> = ids.iter().map(|id| figure(r, 7, id, "memory_mb")).collect();
        values?.into_iter().reduce(f64::max)
    };
    let (small, big) = (most(&["first", "one"]), most(&["first_big", "one_big"]));
    let temporary = ratio(get(2, "one", "temp_mb"), get(2, "one", "source_mb"));
    let unordered = ratio(get(2, "uuid", "temp_mb"), get(2, "uuid", "source_mb"));
    let state = ratio(get(9, "state", "state_mb"), get(9, "state", "source_mb"));
    let payloads = get(8, "one", "payloads_in_log");
    let table: Vec<(u8, &'static str, Option<f64>, &'static str, Bar)> = vec![
        (
            1,
            "no change, whole process / COPY text",
            walls(1, "none", "copy_text"),
            "×",
            AtMost(1.15),
        ),
        (
            2,
            "1 % changed, big table / COPY text",
            walls(2, "one", "copy_text"),
            "×",
            AtMost(1.35),
        ),
        (
            2,
            "temporary files / source, ordered key",
            temporary,
            "×",
            AtMost(0.0),
        ),
        (
            2,
            "temporary files / source, random key",
            unordered,
            "×",
            AtMost(0.3),
        ),
        (
            3,
            "1 % changed to NDJSON over HTTP / COPY text",
            walls(3, "one", "copy_text"),
            "×",
            AtMost(1.3),
        ),
        (
            4,
            "first sync, 1,000 rows a request / COPY text",
            walls(4, "thousand", "copy_text"),
            "×",
            AtMost(2.0),
        ),
        (
            5,
            "rows/s to HTTP in batches / drt",
            speeds(5, "thousand", "drt_batch"),
            "×",
            AtLeast(8.0),
        ),
        (
            5,
            "rows/s to HTTP one by one / drt",
            speeds(5, "single", "drt_single"),
            "×",
            AtLeast(8.0),
        ),
        (
            5,
            "rows/s to a JSON lines file / sling",
            speeds(5, "file", "sling_file"),
            "×",
            AtLeast(2.0),
        ),
        (
            6,
            "PostgreSQL to PostgreSQL / binary pipe",
            walls(6, "ours", "pipe_binary"),
            "×",
            AtMost(1.8),
        ),
        (
            6,
            "rows/s to PostgreSQL / sling",
            speeds(6, "ours", "sling"),
            "×",
            AtLeast(1.5),
        ),
        (
            6,
            "rows/s to PostgreSQL / dlt",
            speeds(6, "ours", "dlt"),
            "×",
            AtLeast(4.0),
        ),
        (7, "peak memory, usual table", small, "MB", AtMost(64.0)),
        (7, "peak memory, big table", big, "MB", AtMost(64.0)),
        (
            7,
            "peak memory, big / usual table",
            ratio(big, small),
            "×",
            AtMost(1.1),
        ),
        (
            8,
            "log of a run without changes",
            get(8, "none", "wal_mb"),
            "MB",
            AtMost(0.1),
        ),
        (
            8,
            "the same after a checkpoint",
            get(8, "none_checkpoint", "wal_mb"),
            "MB",
            AtMost(0.1),
        ),
        (
            8,
            "log of a run with 1 % changed",
            get(8, "one", "wal_mb"),
            "MB",
            AtMost(25.0),
        ),
        (
            8,
            "the same after a checkpoint",
            get(8, "one_checkpoint", "wal_mb"),
            "MB",
            AtMost(25.0),
        ),
        (8, "payloads found in that log", payloads, "", AtMost(0.0)),
        (
            9,
            "state with its index / heap of the source",
            state,
            "×",
            AtMost(0.30),
        ),
        (
            10,
            "rows/s one by one / raw load client",
            speeds(10, "single", "raw"),
            "×",
            AtLeast(0.5),
        ),
        (
            11,
            "joined model, no change / COPY text of it",
            walls(11, "none", "copy_text"),
            "×",
            AtMost(1.10),
        ),
        (
            12,
            "5,000 rows, no change, whole process",
            milliseconds(wall(r, 12, "whole")),
            "ms",
            AtMost(300.0),
        ),
        (
            12,
            "start to first query",
            milliseconds(get(12, "start", "start_s")),
            "ms",
            AtMost(50.0),
        ),
    ];
    let mut checks: Vec<Check> = Vec::new();
    for (goal, what, value, unit, bar) in table {
        let before = checks.iter().filter(|check| check.goal == goal).count();
        let letter = char::from(b'a' + before as u8);
        checks.push(Check {
            key: format!("{goal}{letter}"),
            goal,
            what,
            value,
            unit,
            bar,
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Kind;
    use crate::results::tests::{measure, results};

    fn check(checks: &[Check], key: &str) -> Check {
        checks
            .iter()
            .find(|check| check.key == key)
            .unwrap()
            .clone()
    }

    #[test]
    fn a_ratio_is_made_of_the_same_goal_and_judged_by_its_bar() {
        let results = results(vec![
            measure(1, "none", Kind::Ours, &[("wall_s", 2.4)]),
            measure(1, "copy_text", Kind::Limit, &[("wall_s", 2.0)]),
            measure(3, "copy_text", Kind::Limit, &[("wall_s", 1.0)]),
            measure(12, "whole", Kind::Ours, &[("wall_s", 0.2)]),
        ]);
        let checks = checks(&results);
        let first = check(&checks, "1a");
        assert!((first.value.unwrap() - 1.2).abs() < 1e-9);
        assert_eq!(first.met(), Some(false));
        assert_eq!(check(&checks, "12a").met(), Some(true));
        assert_eq!(check(&checks, "3a").met(), None, "not measured is not met");
    }

    #[test]
    fn rows_a_second_are_compared_when_the_rows_differ() {
        let mut ours = measure(5, "single", Kind::Ours, &[("wall_s", 1.0)]);
        ours.rows = 90_000;
        let mut peer = measure(5, "drt_single", Kind::Peer, &[("wall_s", 5.0)]);
        peer.rows = 5_000;
        let checks = checks(&results(vec![ours, peer]));
        assert!((check(&checks, "5b").value.unwrap() - 90.0).abs() < 1e-9);
    }

    #[test]
    fn a_void_run_gives_no_figure() {
        let mut ours = measure(1, "none", Kind::Ours, &[("wall_s", 0.1)]);
        ours.void = Some("a record is missing".to_owned());
        let copy = measure(1, "copy_text", Kind::Limit, &[("wall_s", 1.0)]);
        let checks = checks(&results(vec![ours, copy]));
        assert_eq!(check(&checks, "1a").met(), None);
    }
}
