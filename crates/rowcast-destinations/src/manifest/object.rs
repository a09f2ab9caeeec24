//! The objects of a manifest: fields, what they are matched by, and the call of each operation.

use rowcast_core::record::Operation;
use rowcast_core::{Object, SettingValue, Value};

use super::call::{Call, Steps};
use super::lookup::Lookup;
use super::read::Reader;
use crate::http::answer::Rule;

/// What can be written.
#[derive(Debug)]
pub(super) struct ObjectSpec {
    /// `*` stands for every name without a description of its own.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) help: String,
    /// Whether records are found by `match_on`; without, the key only keeps the order.
    pub(super) matches: bool,
    /// Fields to match by; any when empty.
    pub(super) match_on: Vec<String>,
    pub(super) match_many: bool,
    pub(super) fields: Vec<FieldSpec>,
    /// How fields without a description are taken.
    pub(super) other: Option<FieldSpec>,
    pub(super) lookup: Option<Lookup>,
    pub(super) operations: Vec<(Operation, Steps)>,
}

/// One field.
#[derive(Debug)]
pub(super) struct FieldSpec {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) required: bool,
    pub(super) help: String,
    /// The member it is put into.
    pub(super) into: Option<String>,
}

impl ObjectSpec {
    /// Reads one object, whose shape has been checked.
    pub(super) fn read(
        name: &str,
        value: &SettingValue,
        rules: &[Rule],
        reader: &mut Reader<'_>,
        path: &str,
    ) -> Self {
        let mut fields = Vec::new();
        let mut other = None;
        let described = value.get("fields").map_or(&[][..], SettingValue::members);
        for (name, value) in described {
            let field = FieldSpec {
                name: name.clone(),
                type_name: text(value, "type").unwrap_or_else(|| "string".into()),
                required: value.get("required").and_then(SettingValue::as_bool) == Some(true),
                help: text(value, "help").unwrap_or_default(),
                into: text(value, "into"),
            };
            if name == "*" {
                other = Some(field);
            } else {
                fields.push(field);
            }
        }
        let lookup = value
            .get("lookup")
            .and_then(|value| Lookup::read(value, rules, reader, &format!("{path}.lookup")));
        let mut operations = Vec::new();
        for operation in Operation::ALL {
            let at = format!("{path}.operations.{operation}");
            let call = value
                .get("operations")
                .and_then(|all| all.get(operation.as_str()));
            if let Some(call) = call
                && let Some(steps) = Steps::read(call, lookup.is_some(), rules, reader, &at)
            {
                operations.push((operation, steps));
            }
        }
        let match_on = value.get("match_on");
        let choices = match_on.and_then(|value| value.get("choices"));
        Self {
            name: name.to_owned(),
            title: text(value, "title").unwrap_or_default(),
            help: text(value, "help").unwrap_or_default(),
            matches: match_on.is_some(),
            match_on: choices
                .map_or(&[][..], SettingValue::items)
                .iter()
                .filter_map(|item| item.as_text().map(str::to_owned))
                .collect(),
            match_many: match_on
                .and_then(|value| value.get("many"))
                .and_then(SettingValue::as_bool)
                == Some(true),
            fields,
            other,
            lookup,
            operations,
        }
    }

    /// The steps of an operation.
    pub(super) fn steps(&self, operation: Operation) -> Option<&Steps> {
        self.operations
            .iter()
            .find(|(of, _)| *of == operation)
            .map(|(_, steps)| steps)
    }

    /// Every call, lookups included.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        let lookup = self.lookup.iter().map(|lookup| &lookup.call);
        lookup.chain(self.operations.iter().flat_map(|(_, steps)| steps.calls()))
    }

    /// Puts each field into the member it belongs to.
    pub(super) fn arrange(&self, fields: Object) -> Object {
        let mut arranged = Object::with_capacity(fields.len());
        for (name, value) in fields {
            let spec = self
                .fields
                .iter()
                .find(|field| field.name == *name)
                .or(self.other.as_ref());
            let mut place = &mut arranged;
            let into = spec.and_then(|spec| spec.into.as_deref()).unwrap_or("");
            for member in into.split('.').filter(|member| !member.is_empty()) {
                place = member_of(place, member);
            }
            place.retain(|(other, _)| *other != name);
            place.push((name, value));
        }
        arranged
    }
}

/// The object under a name, made if need be.
fn member_of<'a>(object: &'a mut Object, name: &str) -> &'a mut Object {
    let position = match object.iter().position(|(other, _)| &**other == name) {
        Some(position) => position,
        None => {
            object.push((name.into(), Value::Object(Vec::new())));
            object.len() - 1
        }
    };
    let value = &mut object[position].1;
    if !matches!(value, Value::Object(_)) {
        *value = Value::Object(Vec::new());
    }
    match value {
        Value::Object(members) => members,
        _ => unreachable!("it was made an object above"),
    }
}

/// A text member.
pub(super) fn text(value: &SettingValue, name: &str) -> Option<String> {
    match value.get(name)? {
        SettingValue::Bool(value) => Some(value.to_string()),
        value => value.as_text().map(str::to_owned),
    }
}
