//! Leases: one run at a time, and nothing from a run that was taken over.

use rowcast_core::ledger::{DiffRequest, Ledger, OpenRequest};
use rowcast_core::{Code, RunStatus};

use crate::harness::World;

#[tokio::test]
async fn rule_13_a_running_sync_is_not_started_again() {
    let world = World::with_customers("f_running", 2).await;
    let ledger = world.ledger();
    let lease = world.open(&ledger).await.unwrap();
    let reason = world.open(&world.ledger()).await.unwrap_err();
    assert_eq!(reason.code, Code::SyncRunning);
    assert_eq!(
        world
            .admin()
            .reset("customers_to_crm")
            .await
            .unwrap_err()
            .code,
        Code::SyncRunning
    );
    assert_eq!(
        world.ledger().baseline().await.unwrap_err().code,
        Code::SyncRunning
    );
    world.finish(&ledger, &lease, RunStatus::Succeeded).await;
    world.run().await;
}

#[tokio::test]
async fn rule_13_a_run_that_was_taken_over_writes_nothing() {
    let world = World::with_customers("f_taken", 2).await;
    let (old, lease, found) = world.begin().await;
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    let new = world.ledger();
    let newer = world.open(&new).await.unwrap();
    let reason = old
        .commit(&lease, world.delivered(&found.changes))
        .await
        .unwrap_err();
    assert_eq!(reason.code, Code::LeaseLost);
    assert!(lease.is_lost());
    assert_eq!(old.renew(&lease).await.unwrap_err().code, Code::LeaseLost);
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.state_1").await,
        0
    );
    let late = world
        .changes(&old, Some(&lease), &DiffRequest::default())
        .await
        .unwrap_err();
    assert_eq!(late.code, Code::LeaseLost, "nor does it read for it");
    world.finish(&new, &newer, RunStatus::Succeeded).await;
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_13_a_dead_run_without_intents_is_taken_over_at_once() {
    let world = World::with_customers("f_dead", 2).await;
    let request = OpenRequest {
        request_timeout: std::time::Duration::from_secs(3600),
        ..OpenRequest::default()
    };
    let dead = world.ledger();
    dead.open(&request).await.unwrap();
    world.holder_dies().await;
    // The lease lasts for hours: only its owner's death explains that this returns.
    world.run().await;
    let failed =
        "SELECT count(*) FROM _rowcast.runs WHERE status = 'failed' AND error_code = 'E0701'";
    assert_eq!(world.number(failed).await, 1);
}

#[tokio::test]
async fn rule_13_a_dead_run_with_open_intents_is_waited_out() {
    let world = World::with_customers("f_waited", 2).await;
    let (dead, lease, found) = world.begin().await;
    World::announce(&dead, &lease, &found.changes).await;
    world.holder_dies().await;
    let until = world
        .number("SELECT (extract(epoch FROM lease_until) * 1000)::bigint FROM _rowcast.sync")
        .await;
    let next = world.run().await;
    assert_eq!(next.list(), "a1? a2?");
    let started = world
        .number("SELECT (extract(epoch FROM max(started_at)) * 1000)::bigint FROM _rowcast.runs")
        .await;
    assert!(
        started >= until,
        "a request of the dead run could still be under way"
    );
}

#[tokio::test]
async fn rule_13_a_reset_fences_what_came_before() {
    let world = World::with_customers("f_reset", 2).await;
    let (old, lease, found) = world.begin().await;
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    assert_eq!(world.admin().reset("customers_to_crm").await.unwrap(), 0);
    assert_eq!(
        world.admin().reset("customers_to_crm").await.unwrap(),
        0,
        "again"
    );
    let reason = old
        .commit(&lease, world.delivered(&found.changes))
        .await
        .unwrap_err();
    assert_eq!(reason.code, Code::LeaseLost);
    assert_eq!(world.run().await.list(), "a1 a2");
    let generation = "SELECT generation::bigint FROM _rowcast.sync";
    assert_eq!(world.number(generation).await, 2);
    assert_eq!(world.admin().reset("customers_to_crm").await.unwrap(), 2);
    assert_eq!(
        world.run().await.list(),
        "a1 a2",
        "everything is sent again"
    );
}

#[tokio::test]
async fn rule_13_a_cancel_is_noticed_at_the_next_renewal() {
    let world = World::with_customers("f_cancel", 2).await;
    let ledger = world.ledger();
    assert!(!world.admin().cancel("customers_to_crm").await.unwrap());
    let lease = world.open(&ledger).await.unwrap();
    ledger.renew(&lease).await.unwrap();
    assert!(world.admin().cancel("customers_to_crm").await.unwrap());
    assert_eq!(
        ledger.renew(&lease).await.unwrap_err().code,
        Code::Cancelled
    );
    world.finish(&ledger, &lease, RunStatus::Cancelled).await;
    let next = world.ledger();
    let lease = world.open(&next).await.unwrap();
    next.renew(&lease).await.unwrap();
}

#[tokio::test]
async fn rule_13_an_opening_that_fails_gives_its_lease_back() {
    let world = World::with_customers("f_back", 2).await;
    world.run().await;
    world
        .sql("ALTER TABLE _rowcast.run_history RENAME TO elsewhere")
        .await;
    assert!(world.open(&world.ledger()).await.is_err());
    world
        .sql("ALTER TABLE _rowcast.elsewhere RENAME TO run_history")
        .await;
    world.run().await;
}

#[tokio::test]
async fn rule_13_work_that_was_abandoned_is_not_committed_by_the_next_step() {
    let world = World::with_customers("f_abandoned", 2).await;
    let (ledger, lease, found) = world.begin().await;
    let mut other = world.database.client().await;
    let blocking = other.transaction().await.unwrap();
    blocking
        .batch_execute("SELECT 1 FROM _rowcast.progress FOR UPDATE")
        .await
        .unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    tokio::select! {
        _ = ledger.commit(&lease, world.delivered(&found.changes)) => panic!("it must wait"),
        () = async {
            while world.number(waits).await == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    blocking.rollback().await.unwrap();
    world.finish(&ledger, &lease, RunStatus::Cancelled).await;
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.state_1").await,
        0
    );
}
