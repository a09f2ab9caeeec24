//! Looking at state and steering it: runs, rejects, why, retry, reset, pause, cancel.
//!
//! Reads never need the model. Writes take the lease like a run does (semantics 13), so that they
//! never cross one.

use std::time::Duration;

use rowcast_core::{Code, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::runs::Which;
use super::shape::{KeyArrays, Shape};
use super::{layout, lease, registry};
use crate::connect::{Connector, Idle, Lent, db_error};

/// A reset takes its lease for so long.
const RESET_TERM: Duration = Duration::from_secs(30);
/// A moment as text in UTC.
pub(super) const MOMENT: &str = "YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"";

/// The state schema of one source, for looking and steering. Its clones share connections.
#[derive(Debug, Clone)]
pub struct StateAdmin {
    idle: Idle,
    pub(super) schema: String,
}

/// A run as the `runs` view shows it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunRow {
    pub run: i64,
    pub sync: String,
    pub trigger: String,
    pub status: String,
    pub started_at: String,
    pub finished_at: Option<String>,
    pub duration_us: Option<i64>,
    pub read: Option<i64>,
    pub unchanged: Option<i64>,
    pub added: Option<i64>,
    pub updated: Option<i64>,
    pub removed: Option<i64>,
    pub retried: Option<i64>,
    pub invalid_keys: Option<i64>,
    pub delivered: Option<i64>,
    pub skipped: Option<i64>,
    pub invalid: Option<i64>,
    pub rejected: Option<i64>,
    pub held: Option<i64>,
    pub pending: Option<i64>,
    pub requests: Option<i64>,
    pub retries: Option<i64>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub notes: Vec<String>,
    /// Those of `retried` whose row is still in the model.
    pub retried_present: Option<i64>,
    /// Rows of state that the model was compared with.
    pub state_rows: Option<i64>,
    /// How long the run waited for the database.
    pub database_us: Option<i64>,
    pub wal_bytes: Option<i64>,
    /// Whose: `run` or `server`.
    pub wal_of: Option<String>,
    /// The steps of the flow in order.
    pub steps: Vec<StepRow>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepRow {
    pub step: String,
    pub duration_us: u64,
}

/// A rejected row.
#[derive(Debug, Clone, Serialize)]
pub struct RejectRow {
    pub key: String,
    pub operation: String,
    pub attempts: i32,
    pub first_run: i32,
    pub last_run: i32,
    pub first_at: String,
    pub code: String,
    pub message: String,
}

/// One line of the row log.
#[derive(Debug, Clone, Serialize)]
pub struct LogEntry {
    pub at: String,
    pub run: i64,
    pub change: String,
    pub operation: Option<String>,
    pub outcome: String,
    pub code: Option<String>,
    pub message: Option<String>,
    pub idempotency_key: Option<String>,
}

/// What is known of one row.
#[derive(Debug, Clone, Serialize)]
pub struct Biography {
    pub key: String,
    /// Whether state holds the key, and since which run.
    pub acknowledged_run: Option<i32>,
    /// `delivered`, `skipped`, `gone` (removed from the model, still at the destination) or
    /// `attempted` (sent, never acknowledged).
    pub mark: Option<String>,
    pub doubt_since_run: Option<i32>,
    pub reject: Option<RejectRow>,
    pub frozen: bool,
    pub log: Vec<LogEntry>,
}

fn operation_word(letter: &str) -> String {
    letter
        .chars()
        .next()
        .and_then(rowcast_core::Operation::from_letter)
        .map_or_else(
            || letter.to_owned(),
            |operation| operation.as_str().to_owned(),
        )
}

impl StateAdmin {
    /// The state in a schema. Connects at the first use.
    pub fn new(connector: Connector, schema: &str) -> Self {
        Self {
            idle: Idle::new(connector),
            schema: schema.to_owned(),
        }
    }

    /// A connection to state; `None` when there is none.
    pub(super) async fn open(&self) -> Result<Option<Lent>, Reason> {
        let connection = self.idle.lend().await?;
        Ok(layout::version(&connection.client, &self.schema)
            .await?
            .map(|_| connection))
    }

    async fn known(&self, sync: &str) -> Result<(Lent, Shape, registry::Registered), Reason> {
        let never = || never_run(sync);
        let connection = self.open().await?.ok_or_else(never)?;
        let found = registry::find(&connection.client, &self.schema, sync)
            .await?
            .ok_or_else(never)?;
        let shape = registry::stored_shape(&connection.client, &self.schema, &found)
            .await?
            .ok_or_else(never)?;
        Ok((connection, shape, found))
    }

    /// The last runs, newest first.
    ///
    /// # Errors
    /// State can't be read.
    pub async fn runs(&self, sync: Option<&str>, limit: i64) -> Result<Vec<RunRow>, Reason> {
        match self.open().await? {
            None => Ok(Vec::new()),
            Some(connection) => {
                let which = sync.map_or(Which::All, |sync| Which::Of(sync, None));
                let runs = self.read_runs(&connection.client, &which, limit).await?;
                connection.give_back();
                Ok(runs)
            }
        }
    }

    /// Rejected rows of a sync, the last first.
    ///
    /// # Errors
    /// The sync has never run, or state can't be read.
    pub async fn rejects(&self, sync: &str, limit: i64) -> Result<Vec<RejectRow>, Reason> {
        let (connection, shape, _) = self.known(sync).await?;
        let rejects = read_rejects(&connection.client, &shape, "true", &[], limit).await?;
        connection.give_back();
        Ok(rejects)
    }

    /// Lets rejected rows be tried in the next run, whatever the policy says. Without keys, all.
    /// Gives their number.
    ///
    /// # Errors
    /// The sync has never run, a key can't be read.
    pub async fn retry(&self, sync: &str, keys: &[Vec<String>]) -> Result<i64, Reason> {
        let (connection, shape, _) = self.known(sync).await?;
        let keys = keys
            .iter()
            .map(|parts| shape.parse_key(parts))
            .collect::<Result<Vec<_>, _>>()?;
        let arrays = KeyArrays::of(&shape, &keys);
        let reject = shape.table("reject");
        let (sql, params) = if keys.is_empty() {
            (
                format!("UPDATE {reject} SET forced = true RETURNING 1"),
                Vec::new(),
            )
        } else {
            let sql = format!(
                "UPDATE {reject} AS s SET forced = true FROM {} AS u({}) WHERE {} RETURNING 1",
                shape.unnest(&[]),
                shape.names(""),
                shape.equal("s", "u")
            );
            (sql, arrays.params())
        };
        let rows = connection
            .client
            .query_typed(&sql, &params)
            .await
            .map_err(|error| db_error(&error, &format!("marking rejects of sync {sync:?}")))?;
        connection.give_back();
        Ok(rows.len() as i64)
    }

    /// Forgets what was sent: state, rejects, intents, doubts and row log together. The next run
    /// sends every row. Gives the number of rows that were in state.
    ///
    /// # Errors
    /// The sync is running, or has never run.
    pub async fn reset(&self, sync: &str) -> Result<i64, Reason> {
        let never = || never_run(sync);
        let connection = self.open().await?.ok_or_else(never)?;
        let client = &connection.client;
        let found = registry::find(client, &self.schema, sync)
            .await?
            .ok_or_else(never)?;
        let Some(shape) = registry::stored_shape(client, &self.schema, &found).await? else {
            return Ok(0);
        };
        layout::bring_up(client, &self.schema).await?;
        let taken = lease::take(client, &shape, sync, RESET_TERM, false).await?;
        let what = format!("resetting sync {sync:?}");
        let forgotten = forget(client, &shape, taken.epoch, &what).await;
        if forgotten.is_err() {
            let _ = client.batch_execute("ROLLBACK").await;
            lease::give_back(client, &shape, taken.epoch).await;
        }
        forgotten
    }

    /// Pauses a sync, or lets it run on schedule again.
    ///
    /// # Errors
    /// The sync has never run.
    pub async fn set_paused(&self, sync: &str, paused: bool) -> Result<(), Reason> {
        let (connection, shape, _) = self.known(sync).await?;
        let sql = format!(
            "UPDATE {} SET paused = $2 WHERE id = $1",
            shape.shared("sync")
        );
        connection
            .client
            .query_typed(&sql, &[(&shape.sync, Type::INT4), (&paused, Type::BOOL)])
            .await
            .map_err(|error| db_error(&error, &format!("pausing sync {sync:?}")))?;
        connection.give_back();
        Ok(())
    }

    /// Asks a running process to stop. `false` when the sync is not running.
    ///
    /// # Errors
    /// State can't be written.
    pub async fn cancel(&self, sync: &str) -> Result<bool, Reason> {
        match self.open().await? {
            None => Ok(false),
            Some(connection) => {
                let running = lease::request_cancel(&connection.client, &self.schema, sync).await?;
                connection.give_back();
                Ok(running)
            }
        }
    }

    /// Whether a sync is paused; `false` when it has never run.
    ///
    /// # Errors
    /// State can't be read.
    pub async fn is_paused(&self, sync: &str) -> Result<bool, Reason> {
        let Some(connection) = self.open().await? else {
            return Ok(false);
        };
        let found = registry::find(&connection.client, &self.schema, sync).await?;
        connection.give_back();
        Ok(found.is_some_and(|found| found.paused))
    }

    /// The biography of one row.
    ///
    /// # Errors
    /// The sync has never run, the key can't be read.
    pub async fn why(&self, sync: &str, key: &[String]) -> Result<Biography, Reason> {
        let (connection, shape, _) = self.known(sync).await?;
        let client = &connection.client;
        let key = shape.parse_key(key)?;
        let arrays = KeyArrays::of(&shape, [&key]);
        let what = format!("looking for key {key} of sync {sync:?}");
        let condition = |alias: &str| {
            format!(
                "EXISTS (SELECT 1 FROM {} AS u({}) WHERE {})",
                shape.unnest(&[]),
                shape.names(""),
                shape.equal(alias, "u")
            )
        };
        let look = async |table: &str, columns: &str| {
            let sql = format!(
                "SELECT {columns} FROM {} s WHERE {}",
                shape.table(table),
                condition("s")
            );
            client
                .query_typed(&sql, &arrays.params())
                .await
                .map_err(|error| db_error(&error, &what))
        };
        // Layout 1 has no base run.
        let run = format!(
            "coalesce(run, (SELECT (to_jsonb(p) ->> 'base_run')::int FROM {} p WHERE p.sync_id = {})), \
             coalesce(mark::text, 'd')",
            shape.shared("progress"),
            shape.sync
        );
        // A run's fold may come between looking for acknowledged intents and reading them.
        client
            .batch_execute(&format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {} IN ACCESS SHARE MODE",
                shape.read_together()
            ))
            .await
            .map_err(|error| db_error(&error, &what))?;
        shape.look_for_unfolded(client).await?;
        let state = look("state", &run).await?;
        let doubt = look("doubt", "run").await?;
        let frozen = look("frozen", "1").await?;
        let reject = read_rejects(client, &shape, &condition("s"), &arrays.params(), 1).await?;
        let sql = format!(
            "SELECT to_char(at AT TIME ZONE 'UTC', '{MOMENT}'), run, change, operation, outcome, code, message, idempotency_key \
             FROM {} WHERE sync_id = $1 AND key = $2 ORDER BY at DESC, run DESC LIMIT 100",
            shape.shared("row_history")
        );
        let canonical = key.canonical();
        let log = client
            .query_typed(&sql, &[(&shape.sync, Type::INT4), (&canonical, Type::TEXT)])
            .await
            .map_err(|error| db_error(&error, &what))?;
        client
            .batch_execute("COMMIT")
            .await
            .map_err(|error| db_error(&error, &what))?;
        connection.give_back();
        let mark = state
            .first()
            .map(|row| match row.get::<_, String>(1).as_str() {
                "s" => "skipped".to_owned(),
                "t" => "gone".to_owned(),
                "n" => "attempted".to_owned(),
                _ => "delivered".to_owned(),
            });
        Ok(Biography {
            key: key.to_string(),
            acknowledged_run: state
                .first()
                .filter(|row| row.get::<_, String>(1) != "n")
                .map(|row| row.get(0)),
            mark,
            doubt_since_run: doubt.first().map(|row| row.get(0)),
            reject: reject.into_iter().next(),
            frozen: !frozen.is_empty(),
            log: log
                .iter()
                .map(|row| LogEntry {
                    at: row.get(0),
                    run: row.get(1),
                    change: row.get(2),
                    operation: row.get(3),
                    outcome: row.get(4),
                    code: row.get(5),
                    message: row.get(6),
                    idempotency_key: row.get(7),
                })
                .collect(),
        })
    }
}

fn never_run(sync: &str) -> Reason {
    Reason::new(
        Code::UnknownReference,
        format!("sync {sync:?} has no state: it has not run, or was reset"),
    )
    .hint(format!("run it first: rowcast run {sync}"))
}

/// Everything of a sync but its name and its history, in one transaction that holds the lease.
async fn forget(client: &Client, shape: &Shape, epoch: i64, what: &str) -> Result<i64, Reason> {
    let run = async |sql: &str| {
        client
            .batch_execute(sql)
            .await
            .map_err(|error| db_error(&error, what))
    };
    let (sync, progress, id) = (shape.shared("sync"), shape.shared("progress"), shape.sync);
    run("BEGIN").await?;
    let held = format!("SELECT 1 FROM {sync} WHERE id = {id} AND epoch = {epoch} FOR UPDATE");
    if query(client, &held, what).await?.is_empty() {
        return Err(super::commit::lease_lost());
    }
    let rows = format!("SELECT rows FROM {progress} WHERE sync_id = {id}");
    let rows = query(client, &rows, what).await?;
    for kind in [
        "state", "recent", "doubt", "reject", "frozen", "intent", "sent",
    ] {
        run(&format!("DROP TABLE IF EXISTS {}", shape.own(kind))).await?;
    }
    run(&format!(
        "DELETE FROM {log} WHERE sync_id = {id}; \
         UPDATE {progress} SET rows = 0, base_run = NULL, recent_page = 0, model_digest = NULL, runs_since_check = 0, watermark = NULL, \
         full_diff_at = NULL, system_identifier = NULL, timeline = NULL, wal_position = NULL WHERE sync_id = {id}; \
         UPDATE {sync} SET generation = generation + 1, identity = '{{}}', plan = NULL, \
         lease_until = NULL, lease_owner = NULL WHERE id = {id}; COMMIT",
        log = shape.shared("row_history"),
    ))
    .await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

pub(super) async fn query(client: &Client, sql: &str, what: &str) -> Result<Vec<Row>, Reason> {
    client
        .query_typed(sql, &[])
        .await
        .map_err(|error| db_error(&error, what))
}

async fn read_rejects(
    client: &Client,
    shape: &Shape,
    condition: &str,
    params: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)],
    limit: i64,
) -> Result<Vec<RejectRow>, Reason> {
    let texts: Vec<String> = (1..=shape.keys.len())
        .map(|i| format!("s.k{i}::text"))
        .collect();
    let sql = format!(
        "SELECT ARRAY[{}], s.op::text, s.attempts, s.first_run, s.last_run, \
         to_char(s.first_at AT TIME ZONE 'UTC', '{MOMENT}'), s.code, s.message \
         FROM {} s WHERE {condition} ORDER BY s.last_run DESC, {} LIMIT {limit}",
        texts.join(", "),
        shape.table("reject"),
        shape.names("s."),
    );
    let rows = client
        .query_typed(&sql, params)
        .await
        .map_err(|error| db_error(&error, "reading rejects"))?;
    Ok(rows
        .iter()
        .map(|row| RejectRow {
            key: row.get::<_, Vec<String>>(0).join(", "),
            operation: operation_word(&row.get::<_, String>(1)),
            attempts: row.get(2),
            first_run: row.get(3),
            last_run: row.get(4),
            first_at: row.get(5),
            code: row.get(6),
            message: row.get(7),
        })
        .collect())
}
