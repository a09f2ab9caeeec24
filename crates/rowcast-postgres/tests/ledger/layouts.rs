//! A state schema that an earlier version left goes on where it was.

use rowcast_core::{Ledger as _, Mode};
use rowcast_postgres::ledger::ModelBody;

use crate::harness::World;
use crate::quotas::quota;

/// The layout of this version.
const NOW: i64 = 5;

/// A world whose schema has layout 1.
async fn of_layout_1(name: &str) -> World {
    of_layout(name, include_str!("layout_1.sql")).await
}

async fn of_layout(name: &str, dump: &str) -> World {
    let world = World::new(name).await;
    world.sql("DROP TABLE customers").await;
    world.sql(dump).await;
    // A reject is given up after a while.
    world
        .sql("UPDATE _rowcast.reject_1 SET first_at = clock_timestamp()")
        .await;
    world
}

fn over_words(world: &mut World) {
    world.config.sync.name = "words_to_crm".into();
    world.config.sync.mode = Mode::Insert;
    world.config.model.name = "words".into();
    world.config.model.body = ModelBody::Table {
        schema: None,
        name: "words".into(),
    };
}

/// A quota is counted in a table that earlier layouts don't have.
async fn assert_counts_quotas(world: &World) {
    let columns = "SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod)), ', ' \
        ORDER BY attnum) FROM pg_attribute WHERE attrelid = '_rowcast.budget'::regclass AND attnum > 0";
    let columns: String = world.client.query_one(columns, &[]).await.unwrap().get(0);
    assert_eq!(
        columns,
        "account text, seconds bigint, began_at timestamp with time zone, used bigint"
    );
}

/// As `World::assert_counted`, where there are two syncs.
async fn assert_counted(world: &World) {
    let counted = "SELECT p.rows - (SELECT count(*) FROM _rowcast.state_1) \
        FROM _rowcast.progress p WHERE p.sync_id = 1";
    assert_eq!(world.number(counted).await, 0, "rows in state");
}

async fn layout(world: &World) -> i64 {
    world
        .number("SELECT version::bigint FROM _rowcast.layout")
        .await
}

#[tokio::test]
async fn a_sync_of_layout_1_goes_on_and_sends_nothing_again() {
    let mut world = of_layout_1("l_goes_on").await;
    let next = world.run().await;
    assert_eq!(next.list(), "a3! a4? a9? a10");
    assert_eq!(next.counts.unchanged, 6);
    assert_eq!(layout(&world).await, NOW);
    assert_counts_quotas(&world).await;
    assert_counted(&world).await;
    assert_eq!(world.run().await.list(), "");
    world
        .sql("UPDATE customers SET plan = 'x' WHERE id = 5; DELETE FROM customers WHERE id = 6")
        .await;
    assert_eq!(world.run().await.list(), "d6 u5");
    assert_counted(&world).await;

    over_words(&mut world);
    assert_eq!(world.run().await.list(), "");
    world
        .sql("INSERT INTO words VALUES ('three', 'n', 'p')")
        .await;
    assert_eq!(world.run().await.list(), "athree");
}

#[tokio::test]
async fn looking_at_layout_1_works_and_changes_nothing() {
    let world = of_layout_1("l_look").await;
    let plan = world.plan().await.unwrap();
    assert_eq!(
        plan.list(),
        "a3! a4? a9 a10",
        "the open intent is not settled"
    );
    let admin = world.admin();
    let status = admin.status(&[]).await.unwrap();
    let rows: Vec<i64> = status.iter().map(|status| status.rows).collect();
    assert_eq!(rows, [7, 2]);
    let biography = admin.why("customers_to_crm", &["5".into()]).await.unwrap();
    assert_eq!(biography.acknowledged_run, Some(1));
    assert_eq!(biography.mark.as_deref(), Some("delivered"));
    let biography = admin.why("words_to_crm", &["two".into()]).await.unwrap();
    assert_eq!(biography.mark.as_deref(), Some("gone"));
    assert_eq!(layout(&world).await, 1);
}

#[tokio::test]
async fn a_reset_of_layout_1_brings_it_up() {
    let world = of_layout_1("l_reset").await;
    assert_eq!(world.admin().reset("customers_to_crm").await.unwrap(), 7);
    assert_eq!(layout(&world).await, NOW);
    assert_counts_quotas(&world).await;
    assert_eq!(world.run().await.changes.len(), 10);
    assert_counted(&world).await;
}

#[tokio::test]
async fn what_layout_2_acknowledged_and_did_not_fold_is_not_sent_again() {
    let world = of_layout("l_unfolded", include_str!("layout_2.sql")).await;
    let admin = world.admin();
    let biography = admin.why("customers_to_crm", &["5".into()]).await.unwrap();
    assert_eq!(biography.acknowledged_run, Some(1));
    let runs = admin.runs(Some("customers_to_crm"), 10).await.unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].database_us, None, "nobody measured it then");
    assert_eq!(layout(&world).await, 2, "looking changes nothing");

    let next = world.run().await;
    assert_eq!(next.list(), "a3! a4? a10");
    assert_eq!(next.counts.unchanged, 7);
    assert_eq!(layout(&world).await, NOW);
    assert_counts_quotas(&world).await;
    assert_counted(&world).await;
    assert_eq!(world.run().await.list(), "");
}

/// The columns of a view with their types, as the server tells them.
async fn columns(world: &World, view: &str) -> Vec<String> {
    let sql = format!(
        "SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
         WHERE a.attrelid = '_rowcast.{view}'::regclass AND a.attnum > 0 ORDER BY a.attnum"
    );
    world.texts(&sql).await
}

#[tokio::test]
async fn views_are_as_documented_and_only_grow_from_layout_to_layout() {
    let new = World::new("l_views").await;
    new.run().await;
    let dumps = [include_str!("layout_1.sql"), include_str!("layout_2.sql")];
    for (number, dump) in dumps.into_iter().enumerate() {
        let old = of_layout(&format!("l_views_{number}"), dump).await;
        for view in ["runs", "row_log"] {
            let before = columns(&old, view).await;
            let now = columns(&new, view).await;
            assert_eq!(
                now[..before.len()],
                before,
                "{view} of layout {}",
                number + 1
            );
        }
        old.run().await;
        for view in ["runs", "row_log"] {
            let documented: Vec<String> = rowcast_postgres::ledger::views::columns(view)
                .expect("it is documented")
                .into_iter()
                .map(|(name, kind)| format!("{name} {kind}"))
                .collect();
            assert_eq!(columns(&new, view).await, documented);
            assert_eq!(columns(&old, view).await, documented, "brought up");
        }
        let silent = "SELECT count(*) FROM pg_attribute WHERE attrelid IN \
            ('_rowcast.runs'::regclass, '_rowcast.row_log'::regclass) AND attnum > 0 \
            AND col_description(attrelid, attnum) IS NULL";
        assert_eq!(old.number(silent).await, 0, "columns without a comment");
    }
}

/// Layout 3 is layout 4 without the table beside state; that one is this one without quotas.
#[tokio::test]
async fn a_sync_of_layout_3_gets_a_place_for_recent_rows_of_its_key() {
    let world = World::with_pairs("l_recent").await;
    assert_eq!(world.run().await.changes.len(), 2);
    let shape = "SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), \
        attcollation, attnotnull), ', ' ORDER BY attname) FROM pg_attribute \
        WHERE attrelid = '_rowcast.recent_1'::regclass AND attnum > 0";
    let shape = async |world: &World| -> String {
        world.client.query_one(shape, &[]).await.unwrap().get(0)
    };
    let made = shape(&world).await;
    world
        .sql(
            "DROP TABLE _rowcast.recent_1, _rowcast.budget; ALTER TABLE _rowcast.progress DROP COLUMN recent_page; \
              UPDATE _rowcast.layout SET version = 3; UPDATE pairs SET v = 'w' WHERE a = 'x'",
        )
        .await;
    assert_eq!(world.plan().await.unwrap().changes.len(), 1);
    assert_eq!(layout(&world).await, 3, "to look changes nothing");
    assert_eq!(world.run().await.changes.len(), 1);
    assert_eq!(layout(&world).await, NOW);
    assert_counts_quotas(&world).await;
    assert_eq!(shape(&world).await, made);
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn a_sync_of_layout_4_gets_a_place_to_count_quotas() {
    let world = World::with_customers("l_budget", 10).await;
    assert_eq!(world.run().await.changes.len(), 10);
    world
        .sql(
            "DROP TABLE _rowcast.budget; UPDATE _rowcast.layout SET version = 4; \
             UPDATE customers SET plan = 'x' WHERE id = 5",
        )
        .await;
    let quota = quota("crm", 100);
    let spent = world.ledger().spent(&quota).await.unwrap();
    assert_eq!(
        (spent.requests, layout(&world).await),
        (0, 4),
        "to look changes nothing"
    );
    assert_eq!(world.run().await.list(), "u5");
    assert_eq!(layout(&world).await, NOW);
    assert_counts_quotas(&world).await;
    assert_counted(&world).await;
}
