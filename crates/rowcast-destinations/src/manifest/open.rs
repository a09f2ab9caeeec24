//! Opens a service that a manifest describes: settings filled in, the address checked against the
//! declared hosts, limits told to the engine.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rowcast_core::destination::OperationLimit;
use rowcast_core::json::push_text;
use rowcast_core::mapping::template::Template;
use rowcast_core::{
    Capabilities, Code, Destination, DestinationConfig, Name, Object, Reason, Secret, SettingValue,
    Value,
};
use url::Url;

use super::destination::Described;
use super::object::ObjectSpec;
use super::scope::Scope;
use super::{ENDPOINT, Manifest, SpecKind};
use crate::http::auth::Auth;
use crate::http::client::{Client, SystemLookup};
use crate::http::sender::Sender;
use crate::http::service::Service;
use crate::settings::{Problems, SettingProblem};
use rowcast_core::address::AddressPolicy;

/// Bytes of a request when the manifest does not say: what most services take.
const BATCH_BYTES: usize = 1_000_000;

/// Builds a destination for one sync.
///
/// # Errors
/// Every problem, with the path of the setting or of the sync's key.
pub fn build(
    manifest: &Arc<Manifest>,
    config: &DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    let mut problems = Problems::default();
    for_sync(manifest, config, &mut problems);
    open(manifest, config, problems)
}

/// Builds a destination without a sync, for its checks.
///
/// # Errors
/// Every problem of the settings.
pub fn build_for_check(
    manifest: &Arc<Manifest>,
    config: &DestinationConfig,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    open(manifest, config, Problems::default())
}

/// Scheme, host and port that requests go to.
pub(super) fn origin(manifest: &Manifest, config: &DestinationConfig) -> Option<String> {
    let mut problems = Problems::default();
    let (settings, _) = settings(manifest, &config.settings);
    let base = rendered(&manifest.connect.base_url, &settings, "", &mut problems)?;
    let root = root(manifest, &base, &config.settings, &mut problems)?;
    Some(root.origin().ascii_serialization())
}

/// What a sync asks for that the manifest does not have.
fn for_sync(manifest: &Manifest, config: &DestinationConfig, problems: &mut Problems) {
    let name = &manifest.name;
    if config.request != SettingValue::Null {
        problems.add(
            "request",
            format!("connector {name} takes no request"),
            "remove request: from the sync",
        );
    }
    let Some(object) = manifest.object(&config.object) else {
        let help = manifest.descriptor.object_help;
        problems.add(
            "object",
            if config.object.is_empty() {
                format!("connector {name} needs an object")
            } else {
                format!("connector {name} has no object {}", config.object)
            },
            &format!("write one of: {help}"),
        );
        return;
    };
    for operation in config.mode.operations() {
        if object.steps(operation).is_none() {
            let offered: Vec<&str> = object.operations.iter().map(|(o, _)| o.as_str()).collect();
            problems.push(
                "mode",
                Reason::new(
                    Code::UnsupportedMode,
                    format!(
                        "mode {} needs the operation {operation}, which {name} does not have for {}",
                        config.mode.as_str(),
                        object.title.to_lowercase()
                    ),
                )
                .hint(format!("it has {}; choose another mode", offered.join(", "))),
            );
        }
    }
    if object.matches {
        check_match(name, object, config, problems);
    }
}

fn check_match(
    name: &str,
    object: &ObjectSpec,
    config: &DestinationConfig,
    problems: &mut Problems,
) {
    if config.match_fields.len() != 1 && !object.match_many {
        problems.add(
            "match_on",
            format!(
                "{name} finds a {} by one field, not by {}",
                object.title.to_lowercase(),
                config.match_fields.join(", ")
            ),
            "write match_on: with one field and its column",
        );
    }
    let unfit = |field: &&Name| {
        !object.match_on.is_empty() && !object.match_on.iter().any(|known| **known == ***field)
    };
    if let Some(field) = config.match_fields.iter().find(unfit) {
        problems.add(
            "match_on",
            format!(
                "{name} can't find a {} by {field}",
                object.title.to_lowercase()
            ),
            &format!(
                "write match_on: {{ {}: COLUMN }}; possible are {}",
                object.match_on[0],
                object.match_on.join(", ")
            ),
        );
    }
}

fn open(
    manifest: &Arc<Manifest>,
    config: &DestinationConfig,
    mut problems: Problems,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    problems.check_members(&manifest.descriptor.settings, &config.settings, "settings");
    if !problems.is_empty() {
        return Err(problems.into_vec());
    }
    match Described::open(manifest, config, &mut problems) {
        Some(described) if problems.is_empty() => Ok(Arc::new(described)),
        _ => Err(problems.into_vec()),
    }
}

impl Described {
    fn open(
        manifest: &Arc<Manifest>,
        config: &DestinationConfig,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (settings, mut secrets) = settings(manifest, &config.settings);
        let base = rendered(
            &manifest.connect.base_url,
            &settings,
            "connect.base_url",
            problems,
        )?;
        let secret_root = manifest
            .settings
            .iter()
            .filter(|spec| spec.is_secret())
            .any(|spec| {
                let source = manifest.connect.base_url.source();
                source.contains(&format!("settings.{}", spec.name))
            });
        let root = root(manifest, &base, &config.settings, problems)?;
        if secret_root {
            secrets.push(Secret::new(base));
            secrets.push(Secret::new(root.path().to_owned()));
        }
        let auth = match &manifest.connect.auth {
            Some(auth) => {
                let auth = rendered_tree(auth, &settings, problems)?;
                Auth::parse(Some(&auth), problems, &mut secrets)
            }
            None => Auth::None,
        };
        let policy = AddressPolicy::read(config, problems)?;
        let timeout = config.timeout.unwrap_or(manifest.connect.timeout);
        let secure = root.scheme() == "https";
        let client = match Client::new(policy, Arc::new(SystemLookup), timeout, secure) {
            Ok(client) => client,
            Err(reason) => {
                problems.push("settings", reason);
                return None;
            }
        };
        let host = root.host_str().unwrap_or_default().to_owned();
        let object = manifest.object(&config.object);
        let match_field = match config.match_fields.as_slice() {
            [field] => Some(field.clone()),
            _ => None,
        };
        Some(Self {
            capabilities: capabilities(manifest, object, config, timeout),
            object: match object {
                Some(object) if config.object.is_empty() => object.name.as_str().into(),
                _ => config.object.clone(),
            },
            manifest: Arc::clone(manifest),
            match_field,
            settings,
            root,
            secret_root,
            sender: Sender {
                client,
                auth,
                service: Service { host, secrets },
            },
            resumes_ms: AtomicU64::new(0),
        })
    }
}

/// The settings as templates see them, and those that must not be shown.
fn settings(manifest: &Manifest, given: &SettingValue) -> (Secret<Value>, Vec<Secret<String>>) {
    let mut secrets = Vec::new();
    let mut members: Object = Vec::new();
    for spec in &manifest.settings {
        let value = match given.get(&spec.name) {
            None | Some(SettingValue::Null) => spec.default.clone().unwrap_or(Value::Null),
            Some(
                value @ (SettingValue::Text(_) | SettingValue::Secret(_) | SettingValue::Number(_)),
            ) if matches!(spec.kind, SpecKind::Secret | SpecKind::Text) => {
                let secret = value
                    .as_secret()
                    .unwrap_or_else(|| Secret::new(String::new()));
                let text = Value::from(secret.reveal().as_str());
                if spec.is_secret() || matches!(value, SettingValue::Secret(_)) {
                    secrets.push(secret);
                }
                text
            }
            Some(value) => super::body::plain(value),
        };
        let value = match (&spec.kind, &value) {
            (SpecKind::Choice(words), Value::Text(word)) => words
                .iter()
                .find(|(known, _)| **known == **word)
                .map_or(Value::Null, |(_, stands_for)| {
                    Value::from(stands_for.as_str())
                }),
            _ => value,
        };
        members.push((spec.name.as_str().into(), value));
    }
    (Secret::new(Value::Object(members)), secrets)
}

/// A text that names settings only.
fn rendered(
    template: &Template,
    settings: &Secret<Value>,
    path: &str,
    problems: &mut Problems,
) -> Option<String> {
    let nothing = Object::new();
    let scope = Scope::new(settings, &nothing);
    let text = template.render(&scope, &|value, out| {
        push_text(out, value);
        Ok(())
    });
    text.map_err(|reason| problems.push(path, reason)).ok()
}

/// `auth:` with the settings in it, as the `http` connector reads it.
fn rendered_tree(
    tree: &SettingValue,
    settings: &Secret<Value>,
    problems: &mut Problems,
) -> Option<SettingValue> {
    Some(match tree {
        SettingValue::Text(text) if text.contains("{{") => {
            let template = Template::compile(text).ok()?;
            let text = rendered(&template, settings, "settings", problems)?;
            SettingValue::Secret(Secret::new(text))
        }
        SettingValue::Map(members) => SettingValue::Map(
            members
                .iter()
                .map(|(name, value)| {
                    Some((name.clone(), rendered_tree(value, settings, problems)?))
                })
                .collect::<Option<_>>()?,
        ),
        other => other.clone(),
    })
}

/// Where requests go: the manifest's base URL on a declared host, or the user's own endpoint.
fn root(
    manifest: &Manifest,
    base: &str,
    settings: &SettingValue,
    problems: &mut Problems,
) -> Option<Url> {
    let parsed = Url::parse(base.trim()).ok();
    let fits = parsed.as_ref().is_some_and(|url| {
        // A manifest of one's own may name an http service by writing the scheme itself.
        let plain = manifest.connect.base_url.source().starts_with("http://");
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        (url.scheme() == "https" || plain && url.scheme() == "http")
            && url.username().is_empty()
            && manifest.declares(&host)
    });
    let Some(mut root) = parsed.filter(|_| fits) else {
        problems.add(
            "settings",
            format!("the settings make no address of {}", manifest.title),
            &format!(
                "requests go to https and {} only: look at the settings that are part of the address",
                manifest.hosts.join(", ")
            ),
        );
        return None;
    };
    if let Some(endpoint) = settings.get(ENDPOINT).and_then(SettingValue::as_secret) {
        let other = Url::parse(endpoint.reveal().trim()).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && url.path().len() <= 1
                && url.query().is_none()
        });
        let Some(mut other) = other else {
            problems.add(
                format!("settings.{ENDPOINT}"),
                "this is not an origin",
                "write scheme, host and port alone: http://127.0.0.1:8080",
            );
            return None;
        };
        other.set_path(root.path());
        root = other;
    }
    root.set_fragment(None);
    Some(root)
}

fn capabilities(
    manifest: &Manifest,
    object: Option<&ObjectSpec>,
    config: &DestinationConfig,
    timeout: Duration,
) -> Capabilities {
    let own = config.batch_records.unwrap_or(usize::MAX).max(1);
    let limits: Vec<OperationLimit> = object.map_or_else(Vec::new, |object| {
        object
            .operations
            .iter()
            .map(|(operation, steps)| OperationLimit {
                operation: *operation,
                records_max: steps.records_max().min(own),
                requests: 1 + u32::from(steps.looks_up()),
            })
            .collect()
    });
    let asked = config.mode.operations();
    let bytes = object
        .into_iter()
        .flat_map(ObjectSpec::calls)
        .filter_map(|call| call.bytes_max)
        .min();
    let bytes = bytes.unwrap_or(BATCH_BYTES);
    Capabilities {
        operations: limits.iter().map(|limit| limit.operation).collect(),
        batch_records_max: limits
            .iter()
            .filter(|limit| asked.contains(&limit.operation))
            .map(|limit| limit.records_max)
            .max()
            .unwrap_or(1),
        operation_limits: limits,
        batch_bytes_max: config.batch_bytes.map_or(bytes, |own| own.min(bytes)),
        concurrency_max: config
            .concurrency
            .unwrap_or(manifest.connect.concurrency)
            .max(1),
        rate: config.rate.or(manifest.connect.rate),
        // A write that looks up first makes two requests, each of which may take this long.
        timeout: match object {
            Some(object) if object.lookup.is_some() => timeout * 2,
            _ => timeout,
        },
        exactly_once: false,
        publishes: false,
    }
}
