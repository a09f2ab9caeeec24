//! What the `mqtt` connector says of itself.

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::{Descriptor, Operation};

use crate::broker::body_setting;
use crate::connect;

/// Everything there is to know about the connector before it is configured.
pub fn descriptor() -> Descriptor {
    let mut settings = connect::settings(
        "8883, without TLS 1883",
        "User to log in as; without it the server must take strangers.",
    );
    settings.extend([
        Setting::optional(
            "topic",
            SettingKind::Text,
            "Where a message goes. `{{ object }}` and `{{ key }}` are filled in; in a key the characters `/`, `+`, `#` and `%` are written as in URLs.",
        )
        .default("\"{{ object }}\"")
        .example("\"{{ object }}/{{ key }}\""),
        Setting::optional(
            "retain",
            SettingKind::Boolean,
            "Whether the server keeps the last message of each topic for those who come later. With `{{ key }}` in the topic it then holds one message a row; with `body: fields` a delete takes it away.",
        )
        .default("false"),
        body_setting(),
    ]);
    Descriptor {
        name: "mqtt",
        title: "MQTT",
        summary: "Publishes every change to a topic of an MQTT 5 server with quality of service 1: \
                  a record is delivered when the server has acknowledged its message. Key, \
                  operation, idempotency key, sync and run are user properties of the message.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: true,
        object_help: "the topic, or a part of it",
        objects: Vec::new(),
        logs_changes: true,
    }
}
