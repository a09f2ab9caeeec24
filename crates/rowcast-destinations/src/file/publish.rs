//! A file that appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rowcast_core::{Applied, Code, Fault, Reason};
use tempfile::NamedTempFile;

/// The end of hidden names, by which leftovers are known.
const DRAFT_END: &str = ".part";

/// A file in the making, hidden beside its target. Dropping it removes it.
pub(super) struct Draft {
    target: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

fn folder_of(target: &Path) -> &Path {
    target.parent().unwrap_or(Path::new("."))
}

fn draft_start(sync: &str) -> String {
    format!(".rowcast.{sync}.")
}

fn cannot(what: &str, path: &Path, err: &io::Error) -> Reason {
    Reason::new(
        Code::FileUnwritable,
        format!("can't {what} {}", path.display()),
    )
    .detail(err.to_string())
    .hint(match err.kind() {
        io::ErrorKind::PermissionDenied => {
            "give the user that runs rowcast the right to write to this folder"
        }
        io::ErrorKind::StorageFull => "free space on this disk; nothing of this run was published",
        _ => "nothing of this run was published; look at the folder and the disk",
    })
}

/// Why a target is not overwritten.
pub(super) fn exists(target: &Path) -> Reason {
    Reason::new(
        Code::FileUnwritable,
        format!("the file {} exists already", target.display()),
    )
    .hint("move it away, or put {{ run }} into the destination's path")
}

impl Draft {
    /// An empty draft for a target; its folder is made when it is missing.
    pub(super) fn new(target: &Path, sync: &str) -> Result<Self, Reason> {
        let folder = folder_of(target);
        fs::create_dir_all(folder).map_err(|err| cannot("make the folder", folder, &err))?;
        let file = tempfile::Builder::new()
            .prefix(&draft_start(sync))
            .suffix(DRAFT_END)
            // As any program makes files: the umask decides.
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|err| cannot("write to the folder", folder, &err))?;
        Ok(Self {
            target: target.to_owned(),
            writer: BufWriter::with_capacity(1 << 16, file),
        })
    }

    /// The draft's bytes from the beginning.
    pub(super) fn reread(&mut self) -> Result<File, Reason> {
        self.writer
            .flush()
            .and_then(|()| self.writer.get_ref().reopen())
            .map_err(|err| cannot("read back", &self.target, &err))
    }

    /// Gives the draft its name, durably.
    ///
    /// # Errors
    /// Not published; or published, and not known to outlive a power cut.
    pub(super) fn publish(self, replaces: bool) -> Result<(), Fault> {
        let target = self.target;
        let refused = |what: &str, err: &io::Error| Fault::fatal(cannot(what, &target, err));
        let file = self
            .writer
            .into_inner()
            .map_err(|err| refused("write", err.error()))?;
        file.as_file()
            .sync_all()
            .map_err(|err| refused("write", &err))?;
        let named = if replaces {
            file.persist(&target)
        } else {
            file.persist_noclobber(&target)
        };
        named.map_err(|err| match err.error.kind() {
            io::ErrorKind::AlreadyExists => Fault::fatal(exists(&target)),
            _ => refused("publish", &err.error),
        })?;
        // The name is durable only when its folder is.
        let folder = folder_of(&target);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|err| Fault::Fatal {
                applied: Applied::Unknown,
                reason: cannot("publish", &target, &err),
            })
    }
}

/// Gives drafts their names, one after the other.
///
/// # Errors
/// As for one; after the first has its name, what became of the run is no longer certain.
pub(super) fn publish_all(drafts: Vec<Draft>, replaces: bool) -> Result<(), Fault> {
    for (position, draft) in drafts.into_iter().enumerate() {
        draft.publish(replaces).map_err(|fault| match fault {
            Fault::Fatal { reason, .. } if position > 0 => Fault::Fatal {
                applied: Applied::Unknown,
                reason,
            },
            other => other,
        })?;
    }
    Ok(())
}

impl crate::format::draft::Draft for Draft {
    fn append(&mut self, lines: &str) -> Result<(), Reason> {
        self.writer
            .write_all(lines.as_bytes())
            .map_err(|err| cannot("write", &self.target, &err))
    }
}

impl io::Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Removes drafts that a killed run of the same sync left behind. What can't be removed stays: a
/// leftover is hidden and harms nobody.
pub(super) fn sweep(target: &Path, sync: &str) {
    let start = draft_start(sync);
    let Ok(entries) = fs::read_dir(folder_of(target)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let leftover = name
            .to_str()
            .and_then(|name| name.strip_prefix(&start)?.strip_suffix(DRAFT_END))
            .is_some_and(|random| !random.contains('.'));
        if leftover {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a folder, or the nearest one above it that exists, can be written to.
pub(super) fn check(folder: &Path) -> Result<String, Reason> {
    let mut existing = folder;
    while !existing.exists() {
        let Some(parent) = existing.parent() else {
            break;
        };
        existing = parent;
    }
    let existing = if existing.as_os_str().is_empty() {
        Path::new(".")
    } else {
        existing
    };
    tempfile::tempfile_in(existing).map_err(|err| cannot("write to the folder", existing, &err))?;
    Ok(if existing == folder {
        format!("{} can be written to", folder.display())
    } else {
        format!("{} will be made", folder.display())
    })
}
