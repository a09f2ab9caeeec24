//! One request of a manifest: made from templates for one record or a batch.
//!
//! Paths stay below the base URL, bodies are trees, and a record whose templates fail is set aside
//! while the others are sent.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use rowcast_core::json::{push_text, push_value, to_text};
use rowcast_core::mapping::template::{Template, percent_encode};
use rowcast_core::settings::parse_size;
use rowcast_core::{Reason, SettingValue, Value};
use url::Url;

use super::body::Node;
use super::read::{Reader, placed, statuses};
use super::scope::Scope;
use super::vocabulary::METHODS;
use crate::http::answer::{Reading, Rule};
use crate::http::auth::Auth;
use crate::http::outcomes::Outcomes;
use crate::http::request::{Prepared, below, header_value, put};
use crate::http::service::Service;

/// How one request is made and its answer read.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(HeaderName, Template)>,
    body: Body,
    pub(super) records_max: usize,
    pub(super) bytes_max: Option<usize>,
    accept: Vec<u16>,
    told_at: Vec<u16>,
    outcomes: Option<Outcomes>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
enum Body {
    None,
    Json(Node),
    Form(Node),
}

/// What an operation takes: one call, or one of two after a lookup.
#[derive(Debug)]
pub(super) enum Steps {
    One {
        call: Box<Call>,
        look_up: bool,
    },
    ByLookup {
        found: Box<Call>,
        missing: Box<Call>,
    },
}

/// A batch turned into at most one request.
pub(super) struct Preparation {
    pub(super) request: Option<Prepared>,
    /// Positions among the given records, with why each can't be sent.
    pub(super) failed: Vec<(usize, Reason)>,
}

impl Steps {
    /// Reads an operation.
    pub(super) fn read(
        value: &SettingValue,
        has_lookup: bool,
        rules: &[Rule],
        reader: &mut Reader<'_>,
        path: &str,
    ) -> Option<Self> {
        let look_up = value.get("look_up").and_then(SettingValue::as_bool) == Some(true);
        let branches = (value.get("found"), value.get("missing"));
        let wants_lookup = look_up || branches.0.is_some() || branches.1.is_some();
        if wants_lookup && !has_lookup {
            reader.wrong(
                path,
                "the object has no lookup",
                "describe one beside operations:",
            );
            return None;
        }
        match branches {
            (None, None) => {
                let call = Call::read(value, rules, reader, path)?;
                if call.names("found") && !look_up {
                    reader.wrong(path, "record.found needs a lookup", "add look_up: true");
                }
                Some(Self::One {
                    call: Box::new(call),
                    look_up,
                })
            }
            (Some(found), Some(missing)) => {
                if METHODS.iter().any(|method| value.get(method).is_some()) {
                    reader.wrong(
                        path,
                        "found and missing stand in the place of a request",
                        "remove the method beside them",
                    );
                }
                let found = Call::read(found, rules, reader, &format!("{path}.found"))?;
                let missing = Call::read(missing, rules, reader, &format!("{path}.missing"))?;
                if found.records_max > 1 || missing.records_max > 1 {
                    reader.wrong(
                        path,
                        "a choice by lookup is made for one record",
                        "remove batch: from found and missing",
                    );
                }
                Some(Self::ByLookup {
                    found: Box::new(found),
                    missing: Box::new(missing),
                })
            }
            _ => {
                reader.wrong(
                    path,
                    "found and missing go together",
                    "say what is asked for in both cases",
                );
                None
            }
        }
    }

    /// The calls in it.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        let (first, second) = match self {
            Self::One { call, .. } => (call, None),
            Self::ByLookup { found, missing } => (found, Some(missing.as_ref())),
        };
        std::iter::once(first.as_ref()).chain(second)
    }

    /// Whether records are looked up first.
    pub(super) fn looks_up(&self) -> bool {
        match self {
            Self::One { look_up, .. } => *look_up,
            Self::ByLookup { .. } => true,
        }
    }

    /// Most records in one write.
    pub(super) fn records_max(&self) -> usize {
        self.calls().map(|call| call.records_max).min().unwrap_or(1)
    }
}

impl Call {
    /// Reads a call, whose shape has been checked.
    pub(super) fn read(
        value: &SettingValue,
        rules: &[Rule],
        reader: &mut Reader<'_>,
        path: &str,
    ) -> Option<Self> {
        let mut given = METHODS
            .iter()
            .filter_map(|method| Some((*method, value.get(method)?.as_text()?)));
        let (Some((method, target)), None) = (given.next(), given.next()) else {
            reader.wrong(
                path,
                &format!("exactly one of {} is needed", METHODS.join(", ")),
                "for example post: /v1/contacts",
            );
            return None;
        };
        if !target.starts_with('/') {
            reader.wrong(
                &format!("{path}.{method}"),
                "a path begins with /",
                "the host comes from connect.base_url",
            );
            return None;
        }
        let target = reader.template(target, &format!("{path}.{method}"))?;
        let body = match (value.get("body"), value.get("form")) {
            (Some(_), Some(_)) => {
                reader.wrong(path, "body and form exclude each other", "keep one of them");
                return None;
            }
            (Some(tree), None) => Body::Json(node(tree, reader, &format!("{path}.body"))?),
            (None, Some(tree)) => Body::Form(node(tree, reader, &format!("{path}.form"))?),
            (None, None) => Body::None,
        };
        let mut own = reader.rules(value.get("answers"), &format!("{path}.answers"));
        own.extend(rules.iter().cloned());
        let outcomes = value.get("outcomes");
        let batch = value.get("batch");
        let number = |name| batch.and_then(|batch| batch.get(name));
        let call = Self {
            method: method.to_uppercase().parse().unwrap_or(Method::POST),
            path: target,
            query: texts(value.get("query"), reader, &format!("{path}.query")),
            headers: headers(value.get("headers"), reader, &format!("{path}.headers")),
            body,
            records_max: number("max_records")
                .and_then(SettingValue::as_u64)
                .map_or(1, |most| usize::try_from(most).unwrap_or(1).max(1)),
            bytes_max: number("max_bytes")
                .and_then(SettingValue::as_text)
                .and_then(parse_size)
                .and_then(|bytes| usize::try_from(bytes).ok()),
            accept: statuses(value.get("accept")),
            told_at: outcomes
                .map(|outcomes| statuses(outcomes.get("told_at")))
                .unwrap_or_default(),
            outcomes: outcomes.and_then(|value| {
                Outcomes::parse(value, &format!("{path}.outcomes"), reader.problems)
            }),
            rules: own,
        };
        if call.records_max > 1 && !call.takes_many() {
            reader.wrong(
                &format!("{path}.batch"),
                "the request has no place for many records",
                "put the part that repeats under each_record:, and name record only there",
            );
        }
        Some(call)
    }

    fn takes_many(&self) -> bool {
        let in_line =
            |template: &Template| template.columns().iter().any(|name| &**name == "record");
        let query = self.query.iter().map(|(_, template)| template);
        let headers = self.headers.iter().map(|(_, template)| template);
        let lines = std::iter::once(&self.path).chain(query).chain(headers);
        let body = match &self.body {
            Body::Json(node) => node.lists_records() && !node.names_one_record(),
            Body::None | Body::Form(_) => false,
        };
        body && !lines.into_iter().any(in_line)
    }

    /// Whether a template reads this member of a record.
    fn names(&self, member: &str) -> bool {
        let wanted = format!("record.{member}");
        self.path.source().contains(&wanted)
    }

    /// What is known about its answers.
    pub(super) fn reading<'a>(&'a self, service: &'a Service) -> Reading<'a> {
        Reading {
            service,
            outcomes: self.outcomes.as_ref(),
            accept: &self.accept,
            told_at: &self.told_at,
            rules: &self.rules,
            one_url: false,
        }
    }

    /// The method and the path as the manifest writes them.
    pub(super) fn outline(&self) -> String {
        format!("{} {}", self.method, self.path.source())
    }

    /// Most records in one request.
    pub(super) fn most(&self) -> usize {
        self.records_max
    }

    /// Statuses that count as delivered, or as nothing found.
    pub(super) fn accepts(&self, status: u16) -> bool {
        self.accept.contains(&status)
    }

    /// Makes the request for records. `common` are the headers of every request.
    ///
    /// # Errors
    /// Why none of them can be sent.
    pub(super) fn prepare(
        &self,
        scope: &Scope<'_>,
        records: &[Value],
        target: &Target<'_>,
    ) -> Result<Preparation, Reason> {
        let alone = match records {
            [record] => Some(record),
            _ => None,
        };
        let made = self.made(
            &alone.map_or_else(|| scope.same(), |record| scope.of(record)),
            records,
            target,
        );
        match made {
            Ok(preparation) => Ok(preparation),
            Err(reason) if alone.is_some() => Ok(Preparation {
                request: None,
                failed: vec![(0, reason)],
            }),
            Err(reason) => Err(reason),
        }
    }

    /// A request that only asks.
    ///
    /// # Errors
    /// The path can't be made.
    pub(super) fn reading_only(
        path: &Template,
        scope: &Scope<'_>,
        target: &Target<'_>,
    ) -> Result<Prepared, Reason> {
        let mut url = below(target.root, &path.evaluate_url_path(scope)?)?;
        let mut shown = String::new();
        target.auth.push_query(&mut url, &mut shown);
        Ok(Prepared {
            method: Method::GET,
            url,
            shown_url: shown,
            headers: common(scope, target)?,
            body: None,
            held: Vec::new(),
        })
    }

    fn made(
        &self,
        scope: &Scope<'_>,
        records: &[Value],
        target: &Target<'_>,
    ) -> Result<Preparation, Reason> {
        let mut failed = Vec::new();
        let mut headers = Vec::new();
        let body = match &self.body {
            Body::None => None,
            Body::Json(node) => {
                let made = node.make(scope, records)?;
                failed = made.failed;
                let json = HeaderValue::from_static("application/json");
                headers.push((CONTENT_TYPE, json));
                let mut text = String::new();
                push_value(&mut text, &made.value);
                Some(text)
            }
            Body::Form(node) => {
                let made = node.make(scope, records)?;
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.push((CONTENT_TYPE, form));
                Some(form_text(&made.value))
            }
        };
        if !failed.is_empty() && failed.len() == records.len() {
            return Ok(Preparation {
                request: None,
                failed,
            });
        }
        let mut path = self.path.evaluate_url_path(scope)?;
        for (position, (name, template)) in self.query.iter().enumerate() {
            path.push(if position == 0 { '?' } else { '&' });
            percent_encode(name, &mut path);
            path.push('=');
            percent_encode(&line(template, scope)?, &mut path);
        }
        let mut url = match path.as_str() {
            // The base URL itself, without a slash that it does not have.
            "/" => target.root.clone(),
            path => below(target.root, path)?,
        };
        let mut shown = if target.secret_root {
            format!("***{path}")
        } else {
            url.to_string()
        };
        target.auth.push_query(&mut url, &mut shown);
        for (name, value) in common(scope, target)? {
            let secret = value.is_sensitive();
            put(&mut headers, name, value, secret);
        }
        for (name, template) in &self.headers {
            let value = header_value(name, &line(template, scope)?)?;
            put(&mut headers, name.clone(), value, false);
        }
        let held = (0..records.len())
            .filter(|position| failed.iter().all(|(other, _)| other != position))
            .collect();
        Ok(Preparation {
            request: Some(Prepared {
                method: self.method.clone(),
                url,
                shown_url: shown,
                headers,
                body: body.map(Bytes::from),
                held,
            }),
            failed,
        })
    }
}

/// Headers of every request.
fn common(
    scope: &Scope<'_>,
    target: &Target<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Reason> {
    let mut headers = Vec::new();
    for (name, template) in target.headers {
        let value = header_value(name, &line(template, scope)?)?;
        put(&mut headers, name.clone(), value, false);
    }
    if let Some((name, key)) = &target.idempotency {
        put(&mut headers, name.clone(), header_value(name, key)?, false);
    }
    if let Auth::Header(name, value) = target.auth {
        put(&mut headers, name.clone(), value.clone(), true);
    }
    Ok(headers)
}

fn line(template: &Template, scope: &Scope<'_>) -> Result<String, Reason> {
    template.render(scope, &|value, out| {
        push_text(out, value);
        Ok(())
    })
}

/// Where requests go and what all of them carry.
pub(super) struct Target<'a> {
    pub(super) root: &'a Url,
    /// Whether the root itself must not be shown.
    pub(super) secret_root: bool,
    pub(super) auth: &'a Auth,
    pub(super) headers: &'a [(HeaderName, Template)],
    pub(super) idempotency: Option<(HeaderName, String)>,
}

fn node(tree: &SettingValue, reader: &mut Reader<'_>, path: &str) -> Option<Node> {
    reader.settings_named_below(tree, path);
    match Node::compile(tree) {
        Ok(node) => {
            let mut names = Vec::new();
            node.names(&mut names);
            reader.known(&names, path);
            Some(node)
        }
        Err(reason) => {
            reader.problems.push(path, placed(reason, path));
            None
        }
    }
}

fn texts(
    value: Option<&SettingValue>,
    reader: &mut Reader<'_>,
    path: &str,
) -> Vec<(String, Template)> {
    let mut all = Vec::new();
    for (name, value) in value.map_or(&[][..], SettingValue::members) {
        let text = match value {
            SettingValue::Bool(value) => value.to_string(),
            value => value.as_text().unwrap_or_default().to_owned(),
        };
        if let Some(template) = reader.template(&text, &format!("{path}.{name}")) {
            all.push((name.clone(), template));
        }
    }
    all
}

/// Headers of a call or of the connection.
pub(super) fn headers(
    value: Option<&SettingValue>,
    reader: &mut Reader<'_>,
    path: &str,
) -> Vec<(HeaderName, Template)> {
    let mut headers = Vec::new();
    for (name, template) in texts(value, reader, path) {
        match crate::http::config::header_name(&name) {
            Ok(header) => headers.push((header, template)),
            Err((message, hint)) => reader.wrong(&format!("{path}.{name}"), message, hint),
        }
    }
    headers
}

/// Members as `name=value&…`; lists and mappings are written as JSON.
fn form_text(value: &Value) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    if let Value::Object(members) = value {
        for (name, value) in members {
            form.append_pair(name, &to_text(value));
        }
    }
    form.finish()
}
