//! How values become JSON: the written rules, in one place.
//!
//! | value | JSON |
//! |---|---|
//! | integers | a number with all its digits |
//! | numeric | a number with PostgreSQL's exact digits; `NaN` and the infinities are strings |
//! | float | the shortest number that reads back equal; `NaN` and the infinities are strings |
//! | date, time | `"2024-02-29"`, `"13:37:00.5"` |
//! | timestamp | `"2024-02-29T13:37:00"`, with time zone in UTC with `Z`; `"infinity"` |
//! | bytea | base64 |
//! | interval | ISO 8601: `"P1Y2M3DT4H5M6.5S"` |
//! | json, jsonb | itself |
//! | arrays | a list, nested for several dimensions |
//! | everything else | PostgreSQL's text form as a string |
//!
//! Must never produce invalid JSON and never lose a digit.

use std::fmt::Write as _;

use crate::time::{push_date, push_time, push_timestamp};
use crate::value::{Object, Value};

/// Integers above this can't be held by a JavaScript number: 2^53.
pub const SAFE_INTEGER_MAX: i64 = 9_007_199_254_740_992;

/// The JSON text of a value.
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    push_value(&mut out, value);
    out
}

/// Appends the JSON text of a value.
pub fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(value) => push_int(out, *value),
        Value::Float { .. } => {
            let text = to_text(value);
            push_number(out, &text);
        }
        Value::Decimal(text) => push_number(out, text),
        Value::Text(text) => push_string(out, text),
        Value::Json(text) => out.push_str(text),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => push_object(out, members),
        Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::TimestampTz(_)
        | Value::Uuid(_) => {
            out.push('"');
            push_text(out, value);
            out.push('"');
        }
    }
}

/// A number if JSON knows it, else a string (`NaN`).
fn push_number(out: &mut String, text: &str) {
    if is_json_number(text) {
        out.push_str(text);
    } else {
        push_string(out, text);
    }
}

/// Appends a whole number's digits.
pub fn push_int(out: &mut String, value: i64) {
    // 2^64 has 20 digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push('-');
    }
    push_ascii(out, &digits[start..]);
}

/// Appends bytes that are known to be ASCII.
pub(crate) fn push_ascii(out: &mut String, bytes: &[u8]) {
    out.push_str(std::str::from_utf8(bytes).unwrap_or_default());
}

/// Appends an object.
pub fn push_object(out: &mut String, members: &Object) {
    out.push('{');
    for (i, (name, value)) in members.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_string(out, name);
        out.push(':');
        push_value(out, value);
    }
    out.push('}');
}

/// Appends a JSON string, quoted and escaped.
pub fn push_string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    loop {
        let clean = clean_bytes(rest.as_bytes());
        let (plain, dirty) = rest.split_at(clean);
        out.push_str(plain);
        let Some(&byte) = dirty.as_bytes().first() else {
            break;
        };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = &dirty[1..];
    }
    out.push('"');
}

/// How many bytes at the start need no escape.
fn clean_bytes(bytes: &[u8]) -> usize {
    let escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut clean = 0;
    // Without a branch for each byte, so that the compiler looks at all of them at once.
    for chunk in bytes.chunks_exact(16) {
        if chunk
            .iter()
            .fold(false, |dirty, &byte| dirty | escaped(byte))
        {
            break;
        }
        clean += 16;
    }
    let rest = &bytes[clean..];
    clean
        + rest
            .iter()
            .position(|&byte| escaped(byte))
            .unwrap_or(rest.len())
}

/// The plain text of a value, as templates, paths and CSV cells show it: JSON's form without the
/// quotes; null is empty.
pub fn to_text(value: &Value) -> String {
    let mut out = String::new();
    push_text(&mut out, value);
    out
}

/// Appends the plain text of a value (see `to_text`).
pub fn push_text(out: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Text(text) | Value::Decimal(text) => out.push_str(text),
        Value::Float { value, single } => push_float(out, *value, *single),
        Value::Bytes(bytes) => push_base64(out, bytes),
        Value::Date(days) => push_date(out, *days),
        Value::Time(us) => push_time(out, *us),
        Value::Timestamp(us) => push_timestamp(out, *us, ""),
        Value::TimestampTz(us) => push_timestamp(out, *us, "Z"),
        Value::Uuid(bytes) => push_uuid(out, bytes),
        Value::Bool(_) | Value::Int(_) | Value::Json(_) | Value::List(_) | Value::Object(_) => {
            push_value(out, value);
        }
    }
}

fn push_float(out: &mut String, value: f64, single: bool) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if single {
        // Debug writes the shortest digits that read back equal, with an exponent when long.
        let _ = write!(out, "{:?}", value as f32);
    } else {
        let _ = write!(out, "{value:?}");
    }
    if out.ends_with(".0") {
        out.truncate(out.len() - 2);
    }
}

/// How many bytes an object takes as JSON, but for escapes: near enough to fill a request by, at a
/// fraction of what writing it costs.
pub fn size_of_object(members: &Object) -> usize {
    let members = members.iter();
    2 + members
        .map(|(name, value)| name.len() + 4 + size(value))
        .sum::<usize>()
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        // The longest.
        Value::Int(_) => 20,
        Value::Float { .. } => 24,
        Value::Date(_) | Value::Time(_) => 17,
        Value::Timestamp(_) | Value::TimestampTz(_) => 32,
        Value::Uuid(_) => 38,
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => text.len() + 2,
        Value::Bytes(bytes) => bytes.len().div_ceil(3) * 4 + 2,
        Value::List(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(members) => size_of_object(members),
    }
}

/// Whether a text is a number by JSON's grammar.
pub fn is_json_number(text: &str) -> bool {
    let mut rest = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let digits = |rest: &mut &[u8]| {
        let n = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        *rest = &rest[n..];
        n
    };
    match rest.first() {
        Some(b'0') => rest = &rest[1..],
        Some(b'1'..=b'9') => {
            digits(&mut rest);
        }
        _ => return false,
    }
    if let Some((b'.', after)) = rest.split_first() {
        rest = after;
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    if let Some((b'e' | b'E', after)) = rest.split_first() {
        rest = after;
        if let Some((b'+' | b'-', after)) = rest.split_first() {
            rest = after;
        }
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

fn push_uuid(out: &mut String, bytes: &[u8; 16]) {
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    push_ascii(out, &text);
}

pub(crate) const HEX: &[u8; 16] = b"0123456789abcdef";

fn push_base64(out: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let word = u32::from(chunk[0]) << 16
            | u32::from(*chunk.get(1).unwrap_or(&0)) << 8
            | u32::from(*chunk.get(2).unwrap_or(&0));
        for i in 0..4 {
            if i <= chunk.len() {
                out.push(ALPHABET[(word >> (18 - 6 * i) & 63) as usize] as char);
            } else {
                out.push('=');
            }
        }
    }
}

/// Reads JSON text into a value with exact digits. Numbers that are whole and fit become `Int`,
/// others keep their digits as `Decimal`.
///
/// # Errors
/// Says where the text is not JSON.
pub fn from_json(text: &str) -> Result<Value, serde_json::Error> {
    let raw: &serde_json::value::RawValue = serde_json::from_str(text)?;
    from_raw(raw, DEPTH_MAX)
}

/// Lists and objects inside each other, at most: as many as `serde_json` reads. A text of brackets
/// alone must not end the process.
const DEPTH_MAX: usize = 128;

fn from_raw(raw: &serde_json::value::RawValue, depth: usize) -> Result<Value, serde_json::Error> {
    let text = raw.get().trim();
    let Some(below) = depth.checked_sub(1) else {
        return Err(serde::de::Error::custom(format!(
            "more than {DEPTH_MAX} lists and objects inside each other"
        )));
    };
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: MapOfRaw<'_> = serde_json::from_str(text)?;
            let mut object = Object::with_capacity(members.0.len());
            for (name, raw) in members.0 {
                object.push((name.into(), from_raw(raw, below)?));
            }
            Value::Object(object)
        }
        Some(b'[') => {
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(text)?;
            Value::List(
                items
                    .into_iter()
                    .map(|item| from_raw(item, below))
                    .collect::<Result<_, _>>()?,
            )
        }
        Some(b'"') => Value::Text(serde_json::from_str::<String>(text)?.into()),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Null,
        _ => match text.parse::<i64>() {
            Ok(value) => Value::Int(value),
            Err(_) => Value::Decimal(text.into()),
        },
    })
}

struct MapOfRaw<'a>(Vec<(String, &'a serde_json::value::RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for MapOfRaw<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = MapOfRaw<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) =
                    map.next_entry::<String, &'de serde_json::value::RawValue>()?
                {
                    members.push(entry);
                }
                Ok(MapOfRaw(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = serde_json::value::RawValue::from_string(to_json(self))
            .map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_30_numbers_keep_their_exact_digits() {
        assert_eq!(to_json(&Value::Int(i64::MAX)), "9223372036854775807");
        let exact = "12345678901234567890.123456789012345678900";
        assert_eq!(to_json(&Value::Decimal(exact.into())), exact);
        assert_eq!(to_json(&Value::Decimal("NaN".into())), "\"NaN\"");
        assert_eq!(to_json(&Value::float(0.1)), "0.1");
        assert_eq!(to_json(&Value::float(1e300)), "1e300");
        assert_eq!(
            to_json(&Value::Float {
                value: f64::from(0.1_f32),
                single: true
            }),
            "0.1"
        );
        assert_eq!(to_json(&Value::float(f64::NEG_INFINITY)), "\"-Infinity\"");
    }

    #[test]
    fn strings_are_escaped_and_bytes_are_base64() {
        assert_eq!(
            to_json(&Value::text("a\"b\\\n\u{1}é")),
            "\"a\\\"b\\\\\\n\\u0001é\""
        );
        assert_eq!(
            to_json(&Value::Bytes(Box::from(*b"any carnal pleas"))),
            "\"YW55IGNhcm5hbCBwbGVhcw==\""
        );
        assert_eq!(to_json(&Value::Bytes(Box::from(*b""))), "\"\"");
    }

    #[test]
    fn brackets_without_end_are_refused_instead_of_filling_the_stack() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(from_json(&deep(127)).is_ok());
        let error = from_json(&deep(100_000)).unwrap_err().to_string();
        assert!(error.contains("128"), "{error}");
    }

    #[test]
    fn json_is_read_back_with_exact_digits() {
        let text = r#"{"a":[1,2.50,"x",null,true],"n":12345678901234567890123}"#;
        assert_eq!(to_json(&from_json(text).unwrap()), text);
    }
}
