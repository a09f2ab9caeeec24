//! Destinations of a project: built for a sync, and told apart from each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowcast_config::Problem;
use rowcast_core::{Destination, DestinationConfig, Name, Reason, SettingValue};
use rowcast_destinations::actions;

use super::{POSTGRES, catalog_of};
use crate::connectors::catalogue;
use crate::failure::Failure;
use crate::{Answer, Project};

/// Settings that say which place a destination is. A changed token is the same place; a changed
/// address is another, and state says nothing about it.
const PLACE: [&str; 17] = [
    "url",
    "base_url",
    "data_plane_url",
    "endpoint",
    "region",
    "host",
    "port",
    "database",
    "schema",
    "path",
    "dir",
    "folder",
    "bucket",
    "account",
    "container",
    "vhost",
    "to",
];

/// What state belongs to, without secrets (semantics 2).
pub(super) fn identity(
    project: &Project,
    sync: &rowcast_config::Sync,
) -> Answer<BTreeMap<String, String>> {
    let destination = project.destination(&sync.destination)?;
    let mut identity = BTreeMap::new();
    identity.insert("connector".to_owned(), destination.connector.clone());
    identity.insert("object".to_owned(), sync.object.clone().unwrap_or_default());
    for name in PLACE {
        let text = match destination.settings.get(name) {
            Some(SettingValue::Text(text) | SettingValue::Number(text)) => without_login(text),
            Some(SettingValue::Secret(secret)) => {
                let hash = blake3::hash(without_login(secret.reveal()).as_bytes());
                format!("hash {}", &hash.to_hex()[..16])
            }
            _ => continue,
        };
        identity.insert(format!("destination {name}"), text);
    }
    if let Some(words) = command_place(&destination.settings) {
        identity.insert("destination command".to_owned(), words);
    }
    if let Some(manifest) = project.manifest(&destination.connector) {
        for (name, text) in rowcast_destinations::manifest::place(manifest, &destination.settings) {
            identity.insert(format!("destination {name}"), text);
        }
    }
    if let Some(entry) = catalogue::entry(&destination.connector) {
        for (name, text) in actions::place(&entry, &destination.settings) {
            identity.insert(format!("destination {name}"), text);
        }
    }
    if let Some(text) = ssh_place(&destination.settings) {
        identity.insert("destination ssh".to_owned(), text);
    }
    let match_on: Vec<String> = sync
        .match_on
        .iter()
        .map(|(field, column)| format!("{field}: {column}"))
        .collect();
    if !match_on.is_empty() {
        identity.insert("match_on".to_owned(), match_on.join(", "));
    }
    Ok(identity)
}

/// The program that a destination is.
fn command_place(settings: &SettingValue) -> Option<String> {
    let words = settings.get("command")?.items().iter();
    let words: Vec<&str> = words.filter_map(SettingValue::as_text).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The SSH server of a destination whose own host means nothing without it: the server's loopback
/// or a socket there. Any other host is the same place however it is reached.
fn ssh_place(settings: &SettingValue) -> Option<String> {
    let host = settings.get("host").and_then(SettingValue::as_text)?;
    let local = host == "localhost"
        || host.starts_with('/')
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let ssh = settings.get("ssh").filter(|_| local)?;
    let text = |name| match ssh.get(name) {
        Some(SettingValue::Text(text) | SettingValue::Number(text)) => text.clone(),
        _ => String::new(),
    };
    Some(format!("{}:{}", text("host"), text("port")))
}

/// A URL without user and password: those may change, and must not be stored.
fn without_login(text: &str) -> String {
    match (
        text.split_once("://"),
        text.split_once('?').map_or(text, |(url, _)| url),
    ) {
        (Some((scheme, _)), url) => {
            let rest = &url[scheme.len() + 3..];
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        (None, _) => text.to_owned(),
    }
}

/// Builds the destination of a sync.
pub(crate) fn destination(
    project: &Project,
    sync: &rowcast_config::Sync,
    keys: &[Name],
) -> Answer<Arc<dyn Destination>> {
    let destination = project.destination(&sync.destination)?;
    let mut config = destination_config(project, destination);
    config.object = sync.object.as_deref().unwrap_or_default().into();
    config.mode = sync.mode;
    config.batch_records = sync.batching.configured(config.batch_records);
    config.request = sync.request.clone();
    config.key_columns = keys.to_vec();
    config.match_fields = if sync.match_on.is_empty() {
        keys.to_vec()
    } else {
        sync.match_on
            .iter()
            .map(|(field, _)| field.clone())
            .collect()
    };
    let mapped = match sync.mapping {
        Some(_) => actions::Mapped::Segment,
        None => actions::Mapped::Fields,
    };
    built(project, destination, config, mapped)
        .map_err(|problems| placed(problems, destination, Some(sync)))
}

/// Builds a destination for what `change` makes of its configuration, without a sync.
pub(crate) fn destination_for(
    project: &Project,
    name: &str,
    change: impl Fn(&mut DestinationConfig),
) -> Answer<Arc<dyn Destination>> {
    let destination = project.destination(name)?;
    let mut config = destination_config(project, destination);
    change(&mut config);
    built(project, destination, config, actions::Mapped::Fields)
        .map_err(|problems| placed(problems, destination, None))
}

fn built(
    project: &Project,
    destination: &rowcast_config::Destination,
    config: DestinationConfig,
    mapped: actions::Mapped,
) -> Result<Arc<dyn Destination>, Vec<(String, Reason)>> {
    if let Some(entry) = catalogue::entry(&destination.connector) {
        actions::build(&entry, &config, mapped, &catalogue::installation()).map_err(paths)
    } else if let Some(manifest) = project.manifest(&destination.connector) {
        rowcast_destinations::manifest::build(manifest, &config).map_err(paths)
    } else if destination.connector == POSTGRES {
        rowcast_postgres::destination::build(config)
    } else {
        catalog_of(&destination.connector)
            .build(&destination.connector, &config)
            .map_err(paths)
    }
}

/// Builds a destination that no sync uses yet, for its checks.
pub(crate) fn destination_alone(
    project: &Project,
    destination: &rowcast_config::Destination,
) -> Answer<Arc<dyn Destination>> {
    let config = destination_config(project, destination);
    built_alone(project, destination, config)
}

/// Builds the destination of a sync that may be incomplete, to ask it for its objects and fields.
pub(crate) fn destination_to_discover(
    project: &Project,
    sync: &rowcast_config::Sync,
) -> Answer<Arc<dyn Destination>> {
    let destination = project.destination(&sync.destination)?;
    let mut config = destination_config(project, destination);
    config.object = sync.object.as_deref().unwrap_or_default().into();
    built_alone(project, destination, config)
}

fn built_alone(
    project: &Project,
    destination: &rowcast_config::Destination,
    config: DestinationConfig,
) -> Answer<Arc<dyn Destination>> {
    let built = if let Some(entry) = catalogue::entry(&destination.connector) {
        actions::build_for_check(&entry, &config, &catalogue::installation()).map_err(paths)
    } else if let Some(manifest) = project.manifest(&destination.connector) {
        rowcast_destinations::manifest::build_for_check(manifest, &config).map_err(paths)
    } else if destination.connector == POSTGRES {
        rowcast_postgres::destination::build(config)
    } else {
        catalog_of(&destination.connector)
            .build_for_check(&destination.connector, config)
            .map_err(paths)
    };
    built.map_err(|problems| placed(problems, destination, None))
}

/// Opens a destination of Segment's catalogue, to ask it for choices.
pub(crate) fn opened_actions(
    project: &Project,
    destination: &rowcast_config::Destination,
    entry: &Arc<actions::Entry>,
) -> Answer<actions::Actions> {
    let config = destination_config(project, destination);
    actions::open(entry, &config, &catalogue::installation())
        .map_err(|problems| placed(paths(problems), destination, None))
}

/// What a destination's file says, without a sync.
pub(crate) fn destination_config(
    project: &Project,
    destination: &rowcast_config::Destination,
) -> DestinationConfig {
    DestinationConfig {
        batch_records: destination.batch_records,
        batch_bytes: destination.batch_bytes,
        concurrency: destination.concurrency,
        rate: destination.rate,
        timeout: destination.timeout,
        allow_addresses: destination.allow_addresses.clone(),
        project_dir: project.config.dir.clone(),
        ..DestinationConfig::new(destination.name.as_str(), destination.settings.clone())
    }
}

fn paths(problems: Vec<rowcast_destinations::SettingProblem>) -> Vec<(String, Reason)> {
    problems
        .into_iter()
        .map(|problem| (problem.path, problem.reason))
        .collect()
}

/// Problems of settings, each at its line: `request` and `object` stand in the sync's file.
fn placed(
    problems: Vec<(String, Reason)>,
    destination: &rowcast_config::Destination,
    sync: Option<&rowcast_config::Sync>,
) -> Failure {
    let at = |(path, reason): (String, Reason)| {
        let of_sync = ["request", "object", "mode", "match_on"]
            .iter()
            .any(|key| path == *key || path.starts_with(&format!("{key}.")));
        let location = match sync {
            Some(sync) if of_sync => sync.position(&path),
            _ => destination.position(&path),
        };
        match location {
            Some(location) => Problem::at(reason, location),
            None => Problem::general(reason),
        }
    };
    Failure::of(problems.into_iter().map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_2_a_place_is_known_without_its_login() {
        let place = "https://api.example.com/v1/contacts";
        for url in [
            place.to_owned(),
            "https://user:secret@api.example.com/v1/contacts".to_owned(),
            format!("{place}?api_key=secret"),
        ] {
            assert_eq!(without_login(&url), place);
        }
        assert_eq!(without_login("out/file.jsonl"), "out/file.jsonl");
        assert_ne!(without_login("https://eu.example.com/v1/contacts"), place);
    }
}
