//! What a mode skips is remembered; widening it sends what was skipped.

use rowcast_core::{Mode, Selection};

use crate::harness::World;

async fn synced(name: &str, mode: Mode) -> World {
    let mut world = World::new(name).await;
    world.config.sync.mode = mode;
    world
        .sql("INSERT INTO customers SELECT i, 'n' || i, 'p' FROM generate_series(1, 4) i")
        .await;
    world.run().await;
    world
}

#[tokio::test]
async fn rule_16_insert_remembers_skipped_updates_and_removed_rows() {
    let mut world = synced("m_insert", Mode::Insert).await;
    world
        .sql("UPDATE customers SET plan = 'x' WHERE id = 1; DELETE FROM customers WHERE id = 2")
        .await;
    assert_eq!(world.run().await.list(), "d2 u1");
    let quiet = world.run().await;
    assert_eq!(
        (
            quiet.list().as_str(),
            quiet.counts.unchanged,
            quiet.counts.state_rows
        ),
        ("", 3, 3)
    );
    world.assert_counted().await;
    assert_eq!(
        world
            .admin()
            .why("customers_to_crm", &["2".into()])
            .await
            .unwrap()
            .mark
            .as_deref(),
        Some("gone")
    );
    // It comes back: the record is still there, so it must not be inserted again.
    world
        .sql("INSERT INTO customers VALUES (2, 'n2', 'p')")
        .await;
    assert_eq!(world.run().await.list(), "u2");
    // Widened: what was skipped is sent.
    world.config.sync.mode = Mode::Upsert;
    assert_eq!(world.run().await.list(), "u1 u2");
    assert_eq!(world.run().await.list(), "");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_16_delete_sends_removals_only_and_mirror_afterwards_everything_else() {
    let mut world = synced("m_delete", Mode::Delete).await;
    world.sql("DELETE FROM customers WHERE id = 4").await;
    assert_eq!(world.run().await.list(), "d4");
    world.config.sync.mode = Mode::Mirror;
    let widened = world.run().await;
    assert_eq!(widened.list(), "u1 u2 u3");
    assert!(
        widened
            .notes
            .iter()
            .any(|note| note.contains("stay in the destination")),
        "{:?}",
        widened.notes
    );
}

#[tokio::test]
async fn rule_16_widening_on_makes_the_skipped_rows_updated() {
    let mut world = synced("m_on", Mode::Upsert).await;
    world.config.sync.on = Selection {
        updated: false,
        ..Selection::default()
    };
    world
        .sql("UPDATE customers SET plan = 'x' WHERE id = 3")
        .await;
    assert_eq!(world.run().await.list(), "u3", "skipped");
    assert_eq!(world.run().await.list(), "");
    world.config.sync.on = Selection::default();
    assert_eq!(world.run().await.list(), "u3", "sent");
}

#[tokio::test]
async fn rule_16_widening_where_adds_the_rows_concerned() {
    let mut world = World::new("m_where").await;
    world
        .sql("INSERT INTO customers SELECT i, 'n', 'p' FROM generate_series(1, 4) i")
        .await;
    world.config.model.filter = Some("id <= 2".into());
    assert_eq!(world.run().await.list(), "a1 a2");
    world.config.model.filter = Some("id <= 3".into());
    assert_eq!(world.run().await.list(), "a3");
}
