//! How JavaScript prints values: numbers, lists in text, compact JSON.
//!
//! Numbers that a double can't hold keep their digits: an id above 2^53 must not become another
//! id on its way through a template.

use std::fmt::Write as _;

use super::node::Node;
use crate::json::{push_text, push_value};
use crate::value::Value;

/// The letters of a text as JavaScript numbers them: one for each UTF-16 unit.
pub(super) fn letters(text: &str) -> impl Iterator<Item = String> {
    text.encode_utf16()
        .map(|unit| String::from_utf16_lossy(&[unit]))
}

/// The text of a value inside a template; null and absent are empty.
pub(super) fn of(node: &Node) -> String {
    match node {
        Node::Absent => String::new(),
        Node::Scalar(value) => scalar(value),
        Node::List(items) => {
            let items: Vec<String> = items.iter().map(of).collect();
            items.join(",")
        }
        Node::Object(_) => "[object Object]".into(),
    }
}

/// The text of a value that is neither a list nor an object.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Decimal(digits) => shortest(digits),
        Value::Float { value, .. } => number(*value),
        value => {
            let mut out = String::new();
            push_text(&mut out, value);
            out
        }
    }
}

/// Digits in JavaScript's form, unless a double would lose some of them.
fn shortest(digits: &str) -> String {
    let significant = digits
        .split(['e', 'E'])
        .next()
        .unwrap_or(digits)
        .trim_start_matches(['-', '0', '.'])
        .bytes()
        .filter(u8::is_ascii_digit)
        .count();
    // Any decimal of up to 15 digits survives the way through a double.
    match digits.parse::<f64>() {
        Ok(value) if significant <= 15 && value.is_finite() => number(value),
        _ => digits.into(),
    }
}

/// A double as JavaScript prints it: plain digits from 1e-6 up to 1e21, an exponent beyond.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return match value {
            v if v.is_nan() => "NaN".into(),
            0.0 => "0".into(),
            v if v > 0.0 => "Infinity".into(),
            _ => "-Infinity".into(),
        };
    }
    let size = value.abs();
    if (1e-6..1e21).contains(&size) {
        return format!("{value}");
    }
    // Rust writes 1e21 and 1.5e-7; JavaScript writes the plus.
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// Compact JSON text; absent members are left out, absent items are null.
pub(super) fn json(node: &Node) -> Option<String> {
    let mut out = String::new();
    match node {
        Node::Absent => return None,
        node => push_json(&mut out, node),
    }
    Some(out)
}

fn push_json(out: &mut String, node: &Node) {
    match node {
        Node::Absent => out.push_str("null"),
        Node::Scalar(Value::Text(text)) => push_json_string(out, text),
        Node::Scalar(value @ (Value::Decimal(_) | Value::Float { .. })) => {
            let text = scalar(value);
            // JSON has no word for these.
            out.push_str(if crate::json::is_json_number(&text) {
                &text
            } else {
                "null"
            });
        }
        Node::Scalar(value) => push_value(out, value),
        Node::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_json(out, item);
            }
            out.push(']');
        }
        Node::Object(members) => {
            out.push('{');
            let mut first = true;
            for (name, node) in members {
                if *node == Node::Absent {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                push_json_string(out, name);
                out.push(':');
                push_json(out, node);
            }
            out.push('}');
        }
    }
}

/// `JSON.stringify` of a string: as ours, with the short forms of backspace and form feed.
fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}
