//! Klaviyo's bulk import of profiles: at most 10,000 a job, refused whole when one is wrong.

use serde_json::{Value, json};

use super::{Held, body, is_address};
use crate::api::{Answer, Seen};

/// Profiles of a job.
const PROFILES_MAX: usize = 10_000;
/// Bytes of a job.
const BYTES_MAX: usize = 5_000_000;

pub(super) fn answer(held: &mut Held, seen: &Seen) -> Answer {
    let key = seen
        .header("authorization")
        .and_then(|key| key.strip_prefix("Klaviyo-API-Key "));
    if !key.is_some_and(|key| held.knows(key)) {
        return refused(401, "Incorrect authentication credentials.", "");
    }
    if seen
        .header("revision")
        .is_none_or(|revision| revision.len() != 10)
    {
        return refused(400, "A revision is required.", "");
    }
    match (seen.method.as_str(), seen.path()) {
        ("GET", "/api/accounts/") => Answer::json(200, &json!({ "data": [] })),
        ("GET", "/api/lists/") => Answer::json(
            200,
            &json!({ "data": [{ "type": "list", "id": "L1", "attributes": { "name": "Newsletter" } }] }),
        ),
        ("POST", "/api/profile-bulk-import-jobs/") => match body(seen, BYTES_MAX) {
            Ok(body) => job(held, &body["data"]),
            Err(answer) => answer,
        },
        _ => refused(404, "Not found.", ""),
    }
}

fn job(held: &mut Held, data: &Value) -> Answer {
    if data["type"] != "profile-bulk-import-job" {
        return refused(400, "The type is wrong.", "/data/type");
    }
    let profiles = data["attributes"]["profiles"]["data"].as_array();
    let Some(profiles) = profiles.filter(|all| (1..=PROFILES_MAX).contains(&all.len())) else {
        return refused(
            400,
            "A job has 1 to 10,000 profiles.",
            "/data/attributes/profiles",
        );
    };
    for (index, profile) in profiles.iter().enumerate() {
        let attributes = &profile["attributes"];
        let at = format!("/data/attributes/profiles/data/{index}/attributes");
        let named = ["email", "external_id", "phone_number", "id"];
        if !named.iter().any(|name| attributes[*name].is_string()) {
            return refused(400, "A profile has no identifier.", &at);
        }
        if attributes["email"]
            .as_str()
            .is_some_and(|email| !is_address(email))
        {
            return refused(400, "Invalid email address", &format!("{at}/email"));
        }
    }
    for profile in profiles {
        let attributes = &profile["attributes"];
        let id = attributes["email"]
            .as_str()
            .or(attributes["external_id"].as_str());
        held.records
            .insert(id.unwrap_or_default().to_owned(), attributes.clone());
    }
    Answer::json(
        202,
        &json!({ "data": { "type": "profile-bulk-import-job", "id": "J1" } }),
    )
}

fn refused(status: u16, detail: &str, pointer: &str) -> Answer {
    let error = json!({ "status": status, "code": "invalid", "detail": detail, "source": { "pointer": pointer } });
    Answer::json(status, &json!({ "errors": [error] }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::asked;
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let headers = [
            ("authorization", "Klaviyo-API-Key emulator"),
            ("revision", "2025-01-15"),
            ("content-type", "application/json"),
        ];
        let of = |profiles: Vec<Value>| json!({ "data": { "type": "profile-bulk-import-job", "attributes": { "profiles": { "data": profiles } } } });
        let one = json!({ "type": "profile", "attributes": { "email": "a@x.org" } });
        let path = "/api/profile-bulk-import-jobs/";
        let ask = |headers: &[_], body| asked(answer, "POST", path, headers, &body);
        assert_eq!(ask(&headers, of(vec![one.clone()])), 202);
        assert_eq!(ask(&headers[1..], of(vec![one.clone()])), 401);
        assert_eq!(ask(&[headers[0], headers[2]], of(vec![one.clone()])), 400);
        assert_eq!(ask(&headers, of(vec![])), 400);
        assert_eq!(ask(&headers, of(vec![one.clone(); 10_001])), 400);
        let bad = json!({ "type": "profile", "attributes": { "email": "nobody" } });
        assert_eq!(ask(&headers, of(vec![one.clone(), bad])), 400);
        let nameless = json!({ "type": "profile", "attributes": { "first_name": "A" } });
        assert_eq!(ask(&headers, of(vec![one, nameless])), 400);
    }
}
