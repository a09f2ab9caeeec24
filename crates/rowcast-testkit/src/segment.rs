//! Segment's tracking API as its documentation states it: what it refuses, and what it answers 200
//! to and drops.
//!
//! Sizes that the documentation leaves open are read the stricter way.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::{Answer, Api, Seen};
use crate::calls::{Call, Ledger, basic_key, batch, is_instant};

/// Bytes of a request: 500 KB.
pub const BODY_MAX: usize = 500_000;
/// Bytes of a call: 32 KB.
pub const CALL_MAX: usize = 32 * 1024;
/// Calls of a request.
pub const CALLS_MAX: usize = 2_500;

const TYPES: [&str; 6] = ["identify", "track", "page", "screen", "group", "alias"];

/// A running Segment with one source.
pub struct Segment {
    pub api: Api,
    pub ledger: Ledger,
}

impl Segment {
    /// Starts it; the source has this write key.
    pub fn start(write_key: &str) -> Self {
        let ledger = Ledger::default();
        let (kept, key) = (ledger.clone(), write_key.to_owned());
        let api = Api::judged(Box::new(move |seen| answer(seen, &key, &kept)));
        Self { api, ledger }
    }

    /// The base address of the tracking API.
    pub fn endpoint(&self) -> String {
        self.api.url("/v1")
    }

    /// Where write keys are looked up.
    pub fn cdn(&self) -> String {
        self.api.url("")
    }

    /// The calls it kept.
    pub fn calls(&self) -> Vec<Value> {
        let kept = self.ledger.lock();
        kept.calls.iter().map(|call| call.json.clone()).collect()
    }

    /// Why calls were dropped with 200.
    pub fn dropped(&self) -> Vec<String> {
        let kept = self.ledger.lock();
        kept.dropped.iter().map(|call| call.why.clone()).collect()
    }
}

fn refused(message: &str) -> Answer {
    Answer::json(400, &json!({ "error": message }))
}

fn answer(seen: &Seen, key: &str, ledger: &Ledger) -> Answer {
    if let Some(rest) = seen.path().strip_prefix("/v1/projects/") {
        return if seen.method == "GET" && rest == format!("{key}/settings") {
            Answer::json(200, &json!({ "integrations": {} }))
        } else {
            Answer::json(404, &json!({ "error": "unknown project" }))
        };
    }
    let place = seen.path().strip_prefix("/v1/").unwrap_or_default();
    if seen.method != "POST" || !(place == "batch" || TYPES.contains(&place)) {
        return Answer::status(404);
    }
    if seen.body.len() > BODY_MAX {
        return refused("request body too large");
    }
    let json_type = seen
        .header("content-type")
        .is_some_and(|value| value.starts_with("application/json"));
    if !json_type || seen.header("content-encoding").is_some() {
        return refused("the body must be application/json");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&seen.body) else {
        return refused("malformed JSON");
    };
    let calls: Vec<Box<RawValue>> = if place == "batch" {
        match batch(&seen.body) {
            Some(calls) => calls,
            None => return refused("malformed JSON: batch must be an array"),
        }
    } else {
        serde_json::from_slice(&seen.body)
            .map(|call| vec![call])
            .unwrap_or_default()
    };
    if calls.iter().any(|call| call.get().len() > CALL_MAX) {
        return refused("message exceeds 32KB");
    }
    take(seen, place, key, &body, calls, ledger)
}

/// From here on the answer is 200, whatever becomes of the calls.
fn take(
    seen: &Seen,
    place: &str,
    key: &str,
    body: &Value,
    calls: Vec<Box<RawValue>>,
    ledger: &Ledger,
) -> Answer {
    let mut kept = ledger.lock();
    let parsed: Vec<(String, Value)> = calls
        .iter()
        .map(|call| {
            let json = serde_json::from_str(call.get()).unwrap_or_default();
            (call.get().to_owned(), json)
        })
        .collect();
    if parsed.iter().any(|(_, call)| kept.is_bad(call)) {
        return refused("a message is not valid");
    }
    let given = basic_key(seen).or_else(|| body["writeKey"].as_str().map(str::to_owned));
    let whole = if given.as_deref() != Some(key) {
        Some("invalid write key")
    } else if parsed.len() > CALLS_MAX {
        Some("more than 2,500 calls in a batch")
    } else {
        None
    };
    for (text, json) in parsed {
        match whole.map_or_else(|| fault(&json, place), |why| Some(why.to_owned())) {
            Some(why) => kept.drop_call(&json, why),
            None => kept.keep(
                Call {
                    request: seen.number,
                    text,
                    json,
                },
                |call| call["messageId"].as_str().map(str::to_owned),
            ),
        }
    }
    Answer::json(200, &json!({ "success": true }))
}

/// Why a call would not appear in the workspace.
fn fault(call: &Value, place: &str) -> Option<String> {
    let Some(members) = call.as_object() else {
        return Some("the call is no object".into());
    };
    let kind = match call["type"].as_str() {
        Some(kind) => kind,
        None if place != "batch" => place,
        None => return Some("type is missing".into()),
    };
    if !TYPES.contains(&kind) || (place != "batch" && place != kind) {
        return Some(format!("unknown type {kind}"));
    }
    let text = |name: &str| call[name].as_str().is_some_and(|text| !text.is_empty());
    for name in ["userId", "anonymousId", "groupId", "previousId"] {
        if members.contains_key(name) && !text(name) {
            return Some(format!("{name} must be non-empty text"));
        }
    }
    let missing = |name: &str| Some(format!("{kind} needs {name}"));
    if kind == "alias" {
        if !text("userId") || !text("previousId") {
            return missing("userId and previousId");
        }
    } else if !text("userId") && !text("anonymousId") {
        return missing("userId or anonymousId");
    }
    if kind == "track" && !text("event") {
        return missing("event");
    }
    if kind == "group" && !text("groupId") {
        return missing("groupId");
    }
    for name in ["traits", "properties", "context", "integrations"] {
        if members.contains_key(name) && !call[name].is_object() {
            return Some(format!("{name} must be an object"));
        }
    }
    if call["messageId"].as_str().is_some_and(|id| id.len() >= 100) {
        return Some("messageId must be shorter than 100 characters".into());
    }
    if members.contains_key("timestamp") && !call["timestamp"].as_str().is_some_and(is_instant) {
        return Some("timestamp must be ISO 8601".into());
    }
    None
}
