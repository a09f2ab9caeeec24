//! Acknowledgement: one fenced transaction moves state, rejects, doubts, intents and the row log.
//!
//! State must never say more than the destination acknowledged. Every write first takes the sync's
//! row FOR SHARE in its own transaction (semantics 13): a takeover waits for it, and in a run that
//! was taken over the taking fails, and with it everything behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join;
use rowcast_core::ledger::Step;
use rowcast_core::{Code, Lease, Mode, Reason, Settled, killpoint};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::effects::Effects;
use super::flight::Flight;
use super::row_log::{LogRows, Logged};
use super::shape::{KeyArrays, Shape};
use super::writes::Announced;
use crate::connect::db_error;

/// What the writer of one run needs.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub client: &'a Client,
    pub shape: &'a Shape,
    pub mode: Mode,
    pub keep_rows: bool,
    pub logged: Logged,
    /// Whether updates and removals go to `recent`.
    pub recent: bool,
}

/// A transaction waits at least so long for a lock, and for its worker, whatever is left of the
/// lease: its end is judged by epoch.
const LIMIT_MIN: Duration = Duration::from_secs(1);

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
        self.begin_with(durable, &Flight::default()).await
    }

    /// Begins a transaction, proves that the lease still holds, and executes the statements in it:
    /// one round trip for all. Gives the transaction's id.
    ///
    /// # Errors
    /// `LeaseLost` when the epoch or the generation moved; a statement fails. The transaction is
    /// rolled back.
    pub(super) async fn begin_with(
        &self,
        durable: bool,
        flight: &Flight<'_>,
    ) -> Result<String, Reason> {
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
        let relaxed = if durable {
            ""
        } else {
            "SET LOCAL synchronous_commit = off; "
        };
        // It must be an error when the row is not there: the statements behind it are on their way
        // already, and only an error keeps the server from executing them.
        let sql = format!(
            "BEGIN; SET LOCAL lock_timeout = {limit}; \
             SET LOCAL idle_in_transaction_session_timeout = {limit}; \
             {relaxed}SELECT pg_current_xact_id()::text, 1 / count(*) FROM \
             (SELECT 1 FROM {} WHERE id = {} AND epoch = {} AND generation = {} FOR SHARE) AS held",
            self.shape.shared("sync"),
            self.shape.sync,
            self.lease.epoch,
            self.lease.generation,
        );
        let (begun, written) = join(self.client.simple_query(&sql), flight.send(self.client)).await;
        let begun = begun.map_err(|error| self.not_begun(&error));
        let done = begun.and_then(|messages| {
            written.map_err(failed)?;
            transaction_id(&messages).ok_or_else(|| Reason::defect("a transaction has no number"))
        });
        if done.is_err() {
            self.roll_back().await;
        }
        done
    }

    fn not_begun(&self, error: &Error) -> Reason {
        if error.code() == Some(&SqlState::DIVISION_BY_ZERO) {
            self.lease.lose();
            return lease_lost();
        }
        db_error(error, "acknowledging")
    }

    /// Commits.
    ///
    /// # Errors
    /// The database fails; whether the transaction took effect is then not known.
    pub(super) async fn commit(&self) -> Result<(), Reason> {
        self.client.batch_execute("COMMIT").await.map_err(failed)?;
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

#[expect(clippy::needless_pass_by_value, reason = "passed to `map_err`")]
fn failed(error: Error) -> Reason {
    db_error(&error, "acknowledging")
}

fn transaction_id(messages: &[SimpleQueryMessage]) -> Option<String> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
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
        let run = lease.run as i32;
        let effects = self.effects(&step.settled);
        let mut log = LogRows::new(&step.settled, self.logged);
        for whole in &step.whole {
            log.extend(&whole.settled, self.logged);
        }
        let whole: Vec<i64> = step.whole.iter().map(|whole| whole.intent).collect();
        let records: usize = step.whole.iter().map(|whole| whole.settled.len()).sum();
        let opened: Vec<Announced> = step
            .open
            .iter()
            .map(|intent| Announced::new(self.shape, intent))
            .collect();
        let mut flight = Flight::default();
        self.apply(&mut flight, run, &effects);
        self.log(&mut flight, lease.run, &log);
        if !step.close.is_empty() {
            let sql = format!(
                "DELETE FROM {} WHERE epoch = {} AND intent = ANY($1)",
                self.shape.table("intent"),
                lease.epoch
            );
            flight.push(sql, vec![(&step.close, Type::INT8_ARRAY)]);
        }
        for intent in &opened {
            self.announce(&mut flight, run, intent);
        }
        self.mark(&mut flight, lease.epoch, &whole, records);
        let transaction = fence.begin_with(!step.open.is_empty(), &flight).await?;
        killpoint::reach("ledger-step-written");
        if !whole.is_empty() {
            killpoint::reach("ledger-mark-written");
        }
        *unsure = Some(transaction);
        fence.commit().await?;
        *unsure = None;
        killpoint::reach("ledger-step-committed");
        if !whole.is_empty() {
            killpoint::reach("ledger-mark-committed");
        }
        Ok(())
    }

    fn effects(&self, settled: &[Settled]) -> Effects {
        let mut effects = Effects::new(self.shape);
        for change in settled {
            effects.add(change, change.effect(self.mode));
        }
        effects
    }

    /// Applies changes of an earlier run and logs them, in the current transaction.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn settle(&self, run: i32, settled: &[Settled]) -> Result<(), Reason> {
        let effects = self.effects(settled);
        let log = LogRows::new(settled, self.logged);
        let mut flight = Flight::default();
        self.apply(&mut flight, run, &effects);
        self.log(&mut flight, run.into(), &log);
        flight.send(self.client).await.map_err(failed)
    }

    /// Forgets rejects that no longer apply.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn forget_rejects(&self, keys: &KeyArrays) -> Result<(), Reason> {
        let mut flight = Flight::default();
        self.forget_in(&mut flight, "reject", keys);
        flight.send(self.client).await.map_err(failed)
    }
}
