//! Batches as parameters, and answers as outcomes.

use std::sync::Arc;

use rowcast_core::json::from_json;
use rowcast_core::{Key, Operation, RunContext};

use super::*;

fn field(name: &str, kind: FieldType) -> Field {
    Field {
        kind,
        identifier: name == "id",
        ..Field::new_on_write(&name.into(), &Value::Null)
    }
}

fn batch(records: Vec<Vec<(&str, Value)>>) -> Batch {
    let record = |(position, fields): (usize, Vec<(&str, Value)>)| Record {
        key: Key::int(position as i64),
        operation: Operation::Upsert,
        kind: Operation::Upsert.usual_kind(),
        match_on: fields
            .iter()
            .filter(|(name, _)| *name == "id")
            .map(|(name, value)| ((*name).into(), value.clone()))
            .collect(),
        fields: fields
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
        json: None,
        raw: None,
        idempotency_key: format!("key-{position}"),
        checksum: None,
        doubtful: false,
    };
    Batch {
        intent: 1,
        operation: Operation::Upsert,
        records: records.into_iter().enumerate().map(record).collect(),
        context: Arc::new(RunContext {
            sync: "s".into(),
            sync_id: "s-1".into(),
            run: 12,
            epoch: 1,
            generation: 1,
            object: "contact".into(),
            key_columns: vec!["id".into()],
            started_at: 0,
        }),
    }
}

fn params(fields: &[Field], records: Vec<Vec<(&str, Value)>>) -> Params {
    let object = Object {
        api_name: "contact".into(),
        label: "Contacts".into(),
        any_field: true,
    };
    let plan = Plan {
        object: &object,
        fields,
        identifier: &"id".into(),
    };
    plan.params(&batch(records))
}

#[test]
fn values_have_the_form_of_their_types() {
    let fields = [
        field("id", FieldType::Integer),
        field("yes", FieldType::Boolean),
        field("price", FieldType::Decimal),
        field("ratio", FieldType::Float),
        field("day", FieldType::Date),
        field("at", FieldType::DateTime),
        field("zip", FieldType::String),
        Field {
            array: true,
            ..field("tags", FieldType::String)
        },
    ];
    let record = vec![
        ("id", Value::Int(7)),
        ("yes", Value::from("t")),
        ("price", Value::Decimal("12.50".into())),
        ("ratio", Value::float(0.5)),
        ("day", Value::Timestamp(86_400_000_000)),
        ("at", Value::Timestamp(0)),
        ("zip", Value::Int(48_104)),
        ("tags", Value::Json(r#"["a",1]"#.into())),
        ("new", Value::Bool(true)),
        ("nothing", Value::Null),
    ];
    let made = params(&fields, vec![record]);
    assert!(made.failed.is_empty(), "{:?}", made.failed);
    assert_eq!(made.held, [(0, "7".to_owned())]);
    let sent = from_json(&made.text).expect("JSON");
    assert_eq!(
        sent.get("records"),
        Some(
            &from_json(
                r#"[{"id":7,"yes":true,"price":"12.50","ratio":0.5,"day":"1970-01-02",
                    "at":"1970-01-01T00:00:00Z","zip":"48104","tags":["a","1"],"new":true,
                    "nothing":null}]"#
            )
            .expect("JSON")
        )
    );
    let schema = sent.get("sync_plan").and_then(|plan| plan.get("schema"));
    let schema = schema.expect("a schema");
    let identifier = schema.get("id").and_then(|id| id.get("active_identifier"));
    assert_eq!(identifier, Some(&Value::Bool(true)));
    let new = schema.get("new").and_then(|new| new.get("field"));
    assert_eq!(
        new.and_then(|new| new.get("type")),
        Some(&Value::from("boolean"))
    );
}

#[test]
fn a_record_that_does_not_fit_is_set_aside_and_the_others_are_sent() {
    let fields = [
        field("id", FieldType::Integer),
        field("yes", FieldType::Boolean),
    ];
    let made = params(
        &fields,
        vec![
            vec![("id", Value::Int(1)), ("yes", Value::Bool(true))],
            vec![("id", Value::Int(2)), ("yes", Value::from("perhaps 7731"))],
            vec![("id", Value::Null), ("yes", Value::Bool(true))],
        ],
    );
    assert_eq!(made.held, [(0, "1".to_owned())]);
    let codes: Vec<Code> = made.failed.iter().map(|(_, reason)| reason.code).collect();
    assert_eq!(codes, [Code::CastFailed, Code::MatchMissing]);
    assert!(!format!("{:?}", made.failed).contains("7731"));
}

#[test]
fn rule_30_identifiers_beyond_2_to_53_are_strings() {
    let made = params(
        &[field("id", FieldType::Integer)],
        vec![vec![("id", Value::Int(9_007_199_254_740_993))]],
    );
    assert!(made.text.contains(r#""id":"9007199254740993""#));
}

#[test]
fn rule_26_only_one_clear_success_counts_as_delivered() {
    let held: Vec<(usize, String)> = ["1", "2", "3", "4", "5"]
        .into_iter()
        .map(str::to_owned)
        .enumerate()
        .collect();
    let service = Service {
        host: "connector".into(),
        secrets: vec!["hunter2hunter2".into()],
    };
    let answer = from_json(
        r#"{"record_results":[
            {"identifier":1,"success":true},
            {"identifier":"2","success":false,"error_message":"no hunter2hunter2"},
            {"identifier":"3","success":true},{"identifier":"3","success":true},
            {"identifier":"4","success":"true"},
            {"identifier":"6","success":true},{"success":true}]}"#,
    );
    let outcomes = outcomes(&answer.expect("JSON"), &held, &service);
    assert_eq!(outcomes[0], Outcome::Delivered);
    match &outcomes[1] {
        Outcome::Rejected(reason) => assert_eq!(reason.detail.as_deref(), Some("no ***")),
        other => panic!("{other:?}"),
    }
    for outcome in &outcomes[2..] {
        assert!(
            matches!(outcome, Outcome::Unknown(reason) if reason.code == Code::NoResult),
            "{outcome:?}"
        );
    }
}

#[test]
fn an_answer_without_results_leaves_everything_unknown() {
    let held = [(0, "1".to_owned())];
    let service = Service {
        host: "connector".into(),
        secrets: Vec::new(),
    };
    let outcomes = outcomes(&Value::Object(Vec::new()), &held, &service);
    assert!(matches!(&outcomes[..], [Outcome::Unknown(_)]));
}
