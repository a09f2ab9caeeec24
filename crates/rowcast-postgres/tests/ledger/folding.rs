//! Intents that are acknowledged as a whole, and their way into state.

use std::sync::Arc;

use rowcast_core::ledger::{Intent, IntentItem, Ledger, Step, Whole};
use rowcast_core::{Change, Lease, Operation, RunReport, RunStatus};
use rowcast_postgres::ledger::PgLedger;

use crate::harness::{World, lose};

pub(crate) async fn with_rows(name: &str, rows: i64) -> World {
    let world = World::new(name).await;
    world
        .sql(&format!(
            "INSERT INTO customers SELECT i, 'n' || i, 'p' FROM generate_series(1, {rows}) i"
        ))
        .await;
    world
}

/// A run that has found its changes.
pub(crate) struct Run {
    pub(crate) ledger: PgLedger,
    pub(crate) lease: Arc<Lease>,
    pub(crate) changes: Vec<Change>,
}

async fn start(world: &World) -> Run {
    let (ledger, lease, found) = world.begin().await;
    Run {
        ledger,
        lease,
        changes: found.changes,
    }
}

impl Run {
    /// Announces some of the changes under one intent.
    pub(crate) async fn announce(&self, id: i64, changes: &[Change]) {
        let items = changes.iter().map(|change| IntentItem {
            key: change.key.clone(),
            operation: Operation::Upsert,
            checksum: change.checksum,
            match_values: None,
        });
        let intent = Intent {
            id,
            epoch: self.lease.epoch,
            items: items.collect(),
        };
        let step = Step {
            open: vec![intent],
            ..Step::default()
        };
        self.ledger.commit(&self.lease, step).await.unwrap();
    }

    /// Acknowledges an intent over these changes as a whole.
    pub(crate) async fn acknowledge(&self, world: &World, intent: i64, changes: &[Change]) {
        let settled = world.delivered(changes).settled;
        let step = Step {
            whole: vec![Whole { intent, settled }],
            ..Step::default()
        };
        self.ledger.commit(&self.lease, step).await.unwrap();
    }

    pub(crate) async fn deliver(&self, world: &World, intent: i64, changes: &[Change]) {
        self.announce(intent, changes).await;
        self.acknowledge(world, intent, changes).await;
    }

    pub(crate) async fn finish(&self) {
        let mut report = RunReport::new("s".into(), self.lease.run, 0);
        report.status = RunStatus::Succeeded;
        self.ledger.finish(&self.lease, &report).await.unwrap();
    }
}

pub(crate) async fn in_state(world: &World) -> i64 {
    world.number("SELECT count(*) FROM _rowcast.state_1").await
}

pub(crate) async fn rows(world: &World) -> i64 {
    world.number("SELECT rows FROM _rowcast.progress").await
}

#[tokio::test]
async fn rule_1_folded_rows_have_their_checksum_and_their_run() {
    let world = with_rows("fold_rows", 5).await;
    let run = start(&world).await;
    run.deliver(&world, 1, &run.changes).await;
    run.finish().await;
    world.assert_counted().await;
    assert_eq!(in_state(&world).await, 5);
    assert_eq!(
        world.number("SELECT count(*) FROM _rowcast.intent_1").await,
        0
    );
    let why = world
        .admin()
        .why("customers_to_crm", &["3".into()])
        .await
        .unwrap();
    assert_eq!(why.acknowledged_run, Some(1));
    assert_eq!(why.mark.as_deref(), Some("delivered"));
    assert_eq!(world.run().await.list(), "");
    // Rows that come later say their own run.
    world
        .sql("INSERT INTO customers VALUES (6, 'n6', 'p')")
        .await;
    let run = start(&world).await;
    run.deliver(&world, 1, &run.changes).await;
    run.finish().await;
    for (key, acknowledged) in [("3", 1), ("6", 3)] {
        let why = world
            .admin()
            .why("customers_to_crm", &[key.into()])
            .await
            .unwrap();
        assert_eq!(why.acknowledged_run, Some(acknowledged), "key {key}");
    }
    assert_eq!(world.run().await.list(), "");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_8_what_was_acknowledged_before_a_crash_is_not_doubted() {
    let world = with_rows("fold_crash", 6).await;
    let run = start(&world).await;
    run.announce(1, &run.changes[..2]).await;
    run.announce(2, &run.changes[2..4]).await;
    run.acknowledge(&world, 1, &run.changes[..2]).await;
    world.holder_dies().await;
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    let next = world.run().await;
    assert_eq!(next.list(), "a3? a4? a5 a6");
    assert_eq!(next.counts.unchanged, 2);
    world.assert_counted().await;
    let why = world
        .admin()
        .why("customers_to_crm", &["1".into()])
        .await
        .unwrap();
    assert_eq!(why.acknowledged_run, Some(1));
}

#[tokio::test]
async fn rule_4_rows_that_are_not_folded_yet_are_counted_and_seen_by_everybody() {
    let world = with_rows("fold_seen", 4).await;
    let run = start(&world).await;
    run.deliver(&world, 1, &run.changes[..3]).await;
    assert_eq!((rows(&world).await, in_state(&world).await), (3, 0));
    assert_eq!(world.plan().await.unwrap().list(), "a4");
    let admin = world.admin();
    assert_eq!(admin.status(&[]).await.unwrap()[0].rows, 3);
    let why = admin.why("customers_to_crm", &["2".into()]).await.unwrap();
    assert_eq!(why.acknowledged_run, Some(1));
    assert_eq!(why.mark.as_deref(), Some("delivered"));
    let why = admin.why("customers_to_crm", &["4".into()]).await.unwrap();
    assert_eq!(why.acknowledged_run, None);
    // The next run, and a baseline, begin with them.
    world.holder_dies().await;
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    assert_eq!(world.ledger().baseline().await.unwrap(), 1);
    assert_eq!((rows(&world).await, in_state(&world).await), (4, 4));
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn a_reset_forgets_rows_that_are_not_folded_yet() {
    let world = with_rows("fold_reset", 3).await;
    let run = start(&world).await;
    run.deliver(&world, 1, &run.changes).await;
    world.holder_dies().await;
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    assert_eq!(world.admin().reset("customers_to_crm").await.unwrap(), 3);
    assert_eq!(world.run().await.list(), "a1 a2 a3");
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_13_a_run_that_was_taken_over_marks_and_folds_nothing() {
    let world = with_rows("fold_fence", 3).await;
    let run = start(&world).await;
    run.deliver(&world, 1, &run.changes[..1]).await;
    run.announce(2, &run.changes[1..2]).await;
    world
        .sql("UPDATE _rowcast.sync SET lease_until = NULL")
        .await;
    let next = world.ledger();
    let lease = world.open(&next).await.unwrap();
    let settled = world.delivered(&run.changes[1..2]).settled;
    let step = Step {
        whole: vec![Whole { intent: 2, settled }],
        ..Step::default()
    };
    let refused = run.ledger.commit(&run.lease, step).await.unwrap_err();
    assert_eq!(refused.code, rowcast_core::Code::LeaseLost);
    assert_eq!((rows(&world).await, in_state(&world).await), (2, 2));
    world.finish(&next, &lease, RunStatus::Succeeded).await;
    assert_eq!(world.run().await.list(), "a2? a3");
    world.assert_counted().await;
}

/// Two rows under one key, before it is found to be no key: state may only say what is sure.
#[tokio::test]
async fn rule_19_a_key_that_was_delivered_with_two_values_has_no_checksum() {
    let world = with_rows("fold_twice", 3).await;
    let run = start(&world).await;
    let mut other = run.changes[0].clone();
    other.checksum = other.checksum.map(|checksum| checksum ^ 1);
    run.deliver(&world, 1, &run.changes).await;
    run.deliver(&world, 2, &[other]).await;
    run.finish().await;
    world.assert_counted().await;
    assert_eq!(in_state(&world).await, 3);
    assert_eq!(world.run().await.list(), "u1");
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn a_key_that_state_has_already_keeps_its_doubt() {
    let world = with_rows("fold_doubt", 2).await;
    let run = start(&world).await;
    run.deliver(&world, 1, &run.changes).await;
    let mut step = world.delivered(&run.changes[..1]);
    step.settled[0].verdict = lose(1)(&run.changes[0]).unwrap();
    run.ledger.commit(&run.lease, step).await.unwrap();
    run.finish().await;
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "u1?");
    assert_eq!(world.run().await.list(), "");
}

/// Enough rows for the way without the primary key, which must be there again afterwards.
#[tokio::test]
async fn many_rows_are_folded_at_once_and_the_primary_key_is_made_after_them() {
    let world = with_rows("fold_bulk", 12_000).await;
    let run = start(&world).await;
    for (chunk, id) in run.changes.chunks(1_000).zip(1..) {
        run.deliver(&world, id, chunk).await;
    }
    run.finish().await;
    world.assert_counted().await;
    let key = "SELECT count(*) FROM pg_constraint WHERE conrelid = '_rowcast.state_1'::regclass \
        AND contype = 'p'";
    assert_eq!(world.number(key).await, 1);
    let narrow = "SELECT count(*) FROM _rowcast.state_1 WHERE run IS NULL AND mark IS NULL";
    assert_eq!(world.number(narrow).await, 12_000);
    assert_eq!(world.run().await.list(), "");
}

/// A trigger stands for whatever keeps state from taking rows.
#[tokio::test]
async fn a_fold_that_fails_is_told_by_the_report_and_done_by_the_next_run() {
    let world = with_rows("fold_fails", 3).await;
    let run = start(&world).await;
    run.deliver(&world, 1, &run.changes).await;
    world
        .sql(
            "CREATE FUNCTION full_up() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no room'; END $$; \
             CREATE TRIGGER full_up BEFORE INSERT ON _rowcast.state_1 \
             FOR EACH ROW EXECUTE FUNCTION full_up()",
        )
        .await;
    run.finish().await;
    let remarks = run.ledger.remarks().join("; ");
    assert!(remarks.contains("no room"), "{remarks}");
    let runs = world.admin().runs(None, 1).await.unwrap();
    assert_eq!(runs[0].notes, run.ledger.remarks());
    assert_eq!(runs[0].status, "succeeded");
    world.sql("DROP TRIGGER full_up ON _rowcast.state_1").await;
    assert_eq!(world.run().await.list(), "");
    assert_eq!(in_state(&world).await, 3);
    world.assert_counted().await;
}

/// Somebody reads state all the while: its primary key can't be taken away.
#[tokio::test]
async fn a_reader_of_state_does_not_hold_a_fold_up_for_ever() {
    let world = with_rows("fold_read", 10_000).await;
    let run = start(&world).await;
    run.deliver(&world, 1, &run.changes).await;
    world
        .sql("BEGIN; SELECT count(*) FROM _rowcast.state_1")
        .await;
    run.finish().await;
    world.sql("COMMIT").await;
    world.assert_counted().await;
    assert_eq!(in_state(&world).await, 10_000);
}
