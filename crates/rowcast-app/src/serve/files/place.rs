//! The file of one object: read, replaced as a whole, deleted, put back.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rowcast_config::is_name;
use rowcast_core::{Code, Reason};

use super::{FileView, Signed, git};
use crate::Answer;
use crate::failure::file_reason;
use crate::objects::ObjectKind;
use crate::serve::ServeOptions;

/// Where an object's file is. Its paths are made of a kind's folder and a checked name only, so that
/// nothing outside the folder can be meant.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    kind: ObjectKind,
    name: String,
    /// Relative to the project's folder.
    pub(super) yaml: String,
    pub(super) sql: String,
    pub(super) may_have_sql: bool,
}

/// What the files of an object say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) yaml: String,
    pub(super) sql: Option<String>,
}

impl Texts {
    /// Of what is written in the files, and of nothing else.
    pub(super) fn version(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.yaml.len() as u64).to_le_bytes());
        hasher.update(self.yaml.as_bytes());
        if let Some(sql) = &self.sql {
            hasher.update(sql.as_bytes());
            hasher.update(b"sql");
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

impl Place {
    pub(super) fn new(dir: &Path, kind: ObjectKind, name: &str) -> Answer<Self> {
        if !is_name(name) {
            return Err(Reason::new(
                Code::RequestInvalid,
                format!("{name:?} can't be the name of a {}", kind.as_str()),
            )
            .hint("use up to 63 letters, digits, `_` and `-`")
            .into());
        }
        Ok(Self {
            dir: dir.to_owned(),
            kind,
            name: name.to_owned(),
            yaml: format!("{}/{name}.yml", kind.folder()),
            sql: format!("{}/{name}.sql", kind.folder()),
            may_have_sql: kind == ObjectKind::Model,
        })
    }

    pub(super) fn view(&self, texts: &Texts, commit: Option<String>) -> FileView {
        FileView {
            kind: self.kind.as_str(),
            name: self.name.clone(),
            file: self.yaml.clone(),
            version: texts.version(),
            yaml: texts.yaml.clone(),
            sql: texts.sql.clone(),
            commit,
        }
    }

    /// What the files say; `None` when there is no such object.
    pub(super) fn read(&self) -> Answer<Option<Texts>> {
        let Some(yaml) = self.text(&self.yaml)? else {
            return Ok(None);
        };
        let sql = if self.may_have_sql {
            self.text(&self.sql)?
        } else {
            None
        };
        Ok(Some(Texts { yaml, sql }))
    }

    fn text(&self, path: &str) -> Answer<Option<String>> {
        let full = self.dir.join(path);
        match std::fs::read_to_string(&full) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_reason("read", Path::new(path), &error).into()),
        }
    }

    /// Writes what is not as it was; when that fails, all is as before.
    pub(super) fn write(&self, before: Option<&Texts>, after: &Texts) -> Answer<()> {
        let done = self.write_all(before, after);
        if done.is_err() {
            self.put_back(before);
        }
        Ok(done?)
    }

    fn write_all(&self, before: Option<&Texts>, after: &Texts) -> Result<(), Reason> {
        if let Some(sql) = &after.sql
            && before.is_none_or(|before| before.sql.as_ref() != Some(sql))
        {
            self.replace(&self.sql, sql)?;
        }
        if before.is_none_or(|before| before.yaml != after.yaml) {
            self.replace(&self.yaml, &after.yaml)?;
        }
        Ok(())
    }

    pub(super) fn delete(&self, before: &Texts) -> Answer<()> {
        let mut done = self.remove(&self.yaml);
        if done.is_ok() && before.sql.is_some() {
            done = self.remove(&self.sql);
        }
        if done.is_err() {
            self.put_back(Some(before));
        }
        Ok(done?)
    }

    fn remove(&self, path: &str) -> Result<(), Reason> {
        let full = self.dir.join(path);
        std::fs::remove_file(&full)
            .and_then(|()| sync_folder(&full))
            .map_err(|error| file_reason("delete", Path::new(path), &error))
    }

    /// A file that is there in full under its name, or not at all: written beside it under another
    /// name, brought to the disk, then renamed.
    fn replace(&self, path: &str, text: &str) -> Result<(), Reason> {
        let full = self.dir.join(path);
        let failed = |error: std::io::Error| file_reason("write", Path::new(path), &error);
        let existing = std::fs::symlink_metadata(&full).ok();
        if existing.as_ref().is_some_and(std::fs::Metadata::is_symlink) {
            return Err(
                Reason::new(Code::FileUnreadable, format!("can't write {path}"))
                    .detail("it is a link to another file")
                    .hint("change the file that it leads to, where the server runs"),
            );
        }
        let folder = self.dir.join(self.kind.folder());
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let beside = folder.join(format!(
            ".{}.{}.tmp",
            self.name,
            uuid::Uuid::new_v4().simple()
        ));
        let written = (|| {
            let mut file = File::create_new(&beside)?;
            if let Some(existing) = &existing {
                file.set_permissions(existing.permissions())?;
            }
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &full)?;
            sync_folder(&full)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written.map_err(failed)
    }

    /// After something went wrong: the files as they were, as far as that can be.
    fn put_back(&self, before: Option<&Texts>) {
        let texts = before.map(|texts| (Some(&texts.yaml), texts.sql.as_ref()));
        let (yaml, sql) = texts.unwrap_or_default();
        let mut files = vec![(&self.yaml, yaml)];
        if self.may_have_sql {
            files.push((&self.sql, sql));
        }
        for (path, text) in files {
            let done = match text {
                Some(text) => self.replace(path, text),
                None if self.dir.join(path).exists() => self.remove(path),
                None => Ok(()),
            };
            if let Err(reason) = done {
                tracing::error!(%reason, "a file could not be put back");
            }
        }
    }

    /// Commits the change if the server does that; when it can't be, the files are as before.
    pub(super) fn commit(
        &self,
        options: &ServeOptions,
        before: Option<&Texts>,
        verb: &str,
        signed: Signed<'_>,
    ) -> Answer<Option<String>> {
        if !options.git {
            return Ok(None);
        }
        let mut paths = vec![self.yaml.as_str()];
        let has_sql =
            before.is_some_and(|before| before.sql.is_some()) || self.dir.join(&self.sql).exists();
        if self.may_have_sql && has_sql {
            paths.push(&self.sql);
        }
        let subject = format!("{verb} {} {}", self.kind.as_str(), self.name);
        let done = git::commit(&self.dir, &paths, &subject, signed);
        if done.is_err() {
            self.put_back(before);
            git::unstage(&self.dir, &paths);
        }
        Ok(done?)
    }
}

/// A rename is on the disk when its folder is.
fn sync_folder(file: &Path) -> std::io::Result<()> {
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
