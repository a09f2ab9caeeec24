//! Rules 8 to 12: how records are announced, identified, ordered.

mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowcast_core::settle::Settled;
use rowcast_core::{Code, Key, Mode, Operation, RunStatus};
use rowcast_engine::Observer;
use rowcast_testkit::faulty::Act;
use rowcast_testkit::memory::{MemoryDestination, MemoryLedger, MemorySync};
use tokio::sync::Notify;
use tokio::time::timeout;
use world::{Shape, World};

#[tokio::test(start_paused = true)]
async fn rule_8_a_row_that_reverts_after_a_lost_answer_is_corrected() {
    let world = World::filled(
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
    assert!(!world.is_mirrored() || world.table().rows[&1].1 == "b");
    // Back to the value that state acknowledged: a checksum alone would see no change.
    world.ledger.edit(|table| table.put(1, "a"));
    let report = world.run().await.unwrap();
    assert_eq!((report.counts.retried, report.delivered), (1, 1));
    assert!(world.is_mirrored());
    assert!(world.ledger.memory().doubts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rule_8_what_is_sent_again_after_a_crash_fits_the_intent_window() {
    for nth in [3, 4, 7, 12, 25, 40] {
        let world = World::filled(
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
        assert!(world.is_mirrored());
    }
}

#[tokio::test(start_paused = true)]
async fn rule_9_idempotency_keys_are_stable_over_retries_and_new_when_a_value_returns() {
    let world = World::filled(
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
    let world = World::filled(
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
    let world = World::filled(1_200, Shape::default());
    let order = Arc::new(Order(Mutex::default(), world.memory.clone()));
    world.run_with(|input| input.observer = order.clone()).await;
    assert_eq!(*order.0.lock().unwrap(), ["1200 added, 0 requests"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_is_announced_and_sent_while_more_is_read() {
    struct Release(Arc<Notify>);
    impl Observer for Release {
        fn wants_settled(&self) -> bool {
            true
        }
        fn settled(&self, _: &[Settled]) {
            self.0.notify_one();
        }
    }
    let shape = Shape {
        batch: 1,
        concurrency: 8,
        ..Shape::default()
    };
    let world = World::filled(600, shape);
    let release = Arc::new(Release(world.ledger.hold_reading(200)));
    let run = world.run_with(|input| input.observer = release.clone());
    let report = timeout(Duration::from_secs(3_600), run).await;
    let report = report.expect("nothing waits for what is not read yet");
    assert_eq!((report.delivered, report.requests), (600, 600));
    assert!(world.is_mirrored());
}

#[tokio::test(start_paused = true)]
async fn rule_11_deletes_come_first_and_an_identity_is_never_in_flight_twice() {
    let world = World::filled(
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
    assert!(world.is_mirrored());
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
    let world = World::filled(3, by_email());
    world.run().await.unwrap();
    world.memory.forget();
    world.ledger.edit(|table| {
        let (a, b) = (table.rows[&0].0.clone(), table.rows[&1].0.clone());
        table.rows.get_mut(&0).unwrap().0 = b;
        table.rows.get_mut(&1).unwrap().0 = a;
    });
    let report = world.run().await.unwrap();
    assert_eq!(report.delivered, 2);
    assert!(world.is_mirrored());
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
    assert!(world.is_mirrored());
    assert_eq!(world.run().await.unwrap().counts.removed, 0);
}

#[tokio::test(start_paused = true)]
async fn rule_12_rows_that_claim_one_identity_are_both_invalid() {
    let world = World::filled(3, by_email());
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
