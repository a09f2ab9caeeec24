//! The objects of a project, as its files say: without secrets, and without what needs a connection.

use rowcast_config::About;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Answer, Project};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Source,
    Model,
    Destination,
    Sync,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectView {
    pub kind: &'static str,
    pub name: String,
    /// In the project's folder.
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub paused: bool,
    /// What is peculiar to the kind.
    #[serde(flatten)]
    pub more: Value,
}

fn object(kind: &'static str, name: &str, about: &About, more: Value) -> ObjectView {
    ObjectView {
        kind,
        name: name.to_owned(),
        file: format!("{kind}s/{name}.yml"),
        description: about.description.clone(),
        tags: about.tags.clone(),
        owner: about.owner.clone(),
        paused: about.paused,
        more,
    }
}

/// All objects of a kind, by name.
pub fn list(project: &Project, kind: ObjectKind) -> Vec<ObjectView> {
    let config = &project.config;
    match kind {
        ObjectKind::Source => config.sources.values().map(source).collect(),
        ObjectKind::Model => config.models.values().map(model).collect(),
        ObjectKind::Destination => config.destinations.values().map(destination).collect(),
        ObjectKind::Sync => config.syncs.values().map(sync).collect(),
    }
}

/// One object.
///
/// # Errors
/// There is none of that name.
pub fn get(project: &Project, kind: ObjectKind, name: &str) -> Answer<ObjectView> {
    Ok(match kind {
        ObjectKind::Source => source(project.source(name)?),
        ObjectKind::Model => model(project.model(name)?),
        ObjectKind::Destination => destination(project.destination(name)?),
        ObjectKind::Sync => sync(project.sync(name)?),
    })
}

fn source(source: &rowcast_config::Source) -> ObjectView {
    let more = json!({
        "state_schema": source.state_schema,
        "state_source": source.state_source,
        "runs_max": source.runs,
    });
    object("source", &source.name, &source.about, more)
}

fn model(model: &rowcast_config::Model) -> ObjectView {
    let more = json!({
        "source": model.source,
        "primary_key": model.primary_key,
        "sensitive": model.sensitive,
        "time_zone": model.time_zone,
    });
    object("model", &model.name, &model.about, more)
}

fn destination(destination: &rowcast_config::Destination) -> ObjectView {
    let more = json!({ "connector": destination.connector });
    object("destination", &destination.name, &destination.about, more)
}

fn sync(sync: &rowcast_config::Sync) -> ObjectView {
    let due = crate::schedule::due(sync);
    let more = json!({
        "model": sync.model,
        "destination": sync.destination,
        "object": sync.object,
        "mode": sync.mode.as_str(),
        "next_runs": due.next_runs,
        "after": due.after,
    });
    object("sync", &sync.name, &sync.about, more)
}
