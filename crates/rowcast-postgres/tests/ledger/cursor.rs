//! Cursor runs read little and lose nothing.

use std::time::Duration;

use rowcast_core::{Mode, Reason, Verdict};
use rowcast_postgres::ledger::CursorSpec;

use crate::harness::{World, lose, reject};

/// Rows 1 to 5, changed at noon plus their number in minutes; an overlap of one minute.
async fn by_cursor(name: &str, mode: Mode) -> World {
    let mut world = World::new(name).await;
    world.config.sync.mode = mode;
    world.config.model.cursor = Some(CursorSpec {
        column: "at".into(),
        overlap: Duration::from_secs(60),
        full_every: Duration::from_secs(24 * 3600),
    });
    world
        .sql(
            "ALTER TABLE customers ADD at timestamptz; \
             INSERT INTO customers SELECT i, 'n' || i, 'p', '2026-01-01 12:00Z'::timestamptz + i * interval '1 min' \
             FROM generate_series(1, 5) i",
        )
        .await;
    assert_eq!(world.run().await.counts.added, 5);
    world
}

async fn watermark(world: &World) -> i64 {
    world
        .number("SELECT (extract(epoch FROM watermark::timestamptz - '2026-01-01 12:00Z'::timestamptz) / 60)::bigint FROM _rowcast.progress")
        .await
}

#[tokio::test]
async fn rule_18_only_rows_behind_the_watermark_less_the_overlap_are_read() {
    let world = by_cursor("c_window", Mode::Upsert).await;
    assert_eq!(watermark(&world).await, 5);
    // Without its cursor a change is not seen; within the overlap a late commit is.
    world
        .sql("UPDATE customers SET plan = 'x' WHERE id IN (1, 4); INSERT INTO customers VALUES (6, 'f', 'p', '2026-01-01 12:09Z')")
        .await;
    let next = world.run().await;
    assert_eq!((next.list().as_str(), next.counts.read), ("u4 a6", 3));
    assert_eq!(watermark(&world).await, 9);
    // Once a day everything is compared.
    world
        .sql("UPDATE _rowcast.progress SET full_diff_at = now() - interval '1 day'")
        .await;
    let full = world.run().await;
    assert_eq!((full.list().as_str(), full.counts.read), ("u1", 6));
    assert_eq!(
        watermark(&world).await,
        9,
        "and the watermark does not move back"
    );
}

#[tokio::test]
async fn rule_18_rejects_and_doubts_outside_the_window_are_read() {
    let world = by_cursor("c_retried", Mode::Upsert).await;
    world
        .sql("UPDATE customers SET plan = 'x', at = '2026-01-01 13:00Z' WHERE id IN (1, 2)")
        .await;
    let bad = |change: &rowcast_core::Change| reject(1)(change).or_else(|| lose(2)(change));
    world.run_with(bad).await.unwrap();
    world
        .sql("INSERT INTO customers VALUES (6, 'f', 'p', '2026-01-01 15:00Z')")
        .await;
    assert_eq!(world.run_with(bad).await.unwrap().list(), "u1! u2? a6");
    world
        .sql("UPDATE customers SET at = '2025-01-01' WHERE id IN (1, 2)")
        .await;
    assert_eq!(world.run().await.list(), "u1! u2?");
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_18_the_watermark_waits_for_what_is_pending_or_invalid() {
    let world = by_cursor("c_pending", Mode::Upsert).await;
    let later = "UPDATE customers SET plan = plan || 'x', at = at + interval '1 hour' WHERE id = 1";
    for verdict in [
        Verdict::Pending,
        Verdict::Invalid(Reason::new(rowcast_core::Code::CastFailed, "no number")),
    ] {
        world.sql(later).await;
        world.run_with(|_| Some(verdict.clone())).await.unwrap();
        assert_eq!(watermark(&world).await, 5);
    }
    assert_eq!(world.run().await.list(), "u1");
    assert_eq!(watermark(&world).await, 121);
}

#[tokio::test]
async fn rule_18_mirror_finds_removed_rows_outside_the_window() {
    let world = by_cursor("c_mirror", Mode::Mirror).await;
    world.sql("DELETE FROM customers WHERE id IN (1, 5)").await;
    let next = world.run().await;
    assert_eq!((next.list().as_str(), next.counts.read), ("d1 d5", 1));
    assert_eq!(world.run().await.list(), "");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_18_a_moment_that_has_not_come_does_not_carry_the_watermark_away() {
    let world = by_cursor("c_future", Mode::Upsert).await;
    world.sql("UPDATE customers SET plan = 'x', at = 'infinity' WHERE id = 1; UPDATE customers SET plan = 'x', at = '2099-01-01' WHERE id = 2").await;
    assert_eq!(world.run().await.list(), "u1 u2");
    world
        .sql("UPDATE customers SET plan = 'y', at = now() WHERE id = 3")
        .await;
    assert_eq!(world.run().await.list(), "u3");
}

#[tokio::test]
async fn rule_18_an_edit_of_mapping_or_where_compares_all_rows() {
    let mut world = by_cursor("c_edit", Mode::Upsert).await;
    world
        .config
        .sync
        .digests
        .insert("name".into(), "edited".into());
    // Cut in the middle: the rest is far behind the watermark and still found.
    let cut = |change: &rowcast_core::Change| {
        (change.key < rowcast_core::Key::int(3)).then_some(Verdict::Pending)
    };
    assert_eq!(world.run_with(cut).await.unwrap().counts.updated, 5);
    assert_eq!(world.run().await.list(), "u1 u2");
    assert_eq!(world.run().await.counts.read, 2, "only the window again");
    world.config.model.filter = Some("id > 1".into());
    assert_eq!(world.run().await.counts.read, 4);
    world.config.model.filter = None;
    let open = rowcast_core::ledger::DiffRequest::default();
    let full = world
        .run_as(&world.ledger(), &open, true, |_| None)
        .await
        .unwrap();
    assert_eq!(full.counts.read, 5);
}
