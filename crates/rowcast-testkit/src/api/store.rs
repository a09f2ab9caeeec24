//! What the service holds: records by key, and the history of everything that took effect.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::script::{Answer, BadRecords};
use super::{Request, Seen};

/// One record that took effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The request it came with.
    pub request: usize,
    /// The key's JSON text: `{"id":7}`; for paths such as `/customers/7` the last segment.
    pub key: String,
    pub operation: String,
    pub fields: Value,
    pub idempotency_key: Option<String>,
}

/// Records by key, and how they came about.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// Fields by key.
    pub records: BTreeMap<String, Value>,
    /// Everything that took effect, in order.
    pub history: Vec<Applied>,
}

/// The records in a body: the items of a list, of the only list in an object, of JSON lines; else
/// the body itself. Nothing for an empty body.
pub(super) fn records(request: &Request) -> Vec<Value> {
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(Value::Array(items)) => items,
        Ok(Value::Object(members)) => match members.values().next() {
            Some(Value::Array(items)) if members.len() == 1 => items.clone(),
            _ => vec![Value::Object(members)],
        },
        Ok(other) => vec![other],
        Err(_) => String::from_utf8_lossy(&request.body)
            .lines()
            .map_while(|line| serde_json::from_str(line).ok())
            .collect(),
    }
}

/// A refusal of one record: status and words.
type Refusal = (u16, String);

impl Store {
    /// The fields held for a key with one integer `id`.
    pub fn get(&self, id: i64) -> Option<&Value> {
        self.records
            .get(&format!("{{\"id\":{id}}}"))
            .or_else(|| self.records.get(&id.to_string()))
    }

    /// Records that took effect more than once with the same idempotency key: duplicates.
    pub fn duplicates(&self) -> Vec<&Applied> {
        let same = |a: &Applied, b: &Applied| {
            a.idempotency_key.is_some() && a.idempotency_key == b.idempotency_key
        };
        self.history
            .iter()
            .enumerate()
            .filter(|(i, applied)| self.history[..*i].iter().any(|other| same(other, applied)))
            .map(|(_, applied)| applied)
            .collect()
    }

    /// Places where a key's number in `field` went down: an older value after a newer one.
    pub fn went_back(&self, field: &str) -> Vec<String> {
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        let mut found = Vec::new();
        for applied in &self.history {
            let Some(version) = applied.fields[field].as_i64() else {
                continue;
            };
            let seen = newest.entry(&applied.key).or_insert(version);
            if version < *seen {
                found.push(format!(
                    "{} went from {seen} back to {version} with request {}",
                    applied.key, applied.request
                ));
            }
            *seen = version.max(*seen);
        }
        found
    }

    /// Takes a request's records and answers.
    pub(super) fn take(&mut self, seen: &Seen, bad: Option<&BadRecords>) -> Answer {
        let alone = [Value::Null];
        // A request without a body is about the path's last segment.
        let records = if seen.records.is_empty() {
            &alone[..]
        } else {
            &seen.records
        };
        let refusals: Vec<Option<Refusal>> = records
            .iter()
            .map(|record| self.refusal(seen, record, bad))
            .collect();
        let whole = records.len() == 1 || bad.is_none_or(|bad| bad.whole);
        if let Some((status, message)) = refusals.iter().flatten().next()
            && whole
        {
            return Answer::json(*status, &json!({ "error": { "message": message } }));
        }
        let mut results = Vec::with_capacity(records.len());
        for (record, refusal) in records.iter().zip(refusals) {
            let key = record["key"].clone();
            results.push(match refusal {
                Some((status, error)) => {
                    json!({ "status": "error", "code": status, "error": error, "key": key })
                }
                None => {
                    self.apply(seen, record);
                    json!({ "status": "ok", "key": key })
                }
            });
        }
        Answer::json(200, &json!({ "results": results }))
    }

    fn refusal(&self, seen: &Seen, record: &Value, bad: Option<&BadRecords>) -> Option<Refusal> {
        if let Some(bad) = bad.filter(|bad| (bad.is_bad)(record)) {
            return Some((bad.status, bad.message.clone()));
        }
        let held = self.records.contains_key(&key(seen, record));
        match (operation(seen, record).as_str(), held) {
            ("update", false) => Some((404, "there is no such record".into())),
            ("delete", false) if seen.records.len() <= 1 => {
                Some((404, "there is no such record".into()))
            }
            ("insert", true) => Some((409, "the record exists already".into())),
            _ => None,
        }
    }

    fn apply(&mut self, seen: &Seen, record: &Value) {
        let key = key(seen, record);
        let operation = operation(seen, record);
        let fields = match record.get("fields") {
            Some(fields) => fields.clone(),
            None => record.clone(),
        };
        if operation == "delete" {
            self.records.remove(&key);
        } else {
            self.records.insert(key.clone(), fields.clone());
        }
        let header = || seen.header("idempotency-key").map(str::to_owned);
        self.history.push(Applied {
            request: seen.number,
            key,
            operation,
            fields,
            idempotency_key: record["idempotency_key"]
                .as_str()
                .map(str::to_owned)
                .or_else(header),
        });
    }
}

fn key(seen: &Seen, record: &Value) -> String {
    match record.get("key") {
        Some(key) => key.to_string(),
        None => seen
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

fn operation(seen: &Seen, record: &Value) -> String {
    match record["operation"].as_str() {
        Some(operation) => operation.to_owned(),
        None if seen.method == "DELETE" => "delete".to_owned(),
        None => "upsert".to_owned(),
    }
}
