//! How a value becomes the text that a column's type reads.
//!
//! Every value travels as text and the column's own input function parses it, so each type
//! survives in exactly the digits it left the source with. Nothing is rounded here, and nothing
//! is guessed: text for a `jsonb` column must be JSON, or the server rejects the record.
//!
//! | value | plain column | `json`, `jsonb` | array |
//! |---|---|---|---|
//! | text, enum, range, … | itself | itself, taken as JSON | itself, taken as an array literal |
//! | json | itself | itself | its items, when it is a JSON list |
//! | list | JSON | JSON | an array literal |
//! | object | JSON | JSON | JSON |
//! | bytes | `\x` and hexadecimal digits | base64 string | rejected by the server |
//! | null | `NULL` | `NULL` | `NULL` |

use std::fmt::Write as _;

use rowcast_core::Value;
use rowcast_core::json::{from_json, push_text, push_value};

/// Why a text with this character can't be stored.
pub(super) const NUL: &str = "PostgreSQL's text can't hold the character U+0000";

/// What a column's type needs from a value's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Json,
    Array { element: Box<Form>, delimiter: char },
}

/// The text of a value for a column, `None` for `NULL`.
///
/// # Errors
/// What PostgreSQL can't hold: a NUL character.
pub(super) fn cell(value: &Value, form: &Form) -> Result<Option<Box<str>>, &'static str> {
    if value.is_null() {
        return Ok(None);
    }
    let mut out = String::new();
    push(&mut out, value, form);
    if out.contains('\0') {
        return Err(NUL);
    }
    Ok(Some(out.into_boxed_str()))
}

/// Appends the text of a value that is not null.
pub(super) fn push(out: &mut String, value: &Value, form: &Form) {
    match (form, value) {
        (_, Value::Text(text)) => out.push_str(text),
        (Form::Json, value) => push_value(out, value),
        (Form::Array { element, delimiter }, Value::List(items)) => {
            push_array(out, items, element, *delimiter);
        }
        (Form::Array { element, delimiter }, Value::Json(text)) => match from_json(text) {
            Ok(Value::List(items)) => push_array(out, &items, element, *delimiter),
            _ => out.push_str(text),
        },
        (_, Value::Bytes(bytes)) => push_hex(out, bytes),
        (_, value) => push_text(out, value),
    }
}

/// Appends an array literal. Every item is quoted, so no content can be taken for syntax.
fn push_array(out: &mut String, items: &[Value], element: &Form, delimiter: char) {
    out.push('{');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(delimiter);
        }
        match item {
            Value::Null => out.push_str("NULL"),
            // A list inside a list is a further dimension, except where lists are values.
            Value::List(inner) if *element != Form::Json => {
                push_array(out, inner, element, delimiter);
            }
            item => {
                let mut text = String::new();
                push(&mut text, item, element);
                out.push('"');
                for c in text.chars() {
                    if matches!(c, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    out.reserve(2 + bytes.len() * 2);
    out.push_str("\\x");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array() -> Form {
        Form::Array {
            element: Box::new(Form::Plain),
            delimiter: ',',
        }
    }

    fn text(value: &Value, form: &Form) -> String {
        cell(value, form).unwrap().unwrap().into()
    }

    #[test]
    fn lists_become_array_literals_or_json() {
        let list = Value::List(vec![
            Value::text("a,\"b\\"),
            Value::Null,
            Value::text("NULL"),
            Value::Int(3),
        ]);
        assert_eq!(text(&list, &array()), r#"{"a,\"b\\",NULL,"NULL","3"}"#);
        assert_eq!(text(&list, &Form::Json), r#"["a,\"b\\",null,"NULL",3]"#);
        let nested = Value::List(vec![
            Value::List(vec![Value::Int(1)]),
            Value::List(vec![Value::Int(2)]),
        ]);
        assert_eq!(text(&nested, &array()), r#"{{"1"},{"2"}}"#);
        assert_eq!(
            text(&Value::Json("[1, \"x\"]".into()), &array()),
            r#"{"1","x"}"#
        );
    }

    #[test]
    fn bytes_are_hexadecimal_and_null_is_null() {
        assert_eq!(
            text(&Value::Bytes(Box::from([0, 255])), &Form::Plain),
            "\\x00ff"
        );
        assert_eq!(cell(&Value::Null, &Form::Json), Ok(None));
    }

    #[test]
    fn a_nul_character_is_refused_before_it_reaches_the_server() {
        assert!(cell(&Value::text("a\0b"), &Form::Plain).is_err());
    }
}
