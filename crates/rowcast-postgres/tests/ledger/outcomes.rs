//! Intents, doubts, and what an interrupted run leaves behind.

use rowcast_core::destination::Committed;
use rowcast_core::ledger::{DiffRequest, Ledger, OpenRequest};
use rowcast_core::{Mode, Operation, Reason, RunStatus, Selection, Verdict};

use crate::harness::{World, lose};

const ALL: DiffRequest = DiffRequest {
    spool_records_max: None,
    limit: None,
    keys: Vec::new(),
    dry_run: false,
};

#[tokio::test]
async fn rule_8_a_crash_between_intent_and_acknowledgement_leaves_doubts() {
    let world = World::with_customers("o_crash", 3).await;
    let (ledger, lease, found) = world.begin().await;
    World::announce(&ledger, &lease, &found.changes).await;
    // The first is answered; the process dies before the others are.
    let mut step = world.delivered(&found.changes[..1]);
    step.close = vec![1];
    ledger.commit(&lease, step).await.unwrap();
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    let second = world.run().await;
    assert_eq!(second.list(), "a2? a3?", "both still count as additions");
    assert_eq!((second.counts.retried, second.counts.unchanged), (2, 1));
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.intent_1").await,
        0
    );
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.doubt_1").await,
        0
    );
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_8_a_doubtful_key_is_in_state_without_a_checksum_and_is_removed_when_its_row_is_gone()
{
    let world = World::with_customers("o_gone", 3).await;
    world.run_with(lose(2)).await.unwrap();
    let null = "SELECT count(*) FROM _rowcast.state_1 WHERE k1 = 2 AND h IS NULL";
    assert_eq!(world.number(null).await, 1);
    world.sql("DELETE FROM customers WHERE id = 2").await;
    let next = world.run().await;
    assert_eq!(next.list(), "d2?");
    assert_eq!((next.counts.removed, next.counts.retried), (0, 1));
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_8_a_lost_delete_is_repeated_and_a_row_that_came_back_is_sent() {
    let world = World::with_customers("o_delete", 3).await;
    world.run().await;
    world.sql("DELETE FROM customers WHERE id IN (1, 2)").await;
    let lost = |change: &rowcast_core::Change| {
        (change.kind == rowcast_core::Kind::Removed).then(|| Verdict::Unknown {
            operation: Operation::Delete,
            reason: Reason::new(rowcast_core::Code::NoResult, "no answer"),
        })
    };
    world.run_with(lost).await.unwrap();
    world
        .sql("INSERT INTO customers VALUES (2, 'n2', 'p')")
        .await;
    assert_eq!(world.run().await.list(), "d1? a2?");
    assert_eq!(world.run().await.list(), "");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_8_a_doubtful_addition_stays_an_addition_when_only_additions_are_sent() {
    let mut world = World::with_customers("o_added", 3).await;
    world.config.sync.mode = Mode::Upsert;
    world.config.sync.on = Selection {
        updated: false,
        ..Selection::default()
    };
    world.run_with(lose(2)).await.unwrap();
    let next = world.run().await;
    assert_eq!(
        next.list(),
        "a2?",
        "as an update it would be skipped and never sent"
    );
}

#[tokio::test]
async fn rule_1_the_run_in_state_is_the_last_that_was_acknowledged() {
    let world = World::with_customers("o_run", 3).await;
    world.run().await;
    world
        .sql("UPDATE customers SET plan = 'x' WHERE id = 2")
        .await;
    world.run_with(lose(2)).await.unwrap();
    let run = "SELECT run::bigint FROM _rowcast.state_1 WHERE k1 = 2";
    assert_eq!(
        world.number(run).await,
        1,
        "a lost answer acknowledges nothing"
    );
    world.run().await;
    assert_eq!(world.number(run).await, 3);
    let types = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'state_1' \
        AND (column_name, data_type) IN (('k1', 'bigint'), ('h', 'bigint'), ('run', 'integer'))";
    assert_eq!(world.number(types).await, 3);
    let logged = "SELECT count(*) FROM pg_class WHERE relname = 'state_1' AND relpersistence = 'p'";
    assert_eq!(world.number(logged).await, 1);
}

#[tokio::test]
async fn rule_14_a_batch_that_the_destination_holds_is_acknowledged_on_recovery() {
    let world = World::with_customers("o_committed", 3).await;
    let (ledger, lease, found) = world.begin().await;
    World::announce(&ledger, &lease, &found.changes).await;
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    let next = world.ledger();
    let opened = next.open(&OpenRequest::default()).await.unwrap();
    assert_eq!(opened.open_intents.len(), 3);
    let committed = [Committed {
        epoch: lease.epoch,
        intent: 1,
        rejected: vec![],
    }];
    next.recover(&opened.lease, &committed).await.unwrap();
    let found = world
        .changes(&next, Some(&opened.lease), &ALL)
        .await
        .unwrap();
    assert_eq!(found.list(), "a2? a3?");
    world
        .finish(&next, &opened.lease, RunStatus::Succeeded)
        .await;
    world.assert_counted().await;
}

/// Ends the connection of the ledger that holds the lease. The one that read the model was closed
/// before, but its server process may take a moment more to end.
async fn cut(world: &World, state: &str) {
    let others = format!(
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND {state}"
    );
    let count = format!("SELECT count(*) {others}");
    for _ in 0..10_000 {
        if world.number(&count).await == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let ended = format!("SELECT count(pg_terminate_backend(pid, 5000)) {others}");
    assert_eq!(
        world.number(&ended).await,
        1,
        "one connection of the ledger"
    );
}

#[tokio::test]
async fn rule_4_a_lost_state_connection_repeats_the_step_once() {
    let world = World::with_customers("o_cut", 3).await;
    let (ledger, lease, found) = world.begin().await;
    ledger
        .commit(&lease, world.delivered(&found.changes[..1]))
        .await
        .unwrap();
    cut(&world, "backend_type = 'client backend'").await;
    ledger
        .commit(&lease, world.delivered(&found.changes[1..]))
        .await
        .unwrap();
    cut(&world, "backend_type = 'client backend'").await;
    ledger.renew(&lease).await.unwrap();
    cut(&world, "backend_type = 'client backend'").await;
    world.finish(&ledger, &lease, RunStatus::Succeeded).await;
    world.assert_counted().await;
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.row_log").await,
        3
    );
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_4_a_connection_lost_within_a_step_repeats_it_once() {
    let world = World::with_customers("o_within", 3).await;
    let (ledger, lease, found) = world.begin().await;
    // The step waits for the count of rows; there it is cut.
    let mut other = world.database.client().await;
    let blocking = other.transaction().await.unwrap();
    blocking
        .batch_execute("SELECT 1 FROM _rowcast.progress FOR UPDATE")
        .await
        .unwrap();
    let step = world.delivered(&found.changes);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let cutting = async {
        while world.number(waits).await == 0 {
            tokio::task::yield_now().await;
        }
        cut(&world, "wait_event_type = 'Lock'").await;
        blocking.rollback().await.unwrap();
    };
    let (done, ()) = tokio::join!(ledger.commit(&lease, step), cutting);
    done.unwrap();
    world.finish(&ledger, &lease, RunStatus::Succeeded).await;
    world.assert_counted().await;
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.row_log").await,
        3
    );
}
