//! The repository as the checks see it: every text file's path and content, read once.
//!
//! The checks take a `Tree` and no more, so each can be tested with a made-up one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files by their path from the root, with `/` between the parts.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(package);
    root.pop();
    root
}

impl Tree {
    /// Reads the repository. Build folders, Git's own files and files that are not text are left
    /// out.
    ///
    /// # Errors
    /// A folder or file can't be read.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let failed =
                |error: std::io::Error| format!("could not read {}: {error}", folder.display());
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    if name != ".git" && !name.starts_with("target") && name != "node_modules" {
                        folders.push(entry.path());
                    }
                } else if kind.is_file() {
                    let path = entry.path();
                    // A worktree's `.git` is a file that names a folder elsewhere.
                    if name == ".git" || name.ends_with(".snap.new") {
                        continue;
                    }
                    if let Ok(text) = std::fs::read_to_string(&path) {
                        let relative = path.strip_prefix(root).unwrap_or(&path);
                        let relative = relative.to_string_lossy().replace('\\', "/");
                        tree.files.insert(relative, text);
                    }
                }
            }
        }
        Ok(tree)
    }

    /// A made-up repository.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }

    /// A file's text.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// All files, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// All Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| has_extension(path, "rs"))
    }

    /// All Markdown files.
    pub(crate) fn markdown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| has_extension(path, "md"))
    }
}

/// Whether a path ends in `.extension`.
pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}
