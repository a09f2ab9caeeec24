//! JSON Schema of the project's files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rowcast_core::{Code, Reason};
use rowcast_destinations::manifest::{fixture_vocabulary, manifest_vocabulary};
use serde_json::Value;

use crate::failure::file_reason;
use crate::{Answer, wire};

/// The schemas by kind of document, or the one that was named.
///
/// # Errors
/// There is no such kind.
pub fn schemas(kind: Option<&str>) -> Answer<BTreeMap<String, Value>> {
    let all: BTreeMap<String, Value> = rowcast_config::schema::documents(&wire::descriptors())
        .into_iter()
        .map(|(kind, schema)| (kind.as_str().to_owned(), schema))
        .collect();
    let mut all = all;
    for (word, title, keys) in [
        ("connector", "Rowcast connector", manifest_vocabulary()),
        ("fixture", "Rowcast connector fixture", fixture_vocabulary()),
    ] {
        let mut schema = rowcast_config::schema::settings_schema(&keys);
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        schema["title"] = title.into();
        all.insert(word.to_owned(), schema);
    }
    let Some(word) = kind else {
        return Ok(all);
    };
    let known: Vec<String> = all.keys().cloned().collect();
    let one: BTreeMap<String, Value> = all.into_iter().filter(|(name, _)| name == word).collect();
    if one.is_empty() {
        return Err(Reason::new(
            Code::Usage,
            format!("can't print the schema of a \"{word}\""),
        )
        .detail(format!("the kinds of document are {}", known.join(", ")))
        .into());
    }
    Ok(one)
}

/// Writes each schema to a file of its kind's name.
///
/// # Errors
/// The folder can't be written.
pub fn write(schemas: &BTreeMap<String, Value>, folder: &Path) -> Answer<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(|e| file_reason("make the folder", folder, &e))?;
    let mut written = Vec::new();
    for (kind, schema) in schemas {
        let path = folder.join(format!("{kind}.json"));
        let text = format!("{schema:#}\n");
        std::fs::write(&path, text).map_err(|e| file_reason("write", &path, &e))?;
        written.push(path);
    }
    Ok(written)
}
