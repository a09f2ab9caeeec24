//! `nats`, on a NATS server with JetStream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rowcast_core::record::Operation;
use rowcast_core::{BoxFuture, CheckStatus, Code, Destination, Fault, Mode, Outcome, Value};
use rowcast_testkit::conformance::{Held, Subject, Trouble, run};
use rowcast_testkit::proxy::{Fault as Break, Proxy, Rule, When};
use rowcast_testkit::servers::Nats;
use serde_json::json;

use crate::support::{ALWAYS, Mended, SECRET, apply, batch, build, config, record};

fn stream(nats: &Nats, verb: &str, more: serde_json::Value) {
    let mut config = json!({ "subjects": ["contacts.>"] });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    nats.stream(verb, "CONTACTS", &config);
}

fn settings(port: u16) -> serde_json::Value {
    json!({
        "host": "127.0.0.1", "port": port, "tls": false, "user": "caster",
        "password": format!("secret:{SECRET}"),
    })
}

struct JetStream {
    nats: Arc<Mutex<Nats>>,
    proxy: Proxy,
    full: Arc<AtomicBool>,
}

impl JetStream {
    fn start() -> Self {
        let nats = Nats::start(SECRET);
        stream(&nats, "CREATE", json!({}));
        let proxy = Proxy::to_port(nats.port);
        Self {
            nats: Arc::new(Mutex::new(nats)),
            proxy,
            full: Arc::default(),
        }
    }
}

impl Subject for JetStream {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config("contacts", &settings(self.proxy.port()));
        config.mode = mode;
        config.batch_records = Some(records);
        let nats = Arc::clone(&self.nats);
        Arc::new(Mended {
            inner: build("nats", config),
            broken: Arc::clone(&self.full),
            mend: move || {
                stream(&nats.lock().unwrap(), "UPDATE", json!({ "max_msgs": -1 }));
            },
        })
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut held = Held::new();
            for message in self.nats.lock().unwrap().messages("CONTACTS") {
                apply(&mut held, &message.body);
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::BadRecord(_) => return false,
            Trouble::Busy => {
                let nats = self.nats.lock().unwrap();
                let held = nats.messages("CONTACTS").len();
                stream(
                    &nats,
                    "UPDATE",
                    json!({ "max_msgs": held, "discard": "new" }),
                );
                self.full.store(true, Ordering::SeqCst);
            }
            Trouble::LostAnswer => {
                let rule = Rule::up(When::text("HPUB"), Break::Reset);
                self.proxy.inject(rule.passing());
            }
            Trouble::Revoked => self.nats.lock().unwrap().restart("another"),
        }
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_keeps_the_contract() {
    let troubles = [
        "transient, then success",
        "lost answer, sent again",
        "credentials revoked",
    ];
    let ran = run(&JetStream::start()).await;
    assert_eq!(ran, [&ALWAYS[..], &troubles].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_carries_its_id_and_a_repetition_is_dropped_by_the_stream() {
    let nats = Nats::start(SECRET);
    stream(&nats, "CREATE", json!({}));
    let destination = build("nats", config("contacts", &settings(nats.port)));
    let one = batch((1..=300).map(|id| record(Operation::Upsert, id)).collect());
    for _ in 0..2 {
        let outcomes = destination.write(&one).await.unwrap();
        assert_eq!(outcomes, vec![Outcome::Delivered; 300]);
    }
    let messages = nats.messages("CONTACTS");
    assert_eq!(messages.len(), 300);
    let headers: Vec<(&str, &str)> = messages[6]
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let id = format!("{:032x}", 7);
    for expected in [
        ("Nats-Msg-Id", id.as_str()),
        ("Rowcast-Key", "7"),
        ("Rowcast-Operation", "upsert"),
        ("Rowcast-Sync", "customers_to_broker"),
        ("Rowcast-Run", "12"),
        ("Nats-Subject", "contacts.7"),
    ] {
        assert!(headers.contains(&expected), "{expected:?} in {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_harms_only_itself() {
    let nats = Nats::start(SECRET);
    stream(&nats, "CREATE", json!({ "max_msg_size": 100_000 }));
    let destination = build("nats", config("contacts", &settings(nats.port)));
    let mut records: Vec<_> = (1..=4).map(|id| record(Operation::Upsert, id)).collect();
    // More than the stream takes, and more than the server takes.
    records[1].fields = vec![("text".into(), Value::from("x".repeat(150_000)))];
    records[2].fields = vec![("text".into(), Value::from("x".repeat(300_000)))];
    let outcomes = destination.write(&batch(records)).await.unwrap();
    let codes: Vec<Option<Code>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Delivered => None,
            Outcome::Rejected(reason) => Some(reason.code),
            other => panic!("{other:?}"),
        })
        .collect();
    let large = Some(Code::RecordTooLarge);
    assert_eq!(codes, [None, large, large, None]);
    assert_eq!(nats.messages("CONTACTS").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_a_missing_stream_from_a_wrong_password_and_a_wrong_host() {
    let nats = Nats::start(SECRET);
    let failed = async |settings: &serde_json::Value| {
        let checks = build("nats", config("contacts", settings)).check().await;
        let failed = checks
            .into_iter()
            .find(|check| check.status == CheckStatus::Failed);
        failed.map(|check| (check.name, check.reason.unwrap().code))
    };
    let right = settings(nats.port);
    let missing = ("subject contacts.>".to_owned(), Code::DestinationObject);
    assert_eq!(failed(&right).await, Some(missing));
    let destination = build("nats", config("contacts", &right));
    let fault = destination
        .write(&batch(vec![record(Operation::Upsert, 1)]))
        .await
        .unwrap_err();
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
    assert_eq!(fault.reason().code, Code::DestinationObject);

    stream(&nats, "CREATE", json!({}));
    assert_eq!(failed(&right).await, None);
    let names: Vec<_> = destination.discover().await.unwrap();
    assert_eq!(&*names[0].name, "CONTACTS");

    let mut other = right.clone();
    other["stream"] = json!("ORDERS");
    assert_eq!(failed(&other).await.unwrap().1, Code::DestinationObject);
    let mut stranger = right.clone();
    stranger["password"] = json!("secret:wrong");
    let login = ("login".to_owned(), Code::DestinationAuth);
    assert_eq!(failed(&stranger).await, Some(login));
    let nobody = settings(rowcast_testkit::postgres::free_port());
    let connect = ("connect".to_owned(), Code::DestinationUnreachable);
    assert_eq!(failed(&nobody).await, Some(connect));
}
