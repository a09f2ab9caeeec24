//! Emulators of services that Segment's destinations write to: Braze, Customer.io, HubSpot, Klaviyo,
//! Slack, and a webhook.
//!
//! Each refuses what the real service documents to refuse: credentials, paths, content types, batch
//! sizes, records that lack what they need. Each keeps what it took by the record's own identity.

mod braze;
mod customerio;
mod hubspot;
mod klaviyo;
mod slack;
mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::api::{Answer, Api, Seen};

/// What a service holds.
#[derive(Debug, Default)]
pub struct Held {
    /// By identity; messages by their order.
    pub records: BTreeMap<String, Value>,
    /// Tokens that are valid now; each service begins with its own.
    pub tokens: Vec<String>,
}

type Answering = fn(&mut Held, &Seen) -> Answer;

/// A running emulator.
pub struct Service {
    api: Api,
    held: Arc<Mutex<Held>>,
}

impl Service {
    fn start(answering: Answering, token: &str) -> Self {
        let held = Arc::new(Mutex::new(Held {
            tokens: vec![token.to_owned()],
            ..Held::default()
        }));
        let shared = Arc::clone(&held);
        let api = Api::judged(Box::new(move |seen| {
            answering(
                &mut shared.lock().unwrap_or_else(PoisonError::into_inner),
                seen,
            )
        }));
        Self { api, held }
    }

    /// Braze's REST API with the key `emulator`.
    pub fn braze() -> Self {
        Self::start(braze::answer, "emulator")
    }

    /// Customer.io's Track API with the site `site` and the key `emulator`.
    pub fn customerio() -> Self {
        Self::start(customerio::answer, "emulator")
    }

    /// HubSpot with the access token `emulator` and an OAuth client `client`, `client-secret`, whose
    /// refresh token is `refresh`: it gives the token `fresh`.
    pub fn hubspot() -> Self {
        Self::start(hubspot::answer, "emulator")
    }

    /// Klaviyo with the private key `emulator`.
    pub fn klaviyo() -> Self {
        Self::start(klaviyo::answer, "emulator")
    }

    /// Slack's incoming webhooks: `/services/T/B/emulator`.
    pub fn slack() -> Self {
        Self::start(slack::answer, "emulator")
    }

    /// A webhook at `/hook` that takes lists of objects with an `id`.
    pub fn webhook() -> Self {
        Self::start(webhook::answer, "emulator")
    }

    /// The service on the wire.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// What it holds.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn knows(&self, token: &str) -> bool {
        self.tokens.iter().any(|known| known == token)
    }

    fn bearer(&self, seen: &Seen) -> bool {
        let token = seen.header("authorization");
        token.is_some_and(|token| token.strip_prefix("Bearer ").is_some_and(|t| self.knows(t)))
    }
}

/// The body as JSON, if the request says that it is and it is no larger than the service takes.
fn body(seen: &Seen, bytes_max: usize) -> Result<Value, Answer> {
    let kind = seen.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(refused(415, "Unsupported Media Type"));
    }
    if seen.body.len() > bytes_max {
        return Err(refused(413, "Payload Too Large"));
    }
    serde_json::from_slice(&seen.body).map_err(|_| refused(400, "the body is not JSON"))
}

fn refused(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "message": message }))
}

fn is_address(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request to a service, and the status of its answer.
    pub(super) fn asked(
        answering: Answering,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> u16 {
        let mut held = Held {
            tokens: vec!["emulator".to_owned()],
            ..Held::default()
        };
        let headers = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let seen = Seen {
            number: 0,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.collect(),
            body: body.to_string().into_bytes(),
            records: Vec::new(),
            began: 0,
            ended: None,
            status: None,
        };
        answering(&mut held, &seen).status
    }

    #[test]
    fn bodies_that_are_not_json_or_too_large_are_refused() {
        let json = [("content-type", "application/json")];
        let text = [("content-type", "text/plain")];
        let one = json!([{ "id": 1 }]);
        let ask =
            |headers: &[_], body: &Value| asked(webhook::answer, "POST", "/hook", headers, body);
        assert_eq!(ask(&json, &one), 200);
        assert_eq!(ask(&text, &one), 415);
        assert_eq!(ask(&json, &json!({ "id": 1 })), 400);
        assert_eq!(ask(&json, &json!([{ "name": "without id" }])), 400);
        assert_eq!(asked(webhook::answer, "GET", "/hook", &json, &one), 405);
        assert_eq!(asked(webhook::answer, "POST", "/other", &json, &one), 404);
    }
}
