//! The views `runs` and `row_log`: what people may query and build on, column by column.
//!
//! This table makes the views, the comments in the database and the page of the reference. A column
//! that has landed keeps its name, type and meaning for ever, and new ones come last: PostgreSQL
//! itself refuses to replace a view otherwise.

use std::fmt::Write as _;

use crate::sql::{ident, literal};

/// Raised when columns are added.
const VERSION: u32 = 2;

struct View {
    name: &'static str,
    about: &'static str,
    /// `r` and `s` are what columns are taken from.
    from: &'static str,
    /// (name, type, expression, what it is)
    columns: &'static [(&'static str, &'static str, &'static str, &'static str)],
}

const RUNS: View = View {
    name: "runs",
    about: "One line for each run of each sync, for as long as `retention.runs` says. Counts are null until the run ends.",
    from: "{s}.run_history r JOIN {s}.sync s ON s.id = r.sync_id",
    columns: &[
        (
            "run",
            "bigint",
            "r.run",
            "Number of the run; later runs have larger ones",
        ),
        ("sync", "text", "s.name", "Name of the sync"),
        (
            "trigger",
            "text",
            "r.trigger",
            "Who asked: `cli`, `schedule`, `api`, `after` and others",
        ),
        (
            "status",
            "text",
            "r.status",
            "`running`, `succeeded`, `partial`, `failed`, `cancelled`, `held`",
        ),
        (
            "started_at",
            "timestamp with time zone",
            "r.started_at",
            "When it began",
        ),
        (
            "finished_at",
            "timestamp with time zone",
            "r.finished_at",
            "When it ended",
        ),
        (
            "duration_us",
            "bigint",
            "r.duration_us",
            "How long it took, in microseconds",
        ),
        ("read", "bigint", "r.read", "Rows of the model"),
        (
            "unchanged",
            "bigint",
            "r.unchanged",
            "Rows that are as they were delivered",
        ),
        (
            "added",
            "bigint",
            "r.added",
            "Rows that are new since they were last delivered",
        ),
        (
            "updated",
            "bigint",
            "r.updated",
            "Rows that changed since they were last delivered",
        ),
        (
            "removed",
            "bigint",
            "r.removed",
            "Rows that are gone from the model",
        ),
        (
            "retried",
            "bigint",
            "r.retried",
            "Rejected or doubtful changes that were tried again",
        ),
        (
            "invalid_keys",
            "bigint",
            "r.invalid_keys",
            "Rows whose key is null or there twice",
        ),
        (
            "delivered",
            "bigint",
            "r.delivered",
            "Changes that the destination accepted",
        ),
        (
            "skipped",
            "bigint",
            "r.skipped",
            "Changes that mode, trigger or consent leave out",
        ),
        (
            "invalid",
            "bigint",
            "r.invalid",
            "Changes that can't be mapped",
        ),
        (
            "rejected",
            "bigint",
            "r.rejected",
            "Changes that the destination refused",
        ),
        (
            "held",
            "bigint",
            "r.held",
            "Changes that wait for an earlier one of the same record",
        ),
        (
            "pending",
            "bigint",
            "r.pending",
            "Changes left to the next run",
        ),
        (
            "requests",
            "bigint",
            "r.requests",
            "Requests to the destination, repeated ones included",
        ),
        (
            "retries",
            "bigint",
            "r.retries",
            "Requests that were repeated",
        ),
        (
            "spool_bytes",
            "bigint",
            "r.spool_bytes",
            "Bytes of changes kept on the worker's disk meanwhile",
        ),
        (
            "error_code",
            "text",
            "r.error_code",
            "Code of what ended or held the run",
        ),
        (
            "error_message",
            "text",
            "r.error_message",
            "What was attempted, on which object",
        ),
        (
            "error_detail",
            "text",
            "r.error_detail",
            "The other side's words",
        ),
        ("error_hint", "text", "r.error_hint", "The way out"),
        (
            "reasons",
            "jsonb",
            "r.reasons",
            "Reasons of rejected, invalid and skipped changes: a list of `code`, `message`, `count`",
        ),
        ("guards", "jsonb", "r.guards", "Guards that held it"),
        (
            "overrides",
            "text[]",
            "r.overrides",
            "Guards that were told not to hold it",
        ),
        ("notes", "text[]", "r.notes", "What else there is to say"),
        (
            "phases",
            "jsonb",
            "r.phases",
            "Steps of the flow in order: a list of `step`, `duration_us`",
        ),
        (
            "retried_present",
            "bigint",
            "r.retried_present",
            "Those of `retried` whose row is still in the model",
        ),
        (
            "state_rows",
            "bigint",
            "r.state_rows",
            "Rows of state that the model was compared with",
        ),
        (
            "database_us",
            "bigint",
            "r.database_us",
            "How long the run waited for PostgreSQL, source and state together, in microseconds; less than it when several requests overlap",
        ),
        (
            "wal_bytes",
            "bigint",
            "r.wal_bytes",
            "Bytes of write-ahead log; `wal_of` says whose",
        ),
        (
            "wal_of",
            "text",
            "r.wal_of",
            "`run`: written by the run's own connection (PostgreSQL 18 and later). `server`: written by the whole server meanwhile, so the run's share is at most that",
        ),
    ],
};

const ROW_LOG: View = View {
    name: "row_log",
    about: "What became of single rows, for as long as `retention.row_log` says: rejected, invalid and unknown ones, and with `log: all` every one.",
    from: "{s}.row_history l JOIN {s}.sync s ON s.id = l.sync_id",
    columns: &[
        (
            "at",
            "timestamp with time zone",
            "l.at",
            "When it was noted",
        ),
        ("run", "bigint", "l.run", "The run, as in `runs`"),
        ("sync", "text", "s.name", "Name of the sync"),
        (
            "key",
            "text",
            "l.key",
            "Primary key: as text, or as a JSON list when it has several columns",
        ),
        (
            "change",
            "text",
            "l.change",
            "`added`, `updated`, `removed`",
        ),
        (
            "operation",
            "text",
            "l.operation",
            "What was asked of the destination: `insert`, `update`, `upsert`, `delete`",
        ),
        (
            "outcome",
            "text",
            "l.outcome",
            "`delivered`, `skipped`, `invalid`, `rejected`, `unknown`",
        ),
        ("code", "text", "l.code", "Code of the reason"),
        (
            "message",
            "text",
            "l.message",
            "The reason, in the destination's words",
        ),
        (
            "idempotency_key",
            "text",
            "l.idempotency_key",
            "The key that its request carried, to find it at the destination",
        ),
    ],
};

const VIEWS: [&View; 2] = [&RUNS, &ROW_LOG];

/// The statements that make the views, or bring earlier ones up to this version.
pub(super) fn definition(schema: &str) -> String {
    let s = ident(schema);
    let mut sql = String::new();
    for view in VIEWS {
        let columns: Vec<String> = view
            .columns
            .iter()
            .map(|(name, _, expression, _)| format!("{expression} AS {name}"))
            .collect();
        let _ = writeln!(
            sql,
            "CREATE OR REPLACE VIEW {s}.{} AS SELECT {} FROM {};",
            view.name,
            columns.join(", "),
            view.from.replace("{s}", &s)
        );
        let about = format!("Version {VERSION}. {}", view.about);
        let _ = writeln!(
            sql,
            "COMMENT ON VIEW {s}.{} IS {};",
            view.name,
            literal(&about)
        );
        for (name, _, _, about) in view.columns {
            let _ = writeln!(
                sql,
                "COMMENT ON COLUMN {s}.{}.{name} IS {};",
                view.name,
                literal(about)
            );
        }
    }
    sql
}

/// The page of the reference.
pub fn page() -> String {
    let mut page = format!(
        "# Views\n\nTwo views of the state schema that you may query and build on. This is version {VERSION} of them: \
         columns keep their names, types and meanings, and new ones come last. Everything else in the schema is \
         Rowcast's own and changes with it. The comments of the columns are in the database too: `\\d+ _rowcast.runs`.\n\n\
         Two sums hold in every line of `runs` that ended:\n\n```text\n\
         read = unchanged + added + updated + retried_present + invalid_keys\n\
         added + updated + removed + retried = delivered + skipped + invalid + rejected + held + pending\n```\n\n\
         What a run cost the database is `database_us`, the rows it compared (`read` and `state_rows`) and `wal_bytes`.\n"
    );
    for view in VIEWS {
        let _ = writeln!(
            page,
            "\n## {}\n\n{}\n\n| column | type | what it is |\n|---|---|---|",
            view.name, view.about
        );
        for (name, kind, _, about) in view.columns {
            let _ = writeln!(page, "| `{name}` | {kind} | {about} |");
        }
    }
    page
}

/// Name and type of each column of a view, in order; `None` when there is no such view.
#[doc(hidden)]
pub fn columns(view: &str) -> Option<Vec<(&'static str, &'static str)>> {
    let view = VIEWS.iter().find(|known| known.name == view)?;
    let columns = view.columns.iter();
    Some(columns.map(|(name, kind, _, _)| (*name, *kind)).collect())
}
