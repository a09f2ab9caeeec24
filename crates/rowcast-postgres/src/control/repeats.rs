//! Requests that may be repeated: the first one of a key is carried out, the others get its answer.

use rowcast_core::Reason;
use tokio_postgres::types::Type;

use super::Control;
use crate::connect::db_error;

/// How long a key is remembered.
const KEPT: &str = "24 hours";

/// How long a request may take at most: after that a server is taken to have died over it.
const BUSY: &str = "15 minutes";

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: the request is this caller's to carry out.
    First,
    /// It was brought by another request.
    Other,
    /// Its request is going on.
    Busy,
    /// Its request was answered.
    Answered { status: u16, body: String },
}

impl Control {
    /// Takes a key for a request, given by its hash.
    ///
    /// # Errors
    /// The database fails.
    pub async fn begin_repeat(
        &self,
        token: i64,
        key: &str,
        request: &str,
    ) -> Result<Repeat, Reason> {
        let connection = self.open().await?;
        let client = &connection.client;
        let table = self.table("repeat");
        let failed = |error| db_error(&error, "looking for an idempotency key");
        let old = format!("DELETE FROM {table} WHERE at < clock_timestamp() - interval '{KEPT}'");
        client.batch_execute(&old).await.map_err(failed)?;
        let sql = format!(
            "INSERT INTO {table} AS known (token, key, request, busy_until) \
             VALUES ($1, $2, $3, clock_timestamp() + interval '{BUSY}') \
             ON CONFLICT (token, key) DO UPDATE SET busy_until = excluded.busy_until \
             WHERE known.status IS NULL AND known.request = excluded.request \
               AND known.busy_until < clock_timestamp() RETURNING 1"
        );
        let params = [
            (
                &token as &(dyn tokio_postgres::types::ToSql + Sync),
                Type::INT8,
            ),
            (&key, Type::TEXT),
            (&request, Type::TEXT),
        ];
        let taken = client.query_typed(&sql, &params).await.map_err(failed)?;
        if !taken.is_empty() {
            return Ok(Repeat::First);
        }
        let sql =
            format!("SELECT request = $3, status, body FROM {table} WHERE token = $1 AND key = $2");
        let known = client.query_typed(&sql, &params).await.map_err(failed)?;
        Ok(match known.first() {
            // Forgotten in between: whoever asks again finds it free.
            None => Repeat::Busy,
            Some(row) if !row.get::<_, bool>(0) => Repeat::Other,
            Some(row) => match (row.get::<_, Option<i32>>(1), row.get(2)) {
                (Some(status), Some(body)) => Repeat::Answered {
                    status: u16::try_from(status).unwrap_or(500),
                    body,
                },
                _ => Repeat::Busy,
            },
        })
    }

    /// Remembers the answer to the request of a key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end_repeat(
        &self,
        token: i64,
        key: &str,
        status: u16,
        body: &str,
    ) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "UPDATE {} SET status = $3, body = $4 WHERE token = $1 AND key = $2",
            self.table("repeat")
        );
        connection
            .client
            .query_typed(
                &sql,
                &[
                    (&token, Type::INT8),
                    (&key, Type::TEXT),
                    (&i32::from(status), Type::INT4),
                    (&body, Type::TEXT),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "remembering an answer"))?;
        Ok(())
    }

    /// Frees a key whose request came to nothing, so that it may be tried again.
    ///
    /// # Errors
    /// The database fails.
    pub async fn free_repeat(&self, token: i64, key: &str) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "DELETE FROM {} WHERE token = $1 AND key = $2 AND status IS NULL",
            self.table("repeat")
        );
        connection
            .client
            .query_typed(&sql, &[(&token, Type::INT8), (&key, Type::TEXT)])
            .await
            .map_err(|error| db_error(&error, "freeing an idempotency key"))?;
        Ok(())
    }
}
