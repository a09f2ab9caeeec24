//! A default mapping: Segment's own defaults for the fields of an action, held against a model's
//! columns by name.

use rowcast_core::json::from_json;
use rowcast_core::{Name, Object, Value};
use serde_json::Value as Json;

use super::catalogue::{Action, Field};

/// What of an action can be mapped without a word, as a Segment mapping, and the required fields for
/// which no column was found.
pub fn mapping(action: &Action, columns: &[Name]) -> (Value, Vec<String>) {
    let mut members = Object::new();
    let mut missing = Vec::new();
    for field in action.own_fields() {
        match of_field(field, columns) {
            Some(value) => members.push((field.name.as_str().into(), value)),
            None if field.required => missing.push(field.name.clone()),
            None => {}
        }
    }
    (Value::Object(members), missing)
}

fn of_field(field: &Field, columns: &[Name]) -> Option<Value> {
    if let Some(literal) = field.literal() {
        return from_json(&literal.to_string()).ok();
    }
    let default = field.default.as_ref();
    if let Some(found) = default.and_then(|default| translated(default, columns)) {
        return from_json(&found.to_string()).ok();
    }
    let column = column(&field.name, columns)?;
    from_json(&at(&column).to_string()).ok()
}

/// A default with its paths turned into columns. Nothing when none of them is one.
fn translated(default: &Json, columns: &[Name]) -> Option<Json> {
    match default {
        Json::Object(members) => {
            if let Some(path) = members.get("@path").and_then(Json::as_str) {
                return of_path(path, columns);
            }
            // The first of two that there is; `@if` takes the one that exists.
            if let Some(condition) = members.get("@if") {
                let branch = |name: &str| {
                    let branch = condition.get(name)?;
                    translated(branch, columns)
                };
                return branch("then").or_else(|| branch("else"));
            }
            if members.keys().any(|name| name.starts_with('@')) {
                return None;
            }
            let found: serde_json::Map<String, Json> = members
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), translated(value, columns)?)))
                .collect();
            (!found.is_empty()).then_some(Json::Object(found))
        }
        Json::String(text) if text.contains("{{") => None,
        Json::Null | Json::Array(_) => None,
        literal => Some(literal.clone()),
    }
}

fn of_path(path: &str, columns: &[Name]) -> Option<Json> {
    match path {
        // The row event has these itself.
        "$.timestamp" | "$.receivedAt" | "$.event" => Some(serde_json::json!({ "@path": path })),
        // All columns.
        "$.properties" | "$.traits" => Some(serde_json::json!({ "@path": "$.properties" })),
        _ => {
            let last = path.rsplit('.').next()?;
            column(last, columns).map(|column| at(&column))
        }
    }
}

fn at(column: &str) -> Json {
    serde_json::json!({ "@path": format!("$.properties.{column}") })
}

/// The column of a name, whether words are joined by `_` or by capitals.
fn column(name: &str, columns: &[Name]) -> Option<Name> {
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let wanted = plain(name);
    let mut found = columns.iter().filter(|column| plain(column) == wanted);
    found.next().cloned()
}

#[cfg(test)]
mod tests {
    use rowcast_core::json::to_json;

    use super::*;
    use crate::actions::catalogue::find;

    #[test]
    fn columns_are_found_by_the_last_word_of_a_default() {
        let entry = find("klaviyo").expect("it is there");
        let action = entry.action("upsertProfile").expect("an action");
        let columns: Vec<Name> = ["id", "email", "first_name"].map(Name::from).into();
        let (mapping, missing) = mapping(action, &columns);
        assert!(missing.is_empty(), "{missing:?}");
        let text = to_json(&mapping);
        assert!(
            text.contains(r#""email":{"@path":"$.properties.email"}"#),
            "{text}"
        );
        assert!(
            text.contains(r#""first_name":{"@path":"$.properties.first_name"}"#),
            "{text}"
        );
        assert!(!text.contains("phone"), "{text}");
    }

    #[test]
    fn what_is_needed_and_not_found_is_said() {
        let entry = find("slack").expect("it is there");
        let action = entry.action("").expect("the only one");
        let (_, missing) = mapping(action, &["id".into()]);
        assert_eq!(missing, ["url", "text"]);
    }
}
