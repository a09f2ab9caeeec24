//! The tables of the control schema and their versions.
//!
//! Each version is a step from the one before it, applied in one transaction under a lock. A step
//! that has landed is never edited: databases out there have it.

use rowcast_core::{Code, Reason};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::connect::db_error;
use crate::sql::{ident, literal};

/// The steps from one version to the next; `{s}` is the schema.
const STEPS: [&str; 4] = [
    // 1: schedules and jobs.
    "CREATE TABLE {s}.control_schedule (
        sync text PRIMARY KEY,
        -- Times up to this one are dealt with.
        until timestamptz NOT NULL
     );
     CREATE TABLE {s}.control_job (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        sync text NOT NULL,
        source text NOT NULL,
        trigger text NOT NULL,
        due_at timestamptz NOT NULL,
        request text NOT NULL,
        status text NOT NULL CHECK (status IN ('queued', 'running', 'done')),
        -- Rises with every claim: who holds an older one is fenced.
        attempt int NOT NULL DEFAULT 0,
        -- The change set was made: a full resend is on its way and need not begin anew.
        began boolean NOT NULL DEFAULT false,
        owner text,
        lease_until timestamptz,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        started_at timestamptz,
        finished_at timestamptz,
        outcome text,
        run bigint,
        error text
     );
     CREATE UNIQUE INDEX control_job_queued ON {s}.control_job (sync) WHERE status = 'queued';
     CREATE UNIQUE INDEX control_job_running ON {s}.control_job (sync) WHERE status = 'running';
     CREATE INDEX control_job_finished ON {s}.control_job (finished_at) WHERE status = 'done';
     CREATE TABLE {s}.control_arrival (
        sync text NOT NULL,
        parent text NOT NULL,
        PRIMARY KEY (sync, parent)
     );",
    // 2: tokens of the API.
    "CREATE TABLE {s}.control_token (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL,
        -- Of 244 random bits: nothing to guess, so that a plain hash is enough.
        hash text NOT NULL UNIQUE,
        scope text NOT NULL CHECK (scope IN ('read', 'run', 'write', 'admin')),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz,
        revoked_at timestamptz
     );",
    // 3: alerts, messages on their way, events from outside.
    "ALTER TABLE {s}.control_job
        -- Whether alerts have taken note of its end. What ended before there were alerts is past.
        ADD COLUMN told boolean NOT NULL DEFAULT true;
     ALTER TABLE {s}.control_job ALTER COLUMN told SET DEFAULT false;
     CREATE INDEX control_job_untold ON {s}.control_job (sync) WHERE status = 'done' AND NOT told;
     CREATE INDEX control_job_of_sync ON {s}.control_job (sync, id);
     CREATE TABLE {s}.control_watch (
        sync text PRIMARY KEY,
        -- Rises with every move: who looked at an older one has lost.
        version bigint NOT NULL,
        -- What is open and what was told, as JSON.
        state text NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
     );
     CREATE TABLE {s}.control_mute (
        sync text PRIMARY KEY,
        until timestamptz NOT NULL
     );
     CREATE TABLE {s}.control_message (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        project text NOT NULL,
        message_id text NOT NULL,
        channel text NOT NULL,
        subject text NOT NULL,
        body text NOT NULL,
        status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'given up')),
        attempt int NOT NULL DEFAULT 0,
        -- The next attempt; while one is made, the end of its lease.
        due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        error text,
        UNIQUE (message_id, channel)
     );
     CREATE INDEX control_message_waiting ON {s}.control_message (project, channel, subject, id)
        WHERE status = 'waiting';
     CREATE TABLE {s}.control_event (
        hook text NOT NULL,
        event text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (hook, event)
     );",
    // 4: what was asked for over the API, and requests that may be repeated.
    "CREATE TABLE {s}.control_audit (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        token bigint NOT NULL,
        token_name text NOT NULL,
        method text NOT NULL,
        -- Never a query or a body: they may hold values of rows.
        path text NOT NULL,
        status int NOT NULL
     );
     CREATE INDEX control_audit_at ON {s}.control_audit (at);
     CREATE TABLE {s}.control_repeat (
        token bigint NOT NULL,
        key text NOT NULL,
        -- A hash of the request.
        request text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        -- Until then the first request is taken to be going on.
        busy_until timestamptz NOT NULL,
        status int,
        body text,
        PRIMARY KEY (token, key)
     );
     CREATE INDEX control_repeat_at ON {s}.control_repeat (at);",
];

/// Makes the schema and its tables, or brings them up to this version.
///
/// # Errors
/// The role may not, or the tables are of a newer version.
pub(super) async fn ensure(client: &Client, schema: &str) -> Result<(), Reason> {
    if version(client, schema).await? == Some(STEPS.len()) {
        return Ok(());
    }
    let done = up(client, schema).await;
    if done.is_err() {
        let _ = client.batch_execute("ROLLBACK").await;
    }
    done
}

async fn up(client: &Client, schema: &str) -> Result<(), Reason> {
    let what = format!("making the control tables in schema {}", ident(schema));
    let failed = |error| {
        let mut reason = db_error(&error, &what);
        if reason.code == Code::PermissionMissing {
            reason.code = Code::StateNotWritable;
            reason.hint = Some(format!(
                "run as an administrator: GRANT USAGE, CREATE ON SCHEMA {} TO the role of the server; or name another database with --database",
                ident(schema)
            ));
        }
        reason
    };
    let lock = literal(&format!("rowcast control {schema}"));
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended({lock}, 0))");
    client.batch_execute(&begin).await.map_err(failed)?;
    let found = version(client, schema).await?;
    let mut sql = String::new();
    if found.is_none() {
        let existing = client
            .query_typed(
                "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1",
                &[(&schema, Type::TEXT)],
            )
            .await
            .map_err(failed)?;
        if existing.is_empty() {
            sql.push_str(&format!("CREATE SCHEMA {};\n", ident(schema)));
        }
        sql.push_str(&format!(
            "CREATE TABLE {s}.control_layout (version int NOT NULL);\n\
             INSERT INTO {s}.control_layout VALUES (0);\n",
            s = ident(schema)
        ));
    }
    for step in &STEPS[found.unwrap_or(0)..] {
        sql.push_str(&step.replace("{s}", &ident(schema)));
        sql.push('\n');
    }
    sql.push_str(&format!(
        "UPDATE {}.control_layout SET version = {}; COMMIT;",
        ident(schema),
        STEPS.len()
    ));
    client.batch_execute(&sql).await.map_err(failed)
}

/// The version of the tables; `None` when there are none.
///
/// # Errors
/// It is newer than this build's.
async fn version(client: &Client, schema: &str) -> Result<Option<usize>, Reason> {
    let failed = |error| db_error(&error, "reading the version of the control tables");
    let table = crate::sql::qualified(schema, "control_layout");
    let exists = client
        .query_typed(
            "SELECT to_regclass($1) IS NOT NULL",
            &[(&table, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    if !exists.first().is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let rows = client
        .query_typed(&format!("SELECT version FROM {table}"), &[])
        .await
        .map_err(failed)?;
    let version: i32 = rows.first().map_or(0, |row| row.get(0));
    let version = usize::try_from(version).unwrap_or(0);
    if version > STEPS.len() {
        return Err(Reason::new(
            Code::StateLayoutNewer,
            format!(
                "the control tables in schema {} have version {version}",
                ident(schema)
            ),
        )
        .detail(format!("this Rowcast knows versions up to {}", STEPS.len()))
        .hint("run a newer Rowcast, or name another database with --database"));
    }
    Ok(Some(version))
}
