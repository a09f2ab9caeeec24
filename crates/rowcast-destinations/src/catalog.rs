//! The connectors there are: one line each.
//!
//! Adding a connector means its module and its line here, nothing else.

use rowcast_core::catalog::{Catalog, Entry};

use crate::{custom, file, http, null, rudderstack, segment};

/// `entry!(http)`: the module, which is in every build.
macro_rules! entry {
    ($module:ident) => {
        Entry {
            describe: $module::descriptor,
            build: Some($module::build),
            features: "",
        }
    };
}

/// Every connector of this crate.
pub const CATALOG: Catalog = Catalog(&[
    entry!(http),
    entry!(custom),
    entry!(segment),
    entry!(rudderstack),
    entry!(file),
    entry!(null),
]);

#[cfg(test)]
mod tests {
    use rowcast_core::{Code, SettingValue};

    use super::*;

    #[test]
    fn connectors_have_one_name_each() {
        let mut names: Vec<_> = CATALOG.descriptors().iter().map(|d| d.name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["custom", "file", "http", "null", "rudderstack", "segment"]
        );
    }

    #[test]
    fn an_unknown_connector_names_the_known_ones() {
        let config = crate::settings::tests::config(SettingValue::Null);
        let problems = CATALOG.build("htttp", &config).err().expect("refused");
        assert_eq!(problems[0].reason.code, Code::UnknownConnector);
        assert!(problems[0].reason.hint.as_deref().unwrap().contains("http"));
    }
}
