//! Acknowledgement: one fenced transaction moves state, rejects, doubts, intents and the row log.
//!
//! State must never say more than the destination acknowledged. Every write first takes the sync's
//! row FOR SHARE in its own transaction (semantics 13): a takeover waits for it, and a run that was
//! taken over finds no row and writes nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rowcast_core::ledger::{Intent, Step};
use rowcast_core::{Code, Lease, Mode, Reason, Settled, killpoint};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::effects::{DoubtSet, Effects, PutSet, RejectSet};
use super::row_log::Logged;
use super::shape::{KeyArrays, Shape};
use crate::connect::db_error;

/// What the writer of one run needs.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub client: &'a Client,
    pub shape: &'a Shape,
    pub mode: Mode,
    pub keep_rows: bool,
    pub logged: Logged,
}

/// A transaction waits at least so long for a lock, and for its worker, whatever is left of the
/// lease: its end is judged by epoch.
const LIMIT_MIN: Duration = Duration::from_secs(1);

/// A statement with its parameters.
pub(super) type Params<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

/// The way every write of a run goes: one transaction that proves the lease first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence<'a> {
    pub client: &'a Client,
    pub shape: &'a Shape,
    pub lease: &'a Lease,
    /// Whether a transaction is open on the connection: one that was abandoned half-way must never
    /// be committed by the next.
    pub open: &'a AtomicBool,
}

impl Fence<'_> {
    /// Begins a transaction and proves that the lease still holds. Gives the transaction's id.
    ///
    /// # Errors
    /// `LeaseLost` when the epoch or the generation moved; the transaction is rolled back.
    pub(super) async fn begin(&self, durable: bool) -> Result<String, Reason> {
        let failed = |error| db_error(&error, "acknowledging");
        if self.open.load(Ordering::Acquire) {
            self.roll_back().await;
        }
        self.open.store(true, Ordering::Release);
        // It must not wait behind a lock until the lease ends, nor hold its own for a worker that the
        // network took away: that worker's next attempt, or the next run, needs them.
        let left = self
            .lease
            .deadline()
            .saturating_duration_since(Instant::now());
        let limit = (left / 5).max(LIMIT_MIN).as_millis();
        let mut begin = format!(
            "BEGIN; SET LOCAL lock_timeout = {limit}; \
             SET LOCAL idle_in_transaction_session_timeout = {limit}"
        );
        if !durable {
            begin.push_str("; SET LOCAL synchronous_commit = off");
        }
        self.client.batch_execute(&begin).await.map_err(failed)?;
        let sql = format!(
            "SELECT pg_current_xact_id()::text FROM {} WHERE id = $1 AND epoch = $2 AND generation = $3 FOR SHARE",
            self.shape.shared("sync")
        );
        let generation = self.lease.generation as i32;
        let rows = self
            .client
            .query_typed(
                &sql,
                &[
                    (&self.shape.sync, Type::INT4),
                    (&self.lease.epoch, Type::INT8),
                    (&generation, Type::INT4),
                ],
            )
            .await;
        match rows {
            Err(error) => {
                self.roll_back().await;
                Err(failed(error))
            }
            Ok(rows) => match rows.first() {
                Some(row) => Ok(row.get(0)),
                None => {
                    self.roll_back().await;
                    self.lease.lose();
                    Err(lease_lost())
                }
            },
        }
    }

    /// Commits.
    ///
    /// # Errors
    /// The database fails; whether the transaction took effect is then not known.
    pub(super) async fn commit(&self) -> Result<(), Reason> {
        self.client
            .batch_execute("COMMIT")
            .await
            .map_err(|error| db_error(&error, "acknowledging"))?;
        self.open.store(false, Ordering::Release);
        Ok(())
    }

    /// Ends the transaction without effect.
    pub(super) async fn roll_back(&self) {
        if self.client.batch_execute("ROLLBACK").await.is_ok() {
            self.open.store(false, Ordering::Release);
        }
    }

    /// Everything in one durable transaction, or nothing.
    ///
    /// # Errors
    /// The lease is lost, the work fails, the database fails.
    pub(super) async fn all_or_nothing<T>(
        &self,
        work: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        self.begin(true).await?;
        match work.await {
            Ok(done) => self.commit().await.map(|()| done),
            Err(reason) => {
                self.roll_back().await;
                Err(reason)
            }
        }
    }
}

/// Whether a transaction whose COMMIT was not answered took effect. `None`: it still runs.
///
/// # Errors
/// The server can't be asked.
pub(super) async fn took_effect(
    client: &Client,
    transaction: &str,
) -> Result<Option<bool>, Reason> {
    let rows = client
        .query_typed(
            "SELECT pg_xact_status($1::text::xid8)",
            &[(&transaction, Type::TEXT)],
        )
        .await;
    match rows {
        Ok(rows) => Ok(
            match rows.first().and_then(|row| row.get::<_, Option<String>>(0)) {
                Some(status) if status == "in progress" => None,
                Some(status) => Some(status == "committed"),
                None => Some(false),
            },
        ),
        // A server that has never given out this id has not committed it either.
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => Ok(Some(false)),
        Err(error) => Err(db_error(&error, "acknowledging")),
    }
}

/// Another run, a reset or a baseline took the sync over.
pub(super) fn lease_lost() -> Reason {
    Reason::new(
        Code::LeaseLost,
        "another run has taken over the sync; this one stops",
    )
    .detail("its unacknowledged records are settled by the run that took over")
    .hint("look at `rowcast status`; nothing needs to be repaired")
}

impl Writer<'_> {
    pub(super) async fn run(&self, sql: &str, params: &Params<'_>) -> Result<Vec<Row>, Reason> {
        self.client
            .query_typed(sql, params)
            .await
            .map_err(|error| db_error(&error, "acknowledging"))
    }

    /// Commits one step. When the answer to COMMIT is lost, `unsure` names the transaction.
    ///
    /// # Errors
    /// The lease is lost (nothing was written), or the database fails.
    pub(super) async fn commit(
        &self,
        lease: &Lease,
        step: &Step,
        open: &AtomicBool,
        unsure: &mut Option<String>,
    ) -> Result<(), Reason> {
        let fence = Fence {
            client: self.client,
            shape: self.shape,
            lease,
            open,
        };
        let transaction = fence.begin(!step.open.is_empty()).await?;
        if let Err(reason) = self.write(lease, step).await {
            fence.roll_back().await;
            return Err(reason);
        }
        killpoint::reach("ledger-step-written");
        *unsure = Some(transaction);
        fence.commit().await?;
        *unsure = None;
        killpoint::reach("ledger-step-committed");
        Ok(())
    }

    async fn write(&self, lease: &Lease, step: &Step) -> Result<(), Reason> {
        let delta = self.apply(lease.run as i32, &step.settled).await?;
        self.move_rows(delta).await?;
        self.log(lease.run, &step.settled).await?;
        if !step.close.is_empty() {
            let sql = format!(
                "DELETE FROM {} WHERE epoch = $1 AND intent = ANY($2)",
                self.shape.table("intent")
            );
            self.run(
                &sql,
                &vec![(&lease.epoch, Type::INT8), (&step.close, Type::INT8_ARRAY)],
            )
            .await?;
        }
        for intent in &step.open {
            self.announce(lease.run as i32, intent).await?;
        }
        Ok(())
    }

    /// Applies changes of an earlier run and logs them, in the current transaction.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn settle(&self, run: i32, settled: &[Settled]) -> Result<(), Reason> {
        let delta = self.apply(run, settled).await?;
        self.move_rows(delta).await?;
        self.log(run.into(), settled).await
    }

    /// Forgets rejects that no longer apply.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn forget_rejects(&self, keys: &KeyArrays) -> Result<(), Reason> {
        self.forget_in("reject", keys).await
    }

    /// Adds to the exact count of rows in state (semantics 4).
    async fn move_rows(&self, delta: i64) -> Result<(), Reason> {
        if delta == 0 {
            return Ok(());
        }
        let sql = format!(
            "UPDATE {} SET rows = rows + $1 WHERE sync_id = $2",
            self.shape.shared("progress")
        );
        self.run(
            &sql,
            &vec![(&delta, Type::INT8), (&self.shape.sync, Type::INT4)],
        )
        .await?;
        Ok(())
    }

    /// Applies effects; gives the change of the number of rows in state.
    async fn apply(&self, run: i32, settled: &[Settled]) -> Result<i64, Reason> {
        let mut effects = Effects::new(self.shape);
        for change in settled {
            effects.add(change, change.effect(self.mode));
        }
        let mut delta = 0;
        delta += self.put(run, &effects.put).await?;
        let gone = self.drop_keys(&effects.drop).await?;
        self.bury(run, &effects.bury).await?;
        self.count_removals(run, effects.removed).await?;
        self.overwrite(&effects.put.keys, &effects.put.matches)
            .await?;
        self.overwrite(&effects.doubt.keys, &effects.doubt.matches)
            .await?;
        delta -= gone;
        delta += self.doubt(run, &effects.doubt).await?;
        self.reject(run, &effects.reject).await?;
        self.forget(&effects.forget).await?;
        if self.keep_rows {
            self.keep(&effects.put, &effects.drop).await?;
        }
        Ok(delta)
    }

    async fn put(&self, run: i32, set: &PutSet) -> Result<i64, Reason> {
        if set.keys.is_empty() {
            return Ok(0);
        }
        let (n, names) = (self.shape.keys.len(), self.shape.names(""));
        let sql = format!(
            "WITH written AS (INSERT INTO {state} AS s ({names}, h, mark, m, run) \
             SELECT {keys}, u.h, u.mark::\"char\", u.m, ${run} FROM {unnest} AS u({names}, h, mark, m) \
             ON CONFLICT ({names}) DO UPDATE SET h = EXCLUDED.h, mark = EXCLUDED.mark, \
             m = CASE WHEN EXCLUDED.mark = 's' THEN s.m ELSE EXCLUDED.m END, \
             run = EXCLUDED.run RETURNING (xmax = 0) AS fresh) \
             SELECT count(*) FILTER (WHERE fresh) FROM written",
            state = self.shape.table("state"),
            keys = self.shape.names("u."),
            unnest = self.shape.unnest(&[
                &format!("${}::bigint[]", n + 1),
                &format!("${}::text[]", n + 2),
                &format!("${}::text[]", n + 3),
            ]),
            run = n + 4,
        );
        let mut params = set.keys.params();
        params.push((&set.checksums, Type::INT8_ARRAY));
        params.push((&set.marks, Type::TEXT_ARRAY));
        params.push((&set.matches, Type::TEXT_ARRAY));
        params.push((&run, Type::INT4));
        Ok(self
            .run(&sql, &params)
            .await?
            .first()
            .map_or(0, |row| row.get(0)))
    }

    async fn drop_keys(&self, keys: &KeyArrays) -> Result<i64, Reason> {
        if keys.is_empty() {
            return Ok(0);
        }
        let names = self.shape.names("");
        let sql = format!(
            "WITH gone AS (DELETE FROM {} AS s USING {} AS u({names}) WHERE {} RETURNING 1) \
             SELECT count(*) FROM gone",
            self.shape.table("state"),
            self.shape.unnest(&[]),
            self.shape.equal("s", "u"),
        );
        Ok(self
            .run(&sql, &keys.params())
            .await?
            .first()
            .map_or(0, |row| row.get(0)))
    }

    /// A record that was put at an identity has taken the place of whatever another key had
    /// delivered there: what that key has at the destination is not known any more (semantics 12).
    async fn overwrite(&self, keys: &KeyArrays, matches: &[Option<String>]) -> Result<(), Reason> {
        if matches.iter().all(Option::is_none) {
            return Ok(());
        }
        let sql = format!(
            "UPDATE {} AS s SET h = NULL FROM {} AS u({}, m) WHERE s.m = u.m AND s.h IS NOT NULL AND NOT ({})",
            self.shape.table("state"),
            self.shape
                .unnest(&[&format!("${}::text[]", self.shape.keys.len() + 1)]),
            self.shape.names(""),
            self.shape.equal("s", "u"),
        );
        let mut params = keys.params();
        params.push((&matches, Type::TEXT_ARRAY));
        self.run(&sql, &params).await?;
        Ok(())
    }

    /// Removals that took effect, for the guard that looks back 24 hours (semantics 20): a removal
    /// that this run did not get to is counted by the run that does.
    async fn count_removals(&self, run: i32, number: i64) -> Result<(), Reason> {
        if number == 0 {
            return Ok(());
        }
        let sql = format!(
            "UPDATE {} SET removals_done = removals_done + $1 WHERE run = $2",
            self.shape.shared("run_history")
        );
        let run = i64::from(run);
        self.run(&sql, &vec![(&number, Type::INT8), (&run, Type::INT8)])
            .await?;
        Ok(())
    }

    async fn bury(&self, run: i32, keys: &KeyArrays) -> Result<(), Reason> {
        if keys.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "UPDATE {} AS s SET mark = 't', run = ${} FROM {} AS u({}) WHERE {}",
            self.shape.table("state"),
            self.shape.keys.len() + 1,
            self.shape.unnest(&[]),
            self.shape.names(""),
            self.shape.equal("s", "u"),
        );
        let mut params = keys.params();
        params.push((&run, Type::INT4));
        self.run(&sql, &params).await?;
        Ok(())
    }

    /// Unknown outcomes become `h = NULL` and a doubt; absent keys are inserted (semantics 8).
    async fn doubt(&self, run: i32, set: &DoubtSet) -> Result<i64, Reason> {
        if set.keys.is_empty() {
            return Ok(0);
        }
        let (n, names) = (self.shape.keys.len(), self.shape.names(""));
        let unnest = self.shape.unnest(&[
            &format!("${}::text[]", n + 1),
            &format!("${}::text[]", n + 2),
        ]);
        // A key that was never acknowledged is marked so: its row is still an addition. Any other
        // keeps the run of its last acknowledgement.
        // A doubtful delete keeps the identity that may still be there; anything else may have put
        // the record at the identity that was attempted.
        let state = format!(
            "WITH written AS (INSERT INTO {state} AS s ({names}, h, mark, m, run) \
             SELECT {keys}, NULL, 'n', u.m, ${run} FROM {unnest} AS u({names}, op, m) \
             ON CONFLICT ({names}) DO UPDATE SET h = NULL, \
             mark = CASE s.mark WHEN 'n' THEN s.mark ELSE 'd' END, \
             m = coalesce(EXCLUDED.m, s.m) RETURNING (xmax = 0) AS fresh) \
             SELECT count(*) FILTER (WHERE fresh) FROM written",
            state = self.shape.table("state"),
            keys = self.shape.names("u."),
            run = n + 3,
        );
        let doubts = format!(
            "INSERT INTO {} ({names}, op, run) SELECT {}, u.op::\"char\", ${} \
             FROM {unnest} AS u({names}, op, m) ON CONFLICT ({names}) DO NOTHING",
            self.shape.table("doubt"),
            self.shape.names("u."),
            n + 3,
        );
        let mut params = set.keys.params();
        params.push((&set.operations, Type::TEXT_ARRAY));
        params.push((&set.matches, Type::TEXT_ARRAY));
        params.push((&run, Type::INT4));
        let fresh = self
            .run(&state, &params)
            .await?
            .first()
            .map_or(0, |row| row.get(0));
        self.run(&doubts, &params).await?;
        Ok(fresh)
    }

    async fn reject(&self, run: i32, set: &RejectSet) -> Result<(), Reason> {
        if set.keys.is_empty() {
            return Ok(());
        }
        let (n, names) = (self.shape.keys.len(), self.shape.names(""));
        let at = |i: usize, kind: &str| format!("${}::{kind}[]", n + i);
        let unnest = self.shape.unnest(&[
            &at(1, "text"),
            &at(2, "bigint"),
            &at(3, "text"),
            &at(4, "text"),
        ]);
        // A new value starts a new count of attempts.
        let sql = format!(
            "INSERT INTO {} AS r ({names}, op, h, code, message, attempts, first_run, last_run, first_at) \
             SELECT {}, u.op::\"char\", u.h, u.code, u.message, 1, ${run}, ${run}, clock_timestamp() \
             FROM {unnest} AS u({names}, op, h, code, message) \
             ON CONFLICT ({names}) DO UPDATE SET op = EXCLUDED.op, code = EXCLUDED.code, \
             message = EXCLUDED.message, last_run = EXCLUDED.last_run, forced = false, \
             attempts = CASE WHEN r.h IS NOT DISTINCT FROM EXCLUDED.h \
             THEN r.attempts + (r.last_run <> EXCLUDED.last_run)::int ELSE 1 END, \
             first_run = CASE WHEN r.h IS NOT DISTINCT FROM EXCLUDED.h THEN r.first_run ELSE EXCLUDED.first_run END, \
             first_at = CASE WHEN r.h IS NOT DISTINCT FROM EXCLUDED.h THEN r.first_at ELSE EXCLUDED.first_at END, \
             h = EXCLUDED.h",
            self.shape.table("reject"),
            self.shape.names("u."),
            run = n + 5,
        );
        let mut params = set.keys.params();
        params.push((&set.operations, Type::TEXT_ARRAY));
        params.push((&set.checksums, Type::INT8_ARRAY));
        params.push((&set.codes, Type::TEXT_ARRAY));
        params.push((&set.messages, Type::TEXT_ARRAY));
        params.push((&run, Type::INT4));
        self.run(&sql, &params).await?;
        Ok(())
    }

    /// Doubts and rejects of keys that are settled for good.
    async fn forget(&self, keys: &KeyArrays) -> Result<(), Reason> {
        self.forget_in("doubt", keys).await?;
        self.forget_in("reject", keys).await
    }

    async fn forget_in(&self, table: &str, keys: &KeyArrays) -> Result<(), Reason> {
        if !keys.is_empty() {
            let sql = format!(
                "DELETE FROM {} AS s USING {} AS u({}) WHERE {}",
                self.shape.table(table),
                self.shape.unnest(&[]),
                self.shape.names(""),
                self.shape.equal("s", "u"),
            );
            self.run(&sql, &keys.params()).await?;
        }
        Ok(())
    }

    async fn keep(&self, put: &PutSet, drop: &KeyArrays) -> Result<(), Reason> {
        let (n, names) = (self.shape.keys.len(), self.shape.names(""));
        if !put.keys.is_empty() {
            let sql = format!(
                "INSERT INTO {} ({names}, sent) SELECT {}, u.sent FROM {} AS u({names}, sent) \
                 WHERE u.sent IS NOT NULL ON CONFLICT ({names}) DO UPDATE SET sent = EXCLUDED.sent",
                self.shape.table("sent"),
                self.shape.names("u."),
                self.shape.unnest(&[&format!("${}::text[]", n + 1)]),
            );
            let mut params = put.keys.params();
            params.push((&put.sent, Type::TEXT_ARRAY));
            self.run(&sql, &params).await?;
            // Delivered, but nobody remembers with which values: the old ones would be a lie.
            let sql = format!(
                "DELETE FROM {} AS s USING {} AS u({names}, sent, mark) \
                 WHERE u.sent IS NULL AND u.mark = 'd' AND {}",
                self.shape.table("sent"),
                self.shape.unnest(&[
                    &format!("${}::text[]", n + 1),
                    &format!("${}::text[]", n + 2)
                ]),
                self.shape.equal("s", "u"),
            );
            params.push((&put.marks, Type::TEXT_ARRAY));
            self.run(&sql, &params).await?;
        }
        if !drop.is_empty() {
            let sql = format!(
                "DELETE FROM {} AS s USING {} AS u({names}) WHERE {}",
                self.shape.table("sent"),
                self.shape.unnest(&[]),
                self.shape.equal("s", "u"),
            );
            self.run(&sql, &drop.params()).await?;
        }
        Ok(())
    }

    async fn announce(&self, run: i32, intent: &Intent) -> Result<(), Reason> {
        let keys = KeyArrays::of(self.shape, intent.items.iter().map(|item| &item.key));
        let ops: String = intent
            .items
            .iter()
            .map(|item| item.operation.letter())
            .collect();
        let checksums: Vec<Option<i64>> = intent.items.iter().map(|item| item.checksum).collect();
        let matches: Vec<Option<String>> = intent
            .items
            .iter()
            .map(|item| item.match_values.as_deref().map(super::matching::canonical))
            .collect();
        let n = self.shape.keys.len();
        let places: Vec<String> = (1..=n + 6).map(|i| format!("${i}")).collect();
        let sql = format!(
            "INSERT INTO {} ({}, epoch, intent, run, ops, hs, ms) VALUES ({}) ON CONFLICT DO NOTHING",
            self.shape.table("intent"),
            self.shape.names(""),
            places.join(", "),
        );
        let mut params = keys.params();
        params.push((&intent.epoch, Type::INT8));
        params.push((&intent.id, Type::INT8));
        params.push((&run, Type::INT4));
        params.push((&ops, Type::TEXT));
        params.push((&checksums, Type::INT8_ARRAY));
        params.push((&matches, Type::TEXT_ARRAY));
        self.run(&sql, &params).await?;
        Ok(())
    }
}
