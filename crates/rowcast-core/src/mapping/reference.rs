//! The reference page of the mapping language, made from the tables that the compiler itself uses.

use std::fmt::Write as _;

use super::cast::CASTS;
use super::compiler::{MODIFIERS, OPERATORS};
use super::{filters, function};
use crate::json::{from_json, push_string, to_json};
use crate::value::Value;

/// A value on one line of YAML, as people write it: `{ replace: [phone, "-", ""] }`.
pub(super) fn flow(value: &Value) -> String {
    let mut out = String::new();
    push_flow(&mut out, value);
    out
}

/// JSON text as `flow`.
pub(super) fn flow_text(json: &str) -> String {
    from_json(json).map_or_else(|_| json.to_owned(), |value| flow(&value))
}

fn push_flow(out: &mut String, value: &Value) {
    match value {
        Value::Object(members) if members.is_empty() => out.push_str("{}"),
        Value::Object(members) => {
            out.push_str("{ ");
            for (i, (name, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                push_word(out, name);
                out.push_str(": ");
                push_flow(out, value);
            }
            out.push_str(" }");
        }
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                push_flow(out, item);
            }
            out.push(']');
        }
        Value::Text(text) => push_word(out, text),
        other => out.push_str(&to_json(other)),
    }
}

/// A text, quoted where YAML could read it as something else.
fn push_word(out: &mut String, text: &str) {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        out.push_str(text);
    } else {
        push_string(out, text);
    }
}

/// The page in Markdown.
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Mapping reference\n\n\
         This page is generated from the tables that Rowcast itself uses. Every example is a test.\n\n\
         ## Operators\n\nA mapping has exactly one operator or function.\n\n\
         | operator | value | example |\n|---|---|---|\n",
    );
    for (name, meaning, example) in OPERATORS {
        row(&mut out, &[&code(name), meaning, &code(example)]);
    }
    out.push_str(
        "\n## Modifiers\n\nThey stand beside the operator.\n\n| modifier | meaning |\n|---|---|\n",
    );
    for (name, meaning) in MODIFIERS {
        row(&mut out, &[&code(name), meaning]);
    }
    out.push_str(
        "\n## Functions\n\n\
         Several arguments are a list. The first argument is a rule: a text there is a column. \
         Arguments marked with * are constants: a text there is itself, and a mapping is a rule. \
         Unless the table says otherwise, a null first argument gives null.\n\n\
         | function | arguments | value | example | row | result |\n|---|---|---|---|---|---|\n",
    );
    for function in function::all() {
        let arguments: Vec<String> = function
            .arguments
            .split(", ")
            .enumerate()
            .map(|(i, argument)| {
                if i >= function.constants {
                    format!("{argument}*")
                } else {
                    argument.to_owned()
                }
            })
            .collect();
        let (rule, input, result) = function.example;
        row(
            &mut out,
            &[
                &code(function.name),
                &arguments.join(", "),
                function.meaning,
                &code(&flow_text(rule)),
                &code(input),
                &code(result),
            ],
        );
    }
    out.push_str("\n## Casts\n\nThe values of `as:`. Null stays null.\n\n| cast | value | of | result |\n|---|---|---|---|\n");
    for cast in CASTS {
        row(
            &mut out,
            &[
                &code(cast.name),
                cast.meaning,
                &code(cast.example.0),
                &code(cast.example.1),
            ],
        );
    }
    out.push_str(
        "\n## Filters in templates\n\n\
         Every function above is a filter of the same name: `{{ email | lower | sha256 }}`, \
         `{{ phone | replace(\"-\", \"\") }}`. These come in addition:\n\n| filter | value |\n|---|---|\n",
    );
    for (name, meaning) in filters::DESCRIBED {
        row(&mut out, &[&code(name), meaning]);
    }
    let _ = write!(
        out,
        "\nTests after `is`: {}.\n",
        filters::TESTS.map(code).join(", ")
    );
    out
}

fn code(text: &str) -> String {
    if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    }
}

fn row(out: &mut String, cells: &[&str]) {
    out.push('|');
    for cell in cells {
        let _ = write!(out, " {} |", cell.replace('|', "\\|"));
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_everything_there_is() {
        let page = reference_markdown();
        for function in function::all() {
            assert!(page.contains(&format!("| `{}` |", function.name)));
        }
        for cast in CASTS {
            assert!(page.contains(&format!("| `{}` |", cast.name)));
        }
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        for table in page.split("\n\n").filter(|block| block.starts_with('|')) {
            let header = columns(table.lines().next().unwrap());
            assert!(table.lines().all(|line| columns(line) == header), "{table}");
        }
    }

    #[test]
    fn rules_are_shown_as_people_write_them() {
        assert_eq!(
            flow_text(r#"{"replace":["phone","-","",1.50,null,"true"]}"#),
            "{ replace: [phone, \"-\", \"\", 1.50, null, \"true\"] }"
        );
    }
}
