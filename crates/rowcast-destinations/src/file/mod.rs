//! `file`: the changes of a run as one file in a folder, whole or not at all.
//!
//! Records go to a hidden file beside the target, which gets its name when the run finishes. Until
//! then they are *accepted*, not delivered; a run that fails or is cancelled leaves no file and
//! acknowledges nothing. Values of rows never reach the path.

mod publish;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rowcast_core::destination::Committed;
use rowcast_core::record::{Batch, Operation, RunContext};
use rowcast_core::{
    BoxFuture, Capabilities, Check, Descriptor, Destination, DestinationConfig, Fault, Outcome,
    Reason,
};

use self::publish::Draft;
use crate::format::target::{self, Target};
use crate::format::{self, Format, Known};
use rowcast_core::connector::Problems;

/// Records handed over at once without `batch:`.
const RECORDS_MAX: usize = 1_000;

/// What the connector says of itself.
pub fn descriptor() -> Descriptor {
    let mut settings = target::settings(
        "Where the file goes, relative to the project's folder. `{{ sync }}`, `{{ object }}`, `{{ run }}`, `{{ part }}` and the run's start in UTC as `{{ date }}`, `{{ year }}`, `{{ month }}`, `{{ day }}` and `{{ hour }}` are filled in.",
        "\"out/{{ sync }}-{{ run }}.jsonl\"",
    );
    settings.splice(1..1, format::settings());
    Descriptor {
        name: "file",
        title: "File",
        summary: "Writes each run's changes to a file, as JSON lines, CSV or Parquet. The file \
                  appears whole when the run succeeds; a failed or cancelled run leaves none.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: false,
        object_help: "a name for the path",
        objects: Vec::new(),
        logs_changes: true,
    }
}

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let format = Format::read(config, problems);
    let target = Target::read(config, &format, problems)?;
    Some(Arc::new(FileDestination {
        root: config.project_dir.clone(),
        target,
        format: Arc::new(format),
        writing: Arc::default(),
        capabilities: Capabilities {
            operations: Operation::ALL.to_vec(),
            batch_records_max: config.batch_records.unwrap_or(RECORDS_MAX),
            operation_limits: Vec::new(),
            batch_bytes_max: config.batch_bytes.unwrap_or(8_000_000),
            // Lines have an order: that of the changes.
            concurrency_max: 1,
            rate: config.rate,
            timeout: config.timeout.unwrap_or(Duration::from_secs(60)),
            exactly_once: false,
            publishes: true,
        },
    }))
}

struct FileDestination {
    /// Where relative paths start.
    root: PathBuf,
    target: Target,
    format: Arc<Format>,
    writing: Arc<Mutex<Writing>>,
    capabilities: Capabilities,
}

/// What a run has written so far.
#[derive(Default)]
struct Writing {
    /// None before the first record.
    draft: Option<(Draft, Arc<RunContext>)>,
    known: Known,
}

impl FileDestination {
    fn path(&self, context: &RunContext, part: usize) -> Result<PathBuf, Reason> {
        Ok(self.root.join(self.target.path.of(context, part)?))
    }

    fn writing(&self) -> std::sync::MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the files of a draft and gives them their names.
fn publish(
    format: &Format,
    target: &Target,
    root: &std::path::Path,
    writing: Writing,
) -> Result<(), Fault> {
    let Some((mut draft, context)) = writing.draft else {
        return Ok(());
    };
    if format.is_final() {
        return draft.publish(target.replaces);
    }
    let sync = context.sync.to_string();
    let files = format
        .files(&writing.known, &mut || draft.reread(), &mut |part| {
            let path = root.join(target.path.of(&context, part)?);
            Draft::new(&path, &sync)
        })
        .map_err(Fault::fatal)?;
    publish::publish_all(files, target.replaces)
}

fn broken() -> Fault {
    Fault::fatal(Reason::defect("writing a file ended early"))
}

impl Destination for FileDestination {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn takes_json(&self) -> bool {
        self.format.takes_json()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let folder = self.root.join(self.target.path.folder());
            let checked = tokio::task::spawn_blocking(move || publish::check(&folder)).await;
            vec![match checked {
                Ok(Ok(found)) => Check::passed("write", found),
                Ok(Err(reason)) => Check::failed("write", reason),
                Err(_) => Check::failed("write", broken().reason().clone()),
            }]
        })
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(async move {
            let target = self.path(context, 1).map_err(Fault::fatal)?;
            *self.writing() = Writing::default();
            let sync = context.sync.to_string();
            let replaces = self.target.replaces;
            tokio::task::spawn_blocking(move || {
                publish::sweep(&target, &sync);
                if !replaces && target.exists() {
                    return Err(Fault::fatal(publish::exists(&target)));
                }
                Ok(Vec::new())
            })
            .await
            .map_err(|_| broken())?
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            let target = self.path(&batch.context, 1).map_err(Fault::fatal)?;
            let context = Arc::clone(&batch.context);
            let (lines, outcomes) = self.format.lines(&mut self.writing().known, batch);
            let writing = Arc::clone(&self.writing);
            tokio::task::spawn_blocking(move || {
                let mut writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.is_empty() {
                    return Ok(());
                }
                let (draft, _) = match &mut writing.draft {
                    Some(open) => open,
                    none => none.insert((Draft::new(&target, &context.sync)?, context)),
                };
                draft.append(&lines)
            })
            .await
            .map_err(|_| broken())?
            .map_err(Fault::fatal)?;
            Ok(outcomes)
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            let writing = std::mem::take(&mut *self.writing());
            let format = Arc::clone(&self.format);
            let target = self.target.clone();
            let root = self.root.clone();
            tokio::task::spawn_blocking(move || publish(&format, &target, &root, writing))
                .await
                .map_err(|_| broken())?
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        let target = match self.path(&batch.context, 1) {
            Ok(target) => target.display().to_string(),
            Err(reason) => return vec![format!("# {reason}")],
        };
        let (lines, _) = self.format.lines(&mut Known::default(), batch);
        let mut shown = vec![format!("append to {target}:")];
        shown.extend(lines.lines().map(str::to_owned));
        shown
    }
}
