//! What holds a run: a source that moved back, columns that changed their type, removals.

use rowcast_core::guard::{Guard, Guards, judge};
use rowcast_core::{Mode, RunStatus};

use crate::harness::World;

async fn synced(name: &str) -> World {
    let world = World::new(name).await;
    world
        .sql("INSERT INTO customers SELECT i, 'n' || i, i::text FROM generate_series(1, 30) i")
        .await;
    world.run().await;
    world
}

#[tokio::test]
async fn rule_20_a_source_that_moved_back_is_held_until_somebody_says_so() {
    for (name, change) in [
        ("g_system", "system_identifier = '1'"),
        ("g_timeline", "timeline = 7"),
        ("g_position", "wal_position = 'FFFF/0'"),
    ] {
        let mut world = synced(name).await;
        world
            .sql(&format!("UPDATE _rowcast.progress SET {change}"))
            .await;
        assert_eq!(world.plan().await.unwrap().held, ["moved-back"], "{name}");
        assert_eq!(world.run().await.held, ["moved-back"]);
        // A run that fails before anyone judged says nothing about the source.
        let (ledger, lease, found) = world.begin().await;
        assert_eq!(found.held, ["moved-back"]);
        world.finish(&ledger, &lease, RunStatus::Failed).await;
        assert_eq!(world.run().await.held, ["moved-back"]);
        world.config.sync.overrides = vec![Guard::MovedBack];
        world.run().await;
        world.config.sync.overrides = vec![];
        assert!(world.run().await.held.is_empty(), "accepted once");
    }
}

#[tokio::test]
async fn rule_20_an_empty_model_is_held() {
    let world = synced("g_empty").await;
    world.sql("TRUNCATE customers").await;
    let plan = world.plan().await.unwrap();
    let held = judge(&Guards::default(), &plan.counts, Mode::Mirror.deletes(), 0);
    assert_eq!(held[0].guard, Guard::Empty);
}

#[tokio::test]
async fn rule_20_removals_are_counted_once_over_24_hours() {
    let world = synced("g_removed").await;
    world.sql("DELETE FROM customers WHERE id <= 6").await;
    let fails = |_: &rowcast_core::Change| Some(rowcast_core::Verdict::Pending);
    world.run_with(fails).await.unwrap();
    let second = world.run().await;
    assert_eq!(
        (second.counts.removed, second.counts.removed_24h),
        (6, 0),
        "found twice, removed once"
    );
    world.sql("DELETE FROM customers WHERE id <= 12").await;
    let third = world.plan().await.unwrap();
    assert_eq!(
        (
            third.counts.removed,
            third.counts.removed_24h,
            third.counts.state_rows
        ),
        (6, 6, 24)
    );
    let held = judge(&Guards::default(), &third.counts, true, 0);
    assert_eq!(held[0].guard, Guard::Removed);
}

#[tokio::test]
async fn rule_20_a_retyped_column_is_held_and_then_hashed_again() {
    let mut world = synced("g_retyped").await;
    world
        .sql("ALTER TABLE customers ALTER plan TYPE varchar(80)")
        .await;
    for _ in 0..2 {
        assert_eq!(world.run().await.held, ["columns"], "it stays held");
    }
    world.config.sync.overrides = vec![Guard::Columns];
    assert_eq!(
        world.run().await.list(),
        "",
        "the same text has the same checksum"
    );
    world.config.sync.overrides = vec![];
    assert!(world.run().await.held.is_empty());
}

#[tokio::test]
async fn rule_20_a_retyped_column_stays_held_when_the_mapping_changes_too() {
    let mut world = synced("g_both").await;
    world
        .sql("ALTER TABLE customers ALTER plan TYPE int USING plan::int")
        .await;
    world
        .config
        .sync
        .digests
        .insert("plan".into(), "edited".into());
    for _ in 0..2 {
        assert_eq!(world.run().await.held, ["columns"]);
    }
    world.config.sync.overrides = vec![Guard::Columns];
    assert_eq!(world.run().await.counts.updated, 30);
}
