//! Wrappers that fail by script: what services, networks and processes do to a run.
//!
//! A lost answer *after* the write is the fault that most tools get wrong, so it is a first-class
//! act here, and a crash can happen before and after every call.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rowcast_core::destination::{Committed, ObjectSchema};
use rowcast_core::ledger::{ChangeSet, DiffRequest, OpenRequest, Opened, Step};
use rowcast_core::quota::{Quota, Reserved, Spent};
use rowcast_core::{
    Applied, Batch, BoxFuture, Capabilities, Check, Code, Destination, Fault, Key, Lease, Ledger,
    Outcome, Reason, RunContext, RunReport,
};
use tokio::sync::Notify;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a destination does with one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Writes and answers.
    Pass,
    /// Writes all but these positions, which it refuses.
    Reject(Vec<usize>),
    /// Writes nothing; the answer is lost.
    LostBefore,
    /// Writes everything; the answer is lost.
    LostAfter,
    /// Refuses for now, with or without a time to come back.
    Busy(Option<Duration>),
    /// Writes everything but gives no result for these positions.
    Unheard(Vec<usize>),
    /// Writes everything and gives one outcome too few.
    WrongCount,
    /// Writes nothing and never answers.
    HangBefore,
    /// Writes everything and never answers.
    HangAfter,
    /// Writes and answers after a while.
    Slow(Duration),
    /// Refuses for good.
    Fatal,
    /// Refuses whole: halves are tried.
    Split,
    /// Someone cancels the run during the write.
    Cancel,
    /// A defect in the connector.
    Panic,
}

/// What a destination does when it is to publish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Finish {
    #[default]
    Pass,
    /// Publishes nothing and never answers.
    HangBefore,
    /// Publishes everything and never answers.
    HangAfter,
    /// Someone cancels the run; then it never answers.
    CancelAndHang,
}

/// A process that ends at its n-th passage of a place between two steps.
#[derive(Debug, Default)]
pub struct Crash {
    left: Mutex<Option<u32>>,
    fired: Notify,
}

impl Crash {
    /// Ends the process at the `nth` passage from now (from 1); `None`: never.
    pub fn arm(&self, nth: Option<u32>) {
        *lock(&self.left) = nth;
    }

    /// Ends when the process ends.
    pub async fn fired(&self) {
        while *lock(&self.left) != Some(0) {
            self.fired.notified().await;
        }
    }

    /// A place at which the process may end.
    pub async fn pass(&self) {
        let dead = match &mut *lock(&self.left) {
            None => false,
            // The process is gone: nothing goes on.
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                *left == 0
            }
        };
        if dead {
            self.fired.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// A destination that plays a script, then behaves.
pub struct FaultyDestination {
    inner: Arc<dyn Destination>,
    script: Mutex<VecDeque<Act>>,
    finish: Mutex<Finish>,
    /// Records with these keys are refused, and the batch with them.
    poison: Mutex<BTreeSet<Key>>,
    on_cancel: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
    crash: Arc<Crash>,
}

impl FaultyDestination {
    /// Wraps a destination.
    pub fn new(inner: Arc<dyn Destination>, crash: Arc<Crash>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            script: Mutex::default(),
            finish: Mutex::default(),
            poison: Mutex::default(),
            on_cancel: Mutex::default(),
            crash,
        })
    }

    /// The acts of the next writes.
    pub fn play(&self, acts: impl IntoIterator<Item = Act>) {
        *lock(&self.script) = acts.into_iter().collect();
    }

    /// What happens at the next publication.
    pub fn play_finish(&self, finish: Finish) {
        *lock(&self.finish) = finish;
    }

    /// Batches that hold one of these keys are refused whole; alone such a record is refused too.
    pub fn poison(&self, keys: impl IntoIterator<Item = Key>) {
        *lock(&self.poison) = keys.into_iter().collect();
    }

    /// What `Act::Cancel` and `Finish::CancelAndHang` call.
    pub fn on_cancel(&self, cancel: impl Fn() + Send + Sync + 'static) {
        *lock(&self.on_cancel) = Some(Box::new(cancel));
    }

    fn cancel(&self) {
        if let Some(cancel) = &*lock(&self.on_cancel) {
            cancel();
        }
    }

    async fn part(&self, batch: &Batch, refused: &[usize]) -> Result<Vec<Outcome>, Fault> {
        let mut good = batch.clone();
        let mut position = 0;
        good.records.retain(|_| {
            position += 1;
            !refused.contains(&(position - 1))
        });
        let mut outcomes = if good.records.is_empty() {
            Vec::new()
        } else {
            self.inner.write(&good).await?
        }
        .into_iter();
        Ok((0..batch.records.len())
            .map(|position| {
                if refused.contains(&position) {
                    Outcome::Rejected(Reason::new(Code::DestinationRejected, "refused by script"))
                } else {
                    outcomes
                        .next()
                        .unwrap_or_else(|| Outcome::Unknown(reason("no result")))
                }
            })
            .collect())
    }
}

fn reason(text: &str) -> Reason {
    Reason::new(Code::DestinationBusy, text)
}

impl Destination for FaultyDestination {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        self.inner.check()
    }

    fn prepare(&self) -> BoxFuture<'_, Result<Option<ObjectSchema>, Fault>> {
        self.inner.prepare()
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(async move {
            self.crash.pass().await;
            self.inner.open(context).await
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            self.crash.pass().await;
            let poisoned = {
                let poison = lock(&self.poison);
                batch
                    .records
                    .iter()
                    .any(|record| poison.contains(&record.key))
            };
            if poisoned {
                return Err(Fault::Split {
                    reason: Reason::new(Code::DestinationRejected, "one record is bad"),
                });
            }
            let act = lock(&self.script).pop_front().unwrap_or(Act::Pass);
            let answer = match act {
                Act::Pass => self.inner.write(batch).await,
                Act::Reject(positions) => self.part(batch, &positions).await,
                Act::LostBefore => Err(Fault::lost(reason("connection reset"))),
                Act::LostAfter => {
                    self.inner.write(batch).await?;
                    Err(Fault::lost(reason("connection reset after the write")))
                }
                Act::Busy(after) => Err(Fault::Transient {
                    after,
                    applied: Applied::No,
                    reason: reason("429 too many requests"),
                }),
                Act::Unheard(positions) => {
                    let mut outcomes = self.inner.write(batch).await?;
                    for position in positions {
                        if let Some(outcome) = outcomes.get_mut(position) {
                            *outcome = Outcome::Unknown(reason("no result for this record"));
                        }
                    }
                    Ok(outcomes)
                }
                Act::WrongCount => {
                    let mut outcomes = self.inner.write(batch).await?;
                    outcomes.pop();
                    Ok(outcomes)
                }
                Act::HangBefore => std::future::pending().await,
                Act::HangAfter => {
                    self.inner.write(batch).await?;
                    std::future::pending().await
                }
                Act::Slow(wait) => {
                    tokio::time::sleep(wait).await;
                    self.inner.write(batch).await
                }
                Act::Fatal => Err(Fault::fatal(Reason::new(
                    Code::DestinationAuth,
                    "401 the token was revoked",
                ))),
                Act::Split => Err(Fault::Split {
                    reason: Reason::new(Code::DestinationRejected, "413 too large"),
                }),
                Act::Cancel => {
                    self.cancel();
                    self.inner.write(batch).await
                }
                Act::Panic => panic!("a connector's defect, by script"),
            };
            self.crash.pass().await;
            answer
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            self.crash.pass().await;
            let act = std::mem::take(&mut *lock(&self.finish));
            let finished = match act {
                Finish::Pass => self.inner.finish().await,
                Finish::HangBefore => std::future::pending().await,
                Finish::HangAfter => {
                    self.inner.finish().await?;
                    std::future::pending().await
                }
                Finish::CancelAndHang => {
                    self.cancel();
                    std::future::pending().await
                }
            };
            self.crash.pass().await;
            finished
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        self.inner.render(batch)
    }
}

/// What a ledger does with one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Pass,
    /// Nothing was committed, and the caller is told.
    FailBefore,
    /// Everything was committed; the answer is lost.
    FailAfter,
    /// Another run takes the lease over just before.
    TakenOver,
}

/// A ledger that plays a script, and at which the process can end.
pub struct FaultyLedger {
    pub inner: Arc<crate::memory::MemoryLedger>,
    script: Mutex<VecDeque<Commit>>,
    crash: Arc<Crash>,
}

impl FaultyLedger {
    /// Wraps a ledger.
    pub fn new(inner: Arc<crate::memory::MemoryLedger>, crash: Arc<Crash>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            script: Mutex::default(),
            crash,
        })
    }

    /// What happens at the next steps.
    pub fn play(&self, script: impl IntoIterator<Item = Commit>) {
        *lock(&self.script) = script.into_iter().collect();
    }
}

impl Ledger for FaultyLedger {
    fn open<'a>(&'a self, request: &'a OpenRequest) -> BoxFuture<'a, Result<Opened, Reason>> {
        Box::pin(async move {
            let opened = self.inner.open(request).await;
            self.crash.pass().await;
            opened
        })
    }

    fn recover<'a>(
        &'a self,
        lease: &'a Lease,
        committed: &'a [Committed],
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            self.crash.pass().await;
            let recovered = self.inner.recover(lease, committed).await;
            self.crash.pass().await;
            recovered
        })
    }

    fn changes<'a>(
        &'a self,
        lease: Option<&'a Lease>,
        request: &'a DiffRequest,
    ) -> BoxFuture<'a, Result<ChangeSet, Reason>> {
        Box::pin(async move {
            let changes = self.inner.changes(lease, request).await;
            self.crash.pass().await;
            changes
        })
    }

    fn commit<'a>(&'a self, lease: &'a Lease, step: Step) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            self.crash.pass().await;
            let lost = || Err(Reason::new(Code::ConnectionLost, "the server went away"));
            let act = lock(&self.script).pop_front();
            let committed = match act.unwrap_or(Commit::Pass) {
                Commit::Pass => self.inner.commit(lease, step).await,
                Commit::FailBefore => lost(),
                Commit::FailAfter => {
                    self.inner.commit(lease, step).await?;
                    lost()
                }
                Commit::TakenOver => {
                    self.inner.take_over();
                    self.inner.commit(lease, step).await
                }
            };
            self.crash.pass().await;
            committed
        })
    }

    fn reserve<'a>(
        &'a self,
        lease: &'a Lease,
        quota: &'a Quota,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Reserved, Reason>> {
        Box::pin(async move {
            self.crash.pass().await;
            let reserved = self.inner.reserve(lease, quota, wanted).await;
            self.crash.pass().await;
            reserved
        })
    }

    fn give_back<'a>(
        &'a self,
        quota: &'a Quota,
        began: i64,
        unused: u32,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        self.inner.give_back(quota, began, unused)
    }

    fn spent<'a>(&'a self, quota: &'a Quota) -> BoxFuture<'a, Result<Spent, Reason>> {
        self.inner.spent(quota)
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Reason>> {
        self.inner.renew(lease)
    }

    fn finish<'a>(
        &'a self,
        lease: &'a Lease,
        report: &'a RunReport,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            self.crash.pass().await;
            let finished = self.inner.finish(lease, report).await;
            self.crash.pass().await;
            finished
        })
    }
}
