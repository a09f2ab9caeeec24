//! Whether a sync and the object it writes to agree, where only the service can tell.
//!
//! A connector with a description of its objects has been compared when the project was read. This is for
//! the others: they are asked, before anything is planned.

use rowcast_config::{Problem, Sync};
use rowcast_core::destination::ObjectSchema;
use rowcast_core::{Code, Destination, Kind, Name, Operation, Reason, Value};

use crate::Answer;
use crate::failure::Failure;

/// Asks the destination for what only it knows, and compares the sync's fields with it; `keys` are the
/// model's primary key. The schema is
/// `None` when there is nothing to compare with.
///
/// # Errors
/// The service can't be asked, or every field that it does not have, or needs and does not get, at its
/// line.
pub(crate) async fn agree(
    sync: &Sync,
    keys: &[Name],
    destination: &dyn Destination,
) -> Answer<Option<ObjectSchema>> {
    let schema = match destination.prepare().await {
        Ok(schema) => schema,
        Err(fault) => return Err(placed(sync, fault.reason().clone())),
    };
    let Some(schema) = schema else {
        return Ok(None);
    };
    let problems = problems(sync, keys, &schema);
    if problems.is_empty() {
        Ok(Some(schema))
    } else {
        Err(Failure::of(problems))
    }
}

/// What the service refuses, at the line that asks for it.
fn placed(sync: &Sync, reason: Reason) -> Failure {
    let path = match reason.code {
        Code::UnsupportedMode => "mode",
        Code::DestinationObject => "object",
        Code::InvalidSetting => "match_on",
        _ => return reason.into(),
    };
    match sync.position(path) {
        Some(location) => Failure::of(vec![Problem::at(reason, location)]),
        None => reason.into(),
    }
}

fn problems(sync: &Sync, keys: &[Name], schema: &ObjectSchema) -> Vec<Problem> {
    // What a Segment mapping or an event makes is known to no one before a row is there.
    let Value::Object(members) = &sync.fields else {
        return Vec::new();
    };
    if sync.mapping.is_some() || sync.event.is_some() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut note = |path: &str, reason: Reason| {
        problems.push(match sync.position(path) {
            Some(location) => Problem::at(reason, location),
            None => Problem::general(reason),
        });
    };
    let names = || schema.fields.iter().map(|field| &*field.name);
    for (name, _) in members {
        if names().any(|known| known == &**name) {
            continue;
        }
        let reason = Reason::new(
            Code::InvalidSetting,
            format!(
                "sync \"{}\" maps the field `{name}`, which {} does not have",
                sync.name, schema.name
            ),
        )
        .hint(match rowcast_config::suggest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its fields are {}", names().collect::<Vec<_>>().join(", ")),
        });
        note(&format!("fields.{name}"), reason);
    }
    let creates = [Kind::Added, Kind::Updated]
        .into_iter()
        .filter(|kind| sync.on.includes(*kind))
        .filter_map(|kind| sync.mode.operation(kind))
        .any(|operation| matches!(operation, Operation::Insert | Operation::Upsert));
    for field in schema
        .fields
        .iter()
        .filter(|field| creates && field.required)
    {
        let matched = if sync.match_on.is_empty() {
            keys.contains(&field.name)
        } else {
            sync.match_on.iter().any(|(name, _)| *name == field.name)
        };
        let mapped = matched || members.iter().any(|(name, _)| *name == field.name);
        if !mapped {
            let reason = Reason::new(
                Code::MissingKey,
                format!(
                    "sync \"{}\" does not map the field `{}`, which {} needs",
                    sync.name, field.name, schema.name
                ),
            )
            .hint(format!(
                "add `{}: COLUMN` to fields; `rowcast suggest {}` proposes columns",
                field.name, sync.name
            ));
            note("fields", reason);
        }
    }
    problems
}
