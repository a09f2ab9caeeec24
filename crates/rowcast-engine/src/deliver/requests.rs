//! Delivery's side of the destination: starting requests and reading their answers.
//!
//! It must never start one after a stop, or under a lease that may end before the request does.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rowcast_core::{Applied, Batch, Code, Fault, Outcome, Reason, killpoint};
use tracing::Instrument as _;

use super::{Delivery, InFlight, Stop};
use crate::allowance::Covered;
use crate::backoff::wait_before_retry;
use crate::observe::Retrying;
use crate::supply::{Job, Piece};
use crate::trace;
use crate::writes::Written;

/// A quota that begins anew within this is waited for; otherwise the next run goes on.
const QUOTA_PATIENCE: Duration = Duration::from_secs(60);

/// Records of so many bytes are written within the delivery's task: about what becomes JSON in the
/// time that it takes to wake another core.
const SMALL_BYTES: usize = 16 * 1024;

impl Delivery {
    /// Starts as many requests as are allowed now.
    pub(super) fn send(&mut self) {
        self.wake = None;
        if self.stop.is_some() {
            return;
        }
        loop {
            let now = self.parts.clock.now();
            let permitted = self.parts.limiter.permitted(self.concurrency());
            if self.in_flight.len() >= permitted {
                return;
            }
            let due = self.waiting.iter().position(|(at, _)| *at <= now);
            let free = self.in_flight.len() + self.waiting.len() < permitted;
            if due.is_none() && (!free || self.sendable.is_empty()) {
                return;
            }
            if !self.lease_allows(now) {
                return;
            }
            let next = match due {
                Some(position) => Some(&self.waiting[position].1),
                None => self.sendable.front(),
            };
            let piece = next.and_then(|job| job.pieces.front());
            let requests =
                piece.map_or(1, |piece| self.capabilities.requests(piece.batch.operation));
            if !self.quota_allows(now, requests) {
                return;
            }
            let number = match self.parts.limiter.acquire(now, requests) {
                Ok(number) => number,
                Err(later) => {
                    self.wake = Some(later);
                    return;
                }
            };
            if let Some(allowance) = &mut self.allowance {
                allowance.take(requests);
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
                self.start(job, number);
            }
        }
    }

    /// Whether the quota covers requests that start now. If the ledger has to be asked, its answer
    /// decides; if nothing is left, the run ends or waits.
    fn quota_allows(&mut self, now: Instant, requests: u32) -> bool {
        let Some(allowance) = &mut self.allowance else {
            return true;
        };
        match allowance.covers(now, requests) {
            Covered::Yes => return true,
            Covered::Ask => {
                allowance.ask(&self.parts, now, requests);
            }
            Covered::Spent(anew) => {
                let wait = anew.saturating_duration_since(now);
                if wait > QUOTA_PATIENCE {
                    self.stop = Some(Stop::QuotaSpent(wait));
                }
                self.wake = Some(anew);
            }
        }
        false
    }

    /// Whether the lease outlives a request that starts now. If not, the next renewal decides.
    pub(super) fn lease_allows(&mut self, now: Instant) -> bool {
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

    fn start(&mut self, job: Job, number: u64) {
        let Some(piece) = job.pieces.front() else {
            return;
        };
        self.acks.tally.requests += 1;
        let batch = piece.batch.clone();
        let destination = self.parts.destination.clone();
        let timeout = self.capabilities.timeout;
        let late = self.parts.clock.sleep(timeout);
        let span = trace::request(&piece.batch, piece.attempts);
        let answer = async move {
            killpoint::reach("request-before");
            tokio::select! {
                // Time first: whatever held this task up, nothing leaves after its deadline.
                biased;
                () = late => Err(Fault::lost(
                    Reason::new(
                        Code::DestinationUnreachable,
                        format!("the destination gave no answer within {timeout:?}"),
                    )
                    .hint("raise `timeout` of the destination if it is known to be slow"),
                )),
                answer = destination.write(&batch) => answer,
            }
        };
        let large = piece.notes.iter().map(|note| note.bytes).sum::<usize>() > SMALL_BYTES;
        let id = self.requests.start(answer.instrument(span), large);
        self.in_flight.push(InFlight { id, number, job });
    }

    pub(super) fn answered(&mut self, (id, answer): Written) {
        killpoint::reach("request-answered");
        // The destination's code panicked: whatever it sent is unknown.
        let answer = answer.unwrap_or_else(|words| {
            let reason =
                Reason::defect("a connector stopped in the middle of a write").detail(words);
            Err(Fault::Fatal {
                applied: Applied::Unknown,
                reason,
            })
        });
        let Some(position) = self.in_flight.iter().position(|flying| flying.id == id) else {
            return;
        };
        let InFlight {
            number, mut job, ..
        } = self.in_flight.remove(position);
        let Some(piece) = job.pieces.pop_front() else {
            return;
        };
        let now = self.parts.clock.now();
        if let Some(wait) = self.parts.destination.resumes_in() {
            self.parts.limiter.pause(now, wait);
        }
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
                self.parts.limiter.taken(self.concurrency());
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
                self.send_slower(number, &reason);
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

    /// A service that has too much to do says so, or does not answer.
    fn send_slower(&mut self, number: u64, reason: &Reason) {
        let most = self.concurrency();
        if let Some(permitted) = self.parts.limiter.refused(number, most) {
            tracing::debug!(
                permitted,
                most,
                code = reason.code.as_str(),
                "fewer requests in flight together"
            );
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
}
