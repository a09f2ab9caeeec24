//! A sync with everything it touches, in memory, for the tests of this folder.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its part"
)]

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::guard::{Guard, Guards};
use rowcast_core::sync::{Backoff, RetryPolicy, SyncPlan};
use rowcast_core::{Mode, RunReport, Selection};
use rowcast_engine::{CancellationToken, RunInput, run};
use rowcast_testkit::faulty::{Crash, FaultyDestination, FaultyLedger};
use rowcast_testkit::memory::{MemoryDestination, MemoryLedger, MemorySync, Table, TableMapper};

/// A sync with everything it touches.
pub struct World {
    pub ledger: Arc<MemoryLedger>,
    pub faulty_ledger: Arc<FaultyLedger>,
    pub memory: Arc<MemoryDestination>,
    pub destination: Arc<FaultyDestination>,
    pub crash: Arc<Crash>,
    pub mapper: Arc<TableMapper>,
    pub mode: Mode,
    attempts: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub mode: Mode,
    pub match_on_email: bool,
    pub rewinds: bool,
    pub publishes: bool,
    pub exactly_once: bool,
    pub batch: usize,
    pub concurrency: usize,
    /// Attempts of one batch.
    pub attempts: u32,
    /// Following runs that try a reject again.
    pub retry_runs: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            mode: Mode::Mirror,
            match_on_email: false,
            rewinds: true,
            publishes: false,
            exactly_once: false,
            batch: 100,
            concurrency: 4,
            attempts: 8,
            retry_runs: 5,
        }
    }
}

impl World {
    pub fn new(shape: Shape) -> Self {
        let crash = Arc::new(Crash::default());
        let ledger = MemoryLedger::new(MemorySync {
            mode: shape.mode,
            tracks_match: shape.match_on_email,
            rewinds: shape.rewinds,
            retry: RetryPolicy {
                runs: shape.retry_runs,
                within: Duration::MAX,
            },
            ..MemorySync::default()
        });
        let mut memory = MemoryDestination::new(shape.batch, shape.concurrency);
        memory.capabilities.publishes = shape.publishes;
        memory.capabilities.exactly_once = shape.exactly_once;
        let memory = Arc::new(memory);
        Self {
            faulty_ledger: FaultyLedger::new(ledger.clone(), crash.clone()),
            destination: FaultyDestination::new(memory.clone(), crash.clone()),
            mapper: Arc::new(TableMapper {
                match_on_email: shape.match_on_email,
            }),
            mode: shape.mode,
            attempts: shape.attempts,
            ledger,
            memory,
            crash,
        }
    }

    /// A world whose table has `rows` rows named `a`.
    pub fn filled(rows: i64, shape: Shape) -> Self {
        let world = Self::new(shape);
        world
            .ledger
            .edit(|table| (0..rows).for_each(|id| table.put(id, "a")));
        world
    }

    /// Whether the destination holds exactly the model's rows.
    pub fn is_mirrored(&self) -> bool {
        self.memory.records() == self.table().mirror(&self.mapper)
    }

    pub fn input(&self) -> RunInput {
        let tracks_match = self.mapper.match_on_email;
        let plan = SyncPlan {
            name: "customers".into(),
            object: "contact".into(),
            key_columns: vec!["id".into()],
            mode: self.mode,
            on: Selection::default(),
            gate: rowcast_core::Gate::default(),
            batching: rowcast_core::segment::Batching::default(),
            guards: Guards::default(),
            overrides: vec![Guard::Empty],
            tracks_match,
            keep_rows: false,
            records_max: None,
            duration_max: None,
            backoff: Backoff {
                attempts: self.attempts,
                ..Backoff::default()
            },
        };
        let mut input = RunInput::new(
            self.faulty_ledger.clone(),
            self.destination.clone(),
            self.mapper.clone(),
            plan,
        );
        if tracks_match {
            input.match_fields = vec!["email".into()];
        }
        input.cancel = CancellationToken::new();
        let cancel = input.cancel.clone();
        self.destination.on_cancel(move || cancel.cancel());
        input
    }

    /// A run of the sync as it is.
    pub async fn run_with(&self, change: impl FnOnce(&mut RunInput)) -> RunReport {
        let mut input = self.input();
        change(&mut input);
        run(input).await.expect("the lease is free")
    }

    /// One run; `None` when the process ended before it did.
    pub async fn run(&self) -> Option<RunReport> {
        let report = tokio::select! {
            biased;
            () = self.crash.fired() => None,
            report = run(self.input()) => Some(report.expect("the lease is free")),
        };
        self.crash.arm(None);
        self.ledger.crash();
        report
    }

    pub fn table(&self) -> Table {
        self.ledger.table.lock().unwrap().clone()
    }
}
