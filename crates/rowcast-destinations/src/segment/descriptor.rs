//! What the `segment` connector says of itself.

use rowcast_core::Descriptor;
use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::Operation;

/// The one description of settings, object and operations.
pub fn descriptor() -> Descriptor {
    Descriptor {
        name: "segment",
        title: "Segment",
        summary: "Sends identify, group, track, page, screen and alias calls to Segment's tracking \
                  API. Each call has a `messageId` that stays the same when it is sent again, so \
                  that Segment drops the repetition.",
        settings: vec![
            Setting::required(
                "write_key",
                SettingKind::Secret,
                "The write key of the source in Segment that receives the calls.",
            )
            .example("${env:SEGMENT_WRITE_KEY}"),
            Setting::optional(
                "region",
                SettingKind::Choice(&["oregon", "dublin"]),
                "Where the workspace is: `oregon` sends to api.segment.io, `dublin` to events.eu1.segmentapis.com.",
            )
            .default("oregon"),
            Setting::optional(
                "profiles",
                SettingKind::Boolean,
                "The key belongs to a Profiles space: calls update profiles and go to no destination of the space (`integrations: { All: false }`). Identify, group and track only.",
            )
            .default("false"),
            Setting::optional(
                "integrations",
                SettingKind::Map(Box::new(SettingKind::Boolean)),
                "To which of the source's destinations Segment passes calls on; `All` is every other one. A call's own `integrations` come before these.",
            )
            .example("{ All: true, Mixpanel: false }"),
            Setting::optional(
                "endpoint",
                SettingKind::Text,
                "Base address in place of the region's, for a proxy of your own: `/batch` and the others are appended.",
            ),
            Setting::optional(
                "cdn_endpoint",
                SettingKind::Text,
                "Where write keys are looked up, in place of https://cdn.segment.com. With `endpoint` alone they are not looked up.",
            ),
        ],
        request: Vec::new(),
        operations: vec![Operation::Insert, Operation::Update, Operation::Upsert],
        object_required: false,
        object_help: "the type of call for syncs with `fields:`: identify, track, page, screen, group or alias",
        objects: Vec::new(),
        logs_changes: true,
    }
}
