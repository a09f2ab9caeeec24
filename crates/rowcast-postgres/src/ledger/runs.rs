//! Runs as they are remembered: which of them, and how they are read from any layout.

use rowcast_core::Reason;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::admin::{MOMENT, RunRow, StateAdmin};
use crate::connect::db_error;

/// Which runs to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    All,
    /// Of a sync, before one of them.
    Of(&'a str, Option<i64>),
    Among(&'a RunFilter<'a>),
    Exactly(&'a [i64]),
}

/// Which runs, of several syncs.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunFilter<'a> {
    pub syncs: &'a [String],
    pub status: Option<&'a str>,
    /// Begun then or later, in microseconds since 1970.
    pub since_us: Option<i64>,
    /// Only runs before this one.
    pub before: Option<i64>,
}

impl StateAdmin {
    pub(super) async fn read_runs(
        &self,
        client: &Client,
        which: &Which<'_>,
        limit: i64,
    ) -> Result<Vec<RunRow>, Reason> {
        let moment = |column: &str| format!("to_char(r.{column} AT TIME ZONE 'UTC', '{MOMENT}')");
        let s = crate::sql::ident(&self.schema);
        // Each follows an index, however many runs there are.
        let (condition, params): (String, Vec<(&(dyn ToSql + Sync), Type)>) = match which {
            Which::All => ("true".to_owned(), Vec::new()),
            Which::Of(sync, before) => (
                format!(
                    "r.sync_id = (SELECT id FROM {s}.sync WHERE name = $1) \
                     AND ($2::bigint IS NULL OR r.run < $2)"
                ),
                vec![(sync, Type::TEXT), (before, Type::INT8)],
            ),
            Which::Among(filter) => (
                format!(
                    "r.sync_id IN (SELECT id FROM {s}.sync WHERE name = ANY ($1)) \
                     AND ($2::bigint IS NULL OR r.run < $2) AND ($3::text IS NULL OR r.status = $3) \
                     AND ($4::bigint IS NULL OR r.started_at >= to_timestamp(0) + $4 * interval '1 microsecond')"
                ),
                vec![
                    (&filter.syncs, Type::TEXT_ARRAY),
                    (&filter.before, Type::INT8),
                    (&filter.status, Type::TEXT),
                    (&filter.since_us, Type::INT8),
                ],
            ),
            Which::Exactly(runs) => (
                "r.run = ANY ($1)".to_owned(),
                vec![(runs, Type::INT8_ARRAY)],
            ),
        };
        // Of earlier layouts, some columns are missing: what is not there is null.
        let later = |column: &str, kind: &str| format!("(to_jsonb(r) ->> '{column}')::{kind}");
        let sql = format!(
            "SELECT r.run, s.name, r.trigger, r.status, {}, {}, r.duration_us, r.read, r.unchanged, r.added, r.updated, \
             r.removed, r.retried, r.invalid_keys, r.delivered, r.skipped, r.invalid, r.rejected, r.held, r.pending, \
             r.requests, r.retries, r.error_code, r.error_message, coalesce(r.notes, '{{}}'), \
             r.retried_present, {}, {}, {}, {}, r.phases::text \
             FROM (SELECT * FROM {s}.run_history r WHERE {condition} ORDER BY r.run DESC LIMIT {limit}) r \
             JOIN {s}.sync s ON s.id = r.sync_id ORDER BY r.run DESC",
            moment("started_at"),
            moment("finished_at"),
            later("state_rows", "bigint"),
            later("database_us", "bigint"),
            later("wal_bytes", "bigint"),
            later("wal_of", "text"),
        );
        let rows = client
            .query_typed(&sql, &params)
            .await
            .map_err(|error| db_error(&error, "reading runs"))?;
        Ok(rows
            .iter()
            .map(|row| RunRow {
                run: row.get(0),
                sync: row.get(1),
                trigger: row.get(2),
                status: row.get(3),
                started_at: row.get(4),
                finished_at: row.get(5),
                duration_us: row.get(6),
                read: row.get(7),
                unchanged: row.get(8),
                added: row.get(9),
                updated: row.get(10),
                removed: row.get(11),
                retried: row.get(12),
                invalid_keys: row.get(13),
                delivered: row.get(14),
                skipped: row.get(15),
                invalid: row.get(16),
                rejected: row.get(17),
                held: row.get(18),
                pending: row.get(19),
                requests: row.get(20),
                retries: row.get(21),
                error_code: row.get(22),
                error_message: row.get(23),
                notes: row.get(24),
                retried_present: row.get(25),
                state_rows: row.get(26),
                database_us: row.get(27),
                wal_bytes: row.get(28),
                wal_of: row.get(29),
                steps: row
                    .get::<_, Option<String>>(30)
                    .and_then(|text| serde_json::from_str(&text).ok())
                    .unwrap_or_default(),
            })
            .collect())
    }
}
