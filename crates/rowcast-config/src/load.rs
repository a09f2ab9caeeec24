//! From a folder to a project: find it, read every file, lay the environment and the defaults
//! over the objects, resolve placeholders, check, and report every problem at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rowcast_core::schedule::EVERY_MIN;
use rowcast_core::{Code, Descriptor, Reason};

use crate::checks;
use crate::documents::keys;
use crate::merge::{merge, presets};
use crate::model::{self, SqlFile};
use crate::objects;
use crate::outside;
use crate::placeholder::{Resolver, Secrets};
use crate::problem::{File, Problem, reason};
use crate::project::Project;
use crate::shape::{Kind, Shape};
use crate::sync;
use crate::tree::{self, Node, Yaml};
use crate::walk::{Walker, subject, suggest};

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "rowcast.yml";

/// Files above this size are refused: nobody writes so much configuration by hand.
const FILE_MAX: u64 = 8 * 1024 * 1024;

/// What to load, and with what.
pub struct LoadOptions<'a> {
    /// The folder that holds `rowcast.yml` (see [`find`]).
    pub dir: &'a Path,
    /// `--env`.
    pub env: Option<&'a str>,
    pub secrets: Secrets,
    /// The environment: a closure, so that tests need no process environment.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// The connectors there are.
    pub descriptors: &'a [Descriptor],
    /// Files as they would be, in place of what is on disk.
    pub changes: &'a [Change<'a>],
}

/// A file that somebody wants to write, or to delete, from afar. It may hold no secret in clear and
/// name no command to run: who may change files over the network is not who may log in here.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Relative to the project's folder, with `/`.
    pub path: &'a str,
    /// `None` when it would be deleted.
    pub text: Option<&'a str>,
}

/// A project and everything that is wrong with it. With problems the project is incomplete and
/// must not be run.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub project: Project,
    /// In the order of files and lines; empty when all is well.
    pub problems: Vec<Problem>,
}

/// The project's folder: the given one, or the nearest with a `rowcast.yml` from `current` upwards.
///
/// # Errors
/// There is none.
pub fn find(project: Option<&Path>, current: &Path) -> Result<PathBuf, Reason> {
    let hint =
        "go to a project's folder, name it with --project DIR, or make one with: rowcast init";
    if let Some(dir) = project {
        let dir = current.join(dir);
        // The file itself is understood too.
        let dir = if dir.ends_with(PROJECT_FILE) && dir.is_file() {
            dir.parent().map(Path::to_path_buf).unwrap_or_default()
        } else {
            dir
        };
        if dir.join(PROJECT_FILE).is_file() {
            return Ok(dir);
        }
        return Err(reason(
            Code::ProjectNotFound,
            format!("the folder {} holds no {PROJECT_FILE}", dir.display()),
        )
        .hint(hint));
    }
    current
        .ancestors()
        .find(|dir| dir.join(PROJECT_FILE).is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| {
            reason(
                Code::ProjectNotFound,
                format!(
                    "no {PROJECT_FILE} was found in {} or above",
                    current.display()
                ),
            )
            .hint(hint)
        })
}

/// Reads a whole project.
pub fn load(options: &LoadOptions<'_>) -> Loaded {
    let mut loader = Loader {
        options,
        problems: Vec::new(),
        secrets: Vec::new(),
        documents: BTreeMap::new(),
        sql: BTreeMap::new(),
        project: Project {
            dir: options.dir.to_path_buf(),
            environment: options.env.map(str::to_owned),
            ..Project::default()
        },
        of_project_file: 0,
    };
    loader.read_all();
    loader.overlay();
    let mut trees = loader.objects();
    checks::project(
        &mut loader.project,
        &mut trees,
        options.descriptors,
        &mut loader.problems,
        &mut loader.secrets,
    );
    loader.finish()
}

/// Checked trees by kind and name, for the checks across documents.
pub(crate) type Trees = BTreeMap<(Kind, String), Node>;

struct Loader<'a> {
    options: &'a LoadOptions<'a>,
    problems: Vec<Problem>,
    secrets: Vec<String>,
    documents: Trees,
    /// SQL files by model.
    sql: BTreeMap<String, Arc<File>>,
    project: Project,
    /// How many problems there were when `rowcast.yml` itself was done.
    of_project_file: usize,
}

impl Loader<'_> {
    fn read_all(&mut self) {
        self.read(Kind::Project, "", PROJECT_FILE);
        for kind in Kind::ALL {
            if kind != Kind::Project {
                self.read_folder(kind);
            }
        }
        for (model, file) in &self.sql {
            if !self.documents.contains_key(&(Kind::Model, model.clone()))
                && !self.exists(&format!("models/{model}.yml"))
            {
                let reason = reason(Code::MissingKey, format!("the query {} has no model", file.path))
                    .hint(format!("write models/{model}.yml beside it, with `model: {model}`, `source:` and `primary_key:`"));
                self.problems.push(Problem::in_file(reason, &file.path));
            }
        }
        self.project.environments = self
            .documents
            .keys()
            .filter(|(kind, _)| *kind == Kind::Environment)
            .map(|(_, name)| name.clone())
            .collect();
    }

    fn read_folder(&mut self, kind: Kind) {
        let folder = self.options.dir.join(kind.folder());
        let mut names: Vec<String> = match std::fs::read_dir(&folder) {
            Ok(entries) => entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let reason = reason(
                    Code::FileUnreadable,
                    format!("the folder {} can't be read", kind.folder()),
                )
                .detail(error.to_string());
                self.problems.push(Problem::in_file(reason, kind.folder()));
                return;
            }
        };
        for change in self.options.changes {
            let inside = change.path.strip_prefix(kind.folder());
            if let Some(name) = inside.and_then(|name| name.strip_prefix('/')) {
                names.retain(|known| known != name);
                names.extend(change.text.map(|_| name.to_owned()));
            }
        }
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        for name in names {
            let path = format!("{}/{name}", kind.folder());
            if let Some(stem) = name.strip_suffix(".yml") {
                if kind == Kind::Connector {
                    self.project
                        .connectors
                        .insert(stem.to_owned(), self.options.dir.join(&path));
                } else {
                    self.read(kind, stem, &path);
                }
            } else if let Some(stem) = name.strip_suffix(".sql").filter(|_| kind == Kind::Model) {
                if let Some(file) = self.file(&path) {
                    self.sql.insert(stem.to_owned(), file);
                }
            } else if let Some(stem) = name.strip_suffix(".yaml") {
                let reason = reason(
                    Code::NameMismatch,
                    format!("the file {path} would not be read"),
                )
                .hint(format!(
                    "project files end in .yml: rename it to {stem}.yml"
                ));
                self.problems.push(Problem::in_file(reason, &path));
            }
        }
    }

    /// What a file would be, if it is to be changed.
    fn change(&self, path: &str) -> Option<Change<'_>> {
        let changes = self.options.changes.iter();
        changes.copied().find(|change| change.path == path)
    }

    fn exists(&self, path: &str) -> bool {
        match self.change(path) {
            Some(change) => change.text.is_some(),
            None => self.options.dir.join(path).exists(),
        }
    }

    fn file(&mut self, path: &str) -> Option<Arc<File>> {
        if let Some(Change { text, .. }) = self.change(path) {
            return text.map(|text| {
                Arc::new(File {
                    path: path.to_owned(),
                    text: text.to_owned(),
                })
            });
        }
        let full = self.options.dir.join(path);
        let too_big = std::fs::metadata(&full).is_ok_and(|meta| meta.len() > FILE_MAX);
        let read = if too_big {
            Err("it is larger than 8 MiB".to_owned())
        } else {
            std::fs::read(&full)
                .map_err(|error| error.to_string())
                .and_then(|bytes| {
                    String::from_utf8(bytes).map_err(|error| {
                        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                        let line = before.split(|byte| *byte == b'\n').count();
                        format!("it is not UTF-8 text (line {line})")
                    })
                })
        };
        match read {
            Ok(text) => Some(Arc::new(File {
                path: path.to_owned(),
                text,
            })),
            Err(detail) => {
                let reason = reason(
                    Code::FileUnreadable,
                    format!("the file {path} can't be read"),
                )
                .detail(detail)
                .hint("check that it exists, its permissions, and that it is saved as UTF-8");
                self.problems.push(Problem::in_file(reason, path));
                None
            }
        }
    }

    fn read(&mut self, kind: Kind, stem: &str, path: &str) {
        let Some(file) = self.file(path) else { return };
        let Some(mut node) = tree::read(&file, &mut self.problems) else {
            return;
        };
        if self.change(path).is_some() {
            node.for_each_scalar(&mut |scalar, _| scalar.guarded = true);
            if matches!(kind, Kind::Source | Kind::Destination) {
                commands(&node, &mut self.problems);
            }
        }
        if kind != Kind::Project && !is_name(stem) {
            let reason = reason(
                Code::NameMismatch,
                format!("the file name {stem} can't be an object's name"),
            )
            .hint("use up to 63 letters, digits, `_` and `-`");
            self.problems.push(Problem::in_file(reason, path));
        }
        self.documents.insert((kind, stem.to_owned()), node);
    }

    /// Variables, the environment's overlay, the project's defaults.
    fn overlay(&mut self) {
        let root_key = (Kind::Project, String::new());
        let mut variables = BTreeMap::new();
        self.variables(&root_key, &mut variables);
        if let Some(env) = self.options.env {
            let key = (Kind::Environment, env.to_owned());
            if self.documents.contains_key(&key) {
                self.variables(&key, &mut variables);
            } else if !self
                .options
                .dir
                .join(format!("environments/{env}.yml"))
                .is_file()
            {
                let names = &self.project.environments;
                let hint = match suggest(env, names.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean --env {near}?"),
                    None if names.is_empty() => {
                        format!("write environments/{env}.yml, or leave --env away")
                    }
                    None => format!("there are: {}", names.join(", ")),
                };
                let reason = reason(
                    Code::UnknownEnvironment,
                    format!("the environment \"{env}\" does not exist"),
                )
                .hint(hint);
                self.problems.push(Problem::general(reason));
            }
        }
        self.project.variables = variables;

        for name in self.project.environments.clone() {
            let Some(node) = self
                .documents
                .get(&(Kind::Environment, name.clone()))
                .cloned()
            else {
                continue;
            };
            let chosen = self.options.env == Some(name.as_str());
            for kind in [Kind::Source, Kind::Model, Kind::Destination, Kind::Sync] {
                for entry in node
                    .get(kind.folder())
                    .map(Node::entries)
                    .unwrap_or_default()
                {
                    let Some(base) = self.documents.get_mut(&(kind, entry.key.clone())) else {
                        self.unknown_overlay(kind, &name, entry);
                        continue;
                    };
                    if !matches!(entry.value.yaml, Yaml::Map(_)) {
                        let message = format!(
                            "`{}.{}` of environment \"{name}\" is not a mapping",
                            kind.folder(),
                            entry.key
                        );
                        let reason =
                            reason(Code::WrongType, message).hint("write the keys to change");
                        self.problems.push(Problem::at(reason, &entry.value.at));
                    } else if chosen {
                        merge(base, &entry.value);
                    }
                }
            }
        }

        if let Some(defaults) = self
            .documents
            .get(&root_key)
            .and_then(|root| root.get("defaults"))
            .cloned()
        {
            for ((kind, _), node) in &mut self.documents {
                if let Some(preset) = defaults.get(kind.folder())
                    && matches!(kind, Kind::Sync | Kind::Destination)
                {
                    presets(node, preset);
                }
            }
        }
    }

    fn variables(&self, key: &(Kind, String), variables: &mut BTreeMap<String, String>) {
        let Some(node) = self
            .documents
            .get(key)
            .and_then(|node| node.get("variables"))
        else {
            return;
        };
        for entry in node.entries() {
            if let Some(text) = entry.value.text() {
                variables.insert(entry.key.clone(), text.to_owned());
            }
        }
    }

    fn unknown_overlay(&mut self, kind: Kind, environment: &str, entry: &tree::Entry) {
        // A file that is there but could not be read has its own problem already.
        if self
            .options
            .dir
            .join(format!("{}/{}.yml", kind.folder(), entry.key))
            .exists()
        {
            return;
        }
        let names = self
            .documents
            .keys()
            .filter(|(k, _)| *k == kind)
            .map(|(_, name)| name.as_str());
        let hint = match suggest(&entry.key, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "an environment changes objects that exist: write {}/{}.yml first",
                kind.folder(),
                entry.key
            ),
        };
        let message = format!(
            "environment \"{environment}\" changes the {} \"{}\", which does not exist",
            kind.as_str(),
            entry.key
        );
        self.problems.push(Problem::at(
            reason(Code::UnknownReference, message).hint(hint),
            &entry.key_at,
        ));
    }

    /// Resolves, checks and types every document.
    fn objects(&mut self) -> Trees {
        let mut documents = std::mem::take(&mut self.documents);
        let variables = self.project.variables.clone();
        let resolver = Resolver {
            secrets: self.options.secrets,
            lookup: self.options.lookup,
            variables: &variables,
            environment: self.options.env,
            dir: self.options.dir,
            read: RefCell::default(),
        };
        for ((kind, name), node) in &mut documents {
            // What an environment says is resolved where it is used: secrets of other
            // environments are not asked for.
            if *kind != Kind::Environment {
                resolver.resolve(node, &mut self.problems);
            }
            let keys = keys(*kind);
            let mut walker = Walker {
                problems: &mut self.problems,
                secrets: &mut self.secrets,
                subject: subject(*kind, name),
                wrong: Code::WrongType,
            };
            walker.group(node, &keys, &Shape::Group(keys.clone()), "");
            own_name(&mut walker, *kind, name, node);
            let project = &mut self.project;
            match kind {
                Kind::Project => {
                    project.name = node.string("project").unwrap_or_default();
                    project.description = node.string("description");
                    project.owner = node.string("owner");
                    project.channels = outside::read_channels(node);
                    project.smtp = outside::read_smtp(node);
                    project.hooks = outside::read_hooks(node);
                    project.positions = node.positions();
                    project.schedule_gap_min =
                        node.duration("schedule_gap_min").unwrap_or(EVERY_MIN);
                    project.retention = objects::retention(node);
                    project.spool = objects::spool(node, self.options.dir);
                    self.of_project_file = self.problems.len();
                }
                Kind::Source => {
                    let source = objects::source(name, node, self.options.dir, &mut walker);
                    project.sources.insert(name.clone(), source);
                }
                Kind::Model => {
                    let sql = self
                        .sql
                        .get(name)
                        .map(|file| SqlFile::read(file, &resolver, &mut walker));
                    let model = model::model(name, node, sql, &mut walker);
                    project.models.insert(name.clone(), model);
                }
                Kind::Destination => {
                    project
                        .destinations
                        .insert(name.clone(), objects::destination(name, node));
                }
                Kind::Sync => {
                    let sync = sync::sync(name, node, &mut walker);
                    project.syncs.insert(name.clone(), sync);
                }
                Kind::Test => {
                    let test = objects::test(name, node, &mut walker);
                    project.tests.insert(name.clone(), test);
                }
                Kind::Environment | Kind::Connector => {}
            }
        }
        self.project.secret_files = resolver.read.into_inner();
        documents
    }

    fn finish(mut self) -> Loaded {
        self.secrets
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.secrets.dedup();
        // A mistake in `defaults:` shows in every object that takes them: once is enough.
        let mut seen = std::collections::HashSet::new();
        let mut index = 0;
        let own = self.of_project_file;
        self.problems.retain(|problem| {
            index += 1;
            let of_project = problem.file.as_deref() == Some(PROJECT_FILE);
            let place = (problem.line, problem.column, problem.reason.code);
            !of_project || seen.insert(place) || index <= own
        });
        for problem in &mut self.problems {
            problem.mask(&self.secrets);
        }
        self.problems
            .sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        Loaded {
            project: self.project,
            problems: self.problems,
        }
    }
}

/// Refuses commands anywhere in a document that came over the network.
fn commands(node: &Node, problems: &mut Vec<Problem>) {
    for entry in node.entries() {
        if entry.key == "command" && matches!(entry.value.yaml, Yaml::List(_)) {
            let reason = reason(
                Code::SecretInClear,
                "a command to run on the server can't be set over the API",
            )
            .hint("write it in the file, on the server or through Git");
            problems.push(Problem::at(reason, &entry.value.at));
        }
        commands(&entry.value, problems);
    }
    for item in node.items() {
        commands(item, problems);
    }
}

/// Whether a text can be the name of an object: names are used in paths, URLs and table names.
pub fn is_name(text: &str) -> bool {
    // PostgreSQL's longest identifier.
    const LONGEST: usize = 63;
    !text.is_empty()
        && text.len() <= LONGEST
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn own_name(walker: &mut Walker<'_>, kind: Kind, stem: &str, node: &Node) {
    if kind == Kind::Project {
        return;
    }
    let key = kind.as_str();
    let Some(written) = node.get(key) else { return };
    let Some(name) = written.text() else { return };
    if name != stem {
        let message = format!("the {key} is named \"{name}\", its file \"{stem}\"");
        walker.note(
            reason(Code::NameMismatch, message).hint(format!(
                "write `{key}: {stem}`, or rename the file to {}/{name}.yml",
                kind.folder()
            )),
            &written.at,
        );
    }
}
