//! `import`: another tool's configuration becomes a project's files, with a report of what was
//! carried over and what was not.
//!
//! Nothing is guessed in silence: every object that was read is either written or listed with the
//! reason why not, and whatever differs on a written one is listed beside it. It never overwrites a
//! file, never writes a secret, and never writes a project that does not validate.

mod draft;
mod rudder;
mod segment;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rowcast_core::{Code, Reason};
use serde::Serialize;

use crate::failure::file_reason;
use crate::{Answer, Failure, Project, project};
use draft::Draft;

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum From {
    /// Files with Terraform's JSON or answers of Segment's API.
    Segment(Vec<PathBuf>),
    /// A folder of Rudder CLI's YAML.
    Rudder(PathBuf),
}

/// What to import, and where to.
#[derive(Debug, Clone)]
pub struct Request {
    pub from: From,
    /// The project's folder; by default the nearest one upwards, else the working folder.
    pub project: Option<PathBuf>,
    /// Nothing is written.
    pub dry_run: bool,
}

/// What came over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// `segment` or `rudder`.
    pub from: &'static str,
    /// The project's folder.
    pub dir: String,
    /// Objects in the old configuration: `written + not_carried`.
    pub read: u64,
    pub written: Vec<Written>,
    pub not_carried: Vec<NotCarried>,
    /// Files that no object stands for, and why they are there.
    pub added: Vec<Added>,
    /// Variables to set before the project runs.
    pub variables: Vec<Variable>,
    pub notes: Vec<String>,
    /// Every file, in order.
    pub files: Vec<File>,
    /// False when it was only shown.
    pub done: bool,
}

/// An object that was carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// In the old tool's words.
    pub kind: &'static str,
    pub name: String,
    pub files: Vec<String>,
    /// What is not as it was there.
    pub differs: Vec<String>,
}

/// An object that was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCarried {
    pub kind: String,
    pub name: String,
    pub reason: String,
}

/// A file that no object stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    pub path: String,
    pub why: String,
}

/// An environment variable that the project reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    pub name: String,
    pub what: String,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// Imports a configuration.
///
/// # Errors
/// The old configuration can't be read, or a file of the new one exists already. Nothing was written
/// then.
pub fn import(request: &Request) -> Answer<Imported> {
    let dir = folder(request.project.as_deref());
    let (word, mut draft) = match &request.from {
        From::Segment(files) => ("segment", segment::read(files)?),
        From::Rudder(folder) => ("rudder", rudder::read(folder)?),
    };
    let fresh = !dir.join(rowcast_config::PROJECT_FILE).exists();
    draft.project_file(&dir);
    let files = valid(&mut draft)?;
    let files: BTreeMap<String, String> = files
        .into_iter()
        .filter(|(path, _)| fresh || path != rowcast_config::PROJECT_FILE)
        .collect();
    refuse_existing(&dir, &files)?;
    if !request.dry_run {
        for (path, text) in &files {
            put(&dir.join(path), text)?;
        }
    }
    draft.added.retain(|added| files.contains_key(&added.path));
    Ok(Imported {
        from: word,
        dir: dir.display().to_string(),
        read: (draft.written.len() + draft.not_carried.len()) as u64,
        written: draft.written,
        not_carried: draft.not_carried,
        added: draft.added,
        variables: draft
            .variables
            .into_iter()
            .map(|(name, what)| Variable { name, what })
            .collect(),
        notes: draft.notes,
        files: files
            .into_iter()
            .map(|(path, text)| File { path, text })
            .collect(),
        done: !request.dry_run,
    })
}

fn folder(given: Option<&Path>) -> PathBuf {
    match given {
        Some(dir) => dir.to_path_buf(),
        None => project::folder(None).unwrap_or_else(|_| PathBuf::from(".")),
    }
}

/// The files of a draft that validates: a sync in which something is wrong is not carried over, with
/// the problem as its reason.
fn valid(draft: &mut Draft) -> Answer<BTreeMap<String, String>> {
    loop {
        let files = draft.files();
        let Err(failure) = validate(&files)? else {
            return Ok(files);
        };
        let mut dropped = false;
        for problem in &failure.problems {
            if let Some(file) = &problem.file {
                dropped |= draft.drop_sync(file, &problem.reason);
            }
        }
        if !dropped {
            let mut failure = failure;
            for problem in &mut failure.problems {
                problem.reason.hint = Some(
                    "this is a gap of the import: please report it with this message".to_owned(),
                );
            }
            return Err(failure);
        }
    }
}

/// Reads the files as a project, away from where they will be.
fn validate(files: &BTreeMap<String, String>) -> Answer<Result<(), Failure>> {
    let dir = tempfile::tempdir()
        .map_err(|error| file_reason("make a folder in", &std::env::temp_dir(), &error))?;
    for (path, text) in files {
        put(&dir.path().join(path), text)?;
    }
    Ok(Project::load_without_secrets(Some(dir.path()), None).map(|_| ()))
}

fn refuse_existing(dir: &Path, files: &BTreeMap<String, String>) -> Answer<()> {
    let existing: Vec<&str> = files
        .keys()
        .filter(|path| dir.join(path).exists())
        .map(String::as_str)
        .collect();
    if existing.is_empty() {
        return Ok(());
    }
    Err(Reason::new(
        Code::ImportExists,
        format!("can't import into {}", dir.display()),
    )
    .detail(format!("these files exist already: {}", existing.join(", ")))
    .hint("import into another folder with `--project DIR`, or move these files away; nothing was written")
    .into())
}

fn put(path: &Path, text: &str) -> Answer<()> {
    let write = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())
    };
    Ok(write().map_err(|error| file_reason("write", path, &error))?)
}

/// What is to be imported can't be understood.
fn unreadable(what: impl std::fmt::Display, detail: impl Into<String>, hint: &str) -> Failure {
    Reason::new(Code::ImportUnreadable, format!("can't import {what}"))
        .detail(detail)
        .hint(hint)
        .into()
}
