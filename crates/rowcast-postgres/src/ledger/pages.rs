//! Runs and the row log, a page at a time: by key of the page before, so that a page costs the same
//! however far back it is.

use rowcast_core::Reason;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::types::Type;

use super::admin::{RunRow, StateAdmin};
use super::runs::{RunFilter, Which};
use crate::connect::db_error;

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

/// Groups that are shown, and keys of each.
const GROUPS: u32 = 100;
const KEYS: u32 = 5;

/// Rows of a run of which the same was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrorGroup {
    /// `rejected`, `invalid`, `unknown`.
    pub outcome: String,
    pub code: Option<String>,
    /// What was said, with `#` for numbers and `"…"` for what is quoted.
    pub reason: String,
    /// What was said of one of them.
    pub example: Option<String>,
    pub count: i64,
    /// The first keys.
    pub keys: Vec<String>,
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
        match self.open().await? {
            None => Ok(Vec::new()),
            Some(connection) => {
                let which = Which::Of(sync, before);
                let runs = self.read_runs(&connection.client, &which, limit).await?;
                connection.give_back();
                Ok(runs)
            }
        }
    }

    /// The runs that a filter lets through, newest first.
    ///
    /// # Errors
    /// State can't be read.
    pub async fn runs_among(
        &self,
        filter: &RunFilter<'_>,
        limit: i64,
    ) -> Result<Vec<RunRow>, Reason> {
        match self.open().await? {
            None => Ok(Vec::new()),
            Some(connection) => {
                let which = Which::Among(filter);
                let runs = self.read_runs(&connection.client, &which, limit).await?;
                connection.give_back();
                Ok(runs)
            }
        }
    }

    /// The rows of a run that were not delivered, grouped by what was said about them: numbers and
    /// quoted words aside, so that a thousand rows with one trouble are one group.
    ///
    /// # Errors
    /// State can't be read.
    pub async fn error_groups(&self, sync: &str, run: i64) -> Result<Vec<ErrorGroup>, Reason> {
        let Some(connection) = self.open().await? else {
            return Ok(Vec::new());
        };
        let sql = format!(
            "WITH said AS (SELECT l.outcome, l.code, l.key, l.message, \
               regexp_replace(regexp_replace(coalesce(l.message, ''), '\"[^\"]*\"', '\"…\"', 'g'), \
                 '[0-9]+', '#', 'g') AS reason \
               FROM {s}.row_history l JOIN {s}.sync s ON s.id = l.sync_id \
               WHERE l.run = $1 AND s.name = $2 AND l.outcome NOT IN ('delivered', 'skipped')) \
             SELECT outcome, code, reason, min(message), count(*), \
               (array_agg(key ORDER BY key COLLATE \"C\"))[1:{KEYS}] \
             FROM said GROUP BY outcome, code, reason ORDER BY count(*) DESC, reason LIMIT {GROUPS}",
            s = crate::sql::ident(&self.schema)
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&run, Type::INT8), (&sync, Type::TEXT)])
            .await
            .map_err(|error| db_error(&error, "grouping what went wrong in a run"))?;
        connection.give_back();
        Ok(rows
            .iter()
            .map(|row| ErrorGroup {
                outcome: row.get(0),
                code: row.get(1),
                reason: row.get(2),
                example: row.get(3),
                count: row.get(4),
                keys: row.get(5),
            })
            .collect())
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
        let Some(connection) = self.open().await? else {
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
        connection.give_back();
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
