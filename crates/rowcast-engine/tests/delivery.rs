//! What a run does, rule by rule, seen from the destination and the ledger.

mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowcast_core::destination::Rate;
use rowcast_core::settle::{Settled, Verdict};
use rowcast_core::{Code, Key, Ledger, Mode, Operation, RunStatus};
use rowcast_engine::{Limiter, Observer, preview, run};
use rowcast_testkit::faulty::{Act, Commit};
use rowcast_testkit::memory::{MemoryDestination, MemoryLedger, MemorySync};
use world::{Shape, World};

/// A world whose table has `rows` rows named `a`.
fn world(rows: i64, shape: Shape) -> World {
    let world = World::new(shape);
    world
        .ledger
        .edit(|table| (0..rows).for_each(|id| table.put(id, "a")));
    world
}

fn is_mirrored(world: &World) -> bool {
    world.memory.records() == world.table().mirror(&world.mapper)
}

#[tokio::test(start_paused = true)]
async fn a_first_run_delivers_everything_and_a_second_writes_and_sends_nothing() {
    let world = world(2_500, Shape::default());
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.status, report.failure),
        (RunStatus::Succeeded, None)
    );
    assert_eq!((report.delivered, report.requests), (2_500, 25));
    assert!(is_mirrored(&world));
    let commits = world.ledger.memory().commits;
    let report = world.run().await.unwrap();
    assert_eq!((report.status, report.requests), (RunStatus::Succeeded, 0));
    assert_eq!(world.ledger.memory().commits, commits);
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_row_that_reverts_after_a_lost_answer_is_corrected() {
    let world = world(
        3,
        Shape {
            attempts: 1,
            ..Shape::default()
        },
    );
    world.run().await.unwrap();
    world.ledger.edit(|table| table.put(1, "b"));
    world.destination.play([Act::LostAfter]);
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.delivered, report.pending, report.unknown),
        (0, 1, 1)
    );
    assert!(!is_mirrored(&world) || world.table().rows[&1].1 == "b");
    // Back to the value that state acknowledged: a checksum alone would see no change.
    world.ledger.edit(|table| table.put(1, "a"));
    let report = world.run().await.unwrap();
    assert_eq!((report.counts.retried, report.delivered), (1, 1));
    assert!(is_mirrored(&world));
    assert!(world.ledger.memory().doubts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rule_8_what_is_sent_again_after_a_crash_fits_the_intent_window() {
    for nth in [3, 4, 7, 12, 25, 40] {
        let world = world(
            4_000,
            Shape {
                batch: 50,
                ..Shape::default()
            },
        );
        world.crash.arm(Some(nth));
        assert!(world.run().await.is_none());
        let before: BTreeSet<Key> = world.memory.log().into_iter().map(|w| w.key).collect();
        world.memory.forget();
        world.run().await.unwrap();
        let again = world
            .memory
            .log()
            .iter()
            .filter(|w| before.contains(&w.key))
            .count();
        assert!(again <= 1_000, "{again} records were sent again");
        assert!(world.ledger.memory().announced_peak <= 1_000);
        assert!(is_mirrored(&world));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_9_idempotency_keys_are_stable_over_retries_and_new_when_a_value_returns() {
    let world = world(
        1,
        Shape {
            attempts: 1,
            ..Shape::default()
        },
    );
    let keys = |world: &World| -> Vec<String> {
        world
            .memory
            .log()
            .into_iter()
            .map(|w| w.idempotency_key)
            .collect()
    };
    world.destination.play([Act::LostAfter]);
    world.run().await.unwrap();
    world.run().await.unwrap();
    let sent = keys(&world);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1], "the same value, tried again");
    world.ledger.edit(|table| table.put(0, "b"));
    world.run().await.unwrap();
    world.ledger.edit(|table| table.put(0, "a"));
    world.run().await.unwrap();
    assert_eq!(keys(&world).into_iter().collect::<BTreeSet<_>>().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_lost_insert_that_exists_by_now_is_delivered_and_a_foreign_one_rejected() {
    let world = world(
        2,
        Shape {
            mode: Mode::Insert,
            batch: 1,
            attempts: 1,
            ..Shape::default()
        },
    );
    world.memory.plant("{\"id\":1}", "{}");
    world.destination.play([Act::LostAfter]);
    world.run().await.unwrap();
    let report = world.run().await.unwrap();
    assert_eq!((report.delivered, report.rejected), (1, 1));
    let rejects = world.ledger.memory().rejects;
    assert_eq!(rejects[&Key::int(1)].reason.code, Code::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn rule_10_every_change_is_known_before_the_first_request() {
    struct Order(Mutex<Vec<String>>, Arc<MemoryDestination>);
    impl Observer for Order {
        fn diffed(&self, counts: &rowcast_core::ledger::DiffCounts) {
            let line = format!("{} added, {} requests", counts.added, self.1.requests());
            self.0.lock().unwrap().push(line);
        }
    }
    let world = world(1_200, Shape::default());
    let order = Arc::new(Order(Mutex::default(), world.memory.clone()));
    world.run_with(|input| input.observer = order.clone()).await;
    assert_eq!(*order.0.lock().unwrap(), ["1200 added, 0 requests"]);
}

#[tokio::test(start_paused = true)]
async fn rule_11_deletes_come_first_and_an_identity_is_never_in_flight_twice() {
    let world = world(
        300,
        Shape {
            batch: 10,
            ..Shape::default()
        },
    );
    world.run().await.unwrap();
    world.memory.forget();
    world.ledger.edit(|table| {
        (0..20).for_each(|id| drop(table.rows.remove(&id)));
        (20..300).for_each(|id| table.put(id, "b"));
    });
    let slow = Act::Slow(Duration::from_secs(1));
    world.destination.play(vec![slow; 30]);
    world.run().await.unwrap();
    let log = world.memory.log();
    let last_delete = log.iter().rposition(|w| w.operation == Operation::Delete);
    let first_upsert = log.iter().position(|w| w.operation == Operation::Upsert);
    assert!(last_delete < first_upsert);
    assert!(is_mirrored(&world));
}

#[tokio::test(start_paused = true)]
async fn rule_11_rows_that_share_an_identity_are_sent_one_after_the_other() {
    // `match_on` in a mode that never deletes: the ledger does not look for claims.
    let ledger = MemoryLedger::new(MemorySync {
        mode: Mode::Upsert,
        ..MemorySync::default()
    });
    ledger.edit(|table| {
        for id in 0..4 {
            table.put(id, &format!("n{id}"));
            table.rows.get_mut(&id).unwrap().0 = "same@x".into();
        }
    });
    let world = World::new(Shape {
        mode: Mode::Upsert,
        ..Shape::default()
    });
    let report = world
        .run_with(|input| {
            input.ledger = ledger.clone();
            input.mapper = Arc::new(rowcast_testkit::memory::TableMapper {
                match_on_email: true,
            });
        })
        .await;
    // The memory destination refuses a batch that holds an identity twice.
    assert_eq!((report.delivered, report.requests), (4, 4));
    let names: Vec<_> = world.memory.log().into_iter().map(|w| w.key).collect();
    assert_eq!(names, (0..4).map(Key::int).collect::<Vec<_>>());
}

fn by_email() -> Shape {
    Shape {
        match_on_email: true,
        ..Shape::default()
    }
}

#[tokio::test(start_paused = true)]
async fn rule_12_identities_that_are_swapped_move_and_moved_keys_delete_nothing() {
    let world = world(3, by_email());
    world.run().await.unwrap();
    world.memory.forget();
    world.ledger.edit(|table| {
        let (a, b) = (table.rows[&0].0.clone(), table.rows[&1].0.clone());
        table.rows.get_mut(&0).unwrap().0 = b;
        table.rows.get_mut(&1).unwrap().0 = a;
    });
    let report = world.run().await.unwrap();
    assert_eq!(report.delivered, 2);
    assert!(is_mirrored(&world));
    let operations: Vec<_> = world
        .memory
        .log()
        .into_iter()
        .map(|w| w.operation)
        .collect();
    use Operation::{Delete, Upsert};
    assert_eq!(operations, [Delete, Delete, Upsert, Upsert]);

    world.memory.forget();
    world.ledger.edit(|table| {
        let row = table.rows.remove(&2).unwrap();
        table.rows.insert(7, row);
    });
    let report = world.run().await.unwrap();
    assert_eq!((report.delivered, report.skipped), (1, 1));
    assert!(world.memory.log().iter().all(|w| w.operation == Upsert));
    world.run().await.unwrap();
    assert!(is_mirrored(&world));
    assert_eq!(world.run().await.unwrap().counts.removed, 0);
}

#[tokio::test(start_paused = true)]
async fn rule_12_rows_that_claim_one_identity_are_both_invalid() {
    let world = world(3, by_email());
    world.ledger.edit(|table| {
        let taken = table.rows[&0].0.clone();
        table.rows.get_mut(&1).unwrap().0 = taken;
    });
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.status, report.invalid, report.delivered),
        (RunStatus::Partial, 2, 1)
    );
    let reasons: Vec<_> = report.reasons.keys().collect();
    assert!(reasons.iter().all(|(code, _)| code == "E0506"));
    assert!(
        reasons
            .iter()
            .any(|(_, message)| message.contains("rows 0 and 1"))
    );
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_run_whose_lease_is_taken_over_stops_and_writes_nothing_more() {
    let world = world(
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
    assert!(is_mirrored(&world));
}

#[tokio::test(start_paused = true)]
async fn rule_13_the_lease_is_renewed_while_a_slow_destination_works() {
    let world = world(
        40,
        Shape {
            batch: 1,
            concurrency: 1,
            ..Shape::default()
        },
    );
    // 40 requests of 20 seconds: far more than the lease's term of 90 seconds.
    world
        .destination
        .play(vec![Act::Slow(Duration::from_secs(20)); 40]);
    let ledger = world.ledger.clone();
    let rival = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(400)).await;
        ledger
            .open(&rowcast_core::ledger::OpenRequest::default())
            .await
            .map(|_| ())
    });
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.status, report.delivered),
        (RunStatus::Succeeded, 40)
    );
    assert_eq!(rival.await.unwrap().unwrap_err().code, Code::SyncRunning);
}

#[tokio::test(start_paused = true)]
async fn rule_15_accepted_records_are_acknowledged_only_after_publication() {
    let shape = Shape {
        publishes: true,
        batch: 10,
        concurrency: 1,
        ..Shape::default()
    };
    let world = world(25, shape);
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
    assert!(is_mirrored(&world) && world.ledger.memory().intents.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rule_16_what_the_mode_skips_is_remembered_without_being_sent() {
    let world = world(
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
async fn rule_20_a_guard_holds_the_run_before_the_first_request() {
    let world = world(100, Shape::default());
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
async fn rule_25_a_bad_row_harms_only_itself_and_is_tried_with_its_newest_value() {
    let world = world(
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
    assert!(is_mirrored(&world));
}

#[tokio::test(start_paused = true)]
async fn rule_25_a_reject_that_is_not_due_is_held_until_its_row_changes() {
    let world = world(
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
        let world = world(
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
    let world = world(
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
    let world = world(4, Shape::default());
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
    let world = world(250, Shape::default());
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
    let world = world(5, Shape::default());
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

#[tokio::test(start_paused = true)]
async fn a_preview_and_a_dry_run_send_and_write_nothing() {
    let world = world(250, Shape::default());
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
async fn transient_faults_are_waited_out_and_retry_after_pauses_everything() {
    let world = world(
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
    let world = world(
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
    let world = world(
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
    assert!(is_mirrored(&world));
}

#[tokio::test(start_paused = true)]
async fn budgets_leave_the_rest_to_the_next_run() {
    let world = world(
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
    let world = world(
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
        let world = world(5, Shape::default());
        world.destination.play([act]);
        let report = world.run().await.unwrap();
        assert_eq!(report.failure.unwrap().code, Code::Defect);
        assert_eq!(world.ledger.memory().doubts.len(), 5);
        world.run().await.unwrap();
        assert!(is_mirrored(&world));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_the_destination_takes_is_rejected_unsent() {
    let world = world(3, Shape::default());
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
    let world = world(1, Shape::default());
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
