//! Runs and the row log, a page at a time: by key of the page before, so that a page costs the same
//! however far back it is.

use rowcast_core::Reason;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::types::Type;

use super::admin::{RunRow, StateAdmin, Which};
use super::layout;
use crate::connect::{Connection, db_error};

const MOMENT: &str = "YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"";

/// What to look for in the row log of a run.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    pub key: Option<String>,
    /// `delivered`, `rejected`, `invalid`, `skipped`, …
    pub outcome: Option<String>,
    /// A code of a reason.
    pub code: Option<String>,
    /// Only entries after this one, of the page before.
    pub after: Option<(String, i64)>,
}

/// One line of the row log of a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LogLine {
    pub key: String,
    /// Microseconds since 1970: with the key, the place of the line.
    pub at_us: i64,
    pub at: String,
    pub change: String,
    pub operation: Option<String>,
    pub outcome: String,
    pub code: Option<String>,
    pub message: Option<String>,
    pub idempotency_key: Option<String>,
}

impl StateAdmin {
    async fn opened(&self) -> Result<Option<Connection>, Reason> {
        let connection = self.connector.connect().await?;
        let version = layout::version(&connection.client, &self.schema).await?;
        Ok(version.map(|_| connection))
    }

    /// The runs of a sync before one of them, newest first.
    ///
    /// # Errors
    /// State can't be read.
    pub async fn runs_before(
        &self,
        sync: &str,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<RunRow>, Reason> {
        match self.opened().await? {
            None => Ok(Vec::new()),
            Some(connection) => {
                self.read_runs(&connection.client, &Which::Of(sync, before), limit)
                    .await
            }
        }
    }

    /// The row log of a run of a sync, by key.
    ///
    /// # Errors
    /// State can't be read.
    pub async fn run_log(
        &self,
        sync: &str,
        run: i64,
        filter: &LogFilter,
        limit: i64,
    ) -> Result<Vec<LogLine>, Reason> {
        let Some(connection) = self.opened().await? else {
            return Ok(Vec::new());
        };
        let sql = format!(
            "SELECT l.key, (extract(epoch FROM l.at) * 1000000)::bigint, \
               to_char(l.at AT TIME ZONE 'UTC', '{MOMENT}'), l.change, l.operation, l.outcome, l.code, \
               l.message, l.idempotency_key \
             FROM {s}.row_history l JOIN {s}.sync s ON s.id = l.sync_id \
             WHERE l.run = $1 AND s.name = $2 AND ($3::text IS NULL OR l.key = $3) \
               AND ($4::text IS NULL OR l.outcome = $4) AND ($5::text IS NULL OR l.code = $5) \
               AND ($6::text IS NULL OR (l.key COLLATE \"C\", l.at) > \
                 ($6, to_timestamp(0) + $7::bigint * interval '1 microsecond')) \
             ORDER BY l.key COLLATE \"C\", l.at LIMIT $8",
            s = crate::sql::ident(&self.schema)
        );
        let (after_key, after_at) = match &filter.after {
            Some((key, at)) => (Some(key.as_str()), *at),
            None => (None, 0),
        };
        let rows = connection
            .client
            .query_typed(
                &sql,
                &[
                    (&run, Type::INT8),
                    (&sync, Type::TEXT),
                    (&filter.key, Type::TEXT),
                    (&filter.outcome, Type::TEXT),
                    (&filter.code, Type::TEXT),
                    (&after_key, Type::TEXT),
                    (&after_at, Type::INT8),
                    (&limit, Type::INT8),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "reading the row log"))?;
        Ok(rows
            .iter()
            .map(|row| LogLine {
                key: row.get(0),
                at_us: row.get(1),
                at: row.get(2),
                change: row.get(3),
                operation: row.get(4),
                outcome: row.get(5),
                code: row.get(6),
                message: row.get(7),
                idempotency_key: row.get(8),
            })
            .collect())
    }
}
