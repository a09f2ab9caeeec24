//! Who asked for what over the API, of everything that may change something.

use rowcast_core::Reason;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::types::Type;

use super::Control;
use crate::connect::db_error;

const MOMENT: &str = "YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"";

/// How long it is remembered.
const KEPT: &str = "400 days";

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
pub struct AuditEntry<'a> {
    pub token: i64,
    pub token_name: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
}

/// A request of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditRow {
    pub id: i64,
    pub at: String,
    /// The token's number.
    pub token: i64,
    /// Its name, when it asked.
    pub token_name: String,
    pub method: String,
    pub path: String,
    /// The status of the answer; from 400 on, nothing was done.
    pub status: i32,
}

impl Control {
    /// Remembers a request.
    ///
    /// # Errors
    /// The database fails.
    pub async fn note(&self, entry: &AuditEntry<'_>) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "INSERT INTO {} (token, token_name, method, path, status) VALUES ($1, $2, $3, $4, $5)",
            self.table("audit")
        );
        connection
            .client
            .query_typed(
                &sql,
                &[
                    (&entry.token, Type::INT8),
                    (&entry.token_name, Type::TEXT),
                    (&entry.method, Type::TEXT),
                    (&entry.path, Type::TEXT),
                    (&i32::from(entry.status), Type::INT4),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "remembering a request"))?;
        Ok(())
    }

    /// Requests before one of them, the newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn audit(&self, before: Option<i64>, limit: i64) -> Result<Vec<AuditRow>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT id, to_char(at AT TIME ZONE 'UTC', '{MOMENT}'), token, token_name, method, path, status \
             FROM {} WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
            self.table("audit")
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&before, Type::INT8), (&limit, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "reading who asked for what"))?;
        Ok(rows
            .iter()
            .map(|row| AuditRow {
                id: row.get(0),
                at: row.get(1),
                token: row.get(2),
                token_name: row.get(3),
                method: row.get(4),
                path: row.get(5),
                status: row.get(6),
            })
            .collect())
    }

    /// Forgets what is old.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_old_requests(&self) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "DELETE FROM {} WHERE at < clock_timestamp() - interval '{KEPT}'",
            self.table("audit")
        );
        let done = connection.client.batch_execute(&sql).await;
        done.map_err(|error| db_error(&error, "forgetting old requests"))
    }
}
