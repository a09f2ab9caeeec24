//! Which point is reached by which run: the table of the crash tests.

/// A destination of the crash tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Postgres,
}

/// What must be so before a run passes the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Rows that changed.
    Changes,
    /// The destination refuses once and asks to come again.
    Retry,
    /// The destination refuses a batch whole for one bad record.
    BadRecord,
    /// An earlier run was killed with requests on their way.
    EarlierCrash,
    /// The mapping changed.
    NewMapping,
    /// New rows and nothing else, in half the worlds after a crash that left some acknowledged.
    Additions,
    /// The same, and they are folded while the run goes on.
    Ahead,
    /// A mode that skips removed rows.
    Skips,
    /// Changes that are written beside state and moved into it at once.
    Recent,
}

/// Where a process is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    only: Option<Kind>,
    pub(crate) needs: Needs,
    /// So many times every run of the test passes it at least; the seed chooses one of them.
    pub(crate) passages: u64,
}

impl Point {
    pub(crate) fn is_on(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }
}

const fn point(name: &'static str, needs: Needs, passages: u64) -> Point {
    Point {
        name,
        only: None,
        needs,
        passages,
    }
}

const fn only(kind: Kind, name: &'static str, needs: Needs, passages: u64) -> Point {
    Point {
        only: Some(kind),
        ..point(name, needs, passages)
    }
}

use Needs::{Additions, Ahead, BadRecord, Changes, EarlierCrash, NewMapping, Recent, Retry, Skips};

/// Removals go first and alone, so that a run has two windows at least.
pub(crate) const POINTS: &[Point] = &[
    point("ledger-leased", Changes, 1),
    point("run-opened", Changes, 1),
    only(Kind::Postgres, "postgres-destination-opened", Changes, 1),
    point("ledger-recovery-written", EarlierCrash, 1),
    point("ledger-recovered", EarlierCrash, 1),
    point("run-recovered", EarlierCrash, 1),
    point("ledger-plan-stored", NewMapping, 1),
    point("ledger-snapshot", Changes, 1),
    point("ledger-spooled", Changes, 1),
    point("run-diffed", Changes, 1),
    point("run-guarded", Changes, 1),
    point("window-before-intent", Changes, 2),
    point("ledger-step-written", Changes, 3),
    point("ledger-mark-written", Additions, 1),
    point("ledger-step-committed", Changes, 3),
    point("ledger-mark-committed", Additions, 1),
    point("ledger-ahead-before", Ahead, 1),
    point("ledger-ahead-written", Ahead, 1),
    point("ledger-ahead-folded", Ahead, 1),
    point("window-intent-committed", Changes, 2),
    point("request-before", Changes, 6),
    only(Kind::Postgres, "postgres-destination-written", Changes, 6),
    only(Kind::Postgres, "postgres-destination-committed", Changes, 6),
    point("request-answered", Changes, 6),
    point("retry-before", Retry, 1),
    only(Kind::Http, "split-before", BadRecord, 1),
    point("acknowledge-before", Changes, 2),
    point("acknowledge-committed", Changes, 2),
    point("skips-acknowledged", Skips, 1),
    point("deletes-done", Changes, 2),
    point("run-before-finish", Changes, 1),
    point("ledger-fold-before", Additions, 1),
    point("ledger-fold-loaded", Additions, 1),
    point("ledger-fold-written", Additions, 1),
    point("ledger-folded", Additions, 1),
    point("ledger-recent-before", Recent, 1),
    point("ledger-recent-written", Recent, 1),
    point("ledger-recent-folded", Recent, 1),
    point("ledger-finish-written", Changes, 1),
    point("ledger-finished", Changes, 1),
    point("run-finished", Changes, 1),
];

/// Only destinations that publish at the end pass it: neither of the two.
const ELSEWHERE: &[&str] = &["run-before-publish"];

#[test]
fn the_table_names_every_point_and_at_least_twenty_for_each_destination() {
    let mut known: Vec<&str> = rowcast_core::killpoint::POINTS.to_vec();
    let mut here: Vec<&str> = POINTS.iter().map(|point| point.name).collect();
    here.extend(ELSEWHERE);
    known.sort_unstable();
    here.sort_unstable();
    assert_eq!(here, known);
    for kind in [Kind::Http, Kind::Postgres] {
        assert!(POINTS.iter().filter(|point| point.is_on(kind)).count() >= 20);
    }
}
