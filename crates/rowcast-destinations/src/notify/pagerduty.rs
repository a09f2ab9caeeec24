//! Events API v2 of PagerDuty: raising triggers, recovery resolves, by one `dedup_key`.

use rowcast_core::Secret;
use rowcast_core::alert::{Condition, Message, NoticeKind};
use serde_json::{Value, json};

use super::Request;
use super::slack::cut;

/// Where events are taken, outside of the EU service region.
pub const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Longest summary, as documented.
const SUMMARY_MAX: usize = 1_024;
/// Longest `dedup_key`.
const KEY_MAX: usize = 255;

pub(super) fn request(key: &Secret<String>, url: &Secret<String>, message: &Message) -> Request {
    let mut event = json!({
        "routing_key": key.reveal(),
        "event_action": if message.kind == NoticeKind::Recovered { "resolve" } else { "trigger" },
        "dedup_key": dedup_key(&message.subject()),
    });
    // Only a trigger has more to say.
    if message.kind != NoticeKind::Recovered {
        event["client"] = json!("Rowcast");
        event["payload"] = payload(message);
    }
    Request {
        url: url.clone(),
        headers: Vec::new(),
        body: event.to_string().into_bytes(),
        secrets: vec![key.clone()],
        taken: |status, _| status == 202,
    }
}

fn payload(message: &Message) -> Value {
    let severity = match message.condition {
        Some(Condition::Failed | Condition::Late) => "error",
        Some(Condition::Full) | None => "info",
        Some(_) => "warning",
    };
    json!({
        "summary": cut(&format!("{}: {}", message.title(), message.text), SUMMARY_MAX),
        "source": message.project,
        "severity": severity,
        "timestamp": message.at,
        "component": message.sync,
        "class": message.condition.map_or("test", Condition::as_str),
        "custom_details": {
            "id": message.id,
            "since": message.since,
            "code": message.code,
            "run": message.run,
            "counts": message.counts,
            "owner": message.owner,
            "commands": message.commands,
        },
    })
}

/// The key that joins raising and recovery; a long one is told apart by its hash.
fn dedup_key(subject: &str) -> String {
    if subject.chars().count() <= KEY_MAX {
        return subject.to_owned();
    }
    format!("rowcast/{}", blake3::hash(subject.as_bytes()).to_hex())
}
