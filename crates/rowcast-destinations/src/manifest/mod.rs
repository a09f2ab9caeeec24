//! Connectors as data: one HTTP API is one manifest with its fixtures, and no Rust.
//!
//! `vocabulary` says which words there are, `read` what is wrong with their use; `object`, `call`,
//! `body` and `lookup` are what a manifest is made of, `destination` runs it with the parts of the
//! `http` connector, `fixture` proves it against recorded exchanges. No request may leave the hosts
//! that a manifest declares, and a manifest can neither loop nor read anything but its record.

mod body;
mod built_in;
mod call;
mod describe;
mod destination;
pub mod fixture;
mod lookup;
mod object;
mod open;
mod page;
mod read;
mod scope;
mod vocabulary;

use std::time::Duration;

use reqwest::header::HeaderName;
use rowcast_core::destination::Rate;
use rowcast_core::mapping::template::Template;
use rowcast_core::settings::parse_duration;
use rowcast_core::{Descriptor, SettingValue, Value};

use self::call::headers;
use self::object::{ObjectSpec, text};
use self::read::Reader;
use crate::settings::{Problems, SettingProblem};

pub use self::built_in::{BuiltIn, built_in};
pub use self::describe::{endpoint_help, place};
pub(crate) use self::describe::{keep, keep_list};
pub use self::fixture::missing_stories;
pub use self::open::{build, build_for_check};
pub use self::page::reference_markdown;
pub use self::vocabulary::{fixture_vocabulary, manifest_vocabulary};

/// The setting every connector of this kind has: another origin for the service.
pub(crate) const ENDPOINT: &str = "endpoint";

/// A connector that is data.
#[derive(Debug)]
pub struct Manifest {
    name: String,
    title: String,
    summary: String,
    category: String,
    docs: String,
    tried: bool,
    hosts: Vec<String>,
    settings: Vec<SettingSpec>,
    connect: Connect,
    objects: Vec<ObjectSpec>,
    descriptor: Descriptor,
}

/// A setting that a destination of the connector is asked for.
#[derive(Debug)]
pub(crate) struct SettingSpec {
    name: String,
    kind: SpecKind,
    required: bool,
    default: Option<Value>,
    help: String,
    example: Option<String>,
    place: bool,
}

#[derive(Debug, PartialEq)]
enum SpecKind {
    Text,
    Secret,
    /// Words, and what each stands for.
    Choice(Vec<(String, String)>),
    Integer,
    Boolean,
}

/// How the service is reached.
#[derive(Debug)]
struct Connect {
    base_url: Template,
    /// As the `http` connector reads it, with templates in place of values.
    auth: Option<SettingValue>,
    headers: Vec<(HeaderName, Template)>,
    check: Option<(Template, u16)>,
    rate: Option<Rate>,
    quota: Option<Rate>,
    concurrency: usize,
    timeout: Duration,
    idempotency_header: Option<HeaderName>,
    rate_headers: Option<RateHeaders>,
}

/// Headers that say what is left of the rate.
#[derive(Debug, Clone)]
struct RateHeaders {
    remaining: HeaderName,
    reset: HeaderName,
    unit: ResetUnit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResetUnit {
    Seconds,
    Milliseconds,
    Epoch,
}

/// Most requests in flight together when a manifest does not say.
const CONCURRENCY: usize = 4;
/// How long an answer may take when a manifest does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Manifest {
    /// Reads a manifest from its tree.
    ///
    /// # Errors
    /// Every problem, with the path of the key.
    pub fn read(tree: &SettingValue) -> Result<Self, Vec<SettingProblem>> {
        let mut problems = Problems::default();
        problems.check_tree(&manifest_vocabulary(), tree);
        if !problems.is_empty() {
            return Err(problems.into_vec());
        }
        let manifest = Self::read_checked(tree, &mut problems);
        match manifest {
            Some(manifest) if problems.is_empty() => Ok(manifest),
            _ => Err(problems.into_vec()),
        }
    }

    fn read_checked(tree: &SettingValue, problems: &mut Problems) -> Option<Self> {
        let settings: Vec<SettingSpec> = tree
            .get("settings")
            .map_or(&[][..], SettingValue::members)
            .iter()
            .map(|(name, value)| SettingSpec::read(name, value, problems))
            .collect();
        let mut names: Vec<String> = settings.iter().map(|spec| spec.name.clone()).collect();
        names.push(ENDPOINT.to_owned());
        let mut reader = Reader {
            settings: &names,
            problems,
        };
        let connect = Connect::read(tree.get("connect")?, &mut reader)?;
        let rules = reader.rules(tree.get("answers"), "answers");
        let objects: Vec<ObjectSpec> = tree
            .get("objects")
            .map_or(&[][..], SettingValue::members)
            .iter()
            .map(|(name, value)| {
                ObjectSpec::read(name, value, &rules, &mut reader, &format!("objects.{name}"))
            })
            .collect();
        if objects.is_empty() {
            reader.wrong("objects", "there is none", "describe what can be written");
        }
        for object in objects.iter().filter(|object| object.operations.is_empty()) {
            let path = format!("objects.{}.operations", object.name);
            reader.wrong(
                &path,
                "there is none",
                "describe insert, update, upsert or delete",
            );
        }
        let hosts: Vec<String> = tree
            .get("hosts")
            .map_or(&[][..], SettingValue::items)
            .iter()
            .filter_map(|host| host.as_text().map(str::to_ascii_lowercase))
            .collect();
        let word = |name| text(tree, name).unwrap_or_default();
        let mut manifest = Self {
            name: word("connector"),
            title: word("title"),
            summary: word("summary"),
            category: word("category"),
            docs: word("docs"),
            tried: word("status") == "tried",
            hosts,
            settings,
            connect,
            objects,
            descriptor: describe::empty(),
        };
        manifest.descriptor = describe::descriptor(&manifest);
        Some(manifest)
    }

    /// The word after `connector:`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The service's own documentation.
    pub fn docs(&self) -> &str {
        &self.docs
    }

    /// What kind of service it is; may be empty.
    pub fn category(&self) -> &str {
        &self.category
    }

    /// Whether it was tried against the real service, not only against its fixtures.
    pub fn is_tried(&self) -> bool {
        self.tried
    }

    /// The only hosts that requests go to.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// What it says of itself, as every connector does.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The object of a name; the only one there is when the name is empty.
    fn object(&self, name: &str) -> Option<&ObjectSpec> {
        if name.is_empty() {
            return match self.objects.as_slice() {
                [only] if only.name != "*" => Some(only),
                _ => None,
            };
        }
        let named = |wanted: &str| self.objects.iter().find(|object| object.name == wanted);
        named(name).or_else(|| named("*"))
    }

    /// Whether a host is one of those declared.
    fn declares(&self, host: &str) -> bool {
        self.hosts
            .iter()
            .any(|declared| match declared.strip_prefix("*.") {
                Some(parent) => host
                    .strip_suffix(parent)
                    .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
                None => declared == host,
            })
    }
}

impl SettingSpec {
    fn read(name: &str, value: &SettingValue, problems: &mut Problems) -> Self {
        let path = format!("settings.{name}");
        if name == ENDPOINT {
            problems.add(
                &*path,
                "every connector has this setting already",
                "choose another name",
            );
        }
        let choices = value.get("choices");
        let kind = match text(value, "type").as_deref() {
            Some("secret") => SpecKind::Secret,
            Some("integer") => SpecKind::Integer,
            Some("boolean") => SpecKind::Boolean,
            Some("choice") => SpecKind::Choice(match choices {
                Some(SettingValue::Map(members)) => members
                    .iter()
                    .map(|(word, value)| {
                        let stands_for = value.as_text().unwrap_or_default();
                        (word.clone(), stands_for.to_owned())
                    })
                    .collect(),
                Some(list) => list
                    .items()
                    .iter()
                    .filter_map(SettingValue::as_text)
                    .map(|word| (word.to_owned(), word.to_owned()))
                    .collect(),
                None => {
                    problems.add(&*path, "a choice needs choices", "add choices: [a, b]");
                    Vec::new()
                }
            }),
            _ => SpecKind::Text,
        };
        if choices.is_some() && !matches!(kind, SpecKind::Choice(_)) {
            problems.add(&*path, "only a choice has choices", "write type: choice");
        }
        Self {
            name: name.to_owned(),
            kind,
            required: value.get("required").and_then(SettingValue::as_bool) == Some(true),
            default: value.get("default").map(body::plain),
            help: text(value, "help").unwrap_or_default(),
            example: text(value, "example"),
            place: value.get("place").and_then(SettingValue::as_bool) == Some(true),
        }
    }

    fn is_secret(&self) -> bool {
        self.kind == SpecKind::Secret
    }
}

impl Connect {
    fn read(value: &SettingValue, reader: &mut Reader<'_>) -> Option<Self> {
        let base = text(value, "base_url")?;
        let base_url = reader.template(&base, "connect.base_url")?;
        let auth = value.get("auth").cloned();
        if let Some(auth) = &auth {
            reader.settings_named_below(auth, "connect.auth");
        }
        let mut header = |name: Option<&SettingValue>, path: &str| {
            let name = name.and_then(SettingValue::as_text)?;
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
            if parsed.is_none() {
                reader.wrong(
                    path,
                    "this is not the name of a header",
                    "look at the spelling",
                );
            }
            parsed
        };
        let idempotency_header = header(
            value.get("idempotency_header"),
            "connect.idempotency_header",
        );
        let rate_headers = value.get("rate_headers").and_then(|headers| {
            Some(RateHeaders {
                remaining: header(headers.get("remaining"), "connect.rate_headers.remaining")?,
                reset: header(headers.get("reset"), "connect.rate_headers.reset")?,
                unit: match headers.get("reset_in").and_then(SettingValue::as_text) {
                    Some("milliseconds") => ResetUnit::Milliseconds,
                    Some("epoch") => ResetUnit::Epoch,
                    _ => ResetUnit::Seconds,
                },
            })
        });
        let check = value.get("check").and_then(|check| {
            let path = check.get("get")?.as_text()?;
            let template = reader.template(path, "connect.check.get")?;
            let expect = check.get("expect").and_then(SettingValue::as_u64);
            Some((template, expect.map_or(200, |status| status as u16)))
        });
        let rate = |name| {
            let rate: &SettingValue = value.get(name)?;
            Some(Rate {
                requests: u32::try_from(rate.get("requests")?.as_u64()?).ok()?,
                per: parse_duration(rate.get("per")?.as_text()?)?,
            })
        };
        Some(Self {
            base_url,
            auth,
            headers: headers(value.get("headers"), reader, "connect.headers"),
            check,
            rate: rate("rate"),
            quota: rate("quota"),
            concurrency: value
                .get("concurrency")
                .and_then(SettingValue::as_u64)
                .map_or(CONCURRENCY, |most| most.clamp(1, 1_000) as usize),
            timeout: text(value, "timeout")
                .and_then(|text| parse_duration(&text))
                .unwrap_or(TIMEOUT),
            idempotency_header,
            rate_headers,
        })
    }
}
