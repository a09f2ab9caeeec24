//! The emulator of Segment refuses what Segment refuses, and drops what Segment drops.

mod support;

use rowcast_testkit::segment::{BODY_MAX, CALL_MAX, Segment};
use serde_json::{Value, json};
use support::Request;

/// `key:` in base64.
const KEY: &str = "Basic a2V5Og==";

fn call() -> Value {
    json!({ "type": "track", "userId": "7", "event": "Paid", "messageId": "m1",
            "timestamp": "2024-02-29T12:30:00Z", "properties": { "total": 9.5 } })
}

fn with(name: &str, value: Value) -> Value {
    let mut call = call();
    call[name] = value;
    call
}

fn without(name: &str) -> Value {
    let mut call = call();
    call.as_object_mut().expect("an object").remove(name);
    call
}

fn batch(calls: &[Value]) -> Vec<u8> {
    json!({ "batch": calls }).to_string().into_bytes()
}

fn post(body: Vec<u8>) -> Request {
    Request::post("/v1/batch", KEY, body)
}

#[test]
fn right_calls_are_kept_once_by_their_message_id() {
    let segment = Segment::start("key");
    let address = segment.api.address();
    assert_eq!(post(batch(&[call()])).send(address).0, 200);
    assert_eq!(
        post(batch(&[call(), with("messageId", json!("m2"))]))
            .send(address)
            .0,
        200
    );
    let single = Request::post("/v1/track", KEY, with("messageId", json!("m3")).to_string());
    assert_eq!(single.send(address).0, 200);
    let ids: Vec<Value> = segment
        .calls()
        .iter()
        .map(|call| call["messageId"].clone())
        .collect();
    assert_eq!(ids, ["m1", "m2", "m3"]);
    assert_eq!(segment.ledger.lock().repeated.len(), 1);
    assert_eq!(segment.dropped(), Vec::<String>::new());
}

#[test]
fn wrong_requests_are_answered_with_an_error_and_nothing_is_kept() {
    let segment = Segment::start("key");
    let address = segment.api.address();
    let padded = |size: usize| {
        let bare = with("pad", json!("")).to_string().len();
        with("pad", json!("x".repeat(size - bare)))
    };
    let many: Vec<Value> = (0..16).map(|_| padded(CALL_MAX)).collect();
    let around = batch(&many).len();
    assert!(around > BODY_MAX, "{around}");
    let wrong: Vec<(&str, Request, u16)> = vec![
        ("bad JSON", post(b"{\"batch\":[".to_vec()), 400),
        ("no list", post(b"{\"batch\":{}}".to_vec()), 400),
        ("a large call", post(batch(&[padded(CALL_MAX + 1)])), 400),
        ("a large body", post(batch(&many)), 400),
        (
            "no content type",
            post(batch(&[call()])).without("content-type"),
            400,
        ),
        (
            "compressed",
            post(batch(&[call()])).with("content-encoding", "gzip"),
            400,
        ),
        (
            "no such place",
            Request::post("/v1/delete", KEY, batch(&[call()])),
            404,
        ),
        (
            "GET",
            Request {
                method: "GET",
                ..post(Vec::new())
            },
            404,
        ),
    ];
    for (what, request, status) in wrong {
        assert_eq!(request.send(address).0, status, "{what}");
    }
    assert_eq!(segment.calls(), Vec::<Value>::new());
    assert_eq!(post(batch(&[padded(CALL_MAX)])).send(address).0, 200);
    assert_eq!(segment.calls().len(), 1);
}

#[test]
fn wrong_calls_are_answered_with_200_and_dropped() {
    let segment = Segment::start("key");
    let address = segment.api.address();
    let wrong = [
        (without("type"), "type is missing"),
        (with("type", json!("merge")), "unknown type"),
        (without("userId"), "needs userId or anonymousId"),
        (with("userId", json!(7)), "must be non-empty text"),
        (with("userId", json!("")), "must be non-empty text"),
        (without("event"), "needs event"),
        (with("type", json!("group")), "needs groupId"),
        (with("type", json!("alias")), "needs userId and previousId"),
        (
            with("messageId", json!("x".repeat(100))),
            "shorter than 100",
        ),
        (with("timestamp", json!("yesterday")), "ISO 8601"),
        (with("properties", json!("{}")), "must be an object"),
        (json!(7), "no object"),
    ];
    for (call, why) in wrong {
        assert_eq!(post(batch(&[call])).send(address).0, 200);
        let dropped = segment.dropped();
        assert!(dropped.last().unwrap().contains(why), "{dropped:?}");
    }
    for (authorization, body) in [
        ("Basic b3RoZXI6", batch(&[call()])),
        ("Bearer key", batch(&[call()])),
        (KEY, batch(&vec![call(); 2_501])),
    ] {
        let before = segment.dropped().len();
        assert_eq!(
            Request::post("/v1/batch", authorization, body)
                .send(address)
                .0,
            200
        );
        assert!(segment.dropped().len() > before);
    }
    assert_eq!(segment.calls(), Vec::<Value>::new());
}

#[test]
fn a_write_key_can_be_looked_up() {
    let segment = Segment::start("key");
    let get = |path: &str| Request {
        method: "GET",
        ..Request::post(path, KEY, Vec::new())
    };
    let address = segment.api.address();
    assert_eq!(get("/v1/projects/key/settings").send(address).0, 200);
    assert_eq!(get("/v1/projects/other/settings").send(address).0, 404);
}
