//! Destinations whose records are durable only after their `finish` (semantics 15).
//!
//! Nothing may be acknowledged before that, and nothing be doubted when it was never called. A
//! `finish` that does not answer must never hold a run for ever.

use std::time::{Duration, Instant};

use rowcast_core::settle::Verdict;
use rowcast_core::{Applied, Code, Fault, Operation, Reason, killpoint};

use super::{Committing, Delivery, GRACE, Stop, lease_lost, lease_ran_out};
use crate::acknowledge::STEP_RECORDS_MAX;
use crate::spill::Spill;

/// A publication may take the destination's timeout once for every so many records begun, because a
/// connector that converts them writes all of them again.
const RECORDS_PER_TIMEOUT: u64 = 1_000_000;

impl Delivery {
    /// Makes accepted records durable, then acknowledges them; or gives them up (semantics 15).
    pub(crate) async fn publish(&mut self) {
        if !self.capabilities.publishes || matches!(self.stop, Some(Stop::LeaseLost(_))) {
            return;
        }
        let spill = std::mem::take(&mut self.spill);
        let accepted = spill.len();
        if !self.may_publish().await {
            self.acks.abandon_all();
            self.write_steps(true).await;
            return;
        }
        killpoint::reach("run-before-publish");
        let Some(finished) = self.finished(accepted).await else {
            // The intents stay open: the next run finds them and doubts their records.
            self.acks.leave_open(accepted as usize);
            return;
        };
        let unknown = match finished {
            Ok(()) => None,
            Err(fault) => {
                let reason = fault.reason().clone();
                self.fail(reason.clone());
                if fault.applied() == Applied::No {
                    self.acks.abandon_all();
                    self.write_steps(true).await;
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

    /// Whether the run came so far that its records are to be published, under a lease that outlives
    /// a request. If it does not, the next renewal decides.
    async fn may_publish(&mut self) -> bool {
        while matches!(
            self.stop,
            None | Some(Stop::TimeSpent | Stop::QuotaSpent(_))
        ) {
            let now = self.parts.clock.now();
            if self.parts.lease.is_lost() {
                self.fail(lease_lost());
            } else if self.parts.lease.deadline() <= now {
                self.fail(lease_ran_out());
            } else if self.lease_allows(now) {
                return true;
            } else {
                let left = self.parts.lease.deadline().saturating_duration_since(now);
                tokio::select! {
                    biased;
                    () = self.parts.cancel.cancelled() => self.cancelled(),
                    () = self.renewal.changed() => {}
                    () = self.parts.clock.sleep(left) => {}
                }
            }
        }
        false
    }

    /// What `finish` answered. `None`: the lease was lost or the run cancelled before it did.
    async fn finished(&mut self, accepted: u64) -> Option<Result<(), Fault>> {
        let timeout = self.capabilities.timeout;
        let times = u32::try_from(1 + accepted / RECORDS_PER_TIMEOUT).unwrap_or(u32::MAX);
        let most = timeout.saturating_mul(times);
        let began = self.parts.clock.now();
        let destination = self.parts.destination.clone();
        let mut finish = Box::pin(async move { destination.finish().await });
        loop {
            let now = self.parts.clock.now();
            let lease = &self.parts.lease;
            let stop = if lease.is_lost() {
                Some(lease_lost())
            } else if lease.deadline() <= now {
                Some(lease_ran_out())
            } else {
                None
            };
            if let Some(reason) = stop {
                self.fail(reason);
                return None;
            }
            let spent = now.saturating_duration_since(began);
            if spent >= most {
                return Some(Err(Fault::lost(
                    Reason::new(
                        Code::DestinationUnreachable,
                        format!("the destination did not publish the records within {most:?}"),
                    )
                    .hint("raise `timeout` of the destination if it is known to be slow"),
                )));
            }
            let grace = self.cancelled_at.map(|at| at + GRACE);
            if grace.is_some_and(|until| until <= now) {
                self.stop = Some(Stop::Cancelled);
                return None;
            }
            let left = |until: Instant| until.saturating_duration_since(now);
            let wait = most
                .saturating_sub(spent)
                .min(left(lease.deadline()))
                .min(grace.map_or(Duration::MAX, left));
            tokio::select! {
                biased;
                finished = &mut finish => return Some(finished),
                () = self.parts.cancel.cancelled(), if grace.is_none() => {
                    self.cancelled_at = Some(self.parts.clock.now());
                }
                () = self.renewal.changed() => {}
                () = self.parts.clock.sleep(wait) => {}
            }
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
                self.write_steps(true).await;
            }
            let now = self.parts.clock.now();
            self.acks.settle(settled, Some(intent), counted, now);
            if self.acks.waiting() >= STEP_RECORDS_MAX {
                self.write_steps(false).await;
                if self.ledger_failed {
                    break;
                }
            }
        }
        self.write_steps(true).await;
        Ok(())
    }

    /// Writes what waits for the ledger; when it is `drained`, also what waits for other records of
    /// its intent.
    pub(super) async fn write_steps(&mut self, drained: bool) {
        while !self.ledger_failed && (self.acks.is_ready() || (drained && !self.acks.is_empty())) {
            let observed = self.parts.observer.wants_settled();
            let now = self.parts.clock.now();
            let (step, carried) = self.acks.step(Vec::new(), now, drained, observed);
            if carried.writes {
                killpoint::reach("acknowledge-before");
            }
            let (ledger, lease) = (self.parts.ledger.clone(), self.parts.lease.clone());
            let work = async move { ledger.commit(&lease, step).await };
            let result = self.parts.home.run(work).await;
            self.committing = Some(Committing {
                future: Box::pin(std::future::pending()),
                carried,
                jobs: Vec::new(),
            });
            self.committed(result);
        }
    }
}
