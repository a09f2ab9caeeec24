//! State in PostgreSQL: what was acknowledged, never what was attempted.
//!
//! `PgLedger` keeps the law of `rowcast_core::ledger::Ledger`: one lease, one snapshot, intents
//! before requests, fenced acknowledgement after them. All writes go to the state schema and to
//! nothing else; the model is read in a read-only transaction.

mod admin;
mod adopt;
mod baseline;
mod budget;
mod builtin;
mod carried;
mod change_set;
mod commit;
mod config;
pub(crate) mod copy;
mod cost;
mod cursor;
pub(crate) mod decode;
mod diff;
mod effects;
mod extract;
mod finish;
mod first;
mod flight;
mod fold;
mod fold_ahead;
mod form;
pub(crate) mod forms;
#[doc(hidden)]
pub mod fuzzed;
mod halves;
mod hash;
mod history;
mod layout;
pub(crate) mod lease;
mod matching;
mod merge;
mod migration;
mod model;
mod named_policy;
mod old_state;
mod open;
mod pages;
mod plan;
mod recent;
mod recovery;
mod registry;
mod rehash;
mod rendered;
mod replan;
mod row_log;
mod runs;
mod shape;
mod sink;
mod sorted;
mod spool;
mod status;
mod step;
mod transpose;
mod tuple;
pub mod views;
mod writes;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rowcast_core::destination::Committed;
use rowcast_core::guard::Held;
use rowcast_core::ledger::{ChangeSet, DiffRequest, Lease, Ledger, OpenRequest, Opened, Step};
use rowcast_core::quota::{Quota, Reserved, Spent};
use rowcast_core::report::Cost;
use rowcast_core::{BoxFuture, Reason, RunReport};
use tokio::sync::Mutex;

pub use admin::{Biography, LogEntry, RejectRow, RunRow, StateAdmin, StepRow};
pub use adopt::{AdoptRequest, Adopted, Belief, OldTool};
pub use config::{CursorSpec, LedgerConfig, LogLevel, ModelBody, ModelSpec, SyncSpec};
pub use fold_ahead::FoldAhead;
pub use pages::{ErrorGroup, LogFilter, LogLine};
pub use recent::RecentPolicy;
pub use runs::RunFilter;
pub use spool::SpoolConfig;

use commit::Fence;
use finish::AfterDiff;
use fold_ahead::Ahead;
use model::Model;
use open::SourceIdentity;
use registry::Registered;
use row_log::Logged;
use shape::Shape;

use crate::connect::{Connection, Connector};

/// The memory of one sync, in PostgreSQL.
pub struct PgLedger {
    config: LedgerConfig,
    join_memory: u64,
    two_from: Option<u64>,
    /// Only keys and checksums are read: nothing will be sent.
    bare: bool,
    first_seed: Option<i64>,
    retention: Option<Retention>,
    recent: RecentPolicy,
    /// `None`: rows are folded at the end of a run only.
    ahead: Option<FoldAhead>,
    /// What the end of the last run had to say.
    remarks: std::sync::Mutex<Vec<String>>,
    session: Mutex<Option<Session>>,
    meter: cost::Meter,
}

impl std::fmt::Debug for PgLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgLedger")
            .field("sync", &self.config.sync.name)
            .finish_non_exhaustive()
    }
}

/// How long histories are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub runs: Duration,
    pub row_log: Duration,
}

/// What a run holds between `open` and `finish`.
struct Session {
    connection: Connection,
    shape: Shape,
    /// The model as it was when the run began.
    model: Model,
    registered: Registered,
    term: Duration,
    source: SourceIdentity,
    began: cost::Began,
    moved_back: Option<Held>,
    logged: Logged,
    after: AfterDiff,
    /// Whether this run acknowledged whole intents, which are to be folded.
    marked: bool,
    /// Whether this run writes its updates and removals to `recent`.
    recent: bool,
    /// What is folded before this run ends.
    ahead: Ahead,
    /// Whether a transaction is open on the connection.
    open: AtomicBool,
}

impl Session {
    fn fence<'a>(&'a self, lease: &'a Lease) -> Fence<'a> {
        Fence {
            client: &self.connection.client,
            shape: &self.shape,
            lease,
            open: &self.open,
        }
    }

    /// Connects again when the connection was lost since it was last used. Between transactions only.
    async fn ensure_connected(&mut self, connector: &Connector) -> Result<(), Reason> {
        if self.connection.client.is_closed() {
            self.connection = connector.connect().await?;
            self.open = AtomicBool::new(false);
        }
        let patience = lease::patience(self.term);
        self.connection.wait_at_most(Some(patience));
        // Of work that was abandoned half-way, when its run was cancelled.
        if *self.open.get_mut()
            && self
                .connection
                .client
                .batch_execute("ROLLBACK")
                .await
                .is_ok()
        {
            self.open = AtomicBool::new(false);
        }
        Ok(())
    }
}

impl PgLedger {
    /// A ledger for one sync.
    pub fn new(config: LedgerConfig) -> Self {
        Self {
            config,
            join_memory: form::JOIN_MEMORY_MAX,
            two_from: Some(halves::TWO_FROM),
            bare: false,
            first_seed: None,
            retention: None,
            recent: RecentPolicy::in_force(),
            ahead: Some(FoldAhead::in_force()),
            remarks: std::sync::Mutex::default(),
            session: Mutex::new(None),
            meter: cost::Meter::default(),
        }
    }

    /// The most memory, in bytes, that one comparison may take on the server: 512 MB unless this
    /// says otherwise. A table whose state needs more is compared by keys and checksums first.
    #[must_use]
    pub fn with_join_memory(mut self, bytes: u64) -> Self {
        self.join_memory = bytes;
        self
    }

    /// From how many rows on a table is read in two parts over two connections: 200,000 unless this
    /// says otherwise, `None` for never.
    #[must_use]
    pub fn with_two_connections_from(mut self, rows: Option<u64>) -> Self {
        self.two_from = rows;
        self
    }

    /// How many connections this ledger may have open together. With fewer than three (one keeps
    /// the lease) a table is read over one, and with one all rows are folded at the end of a run.
    #[must_use]
    pub fn with_connections(mut self, connections: u32) -> Self {
        if connections < 2 {
            self.ahead = None;
        }
        if connections < 3 {
            self.two_from = None;
        }
        self
    }

    /// The random part of the checksums of a sync that has never run: a sealed plan of a first run
    /// is made with one, and its run must use the same (semantics 28). Without effect afterwards.
    #[must_use]
    pub fn with_first_seed(mut self, seed: i64) -> Self {
        self.first_seed = Some(seed);
        self
    }

    /// When changes are written beside state and moved into it later.
    #[must_use]
    pub fn with_recent(mut self, policy: RecentPolicy) -> Self {
        self.recent = policy;
        self
    }

    /// When acknowledged rows are folded into state while the run goes on; `None` for at its end only.
    #[must_use]
    pub fn with_fold_ahead(mut self, policy: Option<FoldAhead>) -> Self {
        self.ahead = policy;
        self
    }

    /// How long the histories of runs and rows are kept; without it, for ever.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    fn state_connector(&self) -> &Connector {
        self.config.state.as_ref().unwrap_or(&self.config.source)
    }
}

impl Ledger for PgLedger {
    fn open<'a>(&'a self, request: &'a OpenRequest) -> BoxFuture<'a, Result<Opened, Reason>> {
        self.meter.restart();
        Box::pin(self.meter.timed(self.open_session(request)))
    }

    fn recover<'a>(
        &'a self,
        lease: &'a Lease,
        committed: &'a [Committed],
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.meter.timed(async move {
            let recovered = self.recover_intents(lease, committed).await;
            recovered.map_err(layout::not_writable)
        }))
    }

    fn changes<'a>(
        &'a self,
        lease: Option<&'a Lease>,
        request: &'a DiffRequest,
    ) -> BoxFuture<'a, Result<ChangeSet, Reason>> {
        Box::pin(self.meter.timed(self.extract(lease, request)))
    }

    fn commit<'a>(&'a self, lease: &'a Lease, step: Step) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.meter.timed(self.commit_step(lease, step)))
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.meter.timed(self.renew_lease(lease)))
    }

    fn finish<'a>(
        &'a self,
        lease: &'a Lease,
        report: &'a RunReport,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.meter.timed(self.finish_run(lease, report)))
    }

    fn reserve<'a>(
        &'a self,
        lease: &'a Lease,
        quota: &'a Quota,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Reserved, Reason>> {
        let reserved = self.reserve_requests(lease, quota, wanted);
        Box::pin(self.meter.timed(reserved))
    }

    fn give_back<'a>(
        &'a self,
        quota: &'a Quota,
        began: i64,
        unused: u32,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        let given = self.give_requests_back(quota, began, unused);
        Box::pin(self.meter.timed(given))
    }

    fn spent<'a>(&'a self, quota: &'a Quota) -> BoxFuture<'a, Result<Spent, Reason>> {
        Box::pin(self.meter.timed(self.requests_spent(quota)))
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks
            .lock()
            .map(|remarks| remarks.clone())
            .unwrap_or_default()
    }

    fn cost(&self) -> Option<Cost> {
        self.meter.cost()
    }
}
