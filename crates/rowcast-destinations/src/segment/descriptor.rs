//! What the `segment` connector says of itself.

use rowcast_core::Descriptor;
use rowcast_core::descriptor::{FieldDescription, ObjectDescription, Setting, SettingKind};
use rowcast_core::mapping::EventType;
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
        operations: Operation::ALL.to_vec(),
        object_required: false,
        object_help: "the type of call for syncs with `fields:`: identify, track, page, screen, group or alias",
        objects: EventType::ALL.into_iter().map(object).collect(),
        logs_changes: true,
    }
}

/// A type of call as the object of a sync with `fields:`.
fn object(kind: EventType) -> ObjectDescription {
    let field = |name, required, help| FieldDescription {
        name,
        type_name: "text",
        required,
        help,
    };
    let mut fields = vec![
        field(
            "user_id",
            false,
            "The user; this or `anonymous_id` is needed, here or in `match_on`.",
        ),
        field("anonymous_id", false, "A user who is not known yet."),
    ];
    let (title, help) = match kind {
        EventType::Identify => ("Identify", "Who a user is; fields are traits."),
        EventType::Track => {
            fields.push(field("event", true, "The event's name."));
            ("Track", "What a user did; fields are properties.")
        }
        EventType::Page => {
            fields.push(field("name", false, "The page's name."));
            fields.push(field("category", false, "The page's category."));
            ("Page", "A page that a user saw; fields are properties.")
        }
        EventType::Screen => {
            fields.push(field("name", false, "The screen's name."));
            fields.push(field("category", false, "The screen's category."));
            ("Screen", "A screen that a user saw; fields are properties.")
        }
        EventType::Group => {
            fields.push(field(
                "group_id",
                false,
                "The group; it is needed, here or in `match_on`.",
            ));
            ("Group", "Which group a user belongs to; fields are traits.")
        }
        EventType::Alias => {
            fields.push(field(
                "previous_id",
                false,
                "The earlier identifier; it is needed, here or in `match_on`.",
            ));
            ("Alias", "Two identifiers of one user.")
        }
    };
    ObjectDescription {
        name: kind.as_str(),
        title,
        help,
        operations: vec![Operation::Insert, Operation::Update, Operation::Upsert],
        match_on: Vec::new(),
        fields,
        any_field: true,
    }
}
