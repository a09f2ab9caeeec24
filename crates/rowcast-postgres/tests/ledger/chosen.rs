//! Runs over a part: chosen keys, a limit, a bounded spool; kept values; sealed plans.

use rowcast_core::ledger::DiffRequest;
use rowcast_core::{Key, Value};

use crate::harness::{World, reject};

async fn synced(name: &str) -> World {
    let world = World::with_customers(name, 5).await;
    world.run().await;
    world
}

async fn looked(world: &World, request: DiffRequest) -> crate::harness::Ran {
    world
        .changes(&world.ledger(), None, &request)
        .await
        .unwrap()
}

#[tokio::test]
async fn rule_29_chosen_keys_narrow_both_sides() {
    let world = synced("k_keys").await;
    world.sql("UPDATE customers SET plan = 'x' WHERE id < 3; DELETE FROM customers WHERE id > 3; INSERT INTO customers VALUES (6, 'f', 'p'), (7, 'g', 'p')").await;
    let request = DiffRequest {
        keys: [1, 3, 4, 6, 99].map(Key::int).into(),
        ..DiffRequest::default()
    };
    let ran = world
        .run_as(&world.ledger(), &request, false, |_| None)
        .await
        .unwrap();
    assert_eq!(ran.list(), "d4 u1 a6");
    assert_eq!((ran.counts.read, ran.counts.unchanged), (3, 1));
    assert_eq!(
        world.run().await.list(),
        "d5 u2 a7",
        "the others are as they were"
    );
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_29_chosen_keys_leave_the_rejects_of_others_alone() {
    let world = synced("k_rejects").await;
    world
        .sql("UPDATE customers SET plan = 'x' WHERE id = 1")
        .await;
    world.run_with(reject(1)).await.unwrap();
    let request = DiffRequest {
        keys: vec![Key::int(2)],
        ..DiffRequest::default()
    };
    world
        .run_as(&world.ledger(), &request, false, |_| None)
        .await
        .unwrap();
    assert_eq!(
        world
            .admin()
            .rejects("customers_to_crm", 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn rule_25_a_limit_ignores_removals_and_counts_the_rest_as_pending() {
    let world = synced("k_limit").await;
    world.sql("UPDATE customers SET plan = 'x' WHERE id < 3; DELETE FROM customers WHERE id = 5; INSERT INTO customers VALUES (6, 'f', 'p')").await;
    let request = DiffRequest {
        limit: Some(2),
        ..DiffRequest::default()
    };
    let ran = world
        .run_as(&world.ledger(), &request, false, |_| None)
        .await
        .unwrap();
    assert_eq!(ran.list(), "u1 u2");
    let counts = ran.counts;
    assert_eq!(
        (
            counts.removed,
            counts.beyond_limit,
            counts.read,
            counts.unchanged
        ),
        (0, 1, 5, 2)
    );
    assert_eq!(world.run().await.list(), "d5 a6");
}

#[tokio::test]
async fn rule_25_a_bounded_spool_takes_removed_then_known_then_new() {
    let world = synced("k_spool").await;
    world.sql("UPDATE customers SET plan = 'x' WHERE id < 3; DELETE FROM customers WHERE id = 5; INSERT INTO customers VALUES (6, 'f', 'p'), (7, 'g', 'p')").await;
    for (max, list, beyond) in [(1, "d5", 4), (3, "d5 u1 u2", 2), (9, "d5 u1 u2 a6 a7", 0)] {
        let request = DiffRequest {
            spool_records_max: Some(max),
            ..DiffRequest::default()
        };
        let found = looked(&world, request).await;
        assert_eq!(
            (found.list().as_str(), found.counts.beyond_limit),
            (list, beyond)
        );
        assert_eq!(
            (
                found.counts.removed,
                found.counts.updated,
                found.counts.added
            ),
            (1, 2, 2)
        );
    }
}

#[tokio::test]
async fn rule_28_the_digest_is_of_the_changes_and_not_of_their_order() {
    let world = synced("k_digest").await;
    let change =
        "UPDATE customers SET plan = 'x' WHERE id IN (1, 2); DELETE FROM customers WHERE id = 5";
    world.sql(change).await;
    let digest = world.plan().await.unwrap().counts.digest;
    // Stored the other way round, with another plan of the server.
    world.sql("CREATE TABLE turned AS SELECT * FROM customers ORDER BY id DESC; TRUNCATE customers; INSERT INTO customers SELECT * FROM turned").await;
    world
        .sql("ALTER ROLE postgres SET enable_hashjoin = off")
        .await;
    assert_eq!(world.plan().await.unwrap().counts.digest, digest);
    world.sql("ALTER ROLE postgres RESET enable_hashjoin").await;
    for another in [
        "UPDATE customers SET plan = 'y' WHERE id = 2",
        "DELETE FROM customers WHERE id = 4",
        "INSERT INTO customers VALUES (8, 'h', 'p')",
        "UPDATE customers SET plan = 'p' WHERE id = 1",
    ] {
        let before = world.plan().await.unwrap().counts.digest;
        world.sql(another).await;
        assert_ne!(
            world.plan().await.unwrap().counts.digest,
            before,
            "{another}"
        );
    }
}

#[tokio::test]
async fn rule_29_kept_values_are_those_that_were_sent() {
    let mut world = World::new("k_keep").await;
    world.config.sync.keep_rows = true;
    world
        .sql("INSERT INTO customers VALUES (1, 'a', 'p'), (2, 'b', 'p')")
        .await;
    world.run().await;
    // Rejected: what was sent before is what the destination has.
    world.sql("UPDATE customers SET name = 'new'").await;
    world.run_with(reject(1)).await.unwrap();
    world.sql("DELETE FROM customers").await;
    let next = world.plan().await.unwrap();
    assert_eq!(next.changes.len(), 2);
    for change in &next.changes {
        let name = if change.key == Key::int(1) {
            "a"
        } else {
            "new"
        };
        let row = change.row.as_ref().unwrap();
        assert_eq!(row.get("name"), Some(&Value::text(name)));
    }
    world.run().await;
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.sent_1").await,
        0
    );
}

#[tokio::test]
async fn rule_29_values_kept_later_are_known_from_the_next_sending() {
    let mut world = synced("k_later").await;
    world.config.sync.keep_rows = true;
    world
        .sql("UPDATE customers SET name = 'new' WHERE id = 2")
        .await;
    world.run().await;
    world.sql("DELETE FROM customers WHERE id < 3").await;
    let next = world.plan().await.unwrap();
    let known: Vec<bool> = [1, 2]
        .map(|key| {
            next.changes
                .iter()
                .any(|c| c.key == Key::int(key) && c.row.is_some())
        })
        .into();
    assert_eq!(known, [false, true]);
}
