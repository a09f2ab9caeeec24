//! The `http` connector's settings, read once: what is sent where, for each operation.

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use rowcast_core::mapping::template::is_template;
use rowcast_core::record::Operation;
use rowcast_core::{DestinationConfig, Secret, SettingValue};
use url::Url;

use super::answer::Reading;
use super::auth::Auth;
use super::body::{Format, Shape};
use super::descriptor::METHODS;
use super::line::{self, Line};
use super::outcomes::Outcomes;
use super::service::Service;
use crate::settings::Problems;

/// Parts of secrets shorter than this are left in what services say: `v1` or `api` tell nothing, and
/// masking them would make words unreadable. Tokens are longer.
pub(super) const SECRET_PART_MIN: usize = 8;

/// Headers that belong to the connection or to the engine.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Everything a request is made from.
#[derive(Debug)]
pub(super) struct Settings {
    /// The URL, or the base of all paths.
    pub(super) root: Url,
    /// Whether the URL itself must not be shown.
    pub(super) secret_url: bool,
    pub(super) format: Format,
    pub(super) outcomes: Option<Outcomes>,
    pub(super) calls: Vec<(Operation, Call)>,
}

/// How one operation is asked for.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Below the root; `None` for the root itself (`url:`).
    pub(super) path: Option<Line>,
    pub(super) headers: Vec<(HeaderName, Line)>,
    pub(super) shape: Shape,
    /// Statuses that count as delivered besides 2xx.
    pub(super) accept: Vec<u16>,
}

impl Call {
    /// Whether neither path nor headers are made from templates.
    pub(super) fn is_fixed(&self) -> bool {
        !self.lines().any(Line::is_template)
    }

    /// Whether the path or a header differs by record.
    pub(super) fn names_record(&self) -> bool {
        self.lines().any(Line::names_record)
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        let headers = self.headers.iter().map(|(_, line)| line);
        self.path.iter().chain(headers)
    }
}

impl Settings {
    /// Whether requests and answers ask for nothing but the JSON text of records.
    pub(super) fn takes_json(&self) -> bool {
        let by_text = |call: &Call| {
            !call.names_record() && matches!(call.shape, Shape::Record | Shape::Fields)
        };
        self.format != Format::Form
            && !self.outcomes.as_ref().is_some_and(Outcomes::reads_values)
            && self.calls.iter().all(|(_, call)| by_text(call))
    }

    /// The call of an operation.
    pub(super) fn call(&self, operation: Operation) -> Option<&Call> {
        self.calls
            .iter()
            .find(|(o, _)| *o == operation)
            .map(|(_, call)| call)
    }

    /// What is known about the answers to a call.
    pub(super) fn reading<'a>(&'a self, service: &'a Service, call: &'a Call) -> Reading<'a> {
        Reading {
            service,
            outcomes: self.outcomes.as_ref(),
            accept: &call.accept,
            told_at: &[],
            rules: &[],
            one_url: call.path.is_none(),
        }
    }

    /// Reads settings whose shape has been checked: what requests are made from, whom they go to
    /// and who sends them.
    pub(super) fn parse(
        config: &DestinationConfig,
        problems: &mut Problems,
    ) -> Option<(Self, Service, Auth)> {
        let settings = &config.settings;
        let mut secrets = Vec::new();
        let (path, root, single) = match (settings.get("url"), settings.get("base_url")) {
            (Some(url), None) => ("settings.url", url, true),
            (None, Some(base)) => ("settings.base_url", base, false),
            _ => {
                problems.add(
                    "settings.url",
                    "exactly one of url and base_url is needed",
                    "url: receives every operation by POST; base_url: takes its paths from the sync's request:",
                );
                return None;
            }
        };
        let Root {
            url: root,
            secret: secret_url,
            host,
        } = Root::parse(root, path, problems, &mut secrets)?;
        let auth = Auth::parse(settings.get("auth"), problems, &mut secrets);
        let headers = headers(
            settings.get("headers"),
            "settings.headers",
            problems,
            &mut secrets,
        );
        let shape = shape(
            settings.get("body"),
            "settings.body",
            problems,
            &mut secrets,
        )
        .unwrap_or(Shape::Record);
        let format = format(settings.get("format"), config.batch_records.is_some());
        let outcomes = settings
            .get("outcomes")
            .and_then(|value| Outcomes::parse(value, "settings.outcomes", problems));
        let calls = if single {
            if config.request != SettingValue::Null {
                problems.add(
                    "request",
                    "a destination with url: takes no request:",
                    "give the destination a base_url: in place of url:, or remove request:",
                );
            }
            single_calls(config, headers, shape, problems)
        } else {
            base_calls(config, &headers, &shape, problems, &mut secrets)
        };
        let batched = config.batch_records.is_some_and(|records| records > 1);
        if batched && format == Format::Form {
            problems.add(
                "settings.format",
                "a form holds one record",
                "remove batch: from the destination, or choose array, ndjson or wrap",
            );
        }
        for (operation, call) in &calls {
            if batched && (call.names_record() || matches!(call.shape, Shape::None)) {
                problems.add(
                    format!("request.{operation}"),
                    "records can't share this request: its path, its headers or its missing body belong to one record",
                    "remove batch: from the destination, or send the batch to a path without record",
                );
            }
        }
        let settings = Self {
            root,
            secret_url,
            format,
            outcomes,
            calls,
        };
        Some((settings, Service { host, secrets }, auth))
    }
}

/// A URL that requests go to or below, as settings give it.
pub(crate) struct Root {
    pub(crate) url: Url,
    /// It came from a secret, and is not shown.
    pub(crate) secret: bool,
    /// The host as it may be shown.
    pub(crate) host: String,
}

impl Root {
    /// Reads a URL; adds what is secret in it to `secrets`.
    pub(crate) fn parse(
        value: &SettingValue,
        path: &str,
        problems: &mut Problems,
        secrets: &mut Vec<Secret<String>>,
    ) -> Option<Self> {
        let secret = matches!(value, SettingValue::Secret(_));
        let text = value.as_secret()?;
        let url = parse_url(text.reveal(), path, problems)?;
        if secret {
            secrets.push(text);
            secrets.extend(secret_parts(&url));
        }
        let host = if secret {
            "***".to_owned()
        } else {
            url.host_str().unwrap_or_default().to_owned()
        };
        Some(Self { url, secret, host })
    }
}

/// A URL that requests can go to.
pub(crate) fn parse_url(text: &str, path: &str, problems: &mut Problems) -> Option<Url> {
    let Ok(mut url) = Url::parse(text.trim()) else {
        problems.add(
            path,
            "this is not a URL",
            "write it whole: https://api.example.com/v1",
        );
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        problems.add(
            path,
            "only http and https URLs can be sent to",
            "write it whole: https://api.example.com/v1",
        );
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() {
        problems.add(
            path,
            "a URL can't hold a user or a password",
            "use auth: { basic: { user, password } }",
        );
        return None;
    }
    url.set_fragment(None);
    Some(url)
}

fn format(value: Option<&SettingValue>, batched: bool) -> Format {
    match value {
        None if batched => Format::Array,
        None => Format::Single,
        Some(value) => match (value.as_text(), value.get("wrap")) {
            (Some("ndjson"), _) => Format::Ndjson,
            (Some("form"), _) => Format::Form,
            (_, Some(name)) => Format::Wrap(name.as_text().unwrap_or_default().to_owned()),
            _ => Format::Array,
        },
    }
}

fn shape(
    value: Option<&SettingValue>,
    path: &str,
    problems: &mut Problems,
    secrets: &mut Vec<Secret<String>>,
) -> Option<Shape> {
    match value? {
        SettingValue::Text(word) if word == "record" => Some(Shape::Record),
        SettingValue::Text(word) if word == "fields" => Some(Shape::Fields),
        SettingValue::Text(word) if word == "none" => Some(Shape::None),
        SettingValue::Text(word) if !is_template(word) => {
            problems.add(
                path,
                "expected record, fields, none or a tree",
                "for example { email: \"{{ record.fields.email }}\" }",
            );
            None
        }
        tree => match line::tree(tree, secrets) {
            Ok(tree) => Some(Shape::Tree(tree)),
            Err(reason) => {
                problems.push(path, reason);
                None
            }
        },
    }
}

fn headers(
    value: Option<&SettingValue>,
    path: &str,
    problems: &mut Problems,
    secrets: &mut Vec<Secret<String>>,
) -> Vec<(HeaderName, Line)> {
    let mut headers = Vec::new();
    for (name, value) in value.map_or(&[][..], SettingValue::members) {
        let path = format!("{path}.{name}");
        if let SettingValue::Secret(secret) = value {
            secrets.push(secret.clone());
        }
        let name = match header_name(name) {
            Ok(name) => name,
            Err((message, hint)) => {
                problems.add(path, message, hint);
                continue;
            }
        };
        match Line::parse(value) {
            Ok(Line::Fixed(text)) if HeaderValue::from_str(&text).is_err() => {
                not_a_header(path, problems);
            }
            Ok(Line::Secret(secret)) if HeaderValue::from_str(secret.reveal()).is_err() => {
                not_a_header(path, problems);
            }
            Ok(line) => headers.push((name, line)),
            Err(reason) => problems.push(path, reason),
        }
    }
    headers
}

fn not_a_header(path: String, problems: &mut Problems) {
    problems.add(
        path,
        "the value can't be put into a header: it holds a line break or a control character",
        "look at the value or the variable it comes from",
    );
}

/// What must not be shown of a URL that is a secret. Services of the kind "the URL is the password"
/// may quote its path alone, or one part of it: the token of a webhook is a segment or a parameter.
pub(crate) fn secret_parts(url: &Url) -> Vec<Secret<String>> {
    let mut secrets = Vec::new();
    if url.path().len() > 1 {
        secrets.push(Secret::new(url.path().to_owned()));
        let plain = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy();
        secrets.push(Secret::new(plain.into_owned()));
    }
    let segments = url.path().split('/').map(str::to_owned);
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let login = [
        url.username().to_owned(),
        url.password().unwrap_or("").to_owned(),
    ];
    secrets.extend(
        segments
            .chain(values)
            .chain(login)
            .filter(|part| part.len() >= SECRET_PART_MIN)
            .map(Secret::new),
    );
    secrets
}

/// A header that settings may name.
pub(crate) fn header_name(name: &str) -> Result<HeaderName, (&'static str, &'static str)> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        (
            "this is not the name of a header",
            "header names are letters, digits and dashes",
        )
    })?;
    if RESERVED.contains(&header.as_str()) {
        return Err((
            "this header is set by rowcast or by the connection",
            "remove it",
        ));
    }
    Ok(header)
}

/// `url:`: every operation by POST to the same place.
fn single_calls(
    config: &DestinationConfig,
    headers: Vec<(HeaderName, Line)>,
    shape: Shape,
    problems: &mut Problems,
) -> Vec<(Operation, Call)> {
    if matches!(shape, Shape::Fields) && config.mode.operations().contains(&Operation::Delete) {
        problems.add(
            "settings.body",
            "with body: fields a delete can't be told from an upsert",
            "use body: record, or a base_url: with request.delete in the sync",
        );
    }
    Operation::ALL
        .into_iter()
        .map(|operation| {
            let call = Call {
                method: Method::POST,
                path: None,
                headers: headers.clone(),
                shape: shape.clone(),
                accept: Vec::new(),
            };
            (operation, call)
        })
        .collect()
}

/// `base_url:`: a method and a path for each operation of `request:`.
fn base_calls(
    config: &DestinationConfig,
    common: &[(HeaderName, Line)],
    common_shape: &Shape,
    problems: &mut Problems,
    secrets: &mut Vec<Secret<String>>,
) -> Vec<(Operation, Call)> {
    let mut calls = Vec::new();
    for operation in Operation::ALL {
        let Some(value) = config.request.get(operation.as_str()) else {
            continue;
        };
        let place = format!("request.{operation}");
        let mut given = METHODS
            .iter()
            .filter_map(|method| value.get(method).map(|path| (*method, path)));
        let (Some((method, path)), None) = (given.next(), given.next()) else {
            problems.add(
                place,
                format!("exactly one of {} is needed", METHODS.join(", ")),
                "for example { put: \"/customers/{{ record.key.id }}\" }",
            );
            continue;
        };
        let path = match Line::parse(path) {
            Ok(line) if !line.begins_with_slash() => {
                path_must_begin(&place, method, problems);
                continue;
            }
            Ok(line) => line,
            Err(reason) => {
                problems.push(format!("{place}.{method}"), reason);
                continue;
            }
        };
        let bodiless = matches!(method, "get" | "delete");
        let given_shape = shape(
            value.get("body"),
            &format!("{place}.body"),
            problems,
            secrets,
        );
        let own = headers(
            value.get("headers"),
            &format!("{place}.headers"),
            problems,
            secrets,
        );
        let mut all = common.to_vec();
        all.retain(|(name, _)| own.iter().all(|(other, _)| other != name));
        all.extend(own);
        calls.push((
            operation,
            Call {
                method: method.to_uppercase().parse().unwrap_or(Method::POST),
                path: Some(path),
                headers: all,
                shape: given_shape.unwrap_or_else(|| {
                    if bodiless {
                        Shape::None
                    } else {
                        common_shape.clone()
                    }
                }),
                accept: accept(value.get("accept"), &place, problems),
            },
        ));
    }
    calls
}

fn path_must_begin(place: &str, method: &str, problems: &mut Problems) {
    problems.add(
        format!("{place}.{method}"),
        "a path begins with /",
        "the host comes from base_url: and can't be changed by a path",
    );
}

fn accept(value: Option<&SettingValue>, place: &str, problems: &mut Problems) -> Vec<u16> {
    let mut statuses = Vec::new();
    for item in value.map_or(&[][..], SettingValue::items) {
        match item.as_text().and_then(|text| text.parse().ok()) {
            Some(status @ 400..=499) if !matches!(status, 401 | 403 | 408 | 429) => {
                statuses.push(status);
            }
            _ => problems.add(
                format!("{place}.accept"),
                "only statuses from 400 to 499 can count as delivered, and not 401, 403, 408 or 429",
                "name the statuses by which the service says that nothing is left to do, such as 404 for a delete",
            ),
        }
    }
    statuses
}
