//! Projects made of text, and connectors to check them against.

use std::collections::BTreeMap;

use rowcast_config::{LoadOptions, Loaded, Secrets, load};
use rowcast_core::{Descriptor, Operation, Setting, SettingKind};

pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) secrets: Secrets,
    pub(crate) env: Option<String>,
}

/// A complete project; tests replace or add files.
pub(crate) const GOOD: [(&str, &str); 5] = [
    ("rowcast.yml", "project: shop\nversion: 1\n"),
    (
        "sources/shop.yml",
        "source: shop\nhost: db.internal\ndatabase: shop\nuser: rowcast\n",
    ),
    (
        "models/customers.yml",
        "model: customers\nsource: shop\ntable: public.customers\nprimary_key: [id]\n",
    ),
    (
        "destinations/hook.yml",
        "destination: hook\nconnector: http\nsettings:\n  url: https://hooks.example.com\n",
    ),
    (
        "syncs/customers.yml",
        "sync: customers\nmodel: customers\ndestination: hook\nfields: { email: email }\n",
    ),
];

impl Fixture {
    pub(crate) fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            environment: BTreeMap::new(),
            secrets: Secrets::Required,
            env: None,
        }
    }

    pub(crate) fn good() -> Self {
        let fixture = Self::empty();
        for (path, text) in GOOD {
            fixture.write(path, text);
        }
        fixture
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn append(&self, path: &str, text: &str) -> &Self {
        let before = std::fs::read_to_string(self.dir.path().join(path)).unwrap();
        self.write(path, before + text)
    }

    pub(crate) fn load(&self) -> Loaded {
        load(&LoadOptions {
            dir: self.dir.path(),
            env: self.env.as_deref(),
            secrets: self.secrets,
            changes: &[],
            lookup: &|name| self.environment.get(name).cloned(),
            descriptors: &descriptors(),
        })
    }

    /// Loads without problems, or shows them.
    pub(crate) fn project(&self) -> rowcast_config::Project {
        let loaded = self.load();
        assert!(loaded.problems.is_empty(), "{}", rendered(&loaded));
        loaded.project
    }
}

pub(crate) fn rendered(loaded: &Loaded) -> String {
    let problems: Vec<String> = loaded
        .problems
        .iter()
        .map(|problem| problem.render(false))
        .collect();
    problems.join("\n")
}

/// `http` as product.md shows it, a database and a file.
pub(crate) fn descriptors() -> Vec<Descriptor> {
    use SettingKind::{Choice, Either, Group, Integer, Map, OneOf, Secret, Text, TextList, Tree};
    let operation = |name| {
        Setting::optional(
            name,
            Group(vec![
                Setting::optional("put", Text, "Path of a PUT"),
                Setting::optional("post", Text, "Path of a POST"),
                Setting::optional("delete", Text, "Path of a DELETE"),
                Setting::optional("accept", Tree, "Statuses that count as success"),
            ]),
            "The request of this operation",
        )
    };
    vec![
        Descriptor {
            name: "http",
            title: "HTTP",
            summary: "Sends records to an HTTP API.",
            settings: vec![
                Setting::optional("url", Text, "Where every operation is posted"),
                Setting::optional("base_url", Text, "Where the paths of `request:` start"),
                Setting::optional(
                    "auth",
                    OneOf(vec![
                        Setting::optional("none", Group(vec![]), "No credentials"),
                        Setting::optional("bearer", Secret, "A bearer token"),
                        Setting::optional(
                            "basic",
                            Group(vec![
                                Setting::required("user", Text, "User"),
                                Setting::required("password", Secret, "Password"),
                            ]),
                            "User and password",
                        ),
                    ]),
                    "Credentials",
                ),
                Setting::optional(
                    "body",
                    Either(vec![Choice(&["record", "fields"]), Tree]),
                    "What is sent",
                ),
                Setting::optional(
                    "format",
                    Either(vec![
                        Choice(&["array", "ndjson"]),
                        Group(vec![Setting::required(
                            "wrap",
                            Text,
                            "Member that holds the records",
                        )]),
                    ]),
                    "How records of a batch are put together",
                ),
                Setting::optional("headers", Map(Box::new(Text)), "More headers"),
                Setting::optional("retries", Integer, "A number"),
                Setting::optional(
                    "outcomes",
                    Group(vec![
                        Setting::required("at", Text, "Path of the results"),
                        Setting::optional(
                            "pair_by",
                            Choice(&["index", "key"]),
                            "How results are paired",
                        ),
                        Setting::optional(
                            "rejected_when",
                            Group(vec![
                                Setting::required("path", Text, "Member to look at"),
                                Setting::optional("in", TextList, "Values that mean rejected"),
                            ]),
                            "Which results are rejections",
                        ),
                        Setting::optional("message", Text, "Path of the message"),
                    ]),
                    "Results by record",
                ),
            ],
            request: vec![
                operation("upsert"),
                operation("insert"),
                operation("update"),
                operation("delete"),
            ],
            operations: Operation::ALL.to_vec(),
            object_required: false,
            object_help: "",
            objects: Vec::new(),
            logs_changes: false,
        },
        Descriptor {
            name: "postgres",
            title: "PostgreSQL",
            summary: "Writes to a table.",
            settings: vec![
                Setting::required("url", Secret, "Connection string").example("${env:CRM_URL}"),
            ],
            request: vec![],
            operations: Operation::ALL.to_vec(),
            object_required: true,
            object_help: "the table, such as `public.contacts`",
            objects: Vec::new(),
            logs_changes: false,
        },
        Descriptor {
            name: "file",
            title: "File",
            summary: "Writes a file.",
            settings: vec![Setting::required("path", Text, "The file")],
            request: vec![],
            operations: vec![Operation::Upsert, Operation::Insert],
            object_required: false,
            object_help: "",
            objects: Vec::new(),
            logs_changes: true,
        },
        Descriptor {
            name: "log",
            title: "Log",
            summary: "Writes changes down.",
            settings: vec![],
            request: vec![],
            operations: Operation::ALL.to_vec(),
            object_required: false,
            object_help: "",
            objects: Vec::new(),
            logs_changes: true,
        },
    ]
}
