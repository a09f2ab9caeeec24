//! Segment's row event: what its mappings and triggers see of a change.
//!
//! Columns stand under `properties`, in JSON's own types and with exact digits. Must never hold
//! anything but the row, what happened to it, its key, and the start of the run.

use crate::change::Kind;
use crate::json::{from_json, push_value, to_json};
use crate::key::Key;
use crate::row::Row;
use crate::value::{Name, Object, Value};

/// The member that holds the primary key as text.
pub const ID: &str = "__segment_id";

/// A change as mappings that ask for more than columns see it.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    pub kind: Kind,
    /// Outside a run a row may have no key.
    pub key: Option<&'a Key>,
    /// The present row; for a removed one its last values, where they were kept.
    pub row: Option<&'a Row>,
}

/// Segment's word for a kind of change.
pub fn event_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "new",
        Kind::Updated => "updated",
        Kind::Removed => "deleted",
    }
}

/// The key as Segment writes it: the value's own text, or for several columns the JSON list of
/// theirs.
pub fn id_text(key: &Key) -> String {
    match &*key.0 {
        [part] => part.to_string(),
        _ => key.canonical(),
    }
}

/// The row event with these columns as its properties, where one that the row has not is null;
/// without a list all columns of the row.
/// `started_at`: when the run started, in microseconds since 1970.
pub fn row_event(occasion: &Occasion<'_>, columns: Option<&[Name]>, started_at: i64) -> Value {
    let property = |name: &Name| {
        let value = occasion.row.and_then(|row| row.get(name));
        (name.clone(), value.map_or(Value::Null, plain))
    };
    let properties = match (columns, occasion.row) {
        (Some(columns), _) => columns.iter().map(property).collect(),
        (None, Some(row)) => {
            let columns = row.schema.columns.iter();
            columns.map(|column| property(&column.name)).collect()
        }
        (None, None) => Object::new(),
    };
    let id = occasion
        .key
        .map_or(Value::Null, |key| Value::from(id_text(key)));
    let moment = plain(&Value::TimestampTz(started_at));
    let member = |name: &str, value: Value| (Name::from(name), value);
    let event: Object = vec![
        member("type", Value::from("track")),
        member("event", Value::from(event_name(occasion.kind))),
        member(ID, id),
        member("properties", Value::Object(properties)),
        member("timestamp", moment.clone()),
        member("receivedAt", moment),
    ];
    Value::Object(event)
}

/// A column's value in JSON's types, as a record would carry it.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) => value.clone(),
        Value::Float { value: number, .. } if number.is_finite() => value.clone(),
        Value::Json(text) => from_json(text).unwrap_or_else(|_| value.clone()),
        Value::List(items) => Value::List(items.iter().map(plain).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect(),
        ),
        other => {
            let mut text = String::new();
            push_value(&mut text, other);
            from_json(&text).unwrap_or_else(|_| Value::from(to_json(other)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::key::KeyPart;
    use crate::row::{Column, Schema};

    fn row(columns: Vec<(&str, Value)>) -> Row {
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let columns = names
            .into_iter()
            .map(|name| Column {
                name: name.into(),
                type_name: "text".into(),
            })
            .collect();
        Row {
            schema: Arc::new(Schema { columns }),
            values,
        }
    }

    #[test]
    fn rule_30_a_row_event_holds_the_columns_with_exact_digits() {
        let row = row(vec![
            ("id", Value::Int(9_007_199_254_740_993)),
            ("total", Value::Decimal("12345678901234567890.10".into())),
            ("extra", Value::Json(r#"{"a":[1.50,null]}"#.into())),
            ("seen", Value::TimestampTz(0)),
        ]);
        let names: Vec<Name> = ["id", "total", "extra", "seen"].map(Name::from).into();
        let key = Key::int(9_007_199_254_740_993);
        let occasion = Occasion {
            kind: Kind::Added,
            key: Some(&key),
            row: Some(&row),
        };
        assert_eq!(
            to_json(&row_event(&occasion, Some(&names), 0)),
            r#"{"type":"track","event":"new","__segment_id":"9007199254740993","properties":{"id":9007199254740993,"total":12345678901234567890.10,"extra":{"a":[1.50,null]},"seen":"1970-01-01T00:00:00Z"},"timestamp":"1970-01-01T00:00:00Z","receivedAt":"1970-01-01T00:00:00Z"}"#
        );
    }

    #[test]
    fn a_deleted_row_has_nulls_and_its_id() {
        let key = Key::from([KeyPart::Int(7), KeyPart::Text("eu".into())]);
        let occasion = Occasion {
            kind: Kind::Removed,
            key: Some(&key),
            row: None,
        };
        let event = row_event(&occasion, Some(&["email".into()]), 0);
        assert_eq!(event.get("event"), Some(&Value::from("deleted")));
        assert_eq!(event.get(ID), Some(&Value::from("[7,\"eu\"]")));
        assert_eq!(
            event.get("properties"),
            Some(&Value::Object(vec![("email".into(), Value::Null)]))
        );
    }
}
