//! The typed documents, read from checked trees, with the rules that concern one document alone.

use std::path::Path;
use std::time::Duration;

use rowcast_core::guard::Guards;
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{Code, Mode, Name, Selection, Value};

use crate::problem::{Location, reason};
use crate::project::{
    Alerts, Channel, Credential, Cursor, DAY, Destination, Model, Query, Rate, Refresh, Retention,
    RowLog, RowSecurity, RunLimits, Source, Spool, SslMode, Sync, Test, Text,
};
use crate::schedule::{AfterWhen, DAYS, EVERY_MIN, Overlap, Schedule, Trigger, time_of_day};
use crate::tree::{Entry, Node, Yaml};
use crate::walk::{Walker, percent};

/// A model's SQL file.
pub(crate) struct SqlFile {
    pub(crate) path: String,
    /// After variables.
    pub(crate) text: String,
    pub(crate) start: Location,
}

pub(crate) fn channels(root: &Node) -> Vec<(String, Channel)> {
    let mut channels = Vec::new();
    for entry in root.get("alerts").map(Node::entries).unwrap_or_default() {
        let node = &entry.value;
        let channel = if let Some(url) = node.secret("slack") {
            Channel::Slack(url)
        } else if let Some(url) = node.secret("webhook") {
            Channel::Webhook(url)
        } else {
            Channel::Email(texts(node.get("email")))
        };
        channels.push((entry.key.clone(), channel));
    }
    channels
}

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
        statement_timeout: limits
            .and_then(|n| n.duration("statement_timeout"))
            .unwrap_or(Duration::from_secs(600)),
        positions: node.positions(),
    }
}

fn credential(node: &Node, dir: &Path, walker: &mut Walker<'_>) -> Option<Credential> {
    if let Some(scalar) = node.scalar() {
        return Some(match &scalar.from_file {
            Some(path) => Credential::File(dir.join(path)),
            None => Credential::Value(scalar.text.as_str().into()),
        });
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

fn exclusive(walker: &mut Walker<'_>, entry: &Entry, other: &str) {
    let message = format!("{} has both `{other}` and `{}`", walker.subject, entry.key);
    walker.note(
        reason(Code::Exclusive, message).hint("keep exactly one of them"),
        &entry.key_at,
    );
}

pub(crate) fn model(
    name: &str,
    node: &Node,
    file: Option<SqlFile>,
    walker: &mut Walker<'_>,
) -> Model {
    let written: Vec<&Entry> = ["sql", "table", "dbt"]
        .iter()
        .filter_map(|key| node.entry(key))
        .filter(|entry| !entry.value.is_null())
        .collect();
    if let Some(dbt) = written.iter().find(|entry| entry.key == "dbt") {
        let message = format!(
            "{} reads a dbt model, which is not available yet",
            walker.subject
        );
        walker.note(
            reason(Code::WrongType, message)
                .hint("until then use `table:` with the relation that dbt builds, such as `table: analytics.customers`"),
            &dbt.key_at,
        );
    } else if let [first, second, ..] = written[..] {
        let other = first.key.clone();
        exclusive(walker, second, &other);
    } else if let (Some(file), [entry, ..]) = (&file, &written[..]) {
        let message = format!(
            "{} has both `{}` and the file {}",
            walker.subject, entry.key, file.path
        );
        walker.note(
            reason(Code::Exclusive, message).hint("keep exactly one of them"),
            &entry.key_at,
        );
    } else if file.is_none() && written.is_empty() {
        let message = format!("{} says nothing about which rows it reads", walker.subject);
        let hint = format!("write the query into models/{name}.sql, or add `sql:` or `table:`");
        walker.note(reason(Code::MissingKey, message).hint(hint), &node.at);
    }
    let query = if let Some(table) = node.get("table").filter(|node| node.text().is_some()) {
        match table_name(table.text().unwrap_or_default()) {
            Some((schema, name)) => Query::Table { schema, name },
            None => {
                let message = format!("`table` of {} is not the name of a table", walker.subject);
                walker.note(
                    reason(Code::WrongType, message)
                        .detail(format!("found {}", table.found()))
                        .hint("write `schema.table`, with double quotes around names that need them: '\"My schema\".\"Table\"'; a query goes under `sql:`"),
                    &table.at,
                );
                Query::Table {
                    schema: None,
                    name: String::new(),
                }
            }
        }
    } else if let Some(text) = node.string("sql") {
        Query::Sql { text, file: None }
    } else {
        let (text, path) = file.map_or((String::new(), None), |file| {
            if file.text.trim().is_empty() {
                walker.note(
                    reason(
                        Code::MissingKey,
                        format!("the query of {} is empty", walker.subject),
                    )
                    .hint("write a SELECT into the file"),
                    &file.start,
                );
            }
            (file.text, Some(file.path))
        });
        Query::Sql { text, file: path }
    };
    let primary_key = columns(node, "primary_key", walker);
    let keyless = !matches!(query, Query::Table { .. }) && !written.iter().any(|e| e.key == "dbt");
    if keyless && node.get("primary_key").is_none_or(Node::is_null) {
        let message = format!("{} has no `primary_key`", walker.subject);
        walker.note(
            reason(Code::MissingKey, message)
                .hint("add the columns that identify a row: `primary_key: [id]`; only a `table:` has its own"),
            &node.at,
        );
    }
    Model {
        name: name.to_owned(),
        about: node.about(),
        source: node.string("source").unwrap_or_default(),
        query,
        primary_key,
        cursor: node
            .get("cursor")
            .filter(|node| !node.is_null())
            .map(|node| Cursor {
                column: node.string("column").unwrap_or_default(),
                overlap: node.duration("overlap").unwrap_or(Duration::from_secs(600)),
                full: match node.word("full") {
                    Some("hourly") => Duration::from_secs(3600),
                    _ => node.duration("full").unwrap_or(DAY),
                },
            }),
        sensitive: columns(node, "sensitive", walker),
        time_zone: node.string("time_zone").unwrap_or_else(|| "UTC".into()),
        positions: node.positions(),
    }
}

/// A list of columns: not empty, none twice.
fn columns(node: &Node, key: &str, walker: &mut Walker<'_>) -> Vec<String> {
    let Some(list) = node.get(key) else {
        return Vec::new();
    };
    let mut columns: Vec<String> = Vec::new();
    for item in list.items() {
        let Some(text) = item.text() else { continue };
        if columns.iter().any(|column| column == text) {
            let message = format!(
                "`{key}` of {} names the column \"{text}\" twice",
                walker.subject
            );
            walker.note(
                reason(Code::WrongType, message).hint("remove one of them"),
                &item.at,
            );
        } else {
            columns.push(text.to_owned());
        }
    }
    if key == "primary_key" && columns.is_empty() && matches!(list.yaml, Yaml::List(_)) {
        let message = format!("`{key}` of {} is empty", walker.subject);
        walker.note(
            reason(Code::WrongType, message).hint("name the columns that identify a row: [id]"),
            &list.at,
        );
    }
    columns
}

/// Reads `table`, `schema.table`, `"Quoted name".table`.
fn table_name(text: &str) -> Option<(Option<String>, String)> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices().peekable();
            let mut end = None;
            while let Some((i, c)) = chars.next() {
                if c != '"' {
                    name.push(c);
                } else if chars.peek().is_some_and(|(_, next)| *next == '"') {
                    name.push('"');
                    chars.next();
                } else {
                    end = Some(i + 1);
                    break;
                }
            }
            rest = &quoted[end?..];
            part = name;
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            part = rest[..end].to_owned();
            let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
            if !part.chars().all(word) || part.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            rest = &rest[end..];
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => break,
            None => return None,
        }
    }
    match <[String; 2]>::try_from(parts) {
        Ok([schema, name]) => Some((Some(schema), name)),
        Err(mut parts) if parts.len() == 1 => parts.pop().map(|name| (None, name)),
        Err(_) => None,
    }
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
        rate: node.get("rate").and_then(|node| {
            Some(Rate {
                requests: node.number("requests")?,
                per: node.duration("per")?,
            })
        }),
        concurrency: node.number("concurrency"),
        timeout: node.duration("timeout"),
        allow_addresses: texts(node.get("allow_addresses"))
            .iter()
            .map(|range| range.reveal().to_owned())
            .collect(),
        positions: node.positions(),
    }
}

pub(crate) fn sync(name: &str, node: &Node, walker: &mut Walker<'_>) -> Sync {
    let mode = node.word("mode").and_then(Mode::parse);
    let mode = mode.unwrap_or_default();
    mapping(node, mode, walker);
    let run = node.get("run");
    let retry = node.get("retry");
    let default = RetryPolicy::default();
    Sync {
        name: name.to_owned(),
        about: node.about(),
        was: node.string("was"),
        model: node.string("model").unwrap_or_default(),
        destination: node.string("destination").unwrap_or_default(),
        object: node.string("object"),
        mode,
        on: selection(node, mode, walker),
        refresh: match node.word("refresh") {
            Some("full") => Refresh::Full,
            _ => Refresh::Incremental,
        },
        match_on: match_on(node, walker),
        condition: node.string("where"),
        fields: node
            .get("fields")
            .filter(|node| matches!(node.yaml, Yaml::Map(_)))
            .map_or_else(|| Value::Object(Vec::new()), Node::value),
        request: node
            .get("request")
            .map(|node| node.setting(None))
            .unwrap_or_default(),
        schedules: node
            .get("schedule")
            .map(|node| schedules(node, walker))
            .unwrap_or_default(),
        run: RunLimits {
            max_duration: run.and_then(|node| node.duration("max_duration")),
            max_records: run.and_then(|node| node.number("max_records")),
        },
        retry: RetryPolicy {
            runs: retry
                .and_then(|node| node.number("runs"))
                .unwrap_or(default.runs),
            within: retry
                .and_then(|node| node.duration("for"))
                .unwrap_or(default.within),
        },
        guards: node.get("guards").map(guards).unwrap_or_default(),
        alerts: node.get("alerts").map(alerts).unwrap_or_default(),
        log: match node.word("log") {
            Some("errors") => RowLog::Errors,
            Some("all") => RowLog::All,
            _ => RowLog::Auto,
        },
        keep_rows: node.word("keep") == Some("rows"),
        positions: node.positions(),
    }
}

/// Exactly one of `fields`, `mapping`, `event`; only the first is available.
fn mapping(node: &Node, mode: Mode, walker: &mut Walker<'_>) {
    let written: Vec<&Entry> = ["fields", "mapping", "event"]
        .iter()
        .filter_map(|key| node.entry(key))
        .filter(|entry| !entry.value.is_null())
        .collect();
    for entry in &written {
        if entry.key != "fields" {
            let what = if entry.key == "mapping" {
                "Segment mappings"
            } else {
                "events"
            };
            let message = format!("`{}` of {} is not available yet", entry.key, walker.subject);
            walker.note(
                reason(Code::WrongType, message)
                    .detail(format!("{what} arrive with their own step"))
                    .hint("use `fields:` until then"),
                &entry.key_at,
            );
        }
    }
    match written[..] {
        [] if mode != Mode::Delete => {
            let message = format!("{} has no `fields`", walker.subject);
            walker.note(
                reason(Code::MissingKey, message)
                    .hint("say which field gets which column: `fields: { email: email }`"),
                &node.at,
            );
        }
        [first, second, ..] => {
            let other = first.key.clone();
            exclusive(walker, second, &other);
        }
        [only]
            if only.key == "fields"
                && matches!(&only.value.yaml, Yaml::Map(m) if m.is_empty())
                && mode != Mode::Delete =>
        {
            let message = format!("`fields` of {} is empty", walker.subject);
            walker.note(
                reason(Code::MissingKey, message)
                    .hint("say which field gets which column: `fields: { email: email }`"),
                &only.key_at,
            );
        }
        _ => {}
    }
}

fn selection(node: &Node, mode: Mode, walker: &mut Walker<'_>) -> Selection {
    let Some(on) = node.get("on").filter(|on| !on.is_null()) else {
        return Selection::default();
    };
    if on.scalar().is_some() {
        let message = format!(
            "`on` of {} is a Segment trigger, which is not available yet",
            walker.subject
        );
        walker.note(
            reason(Code::WrongType, message)
                .hint("write a list of added, updated, removed: `on: [added, updated]`"),
            &on.at,
        );
        return Selection::default();
    }
    let words = node.strings("on").unwrap_or_default();
    let has = |word: &str| words.iter().any(|w| w == word);
    let selection = Selection {
        added: has("added"),
        updated: has("updated"),
        // The word of other tools is understood too.
        removed: has("removed") || has("deleted"),
    };
    use rowcast_core::Kind::{Added, Removed, Updated};
    let sends = [Added, Updated, Removed]
        .into_iter()
        .any(|kind| selection.includes(kind) && mode.operation(kind).is_some());
    if !sends
        && on
            .items()
            .iter()
            .all(|item| item.text().is_some_and(is_change))
    {
        let message = format!("{} would never send anything", walker.subject);
        walker.note(
            reason(Code::Exclusive, message)
                .detail(format!(
                    "mode {mode} skips every change that `on` lets through"
                ))
                .hint("change `mode` or `on`"),
            &on.at,
        );
    }
    selection
}

fn is_change(word: &str) -> bool {
    matches!(word, "added" | "updated" | "removed" | "deleted")
}

fn match_on(node: &Node, walker: &mut Walker<'_>) -> Vec<(Name, Name)> {
    let Some(match_on) = node.get("match_on") else {
        return Vec::new();
    };
    if matches!(&match_on.yaml, Yaml::Map(entries) if entries.is_empty()) {
        let message = format!("`match_on` of {} is empty", walker.subject);
        walker.note(
            reason(Code::WrongType, message)
                .hint("name the field and the column, `{ email: email }`, or remove the key to match by the primary key"),
            &match_on.at,
        );
    }
    let pair = |entry: &Entry| {
        let column = entry.value.text()?;
        Some((entry.key.as_str().into(), column.into()))
    };
    match_on.entries().iter().filter_map(pair).collect()
}

fn guards(node: &Node) -> Guards {
    let default = Guards::default();
    let percent_of = |key: &str| node.get(key)?.text().and_then(percent);
    Guards {
        removed_percent: percent_of("removed").unwrap_or(default.removed_percent),
        changed_percent: percent_of("changed").unwrap_or(default.changed_percent),
        calls: node.number("calls"),
    }
}

fn alerts(node: &Node) -> Alerts {
    Alerts {
        failed: node.bool("failed").unwrap_or(true),
        rejected_percent: node.get("rejected").and_then(Node::text).and_then(percent),
        late: node.duration("late"),
        to: node.strings("to").unwrap_or_default(),
    }
}

fn schedules(node: &Node, walker: &mut Walker<'_>) -> Vec<Schedule> {
    match &node.yaml {
        Yaml::Map(_) => schedule(node, walker).into_iter().collect(),
        Yaml::List(items) => items
            .iter()
            .filter(|item| matches!(item.yaml, Yaml::Map(_)))
            .filter_map(|item| schedule(item, walker))
            .collect(),
        _ => Vec::new(),
    }
}

fn schedule(node: &Node, walker: &mut Walker<'_>) -> Option<Schedule> {
    let present = |key: &str| node.entry(key).filter(|entry| !entry.value.is_null());
    let forms: Vec<&Entry> = ["every", "cron", "days", "after", "dbt"]
        .iter()
        .filter_map(|key| present(key))
        .collect();
    let [form] = forms[..] else {
        if let [first, second, ..] = forms[..] {
            let message = format!(
                "a schedule of {} has both `{}` and `{}`",
                walker.subject, first.key, second.key
            );
            walker.note(
                reason(Code::Exclusive, message)
                    .hint("write a list with one form each: `- { every: 1h }`"),
                &second.key_at,
            );
        } else {
            let message = format!("a schedule of {} does not say when", walker.subject);
            walker.note(
                reason(Code::InvalidSchedule, message)
                    .hint("add one of every, cron, days, after or dbt: `{ every: 15m }`"),
                &node.at,
            );
        }
        return None;
    };
    let takes: &[&str] = match form.key.as_str() {
        "every" => &["at", "timezone", "overlap", "catch_up"],
        "cron" => &["timezone", "overlap", "catch_up"],
        "days" => &["at", "timezone", "overlap", "catch_up"],
        "after" => &["when", "overlap"],
        _ => &["overlap"],
    };
    for key in ["at", "when", "timezone", "catch_up"] {
        if let Some(entry) = present(key)
            && !takes.contains(&key)
        {
            let message = format!(
                "a schedule of {} has `{key}`, which means nothing beside `{}`",
                walker.subject, form.key
            );
            walker.note(
                reason(Code::InvalidSchedule, message).hint(format!("remove `{key}`")),
                &entry.key_at,
            );
        }
    }
    let at = node.string("at").and_then(|text| time_of_day(&text));
    let trigger = match form.key.as_str() {
        "every" => {
            let every = node.duration("every")?;
            if every < EVERY_MIN {
                let message = format!("a schedule of {} runs too often", walker.subject);
                walker.note(
                    reason(Code::InvalidSchedule, message).hint("write 10s or more"),
                    &form.value.at,
                );
            }
            Trigger::Every { every, at }
        }
        "cron" => Trigger::Cron(node.string("cron")?),
        "days" => {
            let words = node.strings("days")?;
            let mut days = Vec::new();
            for (word, day) in DAYS {
                if words.iter().any(|w| w == word) {
                    days.push(day);
                }
            }
            if words.is_empty() {
                let message = format!("a schedule of {} names no days", walker.subject);
                walker.note(
                    reason(Code::InvalidSchedule, message).hint("write days such as [mon, thu]"),
                    &form.value.at,
                );
            }
            if present("at").is_none() {
                let message = format!("a schedule of {} has days but no time", walker.subject);
                walker.note(
                    reason(Code::InvalidSchedule, message)
                        .hint("add the time of day: `at: \"09:00\"`"),
                    &form.key_at,
                );
            }
            Trigger::Days { days, at: at? }
        }
        "after" => {
            let syncs = node.strings("after")?;
            if syncs.is_empty() {
                let message = format!("a schedule of {} follows no sync", walker.subject);
                walker.note(
                    reason(Code::InvalidSchedule, message)
                        .hint("name the syncs: `after: [orders]`"),
                    &form.value.at,
                );
            }
            Trigger::After {
                syncs,
                when: match node.word("when") {
                    Some("finished") => AfterWhen::Finished,
                    _ => AfterWhen::Succeeded,
                },
            }
        }
        _ => Trigger::Dbt {
            job: node.get("dbt")?.string("job")?,
        },
    };
    Some(Schedule {
        trigger,
        time_zone: node.string("timezone").unwrap_or_else(|| "UTC".into()),
        overlap: match node.word("overlap") {
            Some("queue") => Overlap::Queue,
            _ => Overlap::Skip,
        },
        catch_up: node.bool("catch_up").unwrap_or(true),
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
        now: node.string("now").and_then(|text| text.parse().ok()),
        rows: rows.iter().map(Node::value).collect(),
        expect: expect.iter().map(Node::value).collect(),
        positions: node.positions(),
    }
}

#[cfg(test)]
mod tests {
    use super::table_name;

    #[test]
    fn table_names_are_read_with_and_without_quotes() {
        let name =
            |schema: Option<&str>, name: &str| Some((schema.map(str::to_owned), name.to_owned()));
        assert_eq!(table_name("customers"), name(None, "customers"));
        assert_eq!(
            table_name("shop.customers"),
            name(Some("shop"), "customers")
        );
        assert_eq!(
            table_name("\"My schema\".\"a\"\"b.c\""),
            name(Some("My schema"), "a\"b.c")
        );
        for bad in [
            "", "a.", ".a", "a.b.c", "\"a", "a b", "select 1", "\"a\"b", "1a", "a;drop",
        ] {
            assert_eq!(table_name(bad), None, "{bad}");
        }
    }
}
