//! From PostgreSQL to a JetStream stream.

use std::collections::BTreeMap;

use rowcast_testkit::postgres::Database;
use rowcast_testkit::servers::Nats;
use serde_json::{Value, json};

use crate::customers::{killed, rows, source};
use crate::project::Project;

const PASSWORD: &str = "canary-7731";

fn project(source: &Database, nats: &Nats, more: &str) -> Project {
    let project = Project::new(source);
    project.model("customers", "customers");
    project.file(
        "destinations/bus.yml",
        &format!(
            "destination: bus\nconnector: nats\nallow_addresses: [127.0.0.1/32]\n{more}\n\
             settings:\n  host: 127.0.0.1\n  port: {}\n  tls: false\n  user: caster\n  \
             password: {PASSWORD}\n",
            nats.port
        ),
    );
    project.sync(
        "customers_to_bus",
        "customers",
        "bus",
        "object: customers\nmode: mirror\nguards: { removed: 100% }\nfields: { name: name }\n",
    );
    project
}

/// The newest value of each key, and how many messages there are.
fn held(nats: &Nats) -> (BTreeMap<i64, String>, usize) {
    let messages = nats.messages("CUSTOMERS");
    let mut held = BTreeMap::new();
    for message in &messages {
        let body: Value = serde_json::from_str(&message.body).expect("a record");
        let key = body["key"]["id"].as_i64().expect("a key");
        match body["operation"].as_str() {
            Some("delete") => held.remove(&key),
            _ => held.insert(
                key,
                body["fields"]["name"].as_str().unwrap_or("").to_owned(),
            ),
        };
    }
    (held, messages.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_and_a_restarted_server_lose_nothing_and_the_stream_drops_repetitions() {
    let mut nats = Nats::start(PASSWORD);
    nats.stream(
        "CREATE",
        "CUSTOMERS",
        &json!({ "subjects": ["customers.>"] }),
    );
    let source = source("native_nats").await;
    let project = project(&source, &nats, "timeout: 1s\nbatch: { max_records: 50 }");
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
        killed(&project, "customers_to_bus", place);
        let again = project.ran(&["run", "customers_to_bus", "--wait"]);
        assert_eq!(again.code, Some(0), "{place}: {}", again.words());
        let (held, messages) = held(&nats);
        assert_eq!(held, rows(&source).await, "{place}");
        // Those in doubt were sent again with the same ids.
        assert_eq!(messages, sent, "{place}");
    }

    client
        .batch_execute("DELETE FROM customers WHERE id > 100; UPDATE customers SET name = 'last'")
        .await
        .expect("a change");
    // With another password nothing gets in; with the right one everything does.
    nats.restart("another");
    let refused = project.ran(&["run", "customers_to_bus"]);
    assert_eq!(refused.code, Some(1), "{}", refused.words());
    assert!(refused.words().contains("E0602"), "{}", refused.words());
    assert!(!refused.words().contains(PASSWORD));
    nats.restart(PASSWORD);
    project.run("customers_to_bus", &[], 0);
    let (held, messages) = held(&nats);
    assert_eq!(held, rows(&source).await);
    assert_eq!(messages, sent + 300);
}
