//! Settings are checked alike for every connector: by `rowcast_core::connector`.

pub use rowcast_core::connector::{Problems, SettingProblem, describe};

#[cfg(test)]
pub(crate) mod tests {
    use rowcast_core::{DestinationConfig, Mode, SettingValue};

    /// A configuration as a sync of the model `customers` would hand it over.
    pub(crate) fn config(settings: SettingValue) -> DestinationConfig {
        DestinationConfig {
            mode: Mode::Upsert,
            match_fields: vec!["id".into()],
            key_columns: vec!["id".into()],
            ..DestinationConfig::new("hook", settings)
        }
    }
}
