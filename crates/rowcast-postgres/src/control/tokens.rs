//! Tokens of the API: stored as hashes, with a scope, an end and a way to take them back.

use rowcast_core::Reason;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Control;
use crate::connect::db_error;

const MOMENT: &str = "YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"";

/// A token to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    pub name: &'a str,
    pub hash: &'a str,
    /// `read`, `run`, `write`, `admin`.
    pub scope: &'a str,
    /// Seconds until it ends; never without.
    pub lasts_s: Option<i64>,
}

/// A token as it is shown: never itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: i64,
    pub name: String,
    pub scope: String,
    pub created_at: String,
    pub expires_at: Option<String>,
    pub revoked_at: Option<String>,
}

fn columns() -> String {
    let moment = |column: &str| format!("to_char({column} AT TIME ZONE 'UTC', '{MOMENT}')");
    format!(
        "id, name, scope, {}, {}, {}",
        moment("created_at"),
        moment("expires_at"),
        moment("revoked_at")
    )
}

fn token(row: &Row) -> TokenRow {
    TokenRow {
        id: row.get(0),
        name: row.get(1),
        scope: row.get(2),
        created_at: row.get(3),
        expires_at: row.get(4),
        revoked_at: row.get(5),
    }
}

impl Control {
    /// Stores the first token of all; `None` when there was one before, valid or not.
    ///
    /// # Errors
    /// The database fails.
    pub async fn add_first_token(&self, new: &NewToken<'_>) -> Result<Option<TokenRow>, Reason> {
        let connection = self.open().await?;
        let table = self.table("token");
        // Two servers may start at once: who does not get the lock leaves it to the other.
        let sql = format!(
            "INSERT INTO {table} (name, hash, scope) SELECT $1, $2, $3 \
             WHERE NOT EXISTS (SELECT 1 FROM {table}) \
               AND pg_try_advisory_xact_lock(hashtextextended($4, 0)) RETURNING {}",
            columns()
        );
        let rows = connection
            .client
            .query_typed(
                &sql,
                &[
                    (&new.name, Type::TEXT),
                    (&new.hash, Type::TEXT),
                    (&new.scope, Type::TEXT),
                    (&table, Type::TEXT),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "storing the first token"))?;
        Ok(rows.first().map(token))
    }

    /// Stores a token.
    ///
    /// # Errors
    /// The database fails.
    pub async fn add_token(&self, new: &NewToken<'_>) -> Result<TokenRow, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "INSERT INTO {} (name, hash, scope, expires_at) \
             VALUES ($1, $2, $3, clock_timestamp() + $4::bigint * interval '1 second') RETURNING {}",
            self.table("token"),
            columns()
        );
        let row = connection
            .client
            .query_typed_one(
                &sql,
                &[
                    (&new.name, Type::TEXT),
                    (&new.hash, Type::TEXT),
                    (&new.scope, Type::TEXT),
                    (&new.lasts_s, Type::INT8),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "storing a token"))?;
        Ok(token(&row))
    }

    /// The token of a hash, if it is neither revoked nor at its end.
    ///
    /// # Errors
    /// The database fails.
    pub async fn valid_token(&self, hash: &str) -> Result<Option<TokenRow>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT {} FROM {} WHERE hash = $1 AND revoked_at IS NULL \
             AND (expires_at IS NULL OR expires_at > clock_timestamp())",
            columns(),
            self.table("token")
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&hash, Type::TEXT)])
            .await
            .map_err(|error| db_error(&error, "looking for a token"))?;
        Ok(rows.first().map(token))
    }

    /// Every token there ever was, the newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT {} FROM {} ORDER BY id DESC LIMIT 1000",
            columns(),
            self.table("token")
        );
        let rows = connection
            .client
            .query_typed(&sql, &[])
            .await
            .map_err(|error| db_error(&error, "listing tokens"))?;
        Ok(rows.iter().map(token).collect())
    }

    /// Takes a token back. `false` when there is none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn revoke_token(&self, id: i64) -> Result<bool, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "UPDATE {} SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = $1 RETURNING 1",
            self.table("token")
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&id, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "revoking a token"))?;
        Ok(!rows.is_empty())
    }
}
