//! What a run does, seen from the destination and the ledger.

use std::sync::Arc;

use rowcast_core::sync::{Backoff, SyncPlan};
use rowcast_core::{Mode, RunStatus, Selection};
use rowcast_engine::{RunInput, run};
use rowcast_testkit::memory::{MemoryDestination, MemoryLedger, MemorySync, TableMapper};

fn plan(mode: Mode) -> SyncPlan {
    SyncPlan {
        name: "customers".into(),
        object: "contact".into(),
        key_columns: vec!["id".into()],
        mode,
        on: Selection::default(),
        guards: rowcast_core::guard::Guards::default(),
        overrides: Vec::new(),
        tracks_match: false,
        keep_rows: false,
        records_max: None,
        duration_max: None,
        backoff: Backoff::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_run_delivers_everything_and_a_second_nothing() {
    let ledger = MemoryLedger::new(MemorySync::default());
    ledger.edit(|table| (0..2_500).for_each(|id| table.put(id, "a")));
    let destination = Arc::new(MemoryDestination::new(100, 4));
    let mapper = Arc::new(TableMapper::default());
    let input = RunInput::new(
        ledger.clone(),
        destination.clone(),
        mapper.clone(),
        plan(Mode::Mirror),
    );
    let report = run(input.clone()).await.unwrap();
    assert_eq!(report.failure, None);
    assert_eq!(report.status, RunStatus::Succeeded);
    assert_eq!(report.delivered, 2_500);
    assert_eq!(destination.requests(), 25);
    let table = ledger.table.lock().unwrap().clone();
    assert_eq!(destination.records(), table.mirror(&mapper));
    let commits = ledger.memory().commits;
    let report = run(input).await.unwrap();
    assert_eq!(
        (report.status, report.delivered, report.requests),
        (RunStatus::Succeeded, 0, 0)
    );
    assert_eq!(ledger.memory().commits, commits);
    assert!(ledger.memory().announced_peak <= 1_000);
}
