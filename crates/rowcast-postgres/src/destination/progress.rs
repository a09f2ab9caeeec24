//! What the destination remembers of deliveries, in its own database (semantics 14).
//!
//! Two tables in the progress schema: `fence` holds the newest epoch of each sync, `delivery` one
//! row for each batch that is in the table, with its rejected records. A batch and its row are
//! committed together or not at all. Must never forget a batch that the ledger may still ask for.

use rowcast_core::destination::Committed;
use rowcast_core::{Batch, Code, Outcome, Reason, RunContext, progress};
use tokio_postgres::{Client, Error};

use super::ask::{self, Param};
use crate::sql::{ident, literal};

pub(super) use rowcast_core::progress::Claim;

/// The progress tables of one schema.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    schema: String,
    /// Quoted.
    fence: String,
    delivery: String,
}

impl Progress {
    pub(super) fn new(schema: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            fence: format!("{}.fence", ident(schema)),
            delivery: format!("{}.delivery", ident(schema)),
        }
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Whether the schema and both tables exist, and whether the role may use them.
    pub(super) async fn state(&self, client: &Client) -> Result<State, Error> {
        let row = ask::row(client, "SELECT pg_catalog.to_regnamespace($1) IS NOT NULL, \
                 pg_catalog.to_regclass($2) IS NOT NULL AND pg_catalog.to_regclass($3) IS NOT NULL, \
                 CASE WHEN pg_catalog.to_regnamespace($1) IS NULL \
                      THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') \
                      WHEN NOT pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace($1)::pg_catalog.oid, 'USAGE') \
                      THEN false \
                      WHEN pg_catalog.to_regclass($2) IS NULL OR pg_catalog.to_regclass($3) IS NULL \
                      THEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace($1)::pg_catalog.oid, 'CREATE') \
                      ELSE pg_catalog.has_table_privilege(pg_catalog.to_regclass($2)::pg_catalog.oid, 'SELECT') \
                       AND pg_catalog.has_table_privilege(pg_catalog.to_regclass($2)::pg_catalog.oid, 'INSERT') \
                       AND pg_catalog.has_table_privilege(pg_catalog.to_regclass($2)::pg_catalog.oid, 'UPDATE') \
                       AND pg_catalog.has_table_privilege(pg_catalog.to_regclass($3)::pg_catalog.oid, 'SELECT') \
                       AND pg_catalog.has_table_privilege(pg_catalog.to_regclass($3)::pg_catalog.oid, 'INSERT') \
                       AND pg_catalog.has_table_privilege(pg_catalog.to_regclass($3)::pg_catalog.oid, 'UPDATE') \
                       AND pg_catalog.has_table_privilege(pg_catalog.to_regclass($3)::pg_catalog.oid, 'DELETE') \
                 END, current_user::pg_catalog.text, pg_catalog.current_database()::pg_catalog.text",
                vec![
                    Param::Text(&ident(&self.schema)),
                    Param::Text(&self.fence),
                    Param::Text(&self.delivery),
                ],
            )
            .await?;
        Ok(State {
            schema: row.get(0),
            tables: row.get(1),
            usable: row.get(2),
            role: row.get(3),
            database: row.get(4),
        })
    }

    /// The way out when the progress tables can't be made or used.
    pub(super) fn unusable(&self, state: &State) -> Reason {
        let (schema, role) = (ident(&self.schema), ident(&state.role));
        let hint = if !state.schema {
            format!(
                "CREATE SCHEMA {schema} AUTHORIZATION {role}; or GRANT CREATE ON DATABASE {} TO {role};",
                ident(&state.database)
            )
        } else if state.tables {
            format!(
                "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON \
                 {}, {} TO {role};",
                self.fence, self.delivery
            )
        } else {
            format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};")
        };
        Reason::new(
            Code::DestinationObject,
            format!("role {role} may not keep delivery progress in schema {schema}"),
        )
        .hint(hint)
    }

    /// The statements that make what is missing. One maker at a time: `IF NOT EXISTS` alone still
    /// fails when two sessions make the same thing.
    pub(super) fn make_sql(&self, state: &State) -> String {
        let lock = literal(&format!("rowcast progress {}", self.schema));
        let mut sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
             SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({lock}, 0));"
        );
        if !state.schema {
            sql.push_str(&format!(
                "CREATE SCHEMA IF NOT EXISTS {};",
                ident(&self.schema)
            ));
        }
        sql.push_str(&format!(
            "CREATE TABLE IF NOT EXISTS {fence} (sync text PRIMARY KEY, epoch bigint NOT NULL, \
             at timestamptz NOT NULL DEFAULT pg_catalog.now()); \
             CREATE TABLE IF NOT EXISTS {delivery} (sync text NOT NULL, epoch bigint NOT NULL, \
             intent bigint NOT NULL, rejected jsonb NOT NULL DEFAULT '[]', \
             at timestamptz NOT NULL DEFAULT pg_catalog.now(), PRIMARY KEY (sync, epoch, intent)); \
             COMMENT ON TABLE {fence} IS 'rowcast: the newest run of each sync; older ones are refused'; \
             COMMENT ON TABLE {delivery} IS 'rowcast: batches that are in their tables, until the sync has acknowledged them'; \
             COMMIT",
            fence = self.fence,
            delivery = self.delivery
        ));
        sql
    }

    /// Raises the epoch and waits for writers of older ones to end. False when a newer epoch is
    /// stored already.
    pub(super) async fn raise(&self, client: &Client, context: &RunContext) -> Result<bool, Error> {
        let sql = format!(
            "INSERT INTO {} AS f (sync, epoch) VALUES ($1, $2) ON CONFLICT (sync) DO UPDATE \
             SET epoch = EXCLUDED.epoch, at = EXCLUDED.at WHERE f.epoch <= EXCLUDED.epoch",
            self.fence
        );
        let params = vec![Param::Text(&context.sync_id), Param::Int8(context.epoch)];
        Ok(ask::count(client, &sql, params).await? == 1)
    }

    /// The batches of older epochs that are in the table. Forgets those which the ledger can't ask
    /// for any more: before the previous epoch wrote its first batch, it had settled them.
    pub(super) async fn recover(
        &self,
        client: &Client,
        context: &RunContext,
    ) -> Result<Vec<Committed>, Error> {
        let params = vec![Param::Text(&context.sync_id), Param::Int8(context.epoch)];
        let rows = ask::rows(
            client,
            &format!(
                "SELECT epoch, intent, rejected::pg_catalog.text FROM {} WHERE sync = $1 AND \
                     epoch < $2 ORDER BY epoch, intent",
                self.delivery
            ),
            params,
        )
        .await?;
        // A note that can't be read is left out: its batch becomes a doubt and is sent again.
        let committed = rows
            .iter()
            .filter_map(|row| {
                Some(Committed {
                    epoch: row.get(0),
                    intent: row.get(1),
                    rejected: progress::rejected_texts(row.get(2))?,
                })
            })
            .collect();
        if let Some(previous) = rows.last() {
            self.forget(client, &context.sync_id, previous.get(0))
                .await?;
        }
        Ok(committed)
    }

    /// Forgets the batches of epochs older than `epoch`.
    pub(super) async fn forget(
        &self,
        client: &Client,
        sync_id: &str,
        epoch: i64,
    ) -> Result<u64, Error> {
        ask::count(
            client,
            &format!(
                "DELETE FROM {} WHERE sync = $1 AND epoch < $2",
                self.delivery
            ),
            vec![Param::Text(sync_id), Param::Int8(epoch)],
        )
        .await
    }

    /// Inside the batch's transaction: the fence is locked against a newer epoch, and the batch's
    /// row is taken. An attempt that is still ending elsewhere is waited for.
    pub(super) async fn claim(&self, client: &Client, batch: &Batch) -> Result<Claim, Error> {
        let sql = format!(
            "WITH fence AS MATERIALIZED (SELECT 1 FROM {} WHERE sync = $1 AND epoch = $2 FOR SHARE), \
             claim AS (INSERT INTO {} (sync, epoch, intent) SELECT $1, $2, $3 FROM fence \
             ON CONFLICT DO NOTHING RETURNING 1) \
             SELECT EXISTS (SELECT 1 FROM fence), EXISTS (SELECT 1 FROM claim)",
            self.fence, self.delivery
        );
        let row = ask::row(
            client,
            &sql,
            vec![
                Param::Text(&batch.context.sync_id),
                Param::Int8(batch.context.epoch),
                Param::Int8(batch.intent),
            ],
        )
        .await?;
        Ok(match (row.get(0), row.get(1)) {
            (true, true) => Claim::New,
            (true, false) => Claim::Present,
            (false, _) => Claim::Fenced,
        })
    }

    /// The outcomes of a batch that is in the table.
    pub(super) async fn outcomes(
        &self,
        client: &Client,
        batch: &Batch,
    ) -> Result<Vec<Outcome>, Error> {
        let row = ask::first(
            client,
            &format!(
                "SELECT rejected::pg_catalog.text FROM {} WHERE sync = $1 AND epoch = $2 AND \
                     intent = $3",
                self.delivery
            ),
            vec![
                Param::Text(&batch.context.sync_id),
                Param::Int8(batch.context.epoch),
                Param::Int8(batch.intent),
            ],
        )
        .await?;
        let note: Option<&str> = row.as_ref().map(|row| row.get(0));
        let count = batch.records.len();
        Ok(progress::outcomes(
            note,
            count,
            batch.intent,
            &self.delivery,
        ))
    }

    /// Inside the batch's transaction: notes which of its records were rejected.
    pub(super) async fn note(
        &self,
        client: &Client,
        batch: &Batch,
        outcomes: &[Outcome],
    ) -> Result<(), Error> {
        let Some(text) = progress::note(outcomes) else {
            return Ok(());
        };
        ask::count(
            client,
            &format!(
                "UPDATE {} SET rejected = $4::pg_catalog.text::pg_catalog.jsonb WHERE sync = $1 \
                     AND epoch = $2 AND intent = $3",
                self.delivery
            ),
            vec![
                Param::Text(&batch.context.sync_id),
                Param::Int8(batch.context.epoch),
                Param::Int8(batch.intent),
                Param::Text(&text),
            ],
        )
        .await
        .map(|_| ())
    }
}

/// What `Progress::state` found.
#[derive(Debug)]
pub(super) struct State {
    pub(super) schema: bool,
    pub(super) tables: bool,
    /// What is missing can be made and what is there can be used.
    pub(super) usable: bool,
    role: String,
    database: String,
}
