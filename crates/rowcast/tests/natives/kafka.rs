//! From PostgreSQL to a Kafka topic.

use std::collections::{BTreeMap, BTreeSet};

use rowcast_testkit::postgres::Database;
use rowcast_testkit::servers::{Kafka, Produced, Refusal, Relay};
use serde_json::Value;

use crate::customers::{killed, rows, source};
use crate::project::Project;

const PASSWORD: &str = "canary-7731";

fn project(source: &Database, port: u16, more: &str) -> Project {
    let project = Project::new(source);
    project.model("customers", "customers");
    project.file(
        "destinations/log.yml",
        &format!(
            "destination: log\nconnector: kafka\nallow_addresses: [127.0.0.1/32]\n{more}\n\
             settings:\n  brokers: 127.0.0.1:{port}\n  tls: false\n  user: caster\n  \
             password: {PASSWORD}\n  body: fields\n"
        ),
    );
    project.sync(
        "customers_to_log",
        "customers",
        "log",
        "object: customers\nmode: mirror\nguards: { removed: 100% }\nfields: { name: name }\n",
    );
    project
}

/// What compaction leaves: the newest value of each key that has one.
fn compacted(messages: &[Produced]) -> BTreeMap<i64, String> {
    let mut held = BTreeMap::new();
    for message in messages {
        let key: i64 = message.key.parse().expect("a key");
        match &message.value {
            None => held.remove(&key),
            Some(value) => {
                let value: Value = serde_json::from_str(value).expect("fields");
                held.insert(key, value["name"].as_str().unwrap_or_default().to_owned())
            }
        };
    }
    held
}

/// Messages without those that carry an idempotency key a second time.
fn distinct(messages: &[Produced]) -> usize {
    let key = |message: &Produced| {
        let mut headers = message.headers.iter();
        headers
            .find(|(name, _)| name == "rowcast-idempotency-key")
            .map(|(_, value)| value.clone())
            .expect("an idempotency key")
    };
    messages.iter().map(key).collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_and_brokers_that_refuse_lose_nothing_and_a_compacted_topic_equals_the_source()
 {
    let kafka = Kafka::start(1);
    kafka.topic("customers", 4);
    let relay = Relay::before(&kafka);
    relay.demand_login("caster", PASSWORD);
    let source = source("native_kafka").await;
    let project = project(
        &source,
        relay.port(),
        "timeout: 1s\nbatch: { max_records: 50 }",
    );
    let checked = project.ran(&["check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.words());
    assert!(
        checked.stdout.contains("topic customers"),
        "{}",
        checked.words()
    );

    let client = source.client().await;
    let mut sent = 0;
    for place in [
        "request-before:3",
        "request-answered:3",
        "acknowledge-before:2",
    ] {
        client
            .execute("UPDATE customers SET name = $1", &[&place])
            .await
            .expect("a change");
        sent += 300;
        killed(&project, "customers_to_log", place);
        // The first answers after the crash are lost, or say that the leader is elsewhere.
        relay.lose_answers(1);
        kafka.refuse(&[Refusal::NotLeader]);
        let again = project.ran(&["run", "customers_to_log", "--wait"]);
        assert_eq!(again.code, Some(0), "{place}: {}", again.words());
        let messages = kafka.messages("customers");
        assert_eq!(compacted(&messages), rows(&source).await, "{place}");
        // Those in doubt were sent again with the same idempotency keys.
        assert_eq!(distinct(&messages), sent, "{place}");
    }

    client
        .batch_execute("DELETE FROM customers WHERE id > 100; UPDATE customers SET name = 'last'")
        .await
        .expect("a change");
    // With another password nothing gets in; with the right one everything does.
    relay.demand_login("caster", "another");
    let refused = project.ran(&["run", "customers_to_log"]);
    assert_eq!(refused.code, Some(1), "{}", refused.words());
    assert!(refused.words().contains("E0602"), "{}", refused.words());
    assert!(!refused.words().contains(PASSWORD));
    relay.demand_login("caster", PASSWORD);
    project.run("customers_to_log", &[], 0);
    let messages = kafka.messages("customers");
    assert_eq!(compacted(&messages), rows(&source).await);
    assert_eq!(compacted(&messages).len(), 100);
    assert_eq!(distinct(&messages), sent + 300);
}
