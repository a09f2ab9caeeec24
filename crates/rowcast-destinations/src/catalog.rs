//! The connectors there are: one line each.
//!
//! Adding a connector means its module and its line here, nothing else.

use std::sync::Arc;

use rowcast_core::connector::{Connector, SettingProblem};
use rowcast_core::{Code, Descriptor, Destination, DestinationConfig, Reason};

use crate::{custom, file, http, null, rudderstack, segment};

const CONNECTORS: &[Connector] = &[
    Connector {
        describe: http::descriptor,
        build: http::build,
    },
    Connector {
        describe: custom::descriptor,
        build: custom::build,
    },
    Connector {
        describe: segment::descriptor,
        build: segment::build,
    },
    Connector {
        describe: rudderstack::descriptor,
        build: rudderstack::build,
    },
    Connector {
        describe: file::descriptor,
        build: file::build,
    },
    Connector {
        describe: null::descriptor,
        build: null::build,
    },
];

/// What each connector says of itself, in the order of the documentation.
pub fn descriptors() -> Vec<Descriptor> {
    let connectors = CONNECTORS.iter();
    connectors.map(|connector| (connector.describe)()).collect()
}

/// Builds a destination for one sync.
///
/// # Errors
/// As `Connector::build`; and there is no connector of the name.
pub fn build(
    connector: &str,
    config: DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    find(connector)?.build(&config)
}

/// Builds a destination without a sync, for `check` and `discover`.
///
/// # Errors
/// As `build`.
pub fn build_for_check(
    connector: &str,
    config: DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    find(connector)?.build_for_check(config)
}

fn find(name: &str) -> Result<&'static Connector, Vec<SettingProblem>> {
    CONNECTORS
        .iter()
        .find(|connector| (connector.describe)().name == name)
        .ok_or_else(|| {
            let known: Vec<_> = descriptors().iter().map(|d| d.name).collect();
            vec![SettingProblem {
                path: "connector".into(),
                reason: Reason::new(
                    Code::UnknownConnector,
                    format!("there is no connector named {name}"),
                )
                .hint(format!("these are built in here: {}", known.join(", "))),
            }]
        })
}

#[cfg(test)]
mod tests {
    use rowcast_core::SettingValue;

    use super::*;

    #[test]
    fn connectors_have_one_name_each() {
        let mut names: Vec<_> = descriptors().iter().map(|d| d.name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["custom", "file", "http", "null", "rudderstack", "segment"]
        );
    }

    #[test]
    fn an_unknown_connector_names_the_known_ones() {
        let problems = build("htttp", crate::settings::tests::config(SettingValue::Null))
            .err()
            .expect("refused");
        assert_eq!(problems[0].reason.code, Code::UnknownConnector);
        assert!(problems[0].reason.hint.as_deref().unwrap().contains("http"));
    }
}
