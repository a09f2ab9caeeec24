//! Segment's catalogue in a project: which of its destinations are used, what their syncs may say,
//! and where the program that runs them is.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rowcast_config::Problem;
use rowcast_core::{Code, Descriptor, Mode, Name, Reason, Schema, Value};
use rowcast_destinations::actions::{self, Entry, Installation, PREFIX, catalogue, preset};
use serde::Serialize;

use super::manage::{ConnectorRow, ConnectorView, words};
use crate::{Answer, Failure, Project, environment, wire};

/// Destinations shown to work end to end, against emulators that hold them to their contract.
const EMULATED: [&str; 6] = [
    "braze",
    "customerio",
    "hubspot",
    "klaviyo",
    "slack",
    "webhook",
];

/// Says that Segment's own defaults shall map the columns.
pub(crate) const PRESET: &str = "preset";

/// Where the actions host is, or would be: the folder that `ROWCAST_ACTIONS_HOST` names, or one in
/// the user's folder for data.
pub(crate) fn installation() -> Installation {
    let path = environment::variable("PATH").map(OsString::from);
    let path = path.as_deref();
    if let Some(folder) = environment::variable("ROWCAST_ACTIONS_HOST") {
        return Installation::at(PathBuf::from(folder), path);
    }
    let home = environment::variable("HOME").unwrap_or_else(|| ".".to_owned());
    let data = environment::variable("XDG_DATA_HOME")
        .filter(|data| data.starts_with('/'))
        .map_or_else(|| Path::new(&home).join(".local/share"), PathBuf::from);
    Installation::below(&data, path)
}

/// The catalogue's entry of a connector, if it is one of these.
pub(crate) fn entry(connector: &str) -> Option<std::sync::Arc<Entry>> {
    catalogue::find(catalogue::slug(connector)?)
}

/// Descriptors of those that the project's files name. A slug that does not exist brings the nearest
/// one along, so that the error can say it.
pub(crate) fn descriptors(dir: &Path) -> Vec<Descriptor> {
    let mut slugs = BTreeSet::new();
    for folder in ["destinations", "environments"] {
        let Ok(entries) = std::fs::read_dir(dir.join(folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            slugs.extend(named(&text));
        }
    }
    let found = slugs.iter().filter_map(|slug| {
        catalogue::find(slug).or_else(|| {
            let near = rowcast_config::suggest(slug, catalogue::slugs())?;
            catalogue::find(near)
        })
    });
    found.map(|entry| actions::descriptor(&entry)).collect()
}

/// Slugs after `segment/` in a text.
fn named(text: &str) -> impl Iterator<Item = String> {
    text.split(PREFIX).skip(1).map(|rest| {
        let slug = rest.chars();
        slug.take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect()
    })
}

/// What is wrong with syncs to destinations of the catalogue, as far as the files tell.
pub(crate) fn problems(project: &Project) -> Vec<Problem> {
    let mut problems = Vec::new();
    for destination in project.config.destinations.values() {
        let why = entry(&destination.connector).and_then(|entry| entry.unsupported.clone());
        if let Some(why) = why {
            let reason = Reason::new(
                Code::ActionsHostMissing,
                format!("{} does not run here", destination.connector),
            )
            .detail(format!("{why}, which would pass by the address policy"))
            .hint("rowcast connectors list shows others, among them connectors of our own");
            problems.push(match destination.position("connector") {
                Some(location) => Problem::at(reason, location),
                None => Problem::general(reason),
            });
        }
    }
    for sync in project.config.syncs.values() {
        let Some(destination) = project.config.destinations.get(&sync.destination) else {
            continue;
        };
        let Some(entry) = entry(&destination.connector) else {
            if is_preset(sync) {
                problems.push(no_preset(sync));
            }
            continue;
        };
        let Some(action) = entry.action(sync.object.as_deref().unwrap_or_default()) else {
            continue;
        };
        let mapped = match sync.mapping {
            Some(Value::Object(_)) => actions::Mapped::Segment,
            _ => actions::Mapped::Fields,
        };
        let unfit = actions::unfit_mode(action, sync.mode, mapped);
        if let Some(reason) = unfit.filter(|_| sync.mode == Mode::Mirror) {
            problems.push(at(sync, "mode", reason));
        }
        let Some(Value::Object(members)) = &sync.mapping else {
            continue;
        };
        for (name, _) in members
            .iter()
            .filter(|(name, _)| !name.starts_with(['@', '_']))
        {
            if action.field(name).is_some() {
                continue;
            }
            let known: Vec<&str> = action
                .own_fields()
                .map(|field| field.name.as_str())
                .collect();
            let reason = Reason::new(
                Code::InvalidSetting,
                format!(
                    "sync \"{}\" maps the field `{name}`, which {} does not have",
                    sync.name, action.title
                ),
            );
            let reason = match rowcast_config::suggest(name, known.iter().copied()) {
                Some(near) => reason.hint(format!("did you mean `{near}`?")),
                None => reason.hint(format!("its fields are {}", known.join(", "))),
            };
            problems.push(at(sync, &format!("mapping.{name}"), reason));
        }
    }
    problems
}

fn at(sync: &rowcast_config::Sync, path: &str, reason: Reason) -> Problem {
    match sync.position(path).or_else(|| sync.position("mapping")) {
        Some(location) => Problem::at(reason, location),
        None => Problem::general(reason),
    }
}

/// Whether a sync leaves its mapping to the preset.
pub(crate) fn is_preset(sync: &rowcast_config::Sync) -> bool {
    matches!(&sync.mapping, Some(Value::Text(word)) if &**word == PRESET)
}

fn no_preset(sync: &rowcast_config::Sync) -> Problem {
    let reason = Reason::new(
        Code::SegmentMappingInvalid,
        format!(
            "sync \"{}\" takes a preset, and its destination has none",
            sync.name
        ),
    );
    at(
        sync,
        "mapping",
        reason.hint("only connectors segment/… have presets; write `fields: { email: email }`"),
    )
}

/// The mapping that a preset comes to, by the names of the model's columns.
///
/// # Errors
/// The destination has none, or a field that it needs has no column of its name.
pub(crate) fn preset(
    project: &Project,
    sync: &rowcast_config::Sync,
    schema: Option<&Schema>,
) -> Answer<Value> {
    let destination = project.destination(&sync.destination)?;
    let none = || Failure::of(vec![no_preset(sync)]);
    let entry = entry(&destination.connector).ok_or_else(none)?;
    let action = entry
        .action(sync.object.as_deref().unwrap_or_default())
        .ok_or_else(none)?;
    let Some(schema) = schema else {
        let reason = Reason::new(
            Code::SegmentMappingInvalid,
            format!(
                "the preset of sync \"{}\" needs the model's columns",
                sync.name
            ),
        );
        return Err(reason.hint("`rowcast plan` reads them").into());
    };
    let columns: Vec<Name> = schema
        .columns
        .iter()
        .map(|column| column.name.clone())
        .collect();
    let (mapping, missing) = preset::mapping(action, &columns);
    if missing.is_empty() {
        return Ok(mapping);
    }
    let reason = Reason::new(
        Code::MissingKey,
        format!(
            "the preset of sync \"{}\" finds no column for {}",
            sync.name,
            missing.join(", ")
        ),
    )
    .detail(format!("the model has: {}", columns.join(", ")))
    .hint("name the columns like the fields, or write `fields:`");
    Err(Failure::of(vec![at(sync, "mapping", reason)]))
}

/// One line of the list.
pub(super) fn row(entry: &Entry) -> ConnectorRow {
    let descriptor = actions::descriptor(entry);
    let status = match &entry.unsupported {
        Some(_) => "unsupported",
        None if EMULATED.contains(&entry.slug.as_str()) => "emulator",
        None => "package",
    };
    ConnectorRow {
        name: entry.connector(),
        title: entry.title.clone(),
        kind: "segment".to_owned(),
        category: String::new(),
        status: status.to_owned(),
        objects: entry
            .actions
            .iter()
            .map(|action| action.name.clone())
            .collect(),
        operations: words(&descriptor.operations),
    }
}

/// One of them in full.
pub(super) fn view(entry: &Entry) -> ConnectorView {
    ConnectorView {
        row: row(entry),
        summary: entry.help.clone(),
        docs: None,
        hosts: Vec::new(),
        page: actions::reference_markdown(entry),
        manifest: None,
    }
}

/// What `connectors install` did.
#[derive(Debug, Clone, Serialize)]
pub struct Installed {
    pub folder: String,
    /// False when it was there already.
    pub changed: bool,
    pub package: String,
}

/// Installs the program that runs Segment's destinations.
///
/// # Errors
/// Node or npm is missing or fails, or the folder can't be written.
pub fn install() -> Answer<Installed> {
    let installation = installation();
    let changed = installation.install()?;
    Ok(Installed {
        folder: installation.folder().display().to_string(),
        changed,
        package: format!("@segment/action-destinations {}", actions::PACKAGE_VERSION),
    })
}

/// A value that a field can take.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Choice {
    pub value: String,
    pub label: String,
}

/// Asks the service of a destination which values a field can take. `payload`: other fields as JSON,
/// where the choice depends on them.
///
/// # Errors
/// There is no such field, or the service does not answer.
pub async fn choices(
    project: &Project,
    destination: &str,
    object: &str,
    field: &str,
    payload: &str,
) -> Answer<Vec<Choice>> {
    let of_project = project.destination(destination)?;
    let usage =
        |message: String, hint: &str| Failure::from(Reason::new(Code::Usage, message).hint(hint));
    let entry = entry(&of_project.connector).ok_or_else(|| {
        usage(
            format!("destination {destination} is not one of Segment's catalogue"),
            "only connectors segment/… tell choices",
        )
    })?;
    let action = entry.action(object).ok_or_else(|| {
        let names: Vec<&str> = entry
            .actions
            .iter()
            .map(|action| action.name.as_str())
            .collect();
        usage(
            format!("{} has no object \"{object}\"", of_project.connector),
            &format!("write --object with one of {}", names.join(", ")),
        )
    })?;
    let payload: serde_json::Value = serde_json::from_str(payload).map_err(|error| {
        usage(
            format!("--fields is not JSON: {error}"),
            "write {\"name\": \"value\"}",
        )
    })?;
    let opened = wire::opened_actions(project, of_project, &entry)?;
    let found = opened.choices(&action.name, field, &payload).await?;
    Ok(found
        .into_iter()
        .map(|(value, label)| Choice { value, label })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_found_where_a_project_names_them() {
        let text = "destination: crm\nconnector: segment/hubspot\n# or segment/google-sheets, \"segment/1plusx\"";
        let found: Vec<String> = named(text).collect();
        assert_eq!(found, ["hubspot", "google-sheets", "1plusx"]);
    }
}
