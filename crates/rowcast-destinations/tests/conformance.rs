//! Every connector of this crate keeps the contract.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rowcast_core::json::{from_json, to_json};
use rowcast_core::{BoxFuture, Destination, Mode, Value};
use rowcast_testkit::api::{Act, Answer, Api, BadRecords, Script};
use rowcast_testkit::conformance::{Held, Subject, Trouble, run};
use serde_json::{Value as Json, json};
use support::{build, config};

const SECRET: &str = "canary-7731";

const ALWAYS: [&str; 5] = [
    "empty, one, at the limit",
    "values",
    "newest wins",
    "check",
    "deletes",
];

/// Applies record bodies in order. Read by the exact reader, because the fake service's JSON
/// rounds.
fn apply(held: &mut Held, body: &Value) {
    let Some(Value::Int(id)) = body.get("key").and_then(|key| key.get("id")) else {
        panic!("no key in {}", to_json(body));
    };
    let Some(Value::Object(fields)) = body.get("fields") else {
        panic!("no fields");
    };
    if body.get("operation").and_then(Value::as_text) == Some("delete") {
        held.remove(id);
    } else {
        let fields = fields.iter();
        held.insert(
            *id,
            fields.map(|(n, v)| (n.to_string(), to_json(v))).collect(),
        );
    }
}

struct Hook {
    api: Api,
    settings: Json,
    /// Whether the service tells bad records apart.
    by_record: bool,
    records: Option<usize>,
}

impl Subject for Hook {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut settings = self.settings.clone();
        settings["url"] = json!(self.api.url("/hook"));
        settings["auth"] = json!({ "bearer": format!("secret:{SECRET}") });
        let mut config = config(&settings);
        config.mode = mode;
        config.batch_records = self.records.map(|most| most.min(records));
        build("http", config)
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut held = BTreeMap::new();
            let applied = self.api.store().history;
            for seen in self.api.log() {
                // What took effect is the service's word; the digits are the wire's.
                let kept: Vec<_> = applied
                    .iter()
                    .filter(|a| a.request == seen.number)
                    .collect();
                let bodies = match from_json(&seen.text()).unwrap() {
                    Value::List(items) => items,
                    one => vec![one],
                };
                for body in bodies {
                    let key = to_json(body.get("key").unwrap());
                    if kept.iter().any(|applied| applied.key == key) {
                        apply(&mut held, &body);
                    }
                }
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        let bad = |id| BadRecords::ids(&[id]);
        match trouble {
            Trouble::BadRecord(id) if self.by_record => {
                self.api.refuse(BadRecords::by_record(bad(id)));
            }
            Trouble::BadRecord(id) => self.api.refuse(BadRecords::refuse_whole(bad(id))),
            Trouble::Busy => self
                .api
                .script(Script::once(Act::Answer(Answer::status(429)))),
            Trouble::LostAnswer => self.api.script(Script::once(Act::TakeAndCut)),
            Trouble::Revoked => {
                let answer = Answer::status(401).body(format!("no such token: {SECRET}"));
                self.api.script(Script::always(Act::Answer(answer)));
            }
        }
        true
    }

    fn calm(&self) {
        self.api.behave();
    }

    fn knows_existing(&self) -> bool {
        self.records.is_none()
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }
}

const TROUBLES: [&str; 4] = [
    "rejected in the middle",
    "transient, then success",
    "lost answer, sent again",
    "credentials revoked",
];

#[tokio::test]
async fn http_keeps_the_contract_with_one_record_a_request() {
    let hook = Hook {
        api: Api::start(),
        settings: json!({}),
        by_record: false,
        records: None,
    };
    let ran = run(&hook).await;
    assert_eq!(
        ran,
        [&ALWAYS[..], &["missing and existing records"], &TROUBLES].concat()
    );
}

#[tokio::test]
async fn http_keeps_the_contract_with_batches_that_are_refused_whole() {
    let hook = Hook {
        api: Api::start(),
        settings: json!({}),
        by_record: false,
        records: Some(10),
    };
    assert_eq!(run(&hook).await, [&ALWAYS[..], &TROUBLES].concat());
}

#[tokio::test]
async fn http_keeps_the_contract_with_a_result_for_each_record() {
    let outcomes =
        json!({ "at": "results", "rejected_when": { "path": "status", "in": ["error"] } });
    let hook = Hook {
        api: Api::start(),
        settings: json!({ "outcomes": outcomes }),
        by_record: true,
        records: Some(10),
    };
    assert_eq!(run(&hook).await, [&ALWAYS[..], &TROUBLES].concat());
}

struct Folder(tempfile::TempDir);

fn published(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder)
        .expect("the folder exists")
        .flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect()
}

impl Subject for Folder {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config(&json!({ "path": "{{ date }}-{{ run }}.jsonl" }));
        self.0.path().clone_into(&mut config.project_dir);
        config.mode = mode;
        config.batch_records = Some(records);
        build("file", config)
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut files = published(self.0.path());
            let run = |path: &std::path::PathBuf| {
                let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
                stem.rsplit('-').next().unwrap().parse::<i64>().unwrap()
            };
            files.sort_by_key(run);
            let mut held = BTreeMap::new();
            for path in files {
                for line in std::fs::read_to_string(path).unwrap().lines() {
                    apply(&mut held, &from_json(line).unwrap());
                }
            }
            Some(held)
        })
    }
}

#[tokio::test]
async fn file_keeps_the_contract() {
    let ran = run(&Folder(tempfile::tempdir().unwrap())).await;
    assert_eq!(ran, [&ALWAYS[..], &["unfinished"]].concat());
}

struct Nowhere;

impl Subject for Nowhere {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config(&json!({}));
        config.mode = mode;
        config.batch_records = Some(records);
        build("null", config)
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async { None })
    }
}

#[tokio::test]
async fn null_keeps_the_contract() {
    assert_eq!(run(&Nowhere).await, ALWAYS);
}
