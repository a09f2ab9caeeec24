//! Quotas of services, counted in the state schema for every process that writes to an account.
//!
//! One row for an account and a length of window; the window is the database's clock's, so that
//! processes on several machines agree. Every statement stands alone: a row is locked for as long as
//! one lasts, never while a request is sent. No statement is made for a destination without a quota.

use std::time::Duration;

use rowcast_core::quota::{Quota, Reserved, Spent, Window};
use rowcast_core::{Lease, Reason};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::step::{may_reconnect, pause};
use super::{PgLedger, layout};
use crate::connect::db_error;
use crate::sql::qualified;

/// The layout that first had the table.
const SINCE_LAYOUT: i32 = 5;

/// Accounts whose last window ended so long ago are forgotten.
const FORGOTTEN_AFTER_DAYS: u32 = 30;

/// An account's row may be swept away by another process before it is used: it is made again.
const ATTEMPTS: u32 = 5;

/// The beginning of the present window of `$2` seconds.
const PRESENT: &str =
    "to_timestamp((floor(extract(epoch FROM clock_timestamp()) / $2) * $2)::float8)";

/// The table of quotas.
pub(super) fn definition(schema: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (account text NOT NULL, seconds bigint NOT NULL, \
         began_at timestamptz NOT NULL, used bigint NOT NULL, PRIMARY KEY (account, seconds));\n",
        qualified(schema, "budget")
    )
}

impl PgLedger {
    pub(super) async fn reserve_requests(
        &self,
        lease: &Lease,
        quota: &Quota,
        wanted: u32,
    ) -> Result<Reserved, Reason> {
        let mut session = self.session.lock().await;
        let session = session
            .as_mut()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        let mut attempt = 0;
        loop {
            let reserved = match session.ensure_connected(self.state_connector()).await {
                Ok(()) => {
                    let client = &session.connection.client;
                    reserve(client, &self.config.state_schema, quota, wanted).await
                }
                Err(reason) => Err(reason),
            };
            match reserved {
                // What the lost statement may have set aside is lost with it.
                Err(reason) if may_reconnect(&reason, attempt, lease) => {
                    attempt += 1;
                    tokio::time::sleep(pause(attempt)).await;
                }
                reserved => return reserved.map_err(layout::not_writable),
            }
        }
    }

    pub(super) async fn give_requests_back(
        &self,
        quota: &Quota,
        began: i64,
        unused: u32,
    ) -> Result<(), Reason> {
        let mut session = self.session.lock().await;
        let session = session
            .as_mut()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        session.ensure_connected(self.state_connector()).await?;
        let sql = format!(
            "UPDATE {} SET used = greatest(0, used - $4) WHERE account = $1 AND seconds = $2 \
             AND began_at = to_timestamp($3::float8)",
            qualified(&self.config.state_schema, "budget")
        );
        session
            .connection
            .client
            .query_typed(
                &sql,
                &[
                    (&quota.account, Type::TEXT),
                    (&quota.seconds(), Type::INT8),
                    (&(began as f64), Type::FLOAT8),
                    (&i64::from(unused), Type::INT8),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "giving back a part of a quota"))?;
        Ok(())
    }

    /// Over a connection of its own: a plan has none.
    pub(super) async fn requests_spent(&self, quota: &Quota) -> Result<Spent, Reason> {
        let schema = &self.config.state_schema;
        let connection = self.state_connector().connect().await?;
        let client = &connection.client;
        let version = layout::readable(client, schema).await?;
        let used = if version.is_some_and(|version| version >= SINCE_LAYOUT) {
            format!(
                "(SELECT b.used FROM {} b WHERE b.account = $1 AND b.seconds = $2 AND b.began_at >= n.at)",
                qualified(schema, "budget")
            )
        } else {
            "0".to_owned()
        };
        let sql = format!(
            "SELECT least(coalesce({used}, 0), $3)::bigint, {} FROM (SELECT {PRESENT} AS at) n",
            window_from("n.at")
        );
        let rows = client
            .query_typed(
                &sql,
                &[
                    (&quota.account, Type::TEXT),
                    (&quota.seconds(), Type::INT8),
                    (&i64::from(quota.allowed.requests), Type::INT8),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "reading what is used of a quota"))?;
        let row = rows
            .first()
            .ok_or_else(|| Reason::defect("a quota's window has no row"))?;
        let (requests, window) = read(row);
        Ok(Spent { requests, window })
    }
}

/// Takes up to `wanted` of what is left. The row is locked before it is read, so that nothing is
/// given out twice; a statement that waited over the end of a window does not turn it back.
async fn reserve(
    client: &Client,
    schema: &str,
    quota: &Quota,
    wanted: u32,
) -> Result<Reserved, Reason> {
    let table = qualified(schema, "budget");
    let failed = |error| db_error(&error, "setting aside a part of a quota");
    let take = format!(
        "WITH held AS (SELECT began_at, used FROM {table} WHERE account = $1 AND seconds = $2 FOR UPDATE), \
         present AS (SELECT CASE WHEN h.same THEN h.began_at ELSE h.at END AS at, \
             CASE WHEN h.same THEN h.used ELSE 0 END AS used \
           FROM (SELECT began_at, used, n.at, began_at BETWEEN n.at AND n.at + $2 * interval '1 second' AS same \
             FROM held, (SELECT {PRESENT} AS at) n) h) \
         UPDATE {table} AS b SET began_at = p.at, used = p.used + greatest(0, least($4, $3 - p.used)) \
         FROM present p WHERE b.account = $1 AND b.seconds = $2 RETURNING b.used - p.used, {}",
        window_from("b.began_at")
    );
    let make = format!(
        "INSERT INTO {table} (account, seconds, began_at, used) \
         VALUES ($1, $2, {PRESENT}, 0) ON CONFLICT DO NOTHING"
    );
    let sweep = format!(
        "DELETE FROM {table} WHERE began_at + seconds * interval '1 second' \
         < clock_timestamp() - interval '{FORGOTTEN_AFTER_DAYS} days'"
    );
    let (account, seconds) = (&quota.account, quota.seconds());
    for _ in 0..ATTEMPTS {
        let taken = client
            .query_typed(
                &take,
                &[
                    (account, Type::TEXT),
                    (&seconds, Type::INT8),
                    (&i64::from(quota.allowed.requests), Type::INT8),
                    (&i64::from(wanted), Type::INT8),
                ],
            )
            .await
            .map_err(failed)?;
        if let Some(row) = taken.first() {
            let (requests, window) = read(row);
            return Ok(Reserved { requests, window });
        }
        client.query_typed(&sweep, &[]).await.map_err(failed)?;
        client
            .query_typed(&make, &[(account, Type::TEXT), (&seconds, Type::INT8)])
            .await
            .map_err(failed)?;
    }
    Err(Reason::defect("a quota's row could not be made"))
}

/// A window's beginning in seconds since 1970, and the milliseconds until it ends.
fn window_from(began: &str) -> String {
    format!(
        "extract(epoch FROM {began})::bigint, \
         ((extract(epoch FROM {began} - clock_timestamp()) + $2) * 1000)::bigint"
    )
}

/// A number of requests and a window.
fn read(row: &Row) -> (u32, Window) {
    let (requests, began, left): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let window = Window {
        began,
        ends_in: Duration::from_millis(left.max(0).unsigned_abs()),
    };
    (u32::try_from(requests).unwrap_or_default(), window)
}
