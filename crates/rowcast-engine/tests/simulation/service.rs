//! The destination of a simulation: a service that takes its time, fails by chance, and goes on
//! working when the one who asked is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rowcast_core::destination::Committed;
use rowcast_core::{
    Applied, Batch, BoxFuture, Capabilities, Check, Code, Destination, Fault, Outcome, Reason,
    RunContext,
};
use rowcast_testkit::memory::text;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::plan::Sabotage;
use crate::trace::{Sent, Told, What};
use crate::world::{Local, World, lock};

/// What the service remembers beside its records.
#[derive(Debug, Default)]
pub(crate) struct Service {
    requests: AtomicU64,
    /// The newest epoch that opened it.
    epoch: AtomicI64,
    /// Batches it holds with their progress.
    held: std::sync::Mutex<std::collections::BTreeSet<(i64, i64)>>,
    /// Accepted, to become durable with `finish`.
    accepted: std::sync::Mutex<Vec<Sent>>,
    /// Requests that are being worked on.
    under_way: Arc<AtomicUsize>,
}

/// One request's share of what the service does at once.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(service: &Service) -> Self {
        service.under_way.fetch_add(1, Ordering::Relaxed);
        Self(service.under_way.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What happens to one request.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    Pass,
    Reject(Vec<usize>),
    /// No result for these.
    Unheard(Vec<usize>),
    WrongCount,
    LostBefore,
    LostAfter,
    Busy(Option<u64>),
    /// Too many requests at once.
    Crowded,
    HangBefore,
    HangAfter,
    Fatal,
    Split,
    Panic,
}

/// One process's connection to the service.
pub(crate) struct Connection {
    pub(crate) world: Arc<World>,
    pub(crate) local: Arc<Local>,
}

fn reason(text: &str) -> Reason {
    Reason::new(Code::DestinationBusy, text)
}

impl Connection {
    fn act(&self, batch: &Batch) -> Act {
        let shape = self.world.plan.shape;
        let progress = (batch.context.epoch, batch.intent);
        let holds = shape.exactly_once && lock(&self.world.service.held).contains(&progress);
        let poisoned = batch
            .records
            .iter()
            .any(|record| self.local.poison.contains(&record.key));
        if poisoned && !holds {
            return Act::Split;
        }
        let under_way = self.world.service.under_way.load(Ordering::Relaxed);
        let limited = self.local.number <= self.world.plan.processes.len();
        if shape
            .capacity
            .is_some_and(|most| limited && under_way >= most)
        {
            return Act::Crowded;
        }
        let mut chance = lock(&self.local.chance);
        if !chance.happens(self.local.faults()) {
            return Act::Pass;
        }
        let positions = |chance: &mut crate::chance::Chance| -> Vec<usize> {
            let mut some: Vec<usize> = (0..batch.records.len())
                .filter(|_| chance.happens(500))
                .collect();
            if some.is_empty() {
                some.push(0);
            }
            some
        };
        let which = chance.below(26);
        // One that keeps progress has all of a batch or nothing, and does not refuse what it has.
        match which {
            0..3 if !shape.exactly_once => Act::Reject(positions(&mut chance)),
            3..5 if !shape.exactly_once => Act::Unheard(positions(&mut chance)),
            5 if !shape.exactly_once => Act::WrongCount,
            0..8 => Act::LostBefore,
            8..13 => Act::LostAfter,
            13 => Act::Busy(None),
            14..16 => Act::Busy(Some(chance.below(120_000))),
            16 => Act::HangBefore,
            17..19 => Act::HangAfter,
            19 => Act::Fatal,
            20..22 if !holds => Act::Split,
            22 => Act::Panic,
            23..25 => Act::Busy(Some(chance.below(120_000))),
            _ => Act::Pass,
        }
    }

    /// How long a request is under way, and how long its answer.
    fn delays(&self) -> (Duration, Duration) {
        let mut chance = lock(&self.local.chance);
        let slow = self.local.process.slow && chance.happens(600);
        let ms = |chance: &mut crate::chance::Chance| {
            Duration::from_millis(chance.below(if slow { 14_000 } else { 80 }))
        };
        (ms(&mut chance), ms(&mut chance))
    }

    /// The service's own work, which nobody interrupts once it has begun.
    fn serve(
        &self,
        request: u64,
        batch: &Batch,
        act: &Act,
        delay: Duration,
        hung_up: CancellationToken,
    ) -> oneshot::Receiver<Vec<Outcome>> {
        let (answer, answered) = oneshot::channel();
        let (world, local, act) = (self.world.clone(), self.local.clone(), act.clone());
        let batch = batch.clone();
        let under_way = (act != Act::Crowded).then(|| UnderWay::new(&self.world.service));
        tokio::spawn(async move {
            let _under_way = under_way;
            let ignored = || world.trace.add(local.number, What::Ignored(request));
            tokio::select! {
                biased;
                () = hung_up.cancelled() => return ignored(),
                () = tokio::time::sleep(delay) => {}
            }
            match act {
                Act::LostBefore
                | Act::Busy(_)
                | Act::Crowded
                | Act::HangBefore
                | Act::Fatal
                | Act::Split => {
                    ignored();
                    answer.send(Vec::new()).ok();
                    return;
                }
                _ => {}
            }
            let shape = world.plan.shape;
            let epoch = batch.context.epoch;
            if shape.exactly_once && epoch != world.service.epoch.load(Ordering::Relaxed) {
                world.broken(local.number, "a write of an older epoch arrived");
                return ignored();
            }
            let refused: &[usize] = match &act {
                Act::Reject(positions) => positions,
                _ => &[],
            };
            let mut good = batch.clone();
            good.records = batch
                .records
                .iter()
                .enumerate()
                .filter(|(position, _)| !refused.contains(position))
                .map(|(_, record)| record.clone())
                .collect();
            let before = world.received.log().len();
            let mut outcomes = if good.records.is_empty() {
                Vec::new()
            } else {
                world.received.write(&good).await.unwrap_or_default()
            }
            .into_iter();
            let took = world.received.log().len() > before;
            let outcomes: Vec<Outcome> = (0..batch.records.len())
                .map(|position| {
                    if refused.contains(&position) {
                        let reason = Reason::new(Code::DestinationRejected, "refused by script");
                        return Outcome::Rejected(reason);
                    }
                    let unknown = Outcome::Unknown(reason("no result"));
                    outcomes.next().unwrap_or(unknown)
                })
                .collect();
            if shape.exactly_once {
                lock(&world.service.held).insert((epoch, batch.intent));
            }
            if shape.publishes {
                let taken = sent(&batch).into_iter().zip(&outcomes);
                lock(&world.service.accepted).extend(
                    taken
                        .filter(|(_, outcome)| **outcome == Outcome::Accepted)
                        .map(|(sent, _)| sent),
                );
            }
            // A repeated batch with progress is answered and has no effect.
            let effects = outcomes
                .iter()
                .map(|outcome| took && *outcome == Outcome::Delivered)
                .collect();
            world
                .trace
                .add(local.number, What::Applied(request, effects));
            answer.send(outcomes).ok();
        });
        answered
    }
}

fn sent(batch: &Batch) -> Vec<Sent> {
    let sent = |record: &rowcast_core::Record| Sent {
        key: record.key.clone(),
        operation: record.operation,
        identity: text(&record.match_on),
        fields: text(&record.fields),
        idempotency_key: record.idempotency_key.clone(),
        checksum: record.checksum,
    };
    batch.records.iter().map(sent).collect()
}

/// Notes that the engine hung up, when it did.
struct Waiting<'a> {
    connection: &'a Connection,
    request: u64,
    hung_up: CancellationToken,
    answered: AtomicBool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered.load(Ordering::Relaxed) {
            return;
        }
        let local = &self.connection.local;
        // A killed process says nothing: its request stays under way.
        if !local.dead.load(Ordering::Relaxed) {
            self.hung_up.cancel();
        }
        let how = "hung up".to_owned();
        let what = What::Unanswered(self.request, how);
        self.connection.world.trace.add(local.number, what);
    }
}

impl Destination for Connection {
    fn capabilities(&self) -> &Capabilities {
        self.world.received.capabilities()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        self.world.received.check()
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(async move {
            self.local.passage().await;
            if lock(&self.local.chance).happens(self.local.faults() / 4) {
                return Err(Fault::lost(reason("could not be opened, by script")));
            }
            lock(&self.world.service.accepted).clear();
            self.world
                .service
                .epoch
                .store(context.epoch, Ordering::Relaxed);
            let opened = self.world.received.open(context).await;
            self.local.passage().await;
            opened
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            let number = self.local.number;
            self.local.passage().await;
            let request = 1 + self.world.service.requests.fetch_add(1, Ordering::Relaxed);
            let records = sent(batch);
            self.world.trace.add(
                number,
                What::Requested {
                    request,
                    intent: batch.intent,
                    records,
                    leased: self.local.is_leased(self.capabilities().timeout),
                },
            );
            let act = self.act(batch);
            let (there, back) = self.delays();
            let what = What::Act(request, format!("{act:?} after {there:?} and {back:?}"));
            self.world.trace.add(number, what);
            let waiting = Waiting {
                connection: self,
                request,
                hung_up: CancellationToken::new(),
                answered: AtomicBool::new(false),
            };
            let answered = self.serve(request, batch, &act, there, waiting.hung_up.clone());
            if matches!(act, Act::HangBefore | Act::HangAfter) {
                std::future::pending::<()>().await;
            }
            let Ok(mut outcomes) = answered.await else {
                self.world
                    .broken(number, "the service stopped in the middle of a request");
                return Err(Fault::lost(reason("the service stopped")));
            };
            tokio::time::sleep(back).await;
            let fault = match act {
                Act::LostBefore | Act::LostAfter => Some(Fault::lost(reason("connection reset"))),
                Act::Busy(after) => Some(Fault::Transient {
                    after: after.map(Duration::from_millis),
                    applied: Applied::No,
                    reason: reason("429 too many requests"),
                }),
                Act::Crowded => Some(Fault::Transient {
                    after: None,
                    applied: Applied::No,
                    reason: reason("503 too many requests at once"),
                }),
                Act::Fatal => Some(Fault::fatal(Reason::new(
                    Code::DestinationAuth,
                    "401 the token was revoked",
                ))),
                Act::Split => Some(Fault::Split {
                    reason: Reason::new(Code::DestinationRejected, "one record is bad"),
                }),
                // Without the words on standard error that a panic has.
                Act::Panic => std::panic::resume_unwind(Box::new("a connector's defect")),
                _ => None,
            };
            let result = match fault {
                Some(fault) => {
                    let what = What::Unanswered(request, format!("{fault:?}"));
                    self.world.trace.add(number, what);
                    Err(fault)
                }
                None => {
                    if let Act::Unheard(positions) = &act {
                        for position in positions {
                            outcomes[*position] = Outcome::Unknown(reason("no result"));
                        }
                    }
                    if act == Act::WrongCount {
                        outcomes.pop();
                    }
                    let told = outcomes.iter().map(Told::of).collect();
                    self.world.trace.add(number, What::Answered(request, told));
                    if self.world.plan.sabotage == Sabotage::TrustSilence {
                        for outcome in &mut outcomes {
                            if matches!(outcome, Outcome::Unknown(_)) {
                                *outcome = Outcome::Delivered;
                            }
                        }
                    }
                    Ok(outcomes)
                }
            };
            waiting.answered.store(true, Ordering::Relaxed);
            self.local.passage().await;
            result
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let number = self.local.number;
            self.local.passage().await;
            let (lost, after) = {
                let mut chance = lock(&self.local.chance);
                (chance.happens(self.local.faults()), chance.happens(500))
            };
            if lost && !after {
                self.world.trace.add(number, What::PublishAnswered(false));
                return Err(Fault::lost(reason("nothing was published, by script")));
            }
            let accepted = std::mem::take(&mut *lock(&self.world.service.accepted));
            self.world.received.finish().await?;
            self.world.trace.add(number, What::Published(accepted));
            self.local.passage().await;
            self.world.trace.add(number, What::PublishAnswered(!lost));
            if lost {
                return Err(Fault::lost(reason("the answer was lost, by script")));
            }
            Ok(())
        })
    }
}
