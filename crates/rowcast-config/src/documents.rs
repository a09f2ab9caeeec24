//! Every document of a project, described once.

use rowcast_core::Mode;

use crate::outside;
use crate::policies::{destination_policies, list, map, sync_policies, up_to};
use crate::shape::{Key, Kind, Shape};

/// A kind of document.
#[derive(Debug, Clone)]
pub struct Document {
    pub kind: Kind,
    /// `sources/*.yml`.
    pub files: &'static str,
    /// One paragraph.
    pub summary: &'static str,
    pub keys: Vec<Key>,
    /// A whole file.
    pub example: &'static str,
}

/// All documents, in the order of the documentation. Connector manifests describe themselves.
pub fn documents() -> Vec<Document> {
    vec![
        project(),
        source(),
        model(),
        destination(),
        sync(),
        environment(),
        test(),
    ]
}

/// The document of a kind, except connectors.
pub(crate) fn keys(kind: Kind) -> Vec<Key> {
    documents()
        .into_iter()
        .find(|document| document.kind == kind)
        .map(|document| document.keys)
        .unwrap_or_default()
}

/// Keys that every object takes.
fn common(keys: &mut Vec<Key>) {
    keys.extend([
        Key::optional("description", Shape::Plain, "What it is for"),
        Key::optional("tags", list(Shape::Plain), "Words to select by").example("[crm]"),
        Key::optional("owner", Shape::Plain, "Who to ask"),
        Key::optional(
            "paused",
            Shape::Boolean,
            "`rowcast run` passes over it while this is true",
        )
        .default("false"),
    ]);
}

fn project() -> Document {
    Document {
        kind: Kind::Project,
        files: "rowcast.yml",
        summary: "The project: its name, defaults for syncs and destinations, alert channels, retention.",
        keys: vec![
            Key::required("project", Shape::Plain, "The project's name").example("shop"),
            Key::required(
                "version",
                Shape::Integer { min: 1, max: 1 },
                "The version of the file format",
            )
            .example("1"),
            Key::optional("description", Shape::Plain, "What it is for"),
            Key::optional("owner", Shape::Plain, "Who to ask"),
            Key::optional(
                "variables",
                map(Shape::Plain),
                "Values of ${var:NAME}; environments can override them",
            ),
            Key::optional(
                "defaults",
                Shape::Group(vec![
                    Key::optional(
                        "syncs",
                        Shape::Group(sync_policies()),
                        "Used by syncs that do not set the key",
                    ),
                    Key::optional(
                        "destinations",
                        Shape::Group(destination_policies()),
                        "Used by destinations that do not set the key",
                    ),
                ]),
                "Defaults for all syncs and destinations",
            ),
            Key::optional(
                "alerts",
                outside::channels(),
                "Alert channels, by the names that `alerts.to` of syncs uses",
            ),
            Key::optional(
                "smtp",
                outside::smtp(),
                "The mail server of `email` channels",
            ),
            Key::optional(
                "hooks",
                outside::hooks(),
                "What may start runs by a signed request to `POST /hooks/NAME`",
            ),
            Key::optional(
                "schedule_gap_min",
                Shape::Period,
                "The shortest distance between two runs that a sync's schedule may ask for",
            )
            .default("10s"),
            Key::optional(
                "retention",
                Shape::Group(vec![
                    Key::optional("runs", Shape::Period, "How long runs are remembered")
                        .default("90d"),
                    Key::optional("row_log", Shape::Period, "How long the row log is kept")
                        .default("30d"),
                ]),
                "How long history is kept in the state schema; each run forgets what is older",
            ),
            Key::optional(
                "spool",
                Shape::Group(vec![
                    Key::optional(
                        "dir",
                        Shape::Plain,
                        "Folder of the runs' temporary files; the system's by default",
                    )
                    .example("/var/tmp/rowcast"),
                    Key::optional("max", Shape::Size, "Most disk space of all runs together")
                        .example("20GB"),
                ]),
                "Temporary files of runs",
            ),
        ],
        example: "project: shop\nversion: 1\nvariables: { schema: public }\ndefaults:\n  syncs:\n    alerts: { failed: true, to: [ops] }\n  destinations:\n    timeout: 30s\nalerts:\n  ops: { slack: \"${env:SLACK_URL}\" }\nhooks:\n  nightly: { trigger: { secret: \"${env:HOOK_TOKEN}\", syncs: [customers_to_crm] } }\nretention: { runs: 90d, row_log: 30d }\nspool: { max: 20GB }\n",
    }
}

fn source() -> Document {
    let mut keys = vec![
        Key::required("source", Shape::OwnName, "The source's name: that of its file").example("shop"),
        Key::optional("url", Shape::Secret, "A connection string in place of host, port, database, user and password").example("${env:DATABASE_URL}"),
        Key::optional("host", Shape::Text, "Host name or address; a directory means a unix socket").example("db.internal"),
        Key::optional("port", up_to(65_535), "Port").default("5432"),
        Key::optional("database", Shape::Text, "Database").example("shop"),
        Key::optional("user", Shape::Text, "Role to log in as").example("rowcast"),
        Key::optional("password", Shape::Either(vec![
            Shape::Secret,
            Shape::Group(vec![
                Key::required("command", list(Shape::Text), "A program and its arguments, run at each connection; its output is the password").example("[aws, rds, generate-db-auth-token]"),
            ]),
        ]), "The password, or a command that prints one").example("${env:SHOP_PASSWORD}"),
        Key::optional("sslmode", Shape::Choice(vec!["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]), "How the connection is encrypted and checked, with libpq's meaning").default("verify-full"),
        Key::optional("sslrootcert", Shape::Text, "File with the certificates to trust, or `system`"),
        Key::optional("sslcert", Shape::Text, "File with the client's certificate"),
        Key::optional("sslkey", Shape::Text, "File with the client's key"),
        Key::optional("ssh", Shape::Group(ssh()), "Reaches the database through an SSH server; host and port are then as that server sees them").example("{ host: bastion.example.com, user: tunnel, key: \"${file:/run/secrets/tunnel}\", host_key: \"SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8\" }"),
        Key::optional("search_path", list(Shape::Plain), "Schemas in which tables are looked up, pinned for each transaction").default("[public]"),
        Key::optional("state_schema", Shape::Plain, "Schema that holds Rowcast's state").default("_rowcast"),
        Key::optional("state", Shape::Group(vec![
            Key::required("source", Shape::Reference(Kind::Source), "The source that holds the state").example("ops"),
        ]), "Keeps the state of this source's syncs in another source: for replicas and read-only databases").example("{ source: ops }"),
        Key::optional("row_security", Shape::Choice(vec!["error", "allow"]), "Whether row-level security may hide rows; hidden rows look like removed ones").default("error"),
        Key::optional("allow_superuser", Shape::Boolean, "Lets `rowcast serve` run models as a role that could write in spite of the read-only transaction: a superuser, or a member of pg_write_server_files or pg_execute_server_program").default("false"),
        Key::optional("limits", Shape::Group(vec![
            Key::optional("connections", up_to(1_000), "Connections a run may have open together; from 2 on a large first run fills state while it sends, and from 3 on a large table is read over two").default("4"),
            Key::optional("runs", up_to(1_000), "Runs that `rowcast serve` has going on at once in this source; the others wait").default("4"),
            Key::optional("statement_timeout", Shape::Period, "How long one query may take").default("10m"),
        ]), "Limits of use"),
    ];
    common(&mut keys);
    Document {
        kind: Kind::Source,
        files: "sources/*.yml",
        summary: "A PostgreSQL database that rows are read from, and where the state of its syncs lives.",
        keys,
        example: "source: shop\nhost: db.internal\nport: 5432\ndatabase: shop\nuser: rowcast\npassword: ${env:SHOP_PASSWORD}\nsslmode: verify-full\nsearch_path: [public]\nstate_schema: _rowcast\nrow_security: error\nlimits: { connections: 4, statement_timeout: 10m }\n",
    }
}

fn ssh() -> Vec<Key> {
    vec![
        Key::required("host", Shape::Text, "Name or address of the SSH server")
            .example("bastion.example.com"),
        Key::optional("port", up_to(65_535), "Its port").default("22"),
        Key::required("user", Shape::Text, "User to log in as there").example("tunnel"),
        Key::required(
            "key",
            Shape::Secret,
            "The private key itself (ed25519, ECDSA or RSA); a file is read at each connection",
        )
        .example("${file:/run/secrets/tunnel}"),
        Key::optional(
            "passphrase",
            Shape::Secret,
            "What the key is encrypted with",
        )
        .example("${env:TUNNEL_PASSPHRASE}"),
        Key::optional(
            "host_key",
            Shape::HostKey,
            "The server's own key or its SHA256 fingerprint; nothing else is accepted, and without it the error shows what was offered",
        )
        .example("\"SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8\""),
    ]
}

fn model() -> Document {
    let mut keys = vec![
        Key::required(
            "model",
            Shape::OwnName,
            "The model's name: that of its file",
        )
        .example("customers"),
        Key::required(
            "source",
            Shape::Reference(Kind::Source),
            "The source it is read from",
        )
        .example("shop"),
        Key::optional(
            "sql",
            Shape::Plain,
            "A query; a longer one goes into a file of the same name ending in .sql",
        )
        .example("select id, email from customers"),
        Key::optional("table", Shape::Plain, "A table or view").example("public.customers"),
        Key::optional("dbt", Shape::Tree, "A dbt model; not available yet"),
        Key::optional(
            "primary_key",
            list(Shape::Plain),
            "Columns that identify a row; for a table its own primary key by default",
        )
        .example("[id]"),
        Key::optional(
            "cursor",
            Shape::Group(vec![
                Key::required(
                    "column",
                    Shape::Plain,
                    "A column that grows with every change",
                )
                .example("updated_at"),
                Key::optional(
                    "overlap",
                    Shape::Duration,
                    "How far before the last value each run reads again",
                )
                .default("10m"),
                Key::optional(
                    "full",
                    Shape::Either(vec![Shape::Choice(vec!["hourly", "daily"]), Shape::Period]),
                    "How often everything is compared",
                )
                .default("daily"),
            ]),
            "Reads only rows that changed lately",
        )
        .example("{ column: updated_at, overlap: 10m, full: daily }"),
        Key::optional(
            "sensitive",
            list(Shape::Plain),
            "Columns whose values never appear in previews and errors",
        )
        .example("[email]"),
        Key::optional(
            "consent",
            map(Shape::Plain),
            "Categories of consent and the boolean columns that hold them",
        )
        .example("{ advertising: ads_ok }"),
        Key::optional(
            "time_zone",
            Shape::TimeZone,
            "Session time zone of the query",
        )
        .default("UTC"),
    ];
    common(&mut keys);
    Document {
        kind: Kind::Model,
        files: "models/*.yml",
        summary: "Which rows are synced, and what identifies one. Exactly one of: a file of the same name ending in .sql, `sql`, `table`.",
        keys,
        example: "model: customers\nsource: shop\ntable: public.customers\nprimary_key: [id]\ncursor: { column: updated_at, overlap: 10m, full: daily }\nsensitive: [email]\nconsent: { advertising: ads_ok }\ntime_zone: UTC\n",
    }
}

fn destination() -> Document {
    let mut keys = vec![
        Key::required(
            "destination",
            Shape::OwnName,
            "The destination's name: that of its file",
        )
        .example("hook"),
        Key::required(
            "connector",
            Shape::Plain,
            "What it is: `rowcast connectors` lists them",
        )
        .example("http"),
        Key::optional(
            "settings",
            Shape::Tree,
            "What the connector declares; see its own page",
        ),
    ];
    keys.push(
        Key::optional(
            "consent",
            list(Shape::Plain),
            "Categories of consent that a row must have to be sent here; models without `consent` are not asked",
        )
        .example("[advertising]"),
    );
    keys.extend(destination_policies());
    common(&mut keys);
    Document {
        kind: Kind::Destination,
        files: "destinations/*.yml",
        summary: "Where records go. Keys at the top belong to the engine; everything the connector declares is under `settings:`.",
        keys,
        example: "destination: hook\nconnector: http\nsettings:\n  url: https://hooks.example.com/customers\n  auth: { bearer: \"${env:HOOK_TOKEN}\" }\nbatch: { max_records: 100, max_bytes: 1MB }\nrate: { requests: 50, per: 1s }\nconcurrency: 8\ntimeout: 30s\nallow_addresses: [10.0.0.0/8]\n",
    }
}

fn sync() -> Document {
    let modes = Mode::ALL.iter().map(|mode| mode.as_str()).collect();
    let mut keys = vec![
        Key::required("sync", Shape::OwnName, "The sync's name: that of its file")
            .example("customers_to_crm"),
        Key::optional(
            "was",
            Shape::Plain,
            "The name before a renaming, so that nothing is sent again",
        ),
        Key::required(
            "model",
            Shape::Reference(Kind::Model),
            "The model whose rows are sent",
        )
        .example("customers"),
        Key::required(
            "destination",
            Shape::Reference(Kind::Destination),
            "Where they are sent",
        )
        .example("crm"),
        Key::optional(
            "object",
            Shape::Plain,
            "What is written there, in the destination's words",
        )
        .example("contact"),
        Key::optional(
            "mode",
            Shape::Choice(modes),
            "Which changes cause which operations",
        )
        .default("upsert"),
        Key::optional(
            "on",
            Shape::Either(vec![
                list(Shape::Choice(vec![
                    "added", "updated", "removed", "deleted",
                ])),
                Shape::Plain,
            ]),
            "Narrows the mode to these kinds of change; a text is a Segment trigger",
        )
        .example("[added, updated]"),
        Key::optional(
            "refresh",
            Shape::Choice(vec!["incremental", "full"]),
            "Whether a run sends what changed, or every row",
        )
        .default("incremental"),
        Key::optional(
            "match_on",
            map(Shape::Plain),
            "What identifies a record there: its field and the column; the primary key by default",
        )
        .example("{ email: email }"),
        Key::optional(
            "where",
            Shape::Plain,
            "A condition in SQL; a row that leaves it is removed",
        )
        .example("\"plan is not null\""),
        Key::optional(
            "fields",
            map(Shape::ClearTree),
            "The destination's fields and where their values come from",
        ),
        Key::optional(
            "mapping",
            Shape::ClearTree,
            "A Segment mapping as it is, in place of `fields`; `preset` takes the defaults of a connector segment/…",
        )
        .example("{ email: { \"@path\": $.properties.email } }"),
        Key::optional(
            "event",
            Shape::ClearTree,
            "A Segment or RudderStack event in place of `fields`; see the page on events",
        )
        .example("{ type: track, name: { literal: Order Paid }, user_id: customer_id, properties: { total: total } }"),
        Key::optional(
            "request",
            Shape::Tree,
            "The request for each operation, where the connector takes it",
        ),
    ];
    keys.extend(sync_policies());
    common(&mut keys);
    Document {
        kind: Kind::Sync,
        files: "syncs/*.yml",
        summary: "Sends the rows of a model to an object of a destination.",
        keys,
        example: "sync: customers_to_crm\nmodel: customers\ndestination: crm\nobject: contact\nmode: upsert\nmatch_on: { email: email }\nwhere: \"plan is not null\"\nfields:\n  firstname: first_name\n  name: \"{{ first_name }} {{ last_name }}\"\n  plan: { column: plan, default: free }\n  source: { literal: rowcast }\nschedule: { every: 15m }\nretry: { runs: 5, for: 14d }\nguards: { removed: 10% }\nalerts: { failed: true, rejected: 5%, to: [ops] }\n",
    }
}

fn environment() -> Document {
    let overlay =
        |kind: Kind, help: &'static str| Key::optional(kind.folder(), map(Shape::Tree), help);
    let mut keys = vec![
        Key::required(
            "environment",
            Shape::OwnName,
            "The environment's name: that of its file",
        )
        .example("prod"),
        Key::optional("variables", map(Shape::Plain), "Values of ${var:NAME}")
            .example("{ schema: shop }"),
        overlay(Kind::Source, "Keys of sources to change, by name"),
        overlay(Kind::Model, "Keys of models to change, by name"),
        overlay(Kind::Destination, "Keys of destinations to change, by name"),
        overlay(Kind::Sync, "Keys of syncs to change, by name"),
    ];
    keys.extend([
        Key::optional("description", Shape::Plain, "What it is for"),
        Key::optional("owner", Shape::Plain, "Who to ask"),
    ]);
    Document {
        kind: Kind::Environment,
        files: "environments/*.yml",
        summary: "What differs where the project runs, chosen by --env. Mappings are merged key by key, everything else is replaced; a key with nothing after it removes what the object's file says.",
        keys,
        example: "environment: prod\nvariables: { schema: shop }\nsources:\n  shop: { host: db.prod.internal }\nsyncs:\n  customers_to_crm:\n    schedule: { every: 5m }\n",
    }
}

fn test() -> Document {
    Document {
        kind: Kind::Test,
        files: "tests/*.yml",
        summary: "Given rows and the records they must become. `rowcast test` runs them without a network or a database.",
        keys: vec![
            Key::required("test", Shape::OwnName, "The test's name: that of its file")
                .example("customers_are_mapped"),
            Key::required(
                "sync",
                Shape::Reference(Kind::Sync),
                "The sync whose mapping is tested",
            )
            .example("customers_to_crm"),
            Key::optional(
                "now",
                Shape::Timestamp,
                "The time of the run, for functions that ask for it",
            )
            .example("2026-01-01T00:00:00Z"),
            Key::optional(
                "change",
                Shape::Choice(vec!["added", "updated", "removed", "deleted"]),
                "What happened to the rows, for mappings and triggers that ask; then the mode is tested too",
            )
            .example("updated"),
            Key::required(
                "rows",
                list(map(Shape::ClearTree)),
                "Rows of the model: columns and values",
            )
            .example("[{ id: 1, email: ada@example.com }]"),
            Key::required(
                "expect",
                list(Shape::ClearTree),
                "The fields of each row's record, in order, or `{ error: text }`, or `{ skipped: mode }`, `{ skipped: trigger }`, `{ skipped: consent }`",
            )
            .example("[{ email: ada@example.com }]"),
            Key::optional("description", Shape::Plain, "What it shows"),
            Key::optional("tags", list(Shape::Plain), "Words to select by"),
            Key::optional("owner", Shape::Plain, "Who to ask"),
        ],
        example: "test: customers_are_mapped\nsync: customers_to_crm\nnow: 2026-01-01T00:00:00Z\nrows:\n  - { id: 1, first_name: Ada, last_name: Lovelace, plan: null }\nexpect:\n  - { firstname: Ada, name: Ada Lovelace, plan: free, source: rowcast }\n",
    }
}
