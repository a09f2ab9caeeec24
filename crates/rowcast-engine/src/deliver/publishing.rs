//! Destinations whose records are durable only after their `finish` (semantics 15).
//!
//! Nothing may be acknowledged before that, and nothing be doubted when it was never called.

use std::time::Duration;

use rowcast_core::settle::Verdict;
use rowcast_core::{Applied, Fault, Operation, Reason, killpoint};

use super::{Committing, Delivery, Stop, lease_lost};
use crate::acknowledge::STEP_RECORDS_MAX;
use crate::spill::Spill;

impl Delivery {
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
            self.write_steps(true).await;
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
