//! A webhook: takes lists of objects that have an `id`.

use serde_json::json;

use super::{Held, body, refused};
use crate::api::{Answer, Seen};

/// Bytes of a request that it takes.
const BYTES_MAX: usize = 1 << 20;

pub(super) fn answer(held: &mut Held, seen: &Seen) -> Answer {
    if seen.path() != "/hook" {
        return refused(404, "no such hook");
    }
    if !["POST", "PUT", "PATCH"].contains(&seen.method.as_str()) {
        return refused(405, "Method Not Allowed");
    }
    let list = match body(seen, BYTES_MAX) {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let Some(items) = list.as_array() else {
        return refused(400, "a list is expected");
    };
    for item in items {
        if item.get("id").is_none_or(serde_json::Value::is_null) {
            return refused(400, "an item has no id");
        }
    }
    for item in items {
        let id = item["id"]
            .as_str()
            .map_or_else(|| item["id"].to_string(), str::to_owned);
        held.records.insert(id, item.clone());
    }
    Answer::json(200, &json!({ "taken": items.len() }))
}
