//! What each operation does to the table.

use rowcast_core::{Code, Destination as _, Mode, Operation, Outcome, Value};

use super::*;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, note text DEFAULT 'new');
    INSERT INTO t VALUES (1, 'one', 'kept'), (2, 'two', 'kept')";

const ROWS: &str = "SELECT string_agg(concat_ws(':', id, name, note), ' ' ORDER BY id) FROM t";

#[tokio::test]
async fn upsert_makes_and_changes_and_leaves_other_columns_alone() {
    let bench = Bench::new("upsert", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let batch = batch(
        1,
        Operation::Upsert,
        &[(2, "name", "TWO".into()), (3, "name", "three".into())],
    );
    let outcomes = destination.write(&batch).await.unwrap();
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered]);
    assert_eq!(bench.text(ROWS).await, "1:one:kept 2:TWO:kept 3:three:new");
}

#[tokio::test]
async fn insert_rejects_what_exists() {
    let bench = Bench::new("insert", TABLE).await;
    let destination = bench.open("t", Mode::Insert, &["id"]).await;
    let batch = batch(
        1,
        Operation::Insert,
        &[(2, "name", "TWO".into()), (3, "name", "three".into())],
    );
    let outcomes = destination.write(&batch).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).code, Code::AlreadyExists);
    assert_eq!(outcomes[1], Outcome::Delivered);
    assert_eq!(bench.text(ROWS).await, "1:one:kept 2:two:kept 3:three:new");
}

#[tokio::test]
async fn insert_without_a_unique_index_still_finds_what_exists() {
    let bench = Bench::new(
        "insert_plain",
        "CREATE TABLE t (id int, name text); INSERT INTO t VALUES (2, 'two')",
    )
    .await;
    let destination = bench.open("t", Mode::Insert, &["id"]).await;
    let batch = batch(
        1,
        Operation::Insert,
        &[(2, "name", "TWO".into()), (3, "name", "three".into())],
    );
    let outcomes = destination.write(&batch).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).code, Code::AlreadyExists);
    assert_eq!(
        bench
            .text("SELECT string_agg(name, ' ' ORDER BY id) FROM t")
            .await,
        "two three"
    );
}

#[tokio::test]
async fn update_rejects_what_is_missing() {
    let bench = Bench::new("update", TABLE).await;
    let destination = bench.open("t", Mode::Update, &["id"]).await;
    let batch = batch(
        1,
        Operation::Update,
        &[(3, "name", "three".into()), (2, "name", Value::Null)],
    );
    let outcomes = destination.write(&batch).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).code, Code::NotFound);
    assert_eq!(outcomes[1], Outcome::Delivered);
    assert_eq!(bench.text(ROWS).await, "1:one:kept 2:kept");
}

#[tokio::test]
async fn an_update_may_change_the_field_it_matches_by() {
    let bench = Bench::new(
        "update_match",
        "CREATE TABLE t (id int, mail text UNIQUE); INSERT INTO t VALUES (1, 'old'), (2, 'stays')",
    )
    .await;
    let destination = bench.open("t", Mode::Update, &["mail"]).await;
    let record = record(
        Operation::Update,
        object(&[("mail", "old".into())]),
        object(&[("mail", "new".into()), ("id", Value::Int(7))]),
    );
    let outcomes = destination
        .write(&of(1, Operation::Update, vec![record]))
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Delivered]);
    assert_eq!(
        bench
            .text("SELECT string_agg(id || mail, ' ' ORDER BY id) FROM t")
            .await,
        "2stays 7new"
    );
}

#[tokio::test]
async fn delete_of_a_missing_record_is_delivered() {
    let bench = Bench::new("delete", TABLE).await;
    let destination = bench.open("t", Mode::Mirror, &["id"]).await;
    let batch = batch(
        1,
        Operation::Delete,
        &[(2, "name", "ignored".into()), (9, "name", "ignored".into())],
    );
    let outcomes = destination.write(&batch).await.unwrap();
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered]);
    assert_eq!(bench.text(ROWS).await, "1:one:kept");
}

#[tokio::test]
async fn records_with_different_fields_share_a_batch() {
    let bench = Bench::new("shapes", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let batch = batch(
        1,
        Operation::Upsert,
        &[
            (1, "note", "a".into()),
            (2, "name", "b".into()),
            (4, "note", "c".into()),
        ],
    );
    let outcomes = destination.write(&batch).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 3]);
    assert_eq!(bench.text(ROWS).await, "1:one:a 2:b:kept 4:c");
}

#[tokio::test]
async fn a_row_that_holds_the_values_already_is_not_written_again() {
    let bench = Bench::new(
        "untouched",
        "CREATE TABLE t (id int PRIMARY KEY, name text, data json, spot point, price numeric);
         INSERT INTO t VALUES (1, 'one', '{\"a\": 1}', '(1,2)', 1.50), (2, 'two', '{}', '(1,2)', 1.50)",
    )
    .await;
    let image = "SELECT string_agg(ctid::text || xmin::text, ' ' ORDER BY id) FROM t";
    let before = bench.text(image).await;
    for (intent, mode, operation) in [
        (1, Mode::Upsert, Operation::Upsert),
        (2, Mode::Update, Operation::Update),
    ] {
        let destination = bench.open("t", mode, &["id"]).await;
        let same = |id: i64, name: &str, data: &str| {
            record(
                operation,
                object(&[("id", Value::Int(id))]),
                object(&[
                    ("name", name.into()),
                    ("data", Value::Json(data.into())),
                    ("spot", "(1,2)".into()),
                    ("price", Value::Decimal("1.50".into())),
                ]),
            )
        };
        let records = vec![same(1, "one", "{\"a\": 1}"), same(2, "two", "{}")];
        let outcomes = destination
            .write(&of(intent, operation, records))
            .await
            .unwrap();
        assert_eq!(outcomes, vec![Outcome::Delivered; 2]);
    }
    assert_eq!(bench.text(image).await, before);
    // The scale of a numeric is a difference, although 1.50 = 1.5.
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let batch = batch(
        3,
        Operation::Upsert,
        &[(1, "price", Value::Decimal("1.5".into()))],
    );
    destination.write(&batch).await.unwrap();
    assert_eq!(
        bench.text("SELECT price::text FROM t WHERE id = 1").await,
        "1.5"
    );
}

#[tokio::test]
async fn generated_and_identity_columns_are_left_alone() {
    let bench = Bench::new(
        "generated",
        "CREATE TABLE t (no int GENERATED ALWAYS AS IDENTITY, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
         name text, loud text GENERATED ALWAYS AS (upper(name)) STORED)",
    )
    .await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    for (intent, name) in [(1, "one"), (2, "uno")] {
        let batch = batch(intent, Operation::Upsert, &[(70, "name", name.into())]);
        assert_eq!(
            destination.write(&batch).await.unwrap(),
            [Outcome::Delivered]
        );
    }
    assert_eq!(
        bench
            .text("SELECT concat_ws(' ', no, id, name, loud) FROM t")
            .await,
        "1 70 uno UNO"
    );
    let generated = batch(3, Operation::Upsert, &[(70, "loud", "x".into())]);
    let fault = destination.write(&generated).await.unwrap_err();
    assert_eq!(fault.reason().code, Code::DestinationObject);
    assert!(fault.reason().message.contains("\"loud\""), "{fault:?}");
}

#[tokio::test]
async fn names_are_taken_exactly_as_they_are() {
    let long = "ö".repeat(31) + "x";
    let bench = Bench::new(
        "names",
        &format!(
            "CREATE SCHEMA \"my.schema\"; CREATE TABLE \"my.schema\".\"ta\"\"ble\" (\"Id\" int PRIMARY KEY, \
             \"a.b\" text, \"q\"\"uote\" text, \"select\" text, \"{long}\" text)"
        ),
    )
    .await;
    let destination = bench
        .open("\"my.schema\".\"ta\"\"ble\"", Mode::Upsert, &["Id"])
        .await;
    let record = record(
        Operation::Upsert,
        object(&[("Id", Value::Int(1))]),
        object(&[
            ("a.b", "1".into()),
            ("q\"uote", "2".into()),
            ("select", "3".into()),
            (&long, "4".into()),
        ]),
    );
    let written = of(1, Operation::Upsert, vec![record]);
    assert_eq!(
        destination.write(&written).await.unwrap(),
        [Outcome::Delivered]
    );
    assert_eq!(
        bench
            .text("SELECT concat_ws(' ', t.*) FROM \"my.schema\".\"ta\"\"ble\" AS t")
            .await,
        "(1,1,2,3,4)"
    );
    // PostgreSQL cuts longer names; the message says which one is meant.
    let longer = long.clone() + "yz";
    let cut = super::record(
        Operation::Upsert,
        object(&[("Id", Value::Int(1))]),
        object(&[(&longer, "4".into())]),
    );
    let fault = destination
        .write(&of(2, Operation::Upsert, vec![cut]))
        .await
        .unwrap_err();
    assert_eq!(fault.reason().code, Code::DestinationObject);
    assert!(
        fault
            .reason()
            .hint
            .as_ref()
            .unwrap()
            .contains(&format!("\"{long}\"")),
        "{fault:?}"
    );
}

#[tokio::test]
async fn what_is_rendered_does_what_is_written() {
    let bench = Bench::new("render", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let upsert = batch(
        1,
        Operation::Upsert,
        &[(1, "name", "it's \\ 1".into()), (5, "name", Value::Null)],
    );
    for statement in destination.render(&upsert) {
        bench.client.batch_execute(&statement).await.unwrap();
    }
    let image = "SELECT string_agg(concat_ws(':', id, name, xmin), ' ' ORDER BY id) FROM t";
    let before = bench.text(image).await;
    assert!(before.starts_with("1:it's \\ 1:"), "{before}");
    destination.write(&upsert).await.unwrap();
    assert_eq!(bench.text(image).await, before);
    for (mode, operation) in [
        (Mode::Insert, Operation::Insert),
        (Mode::Update, Operation::Update),
        (Mode::Delete, Operation::Delete),
    ] {
        let destination = bench.open("t", mode, &["id"]).await;
        for statement in destination.render(&batch(1, operation, &[(5, "name", "x".into())])) {
            bench.client.batch_execute(&statement).await.unwrap();
        }
    }
    assert_eq!(
        bench
            .text("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t")
            .await,
        "1 2"
    );
}
