//! `run`: one sync or several, each with its own report.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use rowcast_config::Problem;
use rowcast_core::guard::Guard;
use rowcast_core::ledger::{DiffRequest, OpenRequest};
use rowcast_core::{Code, Key, Reason};
use rowcast_engine::{Observer, RunInput, RunOptions};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::plan::{Sealed, SealedSync};
use crate::view::RunView;
use crate::{Answer, Failure, Project, budget, state, wire};

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    pub full: bool,
    /// As typed; see [`crate::key`].
    pub keys: Vec<String>,
    pub limit: Option<u64>,
    pub wait: bool,
    pub overrides: Vec<Guard>,
    /// Send exactly this, or refuse.
    pub sealed: Option<Sealed>,
    /// Who asks: `cli`, `demo`, `schedule`, `api`.
    pub trigger: String,
}

/// Why one of several syncs has no report.
#[derive(Debug, Clone, Serialize)]
pub struct Unrun {
    pub sync: String,
    pub errors: Vec<Problem>,
}

/// What became of several syncs, in the order they ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Several {
    pub runs: Vec<RunView>,
    pub failed: Vec<Unrun>,
    /// Syncs left alone, and why.
    pub notes: Vec<String>,
}

impl Several {
    /// The failures of syncs without a report.
    pub fn failures(&self) -> impl Iterator<Item = Failure> {
        self.failed
            .iter()
            .map(|unrun| Failure::of(unrun.errors.clone()))
    }
}

/// How the callers of [`run_all`] watch.
pub struct Watch<'a> {
    /// Makes the observer of a sync that starts.
    pub starts: &'a (dyn Fn(&str) -> Arc<dyn Observer> + Sync),
    /// Sees each sync's end.
    pub ended: &'a (dyn Fn(Result<&RunView, &Failure>) + Sync),
}

/// Runs the named syncs, or all that are not paused: each after those it is scheduled after, at most
/// `jobs` at a time.
///
/// # Errors
/// A name is unknown, or there is nothing to run. The failure of one sync does not stop the others.
pub async fn run_all(
    project: &Project,
    names: &[String],
    request: &RunRequest,
    jobs: usize,
    watch: &Watch<'_>,
    cancel: &CancellationToken,
) -> Answer<Several> {
    let names = match &request.sealed {
        Some(sealed) => sealed.names(names)?,
        None => names.to_vec(),
    };
    let mut waiting = project.selected(&names)?;
    let mut several = Several::default();
    while !waiting.is_empty() && !cancel.is_cancelled() {
        let ready = project.ready(&waiting);
        waiting.retain(|name| !ready.contains(name));
        let mut running = futures::stream::iter(ready)
            .map(|name| async move {
                let ended = if cancel.is_cancelled() {
                    None
                } else {
                    one(project, &name, request, watch, cancel).await
                };
                (name, ended)
            })
            .buffer_unordered(jobs.max(1));
        while let Some((name, ended)) = running.next().await {
            match ended {
                None => {}
                Some(Ended::Paused(why)) => {
                    several.notes.push(format!("{why}, so {name} did not run"));
                }
                Some(Ended::Run(view)) => {
                    (watch.ended)(Ok(&view));
                    several.runs.push(*view);
                }
                Some(Ended::Failed(failure)) => {
                    (watch.ended)(Err(&failure));
                    several.failed.push(Unrun {
                        sync: name,
                        errors: failure.problems,
                    });
                }
            }
        }
    }
    Ok(several)
}

enum Ended {
    Paused(String),
    Run(Box<RunView>),
    Failed(Failure),
}

async fn one(
    project: &Project,
    name: &str,
    request: &RunRequest,
    watch: &Watch<'_>,
    cancel: &CancellationToken,
) -> Option<Ended> {
    match paused(project, name).await {
        Ok(Some(why)) => return Some(Ended::Paused(why)),
        Ok(None) => {}
        Err(failure) => return Some(Ended::Failed(failure)),
    }
    let observer = (watch.starts)(name);
    let ended = run(project, name, request, observer, cancel).await;
    Some(match ended {
        Ok(view) => Ended::Run(Box::new(view)),
        Err(failure) => Ended::Failed(failure),
    })
}

/// Why a sync must not run now: its files or its state say so.
pub(crate) async fn paused(project: &Project, name: &str) -> Answer<Option<String>> {
    if let Some(why) = project.paused(project.sync(name)?) {
        return Ok(Some(why));
    }
    let paused = state::admin_of(project, name)?.is_paused(name).await?;
    Ok(paused.then(|| format!("sync {name} is paused")))
}

/// Runs one sync, paused or not.
///
/// # Errors
/// It could not begin: what began ends with a report, a failed one included.
pub async fn run(
    project: &Project,
    name: &str,
    request: &RunRequest,
    observer: Arc<dyn Observer>,
    cancel: &CancellationToken,
) -> Answer<RunView> {
    let sync = project.sync(name)?;
    let sealed = match &request.sealed {
        Some(sealed) => Some(sealed.of(project, name)?),
        None => None,
    };
    let (keys, limit) = match sealed {
        Some(SealedSync { keys, limit, .. }) => (keys, *limit),
        None => (&request.keys, request.limit),
    };
    let first_seed = sealed_seed(request, name);
    let parts = wire::parts(project, name, &request.overrides, first_seed).await?;
    wire::agree(sync, &parts.plan.key_columns, &*parts.destination).await?;
    let mut input = RunInput::new(
        parts.ledger,
        parts.destination.clone(),
        parts.mapper,
        parts.plan,
    );
    input.match_fields = parts.match_fields;
    input.options = RunOptions {
        open: OpenRequest {
            full: request.full || sync.refresh == rowcast_config::Refresh::Full,
            wait: request.wait,
            trigger: request.trigger.clone(),
            ..OpenRequest::default()
        },
        diff: DiffRequest {
            limit,
            keys: typed_keys(project, name, keys).await?,
            ..DiffRequest::default()
        },
        sealed: sealed.map(SealedSync::digest).transpose()?,
        dry_run: false,
    };
    input.limiter = budget::shared(project, &sync.destination, &*parts.destination)?;
    input.quota = budget::quota(project, &sync.destination, &*parts.destination)?;
    input.observer = observer;
    input.cancel = cancel.clone();
    input.own_thread = true;
    // A task of its own runs on the workers' threads, beside its requests.
    let run = AbortOnDropHandle::new(tokio::spawn(rowcast_engine::run(input)));
    let report = run
        .await
        .map_err(|error| Reason::defect("the run ended early").detail(error.to_string()))??;
    let object = sync.object.as_deref().unwrap_or_default();
    Ok(RunView::new(&report, &sync.destination, object))
}

/// Keys as typed, in their columns' own types.
pub(crate) async fn typed_keys(
    project: &Project,
    name: &str,
    words: &[String],
) -> Answer<Vec<Key>> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let sync = project.sync(name)?;
    let model = project.model(&sync.model)?;
    let source = project.source(&model.source)?;
    let (names, schema) = wire::described(model, source).await?;
    let types: Vec<&str> = names
        .iter()
        .map(|name| {
            schema
                .position(name)
                .map_or("text", |i| &*schema.columns[i].type_name)
        })
        .collect();
    Ok(crate::key::parse_all(words)?
        .into_iter()
        .map(|parts| crate::key::typed(parts, &names, &types))
        .collect::<Result<_, Reason>>()?)
}

/// The seed a sealed plan was made with.
fn sealed_seed(request: &RunRequest, name: &str) -> Option<i64> {
    request
        .sealed
        .as_ref()
        .and_then(|sealed| sealed.first_seed(name))
}

/// A sealed plan that can't be used.
pub(crate) fn stale(message: String) -> Reason {
    Reason::new(Code::PlanStale, message).hint("make a new one with `rowcast plan --out FILE`")
}

/// For messages about a plan's file.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
