//! Rules that concern several documents: references, connectors, modes, cycles, conflicts.

use std::collections::{BTreeMap, BTreeSet};

use rowcast_core::{Code, Descriptor, Kind as Change, Mode, Operation};

use crate::described_objects;
use crate::frequency;
use crate::load::Trees;
use crate::problem::{Problem, reason};
use crate::project::{Destination, Positions, Project, Sync};
use crate::shape::{Key, Kind, Shape, keys_of, list_words};
use crate::walk::{Walker, subject, suggest};
use rowcast_core::schedule::Trigger;

pub(crate) fn project(
    project: &mut Project,
    trees: &mut Trees,
    descriptors: &[Descriptor],
    problems: &mut Vec<Problem>,
    secrets: &mut Vec<String>,
) {
    references(project, trees, problems);
    for destination in project.destinations.values_mut() {
        if destination.connector.is_empty() {
            continue;
        }
        let found = descriptors
            .iter()
            .find(|descriptor| descriptor.name == destination.connector);
        match found {
            Some(descriptor) => settings(destination, descriptor, trees, problems, secrets),
            // A manifest that is there but could not be read has its own problems.
            None if project.connectors.contains_key(&destination.connector) => {}
            None => unknown_connector(destination, descriptors, problems),
        }
    }
    for sync in project.syncs.values_mut() {
        let descriptor = project
            .destinations
            .get(&sync.destination)
            .and_then(|destination| {
                descriptors
                    .iter()
                    .find(|descriptor| descriptor.name == destination.connector)
            });
        if let Some(descriptor) = descriptor {
            connector(sync, descriptor, trees, problems, secrets);
        }
    }
    crate::outside::check(project, problems);
    consents(project, problems);
    cycles(project, problems);
    frequency::check(project, problems);
    mirrors(project, descriptors, problems);
    renamings(project, problems);
}

/// Notes a problem at a key of a document.
pub(crate) fn note(
    problems: &mut Vec<Problem>,
    reason: rowcast_core::Reason,
    positions: &Positions,
    path: &str,
) {
    problems.push(match positions.get(path) {
        Some(location) => Problem::at(reason, location),
        None => Problem::general(reason),
    });
}

fn references(project: &Project, trees: &Trees, problems: &mut Vec<Problem>) {
    // A file that could not be read at all is reported as such; whoever refers to it is not wrong.
    let mut refer =
        |from: Kind, name: &str, to: Kind, target: &str, path: &str, positions: &Positions| {
            let exists = trees.contains_key(&(to, target.to_owned()));
            let unreadable = project
                .dir
                .join(to.folder())
                .join(format!("{target}.yml"))
                .exists();
            if target.is_empty() || exists || unreadable {
                return;
            }
            let names: Vec<&str> = trees
                .keys()
                .filter(|(kind, _)| *kind == to)
                .map(|(_, name)| name.as_str())
                .collect();
            let hint = match suggest(target, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => format!("write {}/{target}.yml", to.folder()),
                None => format!(
                    "write {}/{target}.yml, or name one that exists: {}",
                    to.folder(),
                    list_words(&names, "or")
                ),
            };
            let message = format!(
                "{} refers to the {} \"{target}\", which does not exist",
                subject(from, name),
                to.as_str()
            );
            note(
                problems,
                reason(Code::UnknownReference, message).hint(hint),
                positions,
                path,
            );
        };
    for (name, source) in &project.sources {
        if let Some(state) = &source.state_source {
            refer(
                Kind::Source,
                name,
                Kind::Source,
                state,
                "state.source",
                &source.positions,
            );
        }
    }
    for (name, model) in &project.models {
        refer(
            Kind::Model,
            name,
            Kind::Source,
            &model.source,
            "source",
            &model.positions,
        );
    }
    for (name, sync) in &project.syncs {
        refer(
            Kind::Sync,
            name,
            Kind::Model,
            &sync.model,
            "model",
            &sync.positions,
        );
        refer(
            Kind::Sync,
            name,
            Kind::Destination,
            &sync.destination,
            "destination",
            &sync.positions,
        );
        for after in after(sync) {
            let path = after_path(sync, after);
            refer(Kind::Sync, name, Kind::Sync, after, &path, &sync.positions);
        }
    }
    for (name, test) in &project.tests {
        refer(
            Kind::Test,
            name,
            Kind::Sync,
            &test.sync,
            "sync",
            &test.positions,
        );
    }

    for (name, source) in &project.sources {
        let Some(state) = source
            .state_source
            .as_ref()
            .and_then(|name| project.sources.get(name))
        else {
            continue;
        };
        if state.name == *name || state.state_source.is_some() {
            let message = format!(
                "{} keeps its state in {}, which does not hold state",
                subject(Kind::Source, name),
                subject(Kind::Source, &state.name)
            );
            let hint = if state.name == *name {
                "remove `state:` to keep the state in the source itself"
            } else {
                "name the source in which the state is kept, without a further `state:`"
            };
            note(
                problems,
                reason(Code::WrongType, message).hint(hint),
                &source.positions,
                "state.source",
            );
        }
    }
    for (name, sync) in &project.syncs {
        for (i, channel) in sync.alerts.to.iter().enumerate() {
            if !project.channels.contains_key(channel) {
                let hint = match suggest(channel, project.channels.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "add it to rowcast.yml: alerts: {{ {channel}: {{ slack: \"${{env:SLACK_URL}}\" }} }}"
                    ),
                };
                let message = format!(
                    "{} tells the alert channel \"{channel}\", which does not exist",
                    subject(Kind::Sync, name)
                );
                note(
                    problems,
                    reason(Code::UnknownReference, message).hint(hint),
                    &sync.positions,
                    &format!("alerts.to[{i}]"),
                );
            }
        }
    }
}

fn after(sync: &Sync) -> impl Iterator<Item = &String> {
    sync.schedules
        .iter()
        .flat_map(|schedule| match &schedule.trigger {
            Trigger::After { syncs, .. } => syncs.as_slice(),
            _ => &[],
        })
}

fn after_path(sync: &Sync, name: &str) -> String {
    for (i, schedule) in sync.schedules.iter().enumerate() {
        if let Trigger::After { syncs, .. } = &schedule.trigger
            && let Some(j) = syncs.iter().position(|sync| sync == name)
        {
            let listed = format!("schedule[{i}].after[{j}]");
            if sync.positions.0.contains_key(&listed) {
                return listed;
            }
            return format!("schedule.after[{j}]");
        }
    }
    "schedule".into()
}

fn settings(
    destination: &mut Destination,
    descriptor: &Descriptor,
    trees: &Trees,
    problems: &mut Vec<Problem>,
    secrets: &mut Vec<String>,
) {
    let Some(root) = trees.get(&(Kind::Destination, destination.name.clone())) else {
        return;
    };
    let keys = keys_of(&descriptor.settings);
    let mut walker = Walker {
        problems,
        secrets,
        subject: subject(Kind::Destination, &destination.name),
        wrong: Code::InvalidSetting,
    };
    match root.get("settings").filter(|node| !node.is_null()) {
        Some(node) => {
            walker.group(node, &keys, &Shape::Group(keys.clone()), "settings");
            destination.settings = node.settings(Some(&keys));
        }
        None => {
            for key in keys.iter().filter(|key| key.required) {
                walker.missing(&root.at, key, "settings");
            }
        }
    }
}

fn unknown_connector(
    destination: &Destination,
    descriptors: &[Descriptor],
    problems: &mut Vec<Problem>,
) {
    let names: Vec<&str> = descriptors
        .iter()
        .map(|descriptor| descriptor.name)
        .collect();
    let message = format!(
        "{} uses the connector \"{}\", which does not exist",
        subject(Kind::Destination, &destination.name),
        destination.connector
    );
    let mut reason = reason(Code::UnknownConnector, message);
    reason = if let Some(near) = suggest(&destination.connector, names.iter().copied()) {
        reason.hint(format!("did you mean `{near}`?"))
    } else {
        reason.hint(format!("there are {}", list_words(&names, "and")))
    };
    note(problems, reason, &destination.positions, "connector");
}

/// What the connector says about a sync: object, mode, request.
fn connector(
    sync: &mut Sync,
    descriptor: &Descriptor,
    trees: &Trees,
    problems: &mut Vec<Problem>,
    secrets: &mut Vec<String>,
) {
    let subject = subject(Kind::Sync, &sync.name);
    let several = descriptor.objects.len() > 1 && sync.event.is_none();
    if (descriptor.object_required || several) && sync.object.is_none() {
        let message = format!("{subject} has no `object`");
        let hint = format!("add `object:`: {}", descriptor.object_help);
        note(
            problems,
            reason(Code::MissingKey, message).hint(hint),
            &sync.positions,
            "",
        );
    }
    let object = described_objects::object(sync, descriptor, problems);
    let operations = object.map_or(&descriptor.operations, |object| &object.operations);
    let name = object.map_or_else(
        || descriptor.name.to_owned(),
        |object| format!("{} of {}", object.title.to_lowercase(), descriptor.name),
    );
    let asked: Vec<Operation> = [Change::Added, Change::Updated, Change::Removed]
        .into_iter()
        .filter(|kind| sync.on.includes(*kind))
        .filter_map(|kind| sync.mode.operation(kind))
        .collect();
    if let Some(object) = object {
        described_objects::fields(sync, object, &asked, problems);
    }
    let missing: Vec<Operation> = asked
        .into_iter()
        .filter(|operation| !operations.contains(operation))
        .collect();
    if !missing.is_empty() {
        let words: BTreeSet<&str> = missing.iter().map(|operation| operation.as_str()).collect();
        let possible: Vec<&str> = Mode::ALL
            .iter()
            .filter(|mode| {
                mode.operations()
                    .iter()
                    .all(|operation| operations.contains(operation))
            })
            .map(|mode| mode.as_str())
            .collect();
        let message = format!(
            "{subject} asks for mode {}, which {name} does not support",
            sync.mode
        );
        let words: Vec<&str> = words.into_iter().collect();
        let hint = if possible.is_empty() {
            "choose another destination".to_owned()
        } else {
            format!("possible here: {}", list_words(&possible, "or"))
        };
        let path = if sync.positions.0.contains_key("mode") {
            "mode"
        } else {
            "destination"
        };
        let reason = reason(Code::UnsupportedMode, message)
            .detail(format!("{name} can't {}", list_words(&words, "or")))
            .hint(hint);
        note(problems, reason, &sync.positions, path);
    }
    let request = trees
        .get(&(Kind::Sync, sync.name.clone()))
        .and_then(|root| root.entry("request"))
        .filter(|entry| !entry.value.is_null());
    if let Some(entry) = request {
        let keys: Vec<Key> = keys_of(&descriptor.request);
        let mut walker = Walker {
            problems,
            secrets,
            subject,
            wrong: Code::InvalidSetting,
        };
        if keys.is_empty() {
            let message = format!(
                "{} has a `request`, which {} does not take",
                walker.subject, descriptor.name
            );
            walker.note(
                reason(Code::InvalidSetting, message).hint("remove it"),
                &entry.key_at,
            );
        } else {
            walker.group(&entry.value, &keys, &Shape::Group(keys.clone()), "request");
            sync.request = entry.value.settings(Some(&keys));
        }
    }
}

/// A category that a model says nothing about would let none of its rows through. A model that says
/// nothing about consent at all is not asked.
fn consents(project: &Project, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for sync in project.syncs.values() {
        let (Some(model), Some(destination)) = (
            project.models.get(&sync.model),
            project.destinations.get(&sync.destination),
        ) else {
            continue;
        };
        if model.consent.is_empty() {
            continue;
        }
        let known: Vec<&str> = model
            .consent
            .iter()
            .map(|(category, _)| category.as_str())
            .collect();
        for category in &destination.consent {
            if known.contains(&category.as_str()) || !seen.insert((&model.name, category)) {
                continue;
            }
            let message = format!(
                "{} says nothing about the consent \"{category}\", which {} needs",
                subject(Kind::Model, &model.name),
                subject(Kind::Destination, &destination.name)
            );
            let hint = match suggest(category, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add the column that holds it: consent: {{ {category}: COLUMN }}"),
            };
            note(
                problems,
                reason(Code::UnknownReference, message)
                    .detail("no row would ever be sent")
                    .hint(hint),
                &model.positions,
                "consent",
            );
        }
    }
}

/// A sync that waits for itself would never run.
fn cycles(project: &Project, problems: &mut Vec<Problem>) {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in project.syncs.keys() {
        let mut path: Vec<&str> = Vec::new();
        let mut stack = vec![(start.as_str(), 0_usize)];
        while let Some((name, depth)) = stack.pop() {
            path.truncate(depth);
            if let Some(from) = path.iter().position(|on_path| *on_path == name) {
                let mut circle: Vec<&str> = path[from..].to_vec();
                if circle.iter().any(|name| done.contains(name)) {
                    continue;
                }
                let last = circle[circle.len() - 1];
                done.extend(circle.iter().copied());
                circle.push(name);
                let steps: Vec<String> = circle
                    .windows(2)
                    .map(|pair| format!("{} after {}", pair[0], pair[1]))
                    .collect();
                if let Some(sync) = project.syncs.get(last) {
                    let reason = reason(
                        Code::InvalidSchedule,
                        format!("{} waits for itself", subject(Kind::Sync, name)),
                    )
                    .detail(format!("the circle is {}", steps.join(", ")))
                    .hint("let one of them run by `every` or `cron`");
                    note(problems, reason, &sync.positions, &after_path(sync, name));
                }
                continue;
            }
            if done.contains(name) {
                continue;
            }
            path.push(name);
            if let Some(sync) = project.syncs.get(name) {
                let depth = path.len();
                let mut next: Vec<(&str, usize)> =
                    after(sync).map(|name| (name.as_str(), depth)).collect();
                next.reverse();
                stack.extend(next);
            }
        }
        done.insert(start.as_str());
    }
}

/// Two mirrors on one object would delete each other's records (semantics 16).
fn mirrors(project: &Project, descriptors: &[Descriptor], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<(&str, &str, Vec<&str>), &str> = BTreeMap::new();
    for (name, sync) in &project.syncs {
        if sync.mode != Mode::Mirror || !sync.on.removed {
            continue;
        }
        let connector = project
            .destinations
            .get(&sync.destination)
            .map(|destination| destination.connector.as_str());
        let logs = descriptors
            .iter()
            .any(|known| Some(known.name) == connector && known.logs_changes);
        if logs {
            continue;
        }
        let mut identity: Vec<&str> = if sync.match_on.is_empty() {
            project
                .models
                .get(&sync.model)
                .map(|model| model.primary_key.iter().map(String::as_str).collect())
                .unwrap_or_default()
        } else {
            sync.match_on.iter().map(|(field, _)| &**field).collect()
        };
        identity.sort_unstable();
        let key = (
            sync.destination.as_str(),
            sync.object.as_deref().unwrap_or_default(),
            identity,
        );
        match seen.get(&key) {
            None => {
                seen.insert(key, name);
            }
            Some(other) => {
                let object = sync
                    .object
                    .as_ref()
                    .map_or_else(String::new, |object| format!(" object \"{object}\" of"));
                let message = format!(
                    "the syncs \"{other}\" and \"{name}\" both mirror to{object} destination \"{}\"",
                    sync.destination
                );
                let reason = reason(Code::MirrorConflict, message)
                    .detail("each would delete what only the other one has")
                    .hint("join both models into one, use mode upsert in one of them, or give them different objects or `match_on`");
                let path = if sync.positions.0.contains_key("object") {
                    "object"
                } else {
                    "destination"
                };
                note(problems, reason, &sync.positions, path);
            }
        }
    }
}

fn renamings(project: &Project, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, sync) in &project.syncs {
        let Some(was) = &sync.was else { continue };
        if was == name {
            let message = format!("{} says that it was itself", subject(Kind::Sync, name));
            note(
                problems,
                reason(Code::Exclusive, message).hint("remove `was`, or name the old sync"),
                &sync.positions,
                "was",
            );
        } else if project.syncs.contains_key(was) {
            let message = format!(
                "{} was \"{was}\", but a sync of that name still exists",
                subject(Kind::Sync, name)
            );
            note(
                problems,
                reason(Code::Exclusive, message)
                    .hint(format!("remove syncs/{was}.yml, or remove `was`")),
                &sync.positions,
                "was",
            );
        } else if let Some(other) = seen.insert(was, name) {
            let message =
                format!("the syncs \"{other}\" and \"{name}\" both say that they were \"{was}\"");
            note(
                problems,
                reason(Code::Exclusive, message).hint("keep `was` in one of them"),
                &sync.positions,
                "was",
            );
        }
    }
}
