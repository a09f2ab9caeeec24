//! Records that the conformance suite makes up.

use rowcast_core::json::from_json;
use rowcast_core::{Object, Value};

use super::super::protocol::{Field, FieldType};

/// Identifiers of whole numbers begin here, far from those of real records.
const NUMBERS_FROM: i64 = 990_000_000;

/// The value by which the record of this number is found.
pub(super) fn identifier(field: &Field, number: usize) -> Value {
    match field.kind {
        FieldType::Integer => Value::Int(NUMBERS_FROM + number as i64),
        _ if is_email(field) => format!("rowcast-test-{number}@example.com").into(),
        _ => format!("rowcast-test-{number}").into(),
    }
}

/// A record with a value for every field that can be written when it is made.
pub(super) fn record(fields: &[Field], by: &Field, number: usize) -> Object {
    let others = fields
        .iter()
        .filter(|field| field.api_name != by.api_name && field.createable);
    let mut record = vec![(by.api_name.clone(), identifier(by, number))];
    for field in others {
        let value = if field.identifier {
            identifier(field, number)
        } else {
            value(field)
        };
        record.push((
            field.api_name.clone(),
            if field.array {
                Value::List(vec![value])
            } else {
                value
            },
        ));
    }
    record
}

/// The same with a value that can't be right; `None` when every value can be.
pub(super) fn bad(fields: &[Field], by: &Field, number: usize) -> Option<Object> {
    let mut record = record(fields, by, number);
    let others = || fields.iter().filter(|field| field.api_name != by.api_name);
    let position = |field: &Field| record.iter().position(|(name, _)| *name == field.api_name);
    let mistyped =
        others().find(|field| field.createable && !field.array && field.kind != FieldType::String);
    if let Some(position) = mistyped.and_then(position) {
        record[position].1 = "this is no such value".into();
        return Some(record);
    }
    let required = others().find(|field| field.createable && field.required);
    let position = required.and_then(position)?;
    record[position].1 = Value::Null;
    Some(record)
}

fn is_email(field: &Field) -> bool {
    let name = field.api_name.to_lowercase();
    name.contains("email") || name.contains("e_mail")
}

fn value(field: &Field) -> Value {
    let text = match field.kind {
        FieldType::Boolean => "true",
        FieldType::Decimal => "\"1.50\"",
        FieldType::Float => "0.5",
        FieldType::Integer => "1",
        FieldType::Date => "\"2024-02-29\"",
        FieldType::DateTime => "\"2024-02-29T12:30:00Z\"",
        FieldType::String if is_email(field) => "\"rowcast-test@example.com\"",
        FieldType::String => "\"rowcast test\"",
    };
    from_json(text).unwrap_or(Value::Null)
}
