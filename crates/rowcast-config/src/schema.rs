//! JSON Schema for editors, from the same tables that check the files.

use rowcast_core::{Descriptor, Setting};
use serde_json::{Map, Value, json};

use crate::documents::Document;
use crate::shape::{Key, Kind, Shape, keys_of};

/// The schema of every kind of document, by the word of `rowcast schema`.
pub fn documents(descriptors: &[Descriptor]) -> Vec<(Kind, Value)> {
    crate::documents::documents()
        .iter()
        .map(|document| (document.kind, schema(document, descriptors)))
        .collect()
}

/// The schema of one document. With connectors, a destination's `settings` are checked too.
pub fn schema(document: &Document, descriptors: &[Descriptor]) -> Value {
    let mut root = group(&document.keys);
    if let Some(root) = root.as_object_mut() {
        root.insert(
            "$schema".into(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        root.insert(
            "title".into(),
            json!(format!("Rowcast {}", document.kind.as_str())),
        );
        root.insert("description".into(), json!(document.summary));
        if document.kind == Kind::Destination && !descriptors.is_empty() {
            let names = descriptors.iter().flat_map(|of| spellings(of.name));
            let connector = &mut root["properties"]["connector"];
            connector["type"] = json!(["string", "null"]);
            connector["enum"] = names.collect();
            let rules: Vec<Value> = descriptors.iter().map(settings_rule).collect();
            root.insert("allOf".into(), Value::Array(rules));
        }
    }
    root
}

/// The schema of a connector's settings alone.
pub fn settings_schema(settings: &[Setting]) -> Value {
    group(&keys_of(settings))
}

/// How a connector may be named. The reader takes a bare `null` for the name of that connector.
fn spellings(name: &str) -> Vec<Value> {
    let mut spellings = vec![json!(name)];
    if name == "null" {
        spellings.push(Value::Null);
    }
    spellings
}

fn settings_rule(descriptor: &Descriptor) -> Value {
    json!({
        "if": { "properties": { "connector": { "enum": spellings(descriptor.name) } }, "required": ["connector"] },
        "then": { "properties": { "settings": settings_schema(&descriptor.settings) } },
    })
}

fn group(keys: &[Key]) -> Value {
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties(keys),
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn properties(keys: &[Key]) -> Map<String, Value> {
    keys.iter()
        .map(|key| {
            let mut schema = of(&key.shape);
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".into(), json!(key.help));
                if let Some(default) = key.default {
                    // Defaults are YAML text; what is also JSON keeps its type.
                    let default = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
                    schema.insert("default".into(), default);
                }
            }
            (key.name.to_owned(), schema)
        })
        .collect()
}

/// A value that may also be a placeholder.
fn or_placeholder(mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.remove("description");
    }
    json!({ "anyOf": [schema, { "type": "string", "pattern": "\\$\\{" }] })
}

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Plain | Shape::Secret | Shape::OwnName | Shape::Reference(_) => {
            json!({ "type": ["string", "number", "boolean"] })
        }
        Shape::TimeZone | Shape::Timestamp | Shape::Cron | Shape::Addresses | Shape::HostKey => {
            json!({ "type": "string" })
        }
        Shape::Integer { min, max } => {
            let mut schema = json!({ "type": "integer", "minimum": min });
            if *max != u64::MAX {
                schema["maximum"] = json!(max);
            }
            or_placeholder(schema)
        }
        Shape::Boolean => or_placeholder(json!({ "type": "boolean" })),
        Shape::Choice(words) => or_placeholder(json!({ "enum": words })),
        Shape::Duration | Shape::Period => {
            or_placeholder(json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }))
        }
        Shape::Size => or_placeholder(json!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB)?$",
        })),
        Shape::Percent => {
            or_placeholder(json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? *%$" }))
        }
        Shape::TimeOfDay => json!({
            "type": "string",
            "pattern": "^[0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2})?$",
        }),
        Shape::List(item) => json!({ "type": "array", "items": of(item) }),
        Shape::Group(keys) => group(keys),
        Shape::OneOf(keys) => json!({
            "type": "object",
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
            "properties": properties(keys),
        }),
        Shape::Map(value) => json!({ "type": "object", "additionalProperties": of(value) }),
        Shape::Tree | Shape::ClearTree => json!({}),
        Shape::Either(shapes) => {
            let shapes: Vec<Value> = shapes.iter().map(of).collect();
            json!({ "anyOf": shapes })
        }
    }
}
