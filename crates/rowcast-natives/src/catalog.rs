//! The kinds there are: one line each, with or without the client that speaks to them.

use rowcast_core::catalog::{Catalog, Entry};

use crate::{amqp, kafka, mqtt, mysql, nats, redis};

/// `entry!(redis, "redis")`: the module, and the feature that brings its client.
macro_rules! entry {
    ($module:ident, $feature:literal) => {
        Entry {
            describe: $module::descriptor,
            #[cfg(feature = $feature)]
            build: Some($module::build),
            #[cfg(not(feature = $feature))]
            build: None,
            features: $feature,
        }
    };
}

/// Every kind of this crate.
pub const CATALOG: Catalog = Catalog(&[
    entry!(mysql, "mysql"),
    entry!(redis, "redis"),
    entry!(kafka, "kafka"),
    entry!(nats, "nats"),
    entry!(amqp, "amqp"),
    entry!(mqtt, "mqtt"),
]);

#[cfg(test)]
mod tests {
    use rowcast_core::Code;

    use super::*;

    #[test]
    fn every_kind_is_described_and_an_absent_one_says_how_to_get_it() {
        for descriptor in CATALOG.descriptors() {
            let entry = CATALOG.entry(descriptor.name).unwrap();
            if let Some(reason) = entry.absence() {
                let hint = format!(
                    "cargo install --path crates/rowcast --features {}",
                    descriptor.name
                );
                assert_eq!(reason.code, Code::ConnectorAbsent);
                assert_eq!(reason.hint.as_deref(), Some(hint.as_str()));
            }
        }
        assert!(CATALOG.entry("sql").is_none());
    }
}
