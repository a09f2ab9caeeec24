//! Tables of connectors: one line each, whether or not this build has what a connector needs.
//!
//! Every connector describes itself in every build, so that validation, the editor's schema and the
//! reference do not depend on how the program was built. Building one that is not there says how to
//! get it.

use std::sync::Arc;

use crate::connector::{Build, Connector, SettingProblem};
use crate::{Code, Descriptor, Destination, DestinationConfig, Reason};

/// A line of the table.
#[derive(Debug)]
pub struct Entry {
    /// What it says of itself.
    pub describe: fn() -> Descriptor,
    /// `None` when the program was built without what it needs.
    pub build: Option<Build>,
    /// Cargo features of the program that bring it, with commas between; empty for what is in every
    /// build.
    pub features: &'static str,
}

impl Entry {
    fn name(&self) -> &'static str {
        (self.describe)().name
    }

    /// Why it can't be used, with the command that brings it; `None` when it can.
    pub fn absence(&self) -> Option<Reason> {
        if self.build.is_some() {
            return None;
        }
        Some(
            Reason::new(
                Code::ConnectorAbsent,
                format!(
                    "the connector {} is not in this build of rowcast",
                    self.name()
                ),
            )
            .hint(format!(
                "cargo install --path crates/rowcast --features {}",
                self.features
            )),
        )
    }

    fn connector(&self) -> Result<Connector, Vec<SettingProblem>> {
        match self.build {
            Some(build) => Ok(Connector {
                describe: self.describe,
                build,
            }),
            None => Err(self.absence().map(problem).into_iter().collect()),
        }
    }
}

/// The connectors of a crate, in the order of the documentation.
#[derive(Debug)]
pub struct Catalog(pub &'static [Entry]);

impl Catalog {
    /// What each connector says of itself.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        self.0.iter().map(|entry| (entry.describe)()).collect()
    }

    /// The connector of this name, in this build or not.
    pub fn entry(&self, name: &str) -> Option<&'static Entry> {
        self.0.iter().find(|entry| entry.name() == name)
    }

    /// Builds a destination for one sync.
    ///
    /// # Errors
    /// As `Connector::build`; there is no connector of the name, or not in this build.
    pub fn build(
        &self,
        name: &str,
        config: &DestinationConfig,
    ) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
        self.find(name)?.connector()?.build(config)
    }

    /// Builds a destination without a sync, for `check` and `discover`.
    ///
    /// # Errors
    /// As `build`.
    pub fn build_for_check(
        &self,
        name: &str,
        config: DestinationConfig,
    ) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
        self.find(name)?.connector()?.build_for_check(config)
    }

    fn find(&self, name: &str) -> Result<&'static Entry, Vec<SettingProblem>> {
        self.entry(name).ok_or_else(|| {
            let known: Vec<_> = self.0.iter().map(Entry::name).collect();
            let reason = Reason::new(
                Code::UnknownConnector,
                format!("there is no connector named {name}"),
            );
            vec![problem(reason.hint(format!(
                "these are built in here: {}",
                known.join(", ")
            )))]
        })
    }
}

fn problem(reason: Reason) -> SettingProblem {
    SettingProblem {
        path: "connector".into(),
        reason,
    }
}
