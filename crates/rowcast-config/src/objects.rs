//! The typed documents, read from checked trees, with the rules that concern one document alone.
//! Models and syncs, which have most rules, have their own modules.

use std::path::Path;
use std::time::Duration;

use rowcast_core::{Code, Kind as Change};

use crate::problem::reason;
use crate::project::{
    Credential, Destination, Rate, Retention, RowSecurity, Source, Spool, Ssh, SslMode, Test, Text,
};
use crate::tree::{Entry, Node, Yaml};
use crate::walk::Walker;

/// The items of a list of text that may be secret.
fn texts(list: Option<&Node>) -> Vec<Text> {
    let items = list.map(Node::items).unwrap_or_default();
    items.iter().filter_map(Node::as_maybe_secret).collect()
}

pub(crate) fn retention(root: &Node) -> Retention {
    let default = Retention::default();
    let Some(node) = root.get("retention") else {
        return default;
    };
    Retention {
        runs: node.duration("runs").unwrap_or(default.runs),
        row_log: node.duration("row_log").unwrap_or(default.row_log),
    }
}

pub(crate) fn spool(root: &Node, dir: &Path) -> Spool {
    let Some(node) = root.get("spool") else {
        return Spool::default();
    };
    Spool {
        dir: node.string("dir").map(|path| dir.join(path)),
        max: node.size("max"),
    }
}

pub(crate) fn source(name: &str, node: &Node, dir: &Path, walker: &mut Walker<'_>) -> Source {
    let url = node.entry("url").filter(|entry| !entry.value.is_null());
    for key in ["host", "port", "database", "user"] {
        let entry = node.entry(key).filter(|entry| !entry.value.is_null());
        match (url, entry) {
            (Some(_), Some(entry)) => exclusive(walker, entry, "url"),
            (None, None) if key != "port" => {
                let message = format!("{} has no `{key}`", walker.subject);
                let hint = format!(
                    "add `{key}:`, or `url: ${{env:DATABASE_URL}}` in place of host, port, database and user"
                );
                walker.note(reason(Code::MissingKey, message).hint(hint), &node.at);
            }
            _ => {}
        }
    }
    let limits = node.get("limits");
    Source {
        name: name.to_owned(),
        about: node.about(),
        url: node.secret("url"),
        host: node.maybe_secret("host"),
        port: node.number("port"),
        database: node.maybe_secret("database"),
        user: node.maybe_secret("user"),
        password: node
            .get("password")
            .and_then(|node| credential(node, dir, walker)),
        sslmode: node.word("sslmode").and_then(SslMode::parse),
        sslrootcert: node.maybe_secret("sslrootcert"),
        sslcert: node.maybe_secret("sslcert"),
        sslkey: node.maybe_secret("sslkey"),
        ssh: node.get("ssh").and_then(|node| ssh(node, dir)),
        search_path: node
            .strings("search_path")
            .unwrap_or_else(|| vec!["public".into()]),
        state_schema: node
            .string("state_schema")
            .unwrap_or_else(|| "_rowcast".into()),
        state_source: node.get("state").and_then(|state| state.string("source")),
        row_security: match node.word("row_security") {
            Some("allow") => RowSecurity::Allow,
            _ => RowSecurity::Error,
        },
        allow_superuser: node.bool("allow_superuser").unwrap_or(false),
        connections: limits.and_then(|n| n.number("connections")).unwrap_or(4),
        runs: limits.and_then(|n| n.number("runs")).unwrap_or(4),
        statement_timeout: limits
            .and_then(|n| n.duration("statement_timeout"))
            .unwrap_or(Duration::from_secs(600)),
        positions: node.positions(),
    }
}

/// What is missing was noted by the walker.
fn ssh(node: &Node, dir: &Path) -> Option<Ssh> {
    let secret = |key| scalar_credential(node.get(key)?, dir);
    Some(Ssh {
        host: node.maybe_secret("host")?,
        port: node.number("port").unwrap_or(22),
        user: node.maybe_secret("user")?,
        key: secret("key")?,
        passphrase: secret("passphrase"),
        host_key: node.maybe_secret("host_key"),
    })
}

fn scalar_credential(node: &Node, dir: &Path) -> Option<Credential> {
    node.scalar().map(|scalar| match &scalar.from_file {
        Some(path) => Credential::File(dir.join(path)),
        None => Credential::Value(scalar.text.as_str().into()),
    })
}

fn credential(node: &Node, dir: &Path, walker: &mut Walker<'_>) -> Option<Credential> {
    if let Some(credential) = scalar_credential(node, dir) {
        return Some(credential);
    }
    let command = node.get("command")?;
    let words: Vec<_> = command
        .items()
        .iter()
        .filter_map(Node::as_maybe_secret)
        .collect();
    if words.is_empty() && matches!(command.yaml, Yaml::List(_)) {
        let message = format!("`password.command` of {} is empty", walker.subject);
        walker.note(
            reason(Code::WrongType, message).hint("write the program and its arguments as a list"),
            &command.at,
        );
    }
    Some(Credential::Command(words))
}

pub(crate) fn exclusive(walker: &mut Walker<'_>, entry: &Entry, other: &str) {
    let message = format!("{} has both `{other}` and `{}`", walker.subject, entry.key);
    walker.note(
        reason(Code::Exclusive, message).hint("keep exactly one of them"),
        &entry.key_at,
    );
}

/// Everything of a destination but its settings, which need the connector.
pub(crate) fn destination(name: &str, node: &Node) -> Destination {
    let batch = node.get("batch");
    Destination {
        name: name.to_owned(),
        about: node.about(),
        connector: node.string("connector").unwrap_or_default(),
        settings: node
            .get("settings")
            .map(|node| node.setting(None))
            .unwrap_or_default(),
        batch_records: batch.and_then(|node| node.number("max_records")),
        batch_bytes: batch
            .and_then(|node| node.size("max_bytes"))
            .map(|bytes| bytes as usize),
        rate: node.get("rate").and_then(rate),
        quota: node.get("quota").and_then(rate),
        concurrency: node.number("concurrency"),
        timeout: node.duration("timeout"),
        allow_addresses: texts(node.get("allow_addresses"))
            .iter()
            .map(|range| range.reveal().to_owned())
            .collect(),
        consent: node.strings("consent").unwrap_or_default(),
        positions: node.positions(),
    }
}

fn rate(node: &Node) -> Option<Rate> {
    Some(Rate {
        requests: node.number("requests")?,
        per: node.duration("per")?,
    })
}

pub(crate) fn test(name: &str, node: &Node, walker: &mut Walker<'_>) -> Test {
    let list = |key: &str| node.get(key).map(Node::items).unwrap_or_default();
    let (rows, expect) = (list("rows"), list("expect"));
    if let Some(entry) = node.entry("expect")
        && rows.len() != expect.len()
        && [node.get("rows"), Some(&entry.value)]
            .iter()
            .all(|list| list.is_some_and(|list| matches!(list.yaml, Yaml::List(_))))
    {
        let message = format!(
            "{} expects {} records of {} rows",
            walker.subject,
            expect.len(),
            rows.len()
        );
        walker.note(
            reason(Code::WrongType, message)
                .hint("write one expected record for each row, in the same order"),
            &entry.key_at,
        );
    }
    Test {
        name: name.to_owned(),
        about: node.about(),
        sync: node.string("sync").unwrap_or_default(),
        change: match node.word("change") {
            Some("added") => Some(Change::Added),
            Some("updated") => Some(Change::Updated),
            // The word of other tools is understood too.
            Some("removed" | "deleted") => Some(Change::Removed),
            _ => None,
        },
        now: node.string("now").and_then(|text| text.parse().ok()),
        rows: rows.iter().map(Node::value).collect(),
        expect: expect.iter().map(Node::value).collect(),
        positions: node.positions(),
    }
}
