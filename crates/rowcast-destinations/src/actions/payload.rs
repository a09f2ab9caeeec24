//! Records as the actions host takes them: JSON whose numbers survive JavaScript.
//!
//! The host parses JSON with doubles, which would merge ids above 2^53 (semantics 30). So `numeric`
//! and whole numbers beyond that go as text, which the package turns back into numbers where a field
//! is one.

use rowcast_core::json::{from_json, push_string, push_value};
use rowcast_core::record::{Batch, Operation, Record};
use rowcast_core::segment::event::{event_name, id_text};
use rowcast_core::{Kind, Name, Value};

/// Whole numbers up to here are exact in a double.
const EXACT: u64 = 1 << 53;

/// What a write asks of the host beside its records.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) action: &'a str,
    pub(super) sync_mode: Option<&'static str>,
    pub(super) match_field: Option<&'a Name>,
    /// One record a request, also where the action could take several.
    pub(super) single: bool,
    /// Literal defaults of fields that a record does not have, as JSON.
    pub(super) defaults: &'a [(String, String)],
    /// Match fields that belong into the payload too.
    pub(super) with_match: &'a [Name],
}

/// `params` of the host's `write`, for the records at these positions.
pub(super) fn write(batch: &Batch, positions: &[usize], asked: &Asked<'_>) -> String {
    let mut out = String::with_capacity(positions.len() * 256);
    out.push_str("{\"action\":");
    push_string(&mut out, asked.action);
    if let Some(mode) = asked.sync_mode {
        out.push_str(",\"mode\":");
        push_string(&mut out, mode);
    }
    if let Some(field) = asked.match_field {
        out.push_str(",\"matching_key\":");
        push_string(&mut out, field);
    }
    out.push_str(if asked.single { ",\"single\":true" } else { "" });
    out.push_str(",\"started_at\":");
    push_value(&mut out, &Value::TimestampTz(batch.context.started_at));
    out.push_str(",\"records\":[");
    for (index, at) in positions.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_record(&mut out, &batch.records[*at], asked);
    }
    out.push_str("]}");
    out
}

fn push_record(out: &mut String, record: &Record, asked: &Asked<'_>) {
    out.push_str("{\"event\":");
    push_string(out, event_name(kind(record)));
    out.push_str(",\"id\":");
    push_string(out, &id_text(&record.key));
    out.push_str(",\"key\":");
    push_string(out, &record.idempotency_key);
    out.push_str(",\"fields\":");
    push_fields(out, record, asked);
    out.push('}');
}

/// The record's fields, with match fields and defaults that are not among them.
pub(super) fn push_fields(out: &mut String, record: &Record, asked: &Asked<'_>) {
    let has = |name: &str| record.fields.iter().any(|(known, _)| &**known == name);
    let matched = record
        .match_on
        .iter()
        .filter(|(name, _)| asked.with_match.contains(name) && !has(name));
    out.push('{');
    let mut first = true;
    let mut name = |out: &mut String, name: &str| {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        push_string(out, name);
        out.push(':');
    };
    for (field, value) in record.fields.iter().chain(matched) {
        name(out, field);
        push_host_value(out, value, false);
    }
    for (field, json) in asked.defaults {
        let is_match = asked.with_match.iter().any(|known| **known == **field);
        if !has(field) && !is_match {
            name(out, field);
            out.push_str(json);
        }
    }
    out.push('}');
}

/// What happened, in agreement with the operation: a record that is sent again is what it was.
fn kind(record: &Record) -> Kind {
    match record.operation {
        Operation::Insert => Kind::Added,
        Operation::Update => Kind::Updated,
        Operation::Delete => Kind::Removed,
        Operation::Upsert if record.kind == Kind::Removed => Kind::Updated,
        Operation::Upsert => record.kind,
    }
}

/// A value as the host's own parser reads it: numbers that a double would change are strings. Decimals
/// are strings, but for those of a JSON column, where a number was meant.
fn push_host_value(out: &mut String, value: &Value, of_json: bool) {
    match value {
        Value::Decimal(digits) if of_json && is_exact(digits) => out.push_str(digits),
        Value::Decimal(digits) => push_string(out, digits),
        Value::Int(number) if number.unsigned_abs() > EXACT => {
            push_string(out, &number.to_string());
        }
        Value::Json(text) => match from_json(text) {
            Ok(value) => push_host_value(out, &value, true),
            Err(_) => push_string(out, text),
        },
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                push_host_value(out, item, of_json);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                push_string(out, name);
                out.push(':');
                push_host_value(out, member, of_json);
            }
            out.push('}');
        }
        other => push_value(out, other),
    }
}

fn is_exact(digits: &str) -> bool {
    digits
        .parse::<f64>()
        .is_ok_and(|number| number.is_finite() && number.to_string() == digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value) -> String {
        let mut out = String::new();
        push_host_value(&mut out, value, false);
        out
    }

    #[test]
    fn rule_30_numbers_that_javascript_would_change_go_as_text() {
        assert_eq!(text(&Value::Int(9_007_199_254_740_992)), "9007199254740992");
        assert_eq!(
            text(&Value::Int(9_007_199_254_740_993)),
            "\"9007199254740993\""
        );
        assert_eq!(text(&Value::Int(i64::MIN)), "\"-9223372036854775808\"");
        assert_eq!(text(&Value::Decimal("12.50".into())), "\"12.50\"");
        assert_eq!(text(&Value::float(1.5)), "1.5");
        let json = Value::Json(r#"{"a":[1.5,1.50,9007199254740993],"b":7}"#.into());
        assert_eq!(
            text(&json),
            r#"{"a":[1.5,"1.50","9007199254740993"],"b":7}"#
        );
        let nested = Value::List(vec![Value::Object(vec![(
            "id".into(),
            Value::Decimal("1".into()),
        )])]);
        assert_eq!(text(&nested), r#"[{"id":"1"}]"#);
    }
}
