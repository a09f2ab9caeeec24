//! Looking at state and steering it: status, runs, why, retry, pause, baseline.

use std::time::Duration;

use rowcast_core::{Code, Key, Operation, Verdict};
use rowcast_postgres::ledger::LogLevel;

use crate::harness::{World, lose, reject};

const SYNC: &str = "customers_to_crm";

#[tokio::test]
async fn rule_27_the_log_has_every_operation_or_errors_only() {
    for (name, level, lines) in [
        ("l_default", LogLevel::Default, 3),
        ("l_all", LogLevel::All, 3),
        ("l_errors", LogLevel::Errors, 1),
    ] {
        let mut world = World::with_customers(name, 3).await;
        world.config.sync.log = level;
        world.run_with(reject(2)).await.unwrap();
        let count = world.number("SELECT count(*) FROM _rowcast.row_log").await;
        assert_eq!(count, lines, "{level:?}");
        let rejected = "SELECT count(*) FROM _rowcast.row_log WHERE outcome = 'rejected' AND code = 'E0603' AND sync = 'customers_to_crm'";
        assert_eq!(world.number(rejected).await, 1);
    }
}

#[tokio::test]
async fn rule_27_large_runs_log_errors_only_by_default() {
    let world = World::new("l_large").await;
    world
        .sql("INSERT INTO customers SELECT i, 'n', 'p' FROM generate_series(1, 10000) i")
        .await;
    let (ledger, lease, found) = world.begin().await;
    use rowcast_core::ledger::Ledger;
    ledger
        .commit(&lease, world.delivered(&found.changes))
        .await
        .unwrap();
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.row_log").await,
        0
    );
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_27_why_answers_from_state_rejects_doubts_and_log() {
    let world = World::with_customers("l_why", 3).await;
    let bad = |change: &rowcast_core::Change| reject(1)(change).or_else(|| lose(2)(change));
    world.run_with(bad).await.unwrap();
    let why = async |key: &str| world.admin().why(SYNC, &[key.into()]).await.unwrap();
    let rejected = why("1").await;
    assert_eq!(rejected.acknowledged_run, None);
    assert_eq!(rejected.reject.unwrap().message, "invalid email");
    assert_eq!(rejected.log[0].outcome, "rejected");
    let doubtful = why("2").await;
    assert_eq!(
        (doubtful.acknowledged_run, doubtful.doubt_since_run),
        (None, Some(1))
    );
    assert_eq!(doubtful.mark.as_deref(), Some("attempted"));
    let delivered = why("3").await;
    assert_eq!(
        (delivered.acknowledged_run, delivered.log.len()),
        (Some(1), 1)
    );
    assert_eq!(why("99").await.log.len(), 0);
    let reason = world.admin().why(SYNC, &["x".into()]).await.unwrap_err();
    assert_eq!(reason.code, Code::Usage);
}

#[tokio::test]
async fn status_and_runs_say_how_a_sync_stands() {
    let world = World::with_customers("l_status", 3).await;
    assert!(world.admin().status(&[]).await.unwrap().is_empty());
    assert!(world.admin().runs(None, 10).await.unwrap().is_empty());
    let bad = |change: &rowcast_core::Change| reject(1)(change).or_else(|| lose(2)(change));
    world.run_with(bad).await.unwrap();
    let ledger = world.ledger();
    let lease = world.open(&ledger).await.unwrap();
    let status = world.admin().status(&[]).await.unwrap().remove(0);
    assert_eq!(
        (status.rows, status.rejects, status.doubts, status.frozen),
        (2, 1, 1, 0)
    );
    assert!(status.running && !status.paused);
    world
        .finish(&ledger, &lease, rowcast_core::RunStatus::Cancelled)
        .await;
    let runs = world.admin().runs(Some(SYNC), 10).await.unwrap();
    let told: Vec<&str> = runs.iter().map(|run| run.status.as_str()).collect();
    assert_eq!(told, ["cancelled", "succeeded"]);
    assert_eq!(
        (runs[1].added, runs[1].rejected, runs[1].pending),
        (Some(3), Some(1), Some(1))
    );
    assert_eq!((runs[1].trigger.as_str(), runs[1].read), ("test", Some(3)));
    assert!(!world.admin().status(&[]).await.unwrap()[0].running);
    world.admin().set_paused(SYNC, true).await.unwrap();
    assert!(world.admin().is_paused(SYNC).await.unwrap());
    world.admin().set_paused(SYNC, false).await.unwrap();
    assert!(!world.admin().is_paused(SYNC).await.unwrap());
}

#[tokio::test]
async fn a_reject_that_is_no_longer_due_is_held_until_somebody_says_retry() {
    let mut world = World::with_customers("l_retry", 3).await;
    world.config.sync.retry.runs = 1;
    world.run_with(reject(1)).await.unwrap();
    assert_eq!(world.run_with(reject(1)).await.unwrap().list(), "a1!");
    let held = world.run_with(|_| None).await.unwrap();
    assert_eq!((held.list().as_str(), held.counts.retried), ("a1~", 1));
    assert_eq!(
        world.admin().rejects(SYNC, 10).await.unwrap()[0].attempts,
        2
    );
    assert_eq!(
        world
            .admin()
            .retry(SYNC, &[vec!["1".into()]])
            .await
            .unwrap(),
        1
    );
    assert_eq!(world.run().await.list(), "a1!");
    assert!(world.admin().rejects(SYNC, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_reject_is_held_when_it_is_too_old() {
    let mut world = World::with_customers("l_old", 3).await;
    world.config.sync.retry.within = Duration::from_secs(3600);
    world.run_with(reject(1)).await.unwrap();
    world
        .sql("UPDATE _rowcast.reject_1 SET first_at = first_at - interval '2 hours'")
        .await;
    assert_eq!(world.run().await.list(), "a1~");
    assert_eq!(world.admin().retry(SYNC, &[]).await.unwrap(), 1);
    assert_eq!(world.run().await.list(), "a1!");
}

#[tokio::test]
async fn a_reject_whose_row_came_back_to_what_was_delivered_is_forgotten() {
    let world = World::with_customers("l_back", 3).await;
    world.run().await;
    world
        .sql("UPDATE customers SET plan = 'x' WHERE id = 1; DELETE FROM customers WHERE id = 2")
        .await;
    let refuse = |change: &rowcast_core::Change| {
        Some(Verdict::Rejected {
            operation: if change.key == Key::int(2) {
                Operation::Delete
            } else {
                Operation::Upsert
            },
            reason: rowcast_core::Reason::new(Code::DestinationRejected, "no"),
            doubt: false,
        })
    };
    world.run_with(refuse).await.unwrap();
    assert_eq!(world.admin().rejects(SYNC, 10).await.unwrap().len(), 2);
    world.sql("UPDATE customers SET plan = 'p' WHERE id = 1; INSERT INTO customers VALUES (2, 'n2', 'p')").await;
    assert_eq!(world.run().await.list(), "");
    assert!(world.admin().rejects(SYNC, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn rule_4_a_baseline_accepts_the_present_rows_without_sending() {
    let mut world = World::with_customers("l_baseline", 3).await;
    let bad = |change: &rowcast_core::Change| reject(1)(change).or_else(|| lose(2)(change));
    world.run_with(bad).await.unwrap();
    world
        .sql("DELETE FROM customers WHERE id = 3; INSERT INTO customers VALUES (4, 'd', 'p')")
        .await;
    assert_eq!(world.ledger().baseline().await.unwrap(), 3);
    assert_eq!(world.run().await.list(), "");
    world.assert_counted().await;
    let left =
        "SELECT (SELECT count(*) FROM _rowcast.reject_1) + (SELECT count(*) FROM _rowcast.doubt_1)";
    assert_eq!(world.number(left).await, 0);
    let run = &world.admin().runs(Some(SYNC), 2).await.unwrap()[1];
    assert_eq!(
        (run.trigger.as_str(), run.status.as_str()),
        ("baseline", "succeeded")
    );
    assert_eq!((run.delivered, run.skipped), (Some(0), Some(4)));
    assert_eq!(
        world
            .number("SELECT count(*) FROM _rowcast.row_log WHERE outcome = 'delivered' AND run = 2")
            .await,
        0
    );
    // To another place: what was known of the old one is forgotten first.
    world
        .config
        .sync
        .identity
        .insert("destination".into(), "other".into());
    assert_eq!(world.ledger().baseline().await.unwrap(), 3);
    assert_eq!(world.run().await.list(), "");
    assert_eq!(
        world
            .number("SELECT generation::bigint FROM _rowcast.sync")
            .await,
        2
    );
}
