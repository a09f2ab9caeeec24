//! Rewriting checksums without sending (semantics 6): after an edit that only removes fields, or a
//! changed form of a column.
//!
//! A row whose old checksum still matches what was acknowledged takes the new one; any other row
//! keeps its old checksum and is found by the next diff. So nothing pending is forgotten, and
//! nothing is re-sent by accident. The model is read in a read-only transaction and never joined
//! with a writing statement.

use rowcast_core::{Key, Lease, Reason};
use tokio_postgres::types::Type;

use super::PgLedger;
use super::commit::Fence;
use super::copy::Tuples;
use super::decode::{Cursor, Malformed, int8};
use super::model;
use super::plan::HashPlan;
use super::recent;
use super::shape::{KeyArrays, Shape};
use crate::connect::{Connection, db_error};

/// Rows rewritten in one transaction.
const CHUNK: usize = 10_000;

impl PgLedger {
    /// Whether a stored plan can still be computed over the model.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn try_plan(&self, source: &Connection, old: &HashPlan) -> Result<(), Reason> {
        let client = &source.client;
        model::begin(client, &self.config.model, None).await?;
        let tried = async {
            let described = model::describe(client, &self.config).await?;
            let sql = format!(
                "EXPLAIN (COSTS OFF) SELECT {} FROM {}",
                old.checksum_sql(),
                described.relation
            );
            client
                .query_typed(&sql, &[])
                .await
                .map_err(|error| db_error(&error, "computing the earlier checksums"))
        }
        .await;
        let _ = client.batch_execute("ROLLBACK").await;
        tried.map(drop)
    }

    /// Rewrites the checksums of rows that are as acknowledged. Gives their number.
    pub(super) async fn rehash(
        &self,
        lease: &Lease,
        shape: &Shape,
        source: &Connection,
        old: &HashPlan,
        new: &HashPlan,
    ) -> Result<u64, Reason> {
        let what = format!(
            "rewriting the checksums of sync {:?}",
            self.config.sync.name
        );
        self.without_recent(lease, shape).await?;
        let client = &source.client;
        model::begin(client, &self.config.model, None).await?;
        let described = model::describe(client, &self.config).await?;
        let mut columns = Vec::new();
        for key in &shape.keys {
            let column = format!("m.{}", crate::sql::ident(&key.name));
            columns.push(key.form.wire_form(&key.form.join_form(&column, &key.facts)));
        }
        let filter = self
            .config
            .model
            .filter
            .as_ref()
            .map(|filter| format!("\nWHERE (\n{filter}\n)"))
            .unwrap_or_default();
        let query = format!(
            "SELECT {}, {}, {} FROM {}{filter}",
            columns.join(", "),
            old.checksum_sql(),
            new.checksum_sql(),
            described.relation
        );
        let mut tuples = Tuples::start(client, &query, &what).await?;
        let mut chunk: Vec<(Key, i64, i64)> = Vec::new();
        let mut rewritten = 0;
        while let Some(tuple) = tuples.next().await? {
            let mut cursor = Cursor(&tuple);
            let mut read = || -> Result<Option<(Key, i64, i64)>, Malformed> {
                let key = shape.read_key(&mut cursor)?;
                let before = cursor.field()?.map(int8).transpose()?;
                let after = cursor.field()?.map(int8).transpose()?;
                Ok(key
                    .zip(before)
                    .zip(after)
                    .map(|((key, before), after)| (key, before, after)))
            };
            let row = read().map_err(|Malformed| Reason::defect("a checksum can't be read"))?;
            chunk.extend(row);
            if chunk.len() == CHUNK {
                rewritten += self.rewrite(lease, shape, &chunk, &what).await?;
                chunk.clear();
            }
        }
        drop(tuples);
        rewritten += self.rewrite(lease, shape, &chunk, &what).await?;
        client
            .batch_execute("COMMIT")
            .await
            .map_err(|error| db_error(&error, &what))?;
        Ok(rewritten)
    }

    /// Moves what is recent into the table of state, whose rows are about to be rewritten.
    async fn without_recent(&self, lease: &Lease, shape: &Shape) -> Result<(), Reason> {
        let session = self.session.lock().await;
        let session = session
            .as_ref()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        session
            .fence(lease)
            .all_or_nothing(recent::fold_all(&session.connection.client, shape))
            .await
    }

    async fn rewrite(
        &self,
        lease: &Lease,
        shape: &Shape,
        rows: &[(Key, i64, i64)],
        what: &str,
    ) -> Result<u64, Reason> {
        if rows.is_empty() {
            return Ok(0);
        }
        let session = self.session.lock().await;
        let session = session
            .as_ref()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        let client = &session.connection.client;
        let keys = KeyArrays::of(shape, rows.iter().map(|(key, _, _)| key));
        let before: Vec<i64> = rows.iter().map(|(_, before, _)| *before).collect();
        let after: Vec<i64> = rows.iter().map(|(_, _, after)| *after).collect();
        let n = shape.keys.len();
        let names = shape.names("");
        let sql = format!(
            "WITH written AS (UPDATE {} AS s SET h = u.after FROM {} AS u({names}, before, after) \
             WHERE {} AND s.h = u.before RETURNING 1) SELECT count(*) FROM written",
            shape.own("state"),
            shape.unnest(&[
                &format!("${}::bigint[]", n + 1),
                &format!("${}::bigint[]", n + 2)
            ]),
            shape.equal("s", "u"),
        );
        let mut params = keys.params();
        params.push((&before, Type::INT8_ARRAY));
        params.push((&after, Type::INT8_ARRAY));
        let fence = Fence {
            client,
            shape,
            lease,
            open: &session.open,
        };
        let rows = fence
            .all_or_nothing(async {
                client
                    .query_typed(&sql, &params)
                    .await
                    .map_err(|error| db_error(&error, what))
            })
            .await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0)) as u64)
    }
}
