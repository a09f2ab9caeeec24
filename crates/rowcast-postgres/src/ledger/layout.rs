//! The state schema: its tables, its stable views, its version.
//!
//! `runs` and `row_log` are views people may query and build on; every table behind them is ours
//! and may change with the layout's version. Nothing outside the state schema is ever written.

use rowcast_core::{Code, Reason};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::shape::Shape;
use super::{budget, migration, views};
use crate::connect::db_error;
use crate::sql::{ident as quote_ident, literal as quote_literal};

/// The layout this build reads and writes.
pub(super) const LAYOUT: i32 = 5;

/// Makes the state schema and its shared tables where they are missing, and brings an earlier
/// layout up to this one.
///
/// # Errors
/// The schema is missing and may not be made; a newer Rowcast wrote it; the tables of an earlier
/// layout can't be changed.
pub(super) async fn ensure(client: &Client, schema: &str, source: &str) -> Result<(), Reason> {
    match readable(client, schema).await.map_err(not_writable)? {
        Some(LAYOUT) => return Ok(()),
        Some(_) => return migration::up(client, schema).await,
        None => {}
    }
    let existing = client
        .query_typed(
            "SELECT 1 FROM pg_namespace WHERE nspname = $1",
            &[(&schema, Type::TEXT)],
        )
        .await
        .map_err(|error| db_error(&error, "looking for the state schema"))?;
    let create = if existing.is_empty() {
        format!("CREATE SCHEMA IF NOT EXISTS {};", quote_ident(schema))
    } else {
        String::new()
    };
    // The lock lasts for the transaction: two first runs make the tables once.
    let sql = format!(
        "BEGIN; {}; {create} {} COMMIT;",
        lock(schema),
        definition(schema)
    );
    if let Err(error) = client.batch_execute(&sql).await {
        let reason = db_error(&error, "creating the state schema");
        let _ = client.batch_execute("ROLLBACK").await;
        if reason.code != Code::PermissionMissing {
            return Err(reason);
        }
        let quoted = quote_ident(schema);
        let role = client
            .query_typed("SELECT quote_ident(current_user)", &[])
            .await
            .map_err(|error| db_error(&error, "asking for the name of the role"))?;
        let role: String = role.first().map(|row| row.get(0)).unwrap_or_default();
        return Err(if existing.is_empty() {
            Reason::new(
                Code::StateSchemaMissing,
                format!("state schema {quoted} does not exist, and role {role} may not create it"),
            )
            .detail(reason.to_string())
            .hint(format!(
                "let an administrator run the output of `rowcast setup-sql {source} --style managed`"
            ))
        } else {
            Reason::new(
                Code::StateNotWritable,
                format!("role {role} can't make the state tables in schema {quoted}"),
            )
            .detail(reason.to_string())
            .hint(format!(
                "run as an administrator: GRANT USAGE, CREATE ON SCHEMA {quoted} TO {role};"
            ))
        });
    }
    Ok(())
}

/// Brings an earlier layout up to this one; without a schema there is nothing to do.
///
/// # Errors
/// As `ensure`.
pub(super) async fn bring_up(client: &Client, schema: &str) -> Result<(), Reason> {
    match readable(client, schema).await.map_err(not_writable)? {
        Some(version) if version < LAYOUT => migration::up(client, schema).await,
        _ => Ok(()),
    }
}

/// The statement after which nobody else makes or changes the tables, until the transaction ends.
pub(super) fn lock(schema: &str) -> String {
    let name = quote_literal(&format!("rowcast layout {schema}"));
    format!("SELECT pg_advisory_xact_lock(hashtextextended({name}, 0))")
}

/// A privilege that is missing on state tables is about state, not about the model.
pub(super) fn not_writable(mut reason: Reason) -> Reason {
    let (code, hint) = match reason.code {
        Code::PermissionMissing => (
            Code::StateNotWritable,
            "the state tables belong to another role: run as that role, give them to this one \
             (REASSIGN OWNED), or name another `state_schema`",
        ),
        // State's statements are our own: what is wrong with them is wrong with the server.
        Code::ModelWrites => (
            Code::StateNotWritable,
            "the server takes no writes from this role: point the source to a primary, unset \
             default_transaction_read_only, or keep state elsewhere with `state: { source: NAME }`",
        ),
        Code::ModelInvalid => (
            Code::StateSchemaMissing,
            "the state tables were dropped or changed while they were in use; if the state schema \
             is gone for good, the next run begins anew and sends every row",
        ),
        _ => return reason,
    };
    reason.code = code;
    reason.hint = Some(hint.into());
    reason
}

/// The layout's version, which this build can read: this one or an earlier one.
///
/// # Errors
/// A newer Rowcast wrote it; the query fails.
pub(super) async fn readable(client: &Client, schema: &str) -> Result<Option<i32>, Reason> {
    match version(client, schema).await? {
        Some(version) if version > LAYOUT => Err(Reason::new(
            Code::StateLayoutNewer,
            format!("state schema {} has layout {version}", quote_ident(schema)),
        )
        .detail(format!("this Rowcast knows layouts up to {LAYOUT}"))
        .hint("run a newer Rowcast, or another `state_schema`")),
        version => Ok(version),
    }
}

/// The layout's version, or `None` where there is none (or no right to see it).
///
/// # Errors
/// The query fails.
pub(super) async fn version(client: &Client, schema: &str) -> Result<Option<i32>, Reason> {
    let what = "reading the state schema's layout";
    let found = client
        .query_typed(
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = 'layout' AND has_schema_privilege(n.oid, 'USAGE')",
            &[(&schema, Type::TEXT)],
        )
        .await
        .map_err(|error| db_error(&error, what))?;
    if found.is_empty() {
        return Ok(None);
    }
    let sql = format!("SELECT version FROM {}.layout", quote_ident(schema));
    let rows = client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| not_writable(db_error(&error, what)))?;
    Ok(rows.first().map(|row| row.get(0)))
}

fn definition(schema: &str) -> String {
    let s = quote_ident(schema);
    format!(
        r"
CREATE TABLE IF NOT EXISTS {s}.layout (version int NOT NULL);
INSERT INTO {s}.layout SELECT {LAYOUT} WHERE NOT EXISTS (SELECT 1 FROM {s}.layout);
CREATE TABLE IF NOT EXISTS {s}.sync (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  uuid text NOT NULL UNIQUE,
  name text NOT NULL UNIQUE,
  identity jsonb NOT NULL,
  seed_random bigint NOT NULL,
  generation int NOT NULL DEFAULT 1,
  backfill int NOT NULL DEFAULT 0,
  epoch bigint NOT NULL DEFAULT 0,
  lease_owner text,
  lease_until timestamptz,
  cancel_epoch bigint,
  paused boolean NOT NULL DEFAULT false,
  plan jsonb,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS {s}.progress (
  sync_id int PRIMARY KEY REFERENCES {s}.sync ON DELETE CASCADE,
  rows bigint NOT NULL DEFAULT 0,
  base_run int,
  recent_page bigint NOT NULL DEFAULT 0,
  runs_since_check int NOT NULL DEFAULT 0,
  model_digest text,
  watermark text,
  full_diff_at timestamptz,
  system_identifier text,
  timeline int,
  wal_position text);
CREATE TABLE IF NOT EXISTS {s}.run_history (
  run bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sync_id int NOT NULL REFERENCES {s}.sync ON DELETE CASCADE,
  generation int NOT NULL,
  epoch bigint NOT NULL,
  trigger text NOT NULL,
  status text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  duration_us bigint,
  read bigint, unchanged bigint, added bigint, updated bigint, removed bigint, retried bigint,
  retried_present bigint, invalid_keys bigint,
  delivered bigint, skipped bigint, invalid bigint, rejected bigint, held bigint, pending bigint,
  requests bigint, retries bigint, spool_bytes bigint, removals_done bigint NOT NULL DEFAULT 0,
  error_code text, error_message text, error_detail text, error_hint text,
  reasons jsonb, guards jsonb, overrides text[], digest text, notes text[], phases jsonb,
  state_rows bigint, database_us bigint, wal_bytes bigint, wal_of text);
CREATE INDEX IF NOT EXISTS run_history_sync ON {s}.run_history (sync_id, run DESC);
CREATE TABLE IF NOT EXISTS {s}.row_history (
  run bigint NOT NULL, sync_id int NOT NULL REFERENCES {s}.sync ON DELETE CASCADE,
  key text NOT NULL, change text NOT NULL, operation text, outcome text NOT NULL,
  code text, message text, idempotency_key text,
  at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX IF NOT EXISTS row_history_key ON {s}.row_history (sync_id, key);
{pages}
{budget}
{views}",
        pages = pages(schema),
        budget = budget::definition(schema),
        views = views::definition(schema),
    )
}

/// The indexes that pages of the row log follow: all lines of a run by key, and those that tell of
/// something else than a delivery.
pub(super) fn pages(schema: &str) -> String {
    let s = quote_ident(schema);
    format!(
        r#"CREATE INDEX IF NOT EXISTS row_history_page ON {s}.row_history (run, key COLLATE "C", at);
CREATE INDEX IF NOT EXISTS row_history_other ON {s}.row_history (run, key COLLATE "C", at)
  WHERE outcome <> 'delivered';"#
    )
}

/// The tables of one sync. A row of state whose `run` is null was put there when state was empty,
/// and its run is `progress.base_run`; one whose `mark` is null was delivered. What is null takes
/// no space. Compressing the arrays of an intent costs more than writing them as they are.
pub(super) fn sync_tables(shape: &Shape) -> String {
    let keys = shape.definition();
    let pk = shape.names("");
    let (mut arrays, mut external) = (String::new(), String::new());
    for (i, key) in shape.keys.iter().enumerate() {
        let array = if key.form == super::forms::KeyForm::Int {
            "bigint[]"
        } else {
            "text[]"
        };
        arrays.push_str(&format!(", k{} {array} NOT NULL", i + 1));
        external.push_str(&format!(", ALTER k{} SET STORAGE EXTERNAL", i + 1));
    }
    format!(
        r#"
CREATE TABLE {state} ({keys} h bigint, run int, mark "char", m text,
  PRIMARY KEY ({pk})) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX ON {state} (m) WHERE m IS NOT NULL;
CREATE TABLE {doubt} ({keys} op "char" NOT NULL, run int NOT NULL, PRIMARY KEY ({pk}));
CREATE TABLE {reject} ({keys} op "char" NOT NULL, h bigint, attempts int NOT NULL, first_run int NOT NULL,
  last_run int NOT NULL, first_at timestamptz NOT NULL, forced boolean NOT NULL DEFAULT false,
  code text NOT NULL, message text NOT NULL, PRIMARY KEY ({pk}));
CREATE TABLE {frozen} ({keys} rows bigint NOT NULL, PRIMARY KEY ({pk}));
CREATE TABLE {intent} (epoch bigint NOT NULL, intent bigint NOT NULL, run int NOT NULL, ops text NOT NULL,
  hs bigint[] NOT NULL, ms text[], acknowledged boolean NOT NULL DEFAULT false{arrays},
  PRIMARY KEY (epoch, intent));
ALTER TABLE {intent} ALTER hs SET STORAGE EXTERNAL{external};
CREATE TABLE {sent} ({keys} sent text NOT NULL, PRIMARY KEY ({pk}));
CREATE TABLE {recent} ({keys} h bigint, run int NOT NULL, gone boolean NOT NULL, PRIMARY KEY ({pk}));
"#,
        state = shape.own("state"),
        recent = shape.own("recent"),
        doubt = shape.table("doubt"),
        reject = shape.table("reject"),
        frozen = shape.table("frozen"),
        intent = shape.table("intent"),
        sent = shape.table("sent"),
    )
}
