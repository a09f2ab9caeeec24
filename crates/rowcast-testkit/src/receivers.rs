//! Receivers of alerts that enforce what their services document: an incoming webhook of Slack, and
//! PagerDuty's Events API v2. A request that they would refuse is refused here in their words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::api::{Answer, Api, Seen};

/// The path of the webhook that exists.
pub const SLACK_PATH: &str = "/services/T0000AAAA/B0000BBBB/abcdefghijklmnopqrstuvwx";
/// The integration key that exists.
pub const PAGERDUTY_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Starts a Slack with one incoming webhook, at `SLACK_PATH`.
pub fn slack() -> Api {
    Api::judged(Box::new(judge_slack))
}

fn says(status: u16, words: &str) -> Answer {
    Answer::status(status)
        .header("content-type", "text/html")
        .body(words.to_owned())
}

/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>, "Handling errors";
/// limits of <https://docs.slack.dev/reference/block-kit/blocks>.
fn judge_slack(seen: &Seen) -> Answer {
    if seen.method != "POST" || seen.path() != SLACK_PATH {
        return says(404, "no_service");
    }
    let kind = seen.header("content-type").unwrap_or_default();
    let Ok(Value::Object(message)) = serde_json::from_slice::<Value>(&seen.body) else {
        return says(400, "invalid_payload");
    };
    if !kind.starts_with("application/json") {
        return says(400, "invalid_payload");
    }
    let text = message.get("text").and_then(Value::as_str).unwrap_or("");
    let Some(blocks) = message.get("blocks") else {
        return if text.is_empty() {
            says(400, "no_text")
        } else {
            says(200, "ok")
        };
    };
    let good = blocks
        .as_array()
        .is_some_and(|blocks| blocks.len() <= 50 && blocks.iter().all(is_block));
    if good {
        says(200, "ok")
    } else {
        says(400, "invalid_blocks")
    }
}

fn is_block(block: &Value) -> bool {
    let words = |text: &Value, kind: &[&str], most: usize| {
        let length = text["text"].as_str().map_or(0, |text| text.chars().count());
        kind.iter().any(|kind| text["type"] == *kind) && (1..=most).contains(&length)
    };
    let any = ["plain_text", "mrkdwn"];
    match block["type"].as_str() {
        Some("header") => words(&block["text"], &["plain_text"], 150),
        Some("section") => words(&block["text"], &any, 3_000),
        Some("context") => block["elements"].as_array().is_some_and(|elements| {
            (1..=10).contains(&elements.len()) && elements.iter().all(|one| words(one, &any, 3_000))
        }),
        Some("divider") => true,
        _ => false,
    }
}

/// A PagerDuty with one integration.
pub struct Pagerduty {
    pub api: Api,
    incidents: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Pagerduty {
    /// Starts it.
    pub fn start() -> Self {
        let incidents: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
        let kept = Arc::clone(&incidents);
        let api = Api::judged(Box::new(move |seen| judge_pagerduty(seen, &kept)));
        Self { api, incidents }
    }

    /// Where events are taken.
    pub fn url(&self) -> String {
        self.api.url("/v2/enqueue")
    }

    /// What happened to an incident, by its `dedup_key`: `trigger`, `resolve`.
    pub fn incident(&self, key: &str) -> Vec<String> {
        let incidents = self
            .incidents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        incidents.get(key).cloned().unwrap_or_default()
    }
}

/// <https://developer.pagerduty.com/docs/send-alert-event>.
fn judge_pagerduty(seen: &Seen, incidents: &Mutex<BTreeMap<String, Vec<String>>>) -> Answer {
    if seen.method != "POST" || seen.path() != "/v2/enqueue" {
        return Answer::status(404);
    }
    let event: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let errors = wrong(&event);
    if !errors.is_empty() {
        let body = json!({
            "status": "invalid event", "message": "Event object is invalid", "errors": errors,
        });
        return Answer::json(400, &body);
    }
    let action = event["event_action"].as_str().unwrap_or_default();
    let key = event["dedup_key"].as_str().unwrap_or("made-up");
    let mut incidents = incidents.lock().unwrap_or_else(PoisonError::into_inner);
    incidents
        .entry(key.to_owned())
        .or_default()
        .push(action.to_owned());
    let body = json!({ "status": "success", "message": "Event processed", "dedup_key": key });
    Answer::json(202, &body)
}

fn wrong(event: &Value) -> Vec<&'static str> {
    let mut errors = Vec::new();
    if event["routing_key"] != PAGERDUTY_KEY {
        errors.push("'routing_key' is missing or invalid");
    }
    let length = |value: &Value| value.as_str().map(|text| text.chars().count());
    let key = length(&event["dedup_key"]);
    if !event["dedup_key"].is_null() && !key.is_some_and(|length| (1..=255).contains(&length)) {
        errors.push("'dedup_key' is invalid");
    }
    let payload = &event["payload"];
    match event["event_action"].as_str() {
        Some("trigger") => {
            if !length(&payload["summary"]).is_some_and(|length| (1..=1_024).contains(&length)) {
                errors.push("'payload.summary' is missing or invalid");
            }
            if length(&payload["source"]).is_none_or(|length| length == 0) {
                errors.push("'payload.source' is missing or blank");
            }
            let severities = ["critical", "warning", "error", "info"];
            if !severities.iter().any(|word| payload["severity"] == *word) {
                errors.push("'payload.severity' is invalid");
            }
            if !payload["custom_details"].is_null() && !payload["custom_details"].is_object() {
                errors.push("'payload.custom_details' is invalid");
            }
        }
        Some("acknowledge" | "resolve") => {
            if key.is_none() {
                errors.push("'dedup_key' is missing");
            }
        }
        _ => errors.push("'event_action' is missing or invalid"),
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(path: &str, body: &Value) -> Seen {
        Seen {
            number: 0,
            method: "POST".to_owned(),
            target: path.to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
            records: Vec::new(),
            began: 0,
            ended: None,
            status: None,
        }
    }

    #[test]
    fn slack_refuses_what_it_documents_to_refuse() {
        let long = "x".repeat(151);
        for (path, body, words) in [
            (SLACK_PATH, json!({ "text": "hello" }), "ok"),
            (
                SLACK_PATH,
                json!({ "blocks": [{ "type": "divider" }] }),
                "ok",
            ),
            (SLACK_PATH, json!({}), "no_text"),
            (SLACK_PATH, json!(["text"]), "invalid_payload"),
            (
                "/services/T/B/other",
                json!({ "text": "hello" }),
                "no_service",
            ),
            (
                SLACK_PATH,
                json!({ "blocks": [{ "type": "banner" }] }),
                "invalid_blocks",
            ),
            (
                SLACK_PATH,
                json!({ "blocks": [{ "type": "header", "text": { "type": "plain_text", "text": long } }] }),
                "invalid_blocks",
            ),
            (
                SLACK_PATH,
                json!({ "blocks": [{ "type": "header", "text": { "type": "mrkdwn", "text": "x" } }] }),
                "invalid_blocks",
            ),
        ] {
            let answer = judge_slack(&seen(path, &body));
            assert_eq!(String::from_utf8_lossy(&answer.body), words, "{body}");
            assert_eq!(answer.status == 200, words == "ok", "{body}");
        }
    }

    #[test]
    fn pagerduty_refuses_what_it_documents_to_refuse() {
        let good = json!({
            "routing_key": PAGERDUTY_KEY, "event_action": "trigger", "dedup_key": "a",
            "payload": { "summary": "s", "source": "x", "severity": "error" },
        });
        let kept = Mutex::default();
        let status = |event: &Value| judge_pagerduty(&seen("/v2/enqueue", event), &kept).status;
        assert_eq!(status(&good), 202);
        let resolve =
            json!({ "routing_key": PAGERDUTY_KEY, "event_action": "resolve", "dedup_key": "a" });
        assert_eq!(status(&resolve), 202);
        for (path, value) in [
            ("/routing_key", json!("short")),
            ("/event_action", json!("raise")),
            ("/dedup_key", json!("k".repeat(256))),
            ("/payload/summary", json!("")),
            ("/payload/summary", json!("s".repeat(1_025))),
            ("/payload/source", Value::Null),
            ("/payload/severity", json!("bad")),
        ] {
            let mut event = good.clone();
            *event.pointer_mut(path).expect("a member") = value;
            assert_eq!(status(&event), 400, "{path}");
        }
        let nameless = json!({ "routing_key": PAGERDUTY_KEY, "event_action": "resolve" });
        assert_eq!(status(&nameless), 400);
        let all = kept.lock().expect("nobody panicked with it");
        assert_eq!(all["a"], ["trigger", "resolve"]);
    }
}
