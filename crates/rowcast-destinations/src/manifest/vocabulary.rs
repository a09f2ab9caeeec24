//! The words of a manifest and of a fixture, described once: the strict reader, the editors' JSON
//! Schema and the reference page come from here.
//!
//! The vocabulary is closed: no loops, no conditions beyond `omit_empty` and a choice by operation.
//! A word is added by a decision on record, never for one connector alone.

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::Operation;

/// The method keys of a call.
pub(super) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The keys of a manifest.
pub fn manifest_vocabulary() -> Vec<Setting> {
    use SettingKind::{Choice, List, Map, Text, TextList};
    vec![
        Setting::required("connector", Text, "Its name: the file's, or the folder's for those built in"),
        Setting::required("title", Text, "What people call the service"),
        Setting::required("summary", Text, "One sentence: what arrives where"),
        Setting::optional("category", Text, "What kind of service it is").example("crm"),
        Setting::required("docs", Text, "The service's own documentation of the interface"),
        Setting::required(
            "status",
            Choice(&["tried", "fixtures"]),
            "`tried` against the real service, or `fixtures` only",
        ),
        Setting::required(
            "hosts",
            TextList,
            "The only hosts that requests may go to; `*.example.com` stands for every name below it",
        )
        .example("[api.example.com]"),
        Setting::optional(
            "settings",
            Map(Box::new(SettingKind::Group(setting_members()))),
            "What a destination of this connector is asked for",
        ),
        Setting::required("connect", SettingKind::Group(connect()), "How the service is reached"),
        Setting::required(
            "objects",
            Map(Box::new(SettingKind::Group(object()))),
            "What can be written; `*` stands for every name without a description of its own",
        ),
        Setting::optional(
            "answers",
            List(Box::new(SettingKind::Group(rule()))),
            "What answers mean where the usual table does not know it",
        ),
    ]
}

fn setting_members() -> Vec<Setting> {
    use SettingKind::{Boolean, Choice, Map, Text, TextList};
    vec![
        Setting::required(
            "type",
            Choice(&["text", "secret", "choice", "integer", "boolean"]),
            "Its form; every credential is `secret`",
        ),
        Setting::required(
            "help",
            Text,
            "One sentence, with the place where people find the value",
        ),
        Setting::optional("required", Boolean, "Whether it must be given").default("false"),
        Setting::optional("default", Text, "Its value when it is not given"),
        Setting::optional("example", Text, "As YAML text"),
        Setting::optional(
            "choices",
            SettingKind::Either(vec![TextList, Map(Box::new(Text))]),
            "The words of a `choice`, or words with what each stands for",
        ),
        Setting::optional(
            "place",
            Boolean,
            "Whether it says which account or list this is, so that state belongs to it",
        )
        .default("false"),
    ]
}

fn connect() -> Vec<Setting> {
    use SettingKind::{Choice, Duration, Group, Integer, Map, OneOf, Text};
    let named = || {
        Group(vec![
            Setting::required("name", Text, "Its name"),
            Setting::required("value", Text, "Its value, a template"),
        ])
    };
    vec![
        Setting::required(
            "base_url",
            Text,
            "The root of all paths; may name `settings`",
        ),
        Setting::optional(
            "auth",
            OneOf(vec![
                Setting::optional(
                    "basic",
                    Group(vec![
                        Setting::required("user", Text, "A template"),
                        Setting::required("password", Text, "A template; may be empty"),
                    ]),
                    "`Authorization: Basic …`",
                ),
                Setting::optional("bearer", Text, "`Authorization: Bearer …`"),
                Setting::optional("header", named(), "A header of this name"),
                Setting::optional("query", named(), "A query parameter of this name"),
            ]),
            "How requests prove who sends them",
        ),
        Setting::optional("headers", Map(Box::new(Text)), "Headers of every request"),
        Setting::optional(
            "check",
            Group(vec![
                Setting::required(
                    "get",
                    Text,
                    "A path that only someone with the credentials may read",
                ),
                Setting::optional("expect", Integer, "Its status").default("200"),
            ]),
            "A request that changes nothing, for `rowcast check`",
        ),
        Setting::optional("rate", Group(rate()), "What the service allows one account"),
        Setting::optional(
            "quota",
            Group(rate()),
            "What it allows over a longer time, such as a day",
        ),
        Setting::optional("concurrency", Integer, "Requests in flight together").default("4"),
        Setting::optional("timeout", Duration, "How long an answer may take").default("30s"),
        Setting::optional(
            "idempotency_header",
            Text,
            "The header by which the service knows a repeated request",
        ),
        Setting::optional(
            "rate_headers",
            Group(vec![
                Setting::required(
                    "remaining",
                    Text,
                    "The header that says how many requests are left",
                ),
                Setting::required(
                    "reset",
                    Text,
                    "The header that says when there will be more",
                ),
                Setting::optional(
                    "reset_in",
                    Choice(&["seconds", "milliseconds", "epoch"]),
                    "What the second one holds: a wait, or seconds since 1970",
                )
                .default("seconds"),
            ]),
            "Headers that say what is left of the rate",
        ),
    ]
}

fn rate() -> Vec<Setting> {
    vec![
        Setting::required("requests", SettingKind::Integer, "How many"),
        Setting::required("per", SettingKind::Duration, "In which time"),
    ]
}

fn object() -> Vec<Setting> {
    use SettingKind::{Boolean, Group, Map, Text, TextList};
    let field = vec![
        Setting::optional("type", Text, "The service's word for its form").default("string"),
        Setting::required("help", Text, "One sentence"),
        Setting::optional("required", Boolean, "Whether inserts and upserts need it")
            .default("false"),
        Setting::optional("into", Text, "The member of `record.fields` it is put into"),
    ];
    vec![
        Setting::required("title", Text, "What people call one"),
        Setting::optional("help", Text, "What to know before writing it"),
        Setting::optional(
            "match_on",
            Group(vec![
                Setting::optional("choices", TextList, "Fields to match by; any without this"),
                Setting::optional(
                    "many",
                    Boolean,
                    "Whether several fields together are a match",
                )
                .default("false"),
            ]),
            "What finds a record at the service; without it the key is only for the order",
        ),
        Setting::required(
            "fields",
            Map(Box::new(Group(field))),
            "The fields; `*` stands for all that are not named",
        ),
        Setting::optional(
            "lookup",
            Group(lookup()),
            "A request that finds records before they are written",
        ),
        Setting::required(
            "operations",
            Group(
                Operation::ALL
                    .into_iter()
                    .map(|operation| {
                        Setting::optional(
                            operation.as_str(),
                            Group(operation_call()),
                            "The request of this operation",
                        )
                    })
                    .collect(),
            ),
            "What can be asked for",
        ),
    ]
}

fn lookup() -> Vec<Setting> {
    let mut members = request();
    members.extend([
        Setting::optional(
            "results",
            SettingKind::Text,
            "Where the found records are; `.` is the whole answer",
        ),
        Setting::optional(
            "pair_by",
            pair(),
            "How found records are told apart; `match_field` in a path stands for the field's name; without it the first is meant",
        ),
        Setting::optional("accept", statuses(), "Statuses that say there is none"),
    ]);
    members
}

/// A call that may come in two forms, for records that exist and for those that don't.
fn operation_call() -> Vec<Setting> {
    let mut members = call();
    members.extend([
        Setting::optional(
            "look_up",
            SettingKind::Boolean,
            "Whether the object's `lookup` is made first; `record.found` is what it found",
        )
        .default("false"),
        Setting::optional(
            "found",
            SettingKind::Group(call()),
            "The request for a record that the lookup found",
        ),
        Setting::optional(
            "missing",
            SettingKind::Group(call()),
            "The request for a record that it did not find",
        ),
    ]);
    members
}

fn call() -> Vec<Setting> {
    let mut members = request();
    members.extend([
        Setting::optional(
            "batch",
            SettingKind::Group(vec![
                Setting::required(
                    "max_records",
                    SettingKind::Integer,
                    "Most records in one request",
                ),
                Setting::optional("max_bytes", SettingKind::Size, "Most bytes of one request"),
            ]),
            "Many records in one request; the body says where with `each_record`",
        ),
        Setting::optional(
            "accept",
            statuses(),
            "Statuses that count as delivered besides 2xx",
        ),
        Setting::optional(
            "outcomes",
            outcomes(),
            "How the answer tells what became of each record",
        ),
        Setting::optional(
            "answers",
            SettingKind::List(Box::new(SettingKind::Group(rule()))),
            "What answers to this request mean, before those of the connector",
        ),
    ]);
    members
}

fn request() -> Vec<Setting> {
    use SettingKind::{Map, Text, Tree};
    let mut members: Vec<Setting> = METHODS
        .iter()
        .map(|method| {
            Setting::optional(
                method,
                Text,
                "The path, beginning with `/`; what templates put in is percent-encoded. Exactly one method is given",
            )
        })
        .collect();
    members.extend([
        Setting::optional("query", Map(Box::new(Text)), "Query parameters, templates"),
        Setting::optional(
            "headers",
            Map(Box::new(Text)),
            "Headers besides those of `connect`",
        ),
        Setting::optional(
            "body",
            Tree,
            "A tree sent as JSON; `each_record`, `merge` and `omit_empty` have a meaning in it",
        ),
        Setting::optional(
            "form",
            Tree,
            "A mapping sent as a URL-encoded form, in place of `body`",
        ),
    ]);
    members
}

fn statuses() -> SettingKind {
    SettingKind::List(Box::new(SettingKind::Integer))
}

fn pair() -> SettingKind {
    SettingKind::Either(vec![SettingKind::Choice(&["index"]), pair_group()])
}

fn pair_group() -> SettingKind {
    SettingKind::Group(vec![
        Setting::optional(
            "index",
            SettingKind::Text,
            "The member that holds the position in the request",
        ),
        Setting::optional(
            "field",
            SettingKind::Text,
            "The member that names the record; `.` is the item itself",
        ),
        Setting::optional(
            "record",
            SettingKind::Text,
            "What it is compared with: `match_value`, `match.email`, `fields.sku`, `idempotency_key`",
        ),
    ])
}

fn outcomes() -> SettingKind {
    use SettingKind::{Group, List, Text, TextList};
    Group(vec![
        Setting::optional(
            "at",
            Text,
            "Where the list of results is; `.` is the whole answer",
        ),
        Setting::optional("pair_by", pair(), "How results find their records").default("index"),
        Setting::optional(
            "rejected_when",
            Group(vec![
                Setting::required("path", Text, "The member of a result that tells"),
                Setting::optional("in", TextList, "Rejected when its value is one of these"),
                Setting::optional(
                    "not_in",
                    TextList,
                    "Rejected when its value is none of these",
                ),
            ]),
            "Which results are rejections",
        ),
        Setting::optional("message", Text, "The member of a result that says why"),
        Setting::optional(
            "failures",
            List(Box::new(Group(vec![
                Setting::required("at", Text, "Where the list is"),
                Setting::optional(
                    "pair_by",
                    SettingKind::Either(vec![pair_group(), List(Box::new(pair_group()))]),
                    "How a failure names its record; of several ways the first that names one",
                ),
                Setting::optional("message", Text, "The member that says why"),
            ]))),
            "Lists of what failed, where the service names nothing else",
        ),
        Setting::optional(
            "told_at",
            statuses(),
            "Statuses besides 2xx whose body tells outcomes",
        ),
    ])
}

fn rule() -> Vec<Setting> {
    use SettingKind::{Choice, Duration, Group, Text, TextList};
    vec![
        Setting::optional("status", statuses(), "The statuses meant; any without this"),
        Setting::optional("contains", Text, "Text in the body"),
        Setting::optional(
            "when",
            Group(vec![
                Setting::required("path", Text, "A member of the body"),
                Setting::required("in", TextList, "The values meant"),
            ]),
            "What a member of the body says",
        ),
        Setting::required(
            "then",
            Choice(&[
                "delivered",
                "rejected",
                "not_found",
                "already_exists",
                "transient",
                "fatal",
            ]),
            "What it means",
        ),
        Setting::optional(
            "after",
            Duration,
            "How long to wait, if the answer does not say",
        ),
        Setting::optional("message", Text, "The member of the body that says why"),
    ]
}

/// The keys of a fixture: records, what must be asked for them, and what must come of it.
pub fn fixture_vocabulary() -> Vec<Setting> {
    use SettingKind::{
        Choice, Duration, Either, Group, Integer, List, Map, OneOf, Text, TextList, Tree,
    };
    let mut record: Vec<Setting> = Operation::ALL
        .into_iter()
        .map(|operation| {
            Setting::optional(
                operation.as_str(),
                Tree,
                "The mapped fields; of a delete, the match",
            )
        })
        .collect();
    record.push(Setting::optional(
        "match",
        Tree,
        "The match fields with their values",
    ));
    let mut request: Vec<Setting> = METHODS
        .iter()
        .map(|method| Setting::optional(method, Text, "The whole URL"))
        .collect();
    request.extend([
        Setting::optional("headers", Map(Box::new(Text)), "Headers that must be there"),
        Setting::optional("json", Tree, "The body"),
        Setting::optional("form", Map(Box::new(Text)), "The body of a form"),
    ]);
    let answer = vec![
        Setting::required("status", Integer, "The status"),
        Setting::optional("headers", Map(Box::new(Text)), "Headers"),
        Setting::optional("json", Tree, "The body"),
        Setting::optional("text", Text, "The body, if it is not JSON"),
    ];
    let words = |name, help| Setting::optional(name, Text, help);
    vec![
        Setting::required("why", Text, "What it shows"),
        Setting::optional("settings", Tree, "The destination's settings"),
        Setting::optional(
            "object",
            Text,
            "The object; may be left out when there is one",
        ),
        Setting::required(
            "records",
            List(Box::new(Group(record))),
            "One operation each, all the same",
        ),
        Setting::required(
            "exchange",
            List(Box::new(Group(vec![
                Setting::optional(
                    "request",
                    Group(request),
                    "What must be asked; what is not named is not compared",
                ),
                Setting::required("answer", Group(answer), "What the service says"),
            ]))),
            "Requests in their order, each with its answer",
        ),
        Setting::optional(
            "outcomes",
            List(Box::new(Either(vec![
                Choice(&["delivered", "unknown", "not_found", "already_exists"]),
                OneOf(vec![
                    words("rejected", "Words of the reason"),
                    words("unknown", "Words of the reason"),
                ]),
            ]))),
            "What must become of each record",
        ),
        Setting::optional(
            "fault",
            Choice(&["transient", "split", "fatal"]),
            "What must become of all, in place of outcomes",
        ),
        Setting::optional("after", Duration, "How long the service asks to wait"),
        Setting::optional("hints", TextList, "For people who read the fixture"),
    ]
}
