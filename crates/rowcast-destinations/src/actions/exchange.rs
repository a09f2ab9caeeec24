//! The HTTP requests of the actions host, made here: with the client, the address policy, the limits
//! and the trust of every other destination.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use rowcast_core::{Applied, Code, Fault, Reason};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::http::client::{Answer, Client, wall_clock};
use crate::http::service::retry_after;

/// Headers that belong to the connection, or say who asks: that is Rowcast.
const OURS: [&str; 6] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "user-agent",
];

/// A request as the host writes it.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// The host's own number of it.
    pub(super) fetch: u64,
    /// Which request of ours it is made for.
    #[serde(rename = "for")]
    pub(super) call: u64,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    text: Option<String>,
    base64: Option<String>,
}

/// What became of one request.
#[derive(Debug)]
pub(super) enum Became {
    /// There was an answer, perhaps one that asks to wait.
    Answered(Option<Duration>),
    /// It never left.
    Refused(Reason),
    /// It left, and nobody knows.
    Lost(Reason),
    /// A person must act.
    Forbidden(Reason),
}

/// Makes requests.
pub(super) struct Exchange {
    pub(super) client: Client,
    pub(super) rewrites: Vec<(String, Url)>,
}

impl Exchange {
    /// Makes a request; gives the line for the host and what became of it.
    pub(super) async fn perform(&self, asked: Asked) -> (String, Became) {
        let number = asked.fetch;
        let sent = match self.request(asked) {
            Ok(request) => {
                let host = request.url().host_str().unwrap_or_default().to_owned();
                self.client.send(request, &host).await
            }
            Err(reason) => Err(Fault::fatal(reason)),
        };
        match sent {
            Ok(answer) if answer.cut => {
                let reason =
                    Reason::new(Code::DestinationAnswer, "the answer is larger than 1 MiB")
                        .hint("lower batch.max_records");
                (refusal(number, &reason), Became::Lost(reason))
            }
            Ok(answer) => {
                let wait = retry_after(&answer, wall_clock());
                (line(number, &answer), Became::Answered(wait))
            }
            Err(fault) => {
                let reason = fault.reason().clone();
                let line = refusal(number, &reason);
                let became = match fault {
                    Fault::Fatal { .. } => Became::Forbidden(reason),
                    _ if fault.applied() == Applied::No => Became::Refused(reason),
                    _ => Became::Lost(reason),
                };
                (line, became)
            }
        }
    }

    fn request(&self, asked: Asked) -> Result<Request, Reason> {
        let unfit = |what: &str| {
            Reason::new(
                Code::DestinationObject,
                format!("the destination asked for {what}"),
            )
        };
        let mut url = Url::parse(&asked.url).map_err(|_| unfit("an address that is none"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(unfit("an address that is not one of http"));
        }
        let origin = url.origin().ascii_serialization();
        if let Some((_, other)) = self.rewrites.iter().find(|(from, _)| *from == origin) {
            let mut rewritten = other.clone();
            rewritten.set_path(url.path());
            rewritten.set_query(url.query());
            url = rewritten;
        }
        let method = Method::from_bytes(asked.method.as_bytes())
            .map_err(|_| unfit("a method that is none"))?;
        let mut request = Request::new(method, url);
        let mut headers = HeaderMap::new();
        for (name, value) in &asked.headers {
            if OURS.contains(&name.to_ascii_lowercase().as_str()) {
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        *request.headers_mut() = headers;
        *request.body_mut() = match (asked.text, asked.base64) {
            (Some(text), _) => Some(text.into()),
            (None, Some(encoded)) => Some(
                STANDARD
                    .decode(encoded)
                    .map_err(|_| unfit("a body that can't be read"))?
                    .into(),
            ),
            (None, None) => None,
        };
        Ok(request)
    }
}

fn line(number: u64, answer: &Answer) -> String {
    let headers: Vec<(&str, &str)> = answer
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let (key, body) = match std::str::from_utf8(&answer.body) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", STANDARD.encode(&answer.body)),
    };
    json!({ "fetch": number, "status": answer.status, "headers": headers, key: body }).to_string()
}

/// What the host is told of a request that got no answer.
pub(super) fn refusal(number: u64, reason: &Reason) -> String {
    json!({ "fetch": number, "error": reason.message }).to_string()
}
