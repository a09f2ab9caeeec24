//! The loop of delivery: announce, send, judge, acknowledge, until nothing is left.
//!
//! The only place that waits, retries or counts attempts. One task decides everything; only the
//! requests themselves run beside it. No request starts before its intent is committed, after the
//! lease is lost, or under a lease that may end before the request does.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rowcast_core::ledger::{Intent, IntentItem};
use rowcast_core::settle::Verdict;
use rowcast_core::{
    Applied, Batch, BoxFuture, Capabilities, Code, Destination, Fault, Key, Lease, Ledger,
    Operation, Outcome, Reason, killpoint,
};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::acknowledge::{Acknowledgements, Carried};
use crate::answer::{Judged, give_up, judge};
use crate::backoff::wait_before_retry;
use crate::clock::Clock;
use crate::lease::Renewal;
use crate::limit::Limiter;
use crate::observe::{Observer, Progress, Retrying};
use crate::prepare::{Note, settle_sent};
use crate::spill::Spill;
use crate::supply::{Found, Job, Piece, Supply};

/// Open windows together hold at least this many records, whatever the batches.
const ANNOUNCED_MIN: usize = 1_000;

/// Records of one window at most, unless one batch is larger.
const WINDOW_RECORDS_MAX: usize = 500;

/// The first window, before the rate is known.
const WINDOW_RECORDS_FIRST: usize = 100;

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
}

type Answer = Result<Vec<Outcome>, Fault>;

enum Event {
    Answered(Result<(Id, Answer), JoinError>),
    Committed(Result<(), Reason>),
    Cancelled,
    Renewed,
    Time,
}

struct Committing {
    future: BoxFuture<'static, Result<(), Reason>>,
    carried: Carried,
    jobs: Vec<Job>,
}

/// How fast records were answered lately.
struct Pace {
    per_second: f64,
    answered: usize,
    since: Instant,
}

impl Pace {
    /// Rates are taken over at least this long.
    const SPAN_MIN: Duration = Duration::from_millis(250);

    fn answered(&mut self, records: usize, now: Instant) {
        self.answered += records;
        let span = now.saturating_duration_since(self.since);
        if span >= Self::SPAN_MIN {
            let lately = self.answered as f64 / span.as_secs_f64();
            self.per_second = if self.per_second == 0.0 {
                lately
            } else {
                0.5 * self.per_second + 0.5 * lately
            };
            self.answered = 0;
            self.since = now;
        }
    }
}

/// What delivery works with.
pub(crate) struct Parts {
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
    sendable: VecDeque<Job>,
    waiting: Vec<(Instant, Job)>,
    in_flight: HashMap<Id, Job>,
    requests: JoinSet<Answer>,
    committing: Option<Committing>,
    /// The ledger refused a step: nothing more is written.
    ledger_failed: bool,
    pub stop: Option<Stop>,
    cancelled_at: Option<Instant>,
    /// When a request that is held back by rate, pause or lease may start.
    wake: Option<Instant>,
    lease_waited: Option<Instant>,
    pace: Pace,
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
            parts,
            renewal,
            supply,
            acks: Acknowledgements::default(),
            spill: Spill::default(),
            sendable: VecDeque::new(),
            waiting: Vec::new(),
            in_flight: HashMap::new(),
            requests: JoinSet::new(),
            committing: None,
            ledger_failed: false,
            stop: None,
            cancelled_at: None,
            wake: None,
            lease_waited: None,
            pace: Pace {
                per_second: 0.0,
                answered: 0,
                since: began,
            },
            began,
            ends_at,
            total,
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
                self.requests.abort_all();
                return;
            }
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
                Event::Answered(answer) => self.answered(answer),
                Event::Committed(result) => self.committed(result),
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
        if self.parts.lease.is_lost() || self.parts.lease.deadline() <= now {
            self.fail(lease_lost());
        }
        if self.ends_at.is_some_and(|at| at <= now) && self.stop.is_none() {
            self.stop = Some(Stop::TimeSpent);
        }
        if self.cancelled_at.is_some_and(|at| at + GRACE <= now) {
            self.cut_off();
        }
    }

    // --- getting records ready -------------------------------------------------------------

    fn window_records(&self) -> usize {
        let batch = self.capabilities.batch_records_max.max(1);
        let second = if self.pace.per_second > 0.0 {
            self.pace.per_second as usize
        } else {
            WINDOW_RECORDS_FIRST.max(batch.saturating_mul(self.concurrency()))
        };
        second.min(WINDOW_RECORDS_MAX).max(batch)
    }

    fn concurrency(&self) -> usize {
        self.capabilities.concurrency_max.max(1)
    }

    /// The intent window: most records announced and not settled.
    fn announced_max(&self) -> usize {
        let in_flight = self
            .concurrency()
            .saturating_mul(self.capabilities.batch_records_max.max(1));
        ANNOUNCED_MIN
            .max(in_flight)
            .min(in_flight.max(2 * self.window_records()))
    }

    async fn fill(&mut self) {
        let target = self.window_records();
        if self.acks.waiting() >= crate::acknowledge::STEP_RECORDS_MAX {
            return;
        }
        let mut found = Vec::new();
        if let Err(reason) = self.supply.fill(target, &mut found).await {
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
        if self.acks.announced() == 0 && self.supply.ready.is_empty() {
            self.supply.close_all();
        }
    }

    // --- the ledger ------------------------------------------------------------------------

    fn is_moving(&self) -> bool {
        !self.sendable.is_empty() || !self.waiting.is_empty() || !self.in_flight.is_empty()
    }

    fn is_idle(&self) -> bool {
        !self.is_moving()
            && self.committing.is_none()
            && (self.ledger_failed || self.acks.is_empty())
            && self.supply.ready.is_empty()
    }

    /// Starts the next step of the ledger, when there is a reason for one.
    fn commit(&mut self) {
        if self.committing.is_some() || self.ledger_failed {
            return;
        }
        let now = self.parts.clock.now();
        let (jobs, intents) = if self.stop.is_none() {
            self.announce()
        } else {
            (Vec::new(), Vec::new())
        };
        let drained = !self.is_moving() && !self.acks.is_empty();
        if intents.is_empty() && !drained && !self.acks.is_due(now) {
            return;
        }
        let (step, carried) = self.acks.step(intents, now);
        if carried.opens {
            killpoint::reach("window-before-intent");
        }
        if !step.settled.is_empty() {
            killpoint::reach("acknowledge-before");
        }
        let written = !step.settled.is_empty() || !step.close.is_empty() || carried.opens;
        let (ledger, lease) = (self.parts.ledger.clone(), self.parts.lease.clone());
        let future: BoxFuture<'static, _> = if written {
            Box::pin(async move { ledger.commit(&lease, step).await })
        } else {
            Box::pin(async { Ok(()) })
        };
        self.committing = Some(Committing {
            future,
            carried,
            jobs,
        });
    }

    /// Takes ready batches and makes intents of them.
    fn announce(&mut self) -> (Vec<Job>, Vec<Intent>) {
        let window = self.window_records();
        let limit = self.announced_max();
        let announced = self.acks.announced();
        let (mut jobs, mut intents) = (Vec::new(), Vec::<Intent>::new());
        let enough = self.supply.ready_records() >= window || self.supply.stands_still();
        if announced > 0 && !(enough && announced + window <= limit) {
            return (jobs, intents);
        }
        loop {
            let room = match self.acks.announced() {
                0 => usize::MAX,
                announced => limit.saturating_sub(announced),
            };
            let Some(mut job) = self.supply.take_ready(room) else {
                return (jobs, intents);
            };
            let records = job.records();
            if let Some(old) = job.intent {
                self.acks.move_out(old, records);
            }
            let fits = intents
                .last()
                .is_some_and(|intent| intent.items.len() + records <= window);
            let id = if fits && !self.capabilities.exactly_once {
                let id = self.acks.last_intent();
                self.acks.widen(records);
                id
            } else {
                let id = self.acks.announce(records);
                intents.push(Intent {
                    id,
                    epoch: self.parts.lease.epoch,
                    items: Vec::with_capacity(records),
                });
                id
            };
            job.intent = Some(id);
            for piece in &mut job.pieces {
                Arc::make_mut(&mut piece.batch).intent = id;
                let items = piece.batch.records.iter().zip(&piece.notes);
                if let Some(intent) = intents.last_mut() {
                    intent.items.extend(items.map(|(record, note)| IntentItem {
                        key: record.key.clone(),
                        operation: record.operation,
                        checksum: record.checksum,
                        match_values: note.match_values.clone(),
                    }));
                }
            }
            jobs.push(job);
        }
    }

    fn committed(&mut self, result: Result<(), Reason>) {
        let Some(Committing { carried, jobs, .. }) = self.committing.take() else {
            return;
        };
        if let Err(reason) = result {
            self.ledger_failed = true;
            self.fail(reason);
            return;
        }
        if carried.opens {
            killpoint::reach("window-intent-committed");
        }
        if carried.writes() {
            killpoint::reach("acknowledge-committed");
        }
        if carried.skips {
            killpoint::reach("skips-acknowledged");
        }
        self.sendable.extend(jobs);
        let settled = self.acks.carried(carried);
        if self.parts.observer.wants_settled() && !settled.is_empty() {
            self.parts.observer.settled(&settled);
        }
        self.parts.observer.progress(&self.progress());
    }

    fn progress(&self) -> Progress {
        let tally = &self.acks.tally;
        Progress {
            total: self.total,
            done: tally.decided(),
            delivered: tally.delivered,
            rejected: tally.rejected,
            rate: self.pace.per_second,
            elapsed: self.parts.clock.now().saturating_duration_since(self.began),
        }
    }

    // --- requests --------------------------------------------------------------------------

    /// Starts as many requests as are allowed now.
    fn send(&mut self) {
        self.wake = None;
        if self.stop.is_some() {
            return;
        }
        loop {
            let now = self.parts.clock.now();
            let due = self.waiting.iter().position(|(at, _)| *at <= now);
            let free = self.in_flight.len() + self.waiting.len() < self.concurrency();
            if due.is_none() && (!free || self.sendable.is_empty()) {
                return;
            }
            if !self.lease_allows(now) {
                return;
            }
            if let Err(later) = self.parts.limiter.acquire(now) {
                self.wake = Some(later);
                return;
            }
            let job = match due {
                Some(position) => {
                    killpoint::reach("retry-before");
                    self.acks.tally.retries += 1;
                    Some(self.waiting.swap_remove(position).1)
                }
                None => self.sendable.pop_front(),
            };
            if let Some(job) = job {
                self.start(job);
            }
        }
    }

    /// Whether the lease outlives a request that starts now. If not, the next renewal decides.
    fn lease_allows(&mut self, now: Instant) -> bool {
        let lease = &self.parts.lease;
        if lease.outlives(now, self.capabilities.timeout) {
            self.lease_waited = None;
            return true;
        }
        let deadline = lease.deadline();
        self.wake = Some(deadline.max(now));
        if self.lease_waited.is_some_and(|before| before < deadline) {
            self.fail(Reason::defect(format!(
                "the lease is shorter than one request, which may take {:?}",
                self.capabilities.timeout
            )));
        }
        self.lease_waited = Some(deadline);
        false
    }

    fn start(&mut self, job: Job) {
        let Some(piece) = job.pieces.front() else {
            return;
        };
        self.acks.tally.requests += 1;
        let batch = piece.batch.clone();
        let destination = self.parts.destination.clone();
        let timeout = self.capabilities.timeout;
        let late = self.parts.clock.sleep(timeout);
        let handle = self.requests.spawn(async move {
            killpoint::reach("request-before");
            tokio::select! {
                biased;
                answer = destination.write(&batch) => answer,
                () = late => Err(Fault::lost(
                    Reason::new(
                        Code::DestinationUnreachable,
                        format!("the destination gave no answer within {timeout:?}"),
                    )
                    .hint("raise `timeout` of the destination if it is known to be slow"),
                )),
            }
        });
        self.in_flight.insert(handle.id(), job);
    }

    fn answered(&mut self, answer: Result<(Id, Answer), JoinError>) {
        killpoint::reach("request-answered");
        let (id, answer) = match answer {
            Ok(answered) => answered,
            // The destination's code panicked: whatever it sent is unknown.
            Err(error) => {
                let reason = Reason::defect("a connector stopped in the middle of a write")
                    .detail(error.to_string());
                let fault = Fault::Fatal {
                    applied: Applied::Unknown,
                    reason,
                };
                (error.id(), Err(fault))
            }
        };
        let Some(mut job) = self.in_flight.remove(&id) else {
            return;
        };
        let Some(piece) = job.pieces.pop_front() else {
            return;
        };
        let now = self.parts.clock.now();
        match answer {
            Ok(outcomes) if outcomes.len() != piece.notes.len() => {
                let reason = Reason::defect("a connector gave a wrong number of outcomes").detail(
                    format!("{} for {} records", outcomes.len(), piece.notes.len()),
                );
                self.settle_piece(piece, job.intent, Applied::Unknown, &reason);
                self.fail(reason);
            }
            Ok(outcomes) => {
                self.pace.answered(outcomes.len(), now);
                self.judge_piece(piece, job.intent, outcomes);
            }
            Err(Fault::Split { reason }) => self.split(&mut job, piece, reason),
            Err(Fault::Fatal { applied, reason }) => {
                self.settle_piece(piece, job.intent, applied, &reason);
                self.fail(reason);
            }
            Err(Fault::Transient {
                after,
                applied,
                reason,
            }) => {
                if let Some(wait) = after {
                    self.parts.limiter.pause(now, wait);
                }
                self.try_again(job, piece, after, applied, reason);
                return;
            }
        }
        if !job.pieces.is_empty() {
            if self.capabilities.exactly_once && self.stop.is_none() {
                // Progress at the destination is kept by intent: halves need intents of their own.
                while let Some(piece) = job.pieces.pop_back() {
                    self.supply.give_back(Job {
                        intent: job.intent,
                        pieces: [piece].into(),
                    });
                }
            } else {
                self.sendable.push_front(job);
            }
        }
    }

    fn try_again(
        &mut self,
        mut job: Job,
        mut piece: Piece,
        after: Option<Duration>,
        applied: Applied,
        reason: Reason,
    ) {
        let backoff = &self.supply.preparer.plan.backoff;
        piece.attempts += 1;
        if applied == Applied::Unknown {
            piece.uncertain = Some(reason.clone());
        }
        if self.stop.is_some() || piece.attempts >= backoff.attempts {
            let exhausted = Reason::new(
                Code::RetriesExhausted,
                format!(
                    "gave up on a batch of {} records after {} attempts",
                    piece.notes.len(),
                    piece.attempts
                ),
            )
            .detail(reason.to_string())
            .hint("what was not acknowledged is sent by the next run; see `rowcast check` for the destination");
            self.settle_piece(piece, job.intent, applied, &reason);
            if !job.pieces.is_empty() {
                self.sendable.push_front(job);
            }
            self.fail(exhausted);
            return;
        }
        let seed = {
            let mut hasher = DefaultHasher::new();
            piece.batch.idempotency_key().hash(&mut hasher);
            hasher.finish()
        };
        let wait = wait_before_retry(backoff, piece.attempts, after, seed);
        self.parts.observer.retrying(&Retrying {
            attempts: piece.attempts,
            wait,
            records: piece.notes.len(),
            reason,
        });
        if piece.uncertain.is_some() {
            for record in &mut Arc::make_mut(&mut piece.batch).records {
                record.doubtful = true;
            }
        }
        job.pieces.push_front(piece);
        let at = self.parts.clock.now() + wait;
        self.waiting.push((at, job));
    }

    /// Refused whole: halves, one after the other; a single record is rejected.
    fn split(&mut self, job: &mut Job, mut piece: Piece, reason: Reason) {
        if piece.notes.len() <= 1 {
            let rejected = vec![Outcome::Rejected(reason); piece.notes.len()];
            self.judge_piece(piece, job.intent, rejected);
            return;
        }
        killpoint::reach("split-before");
        let half = piece.notes.len() / 2;
        let notes = piece.notes.split_off(half);
        let first = Arc::make_mut(&mut piece.batch);
        let records = first.records.split_off(half);
        let second = Batch {
            intent: first.intent,
            operation: first.operation,
            records,
            context: first.context.clone(),
        };
        piece.attempts = 0;
        job.pieces.push_front(Piece {
            batch: Arc::new(second),
            notes,
            attempts: 0,
            uncertain: piece.uncertain.clone(),
        });
        job.pieces.push_front(piece);
    }

    // --- settling --------------------------------------------------------------------------

    fn judge_piece(&mut self, mut piece: Piece, intent: Option<i64>, outcomes: Vec<Outcome>) {
        let batch = piece.batch.clone();
        let records = batch.records.iter().zip(&mut piece.notes).zip(outcomes);
        for ((record, note), outcome) in records {
            let doubt = note.doubt || piece.uncertain.is_some();
            match judge(outcome, record.operation, doubt) {
                Judged::Final(verdict) => self.settle(record, note, intent, verdict),
                Judged::Accepted => self.accept(record, note, intent),
            }
        }
    }

    /// Settles all records of a piece that gets no other attempt in this run.
    fn settle_piece(
        &mut self,
        mut piece: Piece,
        intent: Option<i64>,
        applied: Applied,
        reason: &Reason,
    ) {
        let (applied, reason) = match &piece.uncertain {
            Some(earlier) if applied == Applied::No => (Applied::Unknown, earlier.clone()),
            _ => (applied, reason.clone()),
        };
        let batch = piece.batch.clone();
        for (record, note) in batch.records.iter().zip(&mut piece.notes) {
            let verdict = give_up(record.operation, applied, &reason);
            self.settle(record, note, intent, verdict);
        }
    }

    fn settle(
        &mut self,
        record: &rowcast_core::Record,
        note: &mut Note,
        intent: Option<i64>,
        verdict: Verdict,
    ) {
        self.supply.release(note);
        let delivered = verdict == Verdict::Delivered(record.operation);
        // The delete of an old identity decides about its change only when it fails.
        let counted = !(note.prelude && delivered);
        if note.prelude {
            self.prelude_settled(&record.key, note, delivered);
        }
        let settled = settle_sent(record, note, verdict);
        self.acks
            .settle(settled, intent, counted, self.parts.clock.now());
    }

    fn prelude_settled(&mut self, key: &Key, note: &Note, delivered: bool) {
        if !delivered {
            self.supply.decide(key, note.kind);
        } else if self.supply.pass == crate::prepare::Pass::Single {
            self.acks.tally.deferred += 1;
        }
    }

    fn accept(&mut self, record: &rowcast_core::Record, note: &mut Note, intent: Option<i64>) {
        self.supply.release(note);
        self.acks.accept();
        if note.prelude {
            self.prelude_settled(&record.key, note, true);
        }
        let verdict = Verdict::Delivered(record.operation);
        let settled = settle_sent(record, note, verdict);
        let kept = self
            .spill
            .push((settled, intent.unwrap_or_default(), !note.prelude));
        if let Err(reason) = kept {
            self.fail(reason);
        }
    }

    /// Gives up everything that is not in flight.
    fn abandon(&mut self) {
        let mut jobs = self.supply.take_all();
        jobs.retain(|job| job.intent.is_some());
        jobs.extend(self.sendable.drain(..));
        jobs.extend(self.waiting.drain(..).map(|(_, job)| job));
        for job in jobs {
            self.give_up(job);
        }
    }

    fn give_up(&mut self, job: Job) {
        let reason = Reason::new(Code::Cancelled, "the run ended before the batch was sent");
        for piece in job.pieces {
            self.settle_piece(piece, job.intent, Applied::No, &reason);
        }
    }

    /// The grace after a cancel is over: what has not answered is unknown.
    fn cut_off(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        self.requests.abort_all();
        self.requests = JoinSet::new();
        let jobs: Vec<Job> = self.in_flight.drain().map(|(_, job)| job).collect();
        let reason = Reason::new(
            Code::Cancelled,
            "the run was cancelled before the destination answered",
        );
        for mut job in jobs {
            if let Some(piece) = job.pieces.pop_front() {
                self.settle_piece(piece, job.intent, Applied::Unknown, &reason);
            }
            self.give_up(job);
        }
    }

    // --- waiting ---------------------------------------------------------------------------

    async fn event(&mut self) -> Event {
        let now = self.parts.clock.now();
        let steps_wait = self.committing.is_none() && !self.ledger_failed;
        let wake = [
            self.wake,
            self.waiting.iter().map(|(at, _)| *at).min(),
            self.acks.due_at().filter(|_| steps_wait),
            self.ends_at.filter(|_| self.stop.is_none()),
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
        let sleep = match wake {
            Some(at) => self.parts.clock.sleep(
                at.saturating_duration_since(now)
                    .max(Duration::from_millis(1)),
            ),
            None => Box::pin(std::future::pending()),
        };
        let Self {
            parts,
            renewal,
            requests,
            committing,
            cancelled_at,
            ..
        } = self;
        tokio::select! {
            biased;
            () = parts.cancel.cancelled(), if cancelled_at.is_none() => Event::Cancelled,
            result = committed(committing), if committing.is_some() => Event::Committed(result),
            Some(answer) = requests.join_next_with_id(), if !requests.is_empty() => {
                Event::Answered(answer)
            }
            () = renewal.changed() => Event::Renewed,
            () = sleep => Event::Time,
        }
    }

    // --- publishing ------------------------------------------------------------------------

    /// Makes accepted records durable, then acknowledges them; or gives them up (semantics 15).
    pub(crate) async fn publish(&mut self) {
        if !self.capabilities.publishes || matches!(self.stop, Some(Stop::LeaseLost(_))) {
            return;
        }
        let spill = std::mem::take(&mut self.spill);
        let accepted = spill.len();
        let finished = if matches!(self.stop, None | Some(Stop::TimeSpent)) {
            killpoint::reach("run-before-publish");
            if self
                .parts
                .lease
                .outlives(self.parts.clock.now(), Duration::ZERO)
            {
                self.parts.destination.finish().await
            } else {
                Err(Fault::fatal(lease_lost()))
            }
        } else {
            self.acks.abandon_all();
            self.write_steps().await;
            return;
        };
        let unknown = match finished {
            Ok(()) => None,
            Err(fault) => {
                let reason = fault.reason().clone();
                self.fail(reason.clone());
                if fault.applied() == Applied::No {
                    self.acks.abandon_all();
                    self.write_steps().await;
                    return;
                }
                Some(reason)
            }
        };
        tracing::debug!(accepted, "acknowledging what was published");
        if let Err(reason) = self.acknowledge_published(spill, unknown).await {
            self.fail(reason);
        }
    }

    async fn acknowledge_published(
        &mut self,
        spill: Spill,
        unknown: Option<Reason>,
    ) -> Result<(), Reason> {
        let mut drain = spill.drain()?;
        let mut preludes = false;
        while let Some((mut settled, intent, counted)) = drain.next()? {
            if let Some(reason) = &unknown {
                let operation = match settled.verdict {
                    Verdict::Delivered(operation) => operation,
                    _ => Operation::Upsert,
                };
                settled.verdict = Verdict::Unknown {
                    operation,
                    reason: reason.clone(),
                };
            }
            // A key is deleted and written in different steps.
            if std::mem::replace(&mut preludes, !counted) && counted {
                self.write_steps().await;
            }
            let now = self.parts.clock.now();
            self.acks.settle(settled, Some(intent), counted, now);
            if self.acks.waiting() >= crate::acknowledge::STEP_RECORDS_MAX {
                self.write_steps().await;
                if self.ledger_failed {
                    break;
                }
            }
        }
        self.write_steps().await;
        Ok(())
    }

    /// Writes everything that waits for the ledger.
    async fn write_steps(&mut self) {
        while !self.acks.is_empty() && !self.ledger_failed {
            let (step, carried) = self.acks.step(Vec::new(), self.parts.clock.now());
            if carried.writes() {
                killpoint::reach("acknowledge-before");
            }
            let result = self.parts.ledger.commit(&self.parts.lease, step).await;
            self.committing = Some(Committing {
                future: Box::pin(std::future::pending()),
                carried,
                jobs: Vec::new(),
            });
            self.committed(result);
        }
    }
}

async fn committed(committing: &mut Option<Committing>) -> Result<(), Reason> {
    match committing {
        Some(committing) => committing.future.as_mut().await,
        None => std::future::pending().await,
    }
}

/// The reason of a run whose lease is gone.
pub(crate) fn lease_lost() -> Reason {
    Reason::new(Code::LeaseLost, "another run has taken over the sync")
        .hint("see `rowcast runs`; what this run had not acknowledged, the other one sends")
}
