//! JSON by POST, signed as Standard Webhooks says.

use std::time::UNIX_EPOCH;

use rowcast_core::Secret;
use rowcast_core::alert::{Message, NoticeKind};
use serde_json::json;

use super::{Request, good};
use crate::http::client::wall_clock;
use crate::signature::{key, sign};

pub(super) fn request(
    url: &Secret<String>,
    secrets: &[Secret<String>],
    message: &Message,
) -> Request {
    let body = body(message);
    let now = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut headers = vec![
        ("webhook-id", message.id.clone()),
        ("webhook-timestamp", now.as_secs().to_string()),
    ];
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| sign(&key(secret), &message.id, now.as_secs(), &body))
        .collect();
    if !signatures.is_empty() {
        headers.push(("webhook-signature", signatures.join(" ")));
    }
    Request {
        url: url.clone(),
        headers,
        body,
        secrets: secrets.to_vec(),
        taken: good,
    }
}

fn body(message: &Message) -> Vec<u8> {
    let kind = match message.kind {
        NoticeKind::Raised => "sync.alert.raised",
        NoticeKind::Reminder => "sync.alert.reminder",
        NoticeKind::Recovered => "sync.alert.resolved",
        NoticeKind::Test => "alert.test",
    };
    let data = json!({
        "project": message.project,
        "sync": message.condition.map(|_| &message.sync),
        "condition": message.condition,
        "since": message.since,
        "title": message.title(),
        "text": message.text,
        "code": message.code,
        "run": message.run,
        "counts": message.counts,
        "owner": message.owner,
        "commands": message.commands,
        "alert": message.subject(),
    });
    let document = json!({
        "type": kind,
        "id": message.id,
        "timestamp": message.at,
        "data": data,
    });
    document.to_string().into_bytes()
}
