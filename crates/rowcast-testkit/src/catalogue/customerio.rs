//! Customer.io's Track API v2: batches of at most 500 KB, 207 with the faulty ones by index.

use serde_json::{Value, json};

use super::{Held, body, is_address, refused};
use crate::api::{Answer, Seen};

/// Bytes of a batch.
const BATCH_BYTES_MAX: usize = 500_000;
/// Bytes of one operation.
const BYTES_MAX: usize = 32_000;
/// `site:emulator`.
const LOGIN: &str = "Basic c2l0ZTplbXVsYXRvcg==";

pub(super) fn answer(held: &mut Held, seen: &Seen) -> Answer {
    if seen.header("authorization") != Some(LOGIN) {
        return refused(401, "Unauthorized");
    }
    match (seen.method.as_str(), seen.path()) {
        ("GET", "/auth") => Answer::json(200, &json!({ "meta": "nice credentials." })),
        ("POST", "/api/v2/batch") => match body(seen, BATCH_BYTES_MAX) {
            Ok(body) => batch(held, &body),
            Err(answer) => answer,
        },
        ("POST", "/api/v2/entity") => match body(seen, BYTES_MAX) {
            Ok(operation) => match fault(&operation) {
                Some((field, message)) => Answer::json(
                    400,
                    &json!({ "errors": [{ "reason": "invalid", "field": field, "message": message }] }),
                ),
                None => {
                    take(held, &operation);
                    Answer::json(200, &json!({}))
                }
            },
            Err(answer) => answer,
        },
        _ => refused(404, "not found"),
    }
}

fn batch(held: &mut Held, body: &Value) -> Answer {
    let Some(operations) = body["batch"].as_array().filter(|all| !all.is_empty()) else {
        return refused(400, "batch is required");
    };
    let mut errors = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        match fault(operation) {
            Some((field, message)) => errors.push(json!({
                "batch_index": index, "reason": "invalid", "field": field, "message": message,
            })),
            None => take(held, operation),
        }
    }
    if errors.is_empty() {
        return Answer::json(200, &json!({}));
    }
    Answer::json(207, &json!({ "errors": errors }))
}

fn take(held: &mut Held, operation: &Value) {
    let ids = &operation["identifiers"];
    let id = ids["id"]
        .as_str()
        .or(ids["email"].as_str())
        .unwrap_or_default();
    if operation["action"] == "delete" {
        held.records.remove(id);
    } else {
        held.records
            .insert(id.to_owned(), operation["attributes"].clone());
    }
}

fn fault(operation: &Value) -> Option<(&'static str, &'static str)> {
    if operation["type"] != "person" {
        return Some(("type", "unknown type"));
    }
    if !["identify", "delete"].contains(&operation["action"].as_str().unwrap_or_default()) {
        return Some(("action", "unknown action"));
    }
    let ids = operation["identifiers"]
        .as_object()
        .filter(|ids| ids.len() == 1);
    if ids.is_none() {
        return Some(("identifiers", "one identifier is required"));
    }
    match operation["attributes"]["email"].as_str() {
        Some(email) if !is_address(email) => Some(("email", "invalid email")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::asked;
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let login = [
            ("authorization", LOGIN),
            ("content-type", "application/json"),
        ];
        let one = json!({ "type": "person", "action": "identify", "identifiers": { "id": "1" }, "attributes": { "email": "a@x.org" } });
        let ask = |path, headers: &[_], body| asked(answer, "POST", path, headers, &body);
        assert_eq!(ask("/api/v2/batch", &login, json!({ "batch": [one] })), 200);
        assert_eq!(
            ask("/api/v2/batch", &login[1..], json!({ "batch": [one] })),
            401
        );
        assert_eq!(ask("/api/v2/other", &login, json!({ "batch": [one] })), 404);
        assert_eq!(ask("/api/v2/batch", &login, json!({})), 400);
        let mut bad = one.clone();
        bad["identifiers"] = json!({});
        assert_eq!(
            ask("/api/v2/batch", &login, json!({ "batch": [one, bad] })),
            207
        );
        assert_eq!(ask("/api/v2/entity", &login, bad), 400);
        let large = json!({ "batch": [one], "padding": "x".repeat(500_000) });
        assert_eq!(ask("/api/v2/batch", &login, large), 413);
    }
}
