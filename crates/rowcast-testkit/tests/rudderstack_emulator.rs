//! The emulator of a data plane refuses what a data plane refuses, in its words.

mod support;

use std::io::Write as _;

use rowcast_testkit::rudderstack::{BODY_MAX, DataPlane};
use serde_json::{Value, json};
use support::Request;

/// `key:` in base64.
const KEY: &str = "Basic a2V5Og==";

fn sources(run: &str) -> Value {
    json!({ "job_id": "j", "version": "v", "job_run_id": run, "task_run_id": run })
}

fn track() -> Value {
    json!({ "type": "track", "channel": "sources", "userId": "7", "event": "Paid",
            "messageId": "m1", "recordId": "1", "timestamp": "2024-02-29T12:30:00Z",
            "context": { "sources": sources("r1") } })
}

fn record() -> Value {
    json!({ "type": "record", "channel": "sources", "action": "insert", "fields": { "a": 1 },
            "identifiers": { "id": 7 }, "recordId": "1", "messageId": "m2",
            "context": { "sources": sources("r1") } })
}

fn mapped() -> Value {
    json!({ "type": "identify", "channel": "sources", "userId": "7", "traits": { "email": "a" },
            "messageId": "m3", "recordId": "1",
            "context": { "sources": sources("r1"), "mappedToDestination": "true",
                "externalId": [{ "id": "7", "type": "HS-contacts", "identifierType": "email" }] } })
}

fn change(mut event: Value, pointer: &str, value: Value) -> Value {
    *event.pointer_mut(pointer).expect("the member is there") = value;
    event
}

fn batch(events: &[Value]) -> Vec<u8> {
    json!({ "batch": events }).to_string().into_bytes()
}

fn post(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/v1/batch", KEY, body)
}

fn zipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("compressed");
    encoder.finish().expect("compressed")
}

#[test]
fn right_events_are_kept_once_by_message_and_run() {
    let plane = DataPlane::start("key");
    let address = plane.api.address();
    let all = batch(&[track(), record(), mapped()]);
    assert_eq!(post(all.clone()).send(address), (200, "ok\n".to_owned()));
    let again = post(zipped(&all)).with("content-encoding", "gzip");
    assert_eq!(again.send(address).0, 200);
    assert_eq!(plane.events().len(), 3);
    assert_eq!(plane.ledger.lock().repeated.len(), 3);
    let later = change(track(), "/context/sources", sources("r2"));
    assert_eq!(post(batch(&[later])).send(address).0, 200);
    assert_eq!(plane.events().len(), 4, "another run is another event");
    assert_eq!(plane.dropped(), Vec::<String>::new());
}

#[test]
fn the_gateway_refuses_requests_in_its_own_words() {
    let plane = DataPlane::start("key");
    let address = plane.api.address();
    let good = batch(&[track()]);
    let nameless = change(track(), "/userId", json!(" "));
    let mut large = good.clone();
    large.resize(BODY_MAX + 1, b' ');
    let get = Request {
        method: "GET",
        ..post(good.clone())
    };
    let wrong: Vec<(Request, u16, &str)> = vec![
        (
            post(good.clone()).without("authorization"),
            401,
            "failed to read writekey from header",
        ),
        (
            Request::post("/v1/batch", "Basic b3RoZXI6", good.clone()),
            401,
            "invalid write key",
        ),
        (
            Request::post("/v1/batch", "Basic ZGlzYWJsZWQ6", good.clone()),
            404,
            "source is disabled",
        ),
        (get, 400, "invalid http request method"),
        (post(""), 400, "request body is nil"),
        (post("{\"batch\":["), 400, "invalid json"),
        (post("{\"batch\":[]}"), 400, "empty batch payload"),
        (post("{}"), 400, "empty batch payload"),
        (
            post(batch(&[json!(1)])),
            400,
            "event is not a valid rudder event",
        ),
        (
            post(batch(&[track(), nameless])),
            400,
            "request neither has anonymousId nor userId",
        ),
        (post(large), 413, "request size exceeds max limit"),
        (
            post(good.clone()).with("content-encoding", "gzip"),
            500,
            "failed to read body from request",
        ),
        (
            Request::post("/internal/v1/retl", KEY, good.clone()),
            404,
            "404 page not found",
        ),
    ];
    for (request, status, words) in wrong {
        assert_eq!(request.send(address), (status, format!("{words}\n")));
    }
    assert_eq!(
        plane.events(),
        Vec::<Value>::new(),
        "a batch is refused as a whole"
    );
    let mut full = good;
    full.resize(BODY_MAX, b' ');
    assert_eq!(post(full).send(address).0, 200);
}

#[test]
fn events_of_a_wrong_form_reach_no_destination() {
    let plane = DataPlane::start("key");
    let address = plane.api.address();
    let wrong = [
        (change(track(), "/channel", json!("web")), "channel"),
        (change(track(), "/type", json!("purchase")), "not supported"),
        (change(track(), "/event", json!("")), "event name"),
        (change(track(), "/recordId", json!(1)), "recordId"),
        (change(track(), "/timestamp", json!("soon")), "RFC 3339"),
        (
            change(track(), "/context/sources/job_id", json!(1)),
            "job_id",
        ),
        (
            change(track(), "/event", json!("x".repeat(32 * 1024))),
            "32 KB",
        ),
        (change(record(), "/action", json!("upsert")), "action"),
        (
            change(record(), "/identifiers", json!({ "id": null })),
            "identifier",
        ),
        (change(record(), "/fields", json!([])), "fields"),
        (
            change(mapped(), "/context/mappedToDestination", json!(true)),
            "the text true",
        ),
        (
            change(mapped(), "/context/externalId", json!({ "id": "7" })),
            "externalId",
        ),
        (
            change(mapped(), "/context/externalId/0/type", json!("HS")),
            "externalId",
        ),
        (change(mapped(), "/userId", json!("8")), "external id"),
    ];
    for (event, why) in wrong {
        assert_eq!(post(batch(&[event])).send(address).0, 200);
        let dropped = plane.dropped();
        assert!(
            dropped.last().is_some_and(|last| last.contains(why)),
            "{why}: {dropped:?}"
        );
    }
    assert_eq!(plane.events(), Vec::<Value>::new());
}
