//! A whole world on virtual time: one table, one ledger, one service, several engines that start,
//! die, are cancelled and take over from each other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rowcast_core::destination::Rate;
use rowcast_core::guard::{Guard, Guards};
use rowcast_core::sync::{Backoff, RetryPolicy, SyncPlan};
use rowcast_core::{BoxFuture, Key, Lease, Mode, Quota, RunStatus, Selection};
use rowcast_engine::{CancellationToken, Clock, Limiter, RunInput, run};
use rowcast_testkit::memory::{MemoryDestination, MemoryLedger, MemorySync, Table, TableMapper};
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::laws::{self, Violation};
use crate::memory::Remembered;
use crate::plan::{Ends, Plan, Process};
use crate::service::{Connection, Service};
use crate::trace::{Event, Rows, Trace, What};

/// Longer than any lease.
const QUIET: Duration = Duration::from_secs(600);

/// The windows of a quota: some ends are waited for, others end the run.
pub(crate) const QUOTA_WINDOW: Duration = Duration::from_secs(180);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) remembered: Arc<MemoryLedger>,
    pub(crate) received: MemoryDestination,
    pub(crate) service: Service,
    mapper: Arc<TableMapper>,
    limiter: Arc<Limiter>,
}

/// What one process has of its own.
pub(crate) struct Local {
    pub(crate) number: usize,
    pub(crate) process: Process,
    pub(crate) chance: Mutex<Chance>,
    pub(crate) dead: AtomicBool,
    pub(crate) lease: Mutex<Option<Arc<Lease>>>,
    pub(crate) poison: BTreeSet<Key>,
    passages_left: Mutex<u64>,
    killed: Notify,
    began: tokio::time::Instant,
}

impl Local {
    /// A place between two steps, at which the process may be killed.
    pub(crate) async fn passage(&self) {
        if self.dead.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let last = {
            let mut left = lock(&self.passages_left);
            *left = left.saturating_sub(1);
            *left == 0
        };
        if last {
            self.dead.store(true, Ordering::Relaxed);
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn faults(&self) -> u64 {
        self.process.faults
    }

    pub(crate) fn ledger_faults(&self) -> u64 {
        self.process.ledger_faults
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        let now = self.began.elapsed().as_millis() as u64;
        self.process
            .cut_off_ms
            .is_some_and(|(from, to)| (from..to).contains(&now))
    }

    /// Whether a request that starts now ends before the lease does.
    pub(crate) fn is_leased(&self, timeout: Duration) -> bool {
        let now = tokio::time::Instant::now().into_std();
        lock(&self.lease)
            .as_ref()
            .is_some_and(|lease| lease.outlives(now, timeout))
    }
}

/// The engine's clock: virtual, and its waits are written down.
struct SimulatedClock {
    world: Arc<World>,
    number: usize,
    began: tokio::time::Instant,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn now_us(&self) -> i64 {
        1_700_000_000_000_000 + self.began.elapsed().as_micros() as i64
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let us = duration.as_micros() as u64;
        self.world.trace.add(self.number, What::Sleeps(us));
        Box::pin(tokio::time::sleep(duration))
    }
}

impl World {
    fn new(plan: Plan) -> Arc<Self> {
        let shape = plan.shape;
        let mut received = MemoryDestination::new(shape.batch, shape.concurrency);
        received.capabilities.publishes = shape.publishes;
        received.capabilities.exactly_once = shape.exactly_once;
        let per = Duration::from_secs(1);
        received.capabilities.rate = shape.rate.map(|requests| Rate { requests, per });
        Arc::new(Self {
            remembered: MemoryLedger::new(MemorySync {
                mode: shape.mode,
                tracks_match: shape.match_on_email,
                rewinds: shape.rewinds,
                // Rejects stay due: the law is about what happens when they are tried.
                retry: RetryPolicy {
                    runs: 1_000,
                    within: Duration::MAX,
                },
                ..MemorySync::default()
            }),
            limiter: Arc::new(Limiter::new(received.capabilities.rate)),
            received,
            service: Service::default(),
            mapper: Arc::new(TableMapper {
                match_on_email: shape.match_on_email,
            }),
            trace: Trace::new(),
            plan,
        })
    }

    fn table(&self) -> Table {
        lock(&self.remembered.table).clone()
    }

    pub(crate) fn broken(&self, number: usize, what: &str) {
        self.trace.add(number, What::Broken(what.to_owned()));
    }

    /// What each row of the table is at the destination, and how many rows a run reads.
    pub(crate) fn rows(&self) -> (Rows, u64) {
        let table = self.table();
        let read = table.rows.len() as u64 + table.null_keys;
        let one = |(id, row): (&i64, &(String, String))| {
            let mut only = Table::default();
            only.rows.insert(*id, row.clone());
            let record = only.mirror(&self.mapper).pop_first()?;
            Some((Key::int(*id), record))
        };
        (table.rows.iter().filter_map(one).collect(), read)
    }

    fn input(self: &Arc<Self>, local: &Arc<Local>, cancel: CancellationToken) -> RunInput {
        let (world, local) = (self.clone(), local.clone());
        let shape = self.plan.shape;
        let process = local.process.clone();
        let plan = SyncPlan {
            name: "customers".into(),
            object: "contact".into(),
            key_columns: vec!["id".into()],
            mode: shape.mode,
            on: Selection::default(),
            gate: rowcast_core::Gate::default(),
            batching: rowcast_core::segment::Batching::default(),
            guards: Guards::default(),
            overrides: vec![Guard::Empty],
            tracks_match: shape.match_on_email,
            keep_rows: false,
            records_max: process.records_max,
            duration_max: process.duration_max_s.map(Duration::from_secs),
            backoff: Backoff {
                attempts: shape.attempts,
                ..Backoff::default()
            },
        };
        let number = local.number;
        let began = local.began;
        let ledger = Arc::new(Remembered {
            world: world.clone(),
            local: local.clone(),
        });
        let destination = Arc::new(Connection {
            world: world.clone(),
            local,
        });
        let mut input = RunInput::new(ledger, destination, self.mapper.clone(), plan);
        if shape.match_on_email {
            input.match_fields = vec!["email".into()];
        }
        input.limiter = self.limiter.clone();
        // In the end everything is delivered, so then there is none.
        let limited = number <= self.plan.processes.len();
        input.quota = shape.quota.filter(|_| limited).map(|requests| Quota {
            account: "crm".into(),
            allowed: Rate {
                requests,
                per: QUOTA_WINDOW,
            },
        });
        input.clock = Arc::new(SimulatedClock {
            world,
            number,
            began,
        });
        input.cancel = cancel;
        input.options.open.wait = process.waits;
        input.options.open.full = process.full;
        input
    }

    /// One process, from its start to its end.
    async fn live(self: Arc<Self>, number: usize, process: Process) -> Option<RunStatus> {
        tokio::time::sleep(Duration::from_millis(process.starts_ms)).await;
        let passages = match process.ends {
            Ends::AtPassage(nth) => nth,
            _ => u64::MAX,
        };
        let local = Arc::new(Local {
            number,
            chance: Mutex::new(Chance::new(process.seed)),
            dead: AtomicBool::new(false),
            lease: Mutex::default(),
            poison: process.poison.iter().map(|id| Key::int(*id)).collect(),
            passages_left: Mutex::new(passages),
            killed: Notify::new(),
            began: tokio::time::Instant::now(),
            process,
        });
        self.trace.add(number, What::Started);
        let cancel = CancellationToken::new();
        let mut running = Box::pin(run(self.input(&local, cancel.clone())));
        let after = |ms| tokio::time::sleep(Duration::from_millis(ms));
        let result = tokio::select! {
            biased;
            () = local.killed.notified() => None,
            () = async {
                match local.process.ends {
                    Ends::AfterMs(ms) => after(ms).await,
                    Ends::CancelledAfterMs(ms) => {
                        after(ms).await;
                        self.trace.add(number, What::Cancelled);
                        cancel.cancel();
                        std::future::pending::<()>().await;
                    }
                    _ => std::future::pending::<()>().await,
                }
            } => None,
            result = &mut running => Some(result),
        };
        let Some(result) = result else {
            local.dead.store(true, Ordering::Relaxed);
            self.trace.add(number, What::Killed("by script"));
            drop(running);
            return None;
        };
        match result {
            Ok(report) => {
                let status = report.status;
                self.trace.add(number, What::Ended(Box::new(report)));
                Some(status)
            }
            Err(reason) => {
                self.trace.add(number, What::Refused(reason.to_string()));
                None
            }
        }
    }

    /// Everything in the plan.
    async fn happen(self: &Arc<Self>) {
        let mut tasks = tokio::task::JoinSet::new();
        for (index, process) in self.plan.processes.iter().enumerate() {
            tasks.spawn(self.clone().live(index + 1, process.clone()));
        }
        let world = self.clone();
        tasks.spawn(async move {
            let began = tokio::time::Instant::now();
            for (at, edit) in &world.plan.edits {
                tokio::time::sleep_until(began + Duration::from_millis(*at)).await;
                world.trace.add(0, What::Edited(format!("{edit:?}")));
                world.remembered.edit(|table| edit.apply(table));
            }
            None
        });
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                self.broken(0, &format!("a process panicked: {error}"));
            }
        }
        tokio::time::sleep(QUIET).await;
    }

    /// Runs without faults until nothing is left to do.
    async fn settle(self: &Arc<Self>) {
        let email = self.plan.shape.match_on_email;
        self.remembered.edit(|table| {
            // What can't be delivered by its nature is no part of the law.
            table.null_keys = 0;
            let mut seen = BTreeSet::new();
            table.rows.retain(|_, (address, name)| {
                name != "invalid" && (!email || seen.insert(address.clone()))
            });
        });
        self.trace.add(0, What::Edited("the rest is clean".into()));
        let clean = Process {
            seed: 0,
            starts_ms: 0,
            waits: true,
            faults: 0,
            ledger_faults: 0,
            slow: false,
            renewals_fail: false,
            ends: Ends::Never,
            cut_off_ms: None,
            full: false,
            records_max: None,
            duration_max_s: None,
            poison: Vec::new(),
        };
        let first = self.plan.processes.len() + 1;
        for number in first..first + 4 {
            let status = self.clone().live(number, clean.clone()).await;
            if status != Some(RunStatus::Succeeded) {
                self.broken(number, &format!("a run without faults was {status:?}"));
            }
        }
        let memory = self.remembered.memory();
        self.trace.add(
            0,
            What::Final {
                mirror: self.table().mirror(&self.mapper),
                mirrors: self.plan.shape.mode == Mode::Mirror,
                state: memory.state.keys().cloned().collect(),
                open: memory.intents.len() + memory.doubts.len() + memory.rejects.len(),
            },
        );
    }
}

/// Plays a plan and returns everything that happened.
pub(crate) fn play(plan: &Plan) -> Vec<Event> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let plan = plan.clone();
    runtime.block_on(async move {
        let world = World::new(plan);
        let hour = Duration::from_secs(24 * 3_600);
        let story = async {
            world.happen().await;
            world.settle().await;
        };
        if tokio::time::timeout(hour, story).await.is_err() {
            world.broken(0, "something hangs: a virtual day has passed");
        }
        world.trace.take()
    })
}

/// The first law that a plan breaks, with the trace.
pub(crate) fn judge(plan: &Plan) -> Result<Vec<Event>, (Violation, Vec<Event>)> {
    let events = play(plan);
    let judged = laws::check(&events, plan.shape)
        .and_then(|()| laws::within_quota(&events, plan.shape, plan.processes.len()));
    match judged {
        Ok(()) => Ok(events),
        Err(violation) => Err((violation, events)),
    }
}

/// The smallest plan that still breaks a law.
pub(crate) fn shrink(plan: &Plan) -> Plan {
    let mut smallest = plan.clone();
    while let Some(smaller) = smallest
        .smaller()
        .into_iter()
        .find(|plan| judge(plan).is_err())
    {
        smallest = smaller;
    }
    smallest
}
