//! A connector behind an HTTP address: one POST for each call, where the address policy permits.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use rowcast_core::address::AddressPolicy;
use rowcast_core::{Applied, Check, Code, DestinationConfig, Fault, Reason, SettingValue};
use url::Url;

use super::link::Exchange;
use super::protocol::Request;
use crate::http::auth::Auth;
use crate::http::client::{Answer, Client, SystemLookup};
use crate::http::config::{Root, header_name};
use crate::http::request::Prepared;
use crate::http::sender::Sender;
use crate::http::service::Service;
use crate::settings::Problems;

/// The address, and everything that is sent with each call.
pub(super) struct Web {
    root: Url,
    secret_root: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
    sender: Sender,
}

impl Web {
    /// Reads `url`, `auth` and `headers`.
    pub(super) fn new(
        config: &DestinationConfig,
        url: &SettingValue,
        timeout: std::time::Duration,
        problems: &mut Problems,
    ) -> Option<Self> {
        let settings = &config.settings;
        let mut secrets = Vec::new();
        let root = Root::parse(url, "settings.url", problems, &mut secrets);
        let auth = Auth::parse(settings.get("auth"), problems, &mut secrets);
        let mut headers = Vec::new();
        let given = settings
            .get("headers")
            .map_or(&[][..], SettingValue::members);
        for (name, value) in given {
            let path = format!("settings.headers.{name}");
            let secret = value.as_secret().unwrap_or_else(|| "".into());
            let header = match header_name(name) {
                Ok(header) => header,
                Err((message, hint)) => {
                    problems.add(path, message, hint);
                    continue;
                }
            };
            match HeaderValue::from_str(secret.reveal()) {
                Ok(mut text) => {
                    if matches!(value, SettingValue::Secret(_)) {
                        text.set_sensitive(true);
                        secrets.push(secret);
                    }
                    headers.push((header, text));
                }
                Err(_) => problems.add(
                    path,
                    "the value can't be put into a header: it holds a line break or a control character",
                    "look at the value or the variable it comes from",
                ),
            }
        }
        let policy = AddressPolicy::read(config, problems)?;
        let root = root.filter(|_| problems.is_empty())?;
        let secure = root.url.scheme() == "https";
        let client = match Client::new(policy, Arc::new(SystemLookup), timeout, secure) {
            Ok(client) => client,
            Err(reason) => {
                problems.push("settings.url", reason);
                return None;
            }
        };
        Some(Self {
            root: root.url,
            secret_root: root.secret,
            headers,
            sender: Sender {
                client,
                auth,
                service: Service {
                    host: root.host,
                    secrets,
                },
            },
        })
    }

    pub(super) fn service(&self) -> &Service {
        &self.sender.service
    }

    pub(super) async fn check(&self) -> (Vec<Check>, bool) {
        self.sender.check_connection(&self.root).await
    }

    fn prepared(&self, request: &Request, key: Option<&str>) -> Prepared {
        let mut url = self.root.clone();
        let mut shown = if self.secret_root {
            "***".to_owned()
        } else {
            url.to_string()
        };
        self.sender.auth.push_query(&mut url, &mut shown);
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        if let Some(key) = key.and_then(|key| HeaderValue::from_str(key).ok()) {
            headers.push((HeaderName::from_static("idempotency-key"), key));
        }
        headers.extend(self.headers.iter().cloned());
        if let Auth::Header(name, value) = &self.sender.auth {
            headers.retain(|(other, _)| other != name || *other != AUTHORIZATION);
            headers.push((name.clone(), value.clone()));
        }
        Prepared {
            method: Method::POST,
            url,
            shown_url: shown,
            headers,
            body: Some(Bytes::from(request.text.clone())),
            held: Vec::new(),
        }
    }

    pub(super) fn render(&self, request: &Request, key: Option<&str>) -> String {
        self.sender.curl(&self.prepared(request, key))
    }

    pub(super) async fn exchange(
        &self,
        request: &Request,
        key: Option<&str>,
    ) -> Result<Exchange, Fault> {
        let prepared = self.prepared(request, key);
        let answer = self
            .sender
            .send(&prepared, key.unwrap_or(&request.id))
            .await?;
        self.judge(request, &answer)?;
        if answer.cut {
            let reason = Reason::new(
                Code::DestinationAnswer,
                format!("the answer of {} is larger than 1 MiB", self.service().host),
            );
            return Err(Fault::lost(reason.hint(
                "lower `maximum_batch_size`, or let the connector answer with shorter error messages",
            )));
        }
        let limit = answer.headers.get("x-ratelimit-limit");
        Ok(Exchange {
            text: String::from_utf8_lossy(&answer.body).into_owned(),
            requests_per_second: limit
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .filter(|limit| *limit > 0),
        })
    }

    /// What a status means before the answer is read. An answer of the protocol speaks for itself
    /// whatever its status, but for those that speak of the connection.
    fn judge(&self, request: &Request, answer: &Answer) -> Result<(), Fault> {
        let service = self.service();
        match answer.status {
            200..=299 => Ok(()),
            300..=399 => Err(Fault::fatal(service.redirected(answer))),
            401 | 403 => Err(Fault::fatal(service.unauthorized(answer))),
            413 => Err(Fault::Split {
                reason: Reason::new(
                    Code::RecordTooLarge,
                    format!("{} takes no request of this size", service.host),
                ),
            }),
            429 => Err(service.wait(answer, Applied::No)),
            _ if is_answer(request, answer) => Ok(()),
            408 | 423 | 425 | 500..=599 => Err(service.wait(answer, Applied::Unknown)),
            _ => Err(Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!("{} does not take {}", service.host, request.method),
                )
                .detail(service.said(answer))
                .hint("check the path of url: it is the one address to which the connector takes POST requests"),
            )),
        }
    }
}

fn is_answer(request: &Request, answer: &Answer) -> bool {
    let text = String::from_utf8_lossy(&answer.body);
    super::protocol::read(&text, &request.id).is_ok()
}
