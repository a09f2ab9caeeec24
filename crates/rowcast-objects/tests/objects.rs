//! The object stores on their real peers: moto for S3, azurite for Azure.

#![cfg(all(feature = "s3", feature = "azure_blob", feature = "parquet"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rowcast_core::json::{from_json, to_json};
use rowcast_core::record::{Batch, Operation, Record, RunContext};
use rowcast_core::{
    Applied, BoxFuture, CheckStatus, Code, Destination, DestinationConfig, Fault, Key, Mode,
    Outcome, Value,
};
use rowcast_testkit::conformance::{Held, Subject, run};
use rowcast_testkit::connectors;
use rowcast_testkit::object_store::{AZURE_ACCOUNT, AZURE_KEY, ObjectServer};
use rowcast_testkit::proxy::{Fault as Break, Proxy, Rule, When};
use serde_json::{Value as Json, json};

static S3: LazyLock<ObjectServer> = LazyLock::new(ObjectServer::s3);
static AZURE: LazyLock<ObjectServer> = LazyLock::new(ObjectServer::azure);

const CASES: [&str; 6] = [
    "empty, one, at the limit",
    "values",
    "newest wins",
    "check",
    "deletes",
    "unfinished",
];

fn config(settings_json: &Json) -> DestinationConfig {
    DestinationConfig {
        object: "contact".into(),
        mode: Mode::Mirror,
        match_fields: vec!["id".into()],
        key_columns: vec!["id".into()],
        timeout: Some(Duration::from_secs(20)),
        allow_addresses: vec!["127.0.0.1/32".into()],
        ..DestinationConfig::new("store", connectors::settings(settings_json))
    }
}

fn s3(address: impl std::fmt::Display, bucket: &str, more: &Json) -> Json {
    let mut settings = json!({
        "bucket": bucket,
        "endpoint": format!("http://{address}"),
        "access_key_id": "secret:AKIA",
        "secret_access_key": "secret:canary-s3",
        "path": "day={{ day }}/{{ sync }}-{{ run }}.jsonl",
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings
}

fn azure(container: &str, key: &str) -> Json {
    json!({
        "account": AZURE_ACCOUNT,
        "container": container,
        "endpoint": format!("http://{}/{AZURE_ACCOUNT}", AZURE.address()),
        "auth": { "account_key": format!("secret:{key}") },
        "path": "day={{ day }}/{{ sync }}-{{ run }}.jsonl",
    })
}

fn build(connector: &str, config: DestinationConfig) -> Arc<dyn Destination> {
    connectors::build(&rowcast_objects::CATALOG, connector, &config)
}

fn context(run: i64) -> Arc<RunContext> {
    Arc::new(RunContext {
        sync: "customers".into(),
        sync_id: "0d5f".into(),
        run,
        epoch: 1,
        generation: 1,
        object: "contact".into(),
        key_columns: vec!["id".into()],
        started_at: 1_709_209_800_000_000,
    })
}

fn upserts(ids: std::ops::Range<i64>, fields: impl Fn(i64) -> Vec<(&'static str, Value)>) -> Batch {
    let record = |id| Record {
        key: Key::int(id),
        operation: Operation::Upsert,
        kind: Operation::Upsert.usual_kind(),
        match_on: vec![("id".into(), Value::Int(id))],
        fields: fields(id).into_iter().map(|(n, v)| (n.into(), v)).collect(),
        idempotency_key: format!("{id:032x}"),
        checksum: Some(1),
        json: None,
        raw: None,
        doubtful: false,
    };
    Batch {
        intent: 1,
        operation: Operation::Upsert,
        records: ids.map(record).collect(),
        context: context(12),
    }
}

/// Records whose lines are 100 kB each: 20 MB make an upload of three parts.
fn large() -> Batch {
    upserts(0..200, |id| {
        vec![("text", format!("{id:050000}").repeat(2).into())]
    })
}

struct Bucket {
    connector: &'static str,
    server: &'static ObjectServer,
    name: &'static str,
    settings: Json,
}

impl Subject for Bucket {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config(&self.settings);
        config.mode = mode;
        config.batch_records = Some(records);
        build(self.connector, config)
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let run = |name: &String| {
                let end = name.rsplit('-').next().unwrap();
                end.trim_end_matches(".jsonl").parse::<i64>().unwrap()
            };
            let mut names = self.server.names(self.name);
            names.sort_by_key(run);
            let mut held: Held = BTreeMap::new();
            for name in names {
                let text = String::from_utf8(self.server.object(self.name, &name)).unwrap();
                for line in text.lines() {
                    apply(&mut held, &from_json(line).unwrap());
                }
            }
            Some(held)
        })
    }

    fn secrets(&self) -> Vec<String> {
        vec!["canary-s3".to_owned(), AZURE_KEY.to_owned()]
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract() {
    S3.bucket("contract");
    let bucket = Bucket {
        connector: "s3",
        server: &S3,
        name: "contract",
        settings: s3(S3.address(), "contract", &json!({})),
    };
    assert_eq!(run(&bucket).await, CASES);
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_blob_keeps_the_contract() {
    AZURE.bucket("contract");
    let bucket = Bucket {
        connector: "azure_blob",
        server: &AZURE,
        name: "contract",
        settings: azure("contract", AZURE_KEY),
    };
    assert_eq!(run(&bucket).await, CASES);
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_15_a_large_object_appears_whole_at_the_end_of_the_run() {
    S3.bucket("large");
    AZURE.bucket("large");
    let stores = [
        ("s3", &S3, s3(S3.address(), "large", &json!({}))),
        ("azure_blob", &AZURE, azure("large", AZURE_KEY)),
    ];
    for (connector, server, settings) in stores {
        let destination = build(connector, config(&settings));
        destination.open(&context(12)).await.unwrap();
        let outcomes = destination.write(&large()).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted));
        assert!(server.names("large").is_empty());
        destination.finish().await.unwrap();
        assert_eq!(server.names("large"), ["day=29/customers-12.jsonl"]);
        let text = server.object("large", "day=29/customers-12.jsonl");
        assert_eq!(
            String::from_utf8(text.clone()).unwrap().lines().count(),
            200
        );
        assert!(text.len() > 20_000_000);
        let again = build(connector, config(&settings));
        let fault = again.open(&context(12)).await.unwrap_err();
        assert_eq!(fault.reason().code, Code::FileUnwritable, "{fault:?}");
    }
    assert!(S3.uploads("large").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_15_an_upload_that_fails_is_aborted_and_had_no_effect() {
    S3.bucket("aborted");
    let proxy = Proxy::to(S3.address());
    let settings = s3(proxy.address(), "aborted", &json!({}));
    let destination = build("s3", config(&settings));
    destination.open(&context(12)).await.unwrap();
    destination.write(&large()).await.unwrap();
    let part = When::text("partNumber=2");
    proxy.inject(Rule::up(part, Break::Reset).times(100));
    let fault = destination.finish().await.unwrap_err();
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::No);
    assert_eq!(
        fault.reason().code,
        Code::DestinationUnreachable,
        "{fault:?}"
    );
    assert!(S3.names("aborted").is_empty());
    assert!(S3.uploads("aborted").is_empty(), "no part is left behind");

    // The answer to the last request is lost every time: whether there is an object is not known.
    let destination = build("s3", config(&settings));
    destination.open(&context(12)).await.unwrap();
    destination
        .write(&upserts(0..2, |_| vec![("n", Value::Int(1))]))
        .await
        .unwrap();
    proxy.heal();
    proxy.inject(
        Rule::up(When::text("PUT /aborted"), Break::Reset)
            .passing()
            .times(100),
    );
    let fault = destination.finish().await.unwrap_err();
    assert_eq!(fault.applied(), Applied::Unknown, "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_is_what_another_reader_reads() {
    S3.bucket("parquet");
    let more =
        json!({ "path": "{{ run }}-{{ part }}.parquet", "format": "parquet", "split": "1GB" });
    let destination = build("s3", config(&s3(S3.address(), "parquet", &more)));
    destination.open(&context(12)).await.unwrap();
    let rows = upserts(1..3, |id| {
        let or_null = |value| if id == 1 { value } else { Value::Null };
        vec![
            (
                "exact",
                or_null(Value::Decimal("-12345678901234567890.123".into())),
            ),
            ("price", or_null(Value::Decimal("12.50".into()))),
            (
                "instant",
                or_null(Value::TimestampTz(1_709_209_800_500_000)),
            ),
            ("wall", or_null(Value::Timestamp(1_709_209_800_500_000))),
            ("day", or_null(Value::Date(-25_567))),
            ("id", or_null(Value::Uuid([7; 16]))),
            ("doc", or_null(Value::Json("{\"a\":[1]}".into()))),
            ("bytes", or_null(Value::Bytes(Box::from([0, 255])))),
            ("yes", or_null(Value::Bool(true))),
            ("big", or_null(Value::Int(i64::MAX))),
        ]
    });
    destination.write(&rows).await.unwrap();
    destination.finish().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("read.parquet");
    std::fs::write(&path, S3.object("parquet", "12-00001.parquet")).unwrap();
    let script = "import duckdb, sys\n\
        c = duckdb.connect(); c.execute(\"SET TimeZone='UTC'\")\n\
        r = c.execute(f\"SELECT * FROM '{sys.argv[1]}'\")\n\
        print([(d[0], str(d[1])) for d in r.description])\n\
        r = c.execute(f\"SELECT COLUMNS(*)::VARCHAR FROM '{sys.argv[1]}'\")\n\
        [print(row) for row in r.fetchall()]";
    let output = ObjectServer::python()
        .args(["-c", script])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "[('operation', 'VARCHAR'), ('key.id', 'BIGINT'), ('exact', 'DECIMAL(38,3)'), \
             ('price', 'DECIMAL(18,2)'), ('instant', 'TIMESTAMP WITH TIME ZONE'), \
             ('wall', 'TIMESTAMP'), ('day', 'DATE'), ('id', 'UUID'), ('doc', 'VARCHAR'), \
             ('bytes', 'BLOB'), ('yes', 'BOOLEAN'), ('big', 'BIGINT')]",
            "('upsert', '1', '-12345678901234567890.123', '12.50', '2024-02-29 12:30:00.5+00', \
             '2024-02-29 12:30:00.5', '1900-01-01', '07070707-0707-0707-0707-070707070707', \
             '{\"a\":[1]}', '\\\\x00\\\\xFF', 'true', '9223372036854775807')",
            "('upsert', '2', None, None, None, None, None, None, None, None, None, None)",
        ],
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_missing_buckets_stop_a_run_before_its_first_record() {
    AZURE.private_container("locked");
    let wrong = AZURE_KEY.replace("Eby8", "AAAA");
    let destination = build("azure_blob", config(&azure("locked", &wrong)));
    let fault = destination.open(&context(12)).await.unwrap_err();
    assert_eq!(fault.reason().code, Code::DestinationAuth, "{fault:?}");
    assert!(fault.reason().hint.is_some());
    let checks = destination.check().await;
    assert_eq!(checks[1].status, CheckStatus::Failed, "{checks:?}");

    let missing = build("s3", config(&s3(S3.address(), "missing", &json!({}))));
    let checks = missing.check().await;
    assert_eq!(checks[0].status, CheckStatus::Passed, "{checks:?}");
    let reason = checks[1].reason.as_ref().unwrap();
    assert_eq!(reason.code, Code::DestinationObject, "{reason:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_inside_the_network_are_not_reached_unless_they_are_allowed() {
    for host in ["127.0.0.1", "localhost"] {
        let endpoint = format!("{host}:{}", S3.address().port());
        let mut config = config(&s3(endpoint, "any", &json!({})));
        config.allow_addresses.clear();
        let destination = build("s3", config);
        let fault = destination.open(&context(12)).await.unwrap_err();
        assert_eq!(fault.reason().code, Code::AddressRefused, "{fault:?}");
        let checks = destination.check().await;
        let reason = checks[0].reason.as_ref().unwrap();
        assert_eq!(reason.code, Code::AddressRefused, "{reason:?}");
    }
}

#[test]
fn wrong_settings_are_named_by_their_path() {
    for (more, path) in [
        (
            json!({ "endpoint": "storage.example.com" }),
            "settings.endpoint",
        ),
        (
            json!({ "endpoint": "https://user:pw@host" }),
            "settings.endpoint",
        ),
        (json!({ "path": "all.jsonl" }), "settings.path"),
        (json!({ "columns": ["a"] }), "settings.columns"),
        (
            json!({ "bucket": "a b", "path_style": false }),
            "settings.bucket",
        ),
    ] {
        let found = rowcast_objects::CATALOG.build("s3", &config(&s3("127.0.0.1:1", "any", &more)));
        let found = found.err().expect("must not build");
        assert_eq!(found.len(), 1, "{more}: {found:?}");
        assert_eq!(found[0].path, path);
    }
}
