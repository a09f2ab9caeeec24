//! YAML of other tools: documents as plain data, without the rules of a project's own files.

use serde_json::Value;

/// The documents of one file, in order.
///
/// # Errors
/// What is wrong with the YAML, with its place.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.to_string())
}
