//! The stores there are: one line each, with or without the library that speaks to them.
//!
//! Every store describes itself in every build, so that validation, the editor's schema and the
//! reference do not depend on how the program was built. Building one that is not there says how to
//! get it.

use std::sync::Arc;

use rowcast_core::connector::{Build, Connector, SettingProblem};
use rowcast_core::{Code, Descriptor, Destination, DestinationConfig, Reason};

use crate::{azure_blob, s3};

struct Kind {
    describe: fn() -> Descriptor,
    /// `None` when the program was built without it.
    build: Option<Build>,
}

const KINDS: &[Kind] = &[
    Kind {
        describe: s3::descriptor,
        #[cfg(feature = "s3")]
        build: Some(s3::build),
        #[cfg(not(feature = "s3"))]
        build: None,
    },
    Kind {
        describe: azure_blob::descriptor,
        #[cfg(feature = "azure_blob")]
        build: Some(azure_blob::build),
        #[cfg(not(feature = "azure_blob"))]
        build: None,
    },
];

fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| (kind.describe)().name == name)
}

/// What each store says of itself, in the order of the documentation.
pub fn descriptors() -> Vec<Descriptor> {
    KINDS.iter().map(|kind| (kind.describe)()).collect()
}

/// Whether there is a store of this name, in this build or not.
pub fn knows(name: &str) -> bool {
    kind(name).is_some()
}

/// Why a store can't be used, with the command that brings it; `None` when it can, or when there is
/// none of this name.
pub fn absent(name: &str) -> Option<Reason> {
    if kind(name)?.build.is_some() {
        return None;
    }
    Some(
        Reason::new(
            Code::ConnectorAbsent,
            format!("the connector {name} is not in this build of rowcast"),
        )
        .hint("cargo install --path crates/rowcast --features objects,parquet"),
    )
}

/// Builds a destination for one sync.
///
/// # Errors
/// As `Connector::build`; and the store is not in this build.
pub fn build(
    name: &str,
    config: DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    find(name)?.build(&config)
}

/// Builds a destination without a sync, for `check` and `discover`.
///
/// # Errors
/// As `build`.
pub fn build_for_check(
    name: &str,
    config: DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    find(name)?.build_for_check(config)
}

fn find(name: &str) -> Result<Connector, Vec<SettingProblem>> {
    if let Some(kind) = kind(name)
        && let Some(build) = kind.build
    {
        return Ok(Connector {
            describe: kind.describe,
            build,
        });
    }
    let unknown = || {
        Reason::new(
            Code::UnknownConnector,
            format!("there is no connector named {name}"),
        )
    };
    Err(vec![SettingProblem {
        path: "connector".into(),
        reason: absent(name).unwrap_or_else(unknown),
    }])
}
