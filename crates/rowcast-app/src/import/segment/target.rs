//! Segment's destinations and the connectors that stand for them: one entry of `TARGETS` each, and one
//! for all others of the catalogue, which run as they are.
//!
//! An entry may only say what gives the receiver the same as Segment gave it; where something
//! differs, the report says so.

use rowcast_config::render::Part;
use rowcast_core::Kind;
use rowcast_core::segment::Trigger;
use serde_json::{Map, Value};

use super::super::draft::{Draft, map};
use super::catalogue;
use super::objects::{Destination, Subscription};
use crate::wire;

/// A destination of Segment's catalogue that a connector stands for.
pub(super) struct Target {
    pub(super) connector: &'static str,
    /// The catalogue's slugs, and ids for files that hold no slug.
    slugs: &'static [&'static str],
    ids: &'static [&'static str],
    /// Whether removed rows can be sent.
    deletes: bool,
    pub(super) map: fn(&Destination, &Subscription, &Value) -> Result<Mapped, String>,
    /// `settings:` of the destination's file.
    pub(super) settings: fn(&mut Draft, &str, &Destination, &Mapped) -> Part,
}

/// What a mapping's settings become.
pub(super) struct Mapped {
    /// In place of the target's own, where it stands for many.
    pub(super) connector: Option<String>,
    /// `mapping:` of the sync.
    pub(super) mapping: Value,
    pub(super) object: Option<String>,
    pub(super) request: Option<Part>,
    /// Records in a request, where the mapping batches.
    pub(super) batch: Option<u64>,
    /// What the destination's file is made from: mappings with the same share it.
    pub(super) settings: Value,
    pub(super) differs: Vec<String>,
}

const TARGETS: &[Target] = &[
    Target {
        connector: "http",
        slugs: &["actions-webhook"],
        ids: &["614a3c7d791c91c41bae7599"],
        deletes: true,
        map: webhook,
        settings: webhook_settings,
    },
    Target {
        connector: "segment",
        slugs: &["actions-segment"],
        ids: &[],
        deletes: false,
        map: calls,
        settings: calls_settings,
    },
];

/// Destinations that run as they are.
const CATALOGUE: Target = Target {
    connector: "segment/…",
    slugs: &[],
    ids: &[],
    deletes: true,
    map: catalogue::map,
    settings: catalogue::settings,
};

/// The entry for a destination.
///
/// # Errors
/// There is none, in words for the report.
pub(super) fn find(
    destination: &Destination,
    subscription: &Subscription,
) -> Result<&'static Target, String> {
    let is = |known: &[&str], own: &Option<String>| {
        own.as_deref().is_some_and(|own| known.contains(&own))
    };
    let named = destination
        .slug
        .as_deref()
        .or(destination.metadata.as_deref())
        .unwrap_or("an unknown destination");
    let target = TARGETS.iter().find(|target| {
        is(target.slugs, &destination.slug) || is(target.ids, &destination.metadata)
    });
    let entry = catalogue::entry(destination);
    match entry.filter(|_| target.is_none()).map(|entry| {
        let why = entry.unsupported.as_ref();
        why.map(|why| format!("{} does not run here: {why}", entry.title))
    }) {
        Some(None) => return Ok(&CATALOGUE),
        Some(Some(why)) => {
            return Err(format!(
                "{why}; its model can be used by a sync that you write"
            ));
        }
        None => {}
    }
    let target = target.ok_or_else(|| {
            let action = subscription
                .action
                .as_deref()
                .map(|action| format!(", action {action}"))
                .unwrap_or_default();
            format!("there is no connector for {named}{action}; its model can be used by a sync that you write")
        })?;
    if wire::descriptors()
        .iter()
        .any(|descriptor| descriptor.name == target.connector)
    {
        Ok(target)
    } else {
        Err(format!(
            "{named} needs the connector {}, which this build does not have",
            target.connector
        ))
    }
}

/// `mode:` where the trigger lets removed rows through.
pub(super) fn mode(settings: &Value, trigger: &Trigger, target: &Target) -> Option<&'static str> {
    let own = settings.get("__segment_internal_sync_mode").is_some();
    (!own && target.deletes && trigger.may_pass(Kind::Removed)).then_some("mirror")
}

/// What of a destination itself is not carried over.
pub(super) fn differs(destination: &Destination) -> Vec<String> {
    let secret = destination
        .settings
        .get("sharedSecret")
        .and_then(Value::as_str)
        .is_some_and(|secret| !secret.is_empty());
    if secret {
        vec![
            "requests have no X-Signature (HMAC-SHA1 of the first record); `auth: { hmac: … }` signs whole bodies with HMAC-SHA256"
                .to_owned(),
        ]
    } else {
        Vec::new()
    }
}

/// A value that is the same for every record.
fn literal(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text.as_str()),
        Value::Object(members) if members.len() == 1 => members.get("@literal")?.as_str(),
        _ => None,
    }
    .filter(|text| !text.contains("{{"))
}

/// Headers that are no secrets.
const PLAIN_HEADERS: [&str; 3] = ["content-type", "accept", "user-agent"];
/// Segment's own number of records in a batch.
const WEBHOOK_BATCH: u64 = 1_000;

fn webhook(
    _: &Destination,
    subscription: &Subscription,
    settings: &Value,
) -> Result<Mapped, String> {
    let url = settings.get("url").ok_or("it has no URL")?;
    let url = literal(url).ok_or("its URL is computed for each record")?;
    let method = match settings.get("method") {
        None => "POST",
        Some(method) => literal(method).ok_or("its method is computed for each record")?,
    };
    if !["POST", "PUT", "PATCH"].contains(&method) {
        return Err(format!("its method is {method}"));
    }
    let mut headers = Map::new();
    match settings.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(members)) if !members.keys().any(|name| name.starts_with('@')) => {
            for (name, value) in members {
                let value = literal(value)
                    .ok_or_else(|| format!("its header {name} is computed for each record"))?;
                headers.insert(name.clone(), Value::from(value));
            }
        }
        Some(_) => return Err("its headers are computed for each record".to_owned()),
    }
    let batches = settings.get("enable_batching").and_then(Value::as_bool) == Some(true);
    let batch = batches.then(|| {
        settings
            .get("batch_size")
            .and_then(Value::as_u64)
            .unwrap_or(WEBHOOK_BATCH)
    });
    let mut differs = Vec::new();
    for name in settings.as_object().into_iter().flat_map(Map::keys) {
        let known = [
            "url",
            "method",
            "headers",
            "data",
            "enable_batching",
            "batch_size",
            "batch_keys",
        ];
        if !known.contains(&name.as_str()) {
            differs.push(format!("its setting {name} is left out"));
        }
    }
    let deletes =
        Trigger::parse(&subscription.trigger).is_ok_and(|trigger| trigger.may_pass(Kind::Removed));
    // One URL takes upserts by POST; another method, or deletes in the same form, need a request each.
    let request = (method != "POST" || deletes)
        .then(|| -> Result<Part, String> {
            let address = address(url)?;
            let method = method.to_ascii_lowercase();
            let mut operations = vec![(
                "upsert".to_owned(),
                map([(&*method, Part::text(&address.path))]),
            )];
            if deletes {
                operations.push((
                    "delete".to_owned(),
                    map([
                        (&*method, Part::text(&address.path)),
                        ("body", Part::word("fields")),
                    ]),
                ));
            }
            Ok(Part::Map(operations))
        })
        .transpose()?;
    let requests = request.is_some();
    Ok(Mapped {
        connector: None,
        mapping: settings
            .get("data")
            .cloned()
            .unwrap_or_else(|| serde_json::json!({ "@path": "$." })),
        object: None,
        request,
        batch,
        settings: serde_json::json!({
            "url": url,
            "requests": requests,
            "headers": headers,
            "batch": batch,
        }),
        differs,
    })
}

/// A URL in the parts that a project keeps apart.
struct Address {
    base: String,
    path: String,
    /// The name of its one parameter, whose value may be a credential.
    parameter: Option<String>,
}

fn address(url: &str) -> Result<Address, String> {
    let unread = || "its URL can't be read".to_owned();
    let (scheme, rest) = url.split_once("://").ok_or_else(unread)?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if host.contains('@') {
        return Err("its URL holds a user and a password: write `auth:` by hand".to_owned());
    }
    let parameter = match query {
        None | Some("") => None,
        Some(query) if query.contains('&') => {
            return Err(
                "its URL has several parameters, and which of them are secret is not known"
                    .to_owned(),
            );
        }
        Some(query) => Some(query.split('=').next().unwrap_or(query).to_owned()),
    };
    Ok(Address {
        base: format!("{scheme}://{host}"),
        path: path.to_owned(),
        parameter,
    })
}

fn webhook_settings(
    draft: &mut Draft,
    own: &str,
    destination: &Destination,
    mapped: &Mapped,
) -> Part {
    let shown = destination.shown();
    let url = mapped.settings["url"].as_str().unwrap_or_default();
    let apart = address(url)
        .ok()
        .filter(|_| mapped.settings["requests"] == true);
    let mut members = match apart {
        Some(apart) => {
            let mut members = vec![("base_url".to_owned(), Part::text(apart.base))];
            if let Some(name) = apart.parameter {
                let value = draft.secret(
                    &format!("{own}_{name}"),
                    format!("the value of the parameter {name} in the URL of {shown}"),
                );
                let query = map([("name", Part::text(name)), ("value", value)]);
                members.push(("auth".to_owned(), map([("query", query)])));
            }
            members
        }
        // Credentials travel in user names and parameters.
        None if url.contains('@') || url.contains('?') => {
            let url = draft.secret(
                &format!("{own}_url"),
                format!("the URL of {shown}, which holds credentials or parameters"),
            );
            vec![("url".to_owned(), url)]
        }
        None => vec![("url".to_owned(), Part::text(url))],
    };
    let headers = mapped.settings["headers"].as_object();
    let headers: Vec<(String, Part)> = headers
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let value = value.as_str().unwrap_or_default();
            let part = if PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                Part::text(value)
            } else {
                draft.secret(
                    &format!("{own}_{name}"),
                    format!("the value of the header {name} of {shown}"),
                )
            };
            (name.clone(), part)
        })
        .collect();
    if !headers.is_empty() {
        members.push(("headers".to_owned(), Part::Map(headers)));
    }
    // Segment sends what the mapping gives, and nothing around it.
    members.push(("body".to_owned(), Part::word("fields")));
    Part::Map(members)
}

/// Segment's own names of what a call holds, and their places in it.
const PLACES: [(&str, &str); 24] = [
    ("user_id", "user_id"),
    ("anonymous_id", "anonymous_id"),
    ("group_id", "group_id"),
    ("timestamp", "timestamp"),
    ("traits", "traits"),
    ("properties", "properties"),
    ("event_name", "event"),
    ("page_name", "name"),
    ("page_category", "category"),
    ("screen_name", "name"),
    ("app", "context.app"),
    ("campaign_parameters", "context.campaign"),
    ("consent", "context.consent"),
    ("device", "context.device"),
    ("ip_address", "context.ip"),
    ("locale", "context.locale"),
    ("location", "context.location"),
    ("network", "context.network"),
    ("operating_system", "context.os"),
    ("page", "context.page"),
    ("screen", "context.screen"),
    ("user_agent", "context.userAgent"),
    ("timezone", "context.timezone"),
    (
        "__segment_internal_directive",
        "__segment_internal_directive",
    ),
];

fn calls(_: &Destination, subscription: &Subscription, settings: &Value) -> Result<Mapped, String> {
    let action = subscription.action.as_deref().unwrap_or_default();
    let object = match action {
        "sendIdentify" => "identify",
        "sendGroup" => "group",
        "sendTrack" => "track",
        "sendPage" => "page",
        "sendScreen" => "screen",
        other => return Err(format!("its action {other:?} is none that sends a call")),
    };
    let mut mapping = Map::new();
    let mut differs = Vec::new();
    for (name, value) in settings.as_object().into_iter().flatten() {
        if ["enable_batching", "batch_size", "batch_keys"].contains(&name.as_str()) {
            continue;
        }
        match PLACES.iter().find(|(known, _)| known == name) {
            Some((_, place)) => _ = mapping.insert((*place).to_owned(), value.clone()),
            None if name == "message_id" => {
                differs.push(
                    "its messageId is Rowcast's own, the same whenever a call is sent again"
                        .to_owned(),
                );
            }
            None => differs.push(format!("its field {name} is left out")),
        }
    }
    Ok(Mapped {
        connector: None,
        mapping: Value::Object(mapping),
        object: Some(object.to_owned()),
        request: None,
        batch: None,
        settings: Value::Null,
        differs,
    })
}

fn calls_settings(draft: &mut Draft, own: &str, destination: &Destination, _: &Mapped) -> Part {
    let key = draft.secret(
        &format!("{own}_write_key"),
        format!(
            "the write key of the source that {} sends to",
            destination.shown()
        ),
    );
    let europe = destination
        .settings
        .get("endpoint")
        .and_then(Value::as_str)
        .is_some_and(|endpoint| endpoint.contains("eu"));
    map([
        ("write_key", key),
        (
            "region",
            Part::word(if europe { "dublin" } else { "oregon" }),
        ),
    ])
}
