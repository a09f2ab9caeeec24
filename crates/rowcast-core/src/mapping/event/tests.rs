//! Events from rows, and every mistake of `event:` at its place.

use std::sync::Arc;

use super::*;
use crate::json::{from_json, to_json};
use crate::row::{Column, Schema};

fn schema() -> Arc<Schema> {
    let column = |name: &str, type_name: &str| Column {
        name: name.into(),
        type_name: type_name.into(),
    };
    Arc::new(Schema {
        columns: vec![
            column("id", "int8"),
            column("kind", "text"),
            column("paid_at", "timestamptz"),
            column("total", "numeric"),
            column("extra", "jsonb"),
        ],
    })
}

fn compile(event: &str) -> Result<EventMapping, Vec<MappingProblem>> {
    EventMapping::compile(CompileInput {
        fields: &from_json(event).expect("JSON"),
        match_on: None,
        key_columns: &["id".into()],
        schema: Some(&schema()),
        sensitive: &[],
    })
}

fn row(values: [Value; 5]) -> Row {
    Row {
        schema: schema(),
        values: values.into(),
    }
}

fn paid() -> Row {
    row([
        Value::Int(7),
        Value::from("Order Paid"),
        Value::TimestampTz(1_709_209_800_000_000),
        Value::Decimal("9.50".into()),
        Value::Json(r#"{"a":1}"#.into()),
    ])
}

fn context() -> RunContext {
    RunContext {
        sync: "s".into(),
        sync_id: "i".into(),
        run: 1,
        epoch: 1,
        generation: 1,
        object: "".into(),
        key_columns: vec!["id".into()],
        started_at: 0,
    }
}

fn made(event: &str, row: &Row) -> Result<String, Reason> {
    let fields = compile(event).expect("valid").fields(row, &context())?;
    Ok(to_json(&Value::Object(fields)))
}

#[test]
fn a_track_is_named_by_a_literal_or_a_column() {
    let literal = r#"{"type":"track","name":{"literal":"Order Paid"},"user_id":"id",
        "timestamp":"paid_at","properties":{"total":"total","currency":{"literal":"EUR"}},
        "context":{"env":{"literal":"prod"}}}"#;
    assert_eq!(
        made(literal, &paid()).unwrap(),
        r#"{"type":"track","event":"Order Paid","userId":"7","timestamp":"2024-02-29T12:30:00Z","properties":{"total":9.50,"currency":"EUR"},"context":{"env":"prod"}}"#
    );
    let column = r#"{"type":"track","name":"kind","anonymous_id":"id","properties":"extra"}"#;
    assert_eq!(
        made(column, &paid()).unwrap(),
        r#"{"type":"track","event":"Order Paid","anonymousId":"7","properties":{"a":1}}"#
    );
}

#[test]
fn every_type_has_its_own_keys() {
    let cases = [
        (
            r#"{"type":"identify","user_id":"id","traits":{"column":"kind","total":null}}"#,
            r#"{"type":"identify","userId":"7","traits":{"column":"Order Paid","total":null}}"#,
        ),
        (
            r#"{"type":"group","user_id":"id","group_id":"{{ id }}-g"}"#,
            r#"{"type":"group","userId":"7","groupId":"7-g"}"#,
        ),
        (
            r#"{"type":"page","user_id":"id","name":"kind","category":{"literal":"shop"}}"#,
            r#"{"type":"page","userId":"7","name":"Order Paid","category":"shop"}"#,
        ),
        (
            r#"{"type":"screen","anonymous_id":"id"}"#,
            r#"{"type":"screen","anonymousId":"7"}"#,
        ),
        (
            r#"{"type":"alias","user_id":"id","previous_id":"kind"}"#,
            r#"{"type":"alias","userId":"7","previousId":"Order Paid"}"#,
        ),
    ];
    for (event, wire) in cases {
        assert_eq!(made(event, &paid()).unwrap(), wire);
    }
}

#[test]
fn every_mistake_is_found_at_its_place_with_a_way_out() {
    let cases: [(&str, &[(&str, Code)]); 11] = [
        ("7", &[("event", Code::WrongType)]),
        (r#"{"user_id":"id"}"#, &[("event", Code::MissingKey)]),
        (
            r#"{"type":"trak","user_id":"id"}"#,
            &[("event.type", Code::WrongType)],
        ),
        (r#"{"type":"identify"}"#, &[("event", Code::MissingKey)]),
        (
            r#"{"type":"track","user_id":"id"}"#,
            &[("event", Code::MissingKey)],
        ),
        (
            r#"{"type":"group","user_id":"id"}"#,
            &[("event", Code::MissingKey)],
        ),
        (
            r#"{"type":"alias","anonymous_id":"id"}"#,
            &[("event", Code::MissingKey), ("event", Code::MissingKey)],
        ),
        (
            r#"{"type":"identify","userid":"id","properties":{"a":"id"},"name":"kind"}"#,
            &[
                ("event.userid", Code::UnknownKey),
                ("event.properties", Code::Exclusive),
                ("event.name", Code::Exclusive),
                ("event", Code::MissingKey),
            ],
        ),
        (
            r#"{"type":"track","name":{"literal":""},"user_id":null}"#,
            &[
                ("event.name", Code::MissingKey),
                ("event.user_id", Code::MissingKey),
            ],
        ),
        (
            r#"{"type":"track","name":"kind","user_id":"ID","properties":{"a":{"lowr":"kind"}}}"#,
            &[
                ("event.user_id", Code::UnknownColumn),
                ("event.properties.a.lowr", Code::ExpressionInvalid),
            ],
        ),
        (
            r#"{"type":"identify","user_id":"id","traits":[1]}"#,
            &[("event.traits", Code::WrongType)],
        ),
    ];
    for (event, expected) in cases {
        let problems = compile(event).expect_err(event);
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (problem.path.as_str(), problem.reason.code))
            .collect();
        assert_eq!(found, expected, "{event}");
        assert!(
            problems.iter().all(|p| p.reason.hint.is_some()),
            "{problems:?}"
        );
    }
}

#[test]
fn a_row_without_an_identifier_a_name_or_a_time_is_invalid() {
    let event = r#"{"type":"track","name":"kind","user_id":"extra","timestamp":"paid_at"}"#;
    let with = |at: usize, value: Value| {
        let mut row = paid();
        row.values[at] = value;
        made(event, &row).map_err(|reason| reason.message)
    };
    assert!(
        with(4, Value::Null)
            .unwrap_err()
            .starts_with("event.user_id:")
    );
    assert!(
        with(4, Value::from(""))
            .unwrap_err()
            .starts_with("event.user_id:")
    );
    assert!(with(1, Value::Null).unwrap_err().starts_with("event.name:"));
    assert!(
        with(2, Value::from("soon"))
            .unwrap_err()
            .starts_with("event.timestamp:")
    );
    assert!(!with(2, Value::Null).unwrap().contains("timestamp"));
}

#[test]
fn rule_6_an_event_that_loses_a_property_is_told_from_one_that_changes() {
    let digests = |event: &str| compile(event).unwrap().digests();
    let both = digests(r#"{"type":"identify","user_id":"id","traits":{"a":"kind","b":"total"}}"#);
    let one = digests(r#"{"type":"identify","user_id":"id","traits":{"a":"kind"}}"#);
    assert!(
        one.iter()
            .all(|(key, digest)| both.get(key) == Some(digest))
    );
    let other = digests(r#"{"type":"group","user_id":"id","group_id":"id","traits":{"a":"kind"}}"#);
    assert_ne!(both["event:type"], other["event:type"]);
}

#[test]
fn a_removed_row_makes_an_event_of_its_key_and_of_what_was_kept() {
    let of = |event: &str, row: Option<&Row>| {
        let key = crate::key::Key::int(7);
        let occasion = Occasion {
            kind: Kind::Removed,
            key: Some(&key),
            row,
        };
        let fields = compile(event).unwrap().fields_at(&occasion, &context());
        fields.map(|fields| to_json(&Value::Object(fields)))
    };
    let by_key = r#"{"type":"track","name":{"literal":"Left"},"user_id":"id","properties":{"total":"total"}}"#;
    assert_eq!(
        of(by_key, None).unwrap(),
        r#"{"type":"track","event":"Left","userId":"7","properties":{"total":null}}"#
    );
    assert_eq!(
        of(by_key, Some(&paid())).unwrap(),
        r#"{"type":"track","event":"Left","userId":"7","properties":{"total":9.50}}"#
    );
    let by_column = r#"{"type":"identify","user_id":"kind"}"#;
    let reason = of(by_column, None).unwrap_err();
    assert!(reason.hint.unwrap().contains("keep: rows"));
}
