//! What a connector that knows its objects says about a sync: object, mode, match and fields.

use rowcast_core::descriptor::ObjectDescription;
use rowcast_core::{Code, Descriptor, Operation, Value};

use crate::problem::{Problem, reason};
use crate::project::Sync;
use crate::shape::list_words;
use crate::walk::suggest;

/// The object a sync means, if the connector describes it; notes it when there is none of the name.
pub(crate) fn object<'d>(
    sync: &Sync,
    descriptor: &'d Descriptor,
    problems: &mut Vec<Problem>,
) -> Option<&'d ObjectDescription> {
    let Some(name) = sync.object.as_deref() else {
        return match descriptor.objects.as_slice() {
            [only] if only.name != "*" => Some(only),
            _ => None,
        };
    };
    let found = descriptor.object(name);
    if found.is_none() && !descriptor.objects.is_empty() {
        let names: Vec<&str> = descriptor
            .objects
            .iter()
            .map(|object| object.name)
            .collect();
        let message = format!(
            "sync \"{}\" names the object \"{name}\", which {} does not have",
            sync.name, descriptor.name
        );
        let hint = match suggest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", list_words(&names, "and")),
        };
        let reason = reason(Code::UnknownReference, message).hint(hint);
        problems.push(at(sync, "object", reason));
    }
    found
}

/// Whether fields and match are those of the object.
pub(crate) fn fields(
    sync: &Sync,
    object: &ObjectDescription,
    operations: &[Operation],
    problems: &mut Vec<Problem>,
) {
    for (field, _) in &sync.match_on {
        if !object.match_on.is_empty() && !object.match_on.contains(&&**field) {
            let message = format!(
                "sync \"{}\" matches by `{field}`, by which no {} is found",
                sync.name,
                object.title.to_lowercase()
            );
            let hint = format!("possible here: {}", list_words(&object.match_on, "or"));
            let reason = reason(Code::InvalidSetting, message).hint(hint);
            problems.push(at(sync, &format!("match_on.{field}"), reason));
        }
    }
    let Value::Object(members) = &sync.fields else {
        return;
    };
    // What a Segment mapping or an event makes is known to no one before a row is there.
    if sync.mapping.is_some() || sync.event.is_some() {
        return;
    }
    let known: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
    for (name, _) in members {
        if !object.any_field && !known.contains(&&**name) {
            let message = format!(
                "sync \"{}\" maps the field `{name}`, which {} does not have",
                sync.name,
                object.title.to_lowercase()
            );
            let hint = match suggest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its fields are {}", list_words(&known, "and")),
            };
            let reason = reason(Code::InvalidSetting, message).hint(hint);
            problems.push(at(sync, &format!("fields.{name}"), reason));
        }
    }
    let creates = operations
        .iter()
        .any(|operation| matches!(operation, Operation::Insert | Operation::Upsert));
    for field in object
        .fields
        .iter()
        .filter(|field| creates && field.required)
    {
        let mapped = members.iter().any(|(name, _)| &**name == field.name)
            || sync.match_on.iter().any(|(name, _)| &**name == field.name);
        if !mapped {
            let message = format!(
                "sync \"{}\" does not map the field `{}`, which {} needs",
                sync.name,
                field.name,
                object.title.to_lowercase()
            );
            let hint = format!("add `{}: COLUMN` to fields ({})", field.name, field.help);
            let reason = reason(Code::MissingKey, message).hint(hint);
            problems.push(at(sync, "fields", reason));
        }
    }
}

fn at(sync: &Sync, path: &str, reason: rowcast_core::Reason) -> Problem {
    match sync.positions.get(path) {
        Some(location) => Problem::at(reason, location),
        None => Problem::general(reason),
    }
}
