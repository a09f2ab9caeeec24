//! The kinds there are: one line each, with or without the client that speaks to them.
//!
//! Every kind describes itself in every build, so that validation, the editor's schema and the
//! reference do not depend on how the program was built. Building one that is not there says how to
//! get it.

use std::sync::Arc;

use rowcast_core::connector::{Build, Connector, SettingProblem};
use rowcast_core::{Code, Descriptor, Destination, DestinationConfig, Reason};

use crate::{amqp, kafka, mqtt, mysql, nats, redis};

struct Kind {
    describe: fn() -> Descriptor,
    /// `None` when the program was built without it.
    build: Option<Build>,
}

/// `kind!(redis, "redis")`: the module, and the feature that brings its client.
macro_rules! kind {
    ($module:ident, $feature:literal) => {
        Kind {
            describe: $module::descriptor,
            #[cfg(feature = $feature)]
            build: Some($module::build),
            #[cfg(not(feature = $feature))]
            build: None,
        }
    };
}

const KINDS: &[Kind] = &[
    kind!(mysql, "mysql"),
    kind!(redis, "redis"),
    kind!(kafka, "kafka"),
    kind!(nats, "nats"),
    kind!(amqp, "amqp"),
    kind!(mqtt, "mqtt"),
];

/// What each kind says of itself, in the order of the documentation.
pub fn descriptors() -> Vec<Descriptor> {
    KINDS.iter().map(|kind| (kind.describe)()).collect()
}

/// Whether there is a kind of this name, in this build or not.
pub fn knows(name: &str) -> bool {
    KINDS.iter().any(|kind| (kind.describe)().name == name)
}

/// Why a kind can't be used, with the command that brings it; `None` when it can, or when there is
/// none of this name.
pub fn absent(name: &str) -> Option<Reason> {
    let kind = KINDS.iter().find(|kind| (kind.describe)().name == name)?;
    if kind.build.is_some() {
        return None;
    }
    Some(
        Reason::new(
            Code::ConnectorAbsent,
            format!("the connector {name} is not in this build of rowcast"),
        )
        .hint(format!(
            "cargo install --path crates/rowcast --features {name}"
        )),
    )
}

/// Builds a destination for one sync.
///
/// # Errors
/// As `Connector::build`; and the kind is not in this build.
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
    let kind = KINDS.iter().find(|kind| (kind.describe)().name == name);
    let problem = |reason| {
        vec![SettingProblem {
            path: "connector".into(),
            reason,
        }]
    };
    match kind {
        Some(Kind {
            describe,
            build: Some(build),
        }) => Ok(Connector {
            describe: *describe,
            build: *build,
        }),
        Some(_) => {
            Err(problem(absent(name).unwrap_or_else(|| {
                Reason::defect("a kind without a client has one")
            })))
        }
        None => Err(problem(Reason::new(
            Code::UnknownConnector,
            format!("there is no connector named {name}"),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_described_and_an_absent_one_says_how_to_get_it() {
        for descriptor in descriptors() {
            assert!(knows(descriptor.name));
            if let Some(reason) = absent(descriptor.name) {
                assert_eq!(reason.code, Code::ConnectorAbsent);
                assert_eq!(
                    reason.hint.as_deref(),
                    Some(
                        format!(
                            "cargo install --path crates/rowcast --features {}",
                            descriptor.name
                        )
                        .as_str()
                    )
                );
            }
        }
        assert!(!knows("sql"));
        assert!(absent("sql").is_none());
    }
}
