//! A loaded project: the configuration with every problem reported, and its objects by name.

use std::path::Path;
use std::sync::Arc;

use rowcast_config::{Change, LoadOptions, Problem, Secrets};
use rowcast_core::{Code, Reason};
use rowcast_destinations::manifest::Manifest;

use crate::connectors::{self, Manifests};
use crate::failure::{Failure, file_reason};
use crate::objects::ObjectKind;
use crate::state::States;
use crate::{Answer, environment, wire};

/// A project without problems.
#[derive(Debug, Clone)]
pub struct Project {
    pub(crate) config: rowcast_config::Project,
    /// The project's own manifests.
    pub(crate) connectors: Manifests,
    pub(crate) states: States,
}

impl Project {
    /// Reads the project at `dir`, or the nearest one above the working folder, with its secrets.
    ///
    /// # Errors
    /// Every problem of the project.
    pub fn load(dir: Option<&Path>, env: Option<&str>) -> Answer<Self> {
        read(dir, env, Secrets::Required, &[])
    }

    /// Reads the project for use cases that need no secrets.
    ///
    /// # Errors
    /// Every problem of the project.
    pub fn load_without_secrets(dir: Option<&Path>, env: Option<&str>) -> Answer<Self> {
        read(dir, env, Secrets::Lenient, &[])
    }

    /// Reads the project although one sync does not say yet what it maps: what its object needs or does
    /// not have is what is asked about.
    ///
    /// # Errors
    /// Every other problem of the project.
    pub fn load_to_complete(dir: Option<&Path>, env: Option<&str>, sync: &str) -> Answer<Self> {
        let file = format!("syncs/{sync}.yml");
        let (project, mut problems) = read_all(dir, env, Secrets::Required, &[])?;
        let unread = problems
            .iter()
            .any(|problem| problem.file.as_deref() == Some(&file));
        if !unread {
            project.sync(sync)?;
        }
        problems.retain(|problem| {
            let of_fields = matches!(problem.reason.code, Code::MissingKey | Code::InvalidSetting);
            !of_fields || problem.file.as_deref() != Some(&file)
        });
        complete(project, problems)
    }

    /// Reads the project as it would be with some files changed.
    ///
    /// # Errors
    /// Every problem that it would have.
    pub(crate) fn load_changed(
        dir: &Path,
        env: Option<&str>,
        changes: &[Change<'_>],
    ) -> Answer<Self> {
        read(Some(dir), env, Secrets::Required, changes)
    }

    /// The project's folder.
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// The names of all syncs, each after those it is scheduled `after`.
    pub fn sync_names(&self) -> Vec<String> {
        let mut waiting: Vec<String> = self.config.syncs.keys().cloned().collect();
        let mut ordered = Vec::new();
        while !waiting.is_empty() {
            let ready = self.ready(&waiting);
            waiting.retain(|name| !ready.contains(name));
            ordered.extend(ready);
        }
        ordered
    }

    /// Those of `waiting` that wait for none of the others. Never empty while `waiting` is not:
    /// circles are refused when the project is read, and broken here all the same.
    pub(crate) fn ready(&self, waiting: &[String]) -> Vec<String> {
        let waits = |name: &String| {
            self.config.syncs.get(name).is_some_and(|sync| {
                predecessors(sync)
                    .iter()
                    .any(|other| other != name && waiting.contains(other))
            })
        };
        let ready: Vec<String> = waiting
            .iter()
            .filter(|name| !waits(name))
            .cloned()
            .collect();
        if ready.is_empty() {
            waiting.to_vec()
        } else {
            ready
        }
    }

    /// The named syncs in the order they run, or all of them.
    ///
    /// # Errors
    /// A name that is none.
    pub fn selected(&self, names: &[String]) -> Answer<Vec<String>> {
        for name in names {
            self.sync(name)?;
        }
        let all = self.sync_names();
        if all.is_empty() {
            return Err(
                Reason::new(Code::UnknownReference, "the project has no syncs")
                    .hint("write one in syncs/NAME.yml; `rowcast init` shows how")
                    .into(),
            );
        }
        Ok(all
            .into_iter()
            .filter(|name| names.is_empty() || names.contains(name))
            .collect())
    }

    pub(crate) fn sync(&self, name: &str) -> Answer<&rowcast_config::Sync> {
        self.config
            .syncs
            .get(name)
            .ok_or_else(|| unknown("sync", name, self.config.syncs.keys()))
    }

    pub(crate) fn model(&self, name: &str) -> Answer<&rowcast_config::Model> {
        self.config
            .models
            .get(name)
            .ok_or_else(|| unknown("model", name, self.config.models.keys()))
    }

    pub(crate) fn source(&self, name: &str) -> Answer<&rowcast_config::Source> {
        self.config
            .sources
            .get(name)
            .ok_or_else(|| unknown("source", name, self.config.sources.keys()))
    }

    pub(crate) fn destination(&self, name: &str) -> Answer<&rowcast_config::Destination> {
        self.config
            .destinations
            .get(name)
            .ok_or_else(|| unknown("destination", name, self.config.destinations.keys()))
    }

    /// Who refers to an object: `sync crm`, `model customers`.
    pub(crate) fn users(&self, kind: ObjectKind, name: &str) -> Vec<String> {
        let config = &self.config;
        let syncs = |uses: &dyn Fn(&rowcast_config::Sync) -> bool| -> Vec<String> {
            let all = config.syncs.values().filter(|sync| uses(sync));
            all.map(|sync| format!("sync {}", sync.name)).collect()
        };
        match kind {
            ObjectKind::Source => {
                let models = config.models.values().filter(|model| model.source == name);
                let places = config.sources.values().filter(|source| {
                    source.name != name && source.state_source.as_deref() == Some(name)
                });
                models
                    .map(|model| format!("model {}", model.name))
                    .chain(places.map(|source| format!("source {}", source.name)))
                    .collect()
            }
            ObjectKind::Model => syncs(&|sync| sync.model == name),
            ObjectKind::Destination => syncs(&|sync| sync.destination == name),
            ObjectKind::Sync => {
                let mut users = syncs(&|sync| {
                    sync.name != name && predecessors(sync).iter().any(|n| n == name)
                });
                let tests = config.tests.values().filter(|test| test.sync == name);
                users.extend(tests.map(|test| format!("test {}", test.name)));
                users
            }
        }
    }

    /// The manifest of a connector, if it is one.
    pub(crate) fn manifest(&self, connector: &str) -> Option<&Arc<Manifest>> {
        let own = self.connectors.get(connector);
        own.or_else(|| connectors::shipped().get(connector))
    }

    /// The one that was named, or the only one there is.
    pub(crate) fn one_source(&self, name: Option<&str>) -> Answer<&rowcast_config::Source> {
        match (name, self.config.sources.len()) {
            (Some(name), _) => self.source(name),
            (None, 1) => self
                .config
                .sources
                .values()
                .next()
                .ok_or_else(|| Reason::defect("a map of one is empty").into()),
            (None, _) => Err(Reason::new(Code::Usage, "can't tell which source is meant")
                .detail(format!(
                    "the project has {}",
                    listed(self.config.sources.keys())
                ))
                .hint("name the source after the command")
                .into()),
        }
    }

    /// Whether the sync or anything it needs is paused; says what.
    pub(crate) fn paused(&self, sync: &rowcast_config::Sync) -> Option<String> {
        let config = &self.config;
        if sync.about.paused {
            return Some(format!("sync {} is paused", sync.name));
        }
        if config
            .destinations
            .get(&sync.destination)
            .is_some_and(|d| d.about.paused)
        {
            return Some(format!("destination {} is paused", sync.destination));
        }
        let model = config.models.get(&sync.model)?;
        if model.about.paused {
            return Some(format!("model {} is paused", model.name));
        }
        let source = config.sources.get(&model.source)?;
        source
            .about
            .paused
            .then(|| format!("source {} is paused", source.name))
    }
}

/// The folder of the project, read or not.
pub(crate) fn folder(dir: Option<&Path>) -> Answer<std::path::PathBuf> {
    let current = std::env::current_dir()
        .map_err(|error| file_reason("find the working folder", Path::new("."), &error))?;
    Ok(rowcast_config::find(dir, &current)?)
}

fn read(
    dir: Option<&Path>,
    env: Option<&str>,
    secrets: Secrets,
    changes: &[Change<'_>],
) -> Answer<Project> {
    let (project, problems) = read_all(dir, env, secrets, changes)?;
    complete(project, problems)
}

/// A project without problems, or the problems.
fn complete(project: Project, problems: Vec<Problem>) -> Answer<Project> {
    if problems.is_empty() {
        Ok(project)
    } else {
        Err(Failure::of(problems))
    }
}

fn read_all(
    dir: Option<&Path>,
    env: Option<&str>,
    secrets: Secrets,
    changes: &[Change<'_>],
) -> Answer<(Project, Vec<Problem>)> {
    let dir = folder(dir)?;
    let (connectors, mut found) = connectors::of_project(&dir);
    let mut descriptors = wire::descriptors();
    // A manifest of the project's own goes before one of the same name that comes with the program.
    descriptors.retain(|descriptor| !connectors.contains_key(descriptor.name));
    descriptors.extend(connectors.values().map(|own| own.descriptor().clone()));
    descriptors.extend(connectors::catalogue::descriptors(&dir));
    let loaded = rowcast_config::load(&LoadOptions {
        dir: &dir,
        env,
        secrets,
        lookup: &environment::variable,
        descriptors: &descriptors,
        changes,
    });
    let project = Project {
        config: loaded.project,
        connectors,
        states: States::default(),
    };
    let mut problems = loaded.problems;
    problems.append(&mut found);
    problems.extend(connectors::catalogue::problems(&project));
    problems.extend(wire::mapping_problems(&project));
    Ok((project, problems))
}

fn predecessors(sync: &rowcast_config::Sync) -> Vec<String> {
    let mut names = Vec::new();
    for schedule in &sync.schedules {
        if let rowcast_config::Trigger::After { syncs, .. } = &schedule.trigger {
            names.extend(syncs.iter().cloned());
        }
    }
    names
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// A name that the project does not have, with those it has and the nearest of them.
pub(crate) fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a String> + Clone,
) -> Failure {
    let reason = Reason::new(
        Code::UnknownReference,
        format!("the project has no {kind} \"{name}\""),
    )
    .detail(format!("it has: {}", listed(known.clone())));
    Failure::from(
        match rowcast_config::suggest(name, known.map(String::as_str)) {
            Some(near) => reason.hint(format!("did you mean `{near}`?")),
            None => reason.hint("`rowcast validate` reads the whole project"),
        },
    )
}
