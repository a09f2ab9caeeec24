//! Which columns a mapping or a trigger reads, found without a row.
//!
//! Must never miss a column: what can't be told counts as all of them.

use super::path;
use super::template;
use super::validate::member;
use crate::value::{Object, Value};

/// The columns that something reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// All of them: the row as a whole, or a place that only a row can name.
    pub all: bool,
    /// In the order of their first mention, without repetition.
    pub columns: Vec<String>,
}

impl Reads {
    /// What a mapping reads of the row event.
    pub(super) fn of_mapping(root: &Value) -> Self {
        let mut reads = Self::default();
        reads.walk(root);
        reads
    }

    /// A path below the event, by its names.
    pub(super) fn take(&mut self, names: &[String]) {
        match names {
            [] => self.all = true,
            [first] if first == "properties" => self.all = true,
            [first, column, ..] if first == "properties" => self.column(column),
            _ => {}
        }
    }

    fn column(&mut self, name: &str) {
        if !self.columns.iter().any(|known| known == name) {
            self.columns.push(name.to_owned());
        }
    }

    fn path(&mut self, path: &str) {
        if path.is_empty() || path == "." {
            self.all = true;
        } else {
            let names = path::pieces(path);
            // A path of separators alone is the event itself.
            self.take(&names);
        }
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::List(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(members) => {
                for (name, argument) in members {
                    match &**name {
                        "_metadata" => {}
                        "@path" => match argument {
                            Value::Text(text) => self.path(&path::without_root(text)),
                            // The path itself comes from the row.
                            argument => {
                                self.walk(argument);
                                self.all = true;
                            }
                        },
                        "@template" => match argument {
                            Value::Text(text) => {
                                for name in template::names(text) {
                                    self.path(&name);
                                }
                            }
                            argument => {
                                self.walk(argument);
                                self.all = true;
                            }
                        },
                        "@liquid" => {
                            if let Value::Text(text) = argument {
                                self.liquid(text);
                            }
                        }
                        "@arrayPath" => self.array_path(argument),
                        "@transform" => self.transform(argument),
                        _ => self.walk(argument),
                    }
                }
            }
            _ => {}
        }
    }

    /// The shape's paths start at the items, not at the event.
    fn array_path(&mut self, argument: &Value) {
        let Value::List(items) = argument else { return };
        match items.first() {
            Some(Value::Text(text)) => self.path(&path::without_root(text)),
            Some(root) => self.walk(root),
            None => {}
        }
    }

    /// The second mapping sees what the first one made.
    fn transform(&mut self, argument: &Value) {
        let Value::Object(members) = argument else {
            return;
        };
        let members: &Object = members;
        if let Some(apply) = member(members, "apply") {
            self.walk(apply);
        }
    }

    /// `properties.NAME` wherever it stands. Anything else about `properties`, or a name in
    /// brackets, may mean any column.
    fn liquid(&mut self, text: &str) {
        const ROOT: &str = "properties";
        let within = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        if text.contains('[') {
            self.all = true;
        }
        for (at, _) in text.match_indices(ROOT) {
            if text[..at].chars().next_back().is_some_and(within) {
                continue;
            }
            let rest = &text[at + ROOT.len()..];
            if rest.starts_with(within) {
                continue;
            }
            let name: String = rest
                .strip_prefix('.')
                .map(|rest| rest.chars().take_while(|c| within(*c)).collect())
                .unwrap_or_default();
            if name.is_empty() {
                self.all = true;
            } else {
                self.column(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::from_json;

    fn reads(mapping: &str) -> String {
        let reads = Reads::of_mapping(&from_json(mapping).unwrap());
        if reads.all {
            return "all".into();
        }
        reads.columns.join(" ")
    }

    #[test]
    fn columns_are_found_in_every_directive() {
        for (mapping, columns) in [
            (
                r#"{"a":{"@path":"$.properties.email"},"b":"properties.x"}"#,
                "email",
            ),
            (r#"{"a":{"@path":"$.properties.address.city"}}"#, "address"),
            (
                r#"{"a":{"@path":"$.__segment_id"},"b":{"@path":"$.event"}}"#,
                "",
            ),
            (
                r#"{"a":{"@template":"{{properties.first}} {{{ properties.last }}}{{event}}"}}"#,
                "first last",
            ),
            (
                r#"{"a":{"@if":{"exists":{"@path":"$.properties.a"},"then":{"@path":"$.properties.b"},"else":{"@case":{"operator":"lower","value":{"@path":"$.properties.c"}}}}}}"#,
                "a b c",
            ),
            (
                r#"{"a":{"@arrayPath":["$.properties.items",{"n":{"@path":"$.properties.name"}}]}}"#,
                "items",
            ),
            (
                r#"{"a":{"@transform":{"apply":{"x":{"@path":"$.properties.a"}},"mapping":{"y":{"@path":"$.properties.b"}}}}}"#,
                "a",
            ),
            (
                r#"{"a":{"@merge":{"objects":[{"x":{"@path":"$.properties.a"}},{"@path":"$.properties.b"}],"direction":"right"}}}"#,
                "a b",
            ),
            (
                r#"{"a":[{"@path":"$.properties.a"}],"b":{"@literal":{"c":{"@path":"$.properties.d"}}}}"#,
                "a d",
            ),
            (
                r#"{"a":{"@liquid":"{% if properties.vip %}{{ properties.first-name | upcase }}{% endif %} my_properties.x"}}"#,
                "vip first-name",
            ),
        ] {
            assert_eq!(reads(mapping), columns, "{mapping}");
        }
    }

    #[test]
    fn what_only_a_row_can_tell_counts_as_all_columns() {
        for mapping in [
            r#"{"a":{"@path":"$.properties"}}"#,
            r#"{"a":{"@path":"$."}}"#,
            r#"{"a":{"@path":""}}"#,
            r#"{"@excludeWhenNull":{"@path":"$.properties"}}"#,
            r#"{"a":{"@path":{"@path":"$.properties.where"}}}"#,
            r#"{"a":{"@template":{"@path":"$.properties.text"}}}"#,
            r#"{"a":{"@liquid":"{% assign p = properties %}{{ p.x }}"}}"#,
            r#"{"a":{"@liquid":"{{ properties[event] }}"}}"#,
            r#"{"a":{"@json":{"value":{"@path":"$.properties"},"mode":"encode"}}}"#,
        ] {
            assert_eq!(reads(mapping), "all", "{mapping}");
        }
    }
}
