//! Reads the project again when its files change, without a restart. A project with problems is not
//! taken over: the one from before goes on, and the problems are told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

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

/// The files that a project was read from, as they were before they were read.
pub(super) type Files = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

pub(super) async fn watch(inner: &Inner, stop: &CancellationToken) {
    let dir = inner.loaded().project.dir().to_owned();
    let mut known = inner.files.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let found = files(&dir);
        if found != known {
            known = found;
            reload(inner);
        }
    }
}

fn reload(inner: &Inner) {
    let options = &inner.options;
    let problems = match Project::load(Some(&options.dir), options.env.as_deref()) {
        Ok(project) => {
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
                found.insert(entry.path(), (about.modified().ok(), about.len()));
            }
        }
    }
    found
}
