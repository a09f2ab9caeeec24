//! The connectors there are: one line each.
//!
//! Adding a connector means its module and its line here, nothing else.

use std::sync::Arc;

use rowcast_core::{Code, Descriptor, Destination, DestinationConfig, Reason, SettingValue};

use crate::settings::{Problems, SettingProblem};
use crate::{file, http, null, rudderstack, segment};

type Describe = fn() -> Descriptor;
type Build = fn(&DestinationConfig, &mut Problems) -> Option<Arc<dyn Destination>>;

const CONNECTORS: &[(Describe, Build)] = &[
    (http::descriptor, http::build),
    (segment::descriptor, segment::build),
    (rudderstack::descriptor, rudderstack::build),
    (file::descriptor, file::build),
    (null::descriptor, null::build),
];

/// What each connector says of itself, in the order of the documentation.
pub fn descriptors() -> Vec<Descriptor> {
    CONNECTORS.iter().map(|(describe, _)| describe()).collect()
}

/// Builds a destination for one sync.
///
/// # Errors
/// Every problem found, each with the path of the setting: `settings.…` for the destination's file,
/// `request.…` for the sync's, or the engine's own key (`allow_addresses`, `batch`).
pub fn build(
    connector: &str,
    config: DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    let (descriptor, build) = find(connector)?;
    let destination = assemble(&descriptor, build, &config)?;
    let offered = &destination.capabilities().operations;
    let missing: Vec<SettingProblem> = config
        .mode
        .operations()
        .into_iter()
        .filter(|operation| !offered.contains(operation))
        .map(|operation| SettingProblem {
            path: format!("request.{operation}"),
            reason: Reason::new(
                Code::UnsupportedMode,
                format!(
                    "mode {} needs the operation {operation}, which destination {} can't do as configured",
                    config.mode.as_str(),
                    config.name
                ),
            )
            .hint(if descriptor.request.is_empty() {
                "choose another mode".to_owned()
            } else {
                format!("add request.{operation} to the sync, or choose another mode")
            }),
        })
        .collect();
    if missing.is_empty() {
        Ok(destination)
    } else {
        Err(missing)
    }
}

/// Builds a destination without a sync, for `check` and `discover`: what only a sync could bring
/// (`request:`, `object:`, the mode) is not asked for.
///
/// # Errors
/// As `build`.
pub fn build_for_check(
    connector: &str,
    mut config: DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    let (descriptor, build) = find(connector)?;
    config.request = SettingValue::Null;
    assemble(&descriptor, build, &config)
}

fn find(connector: &str) -> Result<(Descriptor, Build), Vec<SettingProblem>> {
    CONNECTORS
        .iter()
        .map(|(describe, build)| (describe(), *build))
        .find(|(descriptor, _)| descriptor.name == connector)
        .ok_or_else(|| {
            let known: Vec<_> = descriptors().iter().map(|d| d.name).collect();
            vec![SettingProblem {
                path: "connector".into(),
                reason: Reason::new(
                    Code::UnknownConnector,
                    format!("there is no connector named {connector}"),
                )
                .hint(format!("these are built in here: {}", known.join(", "))),
            }]
        })
}

fn assemble(
    descriptor: &Descriptor,
    build: Build,
    config: &DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    let mut problems = Problems::default();
    problems.check_members(&descriptor.settings, &config.settings, "settings");
    if descriptor.request.is_empty() && config.request != SettingValue::Null {
        problems.add(
            "request",
            format!("connector {} takes no request", descriptor.name),
            "remove request: from the sync",
        );
    } else {
        problems.check_members(&descriptor.request, &config.request, "request");
    }
    if descriptor.object_required && config.object.is_empty() {
        problems.add(
            "object",
            format!("connector {} needs an object", descriptor.name),
            &format!("add `object:` to the sync: {}", descriptor.object_help),
        );
    }
    if !problems.is_empty() {
        return Err(problems.into_vec());
    }
    match build(config, &mut problems) {
        Some(destination) if problems.is_empty() => Ok(destination),
        _ if problems.is_empty() => Err(vec![SettingProblem {
            path: "settings".into(),
            reason: Reason::defect(format!(
                "connector {} gave up without saying why",
                descriptor.name
            )),
        }]),
        _ => Err(problems.into_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectors_have_one_name_each() {
        let mut names: Vec<_> = descriptors().iter().map(|d| d.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["file", "http", "null", "rudderstack", "segment"]);
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
