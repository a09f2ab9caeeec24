//! One table, two connections, one snapshot: each compares one part of the rows.
//!
//! A backend reads, hashes and joins on one core. A second one that imports the first one's snapshot
//! takes the keys from a bound on, in the model and in state alike, so that the union is the whole
//! and nothing is in both. Without state the table's pages are divided instead of keys, where that is
//! possible: neither backend reads the other's part then only to leave it out. The bound only decides
//! how even the parts are, never what is found. Queries are never split: each part would run the whole
//! query.
//!
//! The second connection is an offer: what it can't have (a connection, a lock, the snapshot) makes
//! the run slower, never wrong. Once both parts have begun, a failure of one fails the run.

use rowcast_core::{KeyPart, Reason};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::diff::{Bound, DiffSql, Range};
use super::extract::{CancelOnDrop, Extraction, StateFacts};
use super::form::Manner;
use super::forms::KeyForm;
use super::model::{self, Model};
use super::shape::KeyColumn;
use super::sink::Sink;
use crate::connect::{Connection, db_error};
use crate::sql::literal;

/// From this many rows on a second connection pays: it costs a login, some 10 ms, and a table is
/// read at about a million rows in two seconds.
pub(super) const TWO_FROM: u64 = 200_000;
/// How long the second connection waits for a lock. The first one holds its own by then, so a lock
/// queue between them would never move.
const LOCK_TIMEOUT: &str = "1s";

/// The second connection, ready, and both parts.
pub(super) struct Halves {
    connection: Connection,
    below: Range,
    from: Range,
    table: Option<u32>,
    rows: i64,
}

impl Extraction<'_> {
    /// The second connection, when reading in two parts is possible and pays.
    ///
    /// # Errors
    /// The first connection fails.
    pub(super) async fn halves(
        &self,
        client: &Client,
        model: &Model,
        facts: &StateFacts,
        diff: &DiffSql<'_>,
        manner: Manner,
    ) -> Result<Option<Halves>, Reason> {
        let Some(bound) = self.bound(client, model, facts, manner).await? else {
            return Ok(None);
        };
        let (below, from) = (Range::Below(bound.clone()), Range::From(bound));
        // The first connection takes all its locks before the second one asks for the same.
        let first = DiffSql {
            range: Some(&below),
            ..diff.clone()
        };
        let failed = |error| db_error(&error, &self.what());
        client
            .query_typed(&locking(&first, manner), &[])
            .await
            .map_err(failed)?;
        let snapshot = client
            .query_typed("SELECT pg_catalog.pg_export_snapshot()", &[])
            .await
            .map_err(failed)?;
        let snapshot: String = snapshot.first().map(|row| row.get(0)).unwrap_or_default();
        let second = DiffSql {
            range: Some(&from),
            ..diff.clone()
        };
        match self.second(&snapshot, &second, manner).await {
            Ok(connection) => Ok(Some(Halves {
                connection,
                below,
                from,
                table: model.table,
                rows: facts.rows,
            })),
            Err(reason) => {
                tracing::debug!(%reason, "no second connection, reading the table over one");
                Ok(None)
            }
        }
    }

    /// The middle of the table. `None` when two parts are not wanted or not possible.
    pub(super) async fn bound(
        &self,
        client: &Client,
        model: &Model,
        facts: &StateFacts,
        manner: Manner,
    ) -> Result<Option<Bound>, Reason> {
        let (Some(two_from), Some(table)) = (self.two_from, model.table) else {
            return Ok(None);
        };
        let rows = model.rows_estimate.max(facts.rows.max(0) as u64);
        if rows < two_from
            || model.matching.is_some()
            || self.config.model.cursor.is_some()
            || !self.request.keys.is_empty()
            || self.request.limit.is_some()
        {
            return Ok(None);
        }
        let may = client.query_typed_one(MAY_SHARE, &[]).await;
        let may = may.map_err(|error| db_error(&error, &self.what()))?;
        let (snapshot, statistics): (bool, bool) = (may.get(0), may.get(1));
        if !snapshot {
            return Ok(None);
        }
        if matches!(manner, Manner::First | Manner::Plain)
            && let Some(page) = middle_page(client, table).await?
        {
            return Ok(Some(Bound::Page(page)));
        }
        let key = self.shape.keys.first().filter(|key| divisible(key));
        match key.filter(|_| statistics) {
            Some(key) => Ok(middle_key(client, table, key).await?.map(Bound::Key)),
            None => Ok(None),
        }
    }

    /// Opens the second connection in the first one's snapshot, under the same rules (semantics 22),
    /// and takes every lock its statement needs.
    async fn second(
        &self,
        snapshot: &str,
        diff: &DiffSql<'_>,
        manner: Manner,
    ) -> Result<Connection, Reason> {
        let connection = self.config.source.connect().await?;
        let settings = model::local_settings(&self.config.model);
        let read_only = if manner == Manner::Narrow {
            ""
        } else {
            " READ ONLY"
        };
        let mut begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ{read_only}; SET TRANSACTION SNAPSHOT {}; \
             {settings}; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'",
            literal(snapshot)
        );
        if !self.shape.is_absent() {
            let state = self.shape.own("state");
            begin.push_str(&format!("; LOCK TABLE {state} IN ACCESS SHARE MODE"));
        }
        if manner == Manner::Narrow {
            begin.push_str(&format!("; {}; SET TRANSACTION READ ONLY", diff.stage()));
        }
        begin.push_str("; SELECT 1");
        let failed = |error| db_error(&error, &self.what());
        let client = &connection.client;
        client.batch_execute(&begin).await.map_err(failed)?;
        client
            .query_typed(&locking(diff, manner), &[])
            .await
            .map_err(failed)?;
        client
            .batch_execute("SET LOCAL lock_timeout = DEFAULT")
            .await
            .map_err(failed)?;
        Ok(connection)
    }

    /// Reads both parts at once, whichever has a row.
    ///
    /// # Errors
    /// One of them fails; the other is cancelled.
    pub(super) async fn read_halves(
        &self,
        client: &Client,
        halves: Halves,
        diff: &DiffSql<'_>,
        manner: Manner,
        sink: &mut Sink<'_>,
    ) -> Result<(), Reason> {
        let guard = CancelOnDrop::new(&halves.connection);
        let other = &halves.connection.client;
        let part = |range| DiffSql {
            range: Some(range),
            ..diff.clone()
        };
        let (below, from) = (part(&halves.below), part(&halves.from));
        for client in [client, other] {
            self.allow_memory(client, halves.table, halves.rows, 2)
                .await?;
        }
        let (mut first, mut second) = tokio::try_join!(
            self.start(client, &below, manner),
            self.start(other, &from, manner)
        )?;
        let (mut first_open, mut second_open) = (true, true);
        while first_open || second_open {
            tokio::select! {
                tuple = first.next(), if first_open => match tuple? {
                    Some(tuple) => sink.take(&tuple)?,
                    None => first_open = false,
                },
                tuple = second.next(), if second_open => match tuple? {
                    Some(tuple) => sink.take_above(&tuple)?,
                    None => second_open = false,
                },
            }
        }
        drop((first, second));
        other
            .batch_execute("COMMIT")
            .await
            .map_err(|error| db_error(&error, &self.what()))?;
        guard.disarm();
        Ok(())
    }
}

/// A statement that runs nothing and takes every lock of the comparison.
fn locking(diff: &DiffSql<'_>, manner: Manner) -> String {
    let query = match manner {
        Manner::Narrow => diff.compare(true),
        manner => manner.query(diff),
    };
    format!("EXPLAIN (COSTS OFF) {query}")
}

/// Whether the key's first column can be divided at a value: what the server's statistics say of it
/// reads back as the same value, and both sides order it alike.
fn divisible(key: &KeyColumn) -> bool {
    match &key.form {
        KeyForm::Int => key.facts.base != "oid",
        KeyForm::Text => matches!(key.facts.base.as_str(), "text" | "varchar"),
        KeyForm::Other(base) => base == "uuid",
        KeyForm::Numeric => false,
    }
}

/// A page in the middle of the table, for those that are stored in pages.
async fn middle_page(client: &Client, table: u32) -> Result<Option<i64>, Reason> {
    let rows = client.query_typed(PAGE, &[(&table, Type::OID)]).await;
    let rows = rows.map_err(|error| db_error(&error, "reading the table's size"))?;
    Ok(rows.first().and_then(|row| row.get(0)))
}

/// A key in the middle of the table, by the server's statistics.
async fn middle_key(
    client: &Client,
    table: u32,
    key: &KeyColumn,
) -> Result<Option<KeyPart>, Reason> {
    let rows = client
        .query_typed(KEY, &[(&table, Type::OID), (&key.name, Type::TEXT)])
        .await
        .map_err(|error| db_error(&error, "reading the table's statistics"))?;
    let middle: Option<String> = rows.first().and_then(|row| row.get(0));
    Ok(middle.and_then(|text| match key.form {
        KeyForm::Int => text.parse().ok().map(KeyPart::Int),
        _ => Some(KeyPart::Text(text.into())),
    }))
}

/// Whether the role may do what a second connection needs, and what finding a key in the middle needs.
/// Both are everybody's by default; where an administrator took one away, the error would end the
/// transaction of the first connection too.
const MAY_SHARE: &str = "\
SELECT pg_catalog.has_function_privilege('pg_catalog.pg_export_snapshot()', 'EXECUTE'), \
pg_catalog.has_table_privilege('pg_catalog.pg_stats', 'SELECT')";

/// The middle page. Other access methods may have no pages in order, the pages of children are not the
/// table's, and who may read some columns only may not ask where a row lies.
const PAGE: &str = "\
SELECT pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8 / 2 \
FROM pg_catalog.pg_class c \
JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'heap' \
WHERE c.oid = $1 AND c.relkind IN ('r', 'm') AND NOT c.relhassubclass \
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT')";

/// The middle of a column that can't be null, as text. A column with few values has no histogram.
const KEY: &str = "\
SELECT b.bounds[(cardinality(b.bounds) + 1) / 2] \
FROM pg_catalog.pg_class c \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND a.attnotnull \
JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname \
  AND NOT s.inherited \
CROSS JOIN LATERAL (SELECT coalesce(s.histogram_bounds::text::text[], s.most_common_vals::text::text[]) AS bounds) b \
WHERE c.oid = $1 AND c.relkind IN ('r', 'm')";
