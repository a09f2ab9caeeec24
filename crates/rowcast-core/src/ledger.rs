//! The side of a run that remembers: lease, change set, intents, acknowledgement.
//!
//! The engine knows state only through this trait; PostgreSQL is one implementation, memory (in
//! the test kit) another. Both keep the same law.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking::Mutex;

use crate::BoxFuture;
use crate::change::Change;
use crate::destination::Committed;
use crate::fault::Reason;
use crate::guard::Held;
use crate::key::Key;
use crate::mapping::Plain;
use crate::quota::{Quota, Reserved, Spent};
use crate::record::Operation;
use crate::report::{Cost, RunReport};
use crate::row::Schema;
use crate::settle::Settled;
use crate::value::Value;

mod parking {
    //! A mutex that does not poison: the lease's deadline is a plain number.
    #[derive(Debug)]
    pub(super) struct Mutex<T>(std::sync::Mutex<T>);
    impl<T: Copy> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }
        pub(super) fn get(&self) -> T {
            *self
                .0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }
        pub(super) fn set(&self, value: T) {
            *self
                .0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = value;
        }
    }
}

/// The right to run one sync, until its deadline on the monotonic clock.
#[derive(Debug)]
pub struct Lease {
    /// The sync's own identity, kept over renames.
    pub sync_id: String,
    pub run: i64,
    pub epoch: i64,
    pub generation: i64,
    deadline: Mutex<Instant>,
    lost: AtomicBool,
}

impl Lease {
    /// A lease that holds until `deadline`, taken on this machine's monotonic clock *before* the
    /// server was asked.
    pub fn new(sync_id: String, run: i64, epoch: i64, generation: i64, deadline: Instant) -> Self {
        Self {
            sync_id,
            run,
            epoch,
            generation,
            deadline: Mutex::new(deadline),
            lost: AtomicBool::new(false),
        }
    }

    /// Whether a request that may take `timeout` can start now (semantics 13).
    pub fn outlives(&self, now: Instant, timeout: Duration) -> bool {
        !self.lost.load(Ordering::Acquire) && now + timeout < self.deadline.get()
    }

    /// Until when the lease holds, on this machine's monotonic clock.
    pub fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    /// Moves the deadline after a renewal.
    pub fn extend(&self, deadline: Instant) {
        self.deadline.set(deadline);
    }

    /// Marks the lease as taken over: no request starts any more.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether another run took over.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// How to start a run.
#[derive(Debug, Clone, Default)]
pub struct OpenRequest {
    /// Send every row again (`run --full`, `refresh: full`).
    pub full: bool,
    /// Wait for another run of the sync to end, instead of failing.
    pub wait: bool,
    /// Who asks: `cli`, `schedule`, `api`.
    pub trigger: String,
    /// How long one request to the destination may take: the lease must outlive it.
    pub request_timeout: Duration,
}

/// A lease, and what an earlier run left behind.
#[derive(Debug)]
pub struct Opened {
    pub lease: Arc<Lease>,
    /// Intents of earlier epochs: announced, never acknowledged.
    pub open_intents: Vec<Intent>,
}

/// What is committed before requests may start: these keys are about to be sent (semantics 8).
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Unique within the epoch.
    pub id: i64,
    pub epoch: i64,
    pub items: Vec<IntentItem>,
}

/// One announced record.
#[derive(Debug, Clone, PartialEq)]
pub struct IntentItem {
    pub key: Key,
    pub operation: Operation,
    pub checksum: Option<i64>,
    /// The identity that the request names, for syncs whose state keeps it (semantics 12): a doubt
    /// without it could not say which record may exist at the destination.
    pub match_values: Option<Vec<Value>>,
}

/// Which changes to find.
#[derive(Debug, Clone, Default)]
pub struct DiffRequest {
    /// At most so many changes are spooled, in the order removed, known, new; the rest is counted
    /// as pending.
    pub spool_records_max: Option<u64>,
    /// `run --limit`: as above, and removals are ignored altogether.
    pub limit: Option<u64>,
    /// `run --keys`: both sides of the comparison are narrowed to these.
    pub keys: Vec<Key>,
    /// Nothing may be written, not even by the end of the run (`plan`, `--dry-run`).
    pub dry_run: bool,
}

/// The counts of a change set, known before the first request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffCounts {
    /// Rows of the model in the run's snapshot, invalid keys included.
    pub read: u64,
    pub unchanged: u64,
    pub added: u64,
    pub updated: u64,
    pub removed: u64,
    /// Doubts and rejects, present or gone.
    pub retried: u64,
    /// Those of `retried` whose row is present.
    pub retried_present: u64,
    /// Rows with a null key, and rows of frozen duplicate keys.
    pub invalid_keys: u64,
    /// Changes counted above that are not in the spool.
    pub beyond_limit: u64,
    /// Rows in state before the run.
    pub state_rows: u64,
    /// Rows removed by this sync's runs in the last 24 hours, this run not included.
    pub removed_24h: u64,
    /// Order-independent digest over (operation kind, key, checksum) of the whole change set.
    pub digest: u128,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
}

/// The changes of one run: an atomic difference between one snapshot of the model and the state.
pub struct ChangeSet {
    pub counts: DiffCounts,
    pub schema: Arc<Schema>,
    /// Guards that only the ledger can judge: dropped columns, a source that moved back.
    pub held: Vec<Held>,
    /// Things worth saying: duplicate keys frozen, a full diff instead of a cursor run.
    pub notes: Vec<String>,
    /// Some duplicate keys, for the report.
    pub duplicates: Vec<Key>,
    pub changes: Box<dyn ChangeReader>,
}

/// Reads a change set in the order: removed, known to state (doubts and rejects first), new.
pub trait ChangeReader: Send {
    /// At most `max` more changes; empty at the end.
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Change>, Reason>>;

    /// Asks for the records of a mapping as text, in place of the rows of added and updated changes.
    /// `false`: there will be rows. A change may come with its row all the same.
    fn write_json(&mut self, plain: &Plain) -> bool {
        let _ = plain;
        false
    }

    /// Asks for the undecoded columns of a mapping, in place of the rows of added and updated
    /// changes. `false`: there will be rows. A change may come with its row all the same.
    fn give_raw(&mut self, plain: &Plain) -> bool {
        let _ = plain;
        false
    }

    /// Starts again at the first change; also asked before the first read, to learn whether it can.
    /// Only for syncs whose state keeps match values: all their deletes, those of changed identities included, come before the
    /// first upsert (semantics 12), and two passes over the spool keep memory bounded. `false`
    /// when it can't: then a changed identity is deleted in this run and sent by the next.
    fn rewind(&mut self) -> BoxFuture<'_, Result<bool, Reason>> {
        Box::pin(async { Ok(false) })
    }
}

/// One transaction of the ledger: acknowledgements, intents that are done, intents to announce.
#[derive(Debug, Default)]
pub struct Step {
    pub settled: Vec<Settled>,
    /// Intents that are acknowledged as a whole. They are closed with it; what state takes over is
    /// what they announced.
    pub whole: Vec<Whole>,
    /// Intents all of whose records are settled, by this step or an earlier one.
    pub close: Vec<i64>,
    /// Intents to commit durably before their requests start.
    pub open: Vec<Intent>,
}

/// An intent every record of which was delivered as announced, for a row that was new, and had no
/// doubt and no reject.
#[derive(Debug)]
pub struct Whole {
    pub intent: i64,
    /// All its records, each `Settled::is_plain`.
    pub settled: Vec<Settled>,
}

/// The memory of one sync. Every write is fenced by the lease's epoch and generation.
pub trait Ledger: Send + Sync {
    /// Takes the lease.
    ///
    /// # Errors
    /// The sync is running elsewhere; its identity changed; the state can't be reached.
    fn open<'a>(&'a self, request: &'a OpenRequest) -> BoxFuture<'a, Result<Opened, Reason>>;

    /// Settles the intents of earlier epochs: those that an exactly-once destination holds are
    /// acknowledged, the rest become doubts.
    fn recover<'a>(
        &'a self,
        lease: &'a Lease,
        committed: &'a [Committed],
    ) -> BoxFuture<'a, Result<(), Reason>>;

    /// Extracts and compares in one snapshot, into a spool. The source's transaction has ended
    /// when this returns (semantics 10). Without a lease it only looks.
    fn changes<'a>(
        &'a self,
        lease: Option<&'a Lease>,
        request: &'a DiffRequest,
    ) -> BoxFuture<'a, Result<ChangeSet, Reason>>;

    /// Commits one step. Durable before it returns when the step opens intents.
    ///
    /// # Errors
    /// `LeaseLost` when another run took over: nothing was written.
    fn commit<'a>(&'a self, lease: &'a Lease, step: Step) -> BoxFuture<'a, Result<(), Reason>>;

    /// Extends the lease by its term.
    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Reason>>;

    /// Writes the report, moves watermarks, forgets rejects that no longer apply, gives the lease
    /// back.
    fn finish<'a>(
        &'a self,
        lease: &'a Lease,
        report: &'a RunReport,
    ) -> BoxFuture<'a, Result<(), Reason>>;

    /// Sets part of a quota aside for this run: at most `wanted` requests of what is left in the
    /// present window.
    ///
    /// # Errors
    /// State can't be written: nothing may be sent.
    fn reserve<'a>(
        &'a self,
        lease: &'a Lease,
        quota: &'a Quota,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Reserved, Reason>>;

    /// Gives back what was set aside in the window that began then, and not used.
    fn give_back<'a>(
        &'a self,
        quota: &'a Quota,
        began: i64,
        unused: u32,
    ) -> BoxFuture<'a, Result<(), Reason>>;

    /// How much of a quota is used in the present window. Changes nothing, and needs no run.
    fn spent<'a>(&'a self, quota: &'a Quota) -> BoxFuture<'a, Result<Spent, Reason>>;

    /// What the end of the run has to add to its report, once it is finished: work that was put off.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the run cost the database, once it is finished; `None` where nobody measures it.
    fn cost(&self) -> Option<Cost> {
        None
    }
}
