//! Acknowledged rows that move into state while their run goes on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rowcast_core::ledger::{DiffRequest, Ledger, OpenRequest, Step};
use rowcast_core::{Change, Code, Key, RunReport, RunStatus};
use rowcast_postgres::ledger::{FoldAhead, PgLedger};

use crate::folding::{Run, in_state, rows, with_rows};
use crate::harness::World;

const SYNC: &str = "customers_to_crm";

/// Whenever something was acknowledged.
const AT_ONCE: FoldAhead = FoldAhead {
    from: 1,
    chunk: 1,
    unordered: 1_000,
};

/// The same, while no intent falls behind the one before.
const IN_ORDER: FoldAhead = FoldAhead {
    unordered: 0,
    ..AT_ONCE
};

const ASLEEP: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE datname = current_database() AND wait_event = 'PgSleep'";

const LOCKED: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

async fn until(world: &World, sql: &str) {
    while world.number(sql).await == 0 {
        tokio::task::yield_now().await;
    }
}

/// A lease that no wait of these tests outlasts.
async fn open(ledger: &PgLedger) -> std::sync::Arc<rowcast_core::Lease> {
    let request = OpenRequest {
        request_timeout: Duration::from_secs(60),
        trigger: "test".into(),
        ..OpenRequest::default()
    };
    let lease = ledger.open(&request).await.unwrap().lease;
    ledger.recover(&lease, &[]).await.unwrap();
    lease
}

async fn start(world: &World, policy: FoldAhead) -> Run {
    let ledger = world.ledger().with_fold_ahead(Some(policy));
    let lease = open(&ledger).await;
    let request = DiffRequest::default();
    let found = world.changes(&ledger, Some(&lease), &request).await;
    let mut changes = found.unwrap().changes;
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    Run {
        ledger,
        lease,
        changes,
    }
}

/// From now on whatever is written to state stays uncommitted until the gate is opened.
async fn shut(world: &World) {
    world
        .sql(
            "CREATE SEQUENCE gate MINVALUE 0 START 0; SELECT nextval('gate'); \
             CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             WHILE (SELECT last_value FROM gate) = 0 LOOP PERFORM pg_sleep(0.005); END LOOP; \
             RETURN NULL; END $$; \
             CREATE TRIGGER wait AFTER INSERT ON _rowcast.state_1 FOR EACH STATEMENT EXECUTE FUNCTION wait()",
        )
        .await;
}

async fn lift(world: &World) {
    world.sql("SELECT setval('gate', 1)").await;
}

async fn free(world: &World) {
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
}

#[tokio::test]
async fn rule_4_rows_are_in_state_while_their_run_goes_on_and_seen_once_by_everybody() {
    let world = with_rows("ahead_seen", 6).await;
    let run = start(&world, AT_ONCE).await;
    run.deliver(&world, 1, &run.changes[..3]).await;
    until(&world, "SELECT count(*) FROM _rowcast.state_1").await;
    assert_eq!((rows(&world).await, in_state(&world).await), (3, 3));
    world.assert_counted().await;
    let intents = "SELECT count(*) FROM _rowcast.intent_1";
    assert_eq!(world.number(intents).await, 0);
    assert_eq!(world.plan().await.unwrap().list(), "a4 a5 a6");
    for key in ["2", "5"] {
        let why = world.admin().why(SYNC, &[key.into()]).await.unwrap();
        assert_eq!(why.acknowledged_run, (key == "2").then_some(1), "key {key}");
    }
    run.deliver(&world, 2, &run.changes[3..]).await;
    run.finish().await;
    world.assert_counted().await;
    // Rows of a first run carry no run of their own, whoever folded them.
    let narrow = "SELECT count(*) FROM _rowcast.state_1 WHERE run IS NULL AND mark IS NULL";
    assert_eq!(world.number(narrow).await, 6);
    let space = "SELECT pg_relation_size('_rowcast.intent_1')";
    assert_eq!(world.number(space).await, 0);
    assert_eq!(world.run().await.list(), "");
    // Those of a later run do.
    world
        .sql("INSERT INTO customers VALUES (7, 'n7', 'p')")
        .await;
    let run = start(&world, AT_ONCE).await;
    run.deliver(&world, 1, &run.changes).await;
    until(&world, "SELECT count(*) - 6 FROM _rowcast.state_1").await;
    run.finish().await;
    for (key, acknowledged) in [("3", 1), ("7", 3)] {
        let why = world.admin().why(SYNC, &[key.into()]).await.unwrap();
        assert_eq!(why.acknowledged_run, Some(acknowledged), "key {key}");
    }
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_4_keys_of_several_columns_reach_state_as_they_are() {
    let world = World::with_pairs("ahead_pairs").await;
    let run = start(&world, AT_ONCE).await;
    run.deliver(&world, 1, &run.changes).await;
    until(&world, "SELECT count(*) FROM _rowcast.state_1").await;
    let same = "SELECT count(*) FROM _rowcast.state_1 JOIN pairs ON (k1, k2, k3) = (a, b, c)";
    assert_eq!(world.number(same).await, 2);
    run.finish().await;
    assert_eq!(world.run().await.list(), "");
}

/// Looks at state all the while: every row is delivered or still to be added, and none is both.
#[tokio::test]
async fn rule_4_whoever_looks_while_chunks_are_folded_finds_each_row_once() {
    let world = with_rows("ahead_readers", 600).await;
    let run = start(&world, AT_ONCE).await;
    let done = AtomicBool::new(false);
    let deliver = async {
        let (mut left, mut id) = (run.changes.as_slice(), 0);
        while !left.is_empty() {
            id += 1;
            // Of all sizes, in no pattern.
            let (now, later) = left.split_at((id * id % 37 + 1).min(left.len()));
            run.deliver(&world, id as i64, now).await;
            left = later;
        }
        run.finish().await;
        done.store(true, Ordering::Release);
    };
    let look = async {
        let mut before = 0;
        while !done.load(Ordering::Acquire) {
            let found = world.plan().await.unwrap();
            let counts = found.counts;
            assert_eq!(
                (counts.read, counts.updated, counts.removed, counts.retried),
                (600, 0, 0, 0)
            );
            assert_eq!(counts.added + counts.unchanged, 600);
            let keys: BTreeSet<&Key> = found.changes.iter().map(|change| &change.key).collect();
            assert_eq!(keys.len() as u64, counts.added);
            assert!(counts.unchanged >= before, "a row was there and is not");
            before = counts.unchanged;
            let why = world.admin().why(SYNC, &["1".into()]).await.unwrap();
            assert_eq!(
                why.acknowledged_run,
                (before > 0).then_some(1).or(why.acknowledged_run)
            );
        }
    };
    tokio::join!(deliver, look);
    world.assert_counted().await;
    assert_eq!(in_state(&world).await, 600);
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn the_planner_knows_of_rows_that_were_folded_while_their_run_went_on() {
    let world = with_rows("ahead_planner", 2_000).await;
    let run = start(&world, AT_ONCE).await;
    for (changes, id) in run.changes.chunks(400).zip(1..) {
        run.deliver(&world, id, changes).await;
        let there = format!(
            "SELECT count(*) / {} FROM _rowcast.state_1",
            400 * id.min(4)
        );
        until(&world, &there).await;
    }
    run.finish().await;
    let known = "SELECT reltuples::bigint FROM pg_class WHERE oid = '_rowcast.state_1'::regclass";
    assert!(world.number(known).await >= 1_500);
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_13_a_takeover_waits_for_a_chunk_that_is_on_its_way() {
    let world = with_rows("ahead_takeover", 4).await;
    let run = start(&world, AT_ONCE).await;
    shut(&world).await;
    run.deliver(&world, 1, &run.changes[..2]).await;
    until(&world, ASLEEP).await;
    run.announce(2, &run.changes[2..3]).await;
    free(&world).await;
    let next = world.ledger();
    let (lease, ()) = tokio::join!(open(&next), async {
        until(&world, LOCKED).await;
        lift(&world).await;
    });
    assert_eq!((rows(&world).await, in_state(&world).await), (3, 3));
    world.assert_counted().await;
    let settled = world.delivered(&run.changes[2..3]).settled;
    let step = Step {
        whole: vec![rowcast_core::ledger::Whole { intent: 2, settled }],
        ..Step::default()
    };
    let refused = run.ledger.commit(&run.lease, step).await.unwrap_err();
    assert_eq!(refused.code, Code::LeaseLost);
    world.finish(&next, &lease, RunStatus::Succeeded).await;
    assert_eq!(world.run().await.list(), "a3? a4");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_13_a_reset_waits_for_a_chunk_that_is_on_its_way() {
    let world = with_rows("ahead_reset", 3).await;
    let run = start(&world, AT_ONCE).await;
    shut(&world).await;
    run.deliver(&world, 1, &run.changes).await;
    until(&world, ASLEEP).await;
    free(&world).await;
    let admin = world.admin();
    let (forgotten, ()) = tokio::join!(admin.reset(SYNC), async {
        until(&world, LOCKED).await;
        lift(&world).await;
    });
    assert_eq!(forgotten.unwrap(), 3);
    assert_eq!(world.run().await.list(), "a1 a2 a3");
    world.assert_counted().await;
}

#[tokio::test]
async fn the_lease_is_renewed_and_steps_go_on_beside_a_chunk() {
    let world = with_rows("ahead_beside", 4).await;
    let run = start(&world, AT_ONCE).await;
    shut(&world).await;
    run.deliver(&world, 1, &run.changes[..2]).await;
    until(&world, ASLEEP).await;
    run.ledger.renew(&run.lease).await.unwrap();
    run.deliver(&world, 2, &run.changes[2..]).await;
    assert_eq!((rows(&world).await, in_state(&world).await), (4, 0));
    assert_eq!(world.plan().await.unwrap().list(), "");
    lift(&world).await;
    run.finish().await;
    assert_eq!(in_state(&world).await, 4);
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn a_cancelled_run_does_not_wait_for_its_chunk() {
    let world = with_rows("ahead_cancel", 3).await;
    let run = start(&world, AT_ONCE).await;
    shut(&world).await;
    run.deliver(&world, 1, &run.changes[..2]).await;
    until(&world, ASLEEP).await;
    let mut report = RunReport::new("s".into(), run.lease.run, 0);
    report.status = RunStatus::Cancelled;
    run.ledger.finish(&run.lease, &report).await.unwrap();
    assert_eq!(in_state(&world).await, 0);
    lift(&world).await;
    assert_eq!(world.run().await.list(), "a3");
    world.assert_counted().await;
}

/// What keeps one chunk from state keeps the others away too, and the end of the run does it all.
async fn folds_at_the_end(world: &World, run: &Run, rest: &[Change]) {
    run.deliver(world, 2, rest).await;
    run.finish().await;
    assert_eq!(run.ledger.remarks(), Vec::<String>::new());
    world.assert_counted().await;
    assert_eq!(in_state(world).await, 5);
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn a_chunk_whose_connection_is_lost_is_folded_at_the_end() {
    let world = with_rows("ahead_lost", 5).await;
    let run = start(&world, AT_ONCE).await;
    shut(&world).await;
    run.deliver(&world, 1, &run.changes[..3]).await;
    until(&world, ASLEEP).await;
    world
        .sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event = 'PgSleep'",
        )
        .await;
    lift(&world).await;
    folds_at_the_end(&world, &run, &run.changes[3..]).await;
}

#[tokio::test]
async fn without_another_connection_rows_are_folded_at_the_end() {
    let world = with_rows("ahead_alone", 5).await;
    let run = start(&world, AT_ONCE).await;
    let other = rowcast_testkit::postgres::Cluster::shared()
        .database("ahead_alone_2")
        .client()
        .await;
    let allow = async |whether: bool| {
        let sql = format!(
            "ALTER DATABASE \"{}\" ALLOW_CONNECTIONS {whether}",
            world.database.name
        );
        other.batch_execute(&sql).await.unwrap();
    };
    allow(false).await;
    run.deliver(&world, 1, &run.changes[..3]).await;
    run.deliver(&world, 2, &run.changes[3..]).await;
    run.finish().await;
    allow(true).await;
    assert_eq!(in_state(&world).await, 5);
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn keys_in_no_order_are_folded_at_the_end() {
    let world = with_rows("ahead_order", 5).await;
    let run = start(&world, IN_ORDER).await;
    run.announce(1, &run.changes[3..]).await;
    run.announce(3, &run.changes[..2]).await;
    run.acknowledge(&world, 1, &run.changes[3..]).await;
    run.acknowledge(&world, 3, &run.changes[..2]).await;
    assert_eq!((rows(&world).await, in_state(&world).await), (4, 0));
    folds_at_the_end(&world, &run, &run.changes[2..3]).await;
}

/// A table that has been written to holds most rows in the order of their keys, and a few elsewhere.
#[tokio::test]
async fn a_row_out_of_its_place_does_not_keep_the_others_from_state() {
    let world = with_rows("ahead_place", 6).await;
    let run = start(&world, IN_ORDER).await;
    let mut moved = run.changes.clone();
    moved[2..].rotate_right(1);
    run.deliver(&world, 1, &moved[..3]).await;
    run.deliver(&world, 2, &moved[3..]).await;
    until(&world, "SELECT count(*) / 6 FROM _rowcast.state_1").await;
    run.finish().await;
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "");
}

/// Two rows under one key, before it is found to be no key: state may only say what is sure.
#[tokio::test]
async fn rule_19_a_chunk_with_a_key_that_state_has_is_left_to_the_end() {
    let world = with_rows("ahead_twice", 3).await;
    let run = start(&world, AT_ONCE).await;
    let mut other = run.changes[0].clone();
    other.checksum = other.checksum.map(|checksum| checksum ^ 1);
    run.deliver(&world, 1, &run.changes).await;
    until(&world, "SELECT count(*) FROM _rowcast.state_1").await;
    run.deliver(&world, 2, &[other]).await;
    run.finish().await;
    world.assert_counted().await;
    assert_eq!(in_state(&world).await, 3);
    assert_eq!(world.run().await.list(), "u1");
    assert_eq!(world.run().await.list(), "");
}

/// What was removed lately may come back while its removal still lies beside state.
#[tokio::test]
async fn while_changes_lie_beside_state_rows_are_folded_at_the_end() {
    let world = with_rows("ahead_recent", 5).await;
    let beside = rowcast_postgres::ledger::RecentPolicy {
        from: 0,
        run: 1_000,
        keep: 1_000,
    };
    world.run().await;
    world.sql("DELETE FROM customers WHERE id = 2").await;
    let ledger = world.ledger().with_recent(beside);
    let request = DiffRequest::default();
    let ran = world.run_as(&ledger, &request, false, |_| None).await;
    assert_eq!(ran.unwrap().list(), "d2");
    world
        .sql("INSERT INTO customers VALUES (2, 'back', 'p')")
        .await;
    let run = start(&world, AT_ONCE).await;
    run.deliver(&world, 1, &run.changes).await;
    run.finish().await;
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "");
}
