//! The specs of a folder: every YAML document with a kind.

use std::path::{Path, PathBuf};

use rowcast_config::foreign;
use serde_json::Value;

use super::CONNECTIONS;
use crate::Answer;
use crate::failure::file_reason;
use crate::import::unreadable;

/// One document.
pub(super) struct Spec {
    pub(super) kind: String,
    pub(super) id: String,
    /// Its id and its file.
    pub(super) shown: String,
    pub(super) enabled: bool,
    pub(super) body: Value,
    path: PathBuf,
}

/// Reads a folder and those in it.
///
/// # Errors
/// A file can't be read or is no YAML; none holds a spec.
pub(super) fn read(dir: &Path) -> Answer<Vec<Spec>> {
    let mut files = Vec::new();
    walk(dir, &mut files)?;
    files.sort();
    let mut specs = Vec::new();
    for path in files {
        let text =
            std::fs::read_to_string(&path).map_err(|error| file_reason("read", &path, &error))?;
        let documents = foreign::documents(&text).map_err(|error| {
            unreadable(
                path.display(),
                error,
                "mend the file, or move it out of the folder",
            )
        })?;
        for document in documents {
            specs.extend(spec(document, &path, dir));
        }
    }
    if specs.is_empty() {
        return Err(unreadable(
            dir.display(),
            "no YAML file in it has a version `rudder/…` and a kind",
            "name the folder that `rudder-cli apply` is run on",
        ));
    }
    Ok(specs)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Answer<()> {
    let failed = |error| file_reason("read", dir, &error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden {
                walk(&path, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn spec(document: Value, path: &Path, dir: &Path) -> Option<Spec> {
    if !text(&document, "version")?.starts_with("rudder/") {
        return None;
    }
    let kind = text(&document, "kind")?;
    let body = document.get("spec").cloned().unwrap_or(Value::Null);
    let name = document
        .get("metadata")
        .and_then(|metadata| text(metadata, "name"));
    let id = text(&body, "id").or(name).unwrap_or_default();
    let file = path.strip_prefix(dir).unwrap_or(path).display();
    Some(Spec {
        shown: format!("{id} in {file}"),
        enabled: body.get("enabled").and_then(Value::as_bool).unwrap_or(true),
        kind,
        id,
        body,
        path: path.to_path_buf(),
    })
}

impl Spec {
    /// The connections of a document of them.
    pub(super) fn connections(&self) -> &[Value] {
        if self.kind != CONNECTIONS {
            return &[];
        }
        self.body
            .get("connections")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The SQL of a model: in the spec, or in a file beside it.
    ///
    /// # Errors
    /// That file can't be read.
    pub(super) fn sql(&self) -> Answer<Option<String>> {
        if let Some(sql) = text(&self.body, "sql") {
            return Ok(Some(sql));
        }
        let Some(file) = text(&self.body, "file") else {
            return Ok(None);
        };
        let path = self.path.parent().unwrap_or(Path::new(".")).join(file);
        let sql =
            std::fs::read_to_string(&path).map_err(|error| file_reason("read", &path, &error))?;
        Ok(Some(sql))
    }
}

/// A text or a number as text.
pub(super) fn text(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The id in `#kind:id`.
pub(super) fn target(reference: &str, kind: &str) -> Option<String> {
    reference
        .strip_prefix('#')?
        .strip_prefix(kind)?
        .strip_prefix(':')
        .map(str::to_owned)
}
