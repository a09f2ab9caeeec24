//! Objects of the project as files, written in a person's place.
//!
//! What would make the project invalid is never written; a change says which version of a file it
//! replaces; a file is replaced as a whole or not at all. There is no second truth: what is written
//! here is what an editor, Git and the next start read.

mod git;
mod place;

use std::path::Path;

use rowcast_config::Change;
use rowcast_config::render::{Part, document};
use rowcast_core::{Code, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ServeOptions, Service, reload};
use crate::objects::ObjectKind;
use crate::{Answer, Project};
use place::Place;

pub(super) use git::usable;

/// An object's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FileView {
    /// `source`, `model`, `destination` or `sync`.
    pub kind: &'static str,
    pub name: String,
    /// In the project's folder.
    pub file: String,
    /// Of the file and the query beside it; the same as the header `ETag`.
    pub version: String,
    pub yaml: String,
    /// The query in `models/NAME.sql`, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// The commit that the change became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A file to write: exactly one of `yaml` and `object`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-text" = "text/yaml"))]
pub struct FileRequest {
    /// The file's text, comments included.
    pub yaml: Option<String>,
    /// The same as an object; it has no comments.
    pub object: Option<Map<String, Value>>,
    /// The query of a model, for the file `NAME.sql` beside it; without it, that file stays as it is.
    pub sql: Option<String>,
    /// Who changes it, for the commit: `Ada <ada@example.com>`; by default the token's name.
    pub author: Option<String>,
    /// Why, for the commit.
    pub message: Option<String>,
    /// Only says whether it could be written.
    pub dry_run: bool,
}

/// Which version of a file a change is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Any that there is.
    Any,
    /// One of these.
    Versions(Vec<String>),
}

impl Expected {
    fn check(&self, file: &str, found: &str) -> Answer<()> {
        match self {
            Self::Any => Ok(()),
            Self::Versions(versions) if versions.iter().any(|version| version == found) => Ok(()),
            Self::Versions(_) => Err(Reason::new(
                Code::FileChanged,
                format!("{file} is not the version that was to be changed"),
            )
            .detail(format!("its version is {found}"))
            .hint("read it again, and send the change with the new version in `If-Match`")
            .into()),
        }
    }
}

/// Who changes a file, and why.
#[derive(Debug, Clone, Copy)]
struct Signed<'a> {
    /// The token's name.
    who: &'a str,
    author: Option<&'a str>,
    message: Option<&'a str>,
}

impl Service {
    /// An object's file as it is on disk.
    ///
    /// # Errors
    /// There is no such object, or its file can't be read.
    pub fn file(&self, kind: ObjectKind, name: &str) -> Answer<FileView> {
        let place = Place::new(&self.inner.options.dir, kind, name)?;
        match place.read()? {
            Some(texts) => Ok(place.view(&texts, None)),
            None => Err(no_object(&self.project(), kind, name)),
        }
    }

    /// Makes an object, under the name that its own text says.
    ///
    /// # Errors
    /// The name is taken, the project would be invalid, or the file can't be written.
    pub async fn create(
        &self,
        kind: ObjectKind,
        request: FileRequest,
        who: &str,
    ) -> Answer<FileView> {
        let who = who.to_owned();
        self.change(move |options| {
            let yaml = request.text()?;
            let name = own_name(kind, &yaml)?;
            let place = Place::new(&options.dir, kind, &name)?;
            let before = place.read()?;
            if before.is_some() {
                return Err(Reason::new(
                    Code::ObjectExists,
                    format!("there is a {} \"{name}\" already", kind.as_str()),
                )
                .hint(format!(
                    "choose another name, or change it: `PUT /api/v1/{}/{name}`",
                    kind.folder()
                ))
                .into());
            }
            save(options, &place, None, &yaml, &request, &who)
        })
        .await
    }

    /// Replaces an object's file.
    ///
    /// # Errors
    /// There is no such object, its file is another version, the project would be invalid, or the
    /// file can't be written.
    pub async fn replace(
        &self,
        kind: ObjectKind,
        name: &str,
        expected: Expected,
        request: FileRequest,
        who: &str,
    ) -> Answer<FileView> {
        let (name, who, project) = (name.to_owned(), who.to_owned(), self.project());
        self.change(move |options| {
            let place = Place::new(&options.dir, kind, &name)?;
            let Some(before) = place.read()? else {
                return Err(no_object(&project, kind, &name));
            };
            expected.check(&place.yaml, &before.version())?;
            let yaml = request.text()?;
            save(options, &place, Some(&before), &yaml, &request, &who)
        })
        .await
    }

    /// Deletes an object's file.
    ///
    /// # Errors
    /// There is no such object, others refer to it, its file is another version, or it can't be
    /// deleted.
    pub async fn delete(
        &self,
        kind: ObjectKind,
        name: &str,
        expected: Expected,
        who: &str,
    ) -> Answer<()> {
        let (name, who, project) = (name.to_owned(), who.to_owned(), self.project());
        self.change(move |options| {
            let place = Place::new(&options.dir, kind, &name)?;
            let Some(before) = place.read()? else {
                return Err(no_object(&project, kind, &name));
            };
            expected.check(&place.yaml, &before.version())?;
            let users = project.users(kind, &name);
            if !users.is_empty() {
                return Err(Reason::new(
                    Code::ObjectInUse,
                    format!("{} \"{name}\" can't be deleted", kind.as_str()),
                )
                .detail(format!("it is used by {}", users.join(", ")))
                .hint("change or delete these first")
                .into());
            }
            let changes = [
                Change {
                    path: &place.yaml,
                    text: None,
                },
                Change {
                    path: &place.sql,
                    text: None,
                },
            ];
            let after = Project::load_changed(&options.dir, options.env.as_deref(), &changes)?;
            let signed = Signed {
                who: &who,
                author: None,
                message: None,
            };
            place.delete(&before)?;
            place.commit(options, Some(&before), "Delete", signed)?;
            Ok(((), Some(after)))
        })
        .await
    }

    /// One change at a time, over all servers of this folder; what it leads to is served at once.
    async fn change<T: Send + 'static>(
        &self,
        act: impl FnOnce(&ServeOptions) -> Answer<(T, Option<Project>)> + Send + 'static,
    ) -> Answer<T> {
        let inner = std::sync::Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || {
            let _lock = lock(&inner.options.dir)?;
            let (done, project) = act(&inner.options)?;
            if let Some(project) = project {
                reload::take_over(&inner, project);
            }
            Ok(done)
        });
        done.await
            .map_err(|error| Reason::defect(format!("a change of a file ended early: {error}")))?
    }
}

/// Holds the folder until it is dropped, against other servers too.
fn lock(dir: &Path) -> Answer<std::fs::File> {
    let held = std::fs::File::open(dir).and_then(|folder| folder.lock().map(|()| folder));
    held.map_err(|error| crate::failure::file_reason("lock", dir, &error).into())
}

/// Writes a file if the project is valid with it.
fn save(
    options: &ServeOptions,
    place: &Place,
    before: Option<&place::Texts>,
    yaml: &str,
    request: &FileRequest,
    who: &str,
) -> Answer<(FileView, Option<Project>)> {
    if request.sql.is_some() && !place.may_have_sql {
        return Err(invalid("`sql` belongs to models").into());
    }
    let after = place::Texts {
        yaml: yaml.to_owned(),
        sql: request
            .sql
            .clone()
            .or_else(|| before.and_then(|texts| texts.sql.clone())),
    };
    let mut changes = vec![Change {
        path: &place.yaml,
        text: Some(&after.yaml),
    }];
    if let Some(sql) = &request.sql {
        changes.push(Change {
            path: &place.sql,
            text: Some(sql),
        });
    }
    let project = Project::load_changed(&options.dir, options.env.as_deref(), &changes)?;
    if request.dry_run || before == Some(&after) {
        return Ok((place.view(&after, None), None));
    }
    let signed = Signed {
        who,
        author: request.author.as_deref(),
        message: request.message.as_deref(),
    };
    if options.git {
        git::author(signed)?;
    }
    tracing::info!(file = %place.yaml, who, "an object's file is written over the API");
    place.write(before, &after)?;
    let verb = if before.is_some() { "Change" } else { "Add" };
    let commit = place.commit(options, before, verb, signed)?;
    Ok((place.view(&after, commit), Some(project)))
}

impl FileRequest {
    /// The file's text.
    fn text(&self) -> Answer<String> {
        match (&self.yaml, &self.object) {
            (Some(yaml), None) => Ok(yaml.clone()),
            (None, Some(object)) => {
                let members: Vec<(String, Part)> = object
                    .iter()
                    .map(|(name, value)| (name.clone(), part(value)))
                    .collect();
                Ok(document(&members))
            }
            _ => Err(invalid("exactly one of `yaml` and `object` is wanted").into()),
        }
    }
}

fn invalid(message: &str) -> Reason {
    Reason::new(Code::RequestInvalid, message)
        .hint("`GET /api/v1/openapi.json` describes the bodies")
}

/// Data in which placeholders are placeholders, as in a file.
fn part(value: &Value) -> Part {
    match value {
        Value::String(text) if text.contains("${") => Part::word(text.as_str()),
        Value::Array(items) => Part::List(items.iter().map(part).collect()),
        Value::Object(members) => Part::Map(
            members
                .iter()
                .map(|(name, value)| (name.clone(), part(value)))
                .collect(),
        ),
        other => Part::data(other),
    }
}

/// The name that a document says of itself.
fn own_name(kind: ObjectKind, yaml: &str) -> Answer<String> {
    let documents = rowcast_config::foreign::documents(yaml).map_err(|error| {
        Reason::new(Code::YamlSyntax, "the file can't be read as YAML").detail(error)
    })?;
    let name = documents
        .first()
        .and_then(|document| document.get(kind.as_str()));
    match name.and_then(Value::as_str) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Reason::new(
            Code::MissingKey,
            format!("the {} says no name", kind.as_str()),
        )
        .hint(format!("write `{}: NAME`", kind.as_str()))
        .into()),
    }
}

/// What is not there, with what is.
fn no_object(project: &Project, kind: ObjectKind, name: &str) -> crate::Failure {
    let config = &project.config;
    match kind {
        ObjectKind::Source => crate::project::unknown("source", name, config.sources.keys()),
        ObjectKind::Model => crate::project::unknown("model", name, config.models.keys()),
        ObjectKind::Destination => {
            crate::project::unknown("destination", name, config.destinations.keys())
        }
        ObjectKind::Sync => crate::project::unknown("sync", name, config.syncs.keys()),
    }
}
