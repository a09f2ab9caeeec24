//! A service that takes calls: its address, its key, and what its answers mean.
//!
//! | answer | one call | several calls |
//! |---|---|---|
//! | 2xx | delivered | delivered |
//! | 401, 403 | the run stops: the key | the same |
//! | 404, 405, 410, 3xx | the run stops: the place | the same |
//! | 413 | rejected: too large | split |
//! | 429 | again after `Retry-After` | the same |
//! | 408, 425, 5xx | again; whether it took effect is unknown | the same |
//! | other 4xx | rejected, in the service's words | split |

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use rowcast_core::record::{Batch, Record};
use rowcast_core::{
    Applied, Capabilities, Check, Code, DestinationConfig, Fault, Operation, Outcome, Reason,
    Secret,
};
use url::Url;

use super::prepared::{Limits, Prepared, Rendered, prepare};
use crate::http::auth::Auth;
use crate::http::client::{Answer, Client, Lookup};
use crate::http::request::Prepared as HttpRequest;
use crate::http::sender::Sender;
use crate::http::service::Service;
use crate::settings::Problems;
use rowcast_core::address::AddressPolicy;

/// How long an answer may take without `timeout:`.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Requests in flight together without `concurrency:`.
const CONCURRENCY: usize = 4;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where calls go, and with which key.
pub(crate) struct Tracker {
    sender: Sender,
    base: Url,
    authorization: HeaderValue,
    gzip: bool,
    limits: Limits,
    /// Calls in a request, by the destination's `batch:` and the service's limit.
    calls_max: usize,
    /// The setting that holds the address, for hints.
    address_setting: &'static str,
}

/// What a tracker is made from.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a DestinationConfig,
    pub(crate) base: Url,
    pub(crate) address_setting: &'static str,
    pub(crate) key: Secret<String>,
    /// What else must never be shown: an address that came from the environment.
    pub(crate) secret_address: Option<Secret<String>>,
    pub(crate) gzip: bool,
    /// Whether anything it asks is asked over TLS.
    pub(crate) secure: bool,
    pub(crate) limits: Limits,
    pub(crate) calls_max: usize,
}

/// Where the calls of one sync go and what they look like.
pub(crate) trait Calls: Sync {
    /// Whether calls share requests as `{"batch":[…]}`.
    fn wrapped(&self) -> bool;

    /// The address below the base; `alone` is the type of the call when it isn't wrapped.
    fn path(&self, alone: Option<&'static str>) -> String;

    /// One record's call.
    ///
    /// # Errors
    /// Why it can't be made.
    fn rendered(&self, record: &Record, batch: &Batch) -> Result<Rendered, Reason>;
}

impl Tracker {
    /// What the service can do, within its limits and those of the destination.
    pub(crate) fn capabilities(
        &self,
        config: &DestinationConfig,
        operations: Vec<Operation>,
    ) -> Capabilities {
        let body_bytes = self.limits.body_bytes;
        Capabilities {
            operations,
            batch_records_max: self.calls_max,
            operation_limits: Vec::new(),
            batch_bytes_max: config.batch_bytes.unwrap_or(body_bytes).min(body_bytes),
            concurrency_max: config.concurrency.unwrap_or(CONCURRENCY).max(1),
            rate: config.rate,
            timeout: config.timeout.unwrap_or(TIMEOUT),
            exactly_once: false,
            publishes: false,
        }
    }

    /// Opens no connection yet.
    pub(crate) fn new(
        parts: Parts<'_>,
        lookup: Arc<dyn Lookup>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let config = parts.config;
        let key = parts.key.reveal().trim();
        let pair = BASE64.encode(format!("{key}:"));
        let authorization = HeaderValue::from_str(&format!("Basic {pair}"))
            .ok()
            .filter(|_| !key.is_empty() && !key.contains(':'));
        let Some(mut authorization) = authorization else {
            problems.add(
                "settings.write_key",
                "this is no write key: it is empty or holds a colon",
                "copy the source's write key; look at the variable it comes from",
            );
            return None;
        };
        authorization.set_sensitive(true);
        let policy = AddressPolicy::read(config, problems)?;
        let timeout = config.timeout.unwrap_or(TIMEOUT);
        let client = match Client::new(policy, lookup, timeout, parts.secure) {
            Ok(client) => client,
            Err(reason) => {
                problems.push(format!("settings.{}", parts.address_setting), reason);
                return None;
            }
        };
        let own = parts.base.host_str().unwrap_or_default().to_owned();
        let mut secrets = vec![Secret::new(pair), Secret::new(key.to_owned())];
        let host = match parts.secret_address {
            Some(address) => {
                secrets.push(address);
                secrets.push(Secret::new(own));
                "***".to_owned()
            }
            None => own,
        };
        Some(Self {
            sender: Sender {
                client,
                auth: Auth::Header(AUTHORIZATION, authorization.clone()),
                service: Service { host, secrets },
            },
            base: parts.base,
            authorization,
            gzip: parts.gzip,
            limits: parts.limits,
            calls_max: parts.calls_max,
            address_setting: parts.address_setting,
        })
    }

    /// The service's name and words.
    pub(crate) fn service(&self) -> &Service {
        &self.sender.service
    }

    /// Asks something that is no call; the key goes along.
    pub(crate) async fn ask(&self, path: &str, body: &'static str) -> Result<Answer, Fault> {
        let mut request = Request::new(Method::POST, self.url(path).map_err(Fault::fatal)?);
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(CONTENT_TYPE, JSON);
        *request.body_mut() = Some(body.into());
        let host = &self.sender.service.host;
        self.sender.client.send(request, host).await
    }

    /// Reads another address without the key in a header.
    pub(crate) async fn read(&self, url: Url) -> Result<Answer, Fault> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = Request::new(Method::GET, url);
        self.sender.client.send(request, &host).await
    }

    /// Writes one batch: one request, or none when no call of it can be made.
    pub(crate) async fn write(
        &self,
        batch: &Batch,
        calls: &dyn Calls,
    ) -> Result<Vec<Outcome>, Fault> {
        if batch.records.is_empty() {
            return Ok(Vec::new());
        }
        if batch.records.len() > self.calls_max {
            return Err(split(format!(
                "a request holds at most {} calls",
                self.calls_max
            )));
        }
        let prepared = prepare(batch, self.limits, calls);
        if prepared.body.len() > self.limits.body_bytes && prepared.held.len() > 1 {
            return Err(split(format!(
                "{} calls have {} bytes, a request holds at most {}",
                prepared.held.len(),
                prepared.body.len(),
                self.limits.body_bytes
            )));
        }
        // Every record has an outcome before the first is known, so that none can be missed.
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.records.len()];
        for (position, reason) in &prepared.failed {
            outcomes[*position] = Some(Outcome::Rejected(reason.clone()));
        }
        if !prepared.held.is_empty() {
            let request = self.request(prepared, calls).map_err(Fault::fatal)?;
            let id = batch.idempotency_key();
            let answer = self.sender.send(&request, &id).await?;
            let judged = self.judge(request.held.len(), &answer)?;
            for (position, outcome) in request.held.iter().zip(judged) {
                outcomes[*position] = Some(outcome);
            }
        }
        outcomes
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Fault::lost(Reason::defect("a record of a request got no outcome")))
    }

    /// The address of a path below the base.
    fn url(&self, path: &str) -> Result<Url, Reason> {
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}"))
            .map_err(|_| Reason::defect(format!("{path} makes no address")))
    }

    fn request(&self, prepared: Prepared, calls: &dyn Calls) -> Result<HttpRequest, Reason> {
        let path = calls.path(prepared.alone);
        let url = self.url(&path)?;
        let shown_url = match self.sender.service.host.as_str() {
            "***" => format!("***{path}"),
            _ => url.to_string(),
        };
        let mut headers: Vec<(HeaderName, HeaderValue)> = vec![
            (CONTENT_TYPE, JSON),
            (AUTHORIZATION, self.authorization.clone()),
        ];
        let body = if self.gzip {
            headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
            zipped(&prepared.body)
                .map_err(|err| Reason::defect(format!("a body can't be compressed: {err}")))?
        } else {
            Bytes::from(prepared.body)
        };
        Ok(HttpRequest {
            method: Method::POST,
            url,
            shown_url,
            headers,
            body: Some(body),
            held: prepared.held,
        })
    }

    /// What an answer means for the calls that were in the request.
    ///
    /// # Errors
    /// What it means for all of them at once.
    pub(crate) fn judge(&self, calls: usize, answer: &Answer) -> Result<Vec<Outcome>, Fault> {
        let alone = calls == 1;
        let service = &self.sender.service;
        let host = &service.host;
        let rejected = |code, message: &str| {
            let reason = Reason::new(code, message).detail(service.said(answer));
            Ok(vec![Outcome::Rejected(reason)])
        };
        match answer.status {
            200..=299 => Ok(vec![Outcome::Delivered; calls]),
            401 | 403 => Err(Fault::fatal(self.wrong_key(answer))),
            300..=399 => Err(Fault::fatal(service.redirected(answer))),
            404 | 405 | 410 => Err(Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!("{host} does not take calls at this address"),
                )
                .detail(service.said(answer))
                .hint(format!(
                    "look at {} of the destination, and whether the source that the write key belongs to is enabled",
                    self.address_setting
                )),
            )),
            429 => Err(service.wait(answer, Applied::No)),
            408 | 425 | 500..=599 => Err(service.wait(answer, Applied::Unknown)),
            413 if alone => rejected(
                Code::RecordTooLarge,
                "the call is larger than the service takes",
            ),
            400..=499 if alone => rejected(
                Code::DestinationRejected,
                "the service refused the call",
            ),
            400..=499 => Err(Fault::Split {
                reason: Reason::new(
                    Code::DestinationRejected,
                    format!("{host} refused {calls} calls together"),
                )
                .detail(service.said(answer)),
            }),
            status => Err(Fault::Fatal {
                applied: Applied::Unknown,
                reason: Reason::new(
                    Code::DestinationAnswer,
                    format!("{host} answered with the status {status}"),
                )
                .hint("is this the service, and the right port?"),
            }),
        }
    }

    /// The key is not taken.
    pub(crate) fn wrong_key(&self, answer: &Answer) -> Reason {
        let service = &self.sender.service;
        Reason::new(
            Code::DestinationAuth,
            format!("{} refused the write key", service.host),
        )
        .detail(service.said(answer))
        .hint("look at write_key of the destination: it is the key of the source in the service, not an API token")
    }

    /// The checks *resolve* and *connect*, and whether the service can be asked more.
    pub(crate) async fn reach(&self) -> (Vec<Check>, bool) {
        let (mut checks, reached) = self.sender.check_connection(&self.base).await;
        if !reached {
            let why = "the connection must work first";
            checks.push(Check::skipped("write key", why));
        }
        (checks, reached)
    }

    /// The request of a batch as a command, and what would not be sent.
    pub(crate) fn render(&self, batch: &Batch, calls: &dyn Calls) -> Vec<String> {
        let prepared = prepare(batch, self.limits, calls);
        let failed: Vec<String> = prepared
            .failed
            .iter()
            .map(|(position, reason)| {
                format!("# not sent, {}: {reason}", batch.records[*position].key)
            })
            .collect();
        let mut shown = Vec::new();
        if !prepared.held.is_empty() {
            // Compressed bytes would tell nobody anything.
            let body = Bytes::from(prepared.body.clone());
            match self.request(prepared, calls) {
                Ok(mut request) => {
                    request.body = Some(body);
                    request
                        .headers
                        .retain(|(name, _)| *name != CONTENT_ENCODING);
                    shown.push(self.sender.curl(&request));
                }
                Err(reason) => shown.push(format!("# can't be sent: {reason}")),
            }
        }
        shown.extend(failed);
        shown
    }
}

fn split(message: String) -> Fault {
    Fault::Split {
        reason: Reason::new(Code::RecordTooLarge, message),
    }
}

/// Without a time in its head, so that equal bodies are equal bytes.
fn zipped(body: &str) -> std::io::Result<Bytes> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body.as_bytes())?;
    encoder.finish().map(Bytes::from)
}
