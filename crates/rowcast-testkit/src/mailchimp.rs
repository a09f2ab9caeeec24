//! Mailchimp's interface for the members of one audience, from its public documentation and from
//! nothing else: a member lives at the MD5 of the address in lower case, and whoever puts it
//! elsewhere is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::api::{Answer, Api, Seen};

/// The audience.
const LIST: &str = "a1b2";
/// `rowcast:key-us19` in base64; any user is taken with the key as its password.
const LOGIN: &str = "Basic cm93Y2FzdDprZXktdXMxOQ==";

type Members = BTreeMap<String, Map<String, Value>>;

/// The running service.
pub struct Mailchimp {
    api: Api,
    members: Arc<Mutex<Members>>,
}

impl Mailchimp {
    /// Starts an empty audience `a1b2` with the key `key-us19`. `hash` is the MD5 of a text, which
    /// a test has from PostgreSQL rather than from us.
    pub fn start(hash: impl Fn(&str) -> String + Send + 'static) -> Self {
        let members = Arc::new(Mutex::new(Members::new()));
        let shared = Arc::clone(&members);
        let api = Api::judged(Box::new(move |seen| {
            let mut members = shared.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut members, seen, &hash)
        }));
        Self { api, members }
    }

    /// The service on the wire.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Members by address.
    pub fn members(&self) -> BTreeMap<String, Map<String, Value>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let all = members.values();
        all.filter_map(|of| Some((of.get("email_address")?.as_str()?.to_owned(), of.clone())))
            .collect()
    }
}

fn refused(status: u16, title: &str, detail: &str) -> Answer {
    let words = json!({ "title": title, "status": status, "detail": detail });
    Answer::json(status, &words)
}

fn answer(members: &mut Members, seen: &Seen, hash: &dyn Fn(&str) -> String) -> Answer {
    if seen.header("authorization") != Some(LOGIN) {
        return refused(401, "API Key Invalid", "Your API key may be invalid");
    }
    let list = format!("/3.0/lists/{LIST}");
    let Some(rest) = seen.path().strip_prefix(&list) else {
        return refused(404, "Resource Not Found", "no such audience");
    };
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or(Value::Null);
    match (seen.method.as_str(), rest.strip_prefix("/members/")) {
        ("GET", None) if rest.is_empty() => Answer::json(200, &json!({ "id": LIST })),
        ("PUT", Some(at)) => {
            let address = body["email_address"].as_str().unwrap_or_default();
            if !address.contains('@') {
                return refused(
                    400,
                    "Invalid Resource",
                    "Please provide a valid email address.",
                );
            }
            if hash(&address.to_lowercase()) != at {
                return refused(
                    400,
                    "Invalid Resource",
                    "The hash is not that of the address",
                );
            }
            let there = members.contains_key(at);
            if !there && !body["status_if_new"].is_string() {
                return refused(400, "Invalid Resource", "status_if_new is required");
            }
            let member = members.entry(at.to_owned()).or_default();
            member.insert("email_address".into(), json!(address));
            if !there {
                member.insert("status".into(), body["status_if_new"].clone());
            }
            if let Some(fields) = body["merge_fields"].as_object() {
                member.insert("merge_fields".into(), Value::Object(fields.clone()));
            }
            Answer::json(200, &Value::Object(member.clone()))
        }
        ("DELETE", Some(at)) => match members.remove(at) {
            Some(_) => Answer::status(204),
            None => refused(404, "Resource Not Found", "no such member"),
        },
        _ => refused(405, "Method Not Allowed", "this is not taken here"),
    }
}
