//! The settings of the `postgres` destination: what it says of itself and how it reads them.

use std::path::Path;
use std::str::FromStr as _;

use rowcast_core::descriptor::{Descriptor, Setting, SettingKind};
use rowcast_core::{Code, DestinationConfig, Operation, Reason, SettingValue};

use super::name::{NAME_BYTES_MAX, TableName};
use super::ssh;
use crate::connect::{ConnectConfig, Password, RootCert, SslMode};

/// Where the tables of deliveries and fences live, unless told otherwise.
pub(super) const PROGRESS_SCHEMA: &str = "_rowcast";

/// Everything there is to know about the connector before it is configured.
pub fn descriptor() -> Descriptor {
    use Setting as S;
    Descriptor {
        name: "postgres",
        title: "PostgreSQL",
        summary: "Writes records into a table of another PostgreSQL database, exactly once: the \
                  data and the note of what was delivered are committed together. Upsert, mirror, \
                  update, insert and delete.",
        settings: vec![
            S::optional(
                "url",
                SettingKind::Secret,
                "a connection URL, in place of host, port, database, user and password",
            )
            .example("${env:WAREHOUSE_URL}"),
            S::optional(
                "host",
                SettingKind::Text,
                "server name or address; a folder means a unix socket",
            )
            .example("db.internal"),
            S::optional("port", SettingKind::Integer, "port").default("5432"),
            S::optional("database", SettingKind::Text, "database").example("warehouse"),
            S::optional("user", SettingKind::Text, "role to log in as").example("rowcast"),
            S::optional("password", SettingKind::Secret, "its password")
                .example("${env:WAREHOUSE_PASSWORD}"),
            S::optional(
                "sslmode",
                SettingKind::Choice(&[
                    "disable",
                    "allow",
                    "prefer",
                    "require",
                    "verify-ca",
                    "verify-full",
                ]),
                "encryption, with libpq's meaning",
            )
            .default("verify-full"),
            S::optional(
                "sslrootcert",
                SettingKind::Text,
                "file of the authorities to trust, or `system`",
            ),
            S::optional(
                "sslcert",
                SettingKind::Text,
                "file of the client's certificate",
            ),
            S::optional(
                "sslkey",
                SettingKind::Text,
                "file of the client's private key",
            ),
            S::optional(
                "ssh",
                SettingKind::Group(ssh::settings()),
                "reaches the database through an SSH server; host and port are then as that server sees them",
            ),
            S::optional(
                "schema",
                SettingKind::Text,
                "schema of the table when `object` names none",
            )
            .default("public"),
            S::optional(
                "create",
                SettingKind::Boolean,
                "make the table, and columns that it lacks, from the first records",
            )
            .default("false"),
            S::optional(
                "progress_schema",
                SettingKind::Text,
                "schema of the two tables that remember what was delivered",
            )
            .default(PROGRESS_SCHEMA),
        ],
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: true,
        object_help: "table, or schema.table",
        objects: Vec::new(),
        logs_changes: false,
    }
}

/// The settings that are not about the connection.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) table: TableName,
    /// Where `object` looks when it names no schema.
    pub(super) default_schema: String,
    pub(super) create: bool,
    pub(super) progress_schema: String,
}

pub(super) fn wrong(setting: &str, what: impl Into<String>) -> (String, Reason) {
    (setting.to_owned(), Reason::new(Code::WrongType, what))
}

fn schema_name(
    config: &DestinationConfig,
    setting: &str,
    default: &str,
    problems: &mut Vec<(String, Reason)>,
) -> String {
    match config.settings.get(setting) {
        None | Some(SettingValue::Null) => default.to_owned(),
        Some(value) => match value.as_text() {
            Some(name)
                if !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0') =>
            {
                name.to_owned()
            }
            _ => {
                problems.push(wrong(
                    setting,
                    format!(
                        "`{setting}` must be the name of a schema, up to {NAME_BYTES_MAX} bytes"
                    ),
                ));
                default.to_owned()
            }
        },
    }
}

impl Settings {
    /// Reads what is not about the connection; every problem is reported.
    pub(super) fn read(
        config: &DestinationConfig,
        problems: &mut Vec<(String, Reason)>,
    ) -> Option<Self> {
        let before = problems.len();
        for (name, _) in config.settings.members() {
            if !descriptor().settings.iter().any(|known| known.name == name) {
                problems.push((
                    name.clone(),
                    Reason::new(
                        Code::UnknownKey,
                        format!("destination `{}` has no setting `{name}`", config.name),
                    ),
                ));
            }
        }
        let schema = schema_name(config, "schema", "public", problems);
        let progress_schema = schema_name(config, "progress_schema", PROGRESS_SCHEMA, problems);
        let create = match config.settings.get("create") {
            None | Some(SettingValue::Null) => false,
            Some(value) => value.as_bool().unwrap_or_else(|| {
                problems.push(wrong("create", "`create` must be true or false"));
                false
            }),
        };
        let table = TableName::parse(&config.object, &schema)
            .map_err(|why| {
                let reason = if config.object.is_empty() {
                    Reason::new(
                        Code::MissingKey,
                        format!("a sync to `{}` must name its table", config.name),
                    )
                } else {
                    Reason::new(
                        Code::WrongType,
                        format!("`{}` is not the name of a table", config.object),
                    )
                    .detail(why)
                };
                problems.push((
                    "object".to_owned(),
                    reason.hint("write `object: customers` or `object: crm.customers`"),
                ));
            })
            .ok()?;
        (problems.len() == before).then_some(Self {
            table,
            default_schema: schema,
            create,
            progress_schema,
        })
    }
}

/// Members of `settings:` that a URL replaces.
const IN_URL: [&str; 5] = ["host", "port", "database", "user", "password"];

/// Reads how to reach the database; every problem is reported. There is no address policy for
/// databases: the user named this server.
pub(super) fn connection(
    config: &DestinationConfig,
    problems: &mut Vec<(String, Reason)>,
) -> Option<ConnectConfig> {
    let before = problems.len();
    let settings = &config.settings;
    let given = |name: &str| {
        settings
            .get(name)
            .filter(|value| **value != SettingValue::Null)
    };
    let mut connect = match given("url") {
        Some(url) => {
            for name in IN_URL {
                if given(name).is_some() {
                    problems.push(wrong(
                        name,
                        format!("`{name}` and `url` exclude each other"),
                    ));
                }
            }
            let url = url.as_secret()?;
            match ConnectConfig::from_url(url.reveal()) {
                Ok(connect) => connect,
                Err(reason) => {
                    problems.push(("url".to_owned(), reason));
                    return None;
                }
            }
        }
        None => parts(config, problems)?,
    };
    let mut text = |name: &str, take: &mut dyn FnMut(&str) -> Result<(), String>| {
        if let Some(value) = given(name) {
            let read = match value.as_secret() {
                Some(text) => take(text.reveal()),
                None => Err(format!("`{name}` must be text")),
            };
            if let Err(what) = read {
                problems.push(wrong(name, what));
            }
        }
    };
    text("sslmode", &mut |word| {
        connect.sslmode = SslMode::from_str(word).map_err(|_| {
            "`sslmode` must be disable, allow, prefer, require, verify-ca or verify-full".to_owned()
        })?;
        Ok(())
    });
    text("sslrootcert", &mut |path| {
        connect.sslrootcert = Some(match RootCert::parse(path) {
            RootCert::File(path) => RootCert::File(config.project_dir.join(path)),
            RootCert::System => RootCert::System,
        });
        Ok(())
    });
    text("sslcert", &mut |path| {
        connect.sslcert = Some(config.project_dir.join(Path::new(path)));
        Ok(())
    });
    text("sslkey", &mut |path| {
        connect.sslkey = Some(config.project_dir.join(Path::new(path)));
        Ok(())
    });
    if let Some(settings) = given("ssh") {
        connect.ssh = ssh::read(settings, problems);
    }
    (problems.len() == before).then_some(connect)
}

fn parts(
    config: &DestinationConfig,
    problems: &mut Vec<(String, Reason)>,
) -> Option<ConnectConfig> {
    let before = problems.len();
    let mut needed = |name: &str| match config.settings.get(name) {
        // A value from the environment is secret whole; a host is no less a host for it.
        Some(value) => value
            .as_secret()
            .map(|text| text.reveal().clone())
            .unwrap_or_default(),
        None => {
            problems.push((
                name.to_owned(),
                Reason::new(
                    Code::MissingKey,
                    format!(
                        "destination `{}` has neither `url` nor `{name}`",
                        config.name
                    ),
                )
                .hint("give `url: ${env:…}`, or host, database and user"),
            ));
            String::new()
        }
    };
    let (host, database, user) = (needed("host"), needed("database"), needed("user"));
    let mut connect = ConnectConfig::new(host, database, user);
    match config.settings.get("port") {
        None | Some(SettingValue::Null) => {}
        Some(value) => match value
            .as_secret()
            .and_then(|text| text.reveal().parse().ok())
        {
            Some(port) if port != 0 => connect.port = port,
            _ => problems.push(wrong("port", "`port` must be a number from 1 to 65535")),
        },
    }
    connect.password = config
        .settings
        .get("password")
        .and_then(SettingValue::as_secret)
        .map(Password::Secret);
    (problems.len() == before).then_some(connect)
}
