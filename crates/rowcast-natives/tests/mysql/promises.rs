//! What `mysql` promises beyond the suite: exactly once, bad records found, nothing cut, checks that
//! name the cure.

use std::sync::Arc;

use rowcast_core::record::{Batch, Operation, Record, RunContext};
use rowcast_core::{
    Applied, CheckStatus, Code, Destination, DestinationConfig, Fault, Mode, Outcome, Value,
};
use rowcast_testkit::proxy::{Fault as Break, Proxy, Rule, When};
use rowcast_testkit::servers::MariaDb;
use serde_json::json;

use crate::support::{Certificate, SECRET, build, config, record};

pub(crate) fn settings(port: u16, object: &str) -> DestinationConfig {
    config(
        object,
        &json!({
            "host": "127.0.0.1", "port": port, "tls": false, "user": "rowcast",
            "password": format!("secret:{SECRET}"), "database": "shop",
        }),
    )
}

fn context(epoch: i64) -> Arc<RunContext> {
    Arc::new(RunContext {
        sync: "customers_to_shop".into(),
        sync_id: "0d5f".into(),
        run: epoch,
        epoch,
        generation: 1,
        object: "contact".into(),
        key_columns: vec!["id".into()],
        started_at: 1_709_209_800_000_000,
    })
}

pub(crate) fn batch(epoch: i64, intent: i64, records: Vec<Record>) -> Batch {
    Batch {
        intent,
        operation: records[0].operation,
        records,
        context: context(epoch),
    }
}

fn upserts(ids: std::ops::RangeInclusive<i64>) -> Vec<Record> {
    ids.map(|id| record(Operation::Upsert, id)).collect()
}

pub(crate) fn with(operation: Operation, id: i64, fields: &[(&str, Value)]) -> Record {
    let mut record = record(operation, id);
    record.fields = fields
        .iter()
        .map(|(name, value)| ((*name).into(), value.clone()))
        .collect();
    record
}

pub(crate) async fn opened(config: DestinationConfig, epoch: i64) -> Arc<dyn Destination> {
    let destination = build("mysql", config);
    destination.open(&context(epoch)).await.unwrap();
    destination
}

pub(crate) fn codes(outcomes: &[Outcome]) -> Vec<Option<Code>> {
    let code = |outcome: &Outcome| match outcome {
        Outcome::Delivered => None,
        Outcome::Rejected(reason) => Some(reason.code),
        other => panic!("{other:?}"),
    };
    outcomes.iter().map(code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_14_a_lost_commit_is_asked_for_and_an_older_run_is_refused() {
    let server = MariaDb::start();
    server.sql(
        "CREATE TABLE contact (id BIGINT PRIMARY KEY, email VARCHAR(100)); \
         CREATE TABLE written (id BIGINT); \
         CREATE TRIGGER count BEFORE INSERT ON contact FOR EACH ROW INSERT INTO written VALUES (NEW.id)",
    );
    let proxy = Proxy::to_port(server.port);
    let destination = opened(settings(proxy.port(), "contact"), 1).await;
    proxy.inject(Rule::up(When::text("\u{3}COMMIT"), Break::Reset).passing());
    let one = batch(1, 7, upserts(1..=3));
    let fault = destination.write(&one).await.unwrap_err();
    assert!(matches!(fault, Fault::Transient { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::Unknown);
    assert_eq!(
        destination.write(&one).await.unwrap(),
        vec![Outcome::Delivered; 3]
    );
    assert_eq!(
        server.sql("SELECT id FROM written ORDER BY id"),
        ["1", "2", "3"]
    );

    let newer = build("mysql", settings(server.port, "contact"));
    let committed = newer.open(&context(2)).await.unwrap();
    let intents: Vec<_> = committed
        .iter()
        .map(|batch| (batch.epoch, batch.intent))
        .collect();
    assert_eq!(intents, [(1, 7)], "the dead run's batch is known");
    let late = destination
        .write(&batch(1, 8, upserts(4..=4)))
        .await
        .unwrap_err();
    assert_eq!(late.reason().code, Code::DestinationFenced);
    assert_eq!(late.applied(), Applied::No);
    assert_eq!(server.sql("SELECT COUNT(*) FROM contact"), ["3"]);
    newer.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_in_a_thousand_is_found_and_the_others_are_kept() {
    let server = MariaDb::start();
    server
        .sql("CREATE TABLE contact (id BIGINT PRIMARY KEY, email VARCHAR(100), CHECK (id <> 617))");
    let destination = opened(settings(server.port, "contact"), 1).await;
    let inserts = || -> u64 {
        let said = server.sql("SHOW GLOBAL STATUS LIKE 'Com_insert'");
        said[0].split('\t').nth(1).unwrap().parse().unwrap()
    };
    let before = inserts();
    let outcomes = destination
        .write(&batch(1, 1, upserts(1..=1_000)))
        .await
        .unwrap();
    // One of them claims the batch.
    assert!(inserts() - before <= 22, "{}", inserts() - before);
    let bad: Vec<usize> = (0..1_000)
        .filter(|at| outcomes[*at] != Outcome::Delivered)
        .collect();
    assert_eq!(bad, [616]);
    assert_eq!(
        codes(&outcomes[616..617]),
        [Some(Code::DestinationRejected)]
    );
    assert_eq!(server.sql("SELECT COUNT(*) FROM contact"), ["999"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_never_changes_a_row_of_another_identity() {
    let server = MariaDb::start();
    server.sql(
        "CREATE TABLE contact (id BIGINT PRIMARY KEY, email VARCHAR(100) UNIQUE, name VARCHAR(9)); \
         INSERT INTO contact VALUES (1, 'c2@example.com', 'first')",
    );
    let destination = opened(settings(server.port, "contact"), 1).await;
    let outcomes = destination
        .write(&batch(1, 1, upserts(1..=3)))
        .await
        .unwrap();
    // 1 gives up the address that 2 wants, in the order of the batch.
    assert_eq!(codes(&outcomes), [None, None, None]);
    let stranger = with(
        Operation::Upsert,
        9,
        &[
            ("email", Value::from("c2@example.com")),
            ("name", Value::from("taken")),
        ],
    );
    let outcomes = destination
        .write(&batch(1, 2, vec![stranger]))
        .await
        .unwrap();
    assert_eq!(codes(&outcomes), [Some(Code::DestinationRejected)]);
    assert_eq!(
        server.sql("SELECT id, email, IFNULL(name, '-') FROM contact ORDER BY id"),
        [
            "1\tc1@example.com\tfirst",
            "2\tc2@example.com\t-",
            "3\tc3@example.com\t-"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_never_cut() {
    let server = MariaDb::start();
    server.sql(
        "CREATE TABLE contact (id BIGINT PRIMARY KEY, name VARCHAR(3), born DATE, amount DECIMAL(30,10), \
         doc JSON, tags JSON, at TIMESTAMP(6) NULL)",
    );
    let destination = opened(settings(server.port, "contact"), 1).await;
    let list = Value::List(vec![Value::Int(1), Value::from("b")]);
    let fields = [
        ("name", Value::from("long")),
        ("born", Value::from("2024-02-30")),
        ("amount", Value::Decimal("NaN".into())),
        ("doc", Value::from("no json")),
        (
            "amount",
            Value::Decimal("12345678901234567890.0123456789".into()),
        ),
        ("tags", list),
        ("doc", Value::Json("{\"a\":1}".into())),
        ("at", Value::TimestampTz(1_709_209_800_500_000)),
    ];
    for (id, field) in (1..).zip(fields) {
        let record = with(Operation::Upsert, id, &[field]);
        let outcomes = destination
            .write(&batch(1, id, vec![record]))
            .await
            .unwrap();
        let refused = (id <= 4).then_some(Code::DestinationRejected);
        assert_eq!(codes(&outcomes), [refused], "record {id}");
    }
    assert_eq!(
        server.sql(
            "SET time_zone = '+00:00'; SELECT id, IFNULL(amount, '-'), IFNULL(tags, '-'), \
             IFNULL(doc, '-'), IFNULL(at, '-') FROM contact ORDER BY id"
        ),
        [
            "5\t12345678901234567890.0123456789\t-\t-\t-",
            "6\t-\t[1,\"b\"]\t-\t-",
            "7\t-\t-\t{\"a\":1}\t-",
            "8\t-\t-\t-\t2024-02-29 12:30:00.500000",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_others_hold_is_rejected_alone() {
    let server = MariaDb::start();
    server.sql(
        "CREATE TABLE contact (id BIGINT PRIMARY KEY, email VARCHAR(100)); \
         CREATE TABLE bill (contact BIGINT, FOREIGN KEY (contact) REFERENCES contact (id)); \
         INSERT INTO contact (id) VALUES (1), (2), (3); INSERT INTO bill VALUES (2)",
    );
    let destination = opened(settings(server.port, "contact"), 1).await;
    let deletes = (1..=4).map(|id| record(Operation::Delete, id)).collect();
    let outcomes = destination.write(&batch(1, 1, deletes)).await.unwrap();
    assert_eq!(
        codes(&outcomes),
        [None, Some(Code::DestinationRejected), None, None]
    );
    assert_eq!(server.sql("SELECT id FROM contact"), ["2"]);
}

pub(crate) async fn failed(config: DestinationConfig) -> (String, Code, String) {
    let checks = build("mysql", config).check().await;
    let shown = format!("{checks:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    let failed = checks
        .into_iter()
        .find(|check| check.status == CheckStatus::Failed)
        .expect("a check fails");
    let reason = failed.reason.unwrap();
    (failed.name, reason.code, reason.hint.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_is_wrong_with_its_cure() {
    let server = MariaDb::start();
    server.sql(
        "CREATE TABLE loose (id BIGINT, email VARCHAR(100)); \
         CREATE TABLE old (id BIGINT PRIMARY KEY) ENGINE = MyISAM",
    );
    let (name, code, _) = failed(settings(rowcast_testkit::postgres::free_port(), "loose")).await;
    assert_eq!(
        (name.as_str(), code),
        ("connect", Code::DestinationUnreachable)
    );

    let mut refused = settings(server.port, "loose");
    refused.allow_addresses.clear();
    let (name, code, hint) = failed(refused).await;
    assert_eq!((name.as_str(), code), ("connect", Code::AddressRefused));
    assert!(hint.contains("allow_addresses: [127.0.0.1/32]"), "{hint}");

    let (name, code, hint) = failed(settings(server.port, "none")).await;
    assert_eq!(
        (name.as_str(), code),
        ("table `shop`.`none`", Code::DestinationObject)
    );
    assert!(hint.contains("GRANT SELECT"), "{hint}");
    let (_, _, hint) = failed(settings(server.port, "loose")).await;
    assert_eq!(hint, "ALTER TABLE `shop`.`loose` ADD UNIQUE INDEX (`id`);");
    let (_, _, hint) = failed(settings(server.port, "old")).await;
    assert_eq!(hint, "ALTER TABLE `shop`.`old` ENGINE = InnoDB;");

    server.sql("ALTER USER rowcast@'127.0.0.1' IDENTIFIED BY 'another'");
    let (name, code, _) = failed(settings(server.port, "loose")).await;
    assert_eq!((name.as_str(), code), ("login", Code::DestinationAuth));
    let fault = build("mysql", settings(server.port, "loose"))
        .open(&context(1))
        .await;
    assert!(matches!(fault, Err(Fault::Fatal { .. })), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn discover_lists_tables_with_their_columns() {
    let server = MariaDb::start();
    server.sql(
        "CREATE TABLE contact (id BIGINT PRIMARY KEY, email VARCHAR(100) NOT NULL, \
         n INT NOT NULL DEFAULT 1, twice INT AS (n * 2))",
    );
    let mut config = settings(server.port, "");
    config.mode = Mode::Upsert;
    let destination = rowcast_natives::CATALOG
        .build_for_check("mysql", config)
        .unwrap();
    let found = destination.discover().await.unwrap();
    let names: Vec<&str> = found.iter().map(|table| &*table.name).collect();
    assert_eq!(names, ["contact"]);
    let fields: Vec<_> = found[0]
        .fields
        .iter()
        .map(|field| (&*field.name, field.type_name.as_str(), field.required))
        .collect();
    assert_eq!(
        fields,
        [
            ("id", "bigint(20)", true),
            ("email", "varchar(100)", true),
            ("n", "int(11)", false),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_is_encrypted_and_only_for_a_trusted_certificate() {
    let certificate = Certificate::new();
    let server = MariaDb::encrypted(&certificate.pem, &certificate.key);
    server.sql(
        "CREATE TABLE contact (id BIGINT PRIMARY KEY, email VARCHAR(100)); \
         ALTER USER rowcast@'127.0.0.1' REQUIRE SSL",
    );
    let encrypted = |authority: Option<String>| {
        let mut settings = json!({
            "host": "127.0.0.1", "port": server.port, "user": "rowcast",
            "password": format!("secret:{SECRET}"), "database": "shop",
        });
        if let Some(authority) = authority {
            settings["tls_ca"] = json!(authority);
        }
        config("contact", &settings)
    };
    let destination = opened(encrypted(Some(certificate.file())), 1).await;
    let outcomes = destination
        .write(&batch(1, 1, upserts(1..=2)))
        .await
        .unwrap();
    assert_eq!(codes(&outcomes), [None, None]);

    for untrusted in [None, Some(Certificate::new())] {
        let authority = untrusted.as_ref().map(Certificate::file);
        let (name, code, hint) = failed(encrypted(authority)).await;
        assert_eq!(
            (name.as_str(), code),
            ("connect", Code::DestinationUnreachable)
        );
        assert!(hint.contains("tls_ca"), "{hint}");
    }
    // Without encryption the server does not let the user in.
    let (name, _, _) = failed(settings(server.port, "contact")).await;
    assert_eq!(name, "login");
}
