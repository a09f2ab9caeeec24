//! What can be told before any row exists: whether a column's type suits a function or a cast, and
//! whether a function's constants work.
//!
//! Must never refuse what could work for some row: where the type is not known, nothing is said.

use std::borrow::Cow;

use super::Compiler;
use crate::mapping::function::{Function, Input};
use crate::mapping::rule::{Node, Rule};
use crate::value::Value;

impl Compiler<'_> {
    /// The type family of a plain column.
    fn family(&self, node: &Node) -> Option<(Family, String)> {
        let Node::Column(_, name) = node else {
            return None;
        };
        let schema = self.schema?;
        let column = &schema.columns[schema.position(name)?];
        Family::of(&column.type_name)
            .map(|family| (family, format!("column `{name}` is {}", column.type_name)))
    }

    pub(super) fn check_input(&mut self, function: &Function, rule: &Rule, path: &str) {
        if rule.cast.is_some() || rule.default.is_some() {
            return;
        }
        let Some((family, column)) = self.family(&rule.node) else {
            return;
        };
        let (fits, hint) = match function.input {
            Input::Any => (true, ""),
            Input::Text => (
                family != Family::Bytes,
                "use { hex: … } or { base64: … } for bytes",
            ),
            Input::Number => (
                family == Family::Number,
                "cast it, as in { column: …, as: number }",
            ),
            Input::Moment => (
                matches!(family, Family::Moment | Family::Text),
                "it needs a date, a timestamp or ISO text",
            ),
            Input::Instant => (
                family == Family::Moment,
                "read the text first, as in { parse_date: [column, \"%d.%m.%Y\"] }",
            ),
        };
        if !fits {
            self.invalid(
                path,
                format_args!("{column}, which `{}` can't work on", function.name),
                hint,
            );
        }
    }

    pub(super) fn check_cast(&mut self, node: &Node, cast: &str, path: &str) {
        let Some((family, column)) = self.family(node) else {
            return;
        };
        let (fits, hint) = match cast {
            "unix" | "unix_ms" => (
                family == Family::Moment,
                "read the text first, as in { unix: { parse_date: [column, \"%d.%m.%Y\"] } }",
            ),
            "date" | "timestamp" => (
                matches!(family, Family::Moment | Family::Text),
                "only dates, timestamps and ISO text can be cast to it",
            ),
            "integer" | "decimal" | "number" => (
                matches!(family, Family::Number | Family::Text | Family::Boolean),
                "to get the seconds of a timestamp use as: unix",
            ),
            "boolean" => (
                matches!(family, Family::Boolean | Family::Text | Family::Number),
                "",
            ),
            _ => (true, ""),
        };
        if !fits {
            self.invalid(
                &format!("{path}.as"),
                format_args!("{column}, which can't be cast to {cast}"),
                hint,
            );
        }
    }
}

/// Tries a function's constants before any row exists: patterns, units, positions.
pub(super) fn constant_failure(function: &Function, rules: &[Rule]) -> Option<String> {
    let options_constant = rules.len() > 1
        && function.constants == 1
        && rules[1..]
            .iter()
            .all(|rule| matches!(rule.node, Node::Constant(_)) && rule.cast.is_none());
    let sample = match function.name {
        "date_format" | "date_trunc" => Value::from("2024-02-29T12:30:00Z"),
        "round" => Value::Int(1),
        "replace" | "substring" | "split" | "normalize_phone" => Value::from("1"),
        "json_get" => Value::Object(Vec::new()),
        _ => return None,
    };
    if !options_constant {
        return None;
    }
    let arguments: Vec<Cow<'_, Value>> = std::iter::once(Cow::Owned(sample))
        .chain(rules[1..].iter().filter_map(|rule| match &rule.node {
            Node::Constant(value) => Some(Cow::Borrowed(value)),
            _ => None,
        }))
        .collect();
    function
        .apply(&arguments)
        .err()
        .map(|failure| failure.message)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Text,
    Number,
    Boolean,
    Moment,
    Bytes,
}

impl Family {
    /// The family of a PostgreSQL type; `None` where nothing is checked.
    fn of(type_name: &str) -> Option<Self> {
        if type_name.ends_with("[]") {
            return None;
        }
        Some(
            match type_name.split('(').next().unwrap_or_default().trim() {
                "text" | "character varying" | "varchar" | "character" | "char" | "bpchar"
                | "name" | "citext" => Self::Text,
                "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision"
                | "oid" => Self::Number,
                "boolean" => Self::Boolean,
                "bytea" => Self::Bytes,
                "date" => Self::Moment,
                other if other.starts_with("timestamp") => Self::Moment,
                _ => return None,
            },
        )
    }
}
