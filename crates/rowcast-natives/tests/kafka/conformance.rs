//! The suite that every destination passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_core::{BoxFuture, Destination, Mode};
use rowcast_testkit::conformance::{Held, Subject, Trouble, run};
use rowcast_testkit::servers::{Kafka, Refusal, Relay};
use serde_json::json;

use crate::support::{ALWAYS, Mended, SECRET, apply, build, config};

struct Topic {
    kafka: Kafka,
    relay: Relay,
    broken: Arc<AtomicBool>,
}

impl Subject for Topic {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config(
            "contacts",
            &json!({
                "brokers": format!("127.0.0.1:{}", self.relay.port()), "tls": false,
                "user": "caster", "password": format!("secret:{SECRET}"),
            }),
        );
        config.mode = mode;
        config.batch_records = Some(records);
        Arc::new(Mended {
            inner: build("kafka", config),
            broken: Arc::clone(&self.broken),
            // The cluster recovers by itself.
            mend: || {},
        })
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut held = Held::new();
            // Partitions one after another: a key is in one of them.
            for message in self.kafka.messages("contacts") {
                apply(&mut held, &message.value.unwrap());
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            // No message is refused for what it says.
            Trouble::BadRecord(_) => return false,
            Trouble::Busy => {
                self.kafka.refuse(&[Refusal::NotEnoughReplicas]);
                self.broken.store(true, Ordering::SeqCst);
            }
            // Also that of the second question.
            Trouble::LostAnswer => self.relay.lose_answers(2),
            Trouble::Revoked => self.relay.demand_login("caster", "another"),
        }
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_the_contract() {
    let kafka = Kafka::start(1);
    kafka.topic("contacts", 3);
    let relay = Relay::before(&kafka);
    relay.demand_login("caster", SECRET);
    let topic = Topic {
        kafka,
        relay,
        broken: Arc::default(),
    };
    let troubles = [
        "transient, then success",
        "lost answer, sent again",
        "credentials revoked",
    ];
    let ran = run(&topic).await;
    assert_eq!(ran, [&ALWAYS[..], &troubles].concat());
}
