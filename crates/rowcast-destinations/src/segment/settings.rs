//! The `segment` connector's settings, read once.

use rowcast_core::value::Object;
use rowcast_core::{DestinationConfig, Name, Secret, SettingValue, Value};
use url::Url;

use super::LIMITS;
use crate::events::call::{CallType, words};
use crate::events::tracker::Parts;
use crate::http::config::parse_url;
use crate::settings::Problems;

const OREGON: &str = "https://api.segment.io/v1";
const DUBLIN: &str = "https://events.eu1.segmentapis.com/v1";
const CDN: &str = "https://cdn.segment.com";

/// The types that a Profiles space takes.
const PROFILES: [CallType; 3] = [CallType::Identify, CallType::Group, CallType::Track];

/// What shapes calls.
pub(super) struct Settings {
    /// The type of call, for syncs with `fields:`.
    pub(super) object: Option<CallType>,
    pub(super) profiles: bool,
    pub(super) integrations: Object,
    cdn: Option<Url>,
    key: Secret<String>,
}

impl Settings {
    /// Reads settings whose shape has been checked, and what a sync adds to them.
    pub(super) fn parse<'a>(
        config: &'a DestinationConfig,
        problems: &mut Problems,
    ) -> Option<(Self, Parts<'a>)> {
        let settings = &config.settings;
        let profiles = settings
            .get("profiles")
            .and_then(SettingValue::as_bool)
            .unwrap_or_default();
        let offered = if profiles {
            &PROFILES[..]
        } else {
            &CallType::ALL
        };
        let object = match &*config.object {
            "" => None,
            word => match CallType::parse(word).filter(|kind| offered.contains(kind)) {
                Some(kind) => Some(kind),
                None => {
                    problems.add(
                        "object",
                        format!("{word} is no type of call"),
                        &format!("one of: {}", words(offered)),
                    );
                    return None;
                }
            },
        };
        let endpoint = settings.get("endpoint");
        let base = match (
            endpoint.and_then(SettingValue::as_secret),
            settings.get("region").and_then(SettingValue::as_text),
        ) {
            (Some(address), _) => parse_url(address.reveal(), "settings.endpoint", problems)?,
            (None, Some("dublin")) => parse_url(DUBLIN, "settings.region", problems)?,
            (None, _) => parse_url(OREGON, "settings.region", problems)?,
        };
        let cdn = match settings
            .get("cdn_endpoint")
            .and_then(SettingValue::as_secret)
        {
            Some(address) => Some(parse_url(
                address.reveal(),
                "settings.cdn_endpoint",
                problems,
            )?),
            None if endpoint.is_none() => parse_url(CDN, "settings.cdn_endpoint", problems),
            None => None,
        };
        let key = settings
            .get("write_key")
            .and_then(SettingValue::as_secret)?;
        let members = settings
            .get("integrations")
            .map_or(&[][..], SettingValue::members);
        let integrations = members
            .iter()
            .filter_map(|(name, value)| {
                Some((Name::from(name.as_str()), Value::Bool(value.as_bool()?)))
            })
            .collect();
        let secure =
            base.scheme() == "https" || cdn.as_ref().is_some_and(|c| c.scheme() == "https");
        let parts = Parts {
            config,
            base,
            address_setting: "endpoint",
            key: key.clone(),
            secret_address: match endpoint {
                Some(SettingValue::Secret(address)) => Some(address.clone()),
                _ => None,
            },
            gzip: false,
            secure,
            limits: LIMITS,
            calls_max: super::calls_max(config),
        };
        let settings = Self {
            object,
            profiles,
            integrations,
            cdn,
            key,
        };
        Some((settings, parts))
    }

    /// The types of call that it takes.
    pub(super) fn kinds(&self) -> &'static [CallType] {
        if self.profiles {
            &PROFILES
        } else {
            &CallType::ALL
        }
    }

    /// Where the write key is looked up.
    pub(super) fn key_url(&self) -> Option<Url> {
        let mut url = self.cdn.clone()?;
        let key = self.key.reveal().trim();
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["v1", "projects", key, "settings"]);
        Some(url)
    }
}
