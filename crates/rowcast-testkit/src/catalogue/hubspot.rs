//! HubSpot as the action `upsertObject` uses it: properties, batches of at most 100, OAuth tokens.

use serde_json::{Value, json};

use super::{Held, body, is_address};
use crate::api::{Answer, Seen};

/// Inputs of a batch.
const INPUTS_MAX: usize = 100;
/// Bytes of a request.
const BYTES_MAX: usize = 2 << 20;
/// Properties of a contact here: name, and whether its values are unique.
const PROPERTIES: [(&str, bool); 3] = [("email", true), ("firstname", false), ("plan", false)];

pub(super) fn answer(held: &mut Held, seen: &Seen) -> Answer {
    if seen.path() == "/oauth/v1/token" {
        return token(held, seen);
    }
    if !held.bearer(seen) {
        let words = "Authentication credentials not found.";
        return refused(401, "INVALID_AUTHENTICATION", words);
    }
    match (seen.method.as_str(), seen.path()) {
        ("GET", "/crm/v3/objects/contacts") => Answer::json(200, &json!({ "results": [] })),
        ("GET", "/crm/v3/properties/contact") => {
            let results: Vec<Value> = PROPERTIES
                .iter()
                .map(|(name, unique)| {
                    json!({
                        "name": name, "label": name, "type": "string", "fieldType": "text",
                        "groupName": "contactinformation", "hasUniqueValue": unique,
                    })
                })
                .collect();
            Answer::json(200, &json!({ "results": results }))
        }
        ("POST", "/crm/v3/objects/contact/batch/upsert") => match body(seen, BYTES_MAX) {
            Ok(body) => upsert(held, &body),
            Err(answer) => answer,
        },
        _ => refused(404, "OBJECT_NOT_FOUND", "no such resource"),
    }
}

/// Tokens for a refresh token: every answer withdraws those before.
fn token(held: &mut Held, seen: &Seen) -> Answer {
    let form = seen.text();
    let has = |member: &str| form.split('&').any(|pair| pair == member);
    let known = [
        "client_id=client",
        "client_secret=client-secret",
        "refresh_token=refresh",
    ];
    if !has("grant_type=refresh_token") || !known.iter().all(|member| has(member)) {
        return refused(400, "BAD_REFRESH_TOKEN", "missing or unknown refresh token");
    }
    held.tokens = vec!["fresh".to_owned()];
    Answer::json(
        200,
        &json!({ "access_token": "fresh", "refresh_token": "refresh", "expires_in": 1800 }),
    )
}

fn upsert(held: &mut Held, body: &Value) -> Answer {
    let inputs = body["inputs"].as_array();
    let Some(inputs) = inputs.filter(|all| (1..=INPUTS_MAX).contains(&all.len())) else {
        return refused(400, "VALIDATION_ERROR", "a batch has 1 to 100 inputs");
    };
    for (at, input) in inputs.iter().enumerate() {
        let wrong = |words: &str| refused(400, "VALIDATION_ERROR", words);
        if input["idProperty"] != "email" {
            return wrong("idProperty must be a property with unique values");
        }
        let Some(id) = input["id"].as_str().filter(|id| is_address(id)) else {
            return wrong(&format!(
                "Property values were not valid: email {} is invalid",
                input["id"]
            ));
        };
        if inputs[..at].iter().any(|earlier| earlier["id"] == id) {
            return wrong("Duplicate IDs found in batch input");
        }
        let properties = input["properties"].as_object();
        let unknown = |name: &&String| !PROPERTIES.iter().any(|(known, _)| known == *name);
        if let Some(name) = properties.and_then(|all| all.keys().find(unknown)) {
            return wrong(&format!("Property \"{name}\" does not exist"));
        }
    }
    let mut results = Vec::new();
    for input in inputs {
        let id = input["id"].as_str().unwrap_or_default();
        held.records
            .insert(id.to_owned(), input["properties"].clone());
        results
            .push(json!({ "id": held.records.len().to_string(), "properties": { "email": id } }));
    }
    Answer::json(200, &json!({ "status": "COMPLETE", "results": results }))
}

fn refused(status: u16, category: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "status": "error", "category": category, "message": message }),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::asked;
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let headers = [
            ("authorization", "Bearer emulator"),
            ("content-type", "application/json"),
        ];
        let one = |email: &str| json!({ "idProperty": "email", "id": email, "properties": { "firstname": "A" } });
        let path = "/crm/v3/objects/contact/batch/upsert";
        let ask = |headers: &[_], inputs: Vec<Value>| {
            asked(answer, "POST", path, headers, &json!({ "inputs": inputs }))
        };
        assert_eq!(ask(&headers, vec![one("a@x.org")]), 200);
        assert_eq!(ask(&headers[1..], vec![one("a@x.org")]), 401);
        assert_eq!(ask(&headers[..1], vec![one("a@x.org")]), 415);
        assert_eq!(ask(&headers, vec![]), 400);
        assert_eq!(ask(&headers, vec![one("a@x.org"); 2]), 400);
        assert_eq!(ask(&headers, vec![one("nobody")]), 400);
        let many = (0..101).map(|n| one(&format!("c{n}@x.org"))).collect();
        assert_eq!(ask(&headers, many), 400);
        let mut unknown = one("a@x.org");
        unknown["properties"]["unknown"] = json!(1);
        assert_eq!(ask(&headers, vec![unknown]), 400);
        let form = |body: &str| asked(answer, "POST", "/oauth/v1/token", &[], &Value::from(body));
        assert_eq!(form("grant_type=refresh_token&client_id=client"), 400);
    }
}
