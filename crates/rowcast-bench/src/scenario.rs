//! What is done for each goal, and in which order.
//!
//! Whatever a repetition needs is put back before it, outside the time; what it delivered is
//! compared with the source after it.

mod finding;
mod queries;
mod sending;
mod tables;

use crate::bench::{Attempt, Bench, Contender};
use crate::results::Kind;
use crate::terminal::{complain, heading};

type Scenario = fn(&mut Bench) -> Result<(), String>;

/// The goals, those that need the tables as they were made before those that change them.
const SCENARIOS: &[(u8, &str, Scenario)] = &[
    (1, "no change, 13 columns", finding::no_change),
    (4, "first sync to HTTP", sending::first_sync),
    (5, "first sync beside the peers", sending::beside_peers),
    (10, "one row a request", sending::single),
    (6, "PostgreSQL to PostgreSQL", tables::postgres),
    (9, "the size of state", finding::state),
    (11, "a joined model, no change", queries::joined),
    (12, "a small model, no change", queries::small),
    (3, "1 % and 10 % changed", finding::changes),
    (8, "write-ahead log in the source", finding::log),
    (7, "memory", finding::memory),
    (2, "1 % changed in the big table", finding::big),
];

/// Measures what was asked for. One goal that can't be measured does not keep the others from it.
pub(crate) fn run(bench: &mut Bench) {
    for (goal, title, scenario) in SCENARIOS {
        if bench.options.wants(*goal) {
            heading(&format!("goal {goal}: {title}"));
            if let Err(error) = scenario(bench) {
                complain(&format!("goal {goal} could not be measured: {error}"));
            }
        }
    }
}

/// A contender with the usual number of rows and runs.
fn contender<'a>(
    bench: &Bench,
    id: &'static str,
    label: &str,
    kind: Kind,
    attempt: Attempt<'a>,
) -> Contender<'a> {
    Contender {
        id,
        label: label.to_owned(),
        kind,
        rows: bench.options.rows,
        runs: bench.options.runs,
        attempt,
    }
}

/// The limit of most goals: the rows of a query as text, to a client that throws them away.
fn copy_text<'a>(bench: &Bench, database: &'static str, query: &'static str) -> Contender<'a> {
    let attempt = move |bench: &mut Bench, _| bench.copy(database, query, false);
    contender(
        bench,
        "copy_text",
        "psql COPY, text",
        Kind::Limit,
        Box::new(attempt),
    )
}
