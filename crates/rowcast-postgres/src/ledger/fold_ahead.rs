//! Folding while sending: most new rows of a large run are in state before the run ends.
//!
//! Whenever enough records were acknowledged as whole intents, one chunk of them moves into state, on
//! a connection of its own, while the run goes on. It is an offer: without a connection, after a
//! failure of any kind, or for keys in no order (a primary key is cheaper to make at the end than to
//! fill all over), the end of the run folds what is left (`fold`). A chunk must never fail a run, nor
//! make a step or a renewal of the lease wait.
//!
//! A chunk is one transaction that deletes the intents whose rows it writes, so it may be repeated,
//! cut or late: whatever state and intents say together stays the same. Who reads both does so in one
//! snapshot. It needs no hold on the sync's row that would keep renewals out, because whoever takes
//! the lease folds first, and a fold locks the intents: it waits for a chunk that is going on, and a
//! later one finds nothing. The weakest lock of the sync's row is enough to keep a reset away, which
//! drops both tables.
//!
//! There is no deadlock. A chunk locks the sync's row, then the intents, then state, as a fold does; a
//! reset begins with the sync's row for itself. It waits for no row: steps touch other intents, and
//! other keys of state, because a run that folds ahead has seen in its snapshot that no key comes
//! twice. Should it wait all the same, it gives up long before the server looks for deadlocks.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt as _;
use rowcast_core::ledger::{Intent, Lease};
use rowcast_core::{Key, Reason, killpoint};
use tokio::task::{JoinError, JoinSet};
use tokio_postgres::SimpleQueryMessage;

use super::extract::Extracted;
use super::forms::KeyForm;
use super::named_policy::named;
use super::shape::Shape;
use super::transpose::{Array, Ordered, Rows};
use super::{Session, cost, lease as leases};
use crate::connect::{Connection, Connector, db_error};

/// When acknowledged rows are folded while the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldAhead {
    /// In runs that add so many rows.
    pub from: u64,
    /// So many at a time, at least.
    pub chunk: u64,
    /// When the keys of at most so many thousandths of the intents are less than those of the one
    /// before: in no order, a quarter are.
    pub unordered: u64,
}

impl FoldAhead {
    /// A chunk takes a fortieth of a second, which the end of a run may have to wait for. With fewer
    /// rows there would be no more than a few chunks, for the price of a login.
    pub(super) const DEFAULT: Self = Self {
        from: 200_000,
        chunk: 20_000,
        unordered: 100,
    };

    /// The policy of this process: outside of release builds a test may name another.
    pub(super) fn in_force() -> Self {
        named("ROWCAST_FOLD_AHEAD").map_or(Self::DEFAULT, |[from, chunk, unordered]| Self {
            from,
            chunk,
            unordered,
        })
    }
}

const WHAT: &str = "folding acknowledged intents while sending";

/// A chunk waits so long for a lock: less than the second after which a server looks for deadlocks.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// What the planner asks of state is how many rows it has, and how many of them are marked: a tenth of
/// the usual sample tells, at a third of the time.
const STATISTICS: u32 = 10;

/// A transaction whose worker the network took away ends by itself.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// What one run folds ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// `None`: nothing is folded ahead, or not any more.
    policy: Option<FoldAhead>,
    /// Whether the run that rows without one belong to may be settled: state is smaller than what is added.
    settles: bool,
    /// Records that were acknowledged since the last chunk began.
    waiting: u64,
    folded: Folded,
    /// How many rows the run adds.
    added: u64,
    order: Order,
    hand: Option<Hand>,
    going: JoinSet<Result<(Hand, Folded), Reason>>,
    /// Whether a connection was lost, and with it the account of what it wrote.
    lost: bool,
}

/// What is in state before the end of a run.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Folded {
    pub(super) rows: u64,
    /// Whether the planner knows of most rows that the run adds.
    pub(super) analyzed: bool,
}

/// In which order keys are announced.
#[derive(Debug, Default)]
struct Order {
    /// First and last key of the last intent.
    ends: Option<(Key, Key)>,
    intents: u64,
    /// Intents of which both were less than those of the one before.
    fallen: u64,
}

/// A connection, and what was settled over it.
#[derive(Debug)]
struct Hand {
    connection: Connection,
    /// Rows of this run are the ones that carry no run.
    is_base: bool,
}

/// Everything a chunk needs to know of its run.
#[derive(Debug)]
struct Task {
    connector: Connector,
    shape: Shape,
    epoch: i64,
    generation: i64,
    run: i64,
    settles: bool,
    /// Whether the planner is to hear of the rows after this chunk.
    analyzes: bool,
    patience: Duration,
}

impl Ahead {
    /// What a run that found these changes does.
    pub(super) fn of(policy: Option<FoldAhead>, found: &Extracted, shape: &Shape) -> Self {
        let counts = &found.counts;
        let unique = found.unique || found.checked;
        let pays = |policy: &FoldAhead| counts.added >= policy.from.max(1);
        Self {
            // What is recent would have to be absorbed first.
            policy: policy.filter(|policy| pays(policy) && unique && !shape.has_recent()),
            settles: counts.state_rows <= counts.added,
            added: counts.added,
            ..Self::default()
        }
    }

    /// Notes what was announced.
    fn announced(&mut self, intents: &[Intent]) {
        if self.policy.is_none() {
            return;
        }
        for intent in intents {
            let (Some(first), Some(last)) = (intent.items.first(), intent.items.last()) else {
                continue;
            };
            self.order.intents += 1;
            let ends = (first.key.clone(), last.key.clone());
            // A single row out of its place is no other order.
            let falls = |before: &(Key, Key)| ends.0 < before.0 && ends.1 < before.1;
            self.order.fallen += u64::from(self.order.ends.as_ref().is_some_and(falls));
            self.order.ends = Some(ends);
        }
    }

    /// Notes what was acknowledged, and begins a chunk when it is time.
    fn acknowledged(&mut self, records: usize, task: impl FnOnce(&Self) -> Task) {
        self.waiting += records as u64;
        while let Some(ended) = self.going.try_join_next() {
            self.took(ended);
        }
        let Some(policy) = self.policy else { return };
        if self.waiting < policy.chunk || !self.going.is_empty() {
            return;
        }
        if self.order.fallen * 1_000 > self.order.intents * policy.unordered {
            tracing::debug!("new keys come in no order, so the end of the run folds them");
            self.policy = None;
            return;
        }
        let task = task(self);
        self.waiting = 0;
        let hand = self.hand.take();
        self.going.spawn(async move {
            let hand = match hand {
                Some(hand) => hand,
                None => task.open().await?,
            };
            let folded = task.fold(&hand).await?;
            Ok((hand, folded))
        });
    }

    /// Whether the chunk that begins now makes it most of the rows that the run adds: then it is time
    /// to tell the planner, which takes as long as several chunks and had better not wait for the end.
    fn is_most(&self) -> bool {
        !self.folded.analyzed && (self.folded.rows + self.waiting) * 4 >= self.added * 3
    }

    fn took(&mut self, ended: Result<Result<(Hand, Folded), Reason>, JoinError>) {
        match ended {
            Ok(Ok((hand, folded))) => {
                self.folded.rows += folded.rows;
                self.folded.analyzed |= folded.analyzed;
                self.hand = Some(hand);
            }
            Ok(Err(reason)) => {
                tracing::debug!(%reason, "the end of the run folds the rest");
                self.give_up();
            }
            Err(_) => self.give_up(),
        }
    }

    fn give_up(&mut self) {
        self.policy = None;
        self.lost = true;
    }

    /// Waits for the chunk that is going on, for as long as the lease allows, and begins no other.
    /// Says what is in state.
    pub(super) async fn end(&mut self, lease: &Lease) -> Folded {
        self.policy = None;
        let left = lease.deadline().saturating_duration_since(Instant::now());
        match tokio::time::timeout(left / 2, self.going.join_next()).await {
            Ok(Some(ended)) => self.took(ended),
            Ok(None) => {}
            // Its server may still be busy: a fold waits for it, or leaves everything to the next run.
            Err(_) => {
                self.going.abort_all();
                self.give_up();
            }
        }
        self.folded
    }

    /// Waits for nothing: the next run folds, and waits for a chunk that is going on.
    pub(super) fn leave(&mut self, began: &mut cost::Began) {
        self.policy = None;
        if self.lost || self.hand.is_some() || !self.going.is_empty() {
            began.add(None);
        }
        self.going.abort_all();
    }

    /// Adds what the other connection wrote to the run's account.
    pub(super) async fn account(&mut self, began: &mut cost::Began) {
        if let Some(hand) = self.hand.take() {
            let connection = &hand.connection;
            let wrote = cost::account(&connection.client, connection.server.version_num).await;
            began.add(wrote.map(|(bytes, _)| bytes));
        } else if self.lost {
            began.add(None);
        }
    }
}

impl Session {
    /// Notes what a step announced and acknowledged, and begins to fold when that is enough.
    pub(super) fn fold_ahead(
        &mut self,
        connector: &Connector,
        lease: &Lease,
        announced: &[Intent],
        acknowledged: usize,
    ) {
        self.ahead.announced(announced);
        let (shape, patience) = (&self.shape, leases::patience(self.term));
        self.ahead.acknowledged(acknowledged, |ahead| Task {
            connector: connector.clone(),
            shape: shape.clone(),
            epoch: lease.epoch,
            generation: lease.generation,
            run: lease.run,
            settles: ahead.settles,
            analyzes: ahead.is_most(),
            patience,
        });
    }
}

impl Task {
    /// Begins a transaction in which the sync's row is held as `lock` says, while the lease holds.
    fn begin(&self, lock: &str) -> String {
        format!(
            "BEGIN; SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}; \
             SET LOCAL synchronous_commit = off; SELECT 1 / count(*) FROM \
             (SELECT 1 FROM {} WHERE id = {} AND epoch = {} AND generation = {} {lock}) AS held",
            LOCK_TIMEOUT.as_millis(),
            IDLE_TIMEOUT.as_millis(),
            self.shape.shared("sync"),
            self.shape.sync,
            self.epoch,
            self.generation,
        )
    }

    async fn ask(
        &self,
        connection: &Connection,
        sql: &str,
    ) -> Result<Vec<SimpleQueryMessage>, Reason> {
        let asked = connection.client.simple_query(sql).await;
        asked.map_err(|error| db_error(&error, WHAT))
    }

    /// A connection, over which the run that rows without one belong to is settled. This needs the
    /// lease for a moment: a later run may settle it otherwise.
    async fn open(&self) -> Result<Hand, Reason> {
        let connection = self.connector.connect().await?;
        connection.wait_at_most(Some(self.patience));
        let (progress, sync, run) = (self.shape.shared("progress"), self.shape.sync, self.run);
        let mut sql = self.begin("FOR SHARE");
        if self.settles {
            sql.push_str(&format!(
                "; UPDATE {progress} SET base_run = {run} WHERE sync_id = {sync} \
                 AND NOT EXISTS (SELECT 1 FROM {} WHERE run IS NULL)",
                self.shape.own("state"),
            ));
        }
        sql.push_str(&format!(
            "; SELECT base_run IS NOT DISTINCT FROM {run} AS is_base FROM {progress} WHERE sync_id = {sync}; COMMIT"
        ));
        let messages = self.ask(&connection, &sql).await?;
        let is_base = messages.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.try_get("is_base").ok().flatten() == Some("t"),
            _ => false,
        });
        Ok(Hand {
            connection,
            is_base,
        })
    }

    /// Folds one chunk.
    async fn fold(&self, hand: &Hand) -> Result<Folded, Reason> {
        let connection = &hand.connection;
        killpoint::reach("ledger-ahead-before");
        self.ask(connection, &self.begin("FOR KEY SHARE")).await?;
        let rows = self.take(hand).await?;
        let count = rows.count();
        self.put(hand, rows).await?;
        killpoint::reach("ledger-ahead-written");
        self.ask(connection, "COMMIT").await?;
        killpoint::reach("ledger-ahead-folded");
        Ok(Folded {
            rows: count,
            analyzed: self.analyzes && self.analyze(connection).await,
        })
    }

    /// Tells the planner. Whether it was told: somebody else may be at it.
    async fn analyze(&self, connection: &Connection) -> bool {
        let sql = format!(
            "SET LOCAL lock_timeout = {}; SET LOCAL default_statistics_target = {STATISTICS}; ANALYZE {}",
            LOCK_TIMEOUT.as_millis(),
            self.shape.own("state")
        );
        self.ask(connection, &sql).await.is_ok()
    }

    /// Takes away everything of this run that is acknowledged. The intents of one epoch are those of
    /// one run.
    async fn take(&self, hand: &Hand) -> Result<Rows, Reason> {
        let shape = &self.shape;
        let sql = format!(
            "WITH taken AS (DELETE FROM {} WHERE epoch = {} AND acknowledged RETURNING *) \
             SELECT {}, hs FROM taken ORDER BY intent",
            shape.own("intent"),
            self.epoch,
            shape.arrays(""),
        );
        let taken = hand.connection.client.query_typed(&sql, &[]).await;
        let taken = taken.map_err(|error| db_error(&error, WHAT))?;
        let columns = shape.keys.len() + 1;
        let last = (!hand.is_base).then_some(self.run as i32);
        let mut rows = Rows::new(columns, last, self.order());
        for intent in &taken {
            let arrays = (0..columns).map(|column| intent.try_get(column));
            let mut arrays = arrays
                .collect::<Result<Vec<Array<'_>>, _>>()
                .map_err(|error| db_error(&error, WHAT))?;
            rows.push(&mut arrays)?;
        }
        Ok(rows)
    }

    /// How state's key orders rows, where the worker can tell.
    fn order(&self) -> Vec<Ordered> {
        let columns = self.shape.keys.iter().map(|key| match key.form {
            KeyForm::Int => Some(Ordered::Int),
            KeyForm::Text => Some(Ordered::Bytes),
            KeyForm::Numeric | KeyForm::Other(_) => None,
        });
        columns.map_while(|ordered| ordered).collect()
    }

    /// Writes rows into state. A COPY costs the server three quarters of what INSERT costs it for the
    /// same rows, which are written to its pages and its log many at a time.
    async fn put(&self, hand: &Hand, rows: Rows) -> Result<(), Reason> {
        let shape = &self.shape;
        let run = if hand.is_base { "" } else { ", run" };
        let sql = format!(
            "COPY {} ({}, h{run}) FROM STDIN (FORMAT binary)",
            shape.own("state"),
            shape.names(""),
        );
        let copied = async {
            let sink = hand.connection.client.copy_in::<_, Bytes>(&sql).await?;
            let mut sink = pin!(sink);
            for message in rows.end() {
                sink.feed(message).await?;
            }
            sink.finish().await
        };
        copied.await.map_err(|error| db_error(&error, WHAT))?;
        Ok(())
    }
}
