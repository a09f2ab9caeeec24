//! From a batch to the exact request: URL, headers, bytes.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use rowcast_core::record::Batch;
use rowcast_core::{Code, Reason, Value};
use url::Url;

use super::auth::Auth;
use super::body::{Format, Shape, scope};
use super::config::{Call, Settings};

/// A request before it is signed and sent.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The URL as it may be shown.
    pub(crate) shown_url: String,
    /// Secret values are marked sensitive.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Bytes>,
    /// Positions in the batch of the records it holds.
    pub(crate) held: Vec<usize>,
}

/// A batch turned into at most one request.
#[derive(Debug)]
pub(super) struct Preparation {
    /// `None` when no record could be prepared.
    pub(super) request: Option<Prepared>,
    /// Records that can't be sent, with their positions.
    pub(super) failed: Vec<(usize, Reason)>,
}

/// About how many bytes a batch's body has, so that it is written without being moved.
fn capacity(batch: &Batch) -> usize {
    // The envelope's own members and names.
    const AROUND: usize = 192;
    let json = batch.records.iter().map(|record| match &record.json {
        Some(json) => json.match_on().len() + json.fields().len() + AROUND,
        None => AROUND,
    });
    json.sum()
}

impl Settings {
    /// Prepares a batch, whose idempotency key is `id`. Records whose templates fail are set aside;
    /// the others are sent.
    ///
    /// # Errors
    /// Why no record of the batch can be sent at all.
    pub(super) fn prepare(
        &self,
        auth: &Auth,
        call: &Call,
        batch: &Batch,
        id: &str,
    ) -> Result<Preparation, Reason> {
        let mut failed = Vec::new();
        let mut held = Vec::new();
        let mut body = String::with_capacity(capacity(batch));
        self.format.open(&mut body);
        for (position, record) in batch.records.iter().enumerate() {
            let before = body.len();
            if !held.is_empty() {
                self.format.separate(&mut body);
            }
            match call.shape.push(&mut body, record, batch, &self.format) {
                Ok(()) => held.push(position),
                Err(reason) => {
                    body.truncate(before);
                    failed.push((position, reason));
                }
            }
        }
        self.format.close(&mut body);
        if held.is_empty() {
            return Ok(Preparation {
                request: None,
                failed,
            });
        }
        let alone = match batch.records.as_slice() {
            [record] => Some(record),
            _ => None,
        };
        let scope = if call.is_fixed() {
            Value::Null
        } else {
            scope(alone.filter(|_| call.names_record()), batch)
        };
        let (url, shown_url) = match self.url(auth, call, &scope) {
            Ok(urls) => urls,
            Err(reason) if alone.is_some() => return Ok(one_failed(reason)),
            Err(reason) => return Err(reason),
        };
        let mut headers = vec![(HeaderName::from_static("idempotency-key"), plain(id)?)];
        let body = if matches!(call.shape, Shape::None) {
            None
        } else {
            headers.push((
                CONTENT_TYPE,
                HeaderValue::from_static(self.format.content_type()),
            ));
            Some(Bytes::from(body))
        };
        for (name, line) in &call.headers {
            let value = match line.text(&scope).and_then(|text| header_value(name, &text)) {
                Ok(value) => value,
                Err(reason) if alone.is_some() => return Ok(one_failed(reason)),
                Err(reason) => return Err(reason),
            };
            put(&mut headers, name.clone(), value, line.is_secret());
        }
        if let Auth::Header(name, value) = auth {
            put(&mut headers, name.clone(), value.clone(), true);
        }
        Ok(Preparation {
            request: Some(Prepared {
                method: call.method.clone(),
                url,
                shown_url,
                headers,
                body,
                held,
            }),
            failed,
        })
    }

    /// The URL of a request, and how it may be shown.
    fn url(&self, auth: &Auth, call: &Call, scope: &Value) -> Result<(Url, String), Reason> {
        let mut url = self.root.clone();
        let mut shown = if self.secret_url {
            "***".to_owned()
        } else {
            url.to_string()
        };
        if let Some(line) = &call.path {
            let path = line.path(scope)?;
            url = below(&self.root, &path)?;
            if self.secret_url {
                shown.push_str(&path);
            } else {
                url.as_str().clone_into(&mut shown);
            }
        }
        auth.push_query(&mut url, &mut shown);
        Ok((url, shown))
    }
}

/// A path below a URL: it can't leave the URL's origin, nor climb.
pub(crate) fn below(root: &Url, path: &str) -> Result<Url, Reason> {
    let base = root.as_str().trim_end_matches('/');
    let whole = format!("{base}{path}");
    let parsed = Url::parse(&whole).map_err(|_| unusable(path))?;
    // The URL parser may have resolved dots; what was written is what must be asked for.
    let written = whole.split(['?', '#']).next().unwrap_or_default();
    let stayed = parsed.origin() == root.origin()
        && parsed.as_str().split(['?', '#']).next() == Some(written);
    if stayed {
        Ok(parsed)
    } else {
        Err(unusable(path))
    }
}

fn one_failed(reason: Reason) -> Preparation {
    Preparation {
        request: None,
        failed: vec![(0, reason)],
    }
}

fn unusable(path: &str) -> Reason {
    Reason::new(
        Code::ExpressionFailed,
        "the record's values make no usable path",
    )
    .detail(format!("the path would be {path}"))
    .hint("a value in a path can't be empty, . or ..")
}

pub(crate) fn put(
    headers: &mut Vec<(HeaderName, HeaderValue)>,
    name: HeaderName,
    mut value: HeaderValue,
    secret: bool,
) {
    value.set_sensitive(secret);
    headers.retain(|(other, _)| *other != name);
    headers.push((name, value));
}

fn plain(text: &str) -> Result<HeaderValue, Reason> {
    HeaderValue::from_str(text)
        .map_err(|_| Reason::defect("an idempotency key is not a header value"))
}

pub(crate) fn header_value(name: &HeaderName, text: &str) -> Result<HeaderValue, Reason> {
    HeaderValue::from_str(text).map_err(|_| {
        Reason::new(
            Code::ExpressionFailed,
            format!("the header {name} can't hold this record's value"),
        )
        .detail("it holds a line break or a control character")
        .hint("clean the value in the template, for example with the filter urlencode")
    })
}

impl Format {
    /// The most records a request holds, given what the destination's `batch:` says.
    pub(super) fn records_max(&self, batch: Option<usize>) -> usize {
        if self.is_single() {
            1
        } else {
            batch.unwrap_or(1).max(1)
        }
    }
}
