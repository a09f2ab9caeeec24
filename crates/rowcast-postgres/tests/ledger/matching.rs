//! Identities outside the primary key, under a mode that deletes.

use rowcast_core::change::Conflict;
use rowcast_core::{Key, Kind, Value};

use crate::harness::{World, lose, reject};

/// Rows 1 and 2 are delivered as `a` and `b`, matched on `name`.
async fn matched(name: &str) -> World {
    let mut world = World::new(name).await;
    world.config.sync.match_columns = Some(vec!["name".into()]);
    world
        .sql("INSERT INTO customers VALUES (1, 'a', 'p'), (2, 'b', 'p')")
        .await;
    world.run().await;
    world
}

fn delivered(name: &str) -> Vec<Value> {
    vec![Value::text(name)]
}

#[tokio::test]
async fn rule_12_a_changed_identity_comes_with_the_one_that_was_delivered() {
    let world = matched("i_changed").await;
    world.sql("UPDATE customers SET name = 'c' WHERE id = 1; UPDATE customers SET plan = 'x' WHERE id = 2").await;
    let next = world.plan().await.unwrap();
    assert_eq!(next.list(), "u1 u2");
    for change in &next.changes {
        let was = if change.key == Key::int(1) { "a" } else { "b" };
        assert_eq!(change.delivered_match, Some(delivered(was)));
        assert_eq!(change.conflict, None);
    }
}

#[tokio::test]
async fn rule_12_a_removed_row_carries_its_identity() {
    let world = matched("i_removed").await;
    world.sql("DELETE FROM customers WHERE id = 1").await;
    let next = world.run().await;
    assert_eq!(next.changes[0].delivered_match, Some(delivered("a")));
    assert_eq!(next.changes[0].conflict, None);
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_12_a_removed_identity_that_a_present_row_claims_is_not_deleted() {
    let world = matched("i_claimed").await;
    world
        .sql("DELETE FROM customers WHERE id = 1; INSERT INTO customers VALUES (3, 'a', 'p')")
        .await;
    let first = world.run_with(reject(3)).await.unwrap();
    assert_eq!(first.list(), "d1 a3");
    assert_eq!(
        first.changes[0].conflict,
        Some(Conflict::TakenOver { settled: false })
    );
    // The other row was not delivered: state still answers for the record.
    assert_eq!(
        world
            .number("SELECT count(*) FROM _rowcast.state_1 WHERE m = '[\"a\"]'")
            .await,
        1
    );
    let second = world.run().await;
    assert_eq!(second.list(), "d1 a3!");
    let third = world.run().await;
    assert_eq!(third.list(), "d1");
    assert_eq!(
        third.changes[0].conflict,
        Some(Conflict::TakenOver { settled: true })
    );
    assert_eq!(world.run().await.list(), "");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_12_two_gone_rows_do_not_settle_each_other() {
    let world = matched("i_both").await;
    // 1 hands `a` to 3, which is delivered; then 3 goes as well, and 4 claims it but is rejected.
    world
        .sql("DELETE FROM customers WHERE id = 1; INSERT INTO customers VALUES (3, 'a', 'p')")
        .await;
    world.run().await;
    world
        .sql("UPDATE _rowcast.state_1 SET h = 1 WHERE k1 = 1")
        .await;
    world
        .sql("DELETE FROM customers WHERE id = 3; INSERT INTO customers VALUES (4, 'a', 'p')")
        .await;
    let next = world.run_with(reject(4)).await.unwrap();
    assert_eq!(next.list(), "d1 d3 a4");
    for change in next
        .changes
        .iter()
        .filter(|change| change.kind == Kind::Removed)
    {
        assert_eq!(
            change.conflict,
            Some(Conflict::TakenOver { settled: false }),
            "{}",
            change.key
        );
    }
    // 4 leaves undelivered: the record is still known and can be deleted.
    world.sql("DELETE FROM customers WHERE id = 4").await;
    assert!(world.run().await.list().starts_with('d'));
}

#[tokio::test]
async fn rule_12_two_rows_that_claim_one_identity_are_invalid_and_name_each_other() {
    let world = matched("i_twice").await;
    world
        .sql("INSERT INTO customers VALUES (3, 'c', 'p'), (4, 'c', 'p')")
        .await;
    let next = world.run().await;
    assert_eq!(next.list(), "a3 a4");
    for change in &next.changes {
        let other = if change.key == Key::int(3) { 4 } else { 3 };
        assert_eq!(
            change.conflict,
            Some(Conflict::Claimed {
                by: Key::int(other)
            })
        );
    }
    world.sql("DELETE FROM customers WHERE id = 4").await;
    let next = world.run().await;
    assert_eq!(
        (next.list().as_str(), &next.changes[0].conflict),
        ("a3", &None)
    );
}

#[tokio::test]
async fn rule_12_identities_can_be_swapped() {
    let world = matched("i_swap").await;
    world
        .sql("UPDATE customers SET name = CASE name WHEN 'a' THEN 'b' ELSE 'a' END")
        .await;
    let next = world.run().await;
    assert_eq!(next.list(), "u1 u2");
    for change in &next.changes {
        let was = if change.key == Key::int(1) { "a" } else { "b" };
        assert_eq!(
            (&change.delivered_match, &change.conflict),
            (&Some(delivered(was)), &None)
        );
    }
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_12_chosen_keys_do_not_hide_who_else_claims_an_identity() {
    let world = matched("i_chosen").await;
    world
        .sql("DELETE FROM customers WHERE id = 1; INSERT INTO customers VALUES (3, 'a', 'p')")
        .await;
    let request = rowcast_core::ledger::DiffRequest {
        keys: vec![Key::int(1)],
        ..Default::default()
    };
    let found = world
        .changes(&world.ledger(), None, &request)
        .await
        .unwrap();
    assert_eq!(
        found.changes[0].conflict,
        Some(Conflict::TakenOver { settled: false })
    );
}

#[tokio::test]
async fn rule_12_a_skipped_change_keeps_the_identity_that_was_delivered() {
    let mut world = matched("i_skipped").await;
    world.config.sync.on.updated = false;
    world
        .sql("UPDATE customers SET name = 'c' WHERE id = 1")
        .await;
    assert_eq!(world.run().await.list(), "u1");
    world.sql("DELETE FROM customers WHERE id = 1").await;
    assert_eq!(
        world.run().await.changes[0].delivered_match,
        Some(delivered("a"))
    );
}

#[tokio::test]
async fn rule_12_a_mode_that_begins_to_delete_learns_the_identities_first() {
    let mut world = World::new("i_begins").await;
    world.config.sync.mode = rowcast_core::Mode::Upsert;
    world
        .sql("INSERT INTO customers VALUES (1, 'a', 'p')")
        .await;
    world.run().await;
    world.config.sync.mode = rowcast_core::Mode::Mirror;
    world.config.sync.match_columns = Some(vec!["name".into()]);
    assert_eq!(world.run().await.list(), "u1");
    world.sql("DELETE FROM customers").await;
    assert_eq!(
        world.run().await.changes[0].delivered_match,
        Some(delivered("a"))
    );
}

#[tokio::test]
async fn rule_12_a_lost_answer_keeps_the_identity_that_was_attempted() {
    let world = matched("i_lost").await;
    world
        .sql("INSERT INTO customers VALUES (3, 'c', 'p')")
        .await;
    world.run_with(lose(3)).await.unwrap();
    world.sql("DELETE FROM customers WHERE id = 3").await;
    let next = world.run().await;
    assert_eq!(
        (next.list().as_str(), &next.changes[0].delivered_match),
        ("d3?", &Some(delivered("c")))
    );
}
