//! A model: which rows, from a query or a table, and what identifies one.

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::Code;

use crate::objects::exclusive;
use crate::placeholder::Resolver;
use crate::problem::{File, Location, reason};
use crate::project::{Cursor, DAY, Model, Query};
use crate::tree::{Entry, Node, Yaml};
use crate::walk::Walker;

/// A model's SQL file.
pub(crate) struct SqlFile {
    pub(crate) path: String,
    /// After variables.
    pub(crate) text: String,
    pub(crate) start: Location,
}

impl SqlFile {
    /// Resolves the variables of a file.
    pub(crate) fn read(file: &Arc<File>, resolver: &Resolver<'_>, walker: &mut Walker<'_>) -> Self {
        let mut reasons = Vec::new();
        let text = resolver.sql(&file.text, &mut reasons);
        for (offset, reason) in reasons {
            let before = &file.text[..offset];
            let line = 1 + before.matches('\n').count();
            let column = 1 + before.chars().rev().take_while(|c| *c != '\n').count();
            let rest = &file.text[offset..];
            let length = rest.find('}').map_or(2, |end| rest[..=end].chars().count());
            walker.note(reason, &Location::new(file, line, column, length));
        }
        Self {
            path: file.path.clone(),
            text,
            start: Location::new(file, 1, 1, 1),
        }
    }
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
        consent: node
            .get("consent")
            .map(Node::entries)
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned())))
            .collect(),
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
