//! A service as messages name it: its host, and its words without our secrets.

use std::time::{Duration, SystemTime};

use rowcast_core::json::{from_json, to_json};
use rowcast_core::mapping::template::percent_encode;
use rowcast_core::{Applied, Code, Fault, Reason, Secret, Value};

use super::client::{Answer, wall_clock};

/// How much of a service's answer is quoted when it holds no message of its own.
const WORDS_MAX: usize = 300;

/// Longest `Retry-After` that is believed: a day. Beyond it the run would only look hung.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// The other side of a connection.
#[derive(Debug)]
pub(crate) struct Service {
    /// The host as it may be shown: `***` when the URL came from a secret.
    pub(crate) host: String,
    /// Every secret, also in encoded form: what must not appear in a service's own words.
    pub(crate) secrets: Vec<Secret<String>>,
}

impl Service {
    /// Why an answer that sends elsewhere stops a run.
    pub(crate) fn redirected(&self, answer: &Answer) -> Reason {
        let location = answer
            .headers
            .get("location")
            .and_then(|value| value.to_str().ok())
            .unwrap_or("nowhere");
        Reason::new(
            Code::DestinationObject,
            format!(
                "{} answered with a redirect, which is not followed",
                self.host
            ),
        )
        .detail(format!(
            "status {} to {}",
            answer.status,
            self.tidy(location)
        ))
        .hint("if that place is right, make it the destination's URL")
    }

    /// Why an answer about credentials stops a run.
    pub(crate) fn unauthorized(&self, answer: &Answer) -> Reason {
        Reason::new(
            Code::DestinationAuth,
            format!("{} refused the credentials", self.host),
        )
        .detail(self.said(answer))
        .hint("look at the credentials of the destination: is the token the right one, unexpired, and allowed to write?")
    }

    /// An answer that asks to wait, or that may pass.
    pub(crate) fn wait(&self, answer: &Answer, applied: Applied) -> Fault {
        let message = match answer.status {
            429 => format!("{} asked to send slower", self.host),
            _ => format!("{} failed", self.host),
        };
        Fault::Transient {
            after: retry_after(answer, wall_clock()),
            applied,
            reason: Reason::new(Code::DestinationBusy, message).detail(self.said(answer)),
        }
    }

    /// The status and the service's own words.
    pub(crate) fn said(&self, answer: &Answer) -> String {
        let text = String::from_utf8_lossy(&answer.body);
        let words = from_json(&text).ok().as_ref().and_then(words_of);
        let words = self.tidy(words.as_deref().unwrap_or(&text));
        if words.is_empty() {
            format!("status {}", answer.status)
        } else {
            format!("status {}: {words}", answer.status)
        }
    }

    /// Puts `***` in the place of every secret, also where it is written as JSON or URL-encoded.
    pub(crate) fn mask(&self, text: &mut String) {
        for secret in self
            .secrets
            .iter()
            .filter(|secret| !secret.reveal().is_empty())
        {
            let plain = secret.reveal().as_str();
            let json = to_json(&Value::from(plain));
            let mut encoded = String::new();
            percent_encode(plain, &mut encoded);
            for form in [plain, json.trim_matches('"'), &encoded] {
                if text.contains(form) {
                    *text = text.replace(form, "***");
                }
            }
        }
    }

    /// One line without control characters, without our secrets, of bounded length.
    pub(crate) fn tidy(&self, text: &str) -> String {
        let mut text = text.to_owned();
        self.mask(&mut text);
        let words = text.split(|c: char| c.is_whitespace() || c.is_control());
        let line = words
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        match line.char_indices().nth(WORDS_MAX) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// The sentence in an answer, by the names services give it.
pub(super) fn words_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::List(items) => items.first().and_then(words_of),
        Value::Object(_) => [
            "error",
            "message",
            "detail",
            "error_description",
            "errors",
            "title",
            "reason",
        ]
        .iter()
        .filter_map(|name| value.get(name))
        .find_map(words_of),
        _ => None,
    }
}

/// `Retry-After` in seconds or as a date.
pub(crate) fn retry_after(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let text = answer.headers.get("retry-after")?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}
