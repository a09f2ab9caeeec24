//! Edits of the mapping: what is sent again, and what is only hashed again.

use rowcast_core::ledger::DiffRequest;
use rowcast_core::{Key, Verdict};

use crate::harness::World;

async fn synced(name: &str) -> World {
    let world = World::with_customers(name, 5).await;
    world.run().await;
    world
}

fn drop_field(world: &mut World, field: &str) {
    world.config.sync.digests.remove(field);
    world
        .config
        .sync
        .columns
        .retain(|column| &**column != field);
}

#[tokio::test]
async fn rule_6_an_edit_that_changes_a_field_makes_every_row_updated_and_resumes_when_cut() {
    let mut world = synced("r_edit").await;
    world
        .config
        .sync
        .digests
        .insert("name".into(), "upper(name)".into());
    assert_eq!(world.plan().await.unwrap().list(), "u1 u2 u3 u4 u5");
    let cut =
        |change: &rowcast_core::Change| (change.key > Key::int(2)).then_some(Verdict::Pending);
    assert_eq!(world.run_with(cut).await.unwrap().counts.updated, 5);
    assert_eq!(world.run().await.list(), "u3 u4 u5", "the rest");
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_6_a_full_run_sends_every_row_and_resumes_when_cut() {
    let world = synced("r_full").await;
    let cut =
        |change: &rowcast_core::Change| (change.key > Key::int(3)).then_some(Verdict::Pending);
    let request = DiffRequest::default();
    let first = world
        .run_as(&world.ledger(), &request, true, cut)
        .await
        .unwrap();
    assert_eq!(first.counts.updated, 5);
    assert_eq!(world.run().await.list(), "u4 u5");
}

#[tokio::test]
async fn rule_6_an_edit_that_only_removes_a_field_sends_nothing_but_what_was_pending() {
    let mut world = synced("r_less").await;
    let before = world
        .number("SELECT h FROM _rowcast.state_1 WHERE k1 = 1")
        .await;
    world.sql("UPDATE customers SET name = 'new' WHERE id = 2; INSERT INTO customers VALUES (6, 'f', 'p')").await;
    world.run_with(crate::harness::reject(2)).await.unwrap();
    world.sql("DELETE FROM customers WHERE id = 3").await;
    drop_field(&mut world, "plan");
    assert_eq!(world.plan().await.unwrap().list(), "d3 u2!");
    let next = world.run().await;
    assert_eq!(next.list(), "d3 u2!");
    assert_ne!(
        world
            .number("SELECT h FROM _rowcast.state_1 WHERE k1 = 1")
            .await,
        before,
        "hashed again"
    );
    assert_eq!(world.run().await.list(), "");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_6_when_the_old_checksums_cannot_be_computed_a_person_decides() {
    let mut world = synced("r_gone").await;
    drop_field(&mut world, "plan");
    world.sql("ALTER TABLE customers DROP COLUMN plan").await;
    for _ in 0..2 {
        assert_eq!(world.run().await.held, ["rehash"], "it stays held");
    }
    world.config.sync.overrides = vec![rowcast_core::guard::Guard::Rehash];
    assert_eq!(world.run().await.list(), "u1 u2 u3 u4 u5");
    world.config.sync.overrides = vec![];
    let after = world.run().await;
    assert_eq!((after.list().as_str(), after.held.len()), ("", 0));
}

#[tokio::test]
async fn rule_6_a_baseline_decides_the_other_way() {
    let mut world = synced("r_baseline").await;
    drop_field(&mut world, "plan");
    world.sql("ALTER TABLE customers DROP COLUMN plan").await;
    assert_eq!(world.run().await.held, ["rehash"]);
    assert_eq!(world.ledger().baseline().await.unwrap(), 5);
    let after = world.run().await;
    assert_eq!((after.list().as_str(), after.held.len()), ("", 0));
}

#[tokio::test]
async fn rule_7_removed_rows_and_doubts_are_found_beside_each_other() {
    let world = synced("r_null").await;
    world.run_with(|_| None).await.unwrap();
    world.sql("UPDATE _rowcast.state_1 SET h = NULL WHERE k1 IN (1, 2); DELETE FROM customers WHERE id IN (1, 3)").await;
    let next = world.run().await;
    assert_eq!(next.list(), "d1 d3 u2");
    assert_eq!(next.counts.unchanged, 2);
}
