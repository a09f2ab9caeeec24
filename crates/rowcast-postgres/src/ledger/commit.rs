//! Acknowledgement: one fenced transaction moves state, rejects, doubts, intents and the row log.
//!
//! State must never say more than the destination acknowledged. Every write first takes the sync's
//! row FOR SHARE in its own transaction (semantics 13): a takeover waits for it, and a run that was
//! taken over finds no row and writes nothing.

use rowcast_core::ledger::{Intent, Step};
use rowcast_core::{
    Code, Effect, Kind, Lease, Mode, Operation, Reason, Settled, Verdict, json, killpoint,
};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::shape::{KeyArrays, Shape};
use crate::connect::db_error;

/// Which settled changes reach the row log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logged {
    Errors,
    All,
}

/// What the writer of one run needs.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub client: &'a Client,
    pub shape: &'a Shape,
    pub mode: Mode,
    pub keep_rows: bool,
    pub logged: Logged,
}

/// A statement with its parameters.
type Params<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

/// Begins a transaction and proves that the lease still holds.
///
/// # Errors
/// `LeaseLost` when the epoch or the generation moved; the transaction is rolled back.
pub(super) async fn begin_fenced(
    client: &Client,
    shape: &Shape,
    lease: &Lease,
    durable: bool,
) -> Result<(), Reason> {
    let what = "acknowledging";
    let begin = if durable {
        "BEGIN"
    } else {
        "BEGIN; SET LOCAL synchronous_commit = off"
    };
    client
        .batch_execute(begin)
        .await
        .map_err(|error| db_error(&error, what))?;
    let sql = format!(
        "SELECT 1 FROM {} WHERE id = $1 AND epoch = $2 AND generation = $3 FOR SHARE",
        shape.shared("sync")
    );
    let generation = lease.generation as i32;
    let rows = client
        .query_typed(
            &sql,
            &[
                (&shape.sync, Type::INT4),
                (&lease.epoch, Type::INT8),
                (&generation, Type::INT4),
            ],
        )
        .await
        .map_err(|error| db_error(&error, what))?;
    if rows.is_empty() {
        let _ = client.batch_execute("ROLLBACK").await;
        lease.lose();
        return Err(lease_lost());
    }
    Ok(())
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
    async fn run(&self, sql: &str, params: &Params<'_>) -> Result<Vec<Row>, Reason> {
        self.client
            .query_typed(sql, params)
            .await
            .map_err(|error| db_error(&error, "acknowledging"))
    }

    /// Commits one step.
    ///
    /// # Errors
    /// The lease is lost (nothing was written), or the database fails.
    pub(super) async fn commit(&self, lease: &Lease, step: &Step) -> Result<(), Reason> {
        begin_fenced(self.client, self.shape, lease, !step.open.is_empty()).await?;
        let written = self.write(lease, step).await;
        if let Err(reason) = written {
            let _ = self.client.batch_execute("ROLLBACK").await;
            return Err(reason);
        }
        killpoint::reach("ledger-step-written");
        self.client
            .batch_execute("COMMIT")
            .await
            .map_err(|error| db_error(&error, "acknowledging"))?;
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
            "WITH written AS (INSERT INTO {state} ({names}, h, mark, m, run) \
             SELECT {keys}, u.h, u.mark::\"char\", u.m, ${run} FROM {unnest} AS u({names}, h, mark, m) \
             ON CONFLICT ({names}) DO UPDATE SET h = EXCLUDED.h, mark = EXCLUDED.mark, \
             m = EXCLUDED.m, run = EXCLUDED.run RETURNING (xmax = 0) AS fresh) \
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
        // A doubtful delete keeps the identity that may still be there; anything else may have put
        // the record at the identity that was attempted.
        let state = format!(
            "WITH written AS (INSERT INTO {state} AS s ({names}, h, m, run) \
             SELECT {keys}, NULL, u.m, ${run} FROM {unnest} AS u({names}, op, m) \
             ON CONFLICT ({names}) DO UPDATE SET h = NULL, mark = 'd', run = EXCLUDED.run, \
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
             attempts = CASE WHEN r.h IS NOT DISTINCT FROM EXCLUDED.h THEN r.attempts + 1 ELSE 1 END, \
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
            "INSERT INTO {} ({}, epoch, intent, run, ops, hs, ms) VALUES ({})",
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

    async fn log(&self, run: i64, settled: &[Settled]) -> Result<(), Reason> {
        let mut columns: [Vec<Option<String>>; 7] = Default::default();
        for change in settled {
            let Some((outcome, operation, reason)) = logged(change, self.logged) else {
                continue;
            };
            let cells = [
                Some(change.key.canonical()),
                Some(word(change.kind).to_owned()),
                operation.map(|operation| operation.as_str().to_owned()),
                Some(outcome.to_owned()),
                reason.map(|reason| reason.code.to_string()),
                reason.map(|reason| reason.to_string().replace('\0', "")),
                change.idempotency_key.clone(),
            ];
            for (column, cell) in columns.iter_mut().zip(cells) {
                column.push(cell);
            }
        }
        if columns[0].is_empty() {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO {} (run, sync_id, key, change, operation, outcome, code, message, idempotency_key) \
             SELECT $1, $2, u.* FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
             $8::text[], $9::text[]) AS u",
            self.shape.shared("row_history")
        );
        let mut params: Params<'_> = vec![(&run, Type::INT8), (&self.shape.sync, Type::INT4)];
        for column in &columns {
            params.push((column, Type::TEXT_ARRAY));
        }
        self.run(&sql, &params).await?;
        Ok(())
    }
}

/// The word of a kind of change, as logs and tables show it.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "added",
        Kind::Updated => "updated",
        Kind::Removed => "removed",
    }
}

fn logged(
    change: &Settled,
    level: Logged,
) -> Option<(&'static str, Option<Operation>, Option<&Reason>)> {
    match (&change.verdict, level) {
        (
            Verdict::Rejected {
                operation, reason, ..
            },
            _,
        ) => Some(("rejected", Some(*operation), Some(reason))),
        (Verdict::Invalid(reason), _) => Some(("invalid", None, Some(reason))),
        (Verdict::Unknown { operation, reason }, _) => {
            Some(("unknown", Some(*operation), Some(reason)))
        }
        (Verdict::Delivered(operation), Logged::All) => Some(("delivered", Some(*operation), None)),
        (Verdict::Skipped, Logged::All) => Some(("skipped", None, None)),
        _ => None,
    }
}

#[derive(Debug)]
struct PutSet {
    keys: KeyArrays,
    checksums: Vec<i64>,
    marks: Vec<&'static str>,
    matches: Vec<Option<String>>,
    sent: Vec<Option<String>>,
}

#[derive(Debug)]
struct DoubtSet {
    keys: KeyArrays,
    operations: Vec<String>,
    matches: Vec<Option<String>>,
}

#[derive(Debug)]
struct RejectSet {
    keys: KeyArrays,
    operations: Vec<String>,
    checksums: Vec<Option<i64>>,
    codes: Vec<String>,
    messages: Vec<String>,
}

/// Settled changes sorted by what they do to state.
#[derive(Debug)]
struct Effects {
    put: PutSet,
    drop: KeyArrays,
    bury: KeyArrays,
    doubt: DoubtSet,
    reject: RejectSet,
    forget: KeyArrays,
    /// Rows that left the model, and not identities that moved.
    removed: i64,
}

impl Effects {
    fn new(shape: &Shape) -> Self {
        let keys = || KeyArrays::new(shape);
        Self {
            put: PutSet {
                keys: keys(),
                checksums: Vec::new(),
                marks: Vec::new(),
                matches: Vec::new(),
                sent: Vec::new(),
            },
            drop: keys(),
            bury: keys(),
            doubt: DoubtSet {
                keys: keys(),
                operations: Vec::new(),
                matches: Vec::new(),
            },
            reject: RejectSet {
                keys: keys(),
                operations: Vec::new(),
                checksums: Vec::new(),
                codes: Vec::new(),
                messages: Vec::new(),
            },
            forget: keys(),
            removed: 0,
        }
    }

    fn add(&mut self, change: &Settled, effect: Effect) {
        let matches = change
            .match_values
            .as_deref()
            .map(super::matching::canonical);
        match effect {
            Effect::Put { checksum, skipped } => {
                self.put.keys.push(&change.key);
                self.put.checksums.push(checksum);
                self.put.marks.push(if skipped { "s" } else { "d" });
                self.put.matches.push(matches);
                self.put.sent.push(change.sent.clone());
            }
            Effect::Drop => self.drop.push(&change.key),
            Effect::Bury => self.bury.push(&change.key),
            Effect::Doubt(operation) => self.doubt(change, operation, matches),
            Effect::Reject(operation) => self.reject(change, operation),
            Effect::DoubtAndReject(operation) => {
                self.doubt(change, operation, matches);
                self.reject(change, operation);
            }
            Effect::Nothing => {}
        }
        if change.kind == Kind::Removed && matches!(effect, Effect::Drop | Effect::Bury) {
            self.removed += 1;
        }
        let settled = matches!(effect, Effect::Put { .. } | Effect::Drop | Effect::Bury);
        if settled && change.retried {
            self.forget.push(&change.key);
        }
    }

    fn doubt(&mut self, change: &Settled, operation: Operation, matches: Option<String>) {
        self.doubt.keys.push(&change.key);
        self.doubt.operations.push(operation.letter().to_string());
        self.doubt.matches.push(if operation == Operation::Delete {
            None
        } else {
            matches
        });
    }

    fn reject(&mut self, change: &Settled, operation: Operation) {
        let (code, message) = match &change.verdict {
            Verdict::Rejected { reason, .. } => (reason.code.to_string(), reason.to_string()),
            _ => (Code::DestinationRejected.to_string(), String::new()),
        };
        self.reject.keys.push(&change.key);
        self.reject.operations.push(operation.letter().to_string());
        self.reject.checksums.push(change.checksum);
        self.reject.codes.push(code);
        // A text column can't hold a null byte, and a service's words may.
        self.reject.messages.push(message.replace('\0', ""));
    }
}

/// A JSON text of grouped reasons for the run's row.
pub(super) fn reasons_json(reasons: &std::collections::BTreeMap<(String, String), u64>) -> String {
    let mut out = String::from("[");
    for (i, ((code, message), count)) in reasons.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str("{\"code\":");
        json::push_string(&mut out, code);
        out.push_str(",\"message\":");
        json::push_string(&mut out, &message.replace('\0', ""));
        out.push_str(&format!(",\"count\":{count}}}"));
    }
    out.push(']');
    out
}
