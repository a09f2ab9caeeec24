//! Which form the comparison takes.
//!
//! *Wide*: one statement carries the mapped columns through the join. *Narrow*: keys and checksums
//! are joined into a temporary table first, and the columns of changed rows are fetched by key, in
//! the same snapshot. Both give the same tuples.
//!
//! The wide form costs one pass over the model, so a query is never run in another: narrow would
//! run it twice. It needs little memory where both sides come in the order of the key (a merge
//! join) or where state fits the memory of a hash join. A table for which neither holds would
//! spill whole rows to the server's disk (measured: 3.0 GB for 10 million rows, against 0.6 GB for
//! keys and checksums), so it is compared in the narrow form.

use rowcast_core::Reason;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::config::ModelBody;
use super::diff::DiffSql;
use super::extract::{Extraction, StateFacts};
use super::forms::KeyForm;
use super::model::{self, Model};
use super::shape::KeyColumn;
use crate::connect::db_error;

/// What one row of state takes in the hash table of a full join (measured on PostgreSQL 15).
const STATE_ROW_BYTES: u64 = 115;
/// The most that one comparison's hash tables may take on the server by default: 4.6 million rows of
/// state.
pub(super) const JOIN_MEMORY_MAX: u64 = 512 * 1024 * 1024;

/// The form of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Wide,
    Narrow,
}

/// How the comparison of a run is made: its form, or none of both when there is no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    First,
    /// As `First`, and the worker computes the checksums.
    Plain,
    Wide,
    Narrow,
}

impl Manner {
    /// The statement whose rows are the change set.
    pub(super) fn query(self, diff: &DiffSql<'_>) -> String {
        match self {
            Self::First => diff.first(),
            Self::Plain => diff.plain(),
            Self::Wide => diff.wide(),
            Self::Narrow => diff.fetch(),
        }
    }
}

/// Memory for the join, in bytes.
pub(super) fn wanted(state_rows: i64) -> u64 {
    u64::try_from(state_rows)
        .unwrap_or(0)
        .saturating_mul(STATE_ROW_BYTES)
}

impl Extraction<'_> {
    /// Begins the read in the form that fits.
    ///
    /// # Errors
    /// The server refuses the transaction.
    pub(super) async fn begin(&self, client: &Client, lock: Option<&str>) -> Result<Form, Reason> {
        let spec = &self.config.model;
        if let Some(lock) = lock
            && let Some(stage) = self.stage(client).await?
        {
            match self.begin_staged(client, lock, &stage).await {
                Ok(()) => return Ok(Form::Narrow),
                // Slower, never wrong: the wide form needs no place for temporary tables.
                Err(reason) => {
                    tracing::debug!(%reason, "no temporary table, comparing in the wide form");
                    client
                        .batch_execute("ROLLBACK")
                        .await
                        .map_err(|error| db_error(&error, &self.what()))?;
                }
            }
        }
        model::begin(client, spec, lock).await?;
        Ok(Form::Wide)
    }

    /// The statement that makes the temporary table, when the narrow form is the right one.
    async fn stage(&self, client: &Client) -> Result<Option<String>, Reason> {
        let config = self.config;
        if !matches!(config.model.body, ModelBody::Table { .. })
            || config.model.cursor.is_some()
            || config.sync.match_columns.is_some()
            || !self.request.keys.is_empty()
        {
            return Ok(None);
        }
        let sql = format!(
            "SELECT rows, has_database_privilege(current_database(), 'TEMP') AND NOT pg_is_in_recovery() \
             FROM {} WHERE sync_id = $1",
            self.shape.shared("progress")
        );
        let rows = client
            .query_typed(&sql, &[(&self.shape.sync, Type::INT4)])
            .await
            .map_err(|error| db_error(&error, "reading state"))?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        if wanted(row.get(0)) <= self.join_memory || !row.get::<_, bool>(1) {
            return Ok(None);
        }
        model::begin(client, &config.model, None).await?;
        let looked = async {
            let model = model::describe(client, config).await?;
            let in_order = in_order(client, &model, &self.shape.keys).await?;
            let stage = self.diff(&model, &StateFacts::default(), &[]).stage();
            Ok((model.unique && !in_order).then_some(stage))
        }
        .await;
        client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| db_error(&error, &self.what()))?;
        looked
    }

    /// The temporary table first, then read-only, then a query that makes it stay so (semantics 22).
    async fn begin_staged(&self, client: &Client, lock: &str, stage: &str) -> Result<(), Reason> {
        let settings = model::local_settings(&self.config.model);
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; {settings}; LOCK TABLE {lock} IN ACCESS SHARE MODE; \
             {stage}; SET TRANSACTION READ ONLY; SELECT 1"
        );
        client
            .batch_execute(&sql)
            .await
            .map_err(|error| db_error(&error, &self.what()))
    }

    /// Compares keys and checksums into the temporary table.
    ///
    /// # Errors
    /// The comparison fails.
    pub(super) async fn fill(&self, client: &Client, diff: &DiffSql<'_>) -> Result<(), Reason> {
        let failed = |error| db_error(&error, &self.what());
        client
            .query_typed(&diff.fill(), &[])
            .await
            .map_err(failed)?;
        // Without it the planner guesses how many rows changed, and may scan once for each.
        client
            .batch_execute(&format!("ANALYZE {}", DiffSql::staged()))
            .await
            .map_err(failed)
    }

    /// Lets the join of this transaction use as much memory as its share of state needs, within its
    /// share of the limit and never less than the server's own setting. Only over what is stored: the
    /// setting is for each step of a statement, a query or a view may have many of them, and each is
    /// as fast or faster with the memory it was planned for (measured on sorts and hash joins of four
    /// million rows: 20 % more CPU with 90 MB than with the server's 4). A hash table may take
    /// `hash_mem_multiplier` times as much, which is reckoned with: with room for the model's wider
    /// rows too, the planner may hash those in place of state.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn allow_memory(
        &self,
        client: &Client,
        table: Option<u32>,
        rows: i64,
        shares: u64,
    ) -> Result<(), Reason> {
        let Some(table) = table else {
            return Ok(());
        };
        let limit = self.join_memory / shares;
        // Halves are not equal to the row.
        let needed = if shares == 1 {
            wanted(rows)
        } else {
            wanted(rows) / 8 * 5
        };
        let kilobytes = needed.min(limit).div_ceil(1024) as i64;
        client
            .query_typed(
                "SELECT set_config('work_mem', \
                   greatest(w.setting::bigint, ceil($1 / m.setting::float8)::bigint)::text || 'kB', true) \
                 FROM pg_catalog.pg_settings w, pg_catalog.pg_settings m \
                 WHERE w.name = 'work_mem' AND m.name = 'hash_mem_multiplier' \
                 AND EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE oid = $2 AND relkind IN ('r', 'p', 'm'))",
                &[(&kilobytes, Type::INT8), (&table, Type::OID)],
            )
            .await
            .map_err(|error| db_error(&error, &self.what()))?;
        Ok(())
    }
}

/// Whether the table's rows come in the order of state's key through an index: its first columns
/// are the key, and text is in byte order. Random uuids have an order, but reading a table in it
/// costs twice a hash join, so they count as none.
async fn in_order(client: &Client, model: &Model, keys: &[KeyColumn]) -> Result<bool, Reason> {
    let as_stored = |key: &KeyColumn| match &key.form {
        KeyForm::Int => key.facts.base != "oid",
        KeyForm::Text => matches!(key.facts.base.as_str(), "text" | "varchar"),
        KeyForm::Numeric => true,
        KeyForm::Other(base) => base != "uuid",
    };
    let (Some(table), true) = (model.table, keys.iter().all(as_stored)) else {
        return Ok(false);
    };
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let rows = client
        .query_typed(
            "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
               JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
               JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'btree' \
               WHERE i.indrelid = $1 AND i.indisvalid AND i.indpred IS NULL \
               AND $2 = ARRAY(SELECT t.attname::text \
                 FROM unnest(i.indkey[0 : cardinality($2) - 1]) WITH ORDINALITY AS k (attnum, n) \
                 JOIN pg_catalog.pg_attribute t ON t.attrelid = i.indrelid AND t.attnum = k.attnum ORDER BY k.n) \
               AND NOT EXISTS (SELECT 1 FROM unnest(i.indcollation[0 : cardinality($2) - 1]) AS k (oid) \
                 WHERE k.oid NOT IN (0, '\"C\"'::regcollation)))",
            &[(&table, Type::OID), (&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| db_error(&error, "reading the table's indexes"))?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

#[cfg(test)]
mod tests;
