//! What consumers find in a topic.

use std::collections::BTreeMap;

use rowcast_core::record::Operation;
use rowcast_core::{Code, Outcome, Value};
use rowcast_testkit::servers::{Kafka, Refusal};
use serde_json::json;

use crate::support::{batch, build, config, record};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_carries_key_and_headers_and_all_changes_of_a_row_are_in_one_partition() {
    let kafka = Kafka::start(3);
    kafka.topic("contacts", 6);
    let settings = json!({ "brokers": kafka.brokers(), "tls": false });
    let destination = build("kafka", config("contacts", &settings));
    for _ in 0..2 {
        let one = batch((1..=300).map(|id| record(Operation::Upsert, id)).collect());
        let outcomes = destination.write(&one).await.unwrap();
        assert_eq!(outcomes, vec![Outcome::Delivered; 300]);
    }
    let delete = batch(vec![record(Operation::Delete, 7)]);
    assert_eq!(
        destination.write(&delete).await.unwrap(),
        [Outcome::Delivered]
    );

    let messages = kafka.messages("contacts");
    assert_eq!(messages.len(), 601);
    let mut partitions = BTreeMap::new();
    for message in &messages {
        let before = partitions.insert(message.key.clone(), message.partition);
        assert!(before.is_none_or(|before| before == message.partition));
    }
    let used: std::collections::BTreeSet<_> = partitions.values().collect();
    assert_eq!(used.len(), 6, "the keys are spread");

    let seven: Vec<_> = messages.iter().filter(|one| one.key == "7").collect();
    let operations = ["upsert", "upsert", "delete"];
    for (message, operation) in seven.iter().zip(operations) {
        let key = format!("{:032x}", 7);
        let headers = [
            ("rowcast-operation", operation),
            ("rowcast-idempotency-key", &*key),
            ("rowcast-sync", "customers_to_broker"),
            ("rowcast-run", "12"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(message.headers, headers);
        let value = message.value.as_deref().unwrap();
        assert!(value.contains(&format!("\"operation\":\"{operation}\"")));
    }
    assert_eq!(seven.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_is_a_tombstone_where_a_compacted_topic_wants_one() {
    let kafka = Kafka::start(1);
    for (topic, more, upsert, delete) in [
        (
            "fields",
            json!({ "body": "fields" }),
            r#"{"email":"c1@example.com"}"#,
            None,
        ),
        (
            "empty",
            json!({ "body": "fields", "tombstones": false, "compression": "lz4" }),
            r#"{"email":"c1@example.com"}"#,
            Some(""),
        ),
        ("record", json!({ "tombstones": true }), "", None),
    ] {
        kafka.topic(topic, 1);
        let mut settings = json!({ "brokers": kafka.brokers(), "tls": false });
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let destination = build("kafka", config(topic, &settings));
        for operation in [Operation::Upsert, Operation::Delete] {
            let one = batch(vec![record(operation, 1)]);
            let outcomes = destination.write(&one).await.unwrap();
            assert_eq!(outcomes, [Outcome::Delivered]);
        }
        let messages = kafka.messages(topic);
        let values: Vec<_> = messages.iter().map(|one| one.value.as_deref()).collect();
        assert_eq!(values[1], delete, "{topic}");
        let first = values[0].unwrap();
        if upsert.is_empty() {
            assert!(first.starts_with("{\"operation\":\"upsert\""), "{first}");
        } else {
            assert_eq!(first, upsert);
        }
        assert!(messages.iter().all(|message| message.key == "1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_of_more_than_one_request_are_read_whole() {
    let kafka = Kafka::start(1);
    kafka.topic("contacts", 2);
    let settings = json!({ "brokers": kafka.brokers(), "tls": false, "compression": "lz4" });
    let destination = build("kafka", config("contacts", &settings));
    let long = |id: i64| format!("{id}{}", "long ".repeat(30_000));
    let records = (1..=20).map(|id| {
        let mut record = record(Operation::Upsert, id);
        record.fields = vec![("text".into(), Value::from(long(id)))];
        record
    });
    let outcomes = destination.write(&batch(records.collect())).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 20]);
    let messages = kafka.messages("contacts");
    assert_eq!(messages.len(), 20);
    for message in messages {
        let id: i64 = message.key.parse().unwrap();
        assert!(message.value.unwrap().contains(&long(id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_found_and_harms_only_its_record() {
    let kafka = Kafka::start(1);
    kafka.topic("contacts", 1);
    let settings = json!({ "brokers": kafka.brokers(), "tls": false });
    let destination = build("kafka", config("contacts", &settings));
    // All four, the first two, the first.
    kafka.refuse(&[Refusal::TooLarge; 3]);
    let four = batch((1..=4).map(|id| record(Operation::Upsert, id)).collect());
    let outcomes = destination.write(&four).await.unwrap();
    let Outcome::Rejected(reason) = &outcomes[0] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(reason.code, Code::RecordTooLarge);
    let detail = reason.detail.as_deref().unwrap();
    assert!(detail.contains("MESSAGE_TOO_LARGE"), "{detail}");
    assert_eq!(outcomes[1..], vec![Outcome::Delivered; 3]);
    let keys: Vec<_> = kafka.messages("contacts");
    let keys: Vec<_> = keys.iter().map(|message| message.key.as_str()).collect();
    assert_eq!(keys, ["2", "3", "4"]);
}
