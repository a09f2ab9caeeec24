//! Segment's other destinations: carried over to the connector that runs the same code.

use std::sync::Arc;

use rowcast_config::render::Part;
use rowcast_destinations::actions::{Entry, Field, catalogue};
use serde_json::{Map, Value};

use super::super::draft::{Draft, map as part_map};
use super::objects::{Destination, Subscription};
use super::target::Mapped;

/// What Segment stores with a mapping beside the fields of its action.
const CONTROLS: [&str; 8] = [
    "__segment_internal_sync_mode",
    "__segment_internal_matching_key",
    "__segment_internal_directive",
    "enable_batching",
    "batch_size",
    "batch_bytes",
    "batch_keys",
    "onMappingSave",
];

/// The entry of a destination, by Segment's slug or id.
pub(super) fn entry(destination: &Destination) -> Option<Arc<Entry>> {
    let is = |own: &Option<String>, known: &str| own.as_deref() == Some(known);
    catalogue::all()
        .into_iter()
        .find(|entry| is(&destination.slug, &entry.segment) || is(&destination.metadata, &entry.id))
}

/// The mapping as it is, without fields that the action does not have.
pub(super) fn map(
    destination: &Destination,
    subscription: &Subscription,
    settings: &Value,
) -> Result<Mapped, String> {
    let entry = entry(destination).ok_or("it is not in the catalogue")?;
    let name = subscription.action.as_deref().unwrap_or_default();
    let action = entry
        .action(name)
        .ok_or_else(|| format!("{} has no action {name:?}", entry.title))?;
    let mut mapping = Map::new();
    let mut differs = Vec::new();
    for (name, value) in settings.as_object().into_iter().flatten() {
        if CONTROLS.contains(&name.as_str()) || action.field(name).is_some() {
            mapping.insert(name.clone(), value.clone());
        } else {
            differs.push(format!(
                "its field {name} is left out: the action does not have it"
            ));
        }
    }
    Ok(Mapped {
        connector: Some(entry.connector()),
        mapping: Value::Object(mapping),
        object: Some(action.name.clone()),
        request: None,
        batch: None,
        settings: Value::Null,
        differs,
    })
}

/// Settings as they were, secrets from variables: Segment does not hand those out.
pub(super) fn settings(
    draft: &mut Draft,
    own: &str,
    destination: &Destination,
    _: &Mapped,
) -> Part {
    let Some(entry) = entry(destination) else {
        return Part::Map(Vec::new());
    };
    let shown = destination.shown().to_owned();
    let mut members = Vec::new();
    for field in &entry.settings {
        let given = destination
            .settings
            .get(&field.name)
            .filter(|value| !value.is_null());
        if field.is_secret() {
            if given.is_some() || field.required {
                members.push((field.name.clone(), secret(draft, own, field, &shown)));
            }
            continue;
        }
        match given {
            Some(Value::String(text)) => members.push((field.name.clone(), Part::text(text))),
            Some(value) => members.push((field.name.clone(), Part::data(value))),
            None if field.required && field.literal().is_none() => {
                members.push((field.name.clone(), secret(draft, own, field, &shown)));
            }
            None => {}
        }
    }
    if entry.has_tokens() {
        let mut token = |name: &str, what: &str| {
            draft.secret(&format!("{own}_{name}"), format!("{what} {shown}"))
        };
        let tokens = part_map([
            (
                "client_id",
                token("client_id", "the id of your own OAuth client for"),
            ),
            (
                "client_secret",
                token("client_secret", "the secret of your own OAuth client for"),
            ),
            (
                "refresh_token",
                token("refresh_token", "a refresh token of that client for"),
            ),
        ]);
        members.push(("oauth".to_owned(), tokens));
    }
    Part::Map(members)
}

fn secret(draft: &mut Draft, own: &str, field: &Field, shown: &str) -> Part {
    draft.secret(
        &format!("{own}_{}", field.name),
        format!("the setting {} of {shown}", field.name),
    )
}
