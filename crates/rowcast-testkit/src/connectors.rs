//! Destinations of a crate's table of connectors, from settings as a test writes them.

use std::sync::Arc;

use rowcast_core::catalog::Catalog;
use rowcast_core::{Destination, DestinationConfig, Secret, SettingValue};
use serde_json::Value as Json;

/// Settings from JSON; text that begins with `secret:` is secret.
pub fn settings(json: &Json) -> SettingValue {
    match json {
        Json::Null => SettingValue::Null,
        Json::Bool(value) => SettingValue::Bool(*value),
        Json::Number(number) => SettingValue::Number(number.to_string()),
        Json::String(text) => match text.strip_prefix("secret:") {
            Some(secret) => SettingValue::Secret(Secret::new(secret.to_owned())),
            None => SettingValue::Text(text.clone()),
        },
        Json::Array(items) => SettingValue::List(items.iter().map(settings).collect()),
        Json::Object(members) => SettingValue::Map(
            members
                .iter()
                .map(|(name, value)| (name.clone(), settings(value)))
                .collect(),
        ),
    }
}

/// Builds, or shows every problem.
///
/// # Panics
/// The configuration is wrong.
pub fn build(
    catalog: &Catalog,
    connector: &str,
    config: &DestinationConfig,
) -> Arc<dyn Destination> {
    match catalog.build(connector, config) {
        Ok(destination) => destination,
        Err(problems) => panic!("{problems:#?}"),
    }
}
