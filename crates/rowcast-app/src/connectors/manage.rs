//! `connectors`: what there is, a new one, the proof of one, and one record sent for real.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rowcast_config::Problem;
use rowcast_core::record::{Batch, Operation, Record};
use rowcast_core::{
    Code, Descriptor, DestinationConfig, Key, Mode, Object, Outcome, Reason, RunContext, Value,
};
use rowcast_destinations::manifest::{Manifest, built_in};
use schemars::JsonSchema;
use serde::Serialize;

use super::{catalogue, read, read_fixture, shipped};
use crate::failure::file_reason;
use crate::map::now_us;
use crate::project::unknown;
use crate::{Answer, Failure, Project, wire};

/// One line of the list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConnectorRow {
    pub name: String,
    pub title: String,
    /// `native`, `manifest`, `project` for a manifest of the user's own, or `segment` for one of
    /// Segment's catalogue.
    pub kind: String,
    pub category: String,
    /// `tried`; or what it was proven by instead of the real service: `fixtures`, `emulator`, or
    /// `package` for code of Segment's that runs as it is; or `not in this build`, `unsupported`.
    pub status: String,
    pub objects: Vec<String>,
    pub operations: Vec<String>,
}

/// One connector in full.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConnectorView {
    #[serde(flatten)]
    pub row: ConnectorRow,
    pub summary: String,
    pub docs: Option<String>,
    pub hosts: Vec<String>,
    /// Its reference page, in Markdown.
    pub page: String,
    /// The manifest's own text, where it is one.
    pub manifest: Option<String>,
}

/// All connectors: native, those that come as manifests, the project's own, Segment's catalogue.
pub fn list(project: Option<&Project>) -> Vec<ConnectorRow> {
    let mut rows: Vec<ConnectorRow> = wire::natives().iter().map(native).collect();
    rows.extend(shipped().values().map(|manifest| row(manifest, "manifest")));
    if let Some(project) = project {
        let own = project.connectors.values();
        rows.extend(own.map(|manifest| row(manifest, "project")));
    }
    let segment = rowcast_destinations::actions::catalogue::all();
    rows.extend(segment.iter().map(|entry| catalogue::row(entry)));
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

/// One connector by its name.
///
/// # Errors
/// There is none of the name.
pub fn show(project: Option<&Project>, name: &str) -> Answer<ConnectorView> {
    if let Some(descriptor) = wire::natives().iter().find(|native| native.name == name) {
        return Ok(ConnectorView {
            row: native(descriptor),
            summary: descriptor.summary.to_owned(),
            docs: None,
            hosts: Vec::new(),
            page: rowcast_destinations::reference_markdown(descriptor),
            manifest: None,
        });
    }
    if let Some(entry) = catalogue::entry(name) {
        return Ok(catalogue::view(&entry));
    }
    let own = project.and_then(|project| Some((project, project.connectors.get(name)?)));
    let (manifest, kind, text) = match (own, shipped().get(name)) {
        (Some((project, manifest)), _) => {
            let path = project.dir().join(format!("connectors/{name}.yml"));
            let text =
                std::fs::read_to_string(&path).map_err(|e| file_reason("read", &path, &e))?;
            (manifest, "project", text)
        }
        (None, Some(manifest)) => {
            let text = built_in().iter().find(|connector| connector.name == name);
            let text = text.map_or("", |connector| connector.manifest);
            (manifest, "manifest", text.to_owned())
        }
        (None, None) => {
            let names: Vec<String> = list(project).into_iter().map(|row| row.name).collect();
            return Err(unknown("connector", name, names.iter()));
        }
    };
    Ok(ConnectorView {
        row: row(manifest, kind),
        summary: manifest.descriptor().summary.to_owned(),
        docs: Some(manifest.docs().to_owned()),
        hosts: manifest.hosts().to_vec(),
        page: rowcast_destinations::manifest::reference_markdown(manifest),
        manifest: Some(text),
    })
}

/// Native connectors whose services can't be had for tests: an emulator holds them to the documented
/// contract.
const EMULATED: [&str; 4] = ["segment", "rudderstack", "s3", "azure_blob"];

fn native(descriptor: &Descriptor) -> ConnectorRow {
    ConnectorRow {
        name: descriptor.name.to_owned(),
        title: descriptor.title.to_owned(),
        kind: "native".to_owned(),
        category: String::new(),
        status: if wire::is_absent(descriptor.name) {
            "not in this build"
        } else if EMULATED.contains(&descriptor.name) {
            "emulator"
        } else {
            "tried"
        }
        .to_owned(),
        objects: Vec::new(),
        operations: words(&descriptor.operations),
    }
}

fn row(manifest: &Manifest, kind: &str) -> ConnectorRow {
    let descriptor = manifest.descriptor();
    ConnectorRow {
        name: manifest.name().to_owned(),
        title: descriptor.title.to_owned(),
        kind: kind.to_owned(),
        category: manifest.category().to_owned(),
        status: if manifest.is_tried() {
            "tried"
        } else {
            "fixtures"
        }
        .to_owned(),
        objects: descriptor
            .objects
            .iter()
            .map(|object| object.name.to_owned())
            .collect(),
        operations: words(&descriptor.operations),
    }
}

pub(super) fn words(operations: &[Operation]) -> Vec<String> {
    operations.iter().map(ToString::to_string).collect()
}

/// What `connectors new` wrote.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct NewConnector {
    pub name: String,
    pub files: Vec<String>,
}

/// Writes a manifest and a fixture that pass, to be changed into another service's.
///
/// # Errors
/// The name is taken or can't be one, or a file can't be written.
pub fn make(project: &Project, name: &str) -> Answer<NewConnector> {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_name {
        return Err(
            Reason::new(Code::Usage, format!("{name} can't be a connector's name"))
                .hint("use lower case letters, digits and _")
                .into(),
        );
    }
    if list(Some(project)).iter().any(|row| row.name == name) {
        return Err(
            Reason::new(Code::Usage, format!("there is a connector {name} already"))
                .hint("choose another name, or read it with `rowcast connectors show`")
                .into(),
        );
    }
    let files = [
        (
            format!("connectors/{name}.yml"),
            include_str!("new/manifest.yml"),
        ),
        (
            format!("connectors/{name}/accepted.yml"),
            include_str!("new/accepted.yml"),
        ),
        (
            format!("connectors/{name}/rejected.yml"),
            include_str!("new/rejected.yml"),
        ),
        (
            format!("connectors/{name}/slower.yml"),
            include_str!("new/slower.yml"),
        ),
        (
            format!("connectors/{name}/unauthorized.yml"),
            include_str!("new/unauthorized.yml"),
        ),
    ];
    for (path, text) in &files {
        let full = project.dir().join(path);
        let failed = |error: std::io::Error| file_reason("write", &full, &error);
        if let Some(folder) = full.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(&full, text.replace("NAME", name)).map_err(failed)?;
    }
    Ok(NewConnector {
        name: name.to_owned(),
        files: files.into_iter().map(|(path, _)| path).collect(),
    })
}

/// How one fixture ended.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FixtureResult {
    pub connector: String,
    pub fixture: String,
    pub why: String,
    pub passed: bool,
    pub wrong: Vec<String>,
}

/// Runs the fixtures of the named connectors, or of all manifests. A name may be the path of a
/// manifest's file; its fixtures are in the folder of the same name beside it.
///
/// # Errors
/// There is no such connector, or a file can't be read.
pub async fn test(project: Option<&Project>, names: &[String]) -> Answer<Vec<FixtureResult>> {
    let mut results = Vec::new();
    for (manifest, fixtures) in chosen(project, names)? {
        let mut shown = Vec::new();
        for (name, text) in fixtures {
            let path = format!("{}/{name}", manifest.name());
            let fixture = read_fixture(&path, &text).map_err(Failure::of)?;
            shown.push(fixture.shows());
            let wrong = fixture.run(&manifest).await;
            results.push(FixtureResult {
                connector: manifest.name().to_owned(),
                fixture: name.trim_end_matches(".yml").to_owned(),
                why: fixture.why().to_owned(),
                passed: wrong.is_empty(),
                wrong,
            });
        }
        let wrong = rowcast_destinations::manifest::missing_stories(&shown);
        results.push(FixtureResult {
            connector: manifest.name().to_owned(),
            fixture: "completeness".to_owned(),
            why: "There are fixtures for accepted, rejected, 429 and 401".to_owned(),
            passed: wrong.is_empty(),
            wrong,
        });
    }
    Ok(results)
}

/// File names and texts of fixtures.
type Texts = Vec<(String, String)>;

fn chosen(project: Option<&Project>, names: &[String]) -> Answer<Vec<(Arc<Manifest>, Texts)>> {
    let shipped_texts = |name: &str| -> Texts {
        let connector = built_in().iter().find(|connector| connector.name == name);
        let fixtures = connector.map_or(&[][..], |connector| connector.fixtures);
        let owned = fixtures
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        owned.collect()
    };
    let mut chosen = Vec::new();
    if names.is_empty() {
        for (name, manifest) in shipped() {
            chosen.push((Arc::clone(manifest), shipped_texts(name)));
        }
        if let Some(project) = project {
            for (name, manifest) in &project.connectors {
                let folder = project.dir().join("connectors").join(name);
                chosen.push((Arc::clone(manifest), texts(&folder)?));
            }
        }
    }
    for name in names {
        let file = Path::new(name);
        if file.extension().is_some_and(|extension| extension == "yml") {
            let text = std::fs::read_to_string(file).map_err(|e| file_reason("read", file, &e))?;
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let folder = file.with_extension("");
            // In the repository the file is called manifest.yml and its folder has the name.
            let (stem, folder) = match file.parent() {
                Some(parent) if stem == "manifest" => (
                    parent.file_name().unwrap_or_default().to_string_lossy(),
                    parent.join("fixtures"),
                ),
                _ => (stem, folder),
            };
            let manifest = read(name, &text, &stem).map_err(Failure::of)?;
            chosen.push((Arc::new(manifest), texts(&folder)?));
        } else if let Some(manifest) = project.and_then(|project| project.connectors.get(name)) {
            let dir = project.map_or_else(PathBuf::new, |project| project.dir().to_path_buf());
            let folder = dir.join("connectors").join(name);
            chosen.push((Arc::clone(manifest), texts(&folder)?));
        } else if let Some(manifest) = shipped().get(name) {
            chosen.push((Arc::clone(manifest), shipped_texts(name)));
        } else {
            let names: Vec<String> = list(project)
                .into_iter()
                .filter(|row| matches!(row.kind.as_str(), "manifest" | "project"))
                .map(|row| row.name)
                .collect();
            return Err(unknown("connector made of a manifest,", name, names.iter()));
        }
    }
    Ok(chosen)
}

fn texts(folder: &Path) -> Answer<Texts> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_reason("read", folder, &error).into()),
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|e| file_reason("read", &path, &e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        texts.push((name.into_owned(), text));
    }
    Ok(texts)
}

/// One record to send.
#[derive(Debug, Clone)]
pub struct TryRequest {
    pub destination: String,
    pub object: Option<String>,
    pub operation: Operation,
    /// `name=value`; a value that is JSON is taken as such.
    pub matching: Vec<String>,
    pub fields: Vec<String>,
    pub dry_run: bool,
}

/// What became of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TryView {
    pub requests: Vec<String>,
    /// `delivered`, `accepted`, `rejected`, `unknown`, `failed`, or `not sent`.
    pub outcome: String,
    pub error: Option<Problem>,
}

/// Sends one record to a destination of the project, without any state.
///
/// # Errors
/// There is no such destination, or it can't take such a record.
pub async fn try_record(project: &Project, request: &TryRequest) -> Answer<TryView> {
    let matching = members(&request.matching)?;
    let fields = members(&request.fields)?;
    let mode = match request.operation {
        Operation::Insert => Mode::Insert,
        Operation::Update => Mode::Update,
        Operation::Upsert => Mode::Upsert,
        Operation::Delete => Mode::Delete,
    };
    let object: rowcast_core::Name = request.object.as_deref().unwrap_or_default().into();
    let destination = wire::destination_for(project, &request.destination, |config| {
        *config = DestinationConfig {
            object: object.clone(),
            mode,
            match_fields: matching.iter().map(|(name, _)| name.clone()).collect(),
            key_columns: vec!["id".into()],
            ..config.clone()
        };
    })?;
    let now = now_us();
    let batch = Batch {
        intent: 0,
        operation: request.operation,
        records: vec![Record {
            key: Key::int(1),
            operation: request.operation,
            kind: request.operation.usual_kind(),
            match_on: matching,
            fields,
            json: None,
            raw: None,
            idempotency_key: format!("try-{now}"),
            checksum: None,
            doubtful: false,
        }],
        context: Arc::new(RunContext {
            sync: "try".into(),
            sync_id: "try".into(),
            run: 0,
            epoch: 0,
            generation: 0,
            object,
            key_columns: vec!["id".into()],
            started_at: now,
        }),
    };
    let requests = destination.render(&batch);
    let mut view = TryView {
        requests,
        outcome: "not sent".to_owned(),
        error: None,
    };
    if request.dry_run {
        return Ok(view);
    }
    let (outcome, reason) = match destination.write(&batch).await {
        Ok(outcomes) => match outcomes.into_iter().next() {
            Some(Outcome::Delivered) => ("delivered", None),
            Some(Outcome::Accepted) => ("accepted", None),
            Some(Outcome::Rejected(reason)) => ("rejected", Some(reason)),
            Some(Outcome::Unknown(reason)) => ("unknown", Some(reason)),
            None => ("unknown", None),
        },
        Err(fault) => ("failed", Some(fault.reason().clone())),
    };
    outcome.clone_into(&mut view.outcome);
    view.error = reason.map(Problem::general);
    Ok(view)
}

fn members(words: &[String]) -> Answer<Object> {
    let mut members = Object::new();
    for word in words {
        let Some((name, text)) = word.split_once('=') else {
            return Err(Reason::new(Code::Usage, format!("{word} has no ="))
                .hint("write NAME=VALUE, such as email=ada@example.com")
                .into());
        };
        let value = rowcast_core::json::from_json(text).unwrap_or_else(|_| Value::from(text));
        members.push((name.into(), value));
    }
    Ok(members)
}
