//! Added, updated, removed, unchanged; rejects and doubts; counts that add up.

use rowcast_core::ledger::DiffRequest;
use rowcast_postgres::ledger::ModelBody;

use crate::harness::{World, describe, lose, reject};

#[tokio::test]
async fn a_second_run_finds_only_what_changed() {
    let world = World::new("basics").await;
    world
        .sql("INSERT INTO customers SELECT i, 'n' || i, 'free' FROM generate_series(1, 20) i")
        .await;
    let first = world.run().await;
    assert_eq!((first.counts.added, first.counts.read), (20, 20));
    world.sql("UPDATE customers SET plan = 'pro' WHERE id = 7; DELETE FROM customers WHERE id = 9; INSERT INTO customers VALUES (21, 'new', NULL)").await;
    let second = world.run().await;
    assert_eq!(
        second.list(),
        "d9 u7 a21",
        "removed, known, new: in this order"
    );
    assert_eq!((second.counts.unchanged, second.counts.read), (18, 20));
    let third = world.run().await;
    assert_eq!((third.list().as_str(), third.counts.unchanged), ("", 20));
}

#[tokio::test]
async fn a_first_run_over_two_connections_finds_every_row_once_wherever_it_lies() {
    // The checksum of an array is computed by the server, in another statement.
    for (name, before) in [
        ("first_halves", "SELECT 1"),
        (
            "first_halves_server",
            "ALTER TABLE customers ALTER plan TYPE text[] USING ARRAY[plan]",
        ),
    ] {
        let world = World::with_customers(name, 4000).await;
        world.sql(before).await;
        // Rows that were updated lie behind the others, and some pages have lost rows.
        world
            .sql(
                "UPDATE customers SET name = name || '!' WHERE id % 7 = 0; \
                 DELETE FROM customers WHERE id % 11 = 0; ANALYZE customers",
            )
            .await;
        let ledger = world.ledger().with_two_connections_from(Some(0));
        let ran = world
            .run_as(&ledger, &DiffRequest::default(), false, |_| None)
            .await
            .unwrap();
        let mut found: Vec<String> = ran.changes.iter().map(describe).collect();
        let order = found.clone();
        found.sort_by_key(|change| change[1..].parse::<i64>().ok());
        let expected: Vec<String> = (1..=4000)
            .filter(|id| id % 11 != 0)
            .map(|id| format!("a{id}"))
            .collect();
        assert_eq!(found, expected, "{name}");
        assert_ne!(order, expected, "rows come as they lie in the table");
        assert_eq!(world.run().await.list(), "");
    }
}

#[tokio::test]
async fn rule_4_rows_in_state_are_counted_exactly() {
    let world = World::new("rule4").await;
    world
        .sql("INSERT INTO customers SELECT i, 'n', 'p' FROM generate_series(1, 10) i")
        .await;
    world.run_with(reject(3)).await.unwrap();
    world.sql("DELETE FROM customers WHERE id IN (1, 2)").await;
    world.run_with(lose(3)).await.unwrap();
    world.run().await;
    let counted = world.number("SELECT count(*) FROM _rowcast.state_1").await;
    let kept = world.number("SELECT rows FROM _rowcast.progress").await;
    assert_eq!((counted, kept), (8, 8));
}

#[tokio::test]
async fn a_rejected_row_is_alone_in_the_next_run_with_its_newest_value() {
    let world = World::new("rejects").await;
    world
        .sql("INSERT INTO customers SELECT i, 'n', 'p' FROM generate_series(1, 10) i")
        .await;
    world.run_with(reject(3)).await.unwrap();
    let second = world.run_with(reject(3)).await.unwrap();
    assert_eq!(second.list(), "a3!");
    assert_eq!((second.counts.retried, second.counts.added), (1, 0));
    world
        .sql("UPDATE customers SET plan = 'new' WHERE id = 3")
        .await;
    let third = world.run().await;
    assert_eq!(third.list(), "a3!");
    let plan = third.changes[0]
        .row
        .as_ref()
        .and_then(|row| row.get("plan"))
        .cloned();
    assert_eq!(plan, Some("new".into()));
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_8_a_doubt_is_sent_again_even_when_the_row_came_back_to_its_old_value() {
    let world = World::new("rule8").await;
    world
        .sql("INSERT INTO customers VALUES (1, 'a', 'p')")
        .await;
    world.run().await;
    world.sql("UPDATE customers SET name = 'b'").await;
    world.run_with(lose(1)).await.unwrap();
    world.sql("UPDATE customers SET name = 'a'").await;
    let next = world.run().await;
    assert_eq!(next.list(), "u1?", "the destination may hold b");
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn a_query_whose_rows_come_in_the_order_of_their_key_is_compared_as_any_other() {
    let mut world = World::with_customers("sortedquery", 700).await;
    // State does not fit the memory of a hash join, and the server groups in the key's order.
    let name = &world.database.name;
    world
        .sql(&format!(
            "ALTER DATABASE {name} SET work_mem = '64kB'; \
             ALTER DATABASE {name} SET hash_mem_multiplier = 1; \
             ALTER DATABASE {name} SET enable_hashagg = off; ANALYZE customers"
        ))
        .await;
    world.config.model.body = ModelBody::Sql(
        "SELECT id, min(name) AS name, max(plan) AS plan FROM customers GROUP BY id".into(),
    );
    world.config.model.primary_key = vec!["id".into()];
    assert_eq!(world.run().await.counts.added, 700);
    world
        .sql(
            "UPDATE customers SET plan = 'pro' WHERE id = 7; \
             DELETE FROM customers WHERE id IN (1, 700); INSERT INTO customers VALUES (0, 'new', NULL)",
        )
        .await;
    let second = world.run().await;
    assert_eq!(second.list(), "d1 d700 u7 a0");
    assert_eq!((second.counts.unchanged, second.counts.read), (697, 699));
    assert_eq!(world.run().await.list(), "");
}
