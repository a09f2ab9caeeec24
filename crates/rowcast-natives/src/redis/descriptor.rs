//! What the `redis` connector says of itself.

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::{Descriptor, Operation};

use crate::broker::body_setting;
use crate::connect;

/// Everything there is to know about the connector before it is configured.
pub fn descriptor() -> Descriptor {
    let mut settings = connect::settings("6379", "User of an ACL; without it the default user.");
    settings.extend([
        Setting::optional("database", SettingKind::Integer, "Number of the database.").default("0"),
        Setting::optional(
            "maxlen",
            SettingKind::Integer,
            "Entries the stream keeps: older ones are dropped as new ones come, whether anybody has read them or not. Without it nothing is dropped.",
        )
        .example("1000000"),
        Setting::optional(
            "maxlen_exact",
            SettingKind::Boolean,
            "Keeps exactly `maxlen` entries, which costs the server more than dropping them in blocks.",
        )
        .default("false"),
        body_setting(),
    ]);
    Descriptor {
        name: "redis",
        title: "Redis streams",
        summary: "Appends every change to a stream of Redis 5 or later (Valkey too), with key, \
                  operation and idempotency key as fields of the entry. A batch is one transaction: \
                  all of it is in the stream or nothing.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: true,
        object_help: "the stream's key",
        objects: Vec::new(),
        logs_changes: true,
    }
}
