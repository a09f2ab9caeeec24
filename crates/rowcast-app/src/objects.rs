//! The objects of a project, as its files say: without secrets, and without what needs a connection.

use rowcast_config::About;
use schemars::JsonSchema;
use serde::Serialize;

use crate::schedule::NextRun;
use crate::{Answer, Project};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Source,
    Model,
    Destination,
    Sync,
}

impl ObjectKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Model => "model",
            Self::Destination => "destination",
            Self::Sync => "sync",
        }
    }

    /// Its folder in a project, and its part of the API's paths.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Source => "sources",
            Self::Model => "models",
            Self::Destination => "destinations",
            Self::Sync => "syncs",
        }
    }
}

/// An object: what all kinds have, and what is peculiar to its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "{T}Object")]
pub struct ObjectView<T> {
    /// `source`, `model`, `destination` or `sync`.
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
    #[serde(flatten)]
    pub more: T,
}

/// What is peculiar to a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Source")]
pub struct SourceDetails {
    pub state_schema: String,
    /// The source that keeps its state, if it is another.
    pub state_source: Option<String>,
    /// How many runs may be going on there at once.
    pub runs_max: u32,
}

/// What is peculiar to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Model")]
pub struct ModelDetails {
    pub source: String,
    /// Empty for a table that leaves it to its own primary key.
    pub primary_key: Vec<String>,
    /// Columns that are never shown in clear.
    pub sensitive: Vec<String>,
    pub time_zone: String,
}

/// What is peculiar to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Destination")]
pub struct DestinationDetails {
    pub connector: String,
}

/// What is peculiar to a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Sync")]
pub struct SyncDetails {
    pub model: String,
    pub destination: String,
    pub object: Option<String>,
    pub mode: &'static str,
    /// The next times by the clock.
    pub next_runs: Vec<NextRun>,
    /// Syncs after whose end it runs.
    pub after: Vec<String>,
}

fn view<T>(kind: ObjectKind, name: &str, about: &About, more: T) -> ObjectView<T> {
    ObjectView {
        kind: kind.as_str(),
        name: name.to_owned(),
        file: format!("{}/{name}.yml", kind.folder()),
        description: about.description.clone(),
        tags: about.tags.clone(),
        owner: about.owner.clone(),
        paused: about.paused,
        more,
    }
}

/// All sources, by name.
pub fn sources(project: &Project) -> Vec<ObjectView<SourceDetails>> {
    project.config.sources.values().map(of_source).collect()
}

/// All models, by name.
pub fn models(project: &Project) -> Vec<ObjectView<ModelDetails>> {
    project.config.models.values().map(of_model).collect()
}

/// All destinations, by name.
pub fn destinations(project: &Project) -> Vec<ObjectView<DestinationDetails>> {
    let all = project.config.destinations.values();
    all.map(of_destination).collect()
}

/// All syncs, by name.
pub fn syncs(project: &Project) -> Vec<ObjectView<SyncDetails>> {
    project.config.syncs.values().map(of_sync).collect()
}

/// A source.
///
/// # Errors
/// There is none of that name.
pub fn source(project: &Project, name: &str) -> Answer<ObjectView<SourceDetails>> {
    project.source(name).map(of_source)
}

/// A model.
///
/// # Errors
/// There is none of that name.
pub fn model(project: &Project, name: &str) -> Answer<ObjectView<ModelDetails>> {
    project.model(name).map(of_model)
}

/// A destination.
///
/// # Errors
/// There is none of that name.
pub fn destination(project: &Project, name: &str) -> Answer<ObjectView<DestinationDetails>> {
    project.destination(name).map(of_destination)
}

/// A sync.
///
/// # Errors
/// There is none of that name.
pub fn sync(project: &Project, name: &str) -> Answer<ObjectView<SyncDetails>> {
    project.sync(name).map(of_sync)
}

fn of_source(source: &rowcast_config::Source) -> ObjectView<SourceDetails> {
    let more = SourceDetails {
        state_schema: source.state_schema.clone(),
        state_source: source.state_source.clone(),
        runs_max: source.runs,
    };
    view(ObjectKind::Source, &source.name, &source.about, more)
}

fn of_model(model: &rowcast_config::Model) -> ObjectView<ModelDetails> {
    let more = ModelDetails {
        source: model.source.clone(),
        primary_key: model.primary_key.clone(),
        sensitive: model.sensitive.clone(),
        time_zone: model.time_zone.clone(),
    };
    view(ObjectKind::Model, &model.name, &model.about, more)
}

fn of_destination(destination: &rowcast_config::Destination) -> ObjectView<DestinationDetails> {
    let more = DestinationDetails {
        connector: destination.connector.clone(),
    };
    view(
        ObjectKind::Destination,
        &destination.name,
        &destination.about,
        more,
    )
}

fn of_sync(sync: &rowcast_config::Sync) -> ObjectView<SyncDetails> {
    let due = crate::schedule::due(sync);
    let more = SyncDetails {
        model: sync.model.clone(),
        destination: sync.destination.clone(),
        object: sync.object.clone(),
        mode: sync.mode.as_str(),
        next_runs: due.next_runs,
        after: due.after,
    };
    view(ObjectKind::Sync, &sync.name, &sync.about, more)
}
