//! One run of one sync: the seven steps, readable top to bottom.
//!
//! open → recover → diff → guard → deliver (map, batch, send, acknowledge) → publish → report.
//! State says what was acknowledged, never what was attempted.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rowcast_core::destination::Committed;
use rowcast_core::guard::{self, Held};
use rowcast_core::ledger::{ChangeSet, DiffRequest, OpenRequest};
use rowcast_core::value::Name;
use rowcast_core::{
    BoxFuture, Code, Destination, Fault, Kind, Lease, Ledger, Mapper, Operation, Quota, Reason,
    RunContext, RunReport, RunStatus, SyncPlan, killpoint,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::backoff::wait_before_retry;
use crate::clock::{Clock, SystemClock};
use crate::deliver::{Delivery, GRACE_LEDGER, Parts, Stop, lease_lost, lease_ran_out};
use crate::lease::Renewal;
use crate::limit::Limiter;
use crate::observe::{Observer, Phase, Quiet};
use crate::place::{OwnThread, Place};
use crate::prepare::Preparer;
use crate::preview::{limited, preview};
use crate::report::{Tally, total};
use crate::supply::Supply;
use crate::trace;

/// What a run works with.
#[derive(Clone)]
pub struct RunInput {
    pub ledger: Arc<dyn Ledger>,
    pub destination: Arc<dyn Destination>,
    pub mapper: Arc<dyn Mapper>,
    pub plan: SyncPlan,
    /// Names of the identity's fields at the destination: the `match_on` fields in the order of
    /// the match values that state keeps; without such, as many as the primary key has columns and
    /// in their order. Empty: the primary key's columns.
    pub match_fields: Vec<Name>,
    pub options: RunOptions,
    pub clock: Arc<dyn Clock>,
    pub cancel: CancellationToken,
    pub observer: Arc<dyn Observer>,
    /// Shared by all runs of one account, in this process.
    pub limiter: Arc<Limiter>,
    /// Counted by the ledger, for every process.
    pub quota: Option<Quota>,
    /// Whether the run may speak to its destination on a thread of its own.
    pub own_thread: bool,
}

impl RunInput {
    /// A run with the machine's clock, a limiter of its own, no quota and nobody watching.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        destination: Arc<dyn Destination>,
        mapper: Arc<dyn Mapper>,
        plan: SyncPlan,
    ) -> Self {
        let limiter = Arc::new(Limiter::new(destination.capabilities().rate));
        Self {
            ledger,
            destination,
            mapper,
            plan,
            match_fields: Vec::new(),
            options: RunOptions::default(),
            clock: Arc::new(SystemClock),
            cancel: CancellationToken::new(),
            observer: Arc::new(Quiet),
            limiter,
            quota: None,
            own_thread: false,
        }
    }
}

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// `request_timeout` is set by the engine.
    pub open: OpenRequest,
    pub diff: DiffRequest,
    /// The digest of a sealed plan: the change set must be exactly that one (semantics 28).
    pub sealed: Option<u128>,
    /// Map everything, send nothing, write nothing, take no lease.
    pub dry_run: bool,
}

/// Runs a sync. A run that has its lease always ends with a report, a failed one with its
/// `failure` set.
///
/// # Errors
/// The lease could not be had (or, in a dry run, the changes could not be read).
pub async fn run(mut input: RunInput) -> Result<RunReport, Reason> {
    if input.options.dry_run {
        return Ok(preview(&input).await?.report);
    }
    let began = input.clock.now();
    let started_at = input.clock.now_us();
    input.options.open.request_timeout = input.destination.capabilities().timeout;
    input.observer.phase(Phase::Open);
    let span = trace::run(&input.plan.name, &input.options.open.trigger);
    let step = trace::step(&span, Phase::Open);
    let opened = tokio::select! {
        biased;
        opened = input.ledger.open(&input.options.open).instrument(step.clone()) => opened?,
        () = input.cancel.cancelled() => return Err(cancelled()),
    };
    killpoint::reach("run-opened");
    let lease = opened.lease;
    let context = Arc::new(RunContext {
        sync: input.plan.name.clone(),
        sync_id: lease.sync_id.clone(),
        run: lease.run,
        epoch: lease.epoch,
        generation: lease.generation,
        object: input.plan.object.clone(),
        key_columns: input.plan.key_columns.clone(),
        started_at,
    });
    let renewal = Renewal::start(
        input.ledger.clone(),
        lease.clone(),
        input.clock.clone(),
        input.cancel.clone(),
    );
    let records = input.destination.capabilities().batch_records_max;
    let wanted = input.own_thread.then_some(&input.plan.name);
    let thread = wanted.and_then(|name| OwnThread::for_requests_of(records, name));
    let mut run = Running {
        report: RunReport::new(input.plan.name.clone(), lease.run, started_at),
        complete: false,
        tally: Tally::default(),
        cancelled_at: None,
        phase: (Phase::Open, began),
        span: trace::of(span, &lease),
        step,
        renewal: Some(renewal),
        place: thread.as_ref().map_or_else(Place::here, OwnThread::place),
        _thread: thread,
        input,
        lease,
        context,
        began,
    };
    if let Err(stop) = run.steps().await {
        run.stopped(stop);
    }
    Ok(run.finish().await)
}

/// A run that has its lease.
struct Running {
    input: RunInput,
    /// Where it speaks to its destination.
    place: Place,
    _thread: Option<OwnThread>,
    lease: Arc<Lease>,
    context: Arc<RunContext>,
    renewal: Option<Renewal>,
    report: RunReport,
    tally: Tally,
    /// Every change was decided about.
    complete: bool,
    cancelled_at: Option<Instant>,
    began: Instant,
    phase: (Phase, Instant),
    /// Of the whole run, and of the step it is in.
    span: Span,
    step: Span,
}

impl Running {
    /// The steps between the lease and the report. `Err`: why the run ended early.
    async fn steps(&mut self) -> Result<(), Stop> {
        let committed = self.open_destination().await?;
        self.recover(&committed).await?;
        killpoint::reach("run-recovered");

        self.enter(Phase::Diff);
        let changes = self.diff().await?;
        killpoint::reach("run-diffed");

        self.enter(Phase::Guard);
        if self.is_held(&changes) {
            return Ok(());
        }
        killpoint::reach("run-guarded");

        self.enter(Phase::Deliver);
        let mut delivery = self.delivery(changes)?;
        let delivering = async move {
            delivery.deliver().await;
            delivery
        };
        let mut delivery = self.at_its_place(delivering).await;
        self.enter(Phase::Publish);
        let publishing = async move {
            delivery.publish().await;
            delivery
        };
        let mut delivery = self.at_its_place(publishing).await;
        delivery.settle_quota().await;

        self.complete = delivery.is_complete();
        if delivery.budget_spent() {
            let limit = self.input.plan.records_max.unwrap_or_default();
            self.note(format!(
                "stopped after {limit} records (`run.max_records`); the next run goes on"
            ));
        }
        let (acks, stop, renewal) = delivery.into_parts();
        self.tally = acks.tally;
        self.renewal = Some(renewal);
        stop.map_or(Ok(()), Err)
    }

    fn enter(&mut self, phase: Phase) {
        let now = self.input.clock.now();
        let (before, since) = std::mem::replace(&mut self.phase, (phase, now));
        let spent = now.saturating_duration_since(since).as_micros() as u64;
        self.report.phases.push((before.as_str(), spent));
        self.input.observer.phase(phase);
        self.step = trace::step(&self.span, phase);
    }

    fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    /// An exactly-once destination raises the epoch on its side here and tells what it holds.
    async fn open_destination(&mut self) -> Result<Vec<Committed>, Stop> {
        let backoff = self.input.plan.backoff;
        let mut failures = 0;
        loop {
            let destination = self.input.destination.clone();
            let context = self.context.clone();
            let timeout = destination.capabilities().timeout;
            let late = self.input.clock.sleep(timeout);
            let place = self.place.clone();
            let open = async move {
                tokio::select! {
                    biased;
                    opened = destination.open(&context) => opened,
                    () = late => Err(Fault::lost(Reason::new(
                        Code::DestinationUnreachable,
                        format!("the destination could not be opened within {timeout:?}"),
                    ))),
                }
            };
            let opened = self
                .unless_stopped(Box::pin(async move { place.run(open).await }))
                .await?;
            match opened {
                Ok(committed) => return Ok(committed),
                Err(Fault::Transient { after, reason, .. }) => {
                    failures += 1;
                    if failures >= backoff.attempts {
                        return Err(Stop::Failed(reason));
                    }
                    let wait = wait_before_retry(&backoff, failures, after, self.lease.run as u64);
                    let sleep = self.input.clock.sleep(wait);
                    self.unless_stopped(sleep).await?;
                }
                Err(Fault::Split { reason } | Fault::Fatal { reason, .. }) => {
                    return Err(Stop::Failed(reason));
                }
            }
        }
    }

    async fn recover(&mut self, committed: &[Committed]) -> Result<(), Stop> {
        let (ledger, lease) = (self.input.ledger.clone(), self.lease.clone());
        self.unless_stopped(Box::pin(
            async move { ledger.recover(&lease, committed).await },
        ))
        .await?
        .map_err(stop_for)
    }

    async fn diff(&mut self) -> Result<ChangeSet, Stop> {
        let (ledger, lease) = (self.input.ledger.clone(), self.lease.clone());
        let (request, step) = (self.input.options.diff.clone(), self.step.clone());
        let changes = self
            .unless_stopped(Box::pin(
                async move { ledger.changes(Some(&lease), &request).await }.instrument(step),
            ))
            .await?
            .map_err(stop_for)?;
        self.report.counts = changes.counts;
        self.report.notes.extend(changes.notes.iter().cloned());
        self.input.observer.diffed(&changes.counts);
        Ok(changes)
    }

    /// Judges the change set before the first request (semantics 20 and 28).
    fn is_held(&mut self, changes: &ChangeSet) -> bool {
        let (held, overridden) = guards(&self.input, changes);
        for held in overridden {
            let guard = held.guard.as_str();
            self.note(format!("guard `{guard}` was overridden: {}", held.reason));
        }
        self.report.failure = match stale(&self.input.options, changes) {
            Some(reason) => Some(reason),
            None => held.first().map(|held| held.reason.clone()),
        };
        self.report.guards = held;
        if self.report.failure.is_some() {
            self.report.status = RunStatus::Held;
        }
        self.report.status == RunStatus::Held
    }

    /// Does a part of the present step where the run speaks to its destination.
    async fn at_its_place<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.place.run(work.instrument(self.step.clone())).await
    }

    fn delivery(&mut self, changes: ChangeSet) -> Result<Delivery, Stop> {
        let Some(renewal) = self.renewal.take() else {
            return Err(Stop::Failed(Reason::defect("a run delivered twice")));
        };
        let input = &self.input;
        let home = Place::here();
        let parts = Parts {
            home: home.clone(),
            ledger: input.ledger.clone(),
            lease: self.lease.clone(),
            destination: input.destination.clone(),
            clock: input.clock.clone(),
            cancel: input.cancel.clone(),
            observer: input.observer.clone(),
            limiter: input.limiter.clone(),
        };
        let capabilities = input.destination.capabilities();
        let preparer = Preparer {
            json: input.destination.takes_json(),
            raw: input.destination.takes_raw(),
            ..preparer(input, self.context.clone())
        };
        let total = total(&changes.counts) - changes.counts.beyond_limit;
        let expected = calls(input, &changes);
        let supply = Supply::new(home, preparer, changes.changes, capabilities);
        let ends_at = input.plan.duration_max.map(|max| self.began + max);
        let delivery = Delivery::new(parts, renewal, supply, total, ends_at);
        Ok(delivery.within(input.quota.clone(), expected))
    }

    /// Waits for something that is not delivery, unless the run is cancelled or its lease lost.
    async fn unless_stopped<T>(&mut self, future: BoxFuture<'_, T>) -> Result<T, Stop> {
        let mut future = future;
        loop {
            let left = self
                .lease
                .deadline()
                .saturating_duration_since(self.input.clock.now());
            if self.lease.is_lost() {
                return Err(Stop::LeaseLost(lease_lost()));
            }
            if left.is_zero() {
                self.lease.lose();
                return Err(Stop::LeaseLost(lease_ran_out()));
            }
            let Some(renewal) = &mut self.renewal else {
                return Ok(future.await);
            };
            tokio::select! {
                biased;
                done = &mut future => return Ok(done),
                () = self.input.cancel.cancelled() => return Err(Stop::Cancelled),
                () = renewal.changed() => {}
                () = self.input.clock.sleep(left) => {}
            }
        }
    }

    fn stopped(&mut self, stop: Stop) {
        let limit = self.input.plan.duration_max;
        match stop {
            Stop::Cancelled => {
                self.cancelled_at = Some(self.input.clock.now());
                self.report.status = RunStatus::Cancelled;
                self.report.failure = Some(cancelled());
            }
            Stop::Failed(reason) | Stop::LeaseLost(reason) => {
                self.report.status = RunStatus::Failed;
                self.report.failure = Some(reason);
            }
            Stop::TimeSpent => self.note(format!(
                "stopped after {:?} (`run.max_duration`); the next run goes on",
                limit.unwrap_or_default()
            )),
            Stop::QuotaSpent(wait) => self.note(format!(
                "stopped because the service's quota is used up until {} from now; the next run goes on",
                minutes(wait)
            )),
        }
    }

    /// Adds up, judges the whole, and gives the lease back.
    async fn finish(mut self) -> RunReport {
        self.enter(Phase::Finish);
        self.tally.fill(&mut self.report, self.complete);
        if self.report.unknown > 0 {
            let unknown = self.report.unknown;
            self.note(format!(
                "{unknown} records were sent without a known outcome; the next run sends them again"
            ));
        }
        if self.report.status == RunStatus::Running {
            judge(&mut self.report);
        }
        if let Err(defect) = self.report.balance() {
            self.report.status = RunStatus::Failed;
            self.report.failure = Some(defect);
        }
        let now = self.input.clock.now();
        let spent = now.saturating_duration_since(self.began);
        self.report.duration_us = spent.as_micros() as u64;
        killpoint::reach("run-before-finish");
        if !self.lease.is_lost() {
            let finished = tokio::select! {
                biased;
                finished = self.input.ledger.finish(&self.lease, &self.report).instrument(self.step.clone()) => finished,
                () = self.patience() => Err(Reason::new(
                    Code::RunFailed,
                    "the report could not be written in time",
                )),
            };
            if let Err(reason) = finished
                && self.report.failure.is_none()
            {
                self.report.status = RunStatus::Failed;
                self.report.failure = Some(reason);
            }
        }
        for remark in self.input.ledger.remarks() {
            self.note(remark);
        }
        self.report.cost = self.input.ledger.cost();
        killpoint::reach("run-finished");
        trace::ended(&self.span, &self.report);
        self.report
    }

    /// After a cancel the whole exit is bounded.
    fn patience(&self) -> BoxFuture<'static, ()> {
        match self.cancelled_at {
            Some(_) => self
                .input
                .clock
                .sleep(Duration::from_millis(9_900).saturating_sub(GRACE_LEDGER)),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// The status of a run that came to its end.
fn judge(report: &mut RunReport) {
    let refused = report.rejected + report.invalid + report.counts.invalid_keys;
    report.status = if refused > 0 {
        RunStatus::Partial
    } else {
        RunStatus::Succeeded
    };
    if report.rejected > 0 && report.delivered == 0 && report.skipped == 0 {
        report.status = RunStatus::Failed;
        let most = report.reasons.iter().max_by_key(|(_, count)| **count);
        let reason = Reason::new(
            Code::EverythingRejected,
            format!("all {} records were rejected", report.rejected),
        );
        report.failure = Some(
            match most {
                Some(((code, message), _)) => reason.detail(format!("{message} ({code})")),
                None => reason,
            }
            .hint("see `rowcast rejects` for the destination's words on each"),
        );
    }
}

fn cancelled() -> Reason {
    Reason::new(Code::Cancelled, "the run was cancelled")
        .hint("nothing is lost: what was not acknowledged is sent by the next run")
}

fn stop_for(reason: Reason) -> Stop {
    if reason.code == Code::LeaseLost {
        Stop::LeaseLost(reason)
    } else {
        Stop::Failed(reason)
    }
}

pub(crate) fn preparer(input: &RunInput, context: Arc<RunContext>) -> Preparer {
    Preparer {
        plan: input.plan.clone(),
        mapper: input.mapper.clone(),
        match_fields: if input.match_fields.is_empty() {
            input.plan.key_columns.clone()
        } else {
            input.match_fields.clone()
        },
        bytes_max: input.destination.capabilities().batch_bytes_max,
        json: false,
        raw: false,
        context,
    }
}

/// The guards that hold a change set, and those that would but are overridden.
pub(crate) fn guards(input: &RunInput, changes: &ChangeSet) -> (Vec<Held>, Vec<Held>) {
    let diff = &input.options.diff;
    let removals_matter = diff.limit.is_none() && diff.keys.is_empty();
    let calls = calls(input, changes);
    let mut held = changes.held.clone();
    held.extend(guard::judge(
        &input.plan.guards,
        &changes.counts,
        removals_matter,
        calls,
    ));
    held.into_iter()
        .partition(|held| !input.plan.overrides.contains(&held.guard))
}

/// A wait in words: `3 h 20 min`.
pub(crate) fn minutes(wait: std::time::Duration) -> String {
    let minutes = wait.as_secs().div_ceil(60);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Why a sealed plan does not fit the change set any more.
pub(crate) fn stale(options: &RunOptions, changes: &ChangeSet) -> Option<Reason> {
    let sealed = options.sealed?;
    (sealed != changes.counts.digest).then(|| {
        Reason::new(
            Code::PlanStale,
            "the sealed plan no longer matches the source",
        )
        .detail("rows or state changed since the plan was made; nothing was sent")
        .hint("make a new plan with `rowcast plan --out`, look at it, and run that")
    })
}

/// How many requests a change set needs, if nothing is retried or split.
fn calls(input: &RunInput, changes: &ChangeSet) -> u64 {
    let plan = &input.plan;
    let capabilities = limited(&plan.batching, input.destination.capabilities());
    let asks = |kind| plan.on.includes(kind) && plan.mode.operation(kind).is_some();
    let counts = &changes.counts;
    let mut deletes = 0;
    let mut writes = counts.retried;
    for (kind, count) in [
        (Kind::Added, counts.added),
        (Kind::Updated, counts.updated),
        (Kind::Removed, counts.removed),
    ] {
        match kind {
            _ if !asks(kind) => {}
            Kind::Removed => deletes += count,
            Kind::Added | Kind::Updated => writes += count,
        }
    }
    writes = writes.saturating_sub(counts.beyond_limit);
    if let Some(max) = plan.records_max {
        deletes = deletes.min(max);
        writes = writes.min(max - deletes);
    }
    // Which of insert, update and upsert a change becomes is not known yet: the dearest counts.
    let needed = |count: u64, operation| {
        let batch = capabilities.records_max(operation) as u64;
        count.div_ceil(batch) * u64::from(capabilities.requests(operation))
    };
    let dearest = plan
        .mode
        .operations()
        .into_iter()
        .filter(|operation| *operation != Operation::Delete)
        .map(|operation| needed(writes, operation))
        .max();
    let deleting = needed(deletes, Operation::Delete);
    deleting + dearest.unwrap_or_else(|| needed(writes, Operation::Delete))
}
