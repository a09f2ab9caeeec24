//! Keys that are no keys: frozen, reported, and let go when they are unique again.

use rowcast_core::{Code, Key};
use rowcast_postgres::ledger::ModelBody;

use crate::harness::World;

/// A model over a table without a key, whose `id` is declared to be one.
async fn keyless(name: &str) -> World {
    let mut world = World::new(name).await;
    world.config.model.body = ModelBody::Sql("SELECT * FROM customers".into());
    world.config.model.primary_key = vec!["id".into()];
    world
        .sql("ALTER TABLE customers DROP CONSTRAINT customers_pkey; ALTER TABLE customers ALTER id DROP NOT NULL; \
              INSERT INTO customers VALUES (1, 'a', 'p'), (2, 'b', 'p'), (2, 'c', 'p'), (NULL, 'd', 'p'), (NULL, 'e', 'p')")
        .await;
    world
}

#[tokio::test]
async fn rule_19_duplicate_keys_are_frozen_and_null_keys_counted() {
    let world = keyless("d_frozen").await;
    let first = world.run().await;
    assert_eq!(
        (first.list().as_str(), &first.duplicates[..]),
        ("a1", &[Key::int(2)][..])
    );
    assert_eq!((first.counts.read, first.counts.invalid_keys), (5, 4));
    assert!(first.notes.iter().any(|note| note.contains("frozen")));
    assert!(
        world
            .admin()
            .why("customers_to_crm", &["2".into()])
            .await
            .unwrap()
            .frozen
    );
    // One of the two goes: the key is a key again.
    world.sql("DELETE FROM customers WHERE name = 'c'").await;
    let second = world.run().await;
    assert_eq!((second.list().as_str(), second.duplicates.len()), ("a2", 0));
    assert_eq!((second.counts.read, second.counts.invalid_keys), (4, 2));
    assert!(
        !world
            .admin()
            .why("customers_to_crm", &["2".into()])
            .await
            .unwrap()
            .frozen
    );
}

#[tokio::test]
async fn rule_19_a_key_that_was_delivered_is_not_removed_when_it_comes_twice() {
    let mut world = keyless("d_delivered").await;
    world.sql("DELETE FROM customers WHERE name = 'c'").await;
    world.run().await;
    world
        .sql("INSERT INTO customers VALUES (2, 'c', 'p')")
        .await;
    // The model's text changes, so uniqueness is looked at again.
    world.config.model.body = ModelBody::Sql("SELECT * FROM customers WHERE true".into());
    let next = world.run().await;
    assert_eq!((next.list().as_str(), next.counts.read), ("", 5));
    assert_eq!((next.counts.unchanged, next.counts.invalid_keys), (1, 4));
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.state_1").await,
        2
    );
    // Chosen keys count their own duplicates only.
    let request = rowcast_core::ledger::DiffRequest {
        keys: vec![Key::int(1)],
        ..Default::default()
    };
    let chosen = world
        .changes(&world.ledger(), None, &request)
        .await
        .unwrap();
    assert_eq!((chosen.counts.read, chosen.counts.invalid_keys), (1, 0));
}

#[tokio::test]
async fn rule_19_duplicates_that_were_not_looked_for_do_not_break_the_run() {
    let world = keyless("d_late").await;
    world.sql("DELETE FROM customers WHERE name = 'c'").await;
    world.run().await;
    world
        .sql("INSERT INTO customers VALUES (2, 'c', 'p'), (3, 'x', 'p'), (3, 'y', 'p')")
        .await;
    world.run().await;
    world.assert_counted().await;
    // The n-th run looks.
    world
        .sql("UPDATE _rowcast.progress SET runs_since_check = 20")
        .await;
    assert_eq!(world.run().await.duplicates.len(), 2);
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_19_only_a_complete_immediate_unique_index_over_not_null_columns_is_a_proof() {
    for (name, index) in [
        ("d_plain", "CREATE INDEX ON customers (id)"),
        (
            "d_partial",
            "CREATE UNIQUE INDEX ON customers (id) WHERE plan = 'q'",
        ),
        ("d_wider", "CREATE UNIQUE INDEX ON customers (id, name)"),
        (
            "d_expression",
            "CREATE UNIQUE INDEX ON customers ((id + length(name)))",
        ),
    ] {
        let mut world = World::new(name).await;
        world.config.model.primary_key = vec!["id".into()];
        world
            .sql(&format!(
                "ALTER TABLE customers DROP CONSTRAINT customers_pkey; {index}; \
                 INSERT INTO customers VALUES (1, 'a', 'p'), (1, 'bb', 'p')"
            ))
            .await;
        assert_eq!(world.run().await.duplicates, [Key::int(1)], "{index}");
    }
    // Two more that can't hold duplicates at rest: seen by what the catalog query says.
    for (name, index, proven) in [
        (
            "d_nullable",
            "ALTER TABLE customers ALTER id DROP NOT NULL; CREATE UNIQUE INDEX ON customers (id)",
            false,
        ),
        (
            "d_deferrable",
            "ALTER TABLE customers ADD UNIQUE (id) DEFERRABLE",
            false,
        ),
        ("d_unique", "CREATE UNIQUE INDEX ON customers (id)", true),
    ] {
        let mut world = World::new(name).await;
        world.config.model.primary_key = vec!["id".into()];
        world
            .sql(&format!(
                "ALTER TABLE customers DROP CONSTRAINT customers_pkey; {index}"
            ))
            .await;
        world.run().await;
        world
            .sql("UPDATE _rowcast.progress SET runs_since_check = 5")
            .await;
        world.run().await;
        // Proven: the count starts again with every run. Not proven: it goes on.
        let since = world
            .number("SELECT runs_since_check::bigint FROM _rowcast.progress")
            .await;
        assert_eq!(since == 0, proven, "{index}");
    }
}

#[tokio::test]
async fn rule_19_too_many_duplicates_are_an_error_before_any_request() {
    let world = keyless("d_many").await;
    world
        .sql("INSERT INTO customers SELECT i / 2, 'n', 'p' FROM generate_series(10, 20100) i")
        .await;
    assert_eq!(
        world.run_with(|_| None).await.unwrap_err().code,
        Code::DuplicateKeys
    );
}
