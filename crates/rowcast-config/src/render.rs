//! A document of a project as YAML text, for whoever writes files in a person's place.
//!
//! What is rendered reads back as it was: text that would mean something else to YAML is quoted, and
//! text that would be a placeholder is escaped.

use serde_json::Value;

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Means itself, whatever it looks like.
    Text(String),
    /// Written as it is: numbers, booleans, words of ours, placeholders such as `${env:NAME}`.
    Word(String),
    List(Vec<Part>),
    Map(Vec<(String, Part)>),
}

impl Part {
    /// Text that means itself.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A word of ours.
    pub fn word(word: impl Into<String>) -> Self {
        Self::Word(word.into())
    }

    /// Data in which every text means itself.
    pub fn data(value: &Value) -> Self {
        match value {
            Value::Null => Self::word("null"),
            Value::Bool(value) => Self::Word(value.to_string()),
            Value::Number(number) => Self::Word(number.to_string()),
            Value::String(text) => Self::text(text.as_str()),
            Value::Array(items) => Self::List(items.iter().map(Self::data).collect()),
            Value::Object(members) => Self::Map(
                members
                    .iter()
                    .map(|(name, value)| (name.clone(), Self::data(value)))
                    .collect(),
            ),
        }
    }

    fn is_scalar(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Word(_))
    }
}

/// A mapping as a file's text.
pub fn document(members: &[(String, Part)]) -> String {
    let mut out = String::new();
    map(&mut out, members, 0);
    out
}

fn map(out: &mut String, members: &[(String, Part)], indent: usize) {
    for (name, part) in members {
        pad(out, indent);
        out.push_str(&scalar(name));
        out.push(':');
        value(out, part, indent);
    }
}

/// What follows a key or a dash, with its line end.
fn value(out: &mut String, part: &Part, indent: usize) {
    match part {
        Part::Map(members) if !members.is_empty() => {
            out.push('\n');
            map(out, members, indent + 2);
        }
        Part::List(items) if items.iter().any(|item| !item.is_scalar()) => {
            out.push('\n');
            for item in items {
                pad(out, indent + 2);
                out.push('-');
                value(out, item, indent + 2);
            }
        }
        Part::Map(_) => out.push_str(" {}\n"),
        Part::List(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            out.push_str(&format!(" [{}]\n", items.join(", ")));
        }
        scalar => out.push_str(&format!(" {}\n", flow(scalar))),
    }
}

fn flow(part: &Part) -> String {
    match part {
        Part::Text(text) => scalar(&text.replace("${", "$${")),
        Part::Word(word) if word.contains("${") => quoted(word),
        Part::Word(word) => word.clone(),
        Part::List(_) | Part::Map(_) => String::new(),
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text as a scalar that YAML reads as text, and as this one.
fn scalar(text: &str) -> String {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_./- ".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !text.ends_with(' ')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    // `on` is a key of ours.
    if plain || text == "on" {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// In double quotes, with JSON's escapes, which YAML shares.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign;

    #[test]
    fn what_is_rendered_reads_back_as_it_was() {
        let value = serde_json::json!({
            "plain": "two words", "empty": "", "number": "007", "word": "No", "on": "off",
            "hash": "a # b", "colon": "a: b", "quote": "it's \"so\"", "lines": "a\n  b\n",
            "path": "$.properties.x", "braces": "{{ a }}", "@if": {"exists": {"@path": "$.a"}, "then": null},
            "list": [1, 2.5, true, "x, y", []], "objects": [{"a": 1, "b": {"c": []}}, {}, [1, [2, {"d": "e"}]]],
            "é": "ü\u{1F600}", " lead": "trail ", "- dash": "- x", "tab": "\t", "~": "~", "end": "x:",
        });
        let Part::Map(members) = Part::data(&value) else {
            panic!("no map");
        };
        let text = document(&members);
        assert_eq!(foreign::documents(&text), Ok(vec![value]), "{text}");
    }

    #[test]
    fn only_placeholders_of_ours_are_placeholders() {
        let text = document(&[
            ("ours".into(), Part::word("${env:KEY}")),
            ("theirs".into(), Part::text("cost: ${env:KEY}")),
        ]);
        assert_eq!(
            text,
            "ours: \"${env:KEY}\"\ntheirs: \"cost: $${env:KEY}\"\n"
        );
    }
}
