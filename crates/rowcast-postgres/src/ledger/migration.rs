//! From an earlier layout of the state schema to this one, by the first command that writes.
//!
//! One transaction under the lock that also guards the making of tables: the whole schema is of one
//! layout or of the other, and what was acknowledged stays acknowledged.

use rowcast_core::{Code, Reason};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::layout::{self, LAYOUT};
use super::{budget, views};
use crate::connect::db_error;
use crate::sql::{ident as quote_ident, qualified};

/// A run of an earlier version that reads a table of state holds a change of the table up. Waiting
/// longer would hold up everybody else behind it.
const LOCK_TIMEOUT_S: u32 = 10;

/// Brings the schema up to the layout of this build. A schema that somebody else brought up in the
/// meantime is left as it is.
///
/// # Errors
/// The tables belong to another role, are in use by a run of an earlier version, or can't be changed.
pub(super) async fn up(client: &Client, schema: &str) -> Result<(), Reason> {
    let done = change(client, schema).await;
    if done.is_err() {
        let _ = client.batch_execute("ROLLBACK").await;
    }
    done
}

async fn change(client: &Client, schema: &str) -> Result<(), Reason> {
    let what = format!(
        "bringing state schema {} to layout {LAYOUT}",
        quote_ident(schema)
    );
    let failed = |error| {
        let mut reason = layout::not_writable(db_error(&error, &what));
        if reason.code == Code::Deadline {
            reason.hint = Some(
                "a run of an earlier version is reading state: try again when it has ended".into(),
            );
        }
        reason
    };
    let begin = format!(
        "BEGIN; SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; {}",
        layout::lock(schema)
    );
    client.batch_execute(&begin).await.map_err(failed)?;
    let version = layout::readable(client, schema).await?;
    if let Some(version) = version.filter(|version| *version < LAYOUT) {
        let mut statements = String::new();
        if version < 2 {
            statements.push_str(&to_2(client, schema).await.map_err(failed)?);
        }
        if version < 3 {
            statements.push_str(&to_3(schema));
        }
        if version < 4 {
            statements.push_str(&to_4(client, schema).await.map_err(failed)?);
        }
        // Layout 5: quotas are counted over processes.
        statements.push_str(&budget::definition(schema));
        statements.push_str(&format!(
            "UPDATE {} SET version = {LAYOUT}",
            qualified(schema, "layout")
        ));
        client.batch_execute(&statements).await.map_err(failed)?;
        tracing::info!(schema, "the state tables were brought to layout {LAYOUT}");
    }
    client.batch_execute("COMMIT").await.map_err(failed)
}

/// Layout 2: rows of state without `run` and `mark`, and intents that are acknowledged as a whole.
async fn to_2(client: &Client, schema: &str) -> Result<String, tokio_postgres::Error> {
    let rows = client
        .query_typed(
            "SELECT c.relname::text, array_agg(a.attname::text) FILTER (WHERE a.attname ~ '^k[0-9]+$') \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relname ~ '^(state|intent)_[0-9]+$' \
             GROUP BY c.relname ORDER BY c.relname",
            &[(&schema, Type::TEXT)],
        )
        .await?;
    let mut statements = format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS base_run int;\n",
        qualified(schema, "progress")
    );
    for row in &rows {
        let (name, keys): (String, Vec<String>) = (row.get(0), row.get(1));
        let table = qualified(schema, &name);
        if name.starts_with("state") {
            statements.push_str(&format!(
                "ALTER TABLE {table} ALTER run DROP NOT NULL, ALTER mark DROP NOT NULL, \
                 ALTER mark DROP DEFAULT;\n"
            ));
        } else {
            let external =
                |key: &String| format!("ALTER {} SET STORAGE EXTERNAL, ", quote_ident(key));
            let external: Vec<String> = keys.iter().map(external).collect();
            let external = external.concat();
            statements.push_str(&format!(
                "ALTER TABLE {table} ALTER ms DROP NOT NULL, ALTER hs SET STORAGE EXTERNAL, {external}\
                 ADD COLUMN IF NOT EXISTS acknowledged boolean NOT NULL DEFAULT false;\n"
            ));
        }
    }
    Ok(statements)
}

/// Layout 3: what a run cost the database, and indexes that pages of the row log follow.
fn to_3(schema: &str) -> String {
    format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS state_rows bigint, ADD COLUMN IF NOT EXISTS database_us bigint, \
         ADD COLUMN IF NOT EXISTS wal_bytes bigint, ADD COLUMN IF NOT EXISTS wal_of text;\n\
         DROP INDEX IF EXISTS {};\n{}\n{}",
        qualified(schema, "run_history"),
        qualified(schema, "row_history_run"),
        layout::pages(schema),
        views::definition(schema)
    )
}

/// Layout 4: rows that were acknowledged lately have a table of their own beside state.
async fn to_4(client: &Client, schema: &str) -> Result<String, tokio_postgres::Error> {
    let rows = client
        .query_typed(
            "SELECT substr(c.relname, 7)::text, array_agg(a.attname::text ORDER BY a.attnum), \
             array_agg(format_type(a.atttypid, a.atttypmod) || \
             CASE WHEN a.attcollation = '\"C\"'::regcollation THEN ' COLLATE \"C\"' ELSE '' END ORDER BY a.attnum) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname ~ '^k[0-9]+$' AND NOT a.attisdropped \
             WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relname ~ '^state_[0-9]+$' \
             GROUP BY c.relname ORDER BY c.relname",
            &[(&schema, Type::TEXT)],
        )
        .await?;
    let mut statements = format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS recent_page bigint NOT NULL DEFAULT 0;\n",
        qualified(schema, "progress")
    );
    for row in &rows {
        let (sync, names, types): (String, Vec<String>, Vec<String>) =
            (row.get(0), row.get(1), row.get(2));
        let keys = names.iter().zip(&types);
        let keys: Vec<String> = keys
            .map(|(name, kind)| format!("{name} {kind} NOT NULL"))
            .collect();
        statements.push_str(&format!(
            "CREATE TABLE IF NOT EXISTS {} ({}, h bigint, run int NOT NULL, gone boolean NOT NULL, \
             PRIMARY KEY ({}));\n",
            qualified(schema, &format!("recent_{sync}")),
            keys.join(", "),
            names.join(", "),
        ));
    }
    Ok(statements)
}
