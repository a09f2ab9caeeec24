//! One bad row harms only itself.

use rowcast_core::{Applied, Code, Destination as _, Fault, Mode, Operation, Outcome, Value};

use super::*;

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, age int CONSTRAINT grown_up CHECK (age >= 18))";

fn ages(bad: &[i64]) -> Batch {
    let rows: Vec<(i64, &str, Value)> = (0..1000)
        .map(|id| {
            (
                id,
                "age",
                Value::Int(if bad.contains(&id) { 3 } else { 30 }),
            )
        })
        .collect();
    batch(1, Operation::Upsert, &rows)
}

#[tokio::test]
async fn rule_26_one_bad_row_in_1000_is_found_in_21_statements() {
    let bench = Bench::new("one_bad", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let written = destination.write_batch(&ages(&[613])).await.unwrap();
    assert!(
        written.statements <= 21,
        "{} statements",
        written.statements
    );
    let reason = rejected(&written.outcomes[613]);
    assert_eq!(reason.code, Code::DestinationRejected);
    assert!(reason.message.contains("grown_up"), "{reason:?}");
    let delivered = written
        .outcomes
        .iter()
        .filter(|o| **o == Outcome::Delivered)
        .count();
    assert_eq!(delivered, 999);
    assert_eq!(
        bench
            .text("SELECT count(*) || ' ' || min(age) FROM t")
            .await,
        "999 30"
    );
    assert_eq!(
        bench.text("SELECT (rejected -> 0 ->> 'position') || ' ' || jsonb_array_length(rejected) FROM _rowcast.delivery").await,
        "613 1"
    );
}

#[tokio::test]
async fn rule_26_several_bad_rows_cost_at_most_that_many_searches() {
    let bench = Bench::new("some_bad", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let bad = [0, 1, 499, 500, 999];
    let written = destination.write_batch(&ages(&bad)).await.unwrap();
    assert!(
        written.statements <= 21 * bad.len(),
        "{} statements",
        written.statements
    );
    for (id, outcome) in written.outcomes.iter().enumerate() {
        assert_eq!(
            *outcome != Outcome::Delivered,
            bad.contains(&(id as i64)),
            "{id}"
        );
    }
}

#[tokio::test]
async fn each_way_to_be_refused_names_its_cause_without_the_rows_values() {
    let bench = Bench::new(
        "causes",
        "CREATE TABLE other (id int PRIMARY KEY);
         CREATE TABLE t (id int PRIMARY KEY, age int, mail text, need text NOT NULL DEFAULT 'x', ref int,
           CONSTRAINT one_mail UNIQUE (mail),
           CONSTRAINT known FOREIGN KEY (ref) REFERENCES other DEFERRABLE INITIALLY DEFERRED);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN IF NEW.age = 13 THEN RAISE EXCEPTION ''not thirteen''; END IF; RETURN NEW; END';
         CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no();
         INSERT INTO t (id, mail) VALUES (100, 'taken@example.com')",
    )
    .await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let rows = [
        (1, "age", Value::from("many"), "invalid input syntax"),
        (2, "mail", "taken@example.com".into(), "one_mail"),
        (3, "need", Value::Null, "\"need\""),
        (4, "ref", Value::Int(77), "known"),
        (5, "age", Value::Int(13), "not thirteen"),
        (6, "age", Value::Int(1 << 40), "out of range"),
        (7, "mail", "a\0b".into(), "U+0000"),
        (8, "age", Value::Int(8), ""),
    ];
    let batch = batch(
        1,
        Operation::Upsert,
        &rows.clone().map(|(id, field, value, _)| (id, field, value)),
    );
    let outcomes = destination.write(&batch).await.unwrap();
    for ((id, _, _, cause), outcome) in rows.iter().zip(&outcomes).take(7) {
        let reason = rejected(outcome);
        assert_eq!(reason.code, Code::DestinationRejected);
        assert!(reason.to_string().contains(cause), "{id}: {reason:?}");
        assert!(!format!("{reason:?}").contains("taken@"), "{reason:?}");
    }
    assert_eq!(outcomes[7], Outcome::Delivered);
    assert_eq!(
        bench
            .text("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t")
            .await,
        "8 100"
    );
}

#[tokio::test]
async fn a_record_without_a_value_to_match_by_is_rejected_alone() {
    let bench = Bench::new("no_match", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let mut batch = batch(
        1,
        Operation::Upsert,
        &[(1, "age", Value::Int(20)), (2, "age", Value::Int(20))],
    );
    batch.records[0].match_on = object(&[("id", Value::Null)]);
    let outcomes = destination.write(&batch).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).code, Code::MatchMissing);
    assert_eq!(outcomes[1], Outcome::Delivered);
}

#[tokio::test]
async fn a_delete_that_others_refer_to_is_rejected_with_the_constraint() {
    let bench = Bench::new(
        "referred",
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10);
         CREATE TABLE o (t int CONSTRAINT order_of REFERENCES t); INSERT INTO o VALUES (7)",
    )
    .await;
    let destination = bench.open("t", Mode::Mirror, &["id"]).await;
    let rows: Vec<(i64, &str, Value)> = (1..=10).map(|id| (id, "x", Value::Null)).collect();
    let outcomes = destination
        .write(&batch(1, Operation::Delete, &rows))
        .await
        .unwrap();
    assert!(rejected(&outcomes[6]).message.contains("order_of"));
    assert_eq!(
        bench.text("SELECT string_agg(id::text, ' ') FROM t").await,
        "7"
    );
}

#[tokio::test]
async fn a_field_that_is_no_column_stops_the_run_with_the_nearest_name() {
    let bench = Bench::new("field", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let fault = destination
        .write(&batch(1, Operation::Upsert, &[(1, "agee", Value::Int(20))]))
        .await
        .unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::Fatal {
                applied: Applied::No,
                ..
            }
        ),
        "{fault:?}"
    );
    assert_eq!(fault.reason().code, Code::DestinationObject);
    assert_eq!(
        fault.reason().hint.as_deref(),
        Some("did you mean \"age\"?")
    );
}

#[tokio::test]
async fn a_table_that_changes_under_the_run_stops_it() {
    let bench = Bench::new("dropped", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    bench
        .client
        .batch_execute("ALTER TABLE t DROP COLUMN age")
        .await
        .unwrap();
    let fault = destination
        .write(&batch(1, Operation::Upsert, &[(1, "age", Value::Int(20))]))
        .await
        .unwrap_err();
    assert!(
        matches!(&fault, Fault::Fatal { reason, .. } if reason.code == Code::DestinationObject),
        "{fault:?}"
    );
}
