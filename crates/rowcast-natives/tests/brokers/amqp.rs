//! `amqp`, on a RabbitMQ broker. Starting one takes seconds: the tests share it, each with exchanges
//! of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rowcast_core::record::Operation;
use rowcast_core::{BoxFuture, CheckStatus, Code, Destination, Fault, Mode, Outcome, Value};
use rowcast_testkit::conformance::{Held, Subject, Trouble, run};
use rowcast_testkit::proxy::{Fault as Break, Proxy, Rule, When};
use rowcast_testkit::servers::RabbitMq;
use serde_json::json;

use crate::support::{ALWAYS, Mended, SECRET, apply, batch, build, config, record};

fn broker() -> &'static RabbitMq {
    static BROKER: OnceLock<RabbitMq> = OnceLock::new();
    BROKER.get_or_init(|| RabbitMq::start(SECRET))
}

fn settings(port: u16) -> serde_json::Value {
    json!({
        "host": "127.0.0.1", "port": port, "tls": false, "user": "caster",
        "password": format!("secret:{SECRET}"),
    })
}

struct Exchange {
    proxy: Proxy,
    full: Arc<AtomicBool>,
}

impl Subject for Exchange {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config("contacts", &settings(self.proxy.port()));
        config.mode = mode;
        config.batch_records = Some(records);
        Arc::new(Mended {
            inner: build("amqp", config),
            broken: Arc::clone(&self.full),
            mend: || broker().remove_queue("full"),
        })
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut held = Held::new();
            for message in broker().messages("contacts") {
                apply(&mut held, message["payload"].as_str().unwrap());
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::BadRecord(id) => {
                broker().bind("contacts", "contacts", &(id - 1).to_string());
                broker().bind("contacts", "contacts", &(id + 1).to_string());
                broker().unbind("contacts", "contacts", "#");
            }
            Trouble::Busy => {
                let none = json!({ "x-max-length": 0, "x-overflow": "reject-publish" });
                broker().queue("full", &none);
                broker().bind("contacts", "full", "#");
                self.full.store(true, Ordering::SeqCst);
            }
            Trouble::LostAnswer => {
                let rule = Rule::up(When::text("rowcast-key"), Break::Reset);
                self.proxy.inject(rule.passing());
            }
            // The broker is shared; the test of `check` below has a wrong password.
            Trouble::Revoked => return false,
        }
        true
    }

    fn calm(&self) {
        broker().bind("contacts", "contacts", "#");
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amqp_keeps_the_contract() {
    broker().topic("contacts");
    let exchange = Exchange {
        proxy: Proxy::to_port(broker().port),
        full: Arc::default(),
    };
    let troubles = [
        "rejected in the middle",
        "transient, then success",
        "lost answer, sent again",
    ];
    assert_eq!(run(&exchange).await, [&ALWAYS[..], &troubles].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_persistent_and_carries_key_operation_and_idempotency_key() {
    broker().topic("orders");
    let mut settings = settings(broker().port);
    settings["routing_key"] = json!("shop.{{ key }}.changed");
    let destination = build("amqp", config("orders", &settings));
    let mut records: Vec<_> = (1..=300).map(|id| record(Operation::Upsert, id)).collect();
    // Larger than a frame.
    records[1].fields = vec![("text".into(), Value::from("x".repeat(300_000)))];
    let outcomes = destination.write(&batch(records)).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 300]);
    let messages = broker().messages("orders");
    assert_eq!(messages.len(), 300);
    assert!(messages[1]["payload"].as_str().unwrap().len() > 300_000);
    let first = &messages[0];
    assert_eq!(first["routing_key"], "shop.1.changed");
    let properties = &first["properties"];
    assert_eq!(properties["delivery_mode"], 2);
    assert_eq!(properties["message_id"], format!("{:032x}", 1));
    assert_eq!(properties["type"], "upsert");
    assert_eq!(
        properties["headers"],
        json!({ "rowcast-key": "1", "rowcast-sync": "customers_to_broker", "rowcast-run": "12" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_reached_by_its_name_and_a_missing_object_stops_the_run() {
    broker().queue("jobs", &json!({}));
    let mut queue = settings(broker().port);
    queue["to"] = json!("queue");
    let one = batch(vec![record(Operation::Delete, 1)]);
    let destination = build("amqp", config("jobs", &queue));
    assert_eq!(destination.write(&one).await.unwrap(), [Outcome::Delivered]);
    assert_eq!(broker().messages("jobs").len(), 1);

    let missing = build("amqp", config("nothing", &queue));
    let fault = missing.write(&one).await.unwrap_err();
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
    assert_eq!(fault.reason().code, Code::DestinationObject);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_a_missing_exchange_from_a_wrong_password_and_a_wrong_host() {
    let failed = async |object: &str, settings: &serde_json::Value| {
        let checks = build("amqp", config(object, settings)).check().await;
        assert!(!format!("{checks:?}").contains(SECRET));
        let failed = checks
            .into_iter()
            .find(|check| check.status == CheckStatus::Failed);
        failed.map(|check| (check.name, check.reason.unwrap().code))
    };
    let right = settings(broker().port);
    assert_eq!(failed("amq.topic", &right).await, None);
    let missing = ("object".to_owned(), Code::DestinationObject);
    assert_eq!(failed("nothing", &right).await, Some(missing.clone()));
    let mut nowhere = right.clone();
    nowhere["vhost"] = json!("nowhere");
    assert_eq!(failed("amq.topic", &nowhere).await, Some(missing));
    let mut stranger = right.clone();
    stranger["password"] = json!("secret:wrong");
    let login = ("login".to_owned(), Code::DestinationAuth);
    assert_eq!(failed("amq.topic", &stranger).await, Some(login));
    let fault = build("amqp", config("amq.topic", &stranger))
        .write(&batch(vec![record(Operation::Upsert, 1)]))
        .await
        .unwrap_err();
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
    let nobody = settings(rowcast_testkit::postgres::free_port());
    let connect = ("connect".to_owned(), Code::DestinationUnreachable);
    assert_eq!(failed("amq.topic", &nobody).await, Some(connect));
}
