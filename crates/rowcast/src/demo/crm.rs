//! A small CRM on loopback, with the manners of a real one: a bearer token, at most 500 contacts a
//! request, a result for each contact, no contact without an e-mail address. It keeps its own
//! request log, which is what the demo believes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rowcast_core::{Reason, Secret};
use serde_json::{Value, json};

/// Most contacts in one request.
pub(crate) const BATCH_MAX: usize = 500;

/// What the CRM saw in one act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) requests: u64,
    /// Contacts written.
    pub(crate) written: u64,
    pub(crate) deleted: u64,
    /// Contacts refused, with a reason each.
    pub(crate) refused: u64,
    /// Requests refused whole: wrong token, too many contacts.
    pub(crate) turned_away: u64,
}

#[derive(Debug, Default)]
struct Book {
    contacts: BTreeMap<i64, Value>,
    log: Log,
}

/// A running CRM.
#[derive(Debug, Clone)]
pub(crate) struct Crm {
    pub(crate) address: SocketAddr,
    pub(crate) token: Secret<String>,
    book: Arc<Mutex<Book>>,
}

impl Crm {
    /// Listens on a free port until the process ends.
    pub(crate) async fn start(token: Secret<String>) -> Result<Self, Reason> {
        let listening = |error: std::io::Error| {
            Reason::defect("the demo's CRM could not listen on loopback").detail(error.to_string())
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(listening)?;
        let crm = Self {
            address: listener.local_addr().map_err(listening)?,
            token,
            book: Arc::default(),
        };
        let router = Router::new()
            .route("/contacts", post(contacts))
            .with_state(crm.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(crm)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request log since the last call.
    pub(crate) fn take_log(&self) -> Log {
        std::mem::take(&mut self.book().log)
    }

    /// How many contacts it holds.
    pub(crate) fn len(&self) -> u64 {
        self.book().contacts.len() as u64
    }

    /// Every contact on a line, in the order of ids.
    pub(crate) fn dump(&self) -> String {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut out = String::new();
        for (id, contact) in &self.book().contacts {
            out.push_str(&format!(
                "{id} {} {} {} {} {:.2}\n",
                text(&contact["email"]),
                text(&contact["name"]),
                text(&contact["plan"]),
                text(&contact["orders"]),
                contact["total"].as_f64().unwrap_or(-1.0),
            ));
        }
        out
    }

    fn apply(&self, records: &[Value]) -> Vec<Value> {
        let mut book = self.book();
        let results = records.iter().map(|record| {
            let Some(id) = record["key"]["id"].as_i64() else {
                book.log.refused += 1;
                return json!({ "status": "error", "error": "id is missing" });
            };
            if record["operation"] == "delete" {
                book.contacts.remove(&id);
                book.log.deleted += 1;
                return json!({ "status": "ok" });
            }
            if record["fields"]["email"].as_str().is_none_or(str::is_empty) {
                book.log.refused += 1;
                return json!({ "status": "error", "error": "a contact needs an e-mail address" });
            }
            book.contacts.insert(id, record["fields"].clone());
            book.log.written += 1;
            json!({ "status": "ok" })
        });
        results.collect()
    }
}

async fn contacts(
    State(crm): State<Crm>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    crm.book().log.requests += 1;
    let turned_away = |status, error: &str| {
        crm.book().log.turned_away += 1;
        (status, Json(json!({ "error": error })))
    };
    let wanted = format!("Bearer {}", crm.token.reveal());
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    if given != Some(wanted.as_str()) {
        return turned_away(StatusCode::UNAUTHORIZED, "unknown token");
    }
    let Some(records) = body["contacts"].as_array() else {
        return turned_away(StatusCode::BAD_REQUEST, "contacts are missing");
    };
    if records.len() > BATCH_MAX {
        return turned_away(
            StatusCode::PAYLOAD_TOO_LARGE,
            "at most 500 contacts a request",
        );
    }
    (
        StatusCode::OK,
        Json(json!({ "results": crm.apply(records) })),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crm() -> Crm {
        Crm {
            address: ([127, 0, 0, 1], 1).into(),
            token: Secret::new("t".to_owned()),
            book: Arc::default(),
        }
    }

    fn upsert(id: i64, email: Option<&str>) -> Value {
        json!({ "operation": "upsert", "key": { "id": id }, "fields": { "email": email } })
    }

    #[test]
    fn one_bad_contact_harms_only_itself() {
        let crm = crm();
        let results = crm.apply(&[upsert(1, Some("a@example.com")), upsert(2, None)]);
        assert_eq!(results[0]["status"], "ok");
        assert_eq!(results[1]["error"], "a contact needs an e-mail address");
        assert_eq!(crm.len(), 1);
        crm.apply(&[json!({ "operation": "delete", "key": { "id": 1 }, "fields": {} })]);
        assert_eq!(crm.len(), 0);
        let log = crm.take_log();
        assert_eq!((log.written, log.refused, log.deleted), (1, 1, 1));
        assert_eq!(crm.take_log(), Log::default());
    }

    #[tokio::test]
    async fn a_wrong_token_and_too_many_contacts_are_turned_away() {
        let crm = crm();
        let many: Vec<Value> = (0..501)
            .map(|id| upsert(id, Some("a@example.com")))
            .collect();
        let (status, _) = contacts(State(crm.clone()), HeaderMap::new(), Json(json!({}))).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer t".parse().unwrap());
        let body = Json(json!({ "contacts": many }));
        let (status, _) = contacts(State(crm.clone()), headers, body).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(crm.take_log().turned_away, 2);
        assert_eq!(crm.len(), 0);
    }
}
