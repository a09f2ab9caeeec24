//! The public side of a RudderStack data plane: its gateway's answers word for word, and behind it
//! the forms that its transformer asks of events from a reverse ETL.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::{Answer, Api, Seen};
use crate::calls::{Call, Ledger, basic_key, batch, is_instant, plain_body};

/// Bytes of a body before compression: 4,000 KiB.
pub const BODY_MAX: usize = 4_000 * 1024;
/// Bytes of an event, as documented.
pub const EVENT_MAX: usize = 32 * 1024;

const TYPES: [&str; 6] = ["identify", "track", "page", "screen", "group", "alias"];

/// A running data plane with one source.
pub struct DataPlane {
    pub api: Api,
    pub ledger: Ledger,
}

impl DataPlane {
    /// Starts it; the source has this write key. The key `disabled` belongs to a disabled source.
    pub fn start(write_key: &str) -> Self {
        let ledger = Ledger::default();
        let (kept, key) = (ledger.clone(), write_key.to_owned());
        let api = Api::judged(Box::new(move |seen| answer(seen, &key, &kept)));
        Self { api, ledger }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.api.url("")
    }

    /// The events it took.
    pub fn events(&self) -> Vec<Value> {
        let kept = self.ledger.lock();
        kept.calls.iter().map(|call| call.json.clone()).collect()
    }

    /// Why events were dropped behind the gateway.
    pub fn dropped(&self) -> Vec<String> {
        let kept = self.ledger.lock();
        kept.dropped.iter().map(|call| call.why.clone()).collect()
    }
}

fn says(status: u16, words: &str) -> Answer {
    Answer::status(status)
        .header("content-type", "text/plain; charset=utf-8")
        .body(format!("{words}\n"))
}

fn answer(seen: &Seen, key: &str, ledger: &Ledger) -> Answer {
    if seen.path() == "/health" {
        return Answer::status(200).body("{\"server\":\"UP\"}");
    }
    if seen.path() != "/v1/batch" {
        return says(404, "404 page not found");
    }
    if seen.method != "POST" {
        return says(400, "invalid http request method");
    }
    match basic_key(seen).as_deref() {
        None | Some("") => return says(401, "failed to read writekey from header"),
        Some("disabled") => return says(404, "source is disabled"),
        Some(given) if given != key => return says(401, "invalid write key"),
        Some(_) => {}
    }
    let Some(body) = plain_body(seen) else {
        return says(500, "failed to read body from request");
    };
    if body.is_empty() {
        return says(400, "request body is nil");
    }
    if body.len() > BODY_MAX {
        return says(413, "request size exceeds max limit");
    }
    if serde_json::from_slice::<Value>(&body).is_err() {
        return says(400, "invalid json");
    }
    let Some(events) = batch(&body).filter(|events| !events.is_empty()) else {
        return says(400, "empty batch payload");
    };
    take(seen, events, ledger)
}

/// A batch is taken or refused as a whole.
fn take(seen: &Seen, events: Vec<Box<RawValue>>, ledger: &Ledger) -> Answer {
    let mut kept = ledger.lock();
    let parsed: Vec<(String, Value)> = events
        .iter()
        .map(|event| {
            let json = serde_json::from_str(event.get()).unwrap_or_default();
            (event.get().to_owned(), json)
        })
        .collect();
    for (_, event) in &parsed {
        if !event.is_object() || kept.is_bad(event) {
            return says(400, "event is not a valid rudder event");
        }
        let identified = ["userId", "anonymousId"]
            .iter()
            .any(|name| event[name].as_str().is_some_and(|id| !id.trim().is_empty()));
        if !identified && event["type"] != "record" {
            return says(400, "request neither has anonymousId nor userId");
        }
    }
    for (text, json) in parsed {
        match fault(&text, &json) {
            Some(why) => kept.drop_call(&json, why),
            None => kept.keep(
                Call {
                    request: seen.number,
                    text,
                    json,
                },
                identity,
            ),
        }
    }
    says(200, "ok")
}

/// What repetitions are known by: the message and the run.
fn identity(event: &Value) -> Option<String> {
    let message = event["messageId"]
        .as_str()
        .filter(|id| !id.trim().is_empty())?;
    let run = event["context"]["sources"]["job_run_id"].as_str()?;
    Some(format!("{message} {run}"))
}

/// Why an event would reach no destination.
fn fault(text: &str, event: &Value) -> Option<String> {
    if text.len() > EVENT_MAX {
        return Some("the event is larger than 32 KB".into());
    }
    if event["channel"] != "sources" {
        return Some("channel must be sources".into());
    }
    let sources = &event["context"]["sources"];
    for name in ["job_id", "version", "job_run_id", "task_run_id"] {
        if !sources[name].is_string() {
            return Some(format!("context.sources.{name} must be text"));
        }
    }
    if !event["recordId"].is_string() {
        return Some("recordId must be text".into());
    }
    for name in ["timestamp", "originalTimestamp"] {
        let value = &event[name];
        if !value.is_null() && !value.as_str().is_some_and(is_instant) {
            return Some(format!("{name} must be RFC 3339"));
        }
    }
    match event["type"].as_str() {
        Some("record") => record(event),
        Some(kind) if TYPES.contains(&kind) => call(kind, event),
        _ => Some("message type is not supported".into()),
    }
}

fn record(event: &Value) -> Option<String> {
    if !matches!(
        event["action"].as_str(),
        Some("insert" | "update" | "delete")
    ) {
        return Some("action must be insert, update or delete".into());
    }
    if !event["fields"].is_null() && !event["fields"].is_object() {
        return Some("fields must be an object".into());
    }
    let Some(identifiers) = event["identifiers"].as_object() else {
        return Some("identifiers must be an object".into());
    };
    if !identifiers
        .values()
        .all(|id| id.is_string() || id.is_number())
    {
        return Some("an identifier must be text or a number".into());
    }
    None
}

fn call(kind: &str, event: &Value) -> Option<String> {
    if kind == "track" && event["event"].as_str().is_none_or(str::is_empty) {
        return Some("event name is required".into());
    }
    let mapped = &event["context"]["mappedToDestination"];
    if mapped.is_null() {
        return None;
    }
    if mapped != "true" || kind != "identify" {
        return Some("mappedToDestination must be the text true, on an identify".into());
    }
    let external = &event["context"]["externalId"];
    let whole = external.as_array().is_some_and(|entries| {
        !entries.is_empty()
            && entries.iter().all(|entry| {
                let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
                text("id").is_some()
                    && text("identifierType").is_some()
                    && text("type").is_some_and(|kind| kind.contains('-'))
            })
    });
    if !whole {
        return Some("externalId must hold id, type NAME-object and identifierType".into());
    }
    (event["userId"] != external[0]["id"]).then(|| "userId must be the external id".into())
}
