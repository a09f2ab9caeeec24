//! Which form is taken, and that a missing privilege costs speed only.

use rowcast_core::Value;
use rowcast_core::ledger::DiffRequest;
use rowcast_postgres::ledger::ModelBody;

use super::NOTE;
use super::harness::{Ran, World, connector};

/// A world whose table `t (k, name)` has a key of this type and 20 rows, all delivered.
async fn delivered(name: &str, key: &str, role: Option<&str>) -> World {
    let mut world = World::new(name).await;
    world.sql(NOTE).await;
    world
        .sql(&format!(
            "CREATE TABLE t (k {key} PRIMARY KEY, name text); \
             INSERT INTO t SELECT i::text::{}, 'n' || i FROM generate_series(10, 29) i",
            key.split(' ').next().unwrap()
        ))
        .await;
    if let Some(role) = role {
        let database = &world.database.name;
        world
            .sql(&format!(
                "REVOKE TEMP ON DATABASE {database} FROM PUBLIC; CREATE ROLE {role} LOGIN; \
                 GRANT CREATE ON DATABASE {database} TO {role}; GRANT SELECT ON t TO {role}"
            ))
            .await;
        world.config.source = connector(&world.database, role);
    }
    world.config.model.body = ModelBody::Table {
        schema: None,
        name: "t".into(),
    };
    world.config.sync.columns = vec!["name".into()];
    world.config.sync.digests.remove("plan");
    assert_eq!(run(&world, 0).await.counts.added, 20);
    world.sql("TRUNCATE staged").await;
    world
}

async fn run(world: &World, join_memory: u64) -> Ran {
    let ledger = world.ledger().with_join_memory(join_memory);
    let request = DiffRequest::default();
    world
        .run_as(&ledger, &request, false, |_| None)
        .await
        .unwrap()
}

/// Changes three rows, runs, and gives the changes found with whether the form was narrow.
async fn form(world: &World, join_memory: u64) -> (String, bool) {
    world
        .sql("UPDATE t SET name = name || '!' WHERE k::text = '11'; DELETE FROM t WHERE k::text = '12'")
        .await;
    let ran = run(world, join_memory).await;
    let narrow = world.number("SELECT count(*) FROM staged").await > 0;
    (ran.list(), narrow)
}

#[tokio::test]
async fn keys_out_of_order_are_compared_narrow_when_state_outgrows_the_memory() {
    let expected = |narrow| ("d12 u11".to_owned(), narrow);
    for (name, key) in [
        ("narrow_default", "text"),
        ("narrow_icu", "text COLLATE \"en-x-icu\""),
        ("narrow_char", "char(9)"),
        ("narrow_varchar", "varchar(9)"),
    ] {
        let world = delivered(name, key, None).await;
        assert_eq!(form(&world, 0).await, expected(true), "{key}");
    }
    let world = delivered("narrow_enough", "text", None).await;
    // 20 rows of 115 bytes fit.
    assert_eq!(form(&world, 2_300).await, expected(false));
}

#[tokio::test]
async fn keys_in_order_are_compared_wide_whatever_their_number() {
    let expected = ("d12 u11".to_owned(), false);
    for (name, key) in [
        ("wide_int", "int"),
        ("wide_bigint", "bigint"),
        ("wide_text", "text COLLATE \"C\""),
        ("wide_numeric", "numeric"),
    ] {
        let world = delivered(name, key, None).await;
        assert_eq!(form(&world, 0).await, expected, "{key}");
    }
}

#[tokio::test]
async fn a_query_is_run_once_so_never_narrow() {
    let mut world = delivered("wide_query", "text", None).await;
    world.config.model.body = ModelBody::Sql("SELECT * FROM t".into());
    world.config.model.primary_key = vec!["k".into()];
    assert_eq!(form(&world, 0).await, ("d12 u11".to_owned(), false));
}

#[tokio::test]
async fn without_the_privilege_for_temporary_tables_the_wide_form_answers() {
    let world = delivered("wide_no_temp", "text", Some("no_temp")).await;
    assert_eq!(form(&world, 0).await, ("d12 u11".to_owned(), false));
}

#[tokio::test]
async fn case_only_changes_of_a_citext_key_and_kept_rows_survive_the_narrow_form() {
    let mut world = World::new("narrow_citext").await;
    world.sql(NOTE).await;
    world
        .sql("CREATE EXTENSION citext; CREATE TABLE t (k citext PRIMARY KEY, name text); INSERT INTO t VALUES ('ann', 'x'), ('bob', 'y')")
        .await;
    world.config.model.body = ModelBody::Table {
        schema: None,
        name: "t".into(),
    };
    world.config.model.filter = Some("name <> 'z'".into());
    world.config.sync.columns = vec!["name".into()];
    world.config.sync.keep_rows = true;
    assert_eq!(run(&world, 0).await.list(), "aann abob");
    world
        .sql("TRUNCATE staged; UPDATE t SET k = 'Ann' WHERE k = 'ann'; UPDATE t SET name = 'z' WHERE k = 'bob'")
        .await;
    let ran = run(&world, 0).await;
    let list = ran.list();
    let mut words: Vec<&str> = list.split(' ').collect();
    words.sort_unstable();
    assert_eq!(words, ["aAnn", "dann", "dbob"]);
    let row = ran.changes[2].row.as_ref().unwrap();
    assert_eq!(row.values, [Value::text("x")]);
    assert_eq!(world.number("SELECT count(*) FROM staged").await, 1);
    assert_eq!(run(&world, 0).await.list(), "");
}

/// The memory of a statement's steps, as a model sees it in its first run and when state has so many rows.
async fn memory_seen(name: &str, body: ModelBody, relation: &str, rows: &[i64]) -> Vec<Value> {
    let mut world = World::new(name).await;
    world
        .sql(&format!("INSERT INTO customers VALUES (1); {relation}"))
        .await;
    world.config.model.body = body;
    world.config.model.primary_key = vec!["id".into()];
    world.config.sync.columns = vec!["name".into()];
    let seen = |ran: &Ran| {
        ran.changes
            .first()
            .map(|change| change.row.clone().unwrap())
    };
    let mut found = vec![seen(&world.run().await)];
    for rows in rows {
        world
            .sql(&format!("UPDATE _rowcast.progress SET rows = {rows}"))
            .await;
        found.push(seen(&world.run().await));
    }
    let rows = found.into_iter().flatten();
    rows.map(|row| row.values[0].clone()).collect()
}

#[tokio::test]
async fn queries_and_views_keep_the_memory_they_were_planned_for() {
    let query = "SELECT id, current_setting('work_mem') AS name FROM customers";
    let view = format!("CREATE VIEW seen AS {query}");
    let named = ModelBody::Table {
        schema: None,
        name: "seen".into(),
    };
    // Seen once: a run that saw another memory would find the row changed.
    for (name, body, relation) in [
        ("memory_query", ModelBody::Sql(query.into()), ""),
        ("memory_view", named, view.as_str()),
    ] {
        let seen = memory_seen(name, body, relation, &[1_000_000, 100_000_000]).await;
        assert_eq!(seen, [Value::text("4MB")], "{name}");
    }
}
