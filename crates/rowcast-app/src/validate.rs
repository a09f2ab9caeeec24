//! `validate`: reading a project reports its problems; what is left to say is what it holds.

use schemars::JsonSchema;
use serde::Serialize;

use crate::Project;

/// What a valid project holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    pub project: String,
    pub sources: u64,
    pub models: u64,
    pub destinations: u64,
    pub syncs: u64,
    pub tests: u64,
}

/// Counts the objects of a project.
pub fn summary(project: &Project) -> Summary {
    let config = &project.config;
    Summary {
        project: config.name.clone(),
        sources: config.sources.len() as u64,
        models: config.models.len() as u64,
        destinations: config.destinations.len() as u64,
        syncs: config.syncs.len() as u64,
        tests: config.tests.len() as u64,
    }
}
