//! Changes that lie beside state for a while, and everybody who must see them.

use rowcast_core::ledger::{DiffRequest, Ledger};
use rowcast_core::{Mode, RunStatus};
use rowcast_postgres::ledger::{PgLedger, RecentPolicy};

use crate::harness::{Ran, World, lose};

/// Changes stay beside state.
const BESIDE: RecentPolicy = RecentPolicy {
    from: 0,
    run: 1_000,
    keep: 1_000,
};

fn beside(world: &World) -> PgLedger {
    world.ledger().with_recent(BESIDE)
}

async fn run(world: &World) -> Ran {
    let ledger = beside(world);
    world
        .run_as(&ledger, &DiffRequest::default(), false, |_| None)
        .await
        .unwrap()
}

async fn recent(world: &World) -> i64 {
    world.number("SELECT count(*) FROM _rowcast.recent_1").await
}

/// Ten customers in state, of which 2 was updated and 3 removed lately.
async fn with_recent(name: &str) -> World {
    let world = World::with_customers(name, 10).await;
    run(&world).await;
    assert_eq!(recent(&world).await, 0, "new rows go into state");
    world
        .sql("UPDATE customers SET plan = 'x' WHERE id = 2; DELETE FROM customers WHERE id = 3")
        .await;
    assert_eq!(run(&world).await.list(), "d3 u2");
    assert_eq!(recent(&world).await, 2);
    world.assert_counted().await;
    world
}

#[tokio::test]
async fn rule_4_recent_changes_are_counted_and_seen_by_everybody() {
    let world = with_recent("recent_seen").await;
    let admin = world.admin();
    assert_eq!(admin.status(&[]).await.unwrap()[0].rows, 9);
    assert_eq!(world.plan().await.unwrap().list(), "");
    let why = async |key: &str| {
        let why = admin.why("customers_to_crm", &[key.into()]).await.unwrap();
        (why.acknowledged_run, why.mark)
    };
    let delivered = Some("delivered".to_owned());
    assert_eq!(why("2").await, (Some(2), delivered.clone()));
    assert_eq!(why("3").await, (None, None));
    assert_eq!(why("4").await, (Some(1), delivered));
    assert_eq!(run(&world).await.list(), "");
    // Another change of the same rows takes their place.
    world
        .sql("UPDATE customers SET plan = 'p' WHERE id = 2; INSERT INTO customers VALUES (3, 'n3', 'p')")
        .await;
    assert_eq!(world.plan().await.unwrap().list(), "u2 a3");
    assert_eq!(run(&world).await.list(), "u2 a3");
    assert_eq!(recent(&world).await, 2);
    world.assert_counted().await;
    assert_eq!(run(&world).await.list(), "");
    assert_eq!(admin.reset("customers_to_crm").await.unwrap(), 10);
    assert_eq!(run(&world).await.changes.len(), 10);
    world.assert_counted().await;
}

/// A run that changes much writes where its rows are, and must not leave older ones above them.
#[tokio::test]
async fn rule_1_what_is_written_into_state_takes_the_place_of_what_is_recent() {
    let world = with_recent("recent_direct").await;
    world
        .sql("UPDATE customers SET plan = 'y' WHERE id < 5; INSERT INTO customers VALUES (3, 'n3', 'p')")
        .await;
    assert_eq!(world.run().await.list(), "u1 u2 u4 a3");
    assert_eq!(recent(&world).await, 0);
    world.assert_counted().await;
    assert_eq!(run(&world).await.list(), "");
}

/// New rows come into state by their intents, among them one that was removed lately.
#[tokio::test]
async fn rule_1_a_removed_key_that_comes_back_is_folded_as_new() {
    let world = with_recent("recent_whole").await;
    world
        .sql("INSERT INTO customers VALUES (3, 'n3', 'p'), (11, 'n11', 'p')")
        .await;
    assert_eq!(world.plan().await.unwrap().list(), "a3 a11");
    assert_eq!(beside(&world).baseline().await.unwrap(), 2);
    world.assert_counted().await;
    assert_eq!(recent(&world).await, 1, "the update of 2");
    assert_eq!(run(&world).await.list(), "");
    let state =
        "SELECT count(*) FROM _rowcast.state_1 WHERE k1 IN (3, 11) AND h IS NOT NULL AND run = 3";
    assert_eq!(world.number(state).await, 2);
}

#[tokio::test]
async fn rule_8_a_recent_key_may_be_doubted() {
    let world = with_recent("recent_doubt").await;
    world
        .sql("UPDATE customers SET plan = 'z' WHERE id IN (2, 4)")
        .await;
    let ledger = beside(&world);
    let ran = world
        .run_as(&ledger, &DiffRequest::default(), false, lose(2))
        .await
        .unwrap();
    assert_eq!(ran.list(), "u2 u4");
    world.assert_counted().await;
    // It came back to what was delivered first: it is sent all the same.
    world
        .sql("UPDATE customers SET plan = 'p' WHERE id = 2")
        .await;
    assert_eq!(run(&world).await.list(), "u2?");
    assert_eq!(run(&world).await.list(), "");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_8_recent_acknowledgements_are_not_doubted_after_a_crash() {
    let world = with_recent("recent_crash").await;
    world
        .sql("UPDATE customers SET plan = 'z' WHERE id IN (4, 5); DELETE FROM customers WHERE id = 6")
        .await;
    let ledger = beside(&world);
    let lease = world.open(&ledger).await.unwrap();
    let mut found = world
        .changes(&ledger, Some(&lease), &DiffRequest::default())
        .await
        .unwrap();
    found.changes.sort_by(|a, b| a.key.cmp(&b.key));
    World::announce(&ledger, &lease, &found.changes).await;
    let [first, _, last] = &found.changes[..] else {
        panic!("{}", found.list());
    };
    let step = world.delivered(&[first.clone(), last.clone()]);
    ledger.commit(&lease, step).await.unwrap();
    assert_eq!(recent(&world).await, 4);
    world.holder_dies().await;
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    assert_eq!(run(&world).await.list(), "u5?");
    world.assert_counted().await;
    assert_eq!(run(&world).await.list(), "");
}

#[tokio::test]
async fn rule_6_checksums_of_recent_rows_are_rewritten_too() {
    let mut world = with_recent("recent_rehash").await;
    world.config.sync.columns = vec!["plan".into()];
    world.config.sync.digests.remove("name");
    assert_eq!(run(&world).await.list(), "");
    assert_eq!(recent(&world).await, 0);
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_16_a_new_mode_finds_recent_rows_in_state() {
    let mut world = with_recent("recent_mode").await;
    world.config.sync.mode = Mode::Insert;
    world
        .sql("UPDATE customers SET plan = 'z' WHERE id = 2; DELETE FROM customers WHERE id = 4")
        .await;
    let ran = run(&world).await;
    assert_eq!(ran.list(), "d4 u2", "both are skipped");
    world.assert_counted().await;
    assert_eq!(run(&world).await.list(), "");
    world.config.sync.mode = Mode::Mirror;
    assert_eq!(run(&world).await.list(), "u2");
    assert_eq!(run(&world).await.list(), "");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_13_a_run_that_was_taken_over_moves_nothing() {
    let world = with_recent("recent_fence").await;
    world
        .sql("UPDATE customers SET plan = 'z' WHERE id = 5")
        .await;
    let none = RecentPolicy { keep: 0, ..BESIDE };
    let ledger = world.ledger().with_recent(none);
    let lease = world.open(&ledger).await.unwrap();
    let found = world
        .changes(&ledger, Some(&lease), &DiffRequest::default())
        .await
        .unwrap();
    let step = world.delivered(&found.changes);
    ledger.commit(&lease, step).await.unwrap();
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    let other = beside(&world);
    let newer = world.open(&other).await.unwrap();
    let report = rowcast_core::RunReport::new("s".into(), lease.run, 0);
    let refused = ledger.finish(&lease, &report).await.unwrap_err();
    assert_eq!(refused.code, rowcast_core::Code::LeaseLost);
    assert_eq!(recent(&world).await, 3);
    world.finish(&other, &newer, RunStatus::Succeeded).await;
    world.assert_counted().await;
    assert_eq!(run(&world).await.list(), "");
}

/// Several runs over a table of some pages: what is too much is moved, and each time elsewhere.
#[tokio::test]
async fn recent_rows_are_moved_into_state_stretch_by_stretch() {
    let mut world = World::with_customers("recent_moved", 12_000).await;
    let policy = RecentPolicy { keep: 10, ..BESIDE };
    let run = async || {
        let ledger = world.ledger().with_recent(policy);
        world
            .run_as(&ledger, &DiffRequest::default(), false, |_| None)
            .await
            .unwrap()
    };
    assert_eq!(world.ledger().baseline().await.unwrap(), 12_000);
    let mut pages = std::collections::BTreeSet::new();
    let mut kept = 0;
    for round in 0..6 {
        world
            .sql(&format!(
                "UPDATE customers SET plan = 'x{round}' WHERE id % 120 = {round}; \
                 DELETE FROM customers WHERE id % 1200 = 100 + {round}"
            ))
            .await;
        assert_eq!(run().await.changes.len(), 110);
        let now = recent(&world).await;
        assert!(now <= 120, "{now} rows lie beside state");
        kept = kept.max(now);
        pages.insert(
            world
                .number("SELECT recent_page FROM _rowcast.progress")
                .await,
        );
        world.assert_counted().await;
    }
    assert!(kept > 0, "some rows stay beside state");
    assert!(pages.len() > 2, "each run goes on where another ended");
    assert_eq!(run().await.list(), "");
    // Of a state without rows, keys may still be left.
    world.sql("TRUNCATE customers").await;
    world.config.sync.overrides = rowcast_core::guard::Guard::ALL.to_vec();
    assert_eq!(world.run().await.changes.len(), 11_940);
    world.assert_counted().await;
    world
        .sql("INSERT INTO customers VALUES (1, 'n1', 'p'), (1300, 'n', 'p')")
        .await;
    assert_eq!(world.run().await.list(), "a1 a1300");
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "");
}
