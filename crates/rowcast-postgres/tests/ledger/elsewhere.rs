//! State in another database: the same law, by a merge on the worker.

use rowcast_core::ledger::{DiffRequest, Ledger};
use rowcast_core::{Key, Mode};
use rowcast_postgres::ledger::ModelBody;
use rowcast_testkit::postgres::Cluster;

use crate::harness::{World, connector, lose, reject};

/// The table in one database, state in another; the role reads only.
async fn apart(name: &str) -> (World, tokio_postgres::Client) {
    let mut world = World::new(name).await;
    let state = Cluster::shared().database(&format!("{name}_state"));
    world.config.state = Some(connector(&state, "postgres"));
    (world, state.client().await)
}

async fn number(client: &tokio_postgres::Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn rule_23_state_elsewhere_keeps_the_same_law() {
    let (world, state) = apart("e_law").await;
    assert_eq!(world.plan().await.unwrap().list(), "");
    world
        .sql("INSERT INTO customers SELECT i, 'n' || i, 'p' FROM generate_series(-5, 20) i")
        .await;
    assert_eq!(world.run().await.counts.added, 26);
    let ours = "SELECT count(*) FROM pg_namespace WHERE nspname = '_rowcast'";
    assert_eq!(world.number(ours).await, 0, "the source is only read");
    world.sql("UPDATE customers SET plan = 'x' WHERE id = 7; DELETE FROM customers WHERE id IN (-5, 20); INSERT INTO customers VALUES (21, 'n', 'p')").await;
    let bad = |change: &rowcast_core::Change| reject(21)(change).or_else(|| lose(7)(change));
    let second = world.run_with(bad).await.unwrap();
    assert_eq!(second.list(), "d-5 d20 u7 a21");
    assert_eq!((second.counts.read, second.counts.unchanged), (25, 23));
    let third = world.run().await;
    assert_eq!(third.list(), "u7? a21!");
    let fourth = world.run().await;
    assert_eq!((fourth.list().as_str(), fourth.counts.unchanged), ("", 25));
    let counted = number(&state, "SELECT count(*) FROM _rowcast.state_1").await;
    let kept = number(&state, "SELECT rows FROM _rowcast.progress").await;
    assert_eq!((counted, kept), (25, 25));
}

#[tokio::test]
async fn rule_23_keys_meet_in_byte_order_whatever_the_collation() {
    let (mut world, _state) = apart("e_text").await;
    world.config.model.primary_key = vec!["name".into(), "id".into()];
    world
        .sql("ALTER TABLE customers DROP CONSTRAINT customers_pkey; \
              INSERT INTO customers VALUES (1, 'b', 'p'), (2, 'B', 'p'), (3, 'ä', 'p'), (4, 'a b', 'p'), (5, 'a-b', 'p'), (6, '', 'p'), \
              (7, '😀', 'p'), (8, U&'\\FF5E', 'p'), (10, 'b', 'p'), (9, 'b', 'p')")
        .await;
    assert_eq!(world.run().await.counts.added, 10);
    let quiet = world.run().await;
    assert_eq!((quiet.list().as_str(), quiet.counts.unchanged), ("", 10));
}

#[tokio::test]
async fn rule_23_an_interrupted_run_is_settled_elsewhere_too() {
    let (world, state) = apart("e_cut").await;
    world
        .sql("INSERT INTO customers SELECT i, 'n', 'p' FROM generate_series(1, 3) i")
        .await;
    let (ledger, lease, found) = world.begin().await;
    World::announce(&ledger, &lease, &found.changes).await;
    let mut step = world.delivered(&found.changes[..1]);
    step.close = vec![1];
    ledger.commit(&lease, step).await.unwrap();
    drop(ledger);
    state
        .batch_execute("UPDATE _rowcast.sync SET lease_until = NULL")
        .await
        .unwrap();
    assert_eq!(world.run().await.list(), "a2? a3?");
    assert_eq!(
        number(&state, "SELECT rows FROM _rowcast.progress").await,
        3
    );
}

#[tokio::test]
async fn rule_23_tombstones_duplicates_and_null_keys_are_the_same_elsewhere() {
    let (mut world, _state) = apart("e_frozen").await;
    world.config.model.body = ModelBody::Sql("SELECT * FROM customers".into());
    world.config.model.primary_key = vec!["id".into()];
    world.config.sync.mode = Mode::Insert;
    world
        .sql("ALTER TABLE customers DROP CONSTRAINT customers_pkey; ALTER TABLE customers ALTER id DROP NOT NULL; \
              INSERT INTO customers VALUES (1, 'a', 'p'), (2, 'b', 'p'), (2, 'c', 'p'), (NULL, 'd', 'p'), (3, 'e', 'p')")
        .await;
    let first = world.run().await;
    assert_eq!(
        (first.list().as_str(), &first.duplicates[..]),
        ("a1 a3", &[Key::int(2)][..])
    );
    assert_eq!((first.counts.read, first.counts.invalid_keys), (5, 3));
    world
        .sql("DELETE FROM customers WHERE name IN ('c', 'e')")
        .await;
    assert_eq!(world.run().await.list(), "d3 a2");
    let quiet = world.run().await;
    assert_eq!(
        (
            quiet.list().as_str(),
            quiet.counts.read,
            quiet.counts.state_rows
        ),
        ("", 3, 2)
    );
    world
        .sql("INSERT INTO customers VALUES (3, 'e', 'p')")
        .await;
    assert_eq!(
        world.run().await.list(),
        "u3",
        "its record was never removed"
    );
}

#[tokio::test]
async fn rule_23_chosen_keys_leave_everything_else_alone() {
    let (world, state) = apart("e_keys").await;
    world
        .sql("INSERT INTO customers SELECT i, 'n', 'p' FROM generate_series(1, 5) i")
        .await;
    world.run_with(reject(1)).await.unwrap();
    world
        .sql("DELETE FROM customers WHERE id > 3; UPDATE customers SET plan = 'x' WHERE id < 3")
        .await;
    let request = DiffRequest {
        keys: [2, 5].map(Key::int).into(),
        ..DiffRequest::default()
    };
    let ran = world
        .run_as(&world.ledger(), &request, false, |_| None)
        .await
        .unwrap();
    assert_eq!(ran.list(), "d5 u2");
    assert_eq!(
        number(&state, "SELECT count(*) FROM _rowcast.reject_1").await,
        1
    );
    assert_eq!(world.run().await.list(), "d4 a1!");
}
