//! A destination made from a manifest: the `http` connector's client, credentials, address policy
//! and reading of answers, with requests that the manifest describes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rowcast_core::destination::OperationLimit;
use rowcast_core::json::push_text;
use rowcast_core::mapping::template::Template;
use rowcast_core::record::{Batch, Operation, Record};
use rowcast_core::{
    Applied, BoxFuture, Capabilities, Check, Code, Destination, DestinationConfig, Fault, Name,
    Object, Outcome, Reason, Secret, SettingValue, Value,
};
use url::Url;

use super::call::{Call, Preparation, Steps, Target};
use super::object::ObjectSpec;
use super::scope::{Scope, record, shared};
use super::{ENDPOINT, Manifest, RateHeaders, ResetUnit, SpecKind};
use crate::http::address::AddressPolicy;
use crate::http::auth::Auth;
use crate::http::client::{Answer, Client, SystemLookup, wall_clock};
use crate::http::request::Prepared;
use crate::http::sender::Sender;
use crate::http::service::Service;
use crate::settings::{Problems, SettingProblem};

/// Bytes of a request when the manifest does not say: what most services take.
const BATCH_BYTES: usize = 1_000_000;

/// A service that a manifest describes, opened for one sync.
struct Described {
    manifest: Arc<Manifest>,
    /// The name as the sync says it.
    object: Name,
    match_field: Option<Name>,
    settings: Secret<Value>,
    root: Url,
    /// Whether the root holds a secret.
    secret_root: bool,
    sender: Sender,
    capabilities: Capabilities,
    /// When requests may start again, by the service's headers: milliseconds since 1970.
    resumes_ms: AtomicU64,
}

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
        let policy = match AddressPolicy::new(&config.allow_addresses) {
            Ok(policy) => policy,
            Err(message) => {
                problems.add(
                    "allow_addresses",
                    message,
                    "list addresses and ranges such as 10.0.0.0/8 or 127.0.0.1",
                );
                return None;
            }
        };
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

    fn spec(&self, operation: Operation) -> Result<(&ObjectSpec, &Steps), Fault> {
        let object = self.manifest.object(&self.object);
        object
            .and_then(|object| Some((object, object.steps(operation)?)))
            .ok_or_else(|| {
                Fault::fatal(Reason::defect(format!(
                    "operation {operation} has no request"
                )))
            })
    }

    fn target(&self, key: Option<String>) -> Target<'_> {
        let header = self.manifest.connect.idempotency_header.clone();
        Target {
            root: &self.root,
            secret_root: self.secret_root,
            auth: &self.sender.auth,
            headers: &self.manifest.connect.headers,
            idempotency: header.zip(key),
        }
    }

    async fn exchange(&self, prepared: &Prepared, id: &str) -> Result<Answer, Fault> {
        let answer = self.sender.send(prepared, id).await?;
        if let Some(headers) = &self.manifest.connect.rate_headers
            && let Some(wait) = exhausted(headers, &answer)
        {
            let until = now_ms() + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 2);
            self.resumes_ms.fetch_max(until, Ordering::Relaxed);
        }
        Ok(answer)
    }

    async fn deliver(&self, batch: &Batch) -> Result<Vec<Outcome>, Fault> {
        let (object, steps) = self.spec(batch.operation)?;
        let shared = shared_of(batch, &self.object, self.match_field.as_ref());
        let scope = Scope::new(&self.settings, &shared);
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.records.len()];
        let all: Vec<usize> = (0..batch.records.len()).collect();
        match steps {
            Steps::One {
                call,
                look_up: false,
            } => {
                let records: Vec<Value> = batch
                    .records
                    .iter()
                    .map(|of| record(of, batch, object, None))
                    .collect();
                self.send(call, batch, &scope, &all, &records, &mut outcomes)
                    .await?;
            }
            steps => {
                let found = self.look_up(object, batch, &scope, &mut outcomes).await?;
                self.after_lookup(object, steps, batch, &scope, &found, &mut outcomes)
                    .await?;
            }
        }
        outcomes
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Fault::lost(Reason::defect("a record of a request got no outcome")))
    }

    /// Sends what the lookup decided.
    async fn after_lookup(
        &self,
        object: &ObjectSpec,
        steps: &Steps,
        batch: &Batch,
        scope: &Scope<'_>,
        found: &[Option<Value>],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Fault> {
        let open: Vec<usize> = (0..outcomes.len())
            .filter(|position| outcomes[*position].is_none())
            .collect();
        let (present, absent): (Vec<usize>, Vec<usize>) = open
            .into_iter()
            .partition(|position| found[*position].is_some());
        let values = |positions: &[usize]| -> Vec<Value> {
            positions
                .iter()
                .map(|p| record(&batch.records[*p], batch, object, found[*p].as_ref()))
                .collect()
        };
        let (call, otherwise) = match steps {
            Steps::One { call, .. } => (call, None),
            Steps::ByLookup { found, missing } => (found, Some(missing)),
        };
        if let Some(call) = otherwise {
            let records = values(&absent);
            self.send(call, batch, scope, &absent, &records, outcomes)
                .await?;
        } else {
            for position in absent {
                outcomes[position] = Some(match batch.operation {
                    Operation::Delete => Outcome::Delivered,
                    _ => Outcome::Rejected(Reason::new(
                        Code::NotFound,
                        "the record to update does not exist",
                    )),
                });
            }
        }
        let records = values(&present);
        self.send(call, batch, scope, &present, &records, outcomes)
            .await
    }

    /// Sends one request for the records at these positions and notes their outcomes.
    async fn send(
        &self,
        call: &Call,
        batch: &Batch,
        scope: &Scope<'_>,
        positions: &[usize],
        records: &[Value],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Fault> {
        if positions.is_empty() {
            return Ok(());
        }
        let id = batch.idempotency_key();
        let preparation = call
            .prepare(scope, records, &self.target(Some(id.clone())))
            .map_err(Fault::fatal)?;
        for (index, reason) in preparation.failed {
            outcomes[positions[index]] = Some(Outcome::Rejected(reason));
        }
        if let Some(prepared) = preparation.request {
            let held: Vec<usize> = prepared.held.iter().map(|i| positions[*i]).collect();
            let sent: Vec<&Record> = held.iter().map(|i| &batch.records[*i]).collect();
            let answer = self.exchange(&prepared, &id).await?;
            let reading = call.reading(&self.sender.service);
            for (position, outcome) in held.into_iter().zip(reading.judge(batch, &sent, &answer)?) {
                outcomes[position] = Some(outcome);
            }
        }
        Ok(())
    }

    /// What the service has of a batch's records. A record whose lookup fails gets its outcome here.
    async fn look_up(
        &self,
        object: &ObjectSpec,
        batch: &Batch,
        scope: &Scope<'_>,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<Vec<Option<Value>>, Fault> {
        let Some(lookup) = &object.lookup else {
            return Err(Fault::fatal(Reason::defect("an operation lost its lookup")));
        };
        let records: Vec<Value> = batch
            .records
            .iter()
            .map(|of| record(of, batch, object, None))
            .collect();
        let mut found = vec![None; records.len()];
        let preparation = lookup
            .call
            .prepare(scope, &records, &self.target(None))
            .map_err(Fault::fatal)?;
        for (position, reason) in preparation.failed {
            outcomes[position] = Some(Outcome::Rejected(reason));
        }
        let Some(prepared) = preparation.request else {
            return Ok(found);
        };
        let answer = self
            .exchange(&prepared, &batch.idempotency_key())
            .await
            .map_err(unwritten)?;
        let sent: Vec<&Record> = prepared.held.iter().map(|i| &batch.records[*i]).collect();
        let asked: Vec<Value> = prepared.held.iter().map(|i| records[*i].clone()).collect();
        if !lookup.call.accepts(answer.status) && !(200..=299).contains(&answer.status) {
            let reading = lookup.call.reading(&self.sender.service);
            let judged = reading.judge(batch, &sent, &answer).map_err(unwritten)?;
            for (position, outcome) in prepared.held.iter().zip(judged) {
                // `delivered` by a rule about a lookup says that there is nothing.
                if outcome != Outcome::Delivered {
                    outcomes[*position] = Some(outcome);
                }
            }
            return Ok(found);
        }
        let service = &self.sender.service;
        let field = self.match_field.as_deref().unwrap_or_default();
        let items = lookup.found(&asked, &answer, field, service)?;
        for (position, item) in prepared.held.iter().zip(items) {
            found[*position] = item;
        }
        Ok(found)
    }

    fn drawn(&self, batch: &Batch) -> Result<Vec<String>, Reason> {
        let (object, steps) = self.spec(batch.operation).map_err(|f| f.reason().clone())?;
        let shared = shared_of(batch, &self.object, self.match_field.as_ref());
        let scope = Scope::new(&self.settings, &shared);
        let mut lines = Vec::new();
        let records: Vec<Value> = batch
            .records
            .iter()
            .map(|of| record(of, batch, object, None))
            .collect();
        let mut draw = |preparation: Preparation| {
            lines.extend(preparation.request.iter().map(|r| self.sender.curl(r)));
            for (position, reason) in &preparation.failed {
                let key = &batch.records[*position].key;
                lines.push(format!("# not sent, {key}: {reason}"));
            }
        };
        if steps.looks_up()
            && let Some(lookup) = &object.lookup
        {
            draw(
                lookup
                    .call
                    .prepare(&scope, &records, &self.target(None))?,
            );
        }
        if steps.looks_up() {
            // What it will find decides the rest.
            lines.extend(steps.calls().map(|call| format!("# then {}", call.outline())));
            return Ok(lines);
        }
        let key = Some(batch.idempotency_key());
        for call in steps.calls() {
            draw(call.prepare(&scope, &records, &self.target(key.clone()))?);
        }
        Ok(lines)
    }
}

/// A batch's names, with the object that a sync may leave out.
fn shared_of(batch: &Batch, object: &Name, match_field: Option<&Name>) -> Object {
    let mut shared = shared(batch, match_field);
    shared[0].1 = Value::from(&**object);
    shared
}

/// A fault of a request that only reads: nothing was written.
fn unwritten(fault: Fault) -> Fault {
    match fault {
        Fault::Transient { after, reason, .. } => Fault::Transient {
            after,
            applied: Applied::No,
            reason,
        },
        Fault::Fatal { reason, .. } => Fault::fatal(reason),
        split @ Fault::Split { .. } => split,
    }
}

fn now_ms() -> u64 {
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

/// How long to wait when an answer says that nothing is left of the rate.
fn exhausted(headers: &RateHeaders, answer: &Answer) -> Option<Duration> {
    let number = |name| -> Option<f64> {
        let text = answer.headers.get(name)?.to_str().ok()?;
        // Some list several windows: the first is the shortest.
        text.split([',', ';']).next()?.trim().parse().ok()
    };
    if number(&headers.remaining)? >= 1.0 {
        return None;
    }
    let reset = number(&headers.reset)?.max(0.0);
    let seconds = match headers.unit {
        ResetUnit::Seconds => reset,
        ResetUnit::Milliseconds => reset / 1_000.0,
        ResetUnit::Epoch => reset - now_ms() as f64 / 1_000.0,
    };
    Duration::try_from_secs_f64(seconds.clamp(0.0, 24.0 * 3_600.0)).ok()
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

impl std::fmt::Debug for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Described")
            .field("manifest", &self.manifest.name)
            .finish_non_exhaustive()
    }
}

impl Destination for Described {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let (mut checks, connected) = self.sender.check_connection(&self.root).await;
            let Some((path, expect)) = &self.manifest.connect.check else {
                let why = "not called: the service has no request that changes nothing";
                checks.push(Check::skipped("account", why));
                return checks;
            };
            if !connected {
                checks.push(Check::skipped("account", "the connection must work first"));
                return checks;
            }
            checks.push(self.check_account(path, *expect).await);
            checks
        })
    }

    fn discover(
        &self,
    ) -> BoxFuture<'_, Result<Vec<rowcast_core::destination::ObjectSchema>, Fault>> {
        Box::pin(async { Ok(super::describe::schemas(&self.manifest)) })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            let most = self.capabilities.records_max(batch.operation);
            if batch.records.len() > most {
                return Err(Fault::Split {
                    reason: Reason::new(
                        Code::RecordTooLarge,
                        format!("a request holds at most {most} records"),
                    ),
                });
            }
            self.deliver(batch).await
        })
    }

    fn resumes_in(&self) -> Option<Duration> {
        let until = self.resumes_ms.load(Ordering::Relaxed);
        let wait = until.checked_sub(now_ms()).filter(|wait| *wait > 0)?;
        Some(Duration::from_millis(wait))
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        self.drawn(batch)
            .unwrap_or_else(|reason| vec![format!("# can't be sent: {reason}")])
    }
}

impl Described {
    async fn check_account(&self, path: &Template, expect: u16) -> Check {
        let nothing = Object::new();
        let scope = Scope::new(&self.settings, &nothing);
        let prepared = Call::reading_only(path, &scope, &self.target(None));
        let answer = match prepared {
            Ok(prepared) => self.sender.send(&prepared, "").await,
            Err(reason) => return Check::failed("account", reason),
        };
        let service = &self.sender.service;
        match answer {
            Ok(answer) if answer.status == expect => {
                Check::passed("account", format!("{} takes the credentials", service.host))
            }
            Ok(answer) if matches!(answer.status, 401 | 403) => {
                Check::failed("account", service.unauthorized(&answer))
            }
            Ok(answer) => {
                let reason = Reason::new(
                    Code::DestinationAnswer,
                    format!("{} answered otherwise than expected", service.host),
                );
                Check::failed("account", reason.detail(service.said(&answer)))
            }
            Err(fault) => Check::failed("account", fault.reason().clone()),
        }
    }
}
