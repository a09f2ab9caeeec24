//! The workspace as Cargo sees it: packages, dependencies as declared, test targets, and the one
//! way in which it is built for tests.

use std::path::PathBuf;

use serde_json::Value;

use crate::process::{cargo, cargo_command, output};

/// A test target: an integration test's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) package: String,
    pub(crate) test: String,
}

/// The one feature set of tests and lints: every connector's client. Narrower sets are for people who
/// build the program for themselves.
pub(crate) const FEATURES: &str = "--features=rowcast/full";

/// Builds every test and every program. One selection and thereby one feature set for everything
/// the tests need, so that no dependency is compiled twice.
///
/// # Errors
/// The build failed.
pub(crate) fn build() -> Result<(), String> {
    cargo(&[
        "build",
        "--workspace",
        FEATURES,
        "--lib",
        "--bins",
        "--tests",
    ])
}

/// What Cargo knows of the workspace, dependencies not resolved: needs no network.
///
/// # Errors
/// Cargo could not say.
pub(crate) fn metadata() -> Result<Value, String> {
    let text = output(&mut cargo_command(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    serde_json::from_str(&text).map_err(|error| format!("`cargo metadata` is no JSON: {error}"))
}

/// Cargo's target folder, wherever the environment put it.
///
/// # Errors
/// Cargo could not say.
pub(crate) fn target_folder() -> Result<PathBuf, String> {
    metadata()?["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| "`cargo metadata` named no target folder".to_owned())
}

/// All integration tests.
pub(crate) fn test_targets(metadata: &Value) -> Vec<Target> {
    let mut targets = Vec::new();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]) {
            if list(&target["kind"]).any(|kind| kind == "test") {
                targets.push(Target {
                    package: word(&package["name"]),
                    test: word(&target["name"]),
                });
            }
        }
    }
    targets
}

/// The members of a JSON array; none of anything else.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A JSON string; empty for anything else.
pub(crate) fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
