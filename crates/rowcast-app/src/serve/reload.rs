//! Reads the project again when its files change, or those that hold its secrets, without a restart. A
//! project with problems is not taken over: the one from before goes on, and the problems are told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rowcast_config::{FileStamp, file_stamp};
use tokio_util::sync::CancellationToken;

use super::{Inner, Loaded};
use crate::Project;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Folders of a project that hold its files.
const FOLDERS: [&str; 7] = [
    "",
    "sources",
    "models",
    "destinations",
    "syncs",
    "environments",
    "connectors",
];

/// Files as they were before they were read.
pub(super) type Files = BTreeMap<PathBuf, FileStamp>;

/// What the project was last read from, with or without success.
#[derive(Debug)]
pub(super) struct Known {
    /// In its folders.
    project: Files,
    /// Wherever `${file:PATH}` pointed.
    secrets: Files,
}

impl Known {
    /// What a project was read from; `files` as they were before.
    pub(super) fn new(files: Files, project: &Project) -> Self {
        Self {
            project: files,
            secrets: project.config.secret_files.clone(),
        }
    }

    /// Whether a secret's file is not as it was; from then on it is.
    fn secrets_changed(&mut self) -> bool {
        let mut changed = false;
        for (path, stamp) in &mut self.secrets {
            let now = file_stamp(path);
            changed |= now != *stamp;
            *stamp = now;
        }
        changed
    }
}

pub(super) async fn watch(inner: &Inner, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let mut known = inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        let project = files(inner.loaded().project.dir());
        if known.secrets_changed() || project != known.project {
            known.project = project;
            reload(inner, &mut known);
        }
    }
}

/// Reads the project again if a secret's file has changed: what a run sends with is as old as the run
/// at most.
pub(super) fn fresh_secrets(inner: &Inner) {
    let mut known = inner.known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.secrets_changed() {
        reload(inner, &mut known);
    }
}

fn reload(inner: &Inner, known: &mut Known) {
    let options = &inner.options;
    let problems = match Project::load(Some(&options.dir), options.env.as_deref()) {
        Ok(project) => {
            known.secrets.clone_from(&project.config.secret_files);
            take_over(inner, project);
            tracing::info!("the project was read again");
            return;
        }
        Err(failure) => failure.problems,
    };
    for problem in &problems {
        tracing::error!("{}", problem.render(false));
    }
    let mut found = inner
        .problems
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    *found = problems;
}

/// Serves a project without problems from now on.
pub(super) fn take_over(inner: &Inner, project: Project) {
    let mut loaded = inner.loaded.write().unwrap_or_else(PoisonError::into_inner);
    *loaded = Arc::new(Loaded { project });
    let mut problems = inner
        .problems
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    problems.clear();
}

/// Every file of the project with its time and size.
pub(super) fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    for folder in FOLDERS {
        let Ok(entries) = std::fs::read_dir(dir.join(folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if about.is_file() {
                found.insert(entry.path(), Some((about.modified().ok(), about.len())));
            }
        }
    }
    found
}
