//! `file`: the changes of a run as one file in a folder, whole or not at all.
//!
//! Records go to a hidden file beside the target, which gets its name when the run finishes. Until
//! then they are *accepted*, not delivered; a run that fails or is cancelled leaves no file and
//! acknowledges nothing. Values of rows never reach the path.

mod publish;

use std::path::PathBuf;
use std::sync::Arc;

use rowcast_core::destination::Committed;
use rowcast_core::record::{Batch, Operation, RunContext};
use rowcast_core::{
    BoxFuture, Capabilities, Check, Descriptor, Destination, DestinationConfig, Fault, Outcome,
    Reason,
};

use self::publish::Draft;
use crate::format::draft::{self, Writing, Written, broken};
use crate::format::target::{self, Target};
use crate::format::{self, Format};
use rowcast_core::connector::Problems;

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
        writing: Writing::default(),
        capabilities: target::capabilities(config),
    }))
}

struct FileDestination {
    /// Where relative paths start.
    root: PathBuf,
    target: Target,
    format: Arc<Format>,
    writing: Writing<Draft>,
    capabilities: Capabilities,
}

impl FileDestination {
    fn path(&self, context: &RunContext, part: usize) -> Result<PathBuf, Reason> {
        Ok(self.root.join(self.target.path.of(context, part)?))
    }
}

/// Makes the files of a draft and gives them their names.
fn publish(
    format: &Format,
    target: &Target,
    root: &std::path::Path,
    written: Written<Draft>,
) -> Result<(), Fault> {
    let Some((mut draft, context)) = written.draft else {
        return Ok(());
    };
    if format.is_final() {
        return draft.publish(target.replaces);
    }
    let sync = context.sync.to_string();
    let files = format
        .files(&written.known, &mut || draft.reread(), &mut |part| {
            let path = root.join(target.path.of(&context, part)?);
            Draft::new(&path, &sync)
        })
        .map_err(Fault::fatal)?;
    publish::publish_all(files, target.replaces)
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
            drop(self.writing.take());
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
            let begin = move |context: &RunContext| Draft::new(&target, &context.sync);
            self.writing.write(&self.format, batch, begin).await
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            let written = self.writing.take();
            let format = Arc::clone(&self.format);
            let target = self.target.clone();
            let root = self.root.clone();
            tokio::task::spawn_blocking(move || publish(&format, &target, &root, written))
                .await
                .map_err(|_| broken())?
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        match self.path(&batch.context, 1) {
            Ok(target) => {
                let place = format!("append to {}:", target.display());
                draft::shown(&self.format, batch, place)
            }
            Err(reason) => vec![format!("# {reason}")],
        }
    }
}
