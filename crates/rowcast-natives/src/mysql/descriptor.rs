//! What the `mysql` connector says of itself.

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::{Descriptor, Operation};

use crate::connect;

/// Everything there is to know about the connector before it is configured.
pub fn descriptor() -> Descriptor {
    let mut settings = connect::settings("3306", "User to log in as.");
    settings.extend([
        Setting::required(
            "database",
            SettingKind::Text,
            "Database of the table when `object` names none.",
        )
        .example("warehouse"),
        Setting::optional(
            "create",
            SettingKind::Boolean,
            "Makes the table, and columns that it lacks, from the first records.",
        )
        .default("false"),
        Setting::optional(
            "progress_database",
            SettingKind::Text,
            "Database of the two tables that remember what was delivered, on the same server; by default `database`.",
        ),
    ]);
    Descriptor {
        name: "mysql",
        title: "MySQL and MariaDB",
        summary: "Writes records into a table of MySQL 8 or MariaDB, exactly once: the data and the \
                  note of what was delivered are committed together. Upsert, mirror, update, insert \
                  and delete.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: true,
        object_help: "table, or database.table",
        objects: Vec::new(),
        logs_changes: false,
    }
}
