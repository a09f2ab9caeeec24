//! RudderStack's contract: the forms of its mappers, the limits and answers of its data plane.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use rowcast_core::record::Operation;
use rowcast_core::{Applied, Code, DestinationConfig, Fault, Kind, Mode, Outcome, Record, Value};
use rowcast_testkit::api::{Act, Answer, Script};
use rowcast_testkit::calls::plain_body;
use rowcast_testkit::rudderstack::{BODY_MAX, DataPlane, EVENT_MAX};
use serde_json::{Value as Json, json};
use support::{batch, build, config, problems, record, rejected, with};

const KEY: &str = "rudder-key-7731";

fn settings(plane: &DataPlane) -> Json {
    json!({ "write_key": format!("secret:{KEY}"), "data_plane_url": plane.url() })
}

fn sync(settings: &Json, object: &str, match_on: &[&str]) -> DestinationConfig {
    let mut config = config(settings);
    config.object = object.into();
    config.match_fields = match_on.iter().map(|name| (*name).into()).collect();
    config.batch_records = Some(1_000);
    config
}

fn matched(id: i64, field: &str, fields: Vec<(&str, Value)>) -> Record {
    let mut record = record(Operation::Upsert, id, fields);
    record.match_on = vec![(field.into(), Value::Int(id))];
    record
}

fn padded(id: i64, pad: usize) -> Record {
    matched(id, "user_id", vec![("pad", Value::from("x".repeat(pad)))])
}

/// The only event of a record, without what differs from run to run.
async fn event(settings: Json, object: &str, field: &str, fields: Vec<(&str, Value)>) -> Json {
    let plane = DataPlane::start(KEY);
    let settings = with(settings, &json!({ "data_plane_url": plane.url() }));
    let destination = build("rudderstack", sync(&settings, object, &[field]));
    let outcomes = destination
        .write(&batch(vec![matched(5, field, fields)]))
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Delivered]);
    assert_eq!(plane.dropped(), Vec::<String>::new());
    plane.events().remove(0)
}

fn keyed() -> Json {
    json!({ "write_key": format!("secret:{KEY}") })
}

#[tokio::test]
async fn the_json_mapper_makes_an_identify() {
    let fields = vec![
        ("email", Value::from("a@x.io")),
        ("traits.plan", Value::Null),
        ("constant.value", Value::from("1")),
        ("context.env", Value::from("prod")),
    ];
    let event = event(keyed(), "identify", "user_id", fields).await;
    assert_eq!(
        event,
        json!({
            "type": "identify", "channel": "sources", "userId": "5",
            "traits": { "email": "a@x.io", "plan": null, "constant": { "value": "1" } },
            "context": { "env": "prod", "sources": {
                "job_id": "0d5f", "job_run_id": "0d5f-1-12", "task_run_id": "0d5f-1-12",
                "batch_id": format!("{:032x}", 5), "task_id": "customers_to_crm",
                "version": concat!("rowcast-v", env!("CARGO_PKG_VERSION")),
            } },
            "recordId": "5", "messageId": format!("{:032x}", 5),
            "timestamp": "2024-02-29T12:30:00Z", "originalTimestamp": "2024-02-29T12:30:00Z",
        })
    );
}

#[tokio::test]
async fn the_json_mapper_makes_a_track_whose_time_is_a_mapped_timestamp() {
    let fields = vec![
        ("event", Value::from("purchase")),
        ("EVENT_NAME", Value::from("purchase")),
        ("properties.timestamp", Value::TimestampTz(0)),
    ];
    let event = event(keyed(), "track", "anonymous_id", fields).await;
    assert_eq!(event["anonymousId"], "5");
    assert_eq!(event["event"], "purchase");
    assert_eq!(event["timestamp"], "1970-01-01T00:00:00Z");
    assert_eq!(
        event["properties"],
        json!({ "EVENT_NAME": "purchase", "timestamp": "1970-01-01T00:00:00Z" })
    );
}

#[tokio::test]
async fn the_visual_mapper_marks_an_identify_for_one_destination() {
    let settings = with(keyed(), &json!({ "mapper": { "visual": "HS" } }));
    let fields = vec![("firstname", Value::from("Ann"))];
    let event = event(settings, "contacts", "hs_id", fields).await;
    assert_eq!(event["type"], "identify");
    assert_eq!(event["userId"], "5");
    assert_eq!(event["traits"], json!({ "firstname": "Ann" }));
    assert_eq!(event["context"]["mappedToDestination"], "true");
    assert_eq!(
        event["context"]["externalId"],
        json!([{ "id": "5", "type": "HS-contacts", "identifierType": "hs_id" }])
    );
}

#[tokio::test]
async fn record_events_tell_insert_update_and_delete_apart() {
    let plane = DataPlane::start(KEY);
    let settings = with(settings(&plane), &json!({ "mapper": "record" }));
    let mut config = sync(&settings, "person", &["email"]);
    config.mode = Mode::Mirror;
    let destination = build("rudderstack", config);
    for (operation, kind) in [
        (Operation::Upsert, Kind::Added),
        (Operation::Upsert, Kind::Updated),
        (Operation::Insert, Kind::Added),
        (Operation::Update, Kind::Updated),
        (Operation::Delete, Kind::Removed),
    ] {
        let mut record = record(operation, 5, vec![("name", Value::from("Ann"))]);
        record.kind = kind;
        record.match_on = vec![("email".into(), Value::from("a@x.io"))];
        record.idempotency_key = format!("{operation} {kind:?}");
        destination.write(&batch(vec![record])).await.unwrap();
    }
    let events = plane.events();
    let actions: Vec<&Json> = events.iter().map(|event| &event["action"]).collect();
    assert_eq!(actions, ["insert", "update", "insert", "update", "delete"]);
    assert_eq!(events[0]["identifiers"], json!({ "email": "a@x.io" }));
    assert_eq!(events[0]["fields"], json!({ "name": "Ann" }));
    assert_eq!(
        events[4]["fields"],
        json!({}),
        "columns are no fields of the destination"
    );
    assert!(events[0].get("userId").is_none());
}

#[tokio::test]
async fn requests_are_compressed_unless_the_setting_says_no() {
    let plane = DataPlane::start(KEY);
    for (gzip, encoding) in [(true, Some("gzip")), (false, None)] {
        let settings = with(settings(&plane), &json!({ "gzip": gzip }));
        let destination = build("rudderstack", sync(&settings, "identify", &["user_id"]));
        destination
            .write(&batch(vec![padded(1, 500)]))
            .await
            .unwrap();
        let log = plane.api.log();
        let seen = log.last().unwrap();
        assert_eq!(seen.header("content-encoding"), encoding);
        assert_eq!(seen.body.len() < 500, gzip);
        assert_eq!(
            seen.header("authorization").unwrap().split(' ').next(),
            Some("Basic")
        );
    }
}

#[tokio::test]
async fn a_body_of_4_096_000_bytes_is_sent_and_one_byte_more_is_halved_before_it_leaves() {
    let plane = DataPlane::start(KEY);
    let destination = build(
        "rudderstack",
        sync(&settings(&plane), "identify", &["user_id"]),
    );
    destination.write(&batch(vec![padded(1, 0)])).await.unwrap();
    let bare = plane.ledger.lock().calls[0].text.len();
    let around = "{\"batch\":[]}".len();
    // 200 events of one length with a comma each, and the rest in the last one.
    let each = 20_400;
    let rest = BODY_MAX - around - 200 * (each + 1);
    let of = |last: usize| {
        let mut records: Vec<Record> = (0..200).map(|_| padded(1, each - bare)).collect();
        records.push(padded(1, last - bare));
        batch(records)
    };
    let fault = destination.write(&of(rest + 1)).await.unwrap_err();
    assert!(matches!(fault, Fault::Split { .. }), "{fault:?}");
    assert_eq!(plane.api.requests(), 1, "nothing more was sent");
    destination.write(&of(rest)).await.unwrap();
    let log = plane.api.log();
    assert_eq!(plain_body(&log[1]).unwrap().len(), BODY_MAX);
    assert_eq!(log[1].status, Some(200));
}

#[tokio::test]
async fn an_event_of_32_kb_is_sent_and_one_byte_more_is_rejected_alone() {
    let plane = DataPlane::start(KEY);
    let destination = build(
        "rudderstack",
        sync(&settings(&plane), "identify", &["user_id"]),
    );
    destination.write(&batch(vec![padded(1, 0)])).await.unwrap();
    let room = EVENT_MAX - plane.ledger.lock().calls[0].text.len();
    let outcomes = destination
        .write(&batch(vec![
            padded(2, room),
            padded(3, room + 1),
            padded(4, 0),
        ]))
        .await
        .unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert_eq!(rejected(&outcomes[1]).code, Code::RecordTooLarge);
    assert_eq!(outcomes[2], Outcome::Delivered);
    assert_eq!(plane.dropped(), Vec::<String>::new());
}

#[tokio::test]
async fn the_status_table_of_a_data_plane() {
    let plane = DataPlane::start(KEY);
    let destination = build(
        "rudderstack",
        sync(&settings(&plane), "identify", &["user_id"]),
    );
    let answered = |status: u16, calls: i64| {
        let answer = Answer::status(status).body("words of the data plane\n");
        plane.api.script(Script::once(Act::Answer(answer)));
        let batch = batch((0..calls).map(|id| padded(id, 0)).collect());
        let destination = destination.clone();
        async move { destination.write(&batch).await }
    };
    for (status, applied) in [
        (429, Applied::No),
        (500, Applied::Unknown),
        (503, Applied::Unknown),
        (504, Applied::Unknown),
    ] {
        let fault = answered(status, 3).await.unwrap_err();
        assert!(
            matches!(fault, Fault::Transient { .. }),
            "{status}: {fault:?}"
        );
        assert_eq!(fault.applied(), applied, "{status}");
    }
    for status in [400, 413] {
        let fault = answered(status, 3).await.unwrap_err();
        assert!(matches!(fault, Fault::Split { .. }), "{status}: {fault:?}");
        let alone = answered(status, 1).await.unwrap();
        let reason = rejected(&alone[0]);
        assert_eq!(
            reason.detail,
            Some(format!("status {status}: words of the data plane"))
        );
    }
    for (status, code) in [(401, Code::DestinationAuth), (404, Code::DestinationObject)] {
        let fault = answered(status, 3).await.unwrap_err();
        assert!(matches!(fault, Fault::Fatal { .. }), "{status}: {fault:?}");
        assert_eq!(fault.reason().code, code);
        assert!(fault.reason().hint.is_some());
    }
}

#[tokio::test]
async fn a_check_proves_the_key_and_sends_no_event() {
    let plane = DataPlane::start(KEY);
    let destination = build(
        "rudderstack",
        sync(&settings(&plane), "identify", &["user_id"]),
    );
    let checks = destination.check().await;
    assert!(
        checks.iter().all(|check| check.reason.is_none()),
        "{checks:?}"
    );
    assert_eq!(plane.events(), Vec::<Json>::new());
    for (key, code) in [
        ("wrong", Code::DestinationAuth),
        ("disabled", Code::DestinationObject),
    ] {
        let settings = with(
            settings(&plane),
            &json!({ "write_key": format!("secret:{key}") }),
        );
        let destination = build("rudderstack", sync(&settings, "identify", &["user_id"]));
        let checks = destination.check().await;
        let last = checks.last().unwrap();
        assert_eq!(last.reason.as_ref().unwrap().code, code);
    }
}

#[test]
fn a_sync_that_a_mapper_cannot_take_is_refused_at_its_key() {
    let base = json!({ "write_key": "secret:k", "data_plane_url": "https://plane.example.com" });
    let visual = with(base.clone(), &json!({ "mapper": { "visual": "HS" } }));
    let hyphen = with(base.clone(), &json!({ "mapper": { "visual": "MY-CRM" } }));
    let path = with(
        base.clone(),
        &json!({ "data_plane_url": "https://plane.example.com/v1/batch" }),
    );
    for (settings, object, match_on, place) in [
        (&base, "contacts", &["user_id"][..], "object"),
        (&visual, "", &["email"], "object"),
        (&visual, "contacts", &["email", "id"], "match_on"),
        (&visual, "contacts", &["user_id"], "match_on"),
        (&hyphen, "contacts", &["email"], "settings.mapper.visual"),
        (&path, "identify", &["user_id"], "settings.data_plane_url"),
    ] {
        let found = problems("rudderstack", sync(settings, object, match_on));
        assert_eq!(found[0].path, place);
    }
    for (settings, object) in [(&base, "track"), (&base, "identify"), (&visual, "contacts")] {
        let mut config = sync(settings, object, &["email"]);
        config.mode = Mode::Mirror;
        let found = problems("rudderstack", config);
        assert_eq!(
            found[0].reason.code,
            Code::UnsupportedMode,
            "only record events delete"
        );
    }
}
