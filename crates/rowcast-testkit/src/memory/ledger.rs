//! The ledger's contract, kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rowcast_core::destination::Committed;
use rowcast_core::ledger::{ChangeSet, DiffRequest, OpenRequest, Opened, Step};
use rowcast_core::quota::{Quota, Reserved, Spent};
use rowcast_core::{BoxFuture, Change, ChangeReader, Code, Lease, Ledger, Reason, RunReport};
use tokio::sync::Notify;

use super::{MemoryLedger, Table, lock, now};

struct Spooled {
    changes: Vec<Change>,
    next: usize,
    rewinds: bool,
    held: Option<(usize, Arc<Notify>)>,
}

impl ChangeReader for Spooled {
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Change>, Reason>> {
        Box::pin(async move {
            if let Some((_, signal)) = self.held.take_if(|(after, _)| self.next >= *after) {
                signal.notified().await;
            }
            let end = self.changes.len().min(self.next + max);
            let some = self.changes[self.next..end].to_vec();
            self.next = end;
            Ok(some)
        })
    }

    fn rewind(&mut self) -> BoxFuture<'_, Result<bool, Reason>> {
        if self.rewinds {
            self.next = 0;
        }
        Box::pin(async { Ok(self.rewinds) })
    }
}

impl Ledger for MemoryLedger {
    fn open<'a>(&'a self, request: &'a OpenRequest) -> BoxFuture<'a, Result<Opened, Reason>> {
        Box::pin(async move {
            let mut memory = loop {
                let until = {
                    let memory = lock(&self.memory);
                    match memory.lease_until.filter(|until| *until > now()) {
                        None => break memory,
                        Some(until) => until,
                    }
                };
                if !request.wait {
                    return Err(Reason::new(
                        Code::SyncRunning,
                        "the sync is already running",
                    ));
                }
                tokio::time::sleep_until(until.into()).await;
            };
            memory.epoch += 1;
            memory.run += 1;
            memory.seed += u64::from(request.full);
            let deadline = now() + self.sync.term.max(2 * request.request_timeout);
            memory.lease_until = Some(deadline);
            let lease = Lease::new(
                "memory".into(),
                memory.run,
                memory.epoch,
                memory.generation,
                deadline,
            );
            Ok(Opened {
                lease: Arc::new(lease),
                open_intents: memory
                    .intents
                    .values()
                    .map(|(intent, _)| intent.clone())
                    .collect(),
            })
        })
    }

    fn recover<'a>(
        &'a self,
        lease: &'a Lease,
        committed: &'a [Committed],
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut memory = self.fenced(lease)?;
            for ((epoch, id), (intent, run)) in std::mem::take(&mut memory.intents) {
                let held = committed
                    .iter()
                    .find(|held| held.epoch == epoch && held.intent == id);
                self.recover_intent(&mut memory, &intent, run, held);
            }
            Ok(())
        })
    }

    fn changes<'a>(
        &'a self,
        lease: Option<&'a Lease>,
        request: &'a DiffRequest,
    ) -> BoxFuture<'a, Result<ChangeSet, Reason>> {
        Box::pin(async move {
            let mut memory = match lease {
                Some(lease) => self.fenced(lease)?,
                None => lock(&self.memory),
            };
            let (counts, changes) = self.diff(&memory, request);
            if lease.is_some() {
                memory.diffed = changes.iter().map(|change| change.key.clone()).collect();
            }
            Ok(ChangeSet {
                counts,
                schema: Table::schema(),
                held: Vec::new(),
                notes: Vec::new(),
                duplicates: Vec::new(),
                changes: Box::new(Spooled {
                    changes,
                    next: 0,
                    rewinds: self.sync.rewinds,
                    held: lock(&self.held).take(),
                }),
            })
        })
    }

    fn commit<'a>(&'a self, lease: &'a Lease, step: Step) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut memory = self.fenced(lease)?;
            memory.commits += 1;
            let mut keys = BTreeSet::new();
            for settled in &step.settled {
                assert!(keys.insert(&settled.key), "a key twice in one step");
                self.apply(&mut memory, settled, lease.run);
            }
            for whole in &step.whole {
                let taken = memory.intents.remove(&(lease.epoch, whole.intent));
                let (intent, _) = taken.expect("a whole intent is open");
                assert_eq!(intent.items.len(), whole.settled.len(), "all of an intent");
                let items = intent.items.iter().map(|item| (&item.key, item.checksum));
                let announced: BTreeMap<_, _> = items.collect();
                for settled in &whole.settled {
                    assert!(
                        settled.is_plain(),
                        "only plain records make an intent whole"
                    );
                    let checksum = announced.get(&settled.key);
                    assert_eq!(checksum, Some(&settled.checksum), "delivered as announced");
                    assert!(keys.insert(&settled.key), "a key twice in one step");
                    self.apply(&mut memory, settled, lease.run);
                }
            }
            for id in &step.close {
                let closed = memory.intents.remove(&(lease.epoch, *id));
                assert!(
                    closed.is_some(),
                    "intent {id} closed twice, or never opened"
                );
            }
            for intent in step.open {
                assert_eq!(intent.epoch, lease.epoch, "an intent of another epoch");
                let id = (intent.epoch, intent.id);
                let before = memory.intents.insert(id, (intent, lease.run));
                assert!(before.is_none(), "an intent's number used twice");
            }
            let announced = memory
                .intents
                .values()
                .map(|(intent, _)| intent.items.len());
            memory.announced_peak = memory.announced_peak.max(announced.sum());
            Ok(())
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut memory = self.fenced(lease)?;
            let deadline = now() + self.sync.term;
            lease.extend(deadline);
            memory.lease_until = Some(deadline);
            Ok(())
        })
    }

    fn finish<'a>(
        &'a self,
        lease: &'a Lease,
        report: &'a RunReport,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut memory = self.fenced(lease)?;
            let diffed = std::mem::take(&mut memory.diffed);
            memory.rejects.retain(|key, _| diffed.contains(key));
            memory.reports.push(report.clone());
            memory.lease_until = None;
            Ok(())
        })
    }

    fn reserve<'a>(
        &'a self,
        lease: &'a Lease,
        quota: &'a Quota,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Reserved, Reason>> {
        Box::pin(async move {
            drop(self.fenced(lease)?);
            let window = self.window(quota);
            let mut used = lock(&self.used);
            let used = used
                .entry((quota.account.clone(), window.began))
                .or_default();
            let requests = wanted.min(quota.allowed.requests.saturating_sub(*used));
            *used += requests;
            Ok(Reserved { requests, window })
        })
    }

    fn give_back<'a>(
        &'a self,
        quota: &'a Quota,
        began: i64,
        unused: u32,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut used = lock(&self.used);
            let used = used.entry((quota.account.clone(), began)).or_default();
            *used = used.checked_sub(unused).expect("more than was set aside");
            Ok(())
        })
    }

    fn spent<'a>(&'a self, quota: &'a Quota) -> BoxFuture<'a, Result<Spent, Reason>> {
        Box::pin(async move {
            let window = self.window(quota);
            let used = lock(&self.used);
            let used = used.get(&(quota.account.clone(), window.began));
            Ok(Spent {
                requests: used.copied().unwrap_or_default(),
                window,
            })
        })
    }
}
