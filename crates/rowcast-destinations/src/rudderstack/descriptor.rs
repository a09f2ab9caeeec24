//! What the `rudderstack` connector says of itself.

use rowcast_core::Descriptor;
use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::Operation;

/// The one description of settings, object and operations.
pub fn descriptor() -> Descriptor {
    Descriptor {
        name: "rudderstack",
        title: "RudderStack",
        summary: "Sends events to a RudderStack data plane as its own reverse ETL does: identify and \
                  track calls, identify calls that are mapped for one destination, or `record` events \
                  with insert, update and delete.",
        settings: vec![
            Setting::required(
                "data_plane_url",
                SettingKind::Text,
                "The data plane, without a path.",
            )
            .example("https://plane.example.com"),
            Setting::required(
                "write_key",
                SettingKind::Secret,
                "The write key of the source in RudderStack that receives the events.",
            )
            .example("${env:RUDDERSTACK_WRITE_KEY}"),
            Setting::optional(
                "mapper",
                SettingKind::Either(vec![
                    SettingKind::Choice(&["json", "record"]),
                    SettingKind::OneOf(vec![Setting::optional(
                        "visual",
                        SettingKind::Text,
                        "The name of RudderStack's definition of the destination, such as `HS` or `BRAZE`: fields are in that destination's own names, `object` is its object, and `match_on` names the one field that identifies a record there.",
                    )]),
                ]),
                "What a record becomes. `json`: a call; `object` or `event` says which. `record`: an event of type record with `match_on` as its identifiers, the only one that deletes.",
            )
            .default("json")
            .example("{ visual: HS }"),
            Setting::optional(
                "gzip",
                SettingKind::Boolean,
                "Whether requests are compressed.",
            )
            .default("true"),
        ],
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: false,
        object_help: "with `mapper: json` the type of call (identify, track, …); with `visual` the destination's object",
        objects: Vec::new(),
        logs_changes: false,
    }
}
