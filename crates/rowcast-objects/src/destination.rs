//! A run's files in an object store, whichever it is.
//!
//! Records go to a draft on the local disk and are *accepted*, not delivered; nothing is sent
//! before the run has ended well. Then the files are made and published. A run that fails, is
//! cancelled or killed before that leaves nothing in the store.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _};
use rowcast_core::destination::Committed;
use rowcast_core::record::{Batch, RunContext};
use rowcast_core::{
    BoxFuture, Capabilities, Check, Code, Destination, DestinationConfig, Fault, Outcome, Reason,
};
use rowcast_destinations::format::Format;
use rowcast_destinations::format::draft::{self, Writing, Written, broken};
use rowcast_destinations::format::target::{self, Target};

use crate::client::Service;
use crate::upload::{self, Store, explain};

/// How a store can be asked whether it may be written to, without a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// Begin an upload and abort it.
    Upload,
    /// List what is under a name that nobody has: proves the credentials, not the right to write.
    List,
}

/// A store opened for one sync.
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) service: Service,
    /// What people call it: `s3://bucket`.
    pub(crate) place: String,
    pub(crate) trial: Trial,
    target: Target,
    format: Arc<Format>,
    writing: Writing<Draft>,
    capabilities: Capabilities,
}

/// A file without a name: it ends with the process, however that ends.
struct Draft(BufWriter<File>);

impl Draft {
    fn new() -> Result<Self, Reason> {
        let file = tempfile::tempfile().map_err(|err| unwritten(&err))?;
        Ok(Self(BufWriter::with_capacity(1 << 16, file)))
    }

    /// The file, flushed and at its beginning.
    fn reread(&mut self) -> Result<File, Reason> {
        let rewound = self.0.flush().and_then(|()| {
            let mut file = self.0.get_ref().try_clone()?;
            file.rewind()?;
            Ok(file)
        });
        rewound.map_err(|err| unwritten(&err))
    }
}

impl draft::Draft for Draft {
    fn append(&mut self, lines: &str) -> Result<(), Reason> {
        let written = self.0.write_all(lines.as_bytes());
        written.map_err(|err| unwritten(&err))
    }
}

fn unwritten(err: &io::Error) -> Reason {
    Reason::new(
        Code::FileUnwritable,
        format!(
            "can't write the draft of a file to {}",
            std::env::temp_dir().display()
        ),
    )
    .detail(err.to_string())
    .hint("free space there, or let TMPDIR name another folder; nothing of this run was published")
}

impl Objects {
    pub(crate) fn new(
        config: &DestinationConfig,
        store: Arc<dyn Store>,
        service: Service,
        place: String,
        trial: Trial,
        target: Target,
        format: Format,
    ) -> Self {
        Self {
            store,
            service,
            place,
            trial,
            target,
            format: Arc::new(format),
            writing: Writing::default(),
            capabilities: target::capabilities(config),
        }
    }

    /// Whether the first file of a run is there already.
    async fn refuse_existing(&self, context: &RunContext) -> Result<(), Fault> {
        let path = path(&self.target, context, 1).map_err(Fault::fatal)?;
        match self.store.head(&path).await {
            Err(Error::NotFound { .. }) => Ok(()),
            Ok(_) => Err(Fault::fatal(
                Reason::new(
                    Code::FileUnwritable,
                    format!("the object {path} exists already in {}", self.place),
                )
                .hint("move it away, or put {{ run }} into the destination's path"),
            )),
            Err(error) => Err(Fault::fatal(explain(
                &error,
                "look for",
                &path,
                &self.place,
            ))),
        }
    }

    async fn may_write(&self) -> Check {
        let folder = self.target.path.folder();
        let path = Path::from(format!("{folder}/.rowcast-check"));
        let tried = match self.trial {
            Trial::Upload => match self.store.create_multipart(&path).await {
                Ok(id) => self.store.abort_multipart(&path, &id).await,
                Err(error) => Err(error),
            },
            Trial::List => self
                .store
                .list_with_delimiter(Some(&path))
                .await
                .map(|_| ()),
        };
        match tried {
            Ok(()) => Check::passed("write", format!("{} takes objects", self.place)),
            Err(error) => Check::failed("write", explain(&error, "write", &path, &self.place)),
        }
    }
}

/// Where a part of a run goes.
fn path(target: &Target, context: &RunContext, part: usize) -> Result<Path, Reason> {
    let text = target.path.of(context, part)?;
    Path::parse(&text).map_err(|err| {
        Reason::new(
            Code::FileUnwritable,
            format!("{text} can't be the name of an object"),
        )
        .detail(err.to_string())
        .hint("write the path without empty parts and without . or ..")
    })
}

/// Makes the files of a run, each with where it goes.
fn files(
    format: &Format,
    target: &Target,
    written: Written<Draft>,
) -> Result<Vec<(Path, File)>, Reason> {
    let Some((mut draft, context)) = written.draft else {
        return Ok(Vec::new());
    };
    let named = |(index, file)| path(target, &context, index + 1).map(|path| (path, file));
    if format.is_final() {
        let file = draft.reread()?;
        return Ok(vec![named((0, file))?]);
    }
    let made: Vec<BufWriter<File>> =
        format.files(&written.known, &mut || draft.reread(), &mut |_| {
            Draft::new().map(|draft| draft.0)
        })?;
    let files = made.into_iter().map(|file| {
        let file = file.into_inner();
        file.map_err(|err| unwritten(err.error()))
    });
    let files: Vec<File> = files.collect::<Result<_, _>>()?;
    files.into_iter().enumerate().map(named).collect()
}

impl Destination for Objects {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn takes_json(&self) -> bool {
        self.format.takes_json()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            match self.service.connect().await {
                Ok(found) => vec![Check::passed("connect", found), self.may_write().await],
                Err(reason) => vec![
                    Check::failed("connect", reason),
                    Check::skipped("write", "the connection must work first"),
                ],
            }
        })
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(async move {
            drop(self.writing.take());
            if !self.target.replaces {
                self.refuse_existing(context).await?;
            }
            Ok(Vec::new())
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        let begin = |_: &RunContext| Draft::new();
        Box::pin(self.writing.write(&self.format, batch, begin))
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            let written = self.writing.take();
            let (format, target) = (Arc::clone(&self.format), self.target.clone());
            let files = tokio::task::spawn_blocking(move || files(&format, &target, written))
                .await
                .map_err(|_| broken())?
                .map_err(Fault::fatal)?;
            upload::publish(&*self.store, &self.place, files).await
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        match path(&self.target, &batch.context, 1) {
            Ok(target) => {
                let place = format!("write to {target} in {}:", self.place);
                draft::shown(&self.format, batch, place)
            }
            Err(reason) => vec![format!("# {reason}")],
        }
    }
}
