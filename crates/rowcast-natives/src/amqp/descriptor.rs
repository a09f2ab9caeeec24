//! What the `amqp` connector says of itself.

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::{Descriptor, Operation};

use crate::broker::body_setting;
use crate::connect;

/// Everything there is to know about the connector before it is configured.
pub fn descriptor() -> Descriptor {
    let mut settings = connect::settings("5671, without TLS 5672", "User to log in as.");
    settings.extend([
        Setting::optional("vhost", SettingKind::Text, "Virtual host.").default("/"),
        Setting::optional(
            "to",
            SettingKind::Choice(&["exchange", "queue"]),
            "What `object` names. A queue is reached through the default exchange.",
        )
        .default("exchange"),
        Setting::optional(
            "routing_key",
            SettingKind::Text,
            "Routing key of messages to an exchange; `{{ key }}` is the primary key.",
        )
        .default("\"{{ key }}\"")
        .example("\"customers.{{ key }}\""),
        body_setting(),
    ]);
    Descriptor {
        name: "amqp",
        title: "RabbitMQ (AMQP)",
        summary: "Publishes every change to an exchange or a queue of RabbitMQ (AMQP 0-9-1), as a \
                  persistent message with key, operation and idempotency key as properties. A message \
                  that no queue takes is rejected.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: true,
        object_help: "the exchange, or with `to: queue` the queue",
        objects: Vec::new(),
        logs_changes: true,
    }
}
