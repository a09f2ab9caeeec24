//! `settings:` of a destination of the catalogue, as the actions host takes them.
//!
//! What is secret stays in a `Secret` until it goes into the pipe.

use rowcast_core::{Secret, SettingValue};
use serde_json::{Map, Value, json};
use url::Url;

use super::catalogue::{Entry, Field};
use super::describe::{ENVIRONMENT, MEMORY, OAUTH, REWRITE};
use crate::settings::Problems;

/// Memory of the host when nothing is said, in megabytes.
const MEMORY_DEFAULT: u64 = 512;
/// Node needs about this much to load the package at all.
const MEMORY_MIN: u64 = 128;

/// Tokens of a user.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens {
    pub(super) access: Option<Secret<String>>,
    pub(super) refresh: Option<Secret<String>>,
    client_id: Option<Secret<String>>,
    client_secret: Option<Secret<String>>,
}

/// Settings, read.
#[derive(Debug)]
pub(super) struct Read {
    /// `settings` and `environment` of the host's `open`.
    pub(super) opening: Secret<Value>,
    pub(super) tokens: Tokens,
    /// Everything that must not appear in a message.
    pub(super) secrets: Vec<Secret<String>>,
    pub(super) rewrites: Vec<(String, Url)>,
    pub(super) memory_mb: u64,
}

impl Tokens {
    /// Whether new access tokens can be fetched.
    pub(super) fn can_refresh(&self) -> bool {
        self.refresh.is_some() && self.client_id.is_some() && self.client_secret.is_some()
    }

    /// As the host takes them.
    pub(super) fn to_json(&self) -> Secret<Value> {
        let text =
            |secret: &Option<Secret<String>>| secret.as_ref().map(|secret| secret.reveal().clone());
        Secret::new(json!({
            "access_token": text(&self.access),
            "refresh_token": text(&self.refresh),
            "client_id": text(&self.client_id),
            "client_secret": text(&self.client_secret),
        }))
    }
}

/// Reads the settings; their kinds were checked against the descriptor.
pub(super) fn read(entry: &Entry, given: &SettingValue, problems: &mut Problems) -> Read {
    let mut secrets = Vec::new();
    let mut settings = Map::new();
    for field in &entry.settings {
        let Some(value) = given.get(&field.name).filter(|v| **v != SettingValue::Null) else {
            continue;
        };
        if field.is_secret() || matches!(value, SettingValue::Secret(_)) {
            secrets.extend(value.as_secret());
        }
        settings.insert(field.name.clone(), to_json(field, value));
    }
    let mut environment = Map::new();
    for (name, value) in members(given, ENVIRONMENT) {
        if !entry.environment.iter().any(|known| known == name) {
            problems.add(
                format!("settings.{ENVIRONMENT}.{name}"),
                "this connector does not read it",
                &format!("it reads {}", entry.environment.join(", ")),
            );
        }
        if let Some(secret) = value.as_secret() {
            environment.insert(name.clone(), Value::from(secret.reveal().as_str()));
            secrets.push(secret);
        }
    }
    let tokens = tokens(entry, given, problems);
    for secret in [&tokens.access, &tokens.refresh, &tokens.client_secret] {
        secrets.extend(secret.clone());
    }
    let memory_mb = given
        .get(MEMORY)
        .and_then(SettingValue::as_text)
        .and_then(rowcast_core::settings::parse_size)
        .map_or(MEMORY_DEFAULT, |bytes| bytes / 1_000_000);
    if memory_mb < MEMORY_MIN {
        problems.add(
            format!("settings.{MEMORY}"),
            "this is less than the actions host needs to start",
            &format!("write at least {MEMORY_MIN}MB"),
        );
    }
    Read {
        opening: Secret::new(json!({
            "slug": entry.slug,
            "settings": settings,
            "environment": environment,
        })),
        tokens,
        secrets,
        rewrites: rewrites(given, problems),
        memory_mb,
    }
}

fn members<'a>(given: &'a SettingValue, name: &str) -> &'a [(String, SettingValue)] {
    given.get(name).map_or(&[], SettingValue::members)
}

fn to_json(field: &Field, value: &SettingValue) -> Value {
    match value {
        SettingValue::Bool(value) => Value::from(*value),
        SettingValue::List(items) => items.iter().map(|item| to_json(field, item)).collect(),
        SettingValue::Number(text) if matches!(field.kind.as_str(), "number" | "integer") => {
            text.parse::<i64>().map_or_else(
                |_| text.parse::<f64>().map_or(Value::Null, Value::from),
                Value::from,
            )
        }
        other => other
            .as_secret()
            .map_or(Value::Null, |secret| Value::from(secret.reveal().as_str())),
    }
}

fn tokens(entry: &Entry, given: &SettingValue, problems: &mut Problems) -> Tokens {
    let Some(own) = given.get(OAUTH).filter(|own| !own.members().is_empty()) else {
        if entry.scheme == "oauth2" {
            problems.add(
                format!("settings.{OAUTH}"),
                format!("{} needs tokens", entry.title),
                "write access_token, or client_id, client_secret and refresh_token, below oauth:",
            );
        }
        return Tokens::default();
    };
    let secret = |name| own.get(name).and_then(SettingValue::as_secret);
    let tokens = Tokens {
        access: secret("access_token"),
        refresh: secret("refresh_token"),
        client_id: secret("client_id"),
        client_secret: secret("client_secret"),
    };
    if tokens.access.is_none() && !tokens.can_refresh() {
        problems.add(
            format!("settings.{OAUTH}"),
            "these tokens are not enough to sign in with",
            "write access_token, or client_id, client_secret and refresh_token",
        );
    }
    tokens
}

/// Origins to other origins.
fn rewrites(given: &SettingValue, problems: &mut Problems) -> Vec<(String, Url)> {
    let origin = |text: &str| {
        Url::parse(text.trim()).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.path().len() <= 1
                && url.query().is_none()
        })
    };
    let mut found = Vec::new();
    for (from, to) in members(given, REWRITE) {
        let to = to.as_secret().and_then(|to| origin(to.reveal()));
        match (origin(from), to) {
            (Some(from), Some(to)) => found.push((from.origin().ascii_serialization(), to)),
            _ => problems.add(
                format!("settings.{REWRITE}.{from}"),
                "these are not two origins",
                "write scheme, host and port alone: https://api.hubapi.com: http://127.0.0.1:8080",
            ),
        }
    }
    found
}

/// Words in the names of settings that say which account or region is meant.
const PLACES: [&str; 16] = [
    "account",
    "domain",
    "endpoint",
    "environment",
    "host",
    "instance",
    "org",
    "portal",
    "project",
    "region",
    "server",
    "site",
    "space",
    "subdomain",
    "tenant",
    "url",
];

/// What of a destination's settings says which place at the service it is, without secrets: state
/// belongs to it (semantics 2).
pub fn place(entry: &Entry, settings: &SettingValue) -> Vec<(String, String)> {
    let mut place = Vec::new();
    for field in entry.settings.iter().filter(|field| !field.is_secret()) {
        let name = field.name.to_ascii_lowercase();
        if !PLACES.iter().any(|word| name.contains(word)) {
            continue;
        }
        match settings.get(&field.name) {
            Some(SettingValue::Secret(secret)) => {
                let hash = blake3::hash(secret.reveal().as_bytes());
                place.push((field.name.clone(), format!("hash {}", &hash.to_hex()[..16])));
            }
            Some(value) => {
                let text = value.as_text().unwrap_or_default().to_owned();
                place.push((field.name.clone(), text));
            }
            None => {}
        }
    }
    for (from, to) in members(settings, REWRITE) {
        let to = to.as_text().unwrap_or_default();
        place.push((format!("{REWRITE} {from}"), to.to_owned()));
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::catalogue::find;

    fn map(members: &[(&str, SettingValue)]) -> SettingValue {
        let members = members.iter();
        SettingValue::Map(
            members
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        )
    }

    fn text(text: &str) -> SettingValue {
        SettingValue::Text(text.to_owned())
    }

    #[test]
    fn secrets_are_known_and_nothing_shows_them() {
        let entry = find("braze").expect("it is there");
        let given = map(&[
            ("api_key", text("hunter2")),
            ("endpoint", text("https://rest.iad-01.braze.com")),
            (
                "rewrite",
                map(&[("https://rest.iad-01.braze.com/", text("http://127.0.0.1:1"))]),
            ),
        ]);
        let mut problems = Problems::default();
        let read = read(&entry, &given, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(!format!("{read:?}").contains("hunter2"));
        assert_eq!(read.secrets, [Secret::new("hunter2".to_owned())]);
        assert_eq!(read.rewrites[0].0, "https://rest.iad-01.braze.com");
        let place = place(&entry, &given);
        assert!(!format!("{place:?}").contains("hunter2"));
        assert_eq!(place[0].0, "endpoint");
    }

    #[test]
    fn tokens_must_be_enough_to_sign_in_with() {
        let entry = find("hubspot").expect("it is there");
        let wrong = |given: &SettingValue| {
            let mut problems = Problems::default();
            read(&entry, given, &mut problems);
            problems.into_vec().len()
        };
        assert_eq!(wrong(&SettingValue::Null), 1);
        let refresh = ("refresh_token", text("r"));
        assert_eq!(
            wrong(&map(&[("oauth", map(std::slice::from_ref(&refresh)))])),
            1
        );
        let client = [
            refresh,
            ("client_id", text("c")),
            ("client_secret", text("s")),
        ];
        assert_eq!(wrong(&map(&[("oauth", map(&client))])), 0);
        assert_eq!(
            wrong(&map(&[("oauth", map(&[("access_token", text("t"))]))])),
            0
        );
    }
}
