//! `redis`, on a Redis server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_core::record::Operation;
use rowcast_core::{Applied, BoxFuture, CheckStatus, Code, Destination, Fault, Mode, Outcome};
use rowcast_testkit::conformance::{Held, Subject, Trouble, run};
use rowcast_testkit::proxy::{Fault as Break, Proxy, Rule, When};
use rowcast_testkit::servers::Redis;
use serde_json::json;

use crate::support::{ALWAYS, Mended, SECRET, apply, batch, build, config, record};

struct Stream {
    redis: Arc<Redis>,
    proxy: Proxy,
    full: Arc<AtomicBool>,
}

impl Stream {
    fn start() -> Self {
        let redis = Arc::new(Redis::start());
        allow(&redis, SECRET);
        let proxy = Proxy::to_port(redis.port);
        Self {
            redis,
            proxy,
            full: Arc::default(),
        }
    }

    fn entries(&self, stream: &str) -> Vec<Vec<String>> {
        let entries = self.redis.ask(&["XRANGE", stream, "-", "+"]);
        let fields = entries.items().iter().map(|entry| {
            let fields = entry.items()[1].items().iter();
            fields.map(|field| field.text().to_owned()).collect()
        });
        fields.collect()
    }
}

fn allow(redis: &Redis, password: &str) {
    redis.ask(&["ACL", "SETUSER", "caster", "reset"]);
    let word = format!(">{password}");
    redis.ask(&["ACL", "SETUSER", "caster", "on", &word, "~*", "+@all"]);
}

impl Subject for Stream {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config(
            "contacts",
            &json!({
                "host": "127.0.0.1", "port": self.proxy.port(), "tls": false,
                "user": "caster", "password": format!("secret:{SECRET}"),
            }),
        );
        config.mode = mode;
        config.batch_records = Some(records);
        let redis = Arc::clone(&self.redis);
        Arc::new(Mended {
            inner: build("redis", config),
            broken: Arc::clone(&self.full),
            mend: move || {
                redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
            },
        })
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut held = Held::new();
            for fields in self.entries("contacts") {
                let body = fields.iter().position(|name| name == "body").unwrap();
                apply(&mut held, &fields[body + 1]);
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::BadRecord(_) => return false,
            Trouble::Busy => {
                self.redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
                self.full.store(true, Ordering::SeqCst);
            }
            Trouble::LostAnswer => {
                let rule = Rule::up(When::text("EXEC"), Break::Reset);
                self.proxy.inject(rule.passing());
            }
            Trouble::Revoked => {
                allow(&self.redis, "another");
                self.proxy.hang_up();
            }
        }
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let troubles = [
        "transient, then success",
        "lost answer, sent again",
        "credentials revoked",
    ];
    let ran = run(&Stream::start()).await;
    assert_eq!(ran, [&ALWAYS[..], &troubles].concat());
}

#[tokio::test]
async fn an_entry_carries_key_operation_and_idempotency_key_and_the_stream_keeps_its_length() {
    let redis = Redis::start();
    let settings = json!({
        "host": "127.0.0.1", "port": redis.port, "tls": false, "body": "fields",
        "maxlen": 2, "maxlen_exact": true,
    });
    let destination = build("redis", config("contacts", &settings));
    let upserts = (1..=3).map(|id| record(Operation::Upsert, id)).collect();
    let outcomes = destination.write(&batch(upserts)).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 3]);
    let delete = batch(vec![record(Operation::Delete, 3)]);
    assert_eq!(
        destination.write(&delete).await.unwrap(),
        [Outcome::Delivered]
    );

    let entries = redis.ask(&["XRANGE", "contacts", "-", "+"]);
    let entries: Vec<Vec<&str>> = entries
        .items()
        .iter()
        .map(|entry| {
            let fields = entry.items()[1].items().iter();
            fields.map(rowcast_testkit::servers::Answer::text).collect()
        })
        .collect();
    let key = format!("{:032x}", 3);
    let fields = |operation, body| {
        let sync = "customers_to_broker";
        vec![
            "key",
            "3",
            "operation",
            operation,
            "idempotency_key",
            &key,
            "sync",
            sync,
            "run",
            "12",
            "body",
            body,
        ]
    };
    assert_eq!(
        entries,
        [
            fields("upsert", r#"{"email":"c3@example.com"}"#),
            fields("delete", ""),
        ]
    );
}

#[tokio::test]
async fn a_full_server_leaves_nothing_of_a_batch_behind() {
    let redis = Redis::start();
    let settings = json!({ "host": "127.0.0.1", "port": redis.port, "tls": false });
    let destination = build("redis", config("contacts", &settings));
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let upserts = (1..=3).map(|id| record(Operation::Upsert, id)).collect();
    let fault = destination.write(&batch(upserts)).await.unwrap_err();
    assert!(matches!(fault, Fault::Transient { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::No);
    assert_eq!(fault.reason().code, Code::DestinationBusy);
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(redis.ask(&["EXISTS", "contacts"]).text(), "0");
}

#[tokio::test]
async fn a_replica_is_waited_for_and_a_key_of_another_kind_stops_the_run() {
    let redis = Redis::start();
    let settings = json!({ "host": "127.0.0.1", "port": redis.port, "tls": false });
    let destination = build("redis", config("contacts", &settings));
    let upsert = batch(vec![record(Operation::Upsert, 1)]);

    redis.ask(&["SET", "contacts", "text"]);
    let fault = destination.write(&upsert).await.unwrap_err();
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
    assert_eq!(fault.reason().code, Code::DestinationObject);
    let checks = destination.check().await;
    let failed = checks.last().unwrap();
    assert_eq!(failed.name, "stream contacts");
    assert_eq!(failed.status, CheckStatus::Failed);

    redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let fault = destination.write(&upsert).await.unwrap_err();
    assert!(matches!(fault, Fault::Transient { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::No);
}

#[tokio::test]
async fn check_tells_a_wrong_host_from_a_wrong_password_and_from_a_refused_address() {
    let redis = Redis::start();
    allow(&redis, SECRET);
    let failed = async |settings: &serde_json::Value, open: bool| {
        let mut config = config("contacts", settings);
        config.timeout = Some(std::time::Duration::from_secs(1));
        if !open {
            config.allow_addresses.clear();
        }
        let checks = build("redis", config).check().await;
        let failed = checks
            .into_iter()
            .find(|check| check.status == CheckStatus::Failed)
            .expect("a check fails");
        (failed.name, failed.reason.unwrap().code)
    };
    let port = rowcast_testkit::postgres::free_port();
    let nobody = json!({ "host": "127.0.0.1", "port": port, "tls": false });
    let unreachable = ("connect".to_owned(), Code::DestinationUnreachable);
    assert_eq!(failed(&nobody, true).await, unreachable);
    let stranger = json!({
        "host": "127.0.0.1", "port": redis.port, "tls": false, "user": "caster", "password": "secret:wrong",
    });
    assert_eq!(
        failed(&stranger, true).await,
        ("login".to_owned(), Code::DestinationAuth)
    );
    assert_eq!(
        failed(&stranger, false).await,
        ("connect".to_owned(), Code::AddressRefused)
    );
    let encrypted = json!({ "host": "127.0.0.1", "port": redis.port });
    assert_eq!(failed(&encrypted, true).await, unreachable);
}
