//! What is forgotten, and when: histories by age, what deliveries stand on never.

use std::time::Duration;

use rowcast_core::ledger::DiffRequest;
use rowcast_postgres::ledger::Retention;

use crate::harness::World;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn runs_and_rows_are_forgotten_by_age_and_state_is_not() {
    let world = World::new("forgetting").await;
    world
        .sql("INSERT INTO customers VALUES (1, 'a', 'p'), (2, 'b', 'p')")
        .await;
    world.run().await;
    // Runs as they would be found after so many days, each with a line of the row log.
    for days in [4, 6, 9, 11, 400] {
        world
            .sql(&format!(
                "WITH old AS (INSERT INTO _rowcast.run_history (sync_id, generation, epoch, trigger, status, started_at)
                   VALUES (1, 1, 1, '{days}', 'succeeded', clock_timestamp() - interval '{days} days') RETURNING run)
                 INSERT INTO _rowcast.row_history (run, sync_id, key, change, outcome, at)
                   SELECT run, 1, '[{days}]', 'added', 'rejected', clock_timestamp() - interval '{days} days' FROM old"
            ))
            .await;
    }
    let ledger = world.ledger().with_retention(Retention {
        runs: 10 * DAY,
        row_log: 5 * DAY,
    });
    let next = world
        .run_as(&ledger, &DiffRequest::default(), false, |_| None)
        .await
        .unwrap();
    assert_eq!(next.list(), "", "nothing is sent again");
    let runs = "SELECT trigger FROM _rowcast.runs WHERE trigger <> 'test' ORDER BY run";
    assert_eq!(world.texts(runs).await, ["4", "6", "9"]);
    let rows = "SELECT key FROM _rowcast.row_log WHERE key IN ('[4]', '[6]', '[9]', '[11]', '[400]') ORDER BY at DESC";
    assert_eq!(world.texts(rows).await, ["[4]"]);
    assert!(world.number("SELECT count(*) FROM _rowcast.state_1").await >= 2);
}

#[tokio::test]
async fn a_run_is_remembered_for_two_days_whatever_is_asked() {
    let world = World::new("remembering").await;
    world.run().await;
    world
        .sql(
            "INSERT INTO _rowcast.run_history (sync_id, generation, epoch, trigger, status, started_at)
             SELECT 1, 1, 1, hours::text, 'succeeded', clock_timestamp() - hours * interval '1 hour'
             FROM unnest(ARRAY[1, 47, 49]) hours",
        )
        .await;
    let ledger = world.ledger().with_retention(Retention {
        runs: Duration::ZERO,
        row_log: Duration::ZERO,
    });
    world
        .run_as(&ledger, &DiffRequest::default(), false, |_| None)
        .await
        .unwrap();
    // The guard on removals looks back a day.
    let runs = "SELECT trigger FROM _rowcast.runs WHERE trigger <> 'test' ORDER BY run";
    assert_eq!(world.texts(runs).await, ["1", "47"]);
}
