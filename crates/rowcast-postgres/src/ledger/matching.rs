//! Match values in state: the identity a record was delivered under (semantics 12).
//!
//! One canonical text on both sides, so that SQL can compare what rows claim now with what state
//! says was delivered: PostgreSQL's text of a JSON list of texts.

use rowcast_core::{Name, Value, json};

use super::forms::{Decode, TypeFacts};
use crate::sql::ident as quote_ident;

/// A column of `match_on`.
#[derive(Debug, Clone)]
pub(super) struct MatchColumn {
    pub name: Name,
    pub decode: Decode,
}

/// Whether a type's plain text is the same in SQL and in records: needed to track identities.
pub(super) fn trackable(facts: &TypeFacts) -> bool {
    matches!(
        facts.base.as_str(),
        "int2" | "int4" | "int8" | "text" | "varchar" | "uuid" | "numeric" | "bool" | "name"
    ) || facts.kind == 'e'
        || facts.base.ends_with("citext")
}

/// The SQL of the canonical text over the model's columns; null when a part is null.
pub(super) fn sql(columns: &[MatchColumn]) -> String {
    let texts: Vec<String> = columns
        .iter()
        .map(|column| format!("m.{}::text", quote_ident(&column.name)))
        .collect();
    let nulls: Vec<String> = columns
        .iter()
        .map(|column| format!("m.{} IS NULL", quote_ident(&column.name)))
        .collect();
    format!(
        "CASE WHEN {} THEN NULL ELSE jsonb_build_array({})::text END",
        nulls.join(" OR "),
        texts.join(", ")
    )
}

/// The canonical text of match values, byte for byte what `sql` gives.
pub(super) fn canonical(values: &[Value]) -> String {
    let mut out = String::from("[");
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        push_postgres_string(&mut out, &json::to_text(value));
    }
    out.push(']');
    out
}

/// A JSON string with PostgreSQL's choice of escapes.
fn push_postgres_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Match values from their canonical text, as texts.
pub(super) fn texts(canonical: &str) -> Option<Vec<Value>> {
    match json::from_json(canonical) {
        Ok(Value::List(items)) => Some(items),
        _ => None,
    }
}

/// Match values from their canonical text, in the types of the columns.
pub(super) fn parse(canonical: &str, columns: &[MatchColumn]) -> Option<Vec<Value>> {
    let Ok(Value::List(items)) = json::from_json(canonical) else {
        return None;
    };
    if items.len() != columns.len() {
        return None;
    }
    items
        .into_iter()
        .zip(columns)
        .map(|(item, column)| {
            let Value::Text(text) = item else { return None };
            Some(match column.decode {
                Decode::Int2 | Decode::Int4 | Decode::Int8 => Value::Int(text.parse().ok()?),
                Decode::Numeric => Value::Decimal(text),
                Decode::Bool => Value::Bool(&*text == "true"),
                _ => Value::Text(text),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_is_read_back_in_the_columns_types() {
        let columns = [
            MatchColumn {
                name: "a".into(),
                decode: Decode::Int8,
            },
            MatchColumn {
                name: "b".into(),
                decode: Decode::Text,
            },
        ];
        let values = vec![Value::Int(7), Value::text("x\"\\\n\u{1}é")];
        let text = canonical(&values);
        assert_eq!(text, "[\"7\", \"x\\\"\\\\\\n\\u0001é\"]");
        assert_eq!(parse(&text, &columns), Some(values));
    }
}
