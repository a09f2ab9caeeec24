//! What the `kafka` connector says of itself.

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::{Descriptor, Operation};

use crate::broker::body_setting;
use crate::connect;

/// Everything there is to know about the connector before it is configured.
pub fn descriptor() -> Descriptor {
    let mut settings = vec![
        Setting::required(
            "brokers",
            SettingKind::Text,
            "Brokers to begin with, as `host:port`, separated by commas; one that answers is enough, and it names the others. Without a port it is 9093, without TLS 9092.",
        )
        .example("\"kafka-1.internal:9093, kafka-2.internal:9093\""),
    ];
    settings.extend(connect::access(
        "User to log in as (SASL); without it the brokers must take strangers.",
    ));
    settings.extend([
        Setting::optional(
            "mechanism",
            SettingKind::Choice(&["plain", "scram-sha-256", "scram-sha-512"]),
            "How the user logs in.",
        )
        .default("plain"),
        Setting::optional(
            "compression",
            SettingKind::Choice(&["none", "gzip", "lz4"]),
            "How messages are compressed, a batch at a time.",
        )
        .default("none"),
        Setting::optional(
            "tombstones",
            SettingKind::Boolean,
            "Whether a delete is a message without a value, by which a compacted topic forgets the key. By default so with `body: fields` and not with `body: record`.",
        ),
        body_setting(),
    ]);
    Descriptor {
        name: "kafka",
        title: "Kafka",
        summary: "Publishes every change to a topic of Kafka 1.0 or later and of servers that speak \
                  its protocol. The primary key is the message's key, so that all changes of a row \
                  are in one partition; operation, idempotency key, sync and run are its headers. A \
                  record is delivered when all in-sync replicas have its message.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: true,
        object_help: "the topic",
        objects: Vec::new(),
        logs_changes: true,
    }
}
