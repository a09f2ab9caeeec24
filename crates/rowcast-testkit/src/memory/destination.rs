//! A destination in memory: what it holds, and everything that was done to it in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowcast_core::destination::Committed;
use rowcast_core::record::identity;
use rowcast_core::{
    Batch, BoxFuture, Capabilities, Check, Code, Destination, Fault, Key, Operation, Outcome,
    Reason, Record, RunContext,
};

use super::{lock, text};

/// One write that took effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub operation: Operation,
    pub key: Key,
    pub identity: String,
    pub fields: String,
    pub idempotency_key: String,
    pub run: i64,
}

/// A destination that keeps what it is told, by identity.
#[derive(Debug)]
pub struct MemoryDestination {
    pub capabilities: Capabilities,
    state: Mutex<Received>,
}

#[derive(Debug, Default)]
struct Received {
    records: BTreeMap<String, String>,
    unpublished: Vec<Written>,
    log: Vec<Written>,
    requests: u64,
    /// With exactly-once: what became of each batch, kept with the data.
    progress: BTreeMap<(i64, i64), Vec<Outcome>>,
    epoch: i64,
}

impl MemoryDestination {
    /// Every operation; batches of at most `records`; `concurrency` at a time.
    pub fn new(records: usize, concurrency: usize) -> Self {
        Self {
            capabilities: Capabilities {
                operations: Operation::ALL.to_vec(),
                batch_records_max: records,
                operation_limits: Vec::new(),
                batch_bytes_max: 1 << 20,
                concurrency_max: concurrency,
                rate: None,
                timeout: Duration::from_secs(30),
                exactly_once: false,
                publishes: false,
            },
            state: Mutex::default(),
        }
    }

    /// Identity → fields, as it stands.
    pub fn records(&self) -> BTreeMap<String, String> {
        lock(&self.state).records.clone()
    }

    /// Everything that took effect, in order.
    pub fn log(&self) -> Vec<Written> {
        lock(&self.state).log.clone()
    }

    /// Forgets the log, not the records.
    pub fn forget(&self) {
        lock(&self.state).log.clear();
    }

    /// Requests that arrived.
    pub fn requests(&self) -> u64 {
        lock(&self.state).requests
    }

    /// Puts a record there by other means.
    pub fn plant(&self, identity: &str, fields: &str) {
        lock(&self.state)
            .records
            .insert(identity.to_owned(), fields.to_owned());
    }

    fn take(received: &mut Received, written: Written) -> Outcome {
        let exists = received.records.contains_key(&written.identity);
        match (written.operation, exists) {
            (Operation::Insert, true) => {
                return Outcome::Rejected(Reason::new(Code::AlreadyExists, "exists already"));
            }
            (Operation::Update | Operation::Delete, false) => {
                return Outcome::Rejected(Reason::new(Code::NotFound, "no such record"));
            }
            (Operation::Delete, true) => {
                received.records.remove(&written.identity);
            }
            (Operation::Insert | Operation::Update | Operation::Upsert, _) => {
                received
                    .records
                    .insert(written.identity.clone(), written.fields.clone());
            }
        }
        received.log.push(written);
        Outcome::Delivered
    }
}

fn written(record: &Record, context: &RunContext) -> Written {
    Written {
        operation: record.operation,
        key: record.key.clone(),
        identity: text(&record.match_on),
        fields: text(&record.fields),
        idempotency_key: record.idempotency_key.clone(),
        run: context.run,
    }
}

impl Destination for MemoryDestination {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async { vec![Check::passed("memory", "here")] })
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        let received = &mut *lock(&self.state);
        received.unpublished.clear();
        received.epoch = context.epoch;
        let rejected = |outcomes: &[Outcome]| {
            let reason = |outcome: &Outcome| match outcome {
                Outcome::Rejected(reason) => Some(reason.message.clone()),
                _ => None,
            };
            outcomes
                .iter()
                .enumerate()
                .filter_map(|(position, outcome)| Some((position, reason(outcome)?)))
                .collect()
        };
        let committed = received
            .progress
            .iter()
            .map(|((epoch, intent), outcomes)| Committed {
                epoch: *epoch,
                intent: *intent,
                rejected: rejected(outcomes),
            })
            .collect();
        Box::pin(async { Ok(committed) })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        let received = &mut *lock(&self.state);
        received.requests += 1;
        let progress = (batch.context.epoch, batch.intent);
        if self.capabilities.exactly_once {
            assert_eq!(received.epoch, progress.0, "a write of an older epoch");
            if let Some(outcomes) = received.progress.get(&progress) {
                let outcomes = outcomes.clone();
                return Box::pin(async { Ok(outcomes) });
            }
        }
        let mut identities = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            assert_eq!(record.operation, batch.operation, "mixed operations");
            let fresh = identities.insert(text(&record.match_on));
            assert!(
                fresh && !identity(&record.match_on).is_empty(),
                "an identity twice"
            );
            let written = written(record, &batch.context);
            outcomes.push(if self.capabilities.publishes {
                received.unpublished.push(written);
                Outcome::Accepted
            } else {
                Self::take(received, written)
            });
        }
        if self.capabilities.exactly_once {
            // As a real one does: a delete of nothing is no refusal.
            for outcome in &mut outcomes {
                if matches!(outcome, Outcome::Rejected(r) if r.code == Code::NotFound)
                    && batch.operation == Operation::Delete
                {
                    *outcome = Outcome::Delivered;
                }
            }
            received.progress.insert(progress, outcomes.clone());
        }
        Box::pin(async { Ok(outcomes) })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        let received = &mut *lock(&self.state);
        for written in std::mem::take(&mut received.unpublished) {
            Self::take(received, written);
        }
        Box::pin(async { Ok(()) })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        vec![format!(
            "{} {} records",
            batch.operation,
            batch.records.len()
        )]
    }
}
