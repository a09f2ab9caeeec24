//! Everything else a user sees of a run: first runs, faults, cancels, limits.

mod world;

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::destination::Rate;
use rowcast_core::{Code, Key, Ledger, RunStatus};
use rowcast_engine::{Limiter, preview, run};
use rowcast_testkit::faulty::Act;
use world::{Shape, World};

#[tokio::test(start_paused = true)]
async fn a_first_run_delivers_everything_and_a_second_writes_and_sends_nothing() {
    let world = World::filled(2_500, Shape::default());
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.status, report.failure),
        (RunStatus::Succeeded, None)
    );
    assert_eq!((report.delivered, report.requests), (2_500, 25));
    assert!(world.is_mirrored());
    let commits = world.ledger.memory().commits;
    let report = world.run().await.unwrap();
    assert_eq!((report.status, report.requests), (RunStatus::Succeeded, 0));
    assert_eq!(world.ledger.memory().commits, commits);
}

#[tokio::test(start_paused = true)]
async fn a_preview_and_a_dry_run_send_and_write_nothing() {
    let world = World::filled(250, Shape::default());
    world.ledger.edit(|table| table.put(3, "invalid"));
    let preview = preview(&world.input()).await.unwrap();
    assert_eq!(preview.report.invalid, 1);
    assert_eq!((preview.report.pending, preview.calls), (249, 3));
    assert_eq!(preview.requests, ["upsert 100 records"]);
    assert_eq!(preview.samples.len(), 10);
    let report = world.run_with(|input| input.options.dry_run = true).await;
    assert_eq!(report.pending, 249);
    assert_eq!((world.memory.requests(), world.ledger.memory().run), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_preview_shows_requests_in_the_order_of_a_run() {
    let world = World::filled(30, Shape::default());
    world.run().await.unwrap();
    world.ledger.edit(|table| {
        table.rows.remove(&1);
        table.put(2, "changed");
    });
    let preview = preview(&world.input()).await.unwrap();
    assert_eq!(preview.requests, ["delete 1 records", "upsert 1 records"]);
}

#[tokio::test(start_paused = true)]
async fn transient_faults_are_waited_out_and_retry_after_pauses_everything() {
    let world = World::filled(
        4,
        Shape {
            batch: 1,
            concurrency: 2,
            ..Shape::default()
        },
    );
    world
        .destination
        .play([Act::Busy(Some(Duration::from_secs(600))), Act::LostBefore]);
    let began = tokio::time::Instant::now();
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.status, report.retries, report.requests),
        (RunStatus::Succeeded, 2, 6)
    );
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_secs(600) && waited < Duration::from_secs(605),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_keeps_failing_ends_the_run_and_loses_nothing() {
    let world = World::filled(
        400,
        Shape {
            batch: 10,
            concurrency: 2,
            attempts: 3,
            ..Shape::default()
        },
    );
    world.destination.play(vec![Act::Busy(None); 100]);
    let report = world.run().await.unwrap();
    assert_eq!(report.failure.unwrap().code, Code::RetriesExhausted);
    assert_eq!(
        (report.delivered, report.pending, report.unknown),
        (0, 400, 0)
    );
    assert!(report.requests <= 6);
    assert!(world.ledger.memory().intents.is_empty());
    world.destination.play([]);
    assert_eq!(world.run().await.unwrap().delivered, 400);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_keeps_its_progress_and_ends_within_ten_seconds() {
    let world = World::filled(
        400,
        Shape {
            batch: 10,
            concurrency: 2,
            ..Shape::default()
        },
    );
    let mut acts = vec![Act::Pass; 8];
    acts.extend([Act::Cancel, Act::HangAfter, Act::HangAfter]);
    world.destination.play(acts);
    let began = tokio::time::Instant::now();
    let report = world.run().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(report.status, RunStatus::Cancelled);
    assert!(report.delivered >= 80 && report.delivered < 400);
    let memory = world.ledger.memory();
    assert_eq!(
        memory.state.len() - memory.doubts.len(),
        report.delivered as usize
    );
    assert!(memory.intents.is_empty());
    assert_eq!(report.unknown as usize, memory.doubts.len());
    world.destination.play([]);
    world.run().await.unwrap();
    assert!(world.is_mirrored());
}

#[tokio::test(start_paused = true)]
async fn budgets_leave_the_rest_to_the_next_run() {
    let world = World::filled(
        300,
        Shape {
            batch: 10,
            concurrency: 1,
            ..Shape::default()
        },
    );
    let report = world
        .run_with(|input| input.plan.records_max = Some(55))
        .await;
    assert_eq!(
        (report.status, report.delivered, report.pending),
        (RunStatus::Succeeded, 55, 245)
    );
    assert!(report.notes[0].contains("run.max_records"));
    world
        .destination
        .play(vec![Act::Slow(Duration::from_secs(10)); 100]);
    let limit = Duration::from_secs(95);
    let report = world
        .run_with(|input| input.plan.duration_max = Some(limit))
        .await;
    assert_eq!(
        (report.status, report.delivered),
        (RunStatus::Succeeded, 100)
    );
    assert_eq!(report.pending, 145);
    let report = world
        .run_with(|input| input.options.diff.limit = Some(10))
        .await;
    assert_eq!((report.delivered, report.pending), (10, 135));
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_holds_over_every_period() {
    let world = World::filled(
        35,
        Shape {
            batch: 1,
            ..Shape::default()
        },
    );
    let rate = Rate {
        requests: 10,
        per: Duration::from_secs(1),
    };
    let began = tokio::time::Instant::now();
    world
        .run_with(|input| input.limiter = Arc::new(Limiter::new(Some(rate))))
        .await;
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(4),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connector_with_a_wrong_count_or_a_panic_fails_the_run_and_leaves_doubts() {
    for act in [Act::WrongCount, Act::Panic] {
        let world = World::filled(5, Shape::default());
        world.destination.play([act]);
        let report = world.run().await.unwrap();
        assert_eq!(report.failure.unwrap().code, Code::Defect);
        assert_eq!(world.ledger.memory().doubts.len(), 5);
        world.run().await.unwrap();
        assert!(world.is_mirrored());
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_the_destination_takes_is_rejected_unsent() {
    let world = World::filled(3, Shape::default());
    world
        .ledger
        .edit(|table| table.put(1, &"x".repeat(2 << 20)));
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.delivered, report.rejected, report.requests),
        (2, 1, 1)
    );
    assert_eq!(
        world.ledger.memory().rejects[&Key::int(1)].reason.code,
        Code::RecordTooLarge
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_run_of_the_same_sync_is_refused() {
    let world = World::filled(1, Shape::default());
    world
        .ledger
        .open(&rowcast_core::ledger::OpenRequest::default())
        .await
        .unwrap();
    assert_eq!(
        run(world.input()).await.unwrap_err().code,
        Code::SyncRunning
    );
}
