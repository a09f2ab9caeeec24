//! Delivery's side of the ledger: what to announce, and when to write.
//!
//! Acknowledgements that are ready, intents that are done and intents to open share one step; one
//! step is under way at a time. It must never hand a batch on before its intent is durable.

use std::sync::Arc;

use rowcast_core::ledger::{Intent, IntentItem};
use rowcast_core::{BoxFuture, Reason, killpoint};
use tracing::Instrument as _;

use super::window::Window;
use super::{Committing, Delivery};
use crate::observe::Progress;
use crate::supply::Job;
use crate::trace;

impl Delivery {
    pub(super) fn is_moving(&self) -> bool {
        !self.sendable.is_empty() || !self.waiting.is_empty() || !self.in_flight.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.is_moving()
            && self.committing.is_none()
            && (self.ledger_failed || self.acks.is_empty())
            && self.supply.ready.is_empty()
    }

    /// Starts the next step of the ledger, when there is a reason for one.
    pub(super) fn commit(&mut self) {
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
        let observed = self.parts.observer.wants_settled();
        let (step, carried) = self.acks.step(intents, now, drained, observed);
        if carried.opens {
            killpoint::reach("window-before-intent");
        }
        if carried.writes {
            killpoint::reach("acknowledge-before");
        }
        let written = !step.settled.is_empty()
            || !step.whole.is_empty()
            || !step.close.is_empty()
            || carried.opens;
        let (ledger, lease) = (self.parts.ledger.clone(), self.parts.lease.clone());
        let future: BoxFuture<'static, _> = if written {
            let span = trace::acknowledge(step.settled.len());
            let home = self.parts.home.clone();
            let work = async move { ledger.commit(&lease, step).await }.instrument(span);
            Box::pin(async move { home.run(work).await })
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
        let Window {
            records: window,
            announced_max: limit,
        } = self.window();
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

    pub(super) fn committed(&mut self, result: Result<(), Reason>) {
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
        if carried.writes {
            killpoint::reach("acknowledge-committed");
        }
        if carried.skips {
            killpoint::reach("skips-acknowledged");
        }
        self.sendable.extend(jobs);
        self.acks.carried(&carried);
        if !carried.settled.is_empty() {
            self.parts.observer.settled(&carried.settled);
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
            rate: self.pace.per_second(),
            elapsed: self.parts.clock.now().saturating_duration_since(self.began),
        }
    }
}
