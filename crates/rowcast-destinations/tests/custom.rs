//! Custom connectors: the contract of every connector over a process, what statuses and answers mean over
//! HTTP, and the settings that are refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rowcast_core::json::{from_json, to_json, to_text};
use rowcast_core::record::Operation;
use rowcast_core::value::Object;
use rowcast_core::{
    Applied, BoxFuture, Code, Destination, DestinationConfig, Fault, Mode, Outcome, Value,
};
use rowcast_testkit::api::{Answer, Api, Seen};
use rowcast_testkit::conformance::{Held, Subject, Trouble, difficult_values, run};
use rowcast_testkit::custom::Connector;
use serde_json::{Value as Json, json};
use support::{batch, build, config, problems, record, rejected, upsert, with};

const SECRET: &str = "canary-7731";

struct Double(Connector);

impl Subject for Double {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut settings = self.0.settings(&["any-field"]);
        settings["environment"]["DOUBLE_SECRET"] = json!(format!("secret:{SECRET}"));
        let mut config = config(&settings);
        config.mode = mode;
        config.batch_records = Some(records);
        build("custom", config)
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut held = BTreeMap::new();
            let Value::Object(records) = from_json(&self.0.held_text()).unwrap() else {
                panic!("no object");
            };
            for (id, fields) in records {
                let Value::Object(fields) = fields else {
                    panic!("no fields");
                };
                let texts = fields.iter().map(|(n, v)| (n.to_string(), to_json(v)));
                held.insert(id.parse().unwrap(), texts.collect());
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::BadRecord(id) => self.0.trouble("refused", &id.to_string()),
            Trouble::Busy => self.0.trouble("busy", ""),
            Trouble::LostAnswer => self.0.trouble("lose-the-answer", ""),
            Trouble::Revoked => self.0.trouble("revoked", "x"),
        }
        true
    }

    fn calm(&self) {
        for name in ["refused", "revoked"] {
            self.0.calm(name);
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }

    fn values(&self) -> Object {
        // The protocol's decimals are numbers.
        let mut values = difficult_values();
        values.retain(|(name, _)| &**name != "not a number");
        values
    }

    /// Decimals are strings, times without a zone are UTC, and what has no type of its own is text.
    fn form(&self, value: &Value) -> String {
        match value {
            Value::Timestamp(us) => to_json(&Value::TimestampTz(*us)),
            Value::Decimal(_) | Value::Object(_) => to_json(&to_text(value).into()),
            other => to_json(other),
        }
    }
}

#[tokio::test]
async fn a_process_keeps_the_contract() {
    let ran = run(&Double(Connector::new())).await;
    assert_eq!(
        ran,
        [
            "empty, one, at the limit",
            "values",
            "newest wins",
            "check",
            "deletes",
            "rejected in the middle",
            "transient, then success",
            "lost answer, sent again",
            "credentials revoked",
        ]
    );
}

fn double(connector: &Connector, faults: &[&str]) -> DestinationConfig {
    config(&connector.settings(faults))
}

#[tokio::test]
async fn what_the_connector_says_of_itself_decides_limits_and_fields() {
    let connector = Connector::new();
    let mut settings = connector.settings(&[]);
    settings["environment"]["DOUBLE_BATCH"] = json!("20");
    settings["environment"]["DOUBLE_RATE"] = json!("100");
    let mut own = config(&settings);
    own.concurrency = Some(2);
    let destination = build("custom", own);
    let schema = destination.prepare().await.unwrap().expect("fields");
    let capabilities = destination.capabilities();
    assert_eq!(capabilities.batch_records_max, 20);
    assert_eq!(capabilities.concurrency_max, 2, "the project asks for less");
    let rate = capabilities.rate.expect("a rate");
    assert_eq!(rate.per / rate.requests, Duration::from_millis(200));
    assert_eq!(
        capabilities.operations,
        [Operation::Update, Operation::Upsert, Operation::Delete]
    );
    let names: Vec<&str> = schema.fields.iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["id", "email", "plan", "credits", "price"]);
    // Asked once, however often it is needed.
    destination.write(&batch(vec![upsert(1)])).await.unwrap();
    for method in ["list_objects", "list_fields", "get_sync_speed"] {
        assert_eq!(connector.calls(method).len(), 1, "{method}");
    }
    let sent = &connector.calls("sync_batch")[0]["params"];
    assert_eq!(sent["sync_plan"]["schema"]["id"]["active_identifier"], true);
    assert_eq!(
        sent["records"],
        json!([{ "id": 1, "email": "c1@example.com" }])
    );
    assert_eq!(sent["sync_plan"]["operation"], "upsert");
    assert_eq!(sent["sync_plan"]["sync_run_id"], 12);
}

#[tokio::test]
async fn what_the_object_can_not_do_is_refused_before_anything_is_sent() {
    let connector = Connector::new();
    let refused = |faults: &'static [&'static str], change: fn(&mut DestinationConfig)| {
        let mut config = double(&connector, faults);
        change(&mut config);
        async move {
            let fault = build("custom", config)
                .prepare()
                .await
                .expect_err("refused");
            fault.reason().clone()
        }
    };
    let reason = refused(&[], |config| config.object = "contacts".into()).await;
    assert_eq!(reason.code, Code::DestinationObject);
    assert_eq!(reason.detail.as_deref(), Some("it has: contact"));
    let reason = refused(&["updates-only"], |_| ()).await;
    assert_eq!(reason.code, Code::UnsupportedMode);
    let reason = refused(&[], |config| config.match_fields = vec!["email".into()]).await;
    assert_eq!(reason.code, Code::InvalidSetting);
    assert!(reason.hint.unwrap().contains("match_on: { id: COLUMN }"));
    assert!(connector.calls("sync_batch").is_empty());
}

#[tokio::test]
async fn rule_26_records_without_one_clear_result_are_unknown() {
    for trouble in [
        "miss-a-result",
        "repeat-a-result",
        "name-a-stranger",
        "say-true-as-text",
    ] {
        let connector = Connector::new();
        connector.trouble(trouble, "");
        let destination = build("custom", double(&connector, &[]));
        let outcomes = destination.write(&batch(vec![upsert(1), upsert(2)])).await;
        let outcomes = outcomes.unwrap();
        assert!(
            matches!(&outcomes[0], Outcome::Unknown(reason) if reason.code == Code::NoResult),
            "{trouble}: {outcomes:?}"
        );
        assert_eq!(outcomes[1], Outcome::Delivered, "{trouble}");
    }
}

#[tokio::test]
async fn a_process_that_hangs_is_ended_and_started_again() {
    let connector = Connector::new();
    let mut config = double(&connector, &[]);
    config.timeout = Some(Duration::from_secs(2));
    let destination = build("custom", config);
    destination.prepare().await.unwrap();
    connector.trouble("hang", "");
    let fault = destination.write(&batch(vec![upsert(1)])).await;
    let fault = fault.expect_err("it hangs");
    assert_eq!(fault.applied(), Applied::Unknown, "{fault:?}");
    destination.write(&batch(vec![upsert(1)])).await.unwrap();
    let mut processes: Vec<String> = connector
        .calls("sync_batch")
        .iter()
        .map(|call| call["pid"].to_string())
        .collect();
    processes.dedup();
    assert_eq!(processes.len(), 2);
    gone(&processes[0]).await;
}

/// Waits until a process has ended: the kernel takes a moment.
async fn gone(pid: &str) {
    let process = format!("/proc/{pid}/stat");
    let runs = || std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z "));
    while runs() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_process_ends_with_its_destination() {
    let connector = Connector::new();
    let destination = build("custom", double(&connector, &["never-ends"]));
    destination.write(&batch(vec![upsert(1)])).await.unwrap();
    let pid = connector.asked()[0]["pid"].as_i64().unwrap();
    drop(destination);
    gone(&pid.to_string()).await;
}

#[tokio::test]
async fn a_program_that_dies_says_why_without_secrets() {
    let connector = Connector::new();
    let mut settings = connector.settings(&["dies-at-once"]);
    settings["environment"]["DOUBLE_SECRET"] = json!(format!("secret:{SECRET}"));
    let fault = build("custom", config(&settings)).prepare().await;
    let reason = fault.expect_err("it died").reason().clone();
    assert_eq!(reason.code, Code::DestinationUnreachable);
    let detail = reason.detail.unwrap();
    assert!(detail.contains("exit status: 1"), "{detail}");
    assert!(detail.contains("DOUBLE_SECRET is ***"), "{detail}");
    let absent = config(&json!({ "command": ["no-such-program-7731"] }));
    let fault = build("custom", absent).prepare().await.expect_err("absent");
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
}

#[test]
fn settings_that_can_not_work_are_refused() {
    let command = json!(["python3", "connector.py"]);
    for (settings, path) in [
        (json!({}), "settings.url"),
        (
            json!({ "url": "https://a.example", "command": command }),
            "settings.url",
        ),
        (json!({ "command": [] }), "settings.command"),
        (
            json!({ "command": ["python3", "secret:hunter2"] }),
            "settings.command[1]",
        ),
        (
            json!({ "command": command, "auth": { "bearer": "x" } }),
            "settings.auth",
        ),
        (
            json!({ "url": "https://a.example", "environment": { "A": "b" } }),
            "settings.environment",
        ),
        (
            json!({ "command": command, "environment": { "A=B": "c" } }),
            "settings.environment.A=B",
        ),
        (json!({ "url": "ftp://a.example" }), "settings.url"),
    ] {
        let found = problems("custom", config(&settings));
        assert_eq!(found[0].path, path, "{settings}: {found:?}");
        assert!(!format!("{found:?}").contains("hunter2"));
    }
    let mut several = config(&json!({ "url": "https://a.example" }));
    several.match_fields = vec!["a".into(), "b".into()];
    assert_eq!(problems("custom", several)[0].path, "match_on");
    let mut none = config(&json!({ "url": "https://a.example" }));
    none.object = "".into();
    assert_eq!(problems("custom", none)[0].path, "object");
}

/// What the service of these tests answers to calls that change nothing.
fn told(method: &str) -> Json {
    match method {
        "test_connection" => json!({ "success": true }),
        "list_objects" => json!({ "objects": [{ "object_api_name": "contact", "label": "C" }] }),
        "supported_operations" => json!({ "operations": ["mirror"] }),
        "list_fields" => json!({ "fields": [
            { "field_api_name": "id", "label": "Id", "type": "integer", "identifier": true,
              "required": true, "createable": true, "updateable": true, "array": false },
            { "field_api_name": "email", "label": "E", "type": "string", "identifier": false,
              "required": false, "createable": true, "updateable": true, "array": false },
        ]}),
        "get_sync_speed" => json!({ "maximum_batch_size": 10, "maximum_parallel_batches": 1 }),
        other => panic!("{other}"),
    }
}

/// A service whose answer to `sync_batch` is made of the call's id.
fn service(batch: impl Fn(&Json) -> Answer + Send + 'static) -> Api {
    Api::judged(Box::new(move |seen: &Seen| {
        let call: Json = serde_json::from_str(&seen.text()).unwrap();
        match call["method"].as_str().unwrap() {
            "sync_batch" => batch(&call),
            method => ok(&call, &told(method)).header("x-ratelimit-limit", "2"),
        }
    }))
}

fn ok(call: &Json, result: &Json) -> Answer {
    let body = json!({ "jsonrpc": "2.0", "id": call["id"], "result": result });
    Answer::json(200, &body)
}

fn delivered(call: &Json) -> Answer {
    let records = call["params"]["records"].as_array().unwrap();
    let results = records
        .iter()
        .map(|record| json!({ "identifier": record["id"], "success": true }));
    ok(
        call,
        &json!({ "record_results": results.collect::<Vec<_>>() }),
    )
}

fn web(api: &Api, more: &Json) -> Arc<dyn Destination> {
    build(
        "custom",
        config(&with(json!({ "url": api.url("/connector") }), more)),
    )
}

#[tokio::test]
async fn calls_over_http_carry_credentials_and_the_idempotency_key() {
    let api = service(delivered);
    let destination = web(
        &api,
        &json!({ "auth": { "bearer": format!("secret:{SECRET}") }, "headers": { "X-Team": "a" } }),
    );
    destination.prepare().await.unwrap();
    let rate = destination
        .capabilities()
        .rate
        .expect("the service's header");
    assert_eq!(rate.per / rate.requests, Duration::from_millis(500));
    let sent = batch(vec![upsert(1), upsert(2)]);
    assert_eq!(
        destination.write(&sent).await.unwrap(),
        [Outcome::Delivered, Outcome::Delivered]
    );
    let log = api.log();
    assert!(log.iter().all(|seen| {
        seen.method == "POST"
            && seen.path() == "/connector"
            && seen.header("authorization") == Some("Bearer canary-7731")
            && seen.header("x-team") == Some("a")
    }));
    let last = log.last().unwrap();
    assert_eq!(
        last.header("idempotency-key"),
        Some(sent.idempotency_key().as_str())
    );
    let shown = destination.render(&sent).join("\n");
    assert!(shown.contains("Authorization: ***") || shown.contains("authorization: ***"));
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn a_status_says_what_became_of_the_call() {
    let fault = |answer: Answer| async move {
        let api = service(move |_| answer.clone());
        let destination = web(&api, &json!({}));
        let fault = destination.write(&batch(vec![upsert(1)])).await;
        fault.expect_err("no result")
    };
    let fatal = fault(Answer::status(401)).await;
    assert_eq!(fatal.reason().code, Code::DestinationAuth);
    let busy = fault(Answer::status(429).header("retry-after", "7")).await;
    assert!(
        matches!(&busy, Fault::Transient { after: Some(after), applied: Applied::No, .. }
            if *after == Duration::from_secs(7)),
        "{busy:?}"
    );
    assert!(matches!(
        fault(Answer::status(413)).await,
        Fault::Split { .. }
    ));
    for answer in [
        Answer::status(500).body("oops"),
        Answer::status(200).body("oops"),
        Answer::json(
            200,
            &json!({ "jsonrpc": "2.0", "id": "another", "result": {} }),
        ),
    ] {
        assert_eq!(fault(answer).await.applied(), Applied::Unknown);
    }
    let found = fault(Answer::status(302).header("location", "http://169.254.169.254/")).await;
    assert!(matches!(found, Fault::Fatal { .. }), "{found:?}");
    assert!(matches!(
        fault(Answer::status(404)).await,
        Fault::Fatal { .. }
    ));
}

#[tokio::test]
async fn an_error_of_the_protocol_speaks_for_itself_under_status_500() {
    let api = service(|call| {
        let error = json!({ "code": 429, "message": "slower", "data": { "retry_after": 3 } });
        Answer::json(
            500,
            &json!({ "jsonrpc": "2.0", "id": call["id"], "error": error }),
        )
    });
    let fault = web(&api, &json!({})).write(&batch(vec![upsert(1)])).await;
    assert!(
        matches!(fault, Err(Fault::Transient { after: Some(after), applied: Applied::No, .. })
            if after == Duration::from_secs(3))
    );
}

#[tokio::test]
async fn addresses_obey_the_policy() {
    let api = service(delivered);
    let mut closed = config(&json!({ "url": api.url("/") }));
    closed.allow_addresses = Vec::new();
    let fault = build("custom", closed)
        .prepare()
        .await
        .expect_err("loopback");
    assert_eq!(fault.reason().code, Code::AddressRefused);
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_type_harms_only_its_record() {
    let connector = Connector::new();
    let destination = build("custom", double(&connector, &[]));
    let records = vec![
        upsert(1),
        record(Operation::Upsert, 2, vec![("credits", Value::from("many"))]),
        upsert(3),
    ];
    let outcomes = destination.write(&batch(records)).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert_eq!(rejected(&outcomes[1]).code, Code::CastFailed);
    assert_eq!(outcomes[2], Outcome::Delivered);
    let held: Vec<i64> = connector.held().into_keys().collect();
    assert_eq!(held, [1, 3]);
}
