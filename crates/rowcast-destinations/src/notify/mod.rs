//! Channels that people are told through: one message to one receiver, once.
//!
//! Nothing here retries, waits or remembers; whoever calls does. Every connection obeys the address
//! policy, no credential appears in what is said about a failure, and a message holds no values of
//! rows (`rowcast_core::alert` sees to that).

mod mail;
mod pagerduty;
mod slack;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use rowcast_core::address::AddressPolicy;
use rowcast_core::alert::Message;
use rowcast_core::{Code, Fault, Reason, Secret};
use url::Url;

pub use mail::{Mail, MailTls};
pub use pagerduty::URL as PAGERDUTY_URL;

use crate::http::client::{Client, SystemLookup};
use crate::http::config::secret_parts;
use crate::http::service::Service;

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whom to tell.
#[derive(Debug, Clone)]
pub enum Target {
    Webhook {
        url: Secret<String>,
        /// Each signs; without one, nothing is signed.
        secrets: Vec<Secret<String>>,
    },
    Slack {
        url: Secret<String>,
    },
    Pagerduty {
        key: Secret<String>,
        url: Secret<String>,
    },
    Mail(Mail),
}

/// A receiver, and which private addresses it may have.
#[derive(Debug, Clone)]
pub struct Channel {
    pub target: Target,
    pub allow_addresses: Vec<String>,
}

/// A request of a channel over HTTP.
struct Request {
    url: Secret<String>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// What the receiver must not quote back to us.
    secrets: Vec<Secret<String>>,
    /// What a receiver answers that has taken the message, besides a good status.
    taken: fn(u16, &[u8]) -> bool,
}

impl Channel {
    /// Tells one message. That it was taken is certain after `Ok`; after an error it may have been
    /// taken all the same, which is why its id stays the same.
    ///
    /// # Errors
    /// The receiver can't be reached, refuses, or the channel's configuration can't be used.
    pub async fn tell(&self, message: &Message) -> Result<(), Reason> {
        let policy = AddressPolicy::new(&self.allow_addresses)
            .map_err(|message| undelivered(&Reason::new(Code::InvalidSetting, message)))?;
        let request = match &self.target {
            Target::Webhook { url, secrets } => webhook::request(url, secrets, message),
            Target::Slack { url } => slack::request(url, message),
            Target::Pagerduty { key, url } => pagerduty::request(key, url, message),
            Target::Mail(mail) => return mail.send(&policy, message).await,
        };
        send(policy, request).await
    }
}

async fn send(policy: AddressPolicy, request: Request) -> Result<(), Reason> {
    let text = request.url.reveal().trim();
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|h| !h.is_empty())
    });
    let Some(url) = url else {
        return Err(undelivered(
            &Reason::new(
                Code::InvalidSetting,
                "the channel's URL is not an http or https URL",
            )
            .hint("look at the variable or file it comes from"),
        ));
    };
    let mut secrets = secret_parts(&url);
    secrets.push(request.url.clone());
    secrets.extend(request.secrets);
    let service = Service {
        host: "the receiver".to_owned(),
        secrets,
    };
    let client = Client::new(
        policy,
        Arc::new(SystemLookup),
        TIMEOUT,
        url.scheme() == "https",
    )
    .map_err(|reason| undelivered(&reason))?;
    let mut sent = reqwest::Request::new(reqwest::Method::POST, url);
    sent.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    for (name, text) in request.headers {
        let value = HeaderValue::from_str(&text)
            .map_err(|_| Reason::defect("a header of an alert is not a header value"))?;
        sent.headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    *sent.body_mut() = Some(request.body.into());
    let answer = client
        .send(sent, &service.host)
        .await
        .map_err(|fault: Fault| undelivered(fault.reason()))?;
    if (request.taken)(answer.status, &answer.body) {
        return Ok(());
    }
    let reason = match answer.status {
        300..=399 => service.redirected(&answer),
        401 | 403 => Reason::new(
            Code::DestinationAuth,
            "the receiver refused the credentials",
        )
        .detail(service.said(&answer)),
        _ => Reason::new(Code::DestinationBusy, "the receiver did not take it")
            .detail(service.said(&answer)),
    };
    Err(undelivered(&reason))
}

/// A good status is enough.
fn good(status: u16, _: &[u8]) -> bool {
    (200..300).contains(&status)
}

/// Why nobody was told.
pub(crate) fn undelivered(why: &Reason) -> Reason {
    let detail = match &why.detail {
        Some(detail) => format!("{}: {detail}", why.message),
        None => why.message.clone(),
    };
    let reason = Reason::new(Code::AlertUndelivered, "the alert was not delivered").detail(detail);
    reason.hint(why.hint.clone().unwrap_or_else(|| {
        "look at the channel under `alerts:` of rowcast.yml, then `rowcast alerts test`".to_owned()
    }))
}
