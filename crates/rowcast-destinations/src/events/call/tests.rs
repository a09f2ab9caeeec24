//! Calls of records, and what is refused.

use rowcast_core::json::to_json;
use rowcast_core::{Key, Kind};

use super::*;

fn record(match_on: Object, fields: Vec<(&str, Value)>) -> Record {
    Record {
        key: Key::int(1),
        operation: Operation::Upsert,
        kind: Kind::Added,
        match_on,
        fields: fields.into_iter().map(|(n, v)| (n.into(), v)).collect(),
        json: None,
        raw: None,
        idempotency_key: "k".into(),
        checksum: None,
        doubtful: false,
    }
}

fn made(object: &str, fields: Vec<(&str, Value)>) -> Result<String, Reason> {
    let record = record(vec![("user_id".into(), Value::Int(7))], fields);
    let call = call(&record, CallType::parse(object), Times::RudderStack)?;
    Ok(to_json(&Value::Object(call.members)))
}

fn text(text: &str) -> Value {
    Value::from(text)
}

#[test]
fn undotted_fields_are_traits_of_an_identify_and_dotted_ones_nest() {
    let fields = vec![
        ("email", text("a@x.io")),
        ("plan", Value::Null),
        ("constant.value", text("1")),
        ("traits.company.name", text("Acme")),
        ("context.env", text("prod")),
    ];
    assert_eq!(
        made("identify", fields).unwrap(),
        r#"{"userId":"7","traits":{"email":"a@x.io","plan":null,"constant":{"value":"1"},"company":{"name":"Acme"}},"context":{"env":"prod"}}"#
    );
}

#[test]
fn undotted_fields_of_a_track_are_properties_and_its_name_is_event() {
    let fields = vec![
        ("event", text("purchase")),
        ("name", text("shoe")),
        ("properties.total", Value::Decimal("9.50".into())),
    ];
    assert_eq!(
        made("track", fields).unwrap(),
        r#"{"userId":"7","event":"purchase","properties":{"name":"shoe","total":9.50}}"#
    );
}

#[test]
fn a_mapped_timestamp_becomes_the_time_of_an_identify_or_track() {
    let at = |object: &str, fields: Vec<(&str, Value)>| {
        let json = made(object, fields).unwrap();
        let (_, rest) = json.rsplit_once("\"timestamp\":").unwrap();
        rest.to_owned()
    };
    let (early, late) = (Value::TimestampTz(0), Value::TimestampTz(1_000_000));
    let both = || {
        vec![
            ("timestamp", early.clone()),
            ("traits.timestamp", late.clone()),
        ]
    };
    assert_eq!(at("identify", both()), r#""1970-01-01T00:00:01Z"}"#);
    let mut first = both();
    first.push(("context.timestamp", Value::Date(1)));
    assert_eq!(at("identify", first), r#""1970-01-02T00:00:00Z"}"#);
    let track = vec![
        ("event", text("e")),
        ("timestamp", early.clone()),
        ("properties.timestamp", late.clone()),
    ];
    assert_eq!(at("track", track), r#""1970-01-01T00:00:01Z"}"#);
    let page = vec![("timestamp", early), ("properties.timestamp", late)];
    assert_eq!(at("page", page), r#""1970-01-01T00:00:00Z"}"#);
}

#[test]
fn a_json_column_may_hold_the_traits() {
    let fields = vec![
        ("traits", Value::Json("{\"a\": 1.10}".into())),
        ("traits.b", Value::Int(2)),
    ];
    assert_eq!(
        made("identify", fields).unwrap(),
        r#"{"userId":"7","traits":{"a":1.10,"b":2}}"#
    );
}

#[test]
fn what_a_service_would_drop_is_refused_with_a_way_out() {
    let refused = |object: &str, fields| made(object, fields).unwrap_err();
    let cases = [
        ("track", vec![], "needs the event's name"),
        (
            "track",
            vec![("event", Value::Null)],
            "needs the event's name",
        ),
        ("group", vec![], "needs group_id"),
        ("alias", vec![], "needs user_id and previous_id"),
        (
            "identify",
            vec![("user_id", text(""))],
            "needs user_id or anonymous_id",
        ),
        ("identify", vec![("timestamp", text("soon"))], "is no time"),
        ("identify", vec![("traits", text("x"))], "must be an object"),
        (
            "identify",
            vec![("traits.a", text("x")), ("traits.a.b", text("y"))],
            "no object",
        ),
        (
            "identify",
            vec![("message_id", text("x"))],
            "is set by rowcast",
        ),
        (
            "identify",
            vec![("context.mappedToDestination", text("x"))],
            "is set by rowcast",
        ),
    ];
    for (object, fields, words) in cases {
        let reason = refused(object, fields);
        assert!(reason.message.contains(words), "{reason:?}");
        assert!(reason.hint.is_some(), "{reason:?}");
    }
}

#[test]
fn an_event_is_taken_as_it_is() {
    let fields = vec![
        ("type", text("group")),
        ("anonymousId", text("a")),
        ("groupId", Value::Int(3)),
        ("traits", Value::Object(vec![("type".into(), text("paid"))])),
    ];
    let event = record(Vec::new(), fields);
    let call = call(&event, None, Times::Own).unwrap();
    assert_eq!(call.kind, CallType::Group);
    assert_eq!(
        to_json(&Value::Object(call.members)),
        r#"{"anonymousId":"a","groupId":"3","traits":{"type":"paid"}}"#
    );
    let unknown = record(Vec::new(), vec![("type", text("merge"))]);
    assert!(super::call(&unknown, None, Times::Own).is_err());
}
