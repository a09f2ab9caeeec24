//! What the `custom` connector says of itself.

use rowcast_core::Descriptor;
use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::Operation;

use crate::http::descriptor::auth;

/// The one description of settings and operations.
pub fn descriptor() -> Descriptor {
    Descriptor {
        name: "custom",
        title: "Custom",
        summary: "A connector of your own, in any language: a service or a program that answers the \
                  six methods of the custom connector protocol (JSON-RPC 2.0, the methods and shapes \
                  of Census's custom destinations). It says itself what its objects, fields, operations \
                  and limits are.",
        settings: vec![
            Setting::optional(
                "url",
                SettingKind::Text,
                "The address that every call is sent to by POST. Exactly one of `url` and `command` is given.",
            )
            .example("https://connectors.example.com/crm"),
            Setting::optional(
                "command",
                SettingKind::List(Box::new(SettingKind::Text)),
                "The program that is started and its arguments; it reads one call a line and writes one answer a line. A path with a folder begins at the project's. Never a secret.",
            ),
            Setting::optional(
                "environment",
                SettingKind::Map(Box::new(SettingKind::Secret)),
                "Variables for the program, the place for its secrets. Besides these it sees PATH, HOME and the like, and no other variable of Rowcast.",
            ),
            Setting::optional(
                "log_errors",
                SettingKind::Boolean,
                "Whether lines that the program writes on standard error are logged (at level debug) also after it has been sent rows. It must not write their values then.",
            )
            .default("false"),
            Setting::optional(
                "auth",
                SettingKind::Either(vec![SettingKind::Choice(&["none"]), auth()]),
                "How calls to `url` prove who sends them.",
            )
            .default("none")
            .example("{ bearer: \"${env:CONNECTOR_TOKEN}\" }"),
            Setting::optional(
                "headers",
                SettingKind::Map(Box::new(SettingKind::Secret)),
                "More headers of every call to `url`.",
            ),
        ],
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: true,
        object_help: "one of those that the connector lists",
        objects: Vec::new(),
        logs_changes: false,
    }
}
