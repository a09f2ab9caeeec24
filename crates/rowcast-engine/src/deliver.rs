//! The loop of delivery: announce, send, judge, acknowledge, until nothing is left.
//!
//! The only place that waits, retries or counts attempts. One task decides everything, and drives
//! small requests too; large ones run beside it. No request starts before its intent is committed, after the
//! lease is lost, or under a lease that may end before the request does.

mod publishing;
mod requests;
mod settling;
mod steps;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use rowcast_core::{
    BoxFuture, Capabilities, Code, Destination, Lease, Ledger, Quota, Reason, killpoint,
};
use tokio_util::sync::CancellationToken;

use crate::acknowledge::{Acknowledgements, Carried};
use crate::allowance::Allowance;
use crate::clock::Clock;
use crate::lease::Renewal;
use crate::limit::Limiter;
use crate::observe::Observer;
use crate::place::Place;
use crate::spill::Spill;
use crate::supply::{Found, Job, Supply};
use crate::writes::{Writes, Written};

use self::window::{Pace, Window};

/// After a cancel, requests in flight may still answer for so long.
pub(crate) const GRACE: Duration = Duration::from_secs(8);

/// After a cancel, the ledger has so long for everything.
pub(crate) const GRACE_LEDGER: Duration = Duration::from_secs(9);

/// Why delivery ended before the change set did.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    Cancelled,
    Failed(Reason),
    /// Another run has the sync: nothing may be written any more.
    LeaseLost(Reason),
    /// `run.max_duration` is over.
    TimeSpent,
    /// The service's quota is used up, and begins anew after this long.
    QuotaSpent(Duration),
}

enum Event {
    Answered(Written),
    Committed(Result<(), Reason>),
    Reserved(Result<(), Reason>),
    Supplied(Result<(), Reason>),
    Cancelled,
    Renewed,
    Time,
}

/// A request that has no answer yet.
struct InFlight {
    /// The write's.
    id: u64,
    /// The limiter's.
    number: u64,
    job: Job,
}

struct Committing {
    future: BoxFuture<'static, Result<(), Reason>>,
    carried: Carried,
    jobs: Vec<Job>,
}

/// What delivery works with.
pub(crate) struct Parts {
    /// Where the ledger is asked.
    pub home: Place,
    pub ledger: Arc<dyn Ledger>,
    pub lease: Arc<Lease>,
    pub destination: Arc<dyn Destination>,
    pub clock: Arc<dyn Clock>,
    pub cancel: CancellationToken,
    pub observer: Arc<dyn Observer>,
    pub limiter: Arc<Limiter>,
}

/// The delivery of one run.
pub(crate) struct Delivery {
    parts: Parts,
    capabilities: Capabilities,
    renewal: Renewal,
    supply: Supply,
    pub acks: Acknowledgements,
    spill: Spill,
    /// More is being read and mapped, which the next window wants.
    hungry: bool,
    sendable: VecDeque<Job>,
    waiting: Vec<(Instant, Job)>,
    /// In the order they started; few, so a list is as good as a map, and its order is known.
    in_flight: Vec<InFlight>,
    requests: Writes,
    committing: Option<Committing>,
    /// The ledger refused a step: nothing more is written.
    ledger_failed: bool,
    pub stop: Option<Stop>,
    cancelled_at: Option<Instant>,
    /// When a request that is held back by rate, pause or lease may start.
    wake: Option<Instant>,
    /// The timer of the next thing that is due.
    alarm: Option<(Instant, BoxFuture<'static, ()>)>,
    lease_waited: Option<Instant>,
    pace: Pace,
    /// What the destination's quota still covers; `None` without a quota.
    allowance: Option<Allowance>,
    began: Instant,
    ends_at: Option<Instant>,
    total: u64,
}

impl Delivery {
    pub(crate) fn new(
        parts: Parts,
        renewal: Renewal,
        supply: Supply,
        total: u64,
        ends_at: Option<Instant>,
    ) -> Self {
        let began = parts.clock.now();
        Self {
            capabilities: parts.destination.capabilities().clone(),
            requests: Writes::new(parts.home.clone()),
            parts,
            renewal,
            supply,
            acks: Acknowledgements::default(),
            spill: Spill::default(),
            hungry: false,
            sendable: VecDeque::new(),
            waiting: Vec::new(),
            in_flight: Vec::new(),
            committing: None,
            ledger_failed: false,
            stop: None,
            cancelled_at: None,
            wake: None,
            alarm: None,
            lease_waited: None,
            pace: Pace::since(began),
            allowance: None,
            began,
            ends_at,
            total,
        }
    }

    /// With a quota, of which the run needs about so many requests.
    pub(crate) fn within(mut self, quota: Option<Quota>, expected: u64) -> Self {
        let quota = quota.filter(|quota| quota.allowed.requests > 0);
        self.allowance = quota.map(|quota| Allowance::new(quota, expected));
        self
    }

    /// Gives back what is left of the quota's part, unless the time after a cancel is over.
    pub(crate) async fn settle_quota(&mut self) {
        let now = self.parts.clock.now();
        if self.cancelled_at.is_some_and(|at| at + GRACE <= now) {
            return;
        }
        if let Some(allowance) = &mut self.allowance {
            allowance
                .give_back(&self.parts.ledger, &self.parts.clock)
                .await;
        }
    }

    /// Delivers the whole change set, or as much as it can.
    pub(crate) async fn deliver(&mut self) {
        if let Err(reason) = self.supply.begin().await {
            self.fail(reason);
        }
        loop {
            self.pass().await;
            killpoint::reach("deletes-done");
            if self.stop.is_some() {
                break;
            }
            match self.supply.next_pass().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => self.fail(reason),
            }
        }
    }

    /// Whether every change was decided about.
    pub(crate) fn is_complete(&self) -> bool {
        self.stop.is_none() && !self.supply.budget_spent
    }

    /// Whether `run.max_records` cut the run off.
    pub(crate) fn budget_spent(&self) -> bool {
        self.supply.budget_spent
    }

    /// Hands the renewal back for the rest of the run.
    pub(crate) fn into_parts(self) -> (Acknowledgements, Option<Stop>, Renewal) {
        (self.acks, self.stop, self.renewal)
    }

    async fn pass(&mut self) {
        loop {
            self.look_at_the_clock();
            if let Some(Stop::LeaseLost(_)) = self.stop {
                self.requests.abort();
                return;
            }
            self.hungry = false;
            if self.stop.is_none() {
                self.fill().await;
            }
            if self.stop.is_some() {
                self.abandon();
            }
            self.commit();
            self.send();
            if self.is_idle() {
                if self.stop.is_none() && self.supply.waits_for_deletes() {
                    killpoint::reach("deletes-done");
                    self.supply.deletes_done();
                    continue;
                }
                if self.stop.is_some() || self.supply.stands_still() {
                    return;
                }
            }
            match self.event().await {
                Event::Answered(answer) => {
                    self.answered(answer);
                    // What else has been answered meanwhile, before the next look around.
                    while let Some(answer) = self.requests.try_next() {
                        self.answered(answer);
                    }
                }
                Event::Committed(result) => self.committed(result),
                Event::Reserved(Ok(())) | Event::Supplied(Ok(())) => {}
                Event::Reserved(Err(reason)) | Event::Supplied(Err(reason)) => self.fail(reason),
                Event::Cancelled => self.cancelled(),
                Event::Renewed | Event::Time => {}
            }
            if self
                .cancelled_at
                .is_some_and(|at| self.parts.clock.now() >= at + GRACE_LEDGER)
            {
                return;
            }
        }
    }

    fn fail(&mut self, reason: Reason) {
        if reason.code == Code::LeaseLost {
            self.parts.lease.lose();
            self.stop = Some(Stop::LeaseLost(reason));
        } else if self.stop.is_none() {
            self.stop = Some(Stop::Failed(reason));
        }
    }

    fn cancelled(&mut self) {
        self.cancelled_at.get_or_insert(self.parts.clock.now());
        self.stop.get_or_insert(Stop::Cancelled);
    }

    fn look_at_the_clock(&mut self) {
        let now = self.parts.clock.now();
        if self.parts.lease.is_lost() {
            self.fail(lease_lost());
        } else if self.parts.lease.deadline() <= now {
            self.fail(lease_ran_out());
        }
        if self.ends_at.is_some_and(|at| at <= now) && self.stop.is_none() {
            self.stop = Some(Stop::TimeSpent);
        }
        if self.cancelled_at.is_some_and(|at| at + GRACE <= now) {
            self.cut_off();
        }
    }

    fn window(&self) -> Window {
        Window::of(&self.capabilities, self.pace.per_second())
    }

    fn concurrency(&self) -> usize {
        self.capabilities.concurrency_max.max(1)
    }

    async fn fill(&mut self) {
        let target = self.window().wanted(self.acks.announced());
        if self.acks.waiting() >= crate::acknowledge::STEP_RECORDS_MAX {
            return;
        }
        let mut found = Vec::new();
        // Requests that may start, have been answered or are being announced don't wait for what
        // comes after them.
        let moving = self.is_moving() || self.committing.is_some();
        let filling = self.supply.fill(target, &mut found);
        let filled = if moving {
            filling.now_or_never()
        } else {
            Some(self.requests.during(filling).await)
        };
        self.hungry = filled.is_none();
        if let Some(Err(reason)) = filled {
            self.fail(reason);
        }
        let now = self.parts.clock.now();
        for found in found {
            match found {
                Found::Deferred => self.acks.tally.deferred += 1,
                Found::NullKey(reason) => self.acks.tally.reason(&reason),
                Found::Settled(settled) => {
                    self.supply.decide(&settled.key, settled.kind);
                    self.acks.settle(*settled, None, true, now);
                }
            }
        }
        // Nothing is on its way that could bring more: what there is must go.
        if !self.hungry && self.acks.announced() == 0 && self.supply.ready.is_empty() {
            self.supply.close_all();
        }
    }

    /// Whether nothing may start before something else happens, however long it has been due.
    fn is_held_back(&self) -> bool {
        self.wake.is_some()
            || self.allowance.as_ref().is_some_and(Allowance::is_asking)
            || self.in_flight.len() >= self.parts.limiter.permitted(self.concurrency())
    }

    async fn event(&mut self) -> Event {
        let now = self.parts.clock.now();
        let steps_wait = self.committing.is_none() && !self.ledger_failed;
        let wake = [
            self.wake,
            self.waiting
                .iter()
                .map(|(at, _)| *at)
                .min()
                .filter(|_| !self.is_held_back()),
            self.acks.due_at().filter(|_| steps_wait),
            self.ends_at.filter(|_| self.stop.is_none()),
            // A ledger that does not answer renews nothing: the lease's end is the run's.
            Some(self.parts.lease.deadline()),
            self.cancelled_at.map(|at| {
                if at + GRACE > now {
                    at + GRACE
                } else {
                    at + GRACE_LEDGER
                }
            }),
        ]
        .into_iter()
        .flatten()
        .min();
        // A timer is set when the time changes, not for every answer.
        if self.alarm.as_ref().map(|(at, _)| *at) != wake {
            self.alarm = wake.map(|at| {
                let wait = at.saturating_duration_since(now);
                (
                    at,
                    self.parts.clock.sleep(wait.max(Duration::from_millis(1))),
                )
            });
        }
        let Self {
            parts,
            alarm,
            renewal,
            requests,
            committing,
            allowance,
            cancelled_at,
            supply,
            hungry,
            ..
        } = self;
        tokio::select! {
            biased;
            () = parts.cancel.cancelled(), if cancelled_at.is_none() => Event::Cancelled,
            result = committed(committing), if committing.is_some() => Event::Committed(result),
            written = requests.next() => Event::Answered(written),
            result = reserved(allowance) => Event::Reserved(result),
            arrived = supply.arrival(), if *hungry => Event::Supplied(arrived),
            () = renewal.changed() => Event::Renewed,
            () = rung(alarm) => {
                *alarm = None;
                Event::Time
            }
        }
    }
}

async fn rung(alarm: &mut Option<(Instant, BoxFuture<'static, ()>)>) {
    match alarm {
        Some((_, sleep)) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn committed(committing: &mut Option<Committing>) -> Result<(), Reason> {
    match committing {
        Some(committing) => committing.future.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn reserved(allowance: &mut Option<Allowance>) -> Result<(), Reason> {
    match allowance {
        Some(allowance) => allowance.answered().await,
        None => std::future::pending().await,
    }
}

/// The reason of a run that could not renew its lease in time.
pub(crate) fn lease_ran_out() -> Reason {
    Reason::new(
        Code::LeaseLost,
        "the run's lease ended before it could be renewed",
    )
    .detail("the server that holds state did not answer in time")
    .hint("look at that server and the network to it; what was not acknowledged is sent by the next run")
}

/// The reason of a run whose lease is gone.
pub(crate) fn lease_lost() -> Reason {
    Reason::new(Code::LeaseLost, "another run has taken over the sync")
        .hint("see `rowcast runs`; what this run had not acknowledged, the other one sends")
}
