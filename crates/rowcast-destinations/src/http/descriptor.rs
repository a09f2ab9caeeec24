//! What the `http` connector says of itself.

use rowcast_core::Descriptor;
use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::Operation;

/// The method keys of a request, one of which it must have.
pub(super) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The one description of settings, sync keys and operations.
pub fn descriptor() -> Descriptor {
    Descriptor {
        name: "http",
        title: "HTTP",
        summary: "Sends records to any HTTP service: one record a request or many, as JSON, JSON \
                  lines or a form, to one URL or to a URL for each operation.",
        settings: settings(),
        request: Operation::ALL.iter().map(|o| request(*o)).collect(),
        operations: Operation::ALL.to_vec(),
        object_required: false,
        object_help: "a name for messages; the service does not see it",
        objects: Vec::new(),
        logs_changes: false,
    }
}

fn settings() -> Vec<Setting> {
    vec![
        Setting::optional(
            "url",
            SettingKind::Text,
            "Every operation is sent here by POST. Exactly one of `url` and `base_url` is given.",
        )
        .example("https://hooks.example.com/customers"),
        Setting::optional(
            "base_url",
            SettingKind::Text,
            "The service's root; the sync's `request:` says the method and the path for each operation.",
        ),
        Setting::optional(
            "headers",
            SettingKind::Map(Box::new(SettingKind::Secret)),
            "Headers of every request. Values may hold templates or secrets.",
        )
        .example("{ X-Tenant: \"42\" }"),
        Setting::optional(
            "auth",
            SettingKind::Either(vec![SettingKind::Choice(&["none"]), auth()]),
            "How requests prove who sends them.",
        )
        .default("none")
        .example("{ bearer: \"${env:HOOK_TOKEN}\" }"),
        Setting::optional("body", body(), "What each record becomes: `record` (operation, key, match, fields, idempotency key, sync, run), `fields` (the mapped fields alone), `none`, or a tree with templates such as `{{ record.fields.email }}`.")
            .default("record"),
        Setting::optional(
            "format",
            SettingKind::Either(vec![
                SettingKind::Choice(&["array", "ndjson", "form"]),
                SettingKind::OneOf(vec![Setting::optional(
                    "wrap",
                    SettingKind::Text,
                    "The records are a list under this name: `{\"records\": […]}`.",
                )]),
            ]),
            "How records share a request: a JSON array, JSON lines, a list under a name, or (one record a request) a URL-encoded form. Without `batch:` and without `format:` a request is the record itself.",
        )
        .default("array")
        .example("{ wrap: records }"),
        Setting::optional("outcomes", outcomes(), "How the answer says what became of each record. Without it the status speaks for all of them.")
            .example("{ at: results, pair_by: index, rejected_when: { path: status, in: [error] }, message: error }"),
    ]
}

/// The ways to prove who sends a request.
pub(crate) fn auth() -> SettingKind {
    let named = |value_help| {
        SettingKind::Group(vec![
            Setting::required("name", SettingKind::Text, "Its name."),
            Setting::required("value", SettingKind::Secret, value_help),
        ])
    };
    SettingKind::OneOf(vec![
        Setting::optional(
            "basic",
            SettingKind::Group(vec![
                Setting::required(
                    "user",
                    SettingKind::Secret,
                    "The user; it can't hold a colon.",
                ),
                Setting::required(
                    "password",
                    SettingKind::Secret,
                    "The password; it may be empty.",
                ),
            ]),
            "`Authorization: Basic …`.",
        ),
        Setting::optional("bearer", SettingKind::Secret, "`Authorization: Bearer …`."),
        Setting::optional(
            "header",
            named("The header's value."),
            "A header of this name.",
        ),
        Setting::optional(
            "query",
            named("The parameter's value."),
            "A query parameter of this name.",
        ),
        Setting::optional(
            "hmac",
            SettingKind::Secret,
            "Signs the exact bytes with HMAC-SHA256 as Standard Webhooks says: headers `webhook-id`, `webhook-timestamp`, `webhook-signature`. The secret is `whsec_` and base64, or any text.",
        ),
        Setting::optional(
            "oauth2",
            SettingKind::Tree,
            "Not available yet; it is refused with a message.",
        ),
    ])
}

fn body() -> SettingKind {
    SettingKind::Either(vec![
        SettingKind::Choice(&["record", "fields", "none"]),
        SettingKind::Tree,
    ])
}

fn outcomes() -> SettingKind {
    SettingKind::Group(vec![
        Setting::optional(
            "at",
            SettingKind::Text,
            "Where the list of results is: names joined by dots. Empty is the whole answer.",
        ),
        Setting::optional(
            "pair_by",
            SettingKind::Either(vec![
                SettingKind::Choice(&["index"]),
                SettingKind::Group(vec![
                    Setting::required(
                        "field",
                        SettingKind::Text,
                        "The member of a result that names its record.",
                    ),
                    Setting::optional(
                        "record",
                        SettingKind::Text,
                        "What it is compared with: `key.id`, `match.email`, `fields.sku` or `idempotency_key`. By default the key, match value or field of the same name.",
                    ),
                ]),
            ]),
            "How results find their records: by position or by a value. A record without a result is *unknown*, not delivered.",
        )
        .default("index"),
        Setting::required(
            "rejected_when",
            SettingKind::Group(vec![
                Setting::required("path", SettingKind::Text, "The member of a result that tells."),
                Setting::optional("in", SettingKind::TextList, "Rejected when its value is one of these."),
                Setting::optional("not_in", SettingKind::TextList, "Rejected when its value is none of these."),
            ]),
            "Which results are rejections: `path` and exactly one of `in` and `not_in`.",
        ),
        Setting::optional("message", SettingKind::Text, "The member of a result that says why."),
    ])
}

fn request(operation: Operation) -> Setting {
    let mut members: Vec<Setting> = METHODS
        .iter()
        .map(|method| {
            Setting::optional(
                method,
                SettingKind::Text,
                "The path, beginning with `/`; templates are percent-encoded. Exactly one method is given.",
            )
        })
        .collect();
    members.push(Setting::optional(
        "body",
        body(),
        "In place of the destination's `body`. `get` and `delete` have none by default.",
    ));
    members.push(Setting::optional(
        "headers",
        SettingKind::Map(Box::new(SettingKind::Secret)),
        "Added to the destination's headers.",
    ));
    members.push(Setting::optional(
        "accept",
        SettingKind::TextList,
        "Statuses that count as delivered besides 2xx.",
    ));
    let setting = Setting::optional(
        operation.as_str(),
        SettingKind::Group(members),
        "The request of this operation, for destinations with a `base_url`.",
    );
    match operation {
        Operation::Upsert => setting.example("{ put: \"/customers/{{ record.key.id }}\" }"),
        Operation::Delete => {
            setting.example("{ delete: \"/customers/{{ record.key.id }}\", accept: [404] }")
        }
        Operation::Insert | Operation::Update => setting,
    }
}
