//! Rules 13 to 28: leases, publication, modes, guards, counting, bisection, plans.

mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use rowcast_core::ledger::OpenRequest;

use rowcast_core::settle::{Settled, Verdict};
use rowcast_core::{Code, Key, Ledger, Mode, RunStatus};
use rowcast_engine::{Observer, preview};
use rowcast_testkit::faulty::{Act, Commit, Finish};
use world::{Shape, World};

#[tokio::test(start_paused = true)]
async fn rule_13_a_run_whose_lease_is_taken_over_stops_and_writes_nothing_more() {
    let world = World::filled(
        500,
        Shape {
            batch: 10,
            concurrency: 1,
            ..Shape::default()
        },
    );
    world.faulty_ledger.play([Commit::Pass, Commit::TakenOver]);
    let report = world.run().await.unwrap();
    assert_eq!(report.status, RunStatus::Failed);
    assert_eq!(report.failure.unwrap().code, Code::LeaseLost);
    assert!(world.ledger.memory().reports.is_empty());
    assert!(world.memory.requests() <= 20);
    world.run().await.unwrap();
    assert!(world.is_mirrored());
}

#[tokio::test(start_paused = true)]
async fn rule_13_the_lease_is_renewed_while_a_slow_destination_works() {
    let world = World::filled(
        40,
        Shape {
            batch: 1,
            concurrency: 1,
            ..Shape::default()
        },
    );
    // 39 requests of 20 seconds: far more than the lease's term of 90 seconds. Then a rival comes.
    let mut acts = vec![Act::Slow(Duration::from_secs(20)); 39];
    acts.push(Act::Cancel);
    world.destination.play(acts);
    let rival = Arc::new(Mutex::new(None));
    let report = world
        .run_with(|_| {
            let (ledger, rival) = (world.ledger.clone(), rival.clone());
            world.destination.on_cancel(move || {
                let opened = ledger.open(&OpenRequest::default()).now_or_never();
                *rival.lock().unwrap() = opened.and_then(Result::err);
            });
        })
        .await;
    assert_eq!(
        (report.status, report.delivered),
        (RunStatus::Succeeded, 40)
    );
    let refused = rival.lock().unwrap().take();
    assert_eq!(refused.unwrap().code, Code::SyncRunning);
}

#[tokio::test(start_paused = true)]
async fn rule_15_accepted_records_are_acknowledged_only_after_publication() {
    let world = publishing();
    world.destination.play([Act::Pass, Act::Pass, Act::Fatal]);
    let report = world.run().await.unwrap();
    assert_eq!((report.status, report.pending), (RunStatus::Failed, 25));
    let memory = world.ledger.memory();
    assert!(memory.state.is_empty() && memory.doubts.is_empty() && memory.intents.is_empty());
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.status, report.delivered),
        (RunStatus::Succeeded, 25)
    );
    assert!(world.is_mirrored() && world.ledger.memory().intents.is_empty());
}

fn publishing() -> World {
    let shape = Shape {
        publishes: true,
        batch: 10,
        concurrency: 1,
        ..Shape::default()
    };
    World::filled(25, shape)
}

#[tokio::test(start_paused = true)]
async fn rule_15_a_publication_that_never_answers_ends_in_doubts_in_time() {
    for silence in [Finish::HangBefore, Finish::HangAfter] {
        let world = publishing();
        world.destination.play_finish(silence);
        let began = tokio::time::Instant::now();
        let report = world.run().await.unwrap();
        assert_eq!((report.status, report.unknown), (RunStatus::Failed, 25));
        assert_eq!(report.failure.unwrap().code, Code::DestinationUnreachable);
        let timeout = world.memory.capabilities.timeout;
        assert!(began.elapsed() < timeout + Duration::from_secs(1));
        assert_eq!(world.ledger.memory().doubts.len(), 25, "{silence:?}");
        let report = world.run().await.unwrap();
        assert_eq!(
            (report.status, report.delivered),
            (RunStatus::Succeeded, 25)
        );
        assert!(world.is_mirrored() && world.ledger.memory().doubts.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn rule_15_a_cancel_or_a_lost_lease_ends_a_publication_that_hangs() {
    let world = publishing();
    world.destination.play_finish(Finish::CancelAndHang);
    let began = tokio::time::Instant::now();
    let report = world.run().await.unwrap();
    assert_eq!((report.status, report.unknown), (RunStatus::Cancelled, 25));
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(world.ledger.memory().state.is_empty());

    world.destination.play_finish(Finish::CancelAndHang);
    let report = world
        .run_with(|_| {
            let ledger = world.ledger.clone();
            world.destination.on_cancel(move || ledger.take_over());
        })
        .await;
    assert_eq!((report.status, report.unknown), (RunStatus::Failed, 25));
    assert_eq!(report.failure.unwrap().code, Code::LeaseLost);
    world.ledger.crash();

    let report = world.run().await.unwrap();
    assert_eq!(
        (report.status, report.delivered),
        (RunStatus::Succeeded, 25)
    );
    assert!(world.is_mirrored() && world.ledger.memory().intents.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rule_16_what_the_mode_skips_is_remembered_without_being_sent() {
    let world = World::filled(
        3,
        Shape {
            mode: Mode::Insert,
            ..Shape::default()
        },
    );
    world.run().await.unwrap();
    world.ledger.edit(|table| {
        table.put(0, "b");
        table.rows.remove(&1);
    });
    let report = world.run().await.unwrap();
    assert_eq!((report.skipped, report.requests), (2, 0));
    assert_eq!(world.run().await.unwrap().skipped, 0);
    // The record is still there: a row that comes back is not inserted a second time.
    world.ledger.edit(|table| table.put(1, "a"));
    assert_eq!(world.run().await.unwrap().requests, 0);
    assert!(world.ledger.memory().rejects.is_empty());
}

#[tokio::test(start_paused = true)]
async fn guarantee_5_and_rule_20_a_guard_holds_the_run_before_the_first_request() {
    let world = World::filled(100, Shape::default());
    world.run().await.unwrap();
    let requests = world.memory.requests();
    world
        .ledger
        .edit(|table| (0..50).for_each(|id| drop(table.rows.remove(&id))));
    let report = world.run().await.unwrap();
    assert_eq!(report.status, RunStatus::Held);
    assert_eq!(report.failure.unwrap().code, Code::GuardRemoved);
    assert_eq!((report.pending, world.memory.requests()), (50, requests));
    let report = world
        .run_with(|input| input.plan.overrides = vec![rowcast_core::guard::Guard::Removed])
        .await;
    assert_eq!(
        (report.status, report.delivered),
        (RunStatus::Succeeded, 50)
    );
    assert!(report.notes[0].contains("`removed` was overridden"));
}

#[tokio::test(start_paused = true)]
async fn guarantee_3_and_rule_25_a_bad_row_harms_only_itself_and_is_tried_with_its_newest_value() {
    let world = World::filled(
        1_000,
        Shape {
            batch: 1_000,
            ..Shape::default()
        },
    );
    world.destination.play([Act::Reject(vec![17, 500])]);
    let report = world.run().await.unwrap();
    assert_eq!(report.status, RunStatus::Partial);
    assert_eq!((report.delivered, report.rejected), (998, 2));
    for name in ["b", "c"] {
        world.memory.forget();
        world.ledger.edit(|table| table.put(17, name));
        world.destination.play([Act::Reject(vec![0, 1])]);
        let report = world.run().await.unwrap();
        assert_eq!((report.counts.retried, report.rejected), (2, 2));
        assert_eq!(report.failure.unwrap().code, Code::EverythingRejected);
        assert!(world.memory.log().is_empty());
    }
    let report = world.run().await.unwrap();
    assert_eq!((report.delivered, report.counts.unchanged), (2, 998));
    assert!(world.is_mirrored());
}

#[tokio::test(start_paused = true)]
async fn rule_25_a_reject_that_is_not_due_is_held_until_its_row_changes() {
    let world = World::filled(
        2,
        Shape {
            batch: 1,
            retry_runs: 1,
            ..Shape::default()
        },
    );
    for _ in 0..2 {
        world.destination.play([Act::Reject(vec![0])]);
        assert_eq!(world.run().await.unwrap().rejected, 1);
    }
    let report = world.run().await.unwrap();
    assert_eq!((report.held, report.requests), (1, 0));
    world.ledger.edit(|table| table.put(0, "b"));
    assert_eq!(world.run().await.unwrap().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn rule_26_one_bad_row_in_a_thousand_is_found_in_21_requests() {
    for bad in [0, 1, 499, 500, 998, 999] {
        let world = World::filled(
            1_000,
            Shape {
                batch: 1_000,
                ..Shape::default()
            },
        );
        world.destination.poison([Key::int(bad)]);
        let report = world.run().await.unwrap();
        assert_eq!((report.delivered, report.rejected), (999, 1));
        assert!(
            report.requests <= 21,
            "{} requests for row {bad}",
            report.requests
        );
        assert_eq!(
            world.ledger.memory().rejects.keys().next(),
            Some(&Key::int(bad))
        );
    }
    let world = World::filled(
        1_000,
        Shape {
            batch: 1_000,
            ..Shape::default()
        },
    );
    world
        .destination
        .poison([3, 250, 600, 601, 999].map(Key::int));
    let report = world.run().await.unwrap();
    assert_eq!((report.delivered, report.rejected), (995, 5));
    assert!(report.requests <= 5 * 21);
}

#[tokio::test(start_paused = true)]
async fn rule_26_records_without_a_result_are_unknown_and_sent_again() {
    let world = World::filled(4, Shape::default());
    world.destination.play([Act::Unheard(vec![2])]);
    let report = world.run().await.unwrap();
    assert_eq!((report.delivered, report.unknown), (3, 1));
    let report = world.run().await.unwrap();
    assert_eq!((report.counts.retried, report.delivered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn rule_27_every_settled_change_is_shown_to_the_observer_once() {
    #[derive(Default)]
    struct Log(Mutex<Vec<Settled>>);
    impl Observer for Log {
        fn wants_settled(&self) -> bool {
            true
        }
        fn settled(&self, settled: &[Settled]) {
            self.0.lock().unwrap().extend_from_slice(settled);
        }
    }
    let world = World::filled(250, Shape::default());
    world.destination.play([Act::Reject(vec![0])]);
    let log = Arc::new(Log::default());
    world.run_with(|input| input.observer = log.clone()).await;
    let log = log.0.lock().unwrap();
    let keys: BTreeSet<_> = log.iter().map(|settled| settled.key.clone()).collect();
    assert_eq!((log.len(), keys.len()), (250, 250));
    let rejected = |s: &&Settled| matches!(s.verdict, Verdict::Rejected { .. });
    assert_eq!(log.iter().filter(rejected).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_28_a_sealed_plan_is_refused_when_the_source_moved() {
    let world = World::filled(5, Shape::default());
    let sealed = preview(&world.input()).await.unwrap().digest;
    world.ledger.edit(|table| table.put(9, "late"));
    let report = world
        .run_with(|input| input.options.sealed = Some(sealed))
        .await;
    assert_eq!(report.failure.unwrap().code, Code::PlanStale);
    assert_eq!(
        (report.status, world.memory.requests()),
        (RunStatus::Held, 0)
    );
    let sealed = preview(&world.input()).await.unwrap().digest;
    let report = world
        .run_with(|input| input.options.sealed = Some(sealed))
        .await;
    assert_eq!(report.delivered, 6);
}
