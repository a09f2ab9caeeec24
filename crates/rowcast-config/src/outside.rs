//! What a project says about the world around its runs: channels that alerts go to, the mail server
//! they use, and hooks through which others start runs.

use std::collections::BTreeMap;

use rowcast_core::{Code, Secret};

use crate::policies::{list, map, up_to};
use crate::problem::{Problem, reason};
use crate::project::{Project, Text};
use crate::shape::{Key, Kind, Shape};
use crate::tree::{Node, Yaml};
use crate::walk::suggest;

/// Where alerts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// An incoming webhook of Slack.
    Slack {
        url: Secret<String>,
        allow_addresses: Vec<String>,
    },
    /// JSON by POST.
    Webhook {
        url: Secret<String>,
        /// Signs as Standard Webhooks says; two while one replaces the other.
        secrets: Vec<Secret<String>>,
        allow_addresses: Vec<String>,
    },
    /// Events API v2 of PagerDuty.
    Pagerduty {
        key: Secret<String>,
        /// The service's own address by default.
        url: Option<Text>,
        allow_addresses: Vec<String>,
    },
    Email {
        to: Vec<Text>,
    },
}

/// How a mail server's connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SmtpTls {
    /// Begins in clear and must be encrypted before anything is said.
    #[default]
    StartTls,
    /// Encrypted from the first byte.
    Implicit,
    /// In clear.
    None,
}

/// The mail server of `email` channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    pub host: Text,
    /// By default that of `tls`.
    pub port: Option<u16>,
    pub user: Option<Text>,
    pub password: Option<Secret<String>>,
    pub from: Text,
    pub tls: SmtpTls,
    pub allow_addresses: Vec<String>,
}

/// What may start runs from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// Webhooks of dbt Cloud: start syncs that are scheduled after the job.
    Dbt { secrets: Vec<Secret<String>> },
    /// Requests signed as Standard Webhooks says: start these syncs.
    Trigger {
        secrets: Vec<Secret<String>>,
        syncs: Vec<String>,
    },
}

impl Hook {
    /// What signs its requests; several while one replaces the other.
    pub fn secrets(&self) -> &[Secret<String>] {
        match self {
            Self::Dbt { secrets } | Self::Trigger { secrets, .. } => secrets,
        }
    }
}

fn one_or_two(help: &'static str) -> Key {
    Key::required(
        "secret",
        Shape::Either(vec![Shape::Secret, list(Shape::Secret)]),
        help,
    )
    .example("${env:HOOK_SECRET}")
}

fn allow_addresses() -> Key {
    Key::optional(
        "allow_addresses",
        list(Shape::Addresses),
        "Loopback, private and link-local addresses that may be reached",
    )
    .example("[10.0.0.0/8]")
}

/// `alerts:` of `rowcast.yml`.
pub(crate) fn channels() -> Shape {
    let with = |keys: Vec<Key>| Shape::Either(vec![Shape::Secret, Shape::Group(keys)]);
    let url = |help| Key::required("url", Shape::Secret, help).example("${env:ALERT_URL}");
    map(Shape::OneOf(vec![
        Key::optional(
            "slack",
            with(vec![url("A Slack webhook URL"), allow_addresses()]),
            "A Slack webhook URL",
        )
        .example("${env:SLACK_URL}"),
        Key::optional(
            "webhook",
            with(vec![
                url("A URL that takes JSON by POST"),
                Key {
                    required: false,
                    ..one_or_two("Signs the requests as Standard Webhooks says: `whsec_` and base64, or any text; a list of two while one replaces the other")
                },
                allow_addresses(),
            ]),
            "A URL that takes JSON by POST",
        )
        .example("${env:ALERT_URL}"),
        Key::optional(
            "pagerduty",
            with(vec![
                Key::required("key", Shape::Secret, "An integration key of Events API v2")
                    .example("${env:PAGERDUTY_KEY}"),
                Key::optional("url", Shape::Text, "Where events are taken")
                    .default("https://events.pagerduty.com/v2/enqueue")
                    .example("https://events.eu.pagerduty.com/v2/enqueue"),
                allow_addresses(),
            ]),
            "An integration key of PagerDuty's Events API v2",
        )
        .example("${env:PAGERDUTY_KEY}"),
        Key::optional("email", list(Shape::Text), "Addresses; needs `smtp`")
            .example("[ops@example.com]"),
    ]))
}

/// `smtp:` of `rowcast.yml`.
pub(crate) fn smtp() -> Shape {
    Shape::Group(vec![
        Key::required("host", Shape::Text, "Host name or address").example("smtp.example.com"),
        Key::optional(
            "port",
            up_to(65_535),
            "Port; 587, 465 or 25, as `tls` says, by default",
        ),
        Key::optional("user", Shape::Text, "User to log in as").example("rowcast"),
        Key::optional("password", Shape::Secret, "Its password").example("${env:SMTP_PASSWORD}"),
        Key::required("from", Shape::Text, "Address that mails come from")
            .example("rowcast@example.com"),
        Key::optional(
            "tls",
            Shape::Choice(vec!["starttls", "implicit", "none"]),
            "Encryption: after STARTTLS, which the server must offer; from the first byte; or none",
        )
        .default("starttls"),
        allow_addresses(),
    ])
}

/// `hooks:` of `rowcast.yml`.
pub(crate) fn hooks() -> Shape {
    map(Shape::OneOf(vec![
        Key::optional(
            "dbt",
            Shape::Group(vec![one_or_two(
                "The secret that dbt Cloud showed when the webhook was made",
            )]),
            "Webhooks of dbt Cloud: a job that succeeded starts the syncs with `schedule: { dbt: { job: … } }`",
        ),
        Key::optional(
            "trigger",
            Shape::Group(vec![
                one_or_two(
                    "What the sender signs with, as Standard Webhooks says: `whsec_` and base64, or any text",
                ),
                Key::required(
                    "syncs",
                    list(Shape::Reference(Kind::Sync)),
                    "Syncs that are started",
                )
                .example("[orders]"),
            ]),
            "Signed requests of anybody",
        ),
    ]))
}

/// A secret, or several.
fn secrets(node: &Node) -> Vec<Secret<String>> {
    let Some(value) = node.get("secret") else {
        return Vec::new();
    };
    match &value.yaml {
        Yaml::List(items) => items
            .iter()
            .filter_map(|item| item.text().map(Secret::from))
            .collect(),
        _ => value.text().map(Secret::from).into_iter().collect(),
    }
}

fn addresses(node: &Node) -> Vec<String> {
    let items = node.get("allow_addresses").map(Node::items);
    items
        .unwrap_or_default()
        .iter()
        .filter_map(|item| item.text().map(str::to_owned))
        .collect()
}

/// The channels of a project.
pub(crate) fn read_channels(root: &Node) -> BTreeMap<String, Channel> {
    let mut channels = BTreeMap::new();
    for entry in root.get("alerts").map(Node::entries).unwrap_or_default() {
        if let Some(channel) = channel(&entry.value) {
            channels.insert(entry.key.clone(), channel);
        }
    }
    channels
}

fn channel(node: &Node) -> Option<Channel> {
    let kind = node.entries().first()?;
    let value = &kind.value;
    // A credential alone, or with more beside it.
    let credential = |key: &str| match value.text() {
        Some(text) => Some(Secret::from(text)),
        None => value.secret(key),
    };
    let allow_addresses = addresses(value);
    Some(match kind.key.as_str() {
        "slack" => Channel::Slack {
            url: credential("url")?,
            allow_addresses,
        },
        "webhook" => Channel::Webhook {
            url: credential("url")?,
            secrets: secrets(value),
            allow_addresses,
        },
        "pagerduty" => Channel::Pagerduty {
            key: credential("key")?,
            url: value.maybe_secret("url"),
            allow_addresses,
        },
        _ => Channel::Email {
            to: value
                .items()
                .iter()
                .filter_map(Node::as_maybe_secret)
                .collect(),
        },
    })
}

/// The mail server of a project.
pub(crate) fn read_smtp(root: &Node) -> Option<Smtp> {
    let node = root.get("smtp")?;
    Some(Smtp {
        host: node.maybe_secret("host")?,
        port: node.number("port"),
        user: node.maybe_secret("user"),
        password: node.secret("password"),
        from: node.maybe_secret("from")?,
        tls: match node.word("tls") {
            Some("implicit") => SmtpTls::Implicit,
            Some("none") => SmtpTls::None,
            _ => SmtpTls::StartTls,
        },
        allow_addresses: addresses(node),
    })
}

/// The hooks of a project.
pub(crate) fn read_hooks(root: &Node) -> BTreeMap<String, Hook> {
    let mut hooks = BTreeMap::new();
    for entry in root.get("hooks").map(Node::entries).unwrap_or_default() {
        let Some(kind) = entry.value.entries().first() else {
            continue;
        };
        let secrets = secrets(&kind.value);
        let hook = match kind.key.as_str() {
            "dbt" => Hook::Dbt { secrets },
            _ => Hook::Trigger {
                secrets,
                syncs: kind.value.strings("syncs").unwrap_or_default(),
            },
        };
        hooks.insert(entry.key.clone(), hook);
    }
    hooks
}

/// Addresses without a mail server, hooks that start nothing or what is not there.
pub(crate) fn check(project: &Project, problems: &mut Vec<Problem>) {
    let mut note = |reason: rowcast_core::Reason, path: &str| {
        problems.push(match project.positions.get(path) {
            Some(location) => Problem::at(reason, location),
            None => Problem::general(reason),
        });
    };
    for (name, channel) in &project.channels {
        if matches!(channel, Channel::Email { .. }) && project.smtp.is_none() {
            let message =
                format!("the alert channel \"{name}\" sends mail, but there is no mail server");
            note(
                reason(Code::MissingKey, message)
                    .hint("add one: `smtp: { host: smtp.example.com, from: rowcast@example.com }`"),
                &format!("alerts.{name}.email"),
            );
        }
    }
    for (name, hook) in &project.hooks {
        if hook
            .secrets()
            .iter()
            .any(|secret| secret.reveal().is_empty())
            || hook.secrets().is_empty()
        {
            let message =
                format!("the hook \"{name}\" has an empty secret, which anybody can guess");
            note(
                reason(Code::WrongType, message)
                    .hint("write the secret that its sender signs with"),
                &format!("hooks.{name}"),
            );
        }
        let Hook::Trigger { syncs, .. } = hook else {
            continue;
        };
        for (i, sync) in syncs.iter().enumerate() {
            let file = project.dir.join("syncs").join(format!("{sync}.yml"));
            if project.syncs.contains_key(sync) || file.exists() {
                continue;
            }
            let message =
                format!("the hook \"{name}\" starts the sync \"{sync}\", which does not exist");
            let hint = match suggest(sync, project.syncs.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write syncs/{sync}.yml"),
            };
            note(
                reason(Code::UnknownReference, message).hint(hint),
                &format!("hooks.{name}.trigger.syncs[{i}]"),
            );
        }
    }
}
