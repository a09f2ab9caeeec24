//! Configurations, records and bodies for every kind, and a destination that mends the server after
//! its first refusal.

#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rowcast_core::destination::Committed;
use rowcast_core::json::{from_json, to_json};
use rowcast_core::record::{Batch, Operation, Record, RunContext};
use rowcast_core::{
    BoxFuture, Capabilities, Check, Destination, DestinationConfig, Fault, Key, Mode, Outcome,
    Value,
};
use rowcast_testkit::conformance::Held;
use rowcast_testkit::connectors;
use serde_json::Value as Json;

/// What never may be shown.
pub(crate) const SECRET: &str = "canary-7731";

/// The cases that every broker runs, whatever trouble its server can make.
pub(crate) const ALWAYS: [&str; 5] = [
    "empty, one, at the limit",
    "values",
    "newest wins",
    "check",
    "deletes",
];

/// A configuration with loopback open.
pub(crate) fn config(object: &str, json: &Json) -> DestinationConfig {
    DestinationConfig {
        object: object.into(),
        mode: Mode::Mirror,
        match_fields: vec!["id".into()],
        key_columns: vec!["id".into()],
        timeout: Some(Duration::from_secs(20)),
        allow_addresses: vec!["127.0.0.1/32".into()],
        ..DestinationConfig::new("there", connectors::settings(json))
    }
}

/// Builds, or shows every problem.
pub(crate) fn build(connector: &str, config: DestinationConfig) -> Arc<dyn Destination> {
    connectors::build(&rowcast_natives::CATALOG, connector, &config)
}

pub(crate) fn record(operation: Operation, id: i64) -> Record {
    let fields = match operation {
        Operation::Delete => Vec::new(),
        _ => vec![("email".into(), Value::from(format!("c{id}@example.com")))],
    };
    Record {
        key: Key::int(id),
        operation,
        kind: operation.usual_kind(),
        match_on: vec![("id".into(), Value::Int(id))],
        fields,
        idempotency_key: format!("{id:032x}"),
        checksum: Some(1),
        json: None,
        raw: None,
        doubtful: false,
    }
}

pub(crate) fn batch(records: Vec<Record>) -> Batch {
    Batch {
        intent: 1,
        operation: records[0].operation,
        records,
        context: Arc::new(RunContext {
            sync: "customers_to_broker".into(),
            sync_id: "0d5f".into(),
            run: 12,
            epoch: 1,
            generation: 1,
            object: "contact".into(),
            key_columns: vec!["id".into()],
            started_at: 1_709_209_800_000_000,
        }),
    }
}

/// Applies a record body to what is held.
pub(crate) fn apply(held: &mut Held, body: &str) {
    let body = from_json(body).unwrap();
    let Some(Value::Int(id)) = body.get("key").and_then(|key| key.get("id")) else {
        panic!("no key in {}", to_json(&body));
    };
    let Some(Value::Object(fields)) = body.get("fields") else {
        panic!("no fields");
    };
    if body.get("operation").and_then(Value::as_text) == Some("delete") {
        held.remove(id);
    } else {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| (name.to_string(), to_json(value)));
        held.insert(*id, fields.collect());
    }
}

/// A destination whose server is mended after the first write that failed.
pub(crate) struct Mended<F> {
    pub(crate) inner: Arc<dyn Destination>,
    pub(crate) broken: Arc<AtomicBool>,
    pub(crate) mend: F,
}

impl<F: Fn() + Send + Sync> Destination for Mended<F> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        self.inner.check()
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        self.inner.open(context)
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            let result = self.inner.write(batch).await;
            if result.is_err() && self.broken.swap(false, Ordering::SeqCst) {
                (self.mend)();
            }
            result
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.inner.finish()
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        self.inner.render(batch)
    }
}

/// A certificate for 127.0.0.1 that is its own authority, with its key, and the file of it.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: String,
    dir: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pem = made.cert.pem();
        std::fs::write(dir.path().join("ca.pem"), &pem).unwrap();
        Self {
            pem,
            key: made.signing_key.serialize_pem(),
            dir,
        }
    }

    /// What `tls_ca` takes.
    pub(crate) fn file(&self) -> String {
        self.dir.path().join("ca.pem").display().to_string()
    }
}
