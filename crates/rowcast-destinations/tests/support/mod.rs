//! Configurations and records as a sync of the model `customers` makes them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::record::{Batch, Operation, Record, RunContext};
use rowcast_core::{Destination, DestinationConfig, Key, Mode, Outcome, Reason, Value};
use rowcast_destinations::SettingProblem;
use rowcast_testkit::api::Api;
use rowcast_testkit::connectors;
pub use rowcast_testkit::connectors::settings;
use serde_json::{Value as Json, json};

/// A configuration with loopback open.
pub fn config(json: &Json) -> DestinationConfig {
    DestinationConfig {
        object: "contact".into(),
        mode: Mode::Upsert,
        match_fields: vec!["id".into()],
        key_columns: vec!["id".into()],
        timeout: Some(Duration::from_secs(20)),
        allow_addresses: vec!["127.0.0.1/32".into()],
        ..DestinationConfig::new("hook", settings(json))
    }
}

/// Builds, or shows every problem.
pub fn build(connector: &str, config: DestinationConfig) -> Arc<dyn Destination> {
    connectors::build(&rowcast_destinations::CATALOG, connector, &config)
}

/// The problems of a configuration that must not build.
pub fn problems(connector: &str, config: DestinationConfig) -> Vec<SettingProblem> {
    rowcast_destinations::CATALOG
        .build(connector, &config)
        .err()
        .expect("must not build")
}

pub fn context(run: i64) -> Arc<RunContext> {
    Arc::new(RunContext {
        sync: "customers_to_crm".into(),
        sync_id: "0d5f".into(),
        run,
        epoch: 1,
        generation: 1,
        object: "contact".into(),
        key_columns: vec!["id".into()],
        started_at: 1_709_209_800_000_000,
    })
}

pub fn record(operation: Operation, id: i64, fields: Vec<(&str, Value)>) -> Record {
    Record {
        key: Key::int(id),
        operation,
        kind: operation.usual_kind(),
        match_on: vec![("id".into(), Value::Int(id))],
        fields: fields.into_iter().map(|(n, v)| (n.into(), v)).collect(),
        idempotency_key: format!("{id:032x}"),
        checksum: Some(1),
        json: None,
        raw: None,
        doubtful: false,
    }
}

pub fn upsert(id: i64) -> Record {
    record(
        Operation::Upsert,
        id,
        vec![("email", Value::from(format!("c{id}@example.com")))],
    )
}

pub fn batch(records: Vec<Record>) -> Batch {
    Batch {
        intent: 1,
        operation: records.first().map_or(Operation::Upsert, |r| r.operation),
        records,
        context: context(12),
    }
}

/// Settings that POST everything to the fake service.
pub fn hook(api: &Api) -> Json {
    json!({ "url": api.url("/hook") })
}

/// Settings with others added.
pub fn with(mut base: Json, more: &Json) -> Json {
    for (name, value) in more.as_object().expect("an object") {
        base[name] = value.clone();
    }
    base
}

/// Why a record was rejected.
pub fn rejected(outcome: &Outcome) -> &Reason {
    match outcome {
        Outcome::Rejected(reason) => reason,
        other => panic!("{other:?}"),
    }
}
