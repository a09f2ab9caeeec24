//! Braze's `/users/track`: at most 75 objects of a kind a request, faults of single ones by index.

use serde_json::{Value, json};

use super::{Held, body, refused};
use crate::api::{Answer, Seen};

/// Objects of each kind in a request.
const OBJECTS_MAX: usize = 75;
/// Bytes of a request.
const BYTES_MAX: usize = 4 << 20;

pub(super) fn answer(held: &mut Held, seen: &Seen) -> Answer {
    if !held.bearer(seen) {
        return refused(401, "Invalid API Key");
    }
    if seen.path() != "/users/track" {
        return refused(404, "Not Found");
    }
    if seen.method != "POST" {
        return refused(405, "Method Not Allowed");
    }
    let body = match body(seen, BYTES_MAX) {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let mut errors = Vec::new();
    let mut taken = 0;
    for kind in ["attributes", "events", "purchases"] {
        let objects = body[kind].as_array().map_or(&[][..], Vec::as_slice);
        if objects.len() > OBJECTS_MAX {
            return refused(
                400,
                &format!("'{kind}' has more than {OBJECTS_MAX} objects"),
            );
        }
        for (index, object) in objects.iter().enumerate() {
            match fault(object) {
                Some(fault) => {
                    errors.push(json!({ "type": fault, "input_array": kind, "index": index }));
                }
                None => {
                    taken += 1;
                    let id = object["external_id"].as_str().unwrap_or_default();
                    held.records.insert(id.to_owned(), object.clone());
                }
            }
        }
    }
    match (taken, errors.is_empty()) {
        (0, _) => Answer::json(
            400,
            &json!({ "message": "Valid data must be provided", "errors": errors }),
        ),
        (_, true) => Answer::json(
            201,
            &json!({ "message": "success", "attributes_processed": taken }),
        ),
        (_, false) => Answer::json(
            201,
            &json!({ "message": "success", "attributes_processed": taken, "errors": errors }),
        ),
    }
}

fn fault(object: &Value) -> Option<&'static str> {
    if object["external_id"].as_str().is_none_or(str::is_empty) {
        return Some("'external_id' or 'braze_id' or 'user_alias' is required");
    }
    let gender = &object["gender"];
    let known = gender.is_null()
        || gender
            .as_str()
            .is_some_and(|g| ["M", "F", "O", "N", "P"].contains(&g));
    (!known).then_some("'gender' is not valid")
}

#[cfg(test)]
mod tests {
    use super::super::tests::asked;
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let key = [
            ("authorization", "Bearer emulator"),
            ("content-type", "application/json"),
        ];
        let wrong = [
            ("authorization", "Bearer wrong"),
            ("content-type", "application/json"),
        ];
        let one = json!({ "external_id": "u1" });
        let ask = |path, headers, body| asked(answer, "POST", path, headers, &body);
        assert_eq!(
            ask("/users/track", &key, json!({ "attributes": [one] })),
            201
        );
        assert_eq!(
            ask("/users/track", &wrong, json!({ "attributes": [one] })),
            401
        );
        assert_eq!(
            ask("/users/other", &key, json!({ "attributes": [one] })),
            404
        );
        assert_eq!(
            ask("/users/track", &key, json!({ "attributes": vec![one; 76] })),
            400
        );
        assert_eq!(
            ask(
                "/users/track",
                &key,
                json!({ "attributes": [{ "first_name": "A" }] })
            ),
            400
        );
        assert_eq!(ask("/users/track", &key, json!({})), 400);
    }
}
