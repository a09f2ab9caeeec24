//! How far the runs of this server are, for whoever watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rowcast_core::ledger::DiffCounts;
use rowcast_engine::{Observer, Phase, Progress, Retrying};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

/// A run that is going on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct LiveRun {
    pub job: i64,
    pub sync: String,
    /// `open`, `diff`, `guard`, `deliver`, `publish`, `finish`; `ended` at last.
    pub step: String,
    pub added: u64,
    pub updated: u64,
    pub removed: u64,
    /// Changes to decide about, and those decided.
    pub total: u64,
    pub done: u64,
    pub delivered: u64,
    pub rejected: u64,
    /// Records answered per second, lately.
    pub rate: f64,
    /// Why a batch waits for its next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrying: Option<String>,
}

/// The runs of this server.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<BTreeMap<i64, watch::Sender<LiveRun>>>>);

impl Live {
    /// The runs that are going on, in the order of their jobs.
    pub fn runs(&self) -> Vec<LiveRun> {
        self.with(|runs| runs.values().map(|run| run.borrow().clone()).collect())
    }

    /// Follows the run of a job; `None` when it is not going on here. The channel ends with the run.
    pub fn follow(&self, job: i64) -> Option<watch::Receiver<LiveRun>> {
        self.with(|runs| runs.get(&job).map(watch::Sender::subscribe))
    }

    pub(super) fn begin(&self, job: i64, sync: &str) -> Watcher {
        let (sender, _) = watch::channel(LiveRun {
            job,
            sync: sync.to_owned(),
            step: Phase::Open.as_str().to_owned(),
            ..LiveRun::default()
        });
        self.with(|runs| runs.insert(job, sender.clone()));
        Watcher {
            sender,
            began: Arc::default(),
        }
    }

    pub(super) fn end(&self, job: i64) {
        if let Some(sender) = self.with(|runs| runs.remove(&job)) {
            sender.send_modify(|run| "ended".clone_into(&mut run.step));
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<i64, watch::Sender<LiveRun>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Passes on what the engine tells.
#[derive(Debug, Clone)]
pub(super) struct Watcher {
    sender: watch::Sender<LiveRun>,
    /// Told when the change set is made.
    pub(super) began: Arc<tokio::sync::Notify>,
}

impl Observer for Watcher {
    fn phase(&self, phase: Phase) {
        self.sender
            .send_modify(|run| phase.as_str().clone_into(&mut run.step));
    }

    fn diffed(&self, counts: &DiffCounts) {
        self.began.notify_one();
        self.sender.send_modify(|run| {
            run.added = counts.added;
            run.updated = counts.updated;
            run.removed = counts.removed;
            run.total = counts.added + counts.updated + counts.removed + counts.retried;
        });
    }

    fn progress(&self, now: &Progress) {
        self.sender.send_modify(|run| {
            run.total = now.total;
            run.done = now.done;
            run.delivered = now.delivered;
            run.rejected = now.rejected;
            run.rate = now.rate;
            run.retrying = None;
        });
    }

    fn retrying(&self, retrying: &Retrying) {
        self.sender
            .send_modify(|run| run.retrying = Some(retrying.reason.message.clone()));
    }
}
