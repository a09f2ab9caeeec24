//! The ledger of a simulation: the one in memory, reached over a network that is slow, fails,
//! loses answers and can be cut.

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::destination::Committed;
use rowcast_core::ledger::{ChangeSet, DiffRequest, OpenRequest, Opened, Step};
use rowcast_core::quota::{Quota, Reserved, Spent};
use rowcast_core::{BoxFuture, Code, Lease, Ledger, Reason, RunReport, Verdict};

use crate::plan::Sabotage;
use crate::trace::{Settlement, What};
use crate::world::{Local, World, lock};

/// One process's way to the ledger.
pub(crate) struct Remembered {
    pub(crate) world: Arc<World>,
    pub(crate) local: Arc<Local>,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Good,
    /// It never arrived.
    Before,
    /// The answer was lost.
    After,
}

fn lost<T>() -> Result<T, Reason> {
    let reason = Reason::new(Code::ConnectionLost, "the server went away, by script");
    Err(reason)
}

impl Remembered {
    async fn call<T>(
        &self,
        what: &'static str,
        call: impl AsyncFnOnce() -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        let local = &self.local;
        if what != "renew" {
            local.passage().await;
        }
        let (there, back, way) = {
            let mut chance = lock(&local.chance);
            let slow = local.process.slow && chance.happens(100);
            let ms = if slow { 5_000 } else { 20 };
            let there = Duration::from_millis(chance.below(ms));
            let back = Duration::from_millis(chance.below(ms));
            let way = match (chance.happens(local.ledger_faults()), chance.happens(500)) {
                (false, _) => Way::Good,
                (true, true) => Way::Before,
                (true, false) => Way::After,
            };
            (there, back, way)
        };
        tokio::time::sleep(there).await;
        if local.is_cut_off() || what == "renew" && local.process.renewals_fail {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let how = "cut off".to_owned();
            self.world.trace.add(local.number, What::Called(what, how));
            return lost();
        }
        let result = match way {
            Way::Before => lost(),
            _ => call().await,
        };
        let how = match (&result, way) {
            (Ok(_), Way::After) => "ok, answer lost".to_owned(),
            (Ok(_), _) => "ok".to_owned(),
            (Err(reason), _) => reason.to_string(),
        };
        self.world.trace.add(local.number, What::Called(what, how));
        tokio::time::sleep(back).await;
        if what != "renew" {
            local.passage().await;
        }
        match way {
            Way::After => lost(),
            _ => result,
        }
    }
}

impl Ledger for Remembered {
    fn open<'a>(&'a self, request: &'a OpenRequest) -> BoxFuture<'a, Result<Opened, Reason>> {
        Box::pin(self.call("open", async move || {
            if self.world.plan.sabotage == Sabotage::TakeOverAtOnce {
                self.world.remembered.crash();
            }
            let opened = self.world.remembered.open(request).await?;
            *lock(&self.local.lease) = Some(opened.lease.clone());
            let (run, epoch) = (opened.lease.run, opened.lease.epoch);
            let what = What::Opened { run, epoch };
            self.world.trace.add(self.local.number, what);
            Ok(opened)
        }))
    }

    fn recover<'a>(
        &'a self,
        lease: &'a Lease,
        committed: &'a [Committed],
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.call("recover", async move || {
            if self.world.plan.sabotage == Sabotage::ForgetIntents {
                return Ok(());
            }
            self.world.remembered.recover(lease, committed).await
        }))
    }

    fn changes<'a>(
        &'a self,
        lease: Option<&'a Lease>,
        request: &'a DiffRequest,
    ) -> BoxFuture<'a, Result<ChangeSet, Reason>> {
        Box::pin(self.call("changes", async move || {
            let changes = self.world.remembered.changes(lease, request).await?;
            let (rows, read) = self.world.rows();
            let what = What::Snapshot { rows, read };
            self.world.trace.add(self.local.number, what);
            Ok(changes)
        }))
    }

    fn commit<'a>(&'a self, lease: &'a Lease, step: Step) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.call("commit", async move || {
            let mut step = step;
            let whole = step.whole.iter().flat_map(|whole| &whole.settled);
            let settled = step.settled.iter().chain(whole).map(|settled| {
                let settlement = match &settled.verdict {
                    Verdict::Delivered(operation) => Settlement::Delivered(*operation),
                    Verdict::Skipped | Verdict::SkippedFor(_) => Settlement::Skipped,
                    Verdict::Rejected { .. } => Settlement::Rejected,
                    Verdict::Unknown { .. } => Settlement::Unknown,
                    _ => Settlement::Other,
                };
                (settled.key.clone(), settlement)
            });
            let opened = step.open.iter().map(|intent| {
                let items = intent.items.iter();
                let items = items.map(|item| (item.key.clone(), item.operation, item.checksum));
                (intent.id, items.collect())
            });
            let what = What::Committed {
                settled: settled.collect(),
                opened: opened.collect(),
                closed: step
                    .whole
                    .iter()
                    .map(|whole| whole.intent)
                    .chain(step.close.clone())
                    .collect(),
            };
            if self.world.plan.sabotage == Sabotage::ForgetDoubts {
                step.settled
                    .retain(|settled| !matches!(settled.verdict, Verdict::Unknown { .. }));
            }
            self.world.remembered.commit(lease, step).await?;
            self.world.trace.add(self.local.number, what);
            Ok(())
        }))
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.call("renew", async move || {
            self.world.remembered.renew(lease).await
        }))
    }

    fn reserve<'a>(
        &'a self,
        lease: &'a Lease,
        quota: &'a Quota,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Reserved, Reason>> {
        Box::pin(self.call("reserve", async move || {
            if self.world.plan.sabotage == Sabotage::ForgetQuota {
                let Spent { window, .. } = self.world.remembered.spent(quota).await?;
                let requests = quota.allowed.requests;
                return Ok(Reserved { requests, window });
            }
            self.world.remembered.reserve(lease, quota, wanted).await
        }))
    }

    fn give_back<'a>(
        &'a self,
        quota: &'a Quota,
        began: i64,
        unused: u32,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.call("give back", async move || {
            self.world.remembered.give_back(quota, began, unused).await
        }))
    }

    fn spent<'a>(&'a self, quota: &'a Quota) -> BoxFuture<'a, Result<Spent, Reason>> {
        self.world.remembered.spent(quota)
    }

    fn finish<'a>(
        &'a self,
        lease: &'a Lease,
        report: &'a RunReport,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.call("finish", async move || {
            self.world.remembered.finish(lease, report).await
        }))
    }
}
