//! What a sync says in Segment's languages: `mapping:` and a trigger in `on:`.
//!
//! Every mistake is noted at its own place in the file. A reserved key of a mapping and the key of
//! the sync that means the same exclude each other: neither silently wins.

use rowcast_core::segment::controls::{self, Controls};
use rowcast_core::segment::{Mapping, Problem, Trigger};
use rowcast_core::{Code, Value};

use crate::problem::{Location, reason};
use crate::tree::{Entry, Node, Scalar, Yaml};
use crate::walk::Walker;

/// In place of a mapping: the connector's own one, by the names of columns.
const PRESET: &str = "preset";

/// Reads `mapping:`: the mapping without its reserved keys, and what those say.
pub(crate) fn mapping(node: &Node, walker: &mut Walker<'_>) -> (Option<Value>, Controls) {
    let nothing = || (None, Controls::default());
    let Some(entry) = node.entry("mapping").filter(|entry| !entry.value.is_null()) else {
        return nothing();
    };
    let written = entry.value.value();
    if written == Value::from(PRESET) {
        return (Some(written), Controls::default());
    }
    let mut found = Vec::new();
    let (controls, mapping) = match controls::split(written) {
        Ok((controls, mapping)) => (controls, Some(mapping)),
        Err(problems) => {
            found.extend(problems);
            (Controls::default(), None)
        }
    };
    // With mistakes in reserved keys the rest is looked at all the same.
    let checked = mapping.clone().unwrap_or_else(|| entry.value.value());
    found.extend(Mapping::new(checked).err().unwrap_or_default());
    for problem in &found {
        note(entry, problem, walker);
    }
    let mapping = mapping.filter(|_| found.is_empty());
    if matches!(&mapping, Some(Value::Object(members)) if members.is_empty()) {
        let message = format!("`mapping` of {} has no fields", walker.subject);
        walker.note(
            reason(Code::MissingKey, message).hint(
                "say what each field is made of: `mapping: { email: { \"@path\": $.properties.email } }`",
            ),
            &entry.key_at,
        );
    }
    let both = [
        (controls.mode.is_some(), "mode", controls::mode_path()),
        (
            controls.match_on.is_some(),
            "match_on",
            controls::match_path(),
        ),
    ];
    for (set, key, path) in both {
        if let Some(other) = node
            .entry(key)
            .filter(|other| set && !other.value.is_null())
        {
            let reserved = path.trim_start_matches('/');
            let message = format!(
                "{} has both `{key}` and `{reserved}` in its mapping",
                walker.subject
            );
            walker.note(
                reason(Code::Exclusive, message).hint(format!(
                    "keep one of them: `{key}` says the same to every kind of mapping"
                )),
                &other.key_at,
            );
        }
    }
    (mapping, controls)
}

fn note(entry: &Entry, problem: &Problem, walker: &mut Walker<'_>) {
    let message = format!("`mapping` of {} is not valid", walker.subject);
    walker.note(
        reason(Code::SegmentMappingInvalid, message)
            .detail(problem.to_string())
            .hint("see `rowcast explain E0508`"),
        place(entry, &problem.path),
    );
}

/// Where the path of a problem stands, or the nearest thing around it that was written. Names in
/// it may hold slashes themselves.
fn place<'n>(entry: &'n Entry, path: &str) -> &'n Location {
    let (mut at, mut node) = (&entry.key_at, &entry.value);
    let mut rest = path;
    'down: while let Some(below) = rest.strip_prefix('/') {
        for entry in node.entries() {
            if let Some(after) = below.strip_prefix(entry.key.as_str())
                && (after.is_empty() || after.starts_with('/'))
            {
                (at, node, rest) = (&entry.key_at, &entry.value, after);
                continue 'down;
            }
        }
        let (name, after) = below
            .find('/')
            .map_or((below, ""), |end| below.split_at(end));
        let item = name
            .parse::<usize>()
            .ok()
            .and_then(|index| node.items().get(index));
        match item {
            Some(item) => (at, node, rest) = (&item.at, item, after),
            None => break,
        }
    }
    // A wrong value is marked itself.
    if rest.is_empty() && matches!(node.yaml, Yaml::Scalar(_)) {
        return &node.at;
    }
    at
}

/// Reads a trigger.
pub(crate) fn trigger(node: &Node, scalar: &Scalar, walker: &mut Walker<'_>) -> Option<Trigger> {
    match Trigger::parse(&scalar.text) {
        Ok(trigger) => Some(trigger),
        Err(error) => {
            let message = format!("`on` of {} is a trigger that can't be read", walker.subject);
            walker.note(
                reason(Code::TriggerInvalid, message)
                    .detail(error.to_string())
                    .hint(
                        "a trigger looks like `event = \"new\" or event = \"updated\"`; \
                         a list of added, updated, removed is understood as well",
                    ),
                &node.at.within(error.at),
            );
            None
        }
    }
}
