//! What the `nats` connector says of itself.

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::{Descriptor, Operation};

use crate::broker::body_setting;
use crate::connect;

/// Everything there is to know about the connector before it is configured.
pub fn descriptor() -> Descriptor {
    let mut settings = connect::settings("4222", "User to log in as.");
    settings.extend([
        Setting::optional("token", SettingKind::Secret, "A token in place of user and password."),
        Setting::optional(
            "credentials",
            SettingKind::Secret,
            "The text of a `.creds` file (a JWT and its key), in place of user and password.",
        )
        .example("${file:rowcast.creds}"),
        Setting::optional(
            "stream",
            SettingKind::Text,
            "The stream that must take the messages; another one is refused. Without it the stream that listens to the subject takes them.",
        ),
        body_setting(),
    ]);
    Descriptor {
        name: "nats",
        title: "NATS JetStream",
        summary: "Publishes every change to a JetStream stream, under a subject that ends with the \
                  primary key. The idempotency key is the message's id, by which the stream drops \
                  repetitions.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: true,
        object_help: "the subject before the key: `customers` for `customers.17`",
        objects: Vec::new(),
        logs_changes: true,
    }
}
