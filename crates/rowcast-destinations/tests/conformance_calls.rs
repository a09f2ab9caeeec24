//! Segment and RudderStack keep the contract of every connector, against their emulators.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use rowcast_core::json::{from_json, to_json};
use rowcast_core::value::Object;
use rowcast_core::{BoxFuture, Destination, Mode, Value};
use rowcast_testkit::api::{Act, Answer, Api, Script, Seen};
use rowcast_testkit::calls::Ledger;
use rowcast_testkit::conformance::{Held, Subject, Trouble, difficult_values, run};
use rowcast_testkit::rudderstack::DataPlane;
use rowcast_testkit::segment::Segment;
use serde_json::{Value as Json, json};
use support::{build, config};

const SECRET: &str = "canary-7731";

const ALWAYS: [&str; 4] = ["empty, one, at the limit", "values", "newest wins", "check"];
const TROUBLES: [&str; 4] = [
    "rejected in the middle",
    "transient, then success",
    "lost answer, sent again",
    "credentials revoked",
];

/// A service that takes calls, with what it holds by the user's id.
struct Service<'a> {
    api: &'a Api,
    ledger: &'a Ledger,
    connector: &'static str,
    object: &'static str,
    settings: Json,
    /// One call a request.
    single: bool,
}

impl Service<'_> {
    fn next_call(&self, act: Act) {
        self.api.script(Script::when(posts, act).times(1));
    }
}

/// Whether a request holds calls; keys are looked up by GET.
fn posts(seen: &Seen) -> bool {
    seen.method == "POST"
}

/// As texts, the members of an object.
fn members(value: Option<&Value>) -> BTreeMap<String, String> {
    match value {
        Some(Value::Object(members)) => members
            .iter()
            .map(|(name, value)| (name.to_string(), to_json(value)))
            .collect(),
        _ => BTreeMap::new(),
    }
}

impl Subject for Service<'_> {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config(&self.settings);
        config.object = self.object.into();
        config.mode = mode;
        config.match_fields = vec![self.key_column().into()];
        config.key_columns = vec![self.key_column().into()];
        config.batch_records = Some(if self.single { 1 } else { records });
        build(self.connector, config)
    }

    /// The names by which calls know their user.
    fn key_column(&self) -> &'static str {
        "user_id"
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut held = BTreeMap::new();
            let kept = self.ledger.lock();
            assert_eq!(kept.dropped.len(), 0, "{:?}", kept.dropped);
            for call in &kept.calls {
                let call = from_json(&call.text).unwrap();
                let text = |name: &str| call.get(name).and_then(Value::as_text);
                let id = match text("userId") {
                    Some(id) => id.parse().unwrap(),
                    None => match call.get("identifiers").unwrap().get("user_id") {
                        Some(Value::Int(id)) => *id,
                        other => panic!("{other:?}"),
                    },
                };
                if text("action") == Some("delete") {
                    held.remove(&id);
                } else {
                    held.insert(id, members(call.get("traits").or(call.get("fields"))));
                }
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::BadRecord(id) => self.ledger.refuse(move |call| {
                call["userId"] == id.to_string().as_str() || call["identifiers"]["user_id"] == id
            }),
            Trouble::Busy => self.next_call(Act::Answer(Answer::status(429))),
            Trouble::LostAnswer => self.next_call(Act::TakeAndCut),
            Trouble::Revoked => {
                let answer = Answer::status(401).body(format!("no such key: {SECRET}"));
                let script = Script::when(posts, Act::Answer(answer));
                self.api.script(script);
            }
        }
        true
    }

    fn calm(&self) {
        self.api.behave();
        self.ledger.behave();
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }

    /// Names with dots are places inside a call, and a call holds at most 32 KB.
    fn values(&self) -> Object {
        let mut values = difficult_values();
        values.retain(|(name, _)| &**name != "a.b");
        for (name, value) in &mut values {
            if &**name == "long" {
                *value = Value::from("x".repeat(20_000));
            }
        }
        values
    }
}

fn segment(segment: &Segment, single: bool) -> Service<'_> {
    Service {
        api: &segment.api,
        ledger: &segment.ledger,
        connector: "segment",
        object: "identify",
        settings: json!({
            "write_key": format!("secret:{SECRET}"),
            "endpoint": segment.endpoint(),
            "cdn_endpoint": segment.cdn(),
        }),
        single,
    }
}

#[tokio::test]
async fn segment_keeps_the_contract_with_batches() {
    let service = Segment::start(SECRET);
    let ran = run(&segment(&service, false)).await;
    assert_eq!(ran, [ALWAYS, TROUBLES].concat());
}

#[tokio::test]
async fn segment_keeps_the_contract_with_one_call_a_request() {
    let service = Segment::start(SECRET);
    let ran = run(&segment(&service, true)).await;
    assert_eq!(ran, [ALWAYS, TROUBLES].concat());
}

fn rudderstack<'a>(plane: &'a DataPlane, object: &'static str, mapper: Json) -> Service<'a> {
    Service {
        api: &plane.api,
        ledger: &plane.ledger,
        connector: "rudderstack",
        object,
        settings: json!({
            "write_key": format!("secret:{SECRET}"),
            "data_plane_url": plane.url(),
            "mapper": mapper,
        }),
        single: false,
    }
}

#[tokio::test]
async fn rudderstack_keeps_the_contract_with_calls() {
    let plane = DataPlane::start(SECRET);
    let ran = run(&rudderstack(&plane, "identify", json!("json"))).await;
    assert_eq!(ran, [ALWAYS, TROUBLES].concat());
}

#[tokio::test]
async fn rudderstack_keeps_the_contract_with_record_events() {
    let plane = DataPlane::start(SECRET);
    let ran = run(&rudderstack(&plane, "person", json!("record"))).await;
    assert_eq!(ran, [&ALWAYS[..], &["deletes"], &TROUBLES].concat());
}
