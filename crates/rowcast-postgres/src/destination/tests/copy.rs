//! Large batches by COPY: the same outcomes as the arrays, whichever way they went.

use std::time::Duration;

use rowcast_core::{
    Applied, CheckStatus, Code, Destination as _, Fault, Mode, Operation, Outcome, Value,
};

use super::*;

/// A table that writes down by which statement its rows came.
const WATCHED: &str = "CREATE TABLE t (id int PRIMARY KEY, name text CHECK (name <> 'bad'));
    CREATE TABLE way (way text);
    CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
      INSERT INTO public.way VALUES (CASE WHEN current_query() LIKE 'COPY%' THEN 'straight'
        WHEN current_query() LIKE '%pg_temp.rowcast_batch%' THEN 'merged' ELSE 'arrays' END);
      RETURN NULL; END $$;
    CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON t
      FOR EACH STATEMENT EXECUTE FUNCTION watch();";

/// One row that is nobody's: the table is not empty.
const FILLED: &str = "INSERT INTO t VALUES (-1, 'mine'); DELETE FROM way;";

/// Which ways were taken since the last question, a statement for update counted once.
async fn ways(bench: &Bench) -> String {
    let seen = bench
        .text("SELECT string_agg(DISTINCT way, ' ' ORDER BY way) FROM way")
        .await;
    bench.client.batch_execute("DELETE FROM way").await.unwrap();
    seen
}

fn named(intent: i64, operation: Operation, ids: std::ops::Range<i64>, name: &str) -> Batch {
    let rows: Vec<(i64, &str, Value)> = ids.map(|id| (id, "name", Value::from(name))).collect();
    batch(intent, operation, &rows)
}

fn delivered(count: usize) -> Vec<Outcome> {
    vec![Outcome::Delivered; count]
}

/// Positions that were rejected, all with one code.
fn positions(outcomes: &[Outcome], code: Code) -> Vec<usize> {
    let bad = outcomes
        .iter()
        .enumerate()
        .filter(|(_, outcome)| **outcome != Outcome::Delivered);
    bad.map(|(position, outcome)| {
        assert_eq!(rejected(outcome).code, code, "{outcome:?}");
        position
    })
    .collect()
}

#[tokio::test]
async fn an_empty_table_is_filled_straight_until_it_holds_what_comes() {
    let bench = Bench::new("straight", WATCHED).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    for (intent, ids, way) in [
        (1, 0..300, "straight"),
        (2, 300..600, "straight"),
        (3, 600..610, "arrays"),
        (4, 605..1000, "merged"),
        (5, 1000..1300, "merged"),
    ] {
        let batch = named(intent, Operation::Upsert, ids.clone(), "x");
        let outcomes = destination.write(&batch).await.unwrap();
        assert_eq!(outcomes, delivered(ids.count()));
        assert_eq!(ways(&bench).await, way, "batch {intent}");
    }
    assert_eq!(bench.text("SELECT count(*)::text FROM t").await, "1300");
    // The next run finds rows there.
    destination.open(&context(1)).await.unwrap();
    let batch = named(6, Operation::Upsert, 2000..2300, "x");
    destination.write(&batch).await.unwrap();
    assert_eq!(ways(&bench).await, "merged");
}

#[tokio::test]
async fn rule_14_a_copied_batch_takes_effect_once() {
    for (name, ddl) in [("once_straight", ""), ("once_merged", FILLED)] {
        let bench = Bench::new(name, &format!("{WATCHED} {ddl}")).await;
        let destination = bench.open("t", Mode::Upsert, &["id"]).await;
        let mut batch = named(1, Operation::Upsert, 0..300, "x");
        batch.records[7].fields[0].1 = Value::text("a\0b");
        let first = destination.write(&batch).await.unwrap();
        assert_eq!(positions(&first, Code::DestinationRejected), [7]);
        let change = "UPDATE t SET name = 'changed since'";
        bench.client.batch_execute(change).await.unwrap();
        let again = Postgres::new(bench.config("t", Mode::Upsert, &["id"])).unwrap();
        assert_eq!(again.write(&batch).await.unwrap(), first);
        assert_eq!(
            bench
                .text("SELECT count(*) || min(name) FROM t WHERE id >= 0")
                .await,
            "299changed since"
        );
    }
}

#[tokio::test]
async fn rule_14_a_copy_that_is_cut_off_leaves_nothing_behind() {
    for (name, ddl) in [("late_straight", ""), ("late_merged", FILLED)] {
        let bench = Bench::new(name, &format!("{WATCHED} {ddl}")).await;
        let mut config = bench.config("t", Mode::Upsert, &["id"]);
        config.timeout = Some(Duration::from_millis(400));
        // The patient one opens the run: only the write is short of time.
        let patient = bench.open("t", Mode::Upsert, &["id"]).await;
        let destination = Postgres::new(config).unwrap();
        let lock = "BEGIN; LOCK TABLE t IN SHARE MODE";
        bench.client.batch_execute(lock).await.unwrap();
        let batch = named(1, Operation::Upsert, 0..300, "x");
        let fault = destination.write(&batch).await.unwrap_err();
        assert!(
            matches!(
                fault,
                Fault::Transient {
                    applied: Applied::No,
                    ..
                }
            ),
            "{fault:?}"
        );
        bench.client.batch_execute("COMMIT").await.unwrap();
        let rest = "SELECT (SELECT count(*) FROM t WHERE id >= 0) || ' ' || (SELECT count(*) FROM _rowcast.delivery)";
        assert_eq!(bench.text(rest).await, "0 0");
        assert_eq!(patient.write(&batch).await.unwrap(), delivered(300));
        assert_eq!(bench.text(rest).await, "300 1");
    }
}

#[tokio::test]
async fn rule_26_one_bad_row_in_1000_that_are_copied_is_found_in_21_statements() {
    for (name, ddl) in [("bad_straight", ""), ("bad_merged", FILLED)] {
        let bench = Bench::new(name, &format!("{WATCHED} {ddl}")).await;
        let destination = bench.open("t", Mode::Upsert, &["id"]).await;
        let mut batch = named(1, Operation::Upsert, 0..1000, "x");
        batch.records[613].fields[0].1 = "bad".into();
        let written = destination.write_batch(&batch).await.unwrap();
        assert!(written.statements <= 21, "{}", written.statements);
        assert_eq!(
            positions(&written.outcomes, Code::DestinationRejected),
            [613]
        );
        assert_eq!(
            bench
                .text("SELECT count(*)::text FROM t WHERE id >= 0")
                .await,
            "999"
        );
        // A bad record is no reason to leave the straight way.
        ways(&bench).await;
        let batch = named(2, Operation::Upsert, 1000..1300, "x");
        destination.write(&batch).await.unwrap();
        let way = if ddl.is_empty() { "straight" } else { "merged" };
        assert_eq!(ways(&bench).await, way);
    }
}

#[tokio::test]
async fn operations_that_depend_on_what_exists_know_it_exactly() {
    let bench = Bench::new("copy_modes", WATCHED).await;
    let fill = "INSERT INTO t SELECT n, 'was' FROM generate_series(0, 299) n; DELETE FROM way";
    bench.client.batch_execute(fill).await.unwrap();
    let insert = bench.open("t", Mode::Insert, &["id"]).await;
    let batch = named(1, Operation::Insert, 200..600, "new");
    let outcomes = insert.write(&batch).await.unwrap();
    let expected: Vec<usize> = (0..100).collect();
    assert_eq!(positions(&outcomes, Code::AlreadyExists), expected);
    let update = bench.open("t", Mode::Update, &["id"]).await;
    let batch = named(2, Operation::Update, 400..800, "newer");
    let outcomes = update.write(&batch).await.unwrap();
    let expected: Vec<usize> = (200..400).collect();
    assert_eq!(positions(&outcomes, Code::NotFound), expected);
    let mirror = bench.open("t", Mode::Mirror, &["id"]).await;
    let batch = named(3, Operation::Delete, 100..450, "");
    assert_eq!(mirror.write(&batch).await.unwrap(), delivered(350));
    let batch = named(4, Operation::Delete, 700..1000, "");
    assert_eq!(mirror.write(&batch).await.unwrap(), delivered(300));
    assert_eq!(ways(&bench).await, "merged");
    assert_eq!(
        bench
            .text("SELECT string_agg(name || ' ' || n, ', ' ORDER BY name) FROM (SELECT name, count(*) n FROM t GROUP BY 1) x")
            .await,
        "newer 150, was 100"
    );
}

#[tokio::test]
async fn an_insert_into_an_empty_table_names_what_came_in_between() {
    let bench = Bench::new("insert_between", WATCHED).await;
    let destination = bench.open("t", Mode::Insert, &["id"]).await;
    let first = named(1, Operation::Insert, 0..300, "x");
    assert_eq!(destination.write(&first).await.unwrap(), delivered(300));
    assert_eq!(ways(&bench).await, "straight");
    let second = named(2, Operation::Insert, 290..600, "y");
    let outcomes = destination.write(&second).await.unwrap();
    let expected: Vec<usize> = (0..10).collect();
    assert_eq!(positions(&outcomes, Code::AlreadyExists), expected);
    assert_eq!(ways(&bench).await, "merged");
}

#[tokio::test]
async fn rows_that_hold_the_values_are_not_written_again_by_a_copy() {
    let bench = Bench::new("copy_unchanged", &format!("{WATCHED} {FILLED}")).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let batch = named(1, Operation::Upsert, 0..300, "x");
    destination.write(&batch).await.unwrap();
    let versions = "SELECT md5(string_agg(xmin::text || ctid::text, ',' ORDER BY id)) FROM t";
    let before = bench.text(versions).await;
    let batch = named(2, Operation::Upsert, 0..300, "x");
    destination.write(&batch).await.unwrap();
    assert_eq!(bench.text(versions).await, before);
    assert_eq!(ways(&bench).await, "merged");
}

#[tokio::test]
async fn a_role_without_temporary_tables_sends_arrays_and_check_advises() {
    let bench = Bench::new("no_temp", WATCHED).await;
    let database = bench.database.name.clone();
    let role = format!("untemp {database}");
    bench
        .client
        .batch_execute(&format!(
            "CREATE ROLE \"{role}\" LOGIN; GRANT SELECT, INSERT, UPDATE ON t TO \"{role}\";
             CREATE SCHEMA _rowcast AUTHORIZATION \"{role}\"; REVOKE TEMP ON DATABASE \"{database}\" FROM PUBLIC"
        ))
        .await
        .unwrap();
    let destination = opened(bench.config_as(&role, "t", Mode::Upsert, &["id"], &[])).await;
    let batch = named(1, Operation::Upsert, 0..300, "x");
    assert_eq!(destination.write(&batch).await.unwrap(), delivered(300));
    assert_eq!(ways(&bench).await, "straight");
    let batch = named(2, Operation::Upsert, 200..600, "y");
    assert_eq!(destination.write(&batch).await.unwrap(), delivered(400));
    assert_eq!(ways(&bench).await, "arrays");
    let advice = |checks: Vec<rowcast_core::Check>| {
        let found = checks
            .into_iter()
            .find(|check| check.name == "temporary tables");
        found.unwrap()
    };
    let check = advice(destination.check().await);
    assert_eq!(check.status, CheckStatus::Warned);
    let cure = check.reason.unwrap().hint.unwrap();
    bench.client.batch_execute(&cure).await.unwrap();
    let check = advice(destination.check().await);
    assert_eq!(check.status, CheckStatus::Passed);
    destination.open(&context(1)).await.unwrap();
    let batch = named(3, Operation::Upsert, 500..900, "z");
    assert_eq!(destination.write(&batch).await.unwrap(), delivered(400));
    assert_eq!(ways(&bench).await, "merged");
}

#[tokio::test]
async fn nothing_outlives_the_transaction_of_a_copy() {
    let bench = Bench::new("copy_leaves", &format!("{WATCHED} {FILLED}")).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let mut batch = named(1, Operation::Upsert, 0..300, "x");
    batch.records[3].fields[0].1 = "bad".into();
    destination.write(&batch).await.unwrap();
    let connection = destination.pool.take().await.unwrap();
    let left = "SELECT (SELECT count(*) FROM pg_prepared_statements) + (SELECT count(*) FROM pg_class \
        WHERE relnamespace = pg_my_temp_schema())";
    let row = crate::destination::ask::row(&connection.client, left, Vec::new())
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn tables_of_every_make_take_copied_batches() {
    let ddl = "CREATE TYPE mood AS ENUM ('ok', 'so so');
        CREATE DOMAIN short AS varchar(5) CHECK (VALUE <> 'never');
        CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood, name short,
          twice bigint GENERATED ALWAYS AS (id * 2) STORED, note text DEFAULT 'new', seen text);
        CREATE TABLE p (id bigint, mood mood, name short, note text DEFAULT 'new', seen text,
          PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (150);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (150) TO (400);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN NEW.seen = coalesce(NEW.seen, '''') || TG_OP; RETURN NEW; END';
        CREATE TRIGGER see BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION see();
        CREATE TRIGGER see BEFORE INSERT OR UPDATE ON p FOR EACH ROW EXECUTE FUNCTION see();";
    let bench = Bench::new("makes", ddl).await;
    for table in ["t", "p"] {
        let destination = bench.open(table, Mode::Upsert, &["id"]).await;
        for (intent, mood) in [(1, "ok"), (2, "so so")] {
            let mut batch = named(intent, Operation::Upsert, 0..300, "abc");
            for record in &mut batch.records {
                record.fields.push(("mood".into(), mood.into()));
            }
            batch.records[10].fields[0].1 = "never".into();
            batch.records[20].fields[1].1 = "grim".into();
            batch.records[30].fields[0].1 = "too long".into();
            // Out of the generated column's range there, in no partition here.
            batch.records[40].match_on[0].1 = Value::Int(i64::MAX);
            // One intent number serves both tables: their notes are of different syncs.
            let mut context = (*context(1)).clone();
            context.sync_id = format!("sync of {table}");
            let context = Arc::new(context);
            destination.open(&context).await.unwrap();
            batch.context = context;
            let outcomes = destination.write(&batch).await.unwrap();
            let bad = positions(&outcomes, Code::DestinationRejected);
            assert_eq!(bad, [10, 20, 30, 40], "{table}");
        }
        assert_eq!(
            bench
                .text(&format!("SELECT count(*) || ' ' || string_agg(DISTINCT concat_ws(' ', mood, name, note, seen), ',') FROM {table} WHERE id < 300"))
                .await,
            "296 so so abc new INSERTUPDATE"
        );
    }
    assert_eq!(
        bench
            .text("SELECT bool_and(twice = id * 2)::text FROM t WHERE id < 300")
            .await,
        "true"
    );
}
