//! Segment's contract, kept on our side: what it would drop in silence never leaves.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use rowcast_core::record::{Operation, idempotency_key};
use rowcast_core::{Applied, Code, DestinationConfig, Fault, Key, Mode, Outcome, Record, Value};
use rowcast_testkit::api::{Act, Answer, Script};
use rowcast_testkit::segment::{BODY_MAX, CALL_MAX, CALLS_MAX, Segment};
use serde_json::{Value as Json, json};
use support::{batch, build, config, context, problems, record, rejected, with};

const KEY: &str = "segment-key-7731";

fn settings(segment: &Segment) -> Json {
    json!({
        "write_key": format!("secret:{KEY}"),
        "endpoint": segment.endpoint(),
        "cdn_endpoint": segment.cdn(),
    })
}

fn sync(settings: &Json, object: &str, calls: usize) -> DestinationConfig {
    let mut config = config(settings);
    config.object = object.into();
    config.batch_records = Some(calls);
    config
}

fn user(id: i64, fields: Vec<(&str, Value)>) -> Record {
    let mut record = record(Operation::Upsert, id, fields);
    record.match_on = vec![("user_id".into(), Value::Int(id))];
    record
}

fn padded(id: i64, pad: usize) -> Record {
    user(id, vec![("pad", Value::from("x".repeat(pad)))])
}

/// Bytes of the call that a record without padding makes.
async fn bare_bytes() -> usize {
    let segment = Segment::start(KEY);
    let destination = build("segment", sync(&settings(&segment), "identify", 10));
    destination.write(&batch(vec![padded(1, 0)])).await.unwrap();
    let kept = segment.ledger.lock();
    kept.calls[0].text.len()
}

#[tokio::test]
async fn a_call_of_32_kb_is_sent_and_one_byte_more_is_rejected_alone() {
    let segment = Segment::start(KEY);
    let destination = build("segment", sync(&settings(&segment), "identify", 10));
    let room = CALL_MAX - bare_bytes().await;
    let outcomes = destination
        .write(&batch(vec![
            padded(1, room),
            padded(2, room + 1),
            padded(3, 1),
        ]))
        .await
        .unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert_eq!(rejected(&outcomes[1]).code, Code::RecordTooLarge);
    assert_eq!(outcomes[2], Outcome::Delivered);
    let users: Vec<Json> = segment
        .calls()
        .iter()
        .map(|call| call["userId"].clone())
        .collect();
    assert_eq!(users, ["1", "3"]);
    assert_eq!(segment.dropped(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_of_500_kb_is_sent_and_one_byte_more_is_halved_before_it_leaves() {
    let segment = Segment::start(KEY);
    let destination = build("segment", sync(&settings(&segment), "identify", 100));
    let bare = bare_bytes().await;
    // Ids of one digit, so that every call is as long as the others.
    let full: Vec<usize> = std::iter::repeat_n(CALL_MAX - bare, 9).collect();
    let around = "{\"batch\":[]}".len();
    let rest = BODY_MAX - around - 15 * CALL_MAX - 15;
    let batch_of = |last: usize| {
        let mut records: Vec<Record> = full.iter().map(|pad| padded(1, *pad)).collect();
        records.extend(full.iter().take(6).map(|pad| padded(2, *pad)));
        records.push(padded(3, last - bare));
        batch(records)
    };
    let fault = destination.write(&batch_of(rest + 1)).await.unwrap_err();
    assert!(matches!(fault, Fault::Split { .. }), "{fault:?}");
    assert_eq!(segment.api.requests(), 0, "nothing was sent");
    destination.write(&batch_of(rest)).await.unwrap();
    assert_eq!(segment.api.log()[0].body.len(), BODY_MAX);
    assert_eq!(segment.api.log()[0].status, Some(200));
}

#[tokio::test]
async fn no_more_than_2_500_calls_share_a_request() {
    let segment = Segment::start(KEY);
    let destination = build("segment", sync(&settings(&segment), "identify", 10_000));
    assert_eq!(destination.capabilities().batch_records_max, CALLS_MAX);
    let records = |count: i64| (0..count).map(|id| padded(id, 0)).collect();
    let fault = destination.write(&batch(records(2_501))).await.unwrap_err();
    assert!(matches!(fault, Fault::Split { .. }), "{fault:?}");
    assert_eq!(segment.api.requests(), 0);
    destination.write(&batch(records(2_500))).await.unwrap();
    assert_eq!(segment.calls().len(), 2_500);
}

#[tokio::test]
async fn a_call_that_segment_would_drop_is_rejected_and_the_others_are_delivered() {
    let segment = Segment::start(KEY);
    let destination = build("segment", sync(&settings(&segment), "track", 10));
    let named = |id| {
        user(
            id,
            vec![("event", Value::from("Paid")), ("total", Value::Int(id))],
        )
    };
    let mut nobody = named(2);
    nobody.match_on = vec![("id".into(), Value::Int(2))];
    let records = vec![named(1), nobody, user(3, vec![]), named(4)];
    let outcomes = destination.write(&batch(records)).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert!(
        rejected(&outcomes[1])
            .message
            .contains("user_id or anonymous_id")
    );
    assert!(rejected(&outcomes[2]).message.contains("the event's name"));
    assert_eq!(outcomes[3], Outcome::Delivered);
    assert_eq!(segment.dropped(), Vec::<String>::new());
    assert_eq!(segment.api.requests(), 1);
}

#[tokio::test]
async fn a_batch_refused_with_400_is_halved_and_a_single_call_rejected_in_segments_words() {
    let segment = Segment::start(KEY);
    segment.ledger.refuse(|call| call["userId"] == "2");
    let destination = build("segment", sync(&settings(&segment), "identify", 10));
    let fault = destination
        .write(&batch(vec![padded(1, 0), padded(2, 0)]))
        .await
        .unwrap_err();
    assert!(matches!(fault, Fault::Split { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::No);
    let alone = destination.write(&batch(vec![padded(2, 0)])).await.unwrap();
    let reason = rejected(&alone[0]);
    assert_eq!(
        reason.detail.as_deref(),
        Some("status 400: a message is not valid")
    );
}

#[tokio::test]
async fn answers_mean_wait_stop_or_reject() {
    let segment = Segment::start(KEY);
    let destination = build("segment", sync(&settings(&segment), "identify", 10));
    let one = batch(vec![padded(1, 0)]);
    let answered = |status: u16| {
        let answer = Answer::status(status).header("retry-after", "7");
        segment.api.script(Script::once(Act::Answer(answer)));
        destination.write(&one)
    };
    for (status, applied) in [
        (429, Applied::No),
        (500, Applied::Unknown),
        (503, Applied::Unknown),
    ] {
        match answered(status).await.unwrap_err() {
            Fault::Transient {
                after,
                applied: got,
                ..
            } => {
                assert_eq!(
                    (after.map(|d| d.as_secs()), got),
                    (Some(7), applied),
                    "{status}"
                );
            }
            other => panic!("{status}: {other:?}"),
        }
    }
    for (status, code) in [
        (401, Code::DestinationAuth),
        (403, Code::DestinationAuth),
        (404, Code::DestinationObject),
        (301, Code::DestinationObject),
    ] {
        let fault = answered(status).await.unwrap_err();
        assert!(matches!(fault, Fault::Fatal { .. }), "{status}: {fault:?}");
        assert_eq!(fault.reason().code, code, "{status}");
    }
    for (status, code) in [
        (400, Code::DestinationRejected),
        (413, Code::RecordTooLarge),
        (422, Code::DestinationRejected),
    ] {
        assert_eq!(
            rejected(&answered(status).await.unwrap()[0]).code,
            code,
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_removed_row_is_told_of_only_by_an_event() {
    let segment = Segment::start(KEY);
    let mut config = sync(&settings(&segment), "", 10);
    config.mode = Mode::Delete;
    let destination = build("segment", config);
    let gone = |fields| record(Operation::Delete, 7, fields);
    let told = vec![
        ("type", Value::from("track")),
        ("event", Value::from("Left")),
        ("userId", Value::from("7")),
    ];
    let outcomes = destination
        .write(&batch(vec![gone(told), gone(vec![])]))
        .await
        .unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert!(
        rejected(&outcomes[1])
            .message
            .contains("no call that deletes")
    );
    assert_eq!(segment.calls()[0]["event"], "Left");
}

/// Rule 9 at the destination: the key becomes the `messageId` by which Segment drops repetitions.
#[tokio::test]
async fn rule_9_a_message_id_is_stable_over_retries_and_new_when_a_value_returns() {
    let segment = Segment::start(KEY);
    let destination = build("segment", sync(&settings(&segment), "identify", 10));
    let version = |checksum: i64, run: i64| {
        let mut record = padded(7, 0);
        record.idempotency_key = idempotency_key(
            &context(run),
            &Key::int(7).canonical(),
            Operation::Upsert,
            Some(checksum),
            run,
        );
        batch(vec![record])
    };
    let (first_a, b, second_a) = (version(1, 1), version(2, 2), version(1, 3));
    segment.api.script(Script::once(Act::TakeAndCut));
    destination.write(&first_a).await.unwrap_err();
    for batch in [&first_a, &b, &second_a] {
        destination.write(batch).await.unwrap();
    }
    let ids: Vec<Json> = segment
        .calls()
        .iter()
        .map(|call| call["messageId"].clone())
        .collect();
    assert_eq!(
        ids.len(),
        3,
        "the repetition was dropped, A -> B -> A was not"
    );
    assert_eq!(segment.ledger.lock().repeated.len(), 1);
    assert_eq!(ids[0], first_a.records[0].idempotency_key.as_str());
}

#[tokio::test]
async fn each_type_has_its_own_address_when_calls_travel_alone() {
    let segment = Segment::start(KEY);
    let more = |fields: &[(&'static str, &'static str)]| {
        let fields = fields.iter().map(|(n, v)| (*n, Value::from(*v))).collect();
        user(1, fields)
    };
    let cases = [
        ("identify", more(&[])),
        ("track", more(&[("event", "e")])),
        ("page", more(&[("name", "p")])),
        ("screen", more(&[("name", "s")])),
        ("group", more(&[("group_id", "g")])),
        ("alias", more(&[("previous_id", "p")])),
    ];
    for (object, mut record) in cases {
        record.idempotency_key = object.to_owned();
        let destination = build("segment", sync(&settings(&segment), object, 1));
        let outcomes = destination.write(&batch(vec![record])).await.unwrap();
        assert_eq!(outcomes, [Outcome::Delivered]);
        assert_eq!(
            segment.api.log().last().unwrap().path(),
            format!("/v1/{object}")
        );
    }
    let kinds: Vec<Json> = segment
        .calls()
        .iter()
        .map(|call| call["type"].clone())
        .collect();
    assert_eq!(
        kinds,
        ["identify", "track", "page", "screen", "group", "alias"]
    );
    assert_eq!(segment.dropped(), Vec::<String>::new());
}

#[tokio::test]
async fn profiles_and_integrations_say_where_calls_go_on_to() {
    let segment = Segment::start(KEY);
    let more = json!({ "integrations": { "All": true, "Mixpanel": false }, "profiles": true });
    let destination = build(
        "segment",
        sync(&with(settings(&segment), &more), "identify", 10),
    );
    destination.write(&batch(vec![padded(1, 0)])).await.unwrap();
    assert_eq!(
        segment.calls()[0]["integrations"],
        json!({ "All": false, "Mixpanel": false })
    );
    let wrong = problems(
        "segment",
        sync(&with(settings(&segment), &more), "page", 10),
    );
    assert_eq!(wrong[0].path, "object");
}

#[tokio::test]
async fn consent_is_kept_in_segments_form_and_emptied_otherwise() {
    let segment = Segment::start(KEY);
    let destination = build("segment", sync(&settings(&segment), "identify", 10));
    let given = |id: i64, consent: &str| {
        let mut record = user(id, vec![("context.consent", Value::Json(consent.into()))]);
        record.idempotency_key = id.to_string();
        record
    };
    let good = r#"{"categoryPreferences":{"Advertising":true,"Analytics":false}}"#;
    let bad = r#"{"categoryPreferences":{"Advertising":"yes"}}"#;
    let records = vec![given(1, good), given(2, bad), given(3, "true")];
    destination.write(&batch(records)).await.unwrap();
    let kept: Vec<Json> = segment
        .calls()
        .iter()
        .map(|call| call["context"]["consent"].clone())
        .collect();
    assert_eq!(kept[0], serde_json::from_str::<Json>(good).unwrap());
    assert_eq!(kept[1..], [json!({}), json!({})]);
}

#[tokio::test]
async fn a_wrong_write_key_is_found_before_the_first_call() {
    let segment = Segment::start("another-key");
    let destination = build("segment", sync(&settings(&segment), "identify", 10));
    let checks = destination.check().await;
    let last = checks.last().unwrap();
    assert_eq!(last.name, "write key");
    assert_eq!(last.reason.as_ref().unwrap().code, Code::DestinationAuth);
    let fault = destination.open(&context(1)).await.unwrap_err();
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::No);
    assert!(!format!("{checks:?}{fault:?}").contains(KEY));
    assert!(segment.api.log().iter().all(|seen| seen.method == "GET"));
}

#[test]
fn a_sync_that_segment_cannot_take_is_refused_at_its_key() {
    let base = json!({ "write_key": "secret:k" });
    let mut mirror = sync(&base, "identify", 10);
    mirror.mode = Mode::Mirror;
    assert_eq!(
        problems("segment", mirror)[0].reason.code,
        Code::UnsupportedMode
    );
    let wrong = problems("segment", sync(&base, "contacts", 10));
    assert_eq!(wrong[0].path, "object");
    assert!(
        wrong[0]
            .reason
            .hint
            .as_deref()
            .unwrap()
            .contains("identify, track")
    );
    let region = with(base.clone(), &json!({ "region": "frankfurt" }));
    assert_eq!(
        problems("segment", sync(&region, "identify", 10))[0].path,
        "settings.region"
    );
    let colon = json!({ "write_key": "secret:a:b" });
    assert_eq!(
        problems("segment", sync(&colon, "identify", 10))[0].path,
        "settings.write_key"
    );
}

#[test]
fn regions_and_keys_show_in_rendered_requests_as_they_may() {
    for (region, host) in [
        ("oregon", "https://api.segment.io/v1/batch"),
        ("dublin", "https://events.eu1.segmentapis.com/v1/batch"),
    ] {
        let settings = json!({ "write_key": format!("secret:{KEY}"), "region": region });
        let destination = build("segment", sync(&settings, "identify", 10));
        let shown = destination.render(&batch(vec![padded(1, 3)]));
        assert!(shown[0].contains(host), "{shown:?}");
        assert!(
            shown[0].contains("authorization: ***") && !shown[0].contains(KEY),
            "{shown:?}"
        );
    }
}
