//! The `rudderstack` connector's settings, read once, with what the sync adds to them.

use rowcast_core::record::Operation;
use rowcast_core::{DestinationConfig, Mode, Name, SettingValue};

use super::LIMITS;
use crate::events::call::{CallType, is_reserved, operations, words};
use crate::events::tracker::Parts;
use crate::http::config::parse_url;
use crate::settings::Problems;

/// What a record becomes.
#[derive(Debug)]
pub(super) enum Mapper {
    /// A call: of this type for syncs with `fields:`, of its own type for events.
    Json(Option<CallType>),
    /// An identify call whose traits are a destination's own fields.
    Visual {
        /// `HS-contacts`.
        kind: String,
        /// The destination's field that identifies a record.
        identifier: Name,
    },
    /// An event of type `record`.
    Record,
}

impl Mapper {
    /// Only `record` events can delete, as with RudderStack itself.
    pub(super) fn operations(&self, mode: Mode) -> &'static [Operation] {
        match self {
            Self::Record => &Operation::ALL,
            Self::Json(_) => operations(mode),
            Self::Visual { .. } => operations(Mode::Upsert),
        }
    }
}

/// What shapes events.
pub(super) struct Settings {
    pub(super) mapper: Mapper,
}

impl Settings {
    /// Reads settings whose shape has been checked.
    pub(super) fn parse<'a>(
        config: &'a DestinationConfig,
        problems: &mut Problems,
    ) -> Option<(Self, Parts<'a>)> {
        let settings = &config.settings;
        let address = settings.get("data_plane_url")?;
        let base = parse_url(
            address.as_secret()?.reveal(),
            "settings.data_plane_url",
            problems,
        )?;
        if base.path().trim_matches('/').starts_with("v1") || base.query().is_some() {
            problems.add(
                "settings.data_plane_url",
                "the data plane's address has no path and no parameters",
                "write https://plane.example.com: /v1/batch is appended",
            );
            return None;
        }
        let mapper = mapper(config, problems)?;
        let parts = Parts {
            config,
            secure: base.scheme() == "https",
            base,
            address_setting: "data_plane_url",
            key: settings
                .get("write_key")
                .and_then(SettingValue::as_secret)?,
            secret_address: match address {
                SettingValue::Secret(address) => Some(address.clone()),
                _ => None,
            },
            gzip: settings
                .get("gzip")
                .and_then(SettingValue::as_bool)
                .unwrap_or(true),
            limits: LIMITS,
            calls_max: super::calls_max(config),
        };
        Some((Self { mapper }, parts))
    }
}

fn mapper(config: &DestinationConfig, problems: &mut Problems) -> Option<Mapper> {
    let object = config.object.trim();
    let setting = config.settings.get("mapper");
    // Without a sync, as for checks, there is nothing that a mapper could be about.
    let alone = config.match_fields.is_empty();
    if let Some(name) = setting.and_then(|setting| setting.get("visual")) {
        let name = name.as_text().unwrap_or_default().trim();
        if name.is_empty() || name.contains('-') {
            problems.add(
                "settings.mapper.visual",
                "this is no name of a destination's definition: it is empty or holds a hyphen",
                "for HubSpot it is HS; RudderStack's documentation of the destination names it",
            );
            return None;
        }
        if alone {
            return Some(Mapper::Json(None));
        }
        if object.is_empty() {
            problems.add(
                "object",
                "the visual mapper needs the destination's object",
                "add `object:` to the sync, such as contacts",
            );
            return None;
        }
        let [identifier] = config.match_fields.as_slice() else {
            problems.add(
                "match_on",
                "the visual mapper needs exactly one identifier",
                "name the destination's field and the column: `match_on: { email: email }`",
            );
            return None;
        };
        if matches!(&**identifier, "user_id" | "userId") || is_reserved(identifier) {
            problems.add(
                "match_on",
                format!("{identifier} is kept by RudderStack for itself"),
                "name the field by which the destination knows its records, such as email",
            );
            return None;
        }
        return Some(Mapper::Visual {
            kind: format!("{name}-{object}"),
            identifier: identifier.clone(),
        });
    }
    if setting.and_then(SettingValue::as_text) == Some("record") {
        return Some(Mapper::Record);
    }
    if object.is_empty() {
        return Some(Mapper::Json(None));
    }
    match CallType::parse(object) {
        Some(kind) => Some(Mapper::Json(Some(kind))),
        None => {
            problems.add(
                "object",
                format!("{object} is no type of call"),
                &format!(
                    "one of: {}; for an object of a destination choose another `mapper`",
                    words(&CallType::ALL)
                ),
            );
            None
        }
    }
}
