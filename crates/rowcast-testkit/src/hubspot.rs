//! HubSpot's batch interface for contacts, from its public documentation and from nothing else: it
//! refuses requests that the real one would refuse, so that a connector can't be right by agreeing
//! with itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::api::{Answer, Api, Seen};

/// Most inputs of one batch.
const INPUTS_MAX: usize = 100;
/// The only token that is taken.
const TOKEN: &str = "pat-emulator";

/// What the portal holds.
#[derive(Debug, Default)]
struct Portal {
    next: u64,
    /// By id.
    contacts: BTreeMap<u64, Map<String, Value>>,
}

/// The running service.
pub struct HubSpot {
    api: Api,
    portal: Arc<Mutex<Portal>>,
}

impl HubSpot {
    /// Starts an empty portal whose private app has the token `pat-emulator`.
    pub fn start() -> Self {
        let portal = Arc::new(Mutex::new(Portal::default()));
        let shared = Arc::clone(&portal);
        let api = Api::judged(Box::new(move |seen| {
            shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .answer(seen)
        }));
        Self { api, portal }
    }

    /// The service on the wire: its address, log and scripts.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Properties of all contacts by e-mail.
    pub fn contacts(&self) -> BTreeMap<String, Map<String, Value>> {
        let portal = self.portal.lock().unwrap_or_else(PoisonError::into_inner);
        let contacts = portal.contacts.values();
        contacts
            .filter_map(|of| Some((of.get("email")?.as_str()?.to_owned(), of.clone())))
            .collect()
    }
}

/// A request that the service refuses whole.
struct Refused(u16, String);

impl Portal {
    fn answer(&mut self, seen: &Seen) -> Answer {
        if seen.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            let words = json!({ "status": "error", "category": "INVALID_AUTHENTICATION", "message": "Authentication credentials not found." });
            return Answer::json(401, &words);
        }
        if seen.method == "GET" && seen.path() == "/crm/v3/objects/contacts" {
            return Answer::json(200, &json!({ "results": [] }));
        }
        self.batch(seen).unwrap_or_else(|Refused(status, message)| {
            let words =
                json!({ "status": "error", "category": "VALIDATION_ERROR", "message": message });
            Answer::json(status, &words)
        })
    }

    fn batch(&mut self, seen: &Seen) -> Result<Answer, Refused> {
        let refused = |message: &str| Refused(400, message.to_owned());
        let action = seen
            .path()
            .strip_prefix("/crm/v3/objects/contacts/batch/")
            .ok_or_else(|| Refused(404, "no such resource".to_owned()))?;
        if seen.method != "POST" {
            return Err(Refused(405, "Method Not Allowed".to_owned()));
        }
        if seen.header("content-type") != Some("application/json") {
            return Err(Refused(415, "Unsupported Media Type".to_owned()));
        }
        let body: Value =
            serde_json::from_slice(&seen.body).map_err(|_| refused("Invalid input JSON"))?;
        let inputs = body["inputs"]
            .as_array()
            .ok_or_else(|| refused("inputs is required"))?;
        if inputs.is_empty() || inputs.len() > INPUTS_MAX {
            return Err(refused(&format!(
                "a batch has 1 to {INPUTS_MAX} inputs, this one {}",
                inputs.len()
            )));
        }
        match action {
            "create" => self.each(inputs, 201, Self::create),
            "update" => self.each(inputs, 200, Self::update),
            "upsert" => self.each(inputs, 200, Self::upsert),
            "archive" => {
                for input in inputs {
                    // Only internal ids: an address is no number.
                    let id = input["id"].as_str().and_then(|id| id.parse::<u64>().ok());
                    let id = id.ok_or_else(|| refused("Invalid object id"))?;
                    self.contacts.remove(&id);
                }
                Ok(Answer::status(204))
            }
            "read" => {
                if !body["properties"].is_array() || body["idProperty"] != "email" {
                    return Err(refused("properties and idProperty are required here"));
                }
                let mut results = Vec::new();
                let mut missing = Vec::new();
                for input in inputs {
                    let email = input["id"].as_str().unwrap_or_default();
                    match self.by_email(email) {
                        Some(id) => results.push(
                            json!({ "id": id.to_string(), "properties": { "email": email } }),
                        ),
                        None => missing.push(email.to_owned()),
                    }
                }
                let mut answer = json!({ "status": "COMPLETE", "results": results });
                if missing.is_empty() {
                    return Ok(Answer::json(200, &answer));
                }
                answer["errors"] = json!([{ "status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some contacts", "context": { "ids": missing } }]);
                Ok(Answer::json(207, &answer))
            }
            _ => Err(Refused(404, "no such action".to_owned())),
        }
    }

    fn each(
        &mut self,
        inputs: &[Value],
        status: u16,
        write: fn(&mut Self, &Value) -> Result<u64, String>,
    ) -> Result<Answer, Refused> {
        let mut results = Vec::new();
        let mut errors = Vec::new();
        for input in inputs {
            if !input["properties"].is_object() {
                return Err(Refused(400, "properties is required".to_owned()));
            }
            match write(self, input) {
                Ok(id) => results.push(json!({ "id": id.to_string() })),
                Err(message) => errors.push(json!({
                    "status": "error",
                    "category": "VALIDATION_ERROR",
                    "message": message,
                    "context": { "objectWriteTraceId": [input["objectWriteTraceId"].clone()] },
                })),
            }
        }
        let mut answer = json!({ "status": "COMPLETE", "results": results });
        if errors.is_empty() {
            return Ok(Answer::json(status, &answer));
        }
        answer["numErrors"] = json!(errors.len());
        answer["errors"] = json!(errors);
        Ok(Answer::json(207, &answer))
    }

    fn by_email(&self, email: &str) -> Option<u64> {
        let mut all = self.contacts.iter();
        all.find(|(_, contact)| contact.get("email").and_then(Value::as_str) == Some(email))
            .map(|(id, _)| *id)
    }

    fn create(&mut self, input: &Value) -> Result<u64, String> {
        let email = input["properties"]["email"].as_str().unwrap_or_default();
        if self.by_email(email).is_some() {
            return Err("Contact already exists.".to_owned());
        }
        self.next += 1;
        self.contacts.insert(self.next, Map::new());
        self.set(self.next, input)
    }

    fn update(&mut self, input: &Value) -> Result<u64, String> {
        let id = self.named(input)?.ok_or("No contact with this e-mail")?;
        self.set(id, input)
    }

    fn upsert(&mut self, input: &Value) -> Result<u64, String> {
        let email = input["id"].as_str().unwrap_or_default().to_owned();
        if let Some(id) = self.named(input)? {
            return self.set(id, input);
        }
        Self::check(input, &email)?;
        self.next += 1;
        let contact = Map::from_iter([("email".to_owned(), json!(email))]);
        self.contacts.insert(self.next, contact);
        self.set(self.next, input)
    }

    fn named(&self, input: &Value) -> Result<Option<u64>, String> {
        if input["idProperty"] != "email" {
            return Err("idProperty must be a property with unique values".to_owned());
        }
        let email = input["id"].as_str().ok_or("id is required and a string")?;
        Ok(self.by_email(email))
    }

    fn check(input: &Value, email: &str) -> Result<(), String> {
        if !email.contains('@') {
            return Err(format!("Email address {email} is invalid"));
        }
        let properties = input["properties"].as_object();
        for (name, value) in properties.into_iter().flatten() {
            if !matches!(name.as_str(), "email" | "firstname" | "plan") {
                return Err(format!("Property \"{name}\" does not exist"));
            }
            if value.is_object() || value.is_array() {
                return Err(format!("Property \"{name}\" takes one value"));
            }
        }
        Ok(())
    }

    fn set(&mut self, id: u64, input: &Value) -> Result<u64, String> {
        let email = self
            .contacts
            .get(&id)
            .and_then(|of| of.get("email"))
            .cloned();
        let email = email.unwrap_or_else(|| input["properties"]["email"].clone());
        Self::check(input, email.as_str().unwrap_or_default())?;
        let properties = input["properties"].as_object();
        let contact = self.contacts.entry(id).or_default();
        for (name, value) in properties.into_iter().flatten() {
            contact.insert(name.clone(), value.clone());
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(portal: &mut Portal, path: &str, token: &str, body: &Value) -> u16 {
        let headers = [
            ("authorization".to_owned(), format!("Bearer {token}")),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        let seen = Seen {
            number: 0,
            method: "POST".to_owned(),
            target: format!("/crm/v3/objects/contacts/batch/{path}"),
            headers: headers.to_vec(),
            body: body.to_string().into_bytes(),
            records: Vec::new(),
            began: 0,
            ended: None,
            status: None,
        };
        portal.answer(&seen).status
    }

    #[test]
    fn wrong_requests_are_refused() {
        let mut portal = Portal::default();
        let input = json!({ "idProperty": "email", "id": "a@example.com", "properties": {} });
        let one = json!({ "inputs": [input] });
        assert_eq!(asked(&mut portal, "upsert", "wrong", &one), 401);
        assert_eq!(asked(&mut portal, "upsert", TOKEN, &json!({})), 400);
        assert_eq!(asked(&mut portal, "nothing", TOKEN, &one), 404);
        let many = json!({ "inputs": vec![input.clone(); 101] });
        assert_eq!(asked(&mut portal, "upsert", TOKEN, &many), 400);
        let by_address = json!({ "inputs": [{ "id": "a@example.com" }] });
        assert_eq!(asked(&mut portal, "archive", TOKEN, &by_address), 400);
        let no_property = json!({ "inputs": [{ "id": "a@example.com", "properties": {} }] });
        assert_eq!(asked(&mut portal, "upsert", TOKEN, &no_property), 207);
        assert_eq!(asked(&mut portal, "upsert", TOKEN, &one), 200);
    }
}
