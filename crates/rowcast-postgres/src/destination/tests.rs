//! Against a real PostgreSQL: what each mode does, what survives, what happens once.

mod conformance;
mod copy;
mod exactly_once;
mod modes;
mod rejects;
mod same;
mod setup;
mod values;

use std::sync::Arc;

use rowcast_core::key::KeyPart;
use rowcast_core::{
    Batch, Destination as _, DestinationConfig, Key, Mode, Name, Object, Operation, Outcome,
    Record, RunContext, SettingValue, Value,
};
use rowcast_testkit::postgres::{Cluster, Database};

use super::Postgres;

/// A destination to one table of a fresh database.
struct Bench {
    database: Database,
    client: tokio_postgres::Client,
}

impl Bench {
    async fn new(name: &str, ddl: &str) -> Self {
        let database = Cluster::shared().database(name);
        let client = database.client().await;
        client.batch_execute(ddl).await.unwrap();
        Self { database, client }
    }

    fn config(&self, object: &str, mode: Mode, match_fields: &[&str]) -> DestinationConfig {
        self.config_as("postgres", object, mode, match_fields, &[])
    }

    fn config_as(
        &self,
        role: &str,
        object: &str,
        mode: Mode,
        match_fields: &[&str],
        more: &[(&str, SettingValue)],
    ) -> DestinationConfig {
        let mut settings = vec![(
            "url".to_owned(),
            SettingValue::Secret(self.database.url_as(role).into()),
        )];
        settings.extend(
            more.iter()
                .map(|(n, value)| ((*n).to_owned(), value.clone())),
        );
        DestinationConfig {
            object: object.into(),
            mode,
            match_fields: match_fields.iter().map(|field| (*field).into()).collect(),
            key_columns: vec!["id".into()],
            project_dir: "/".into(),
            ..DestinationConfig::new("warehouse", SettingValue::Map(settings))
        }
    }

    /// Opened in epoch 1.
    async fn open(&self, object: &str, mode: Mode, match_fields: &[&str]) -> Postgres {
        opened(self.config(object, mode, match_fields)).await
    }

    async fn text(&self, sql: &str) -> String {
        let row = self.client.query_one(sql, &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }
}

async fn opened(config: DestinationConfig) -> Postgres {
    let destination = Postgres::new(config).unwrap();
    destination.open(&context(1)).await.unwrap();
    destination
}

fn context(epoch: i64) -> Arc<RunContext> {
    Arc::new(RunContext {
        sync: "customers".into(),
        sync_id: "6f9619ff-8b86-d011-b42d-00c04fc964ff".into(),
        run: 1,
        epoch,
        generation: 1,
        object: "t".into(),
        key_columns: vec!["id".into()],
        started_at: 0,
    })
}

fn object(members: &[(&str, Value)]) -> Object {
    members
        .iter()
        .map(|(name, value)| ((*name).into(), value.clone()))
        .collect()
}

fn record(operation: Operation, match_on: Object, fields: Object) -> Record {
    let key = match &match_on[0].1 {
        Value::Int(id) => Key::int(*id),
        other => Key::from([KeyPart::Text(rowcast_core::json::to_text(other).into())]),
    };
    Record {
        idempotency_key: key.canonical(),
        key,
        operation,
        kind: operation.usual_kind(),
        match_on,
        fields,
        checksum: Some(1),
        json: None,
        raw: None,
        doubtful: false,
    }
}

/// Records matched by `id`, with one field.
fn batch(intent: i64, operation: Operation, rows: &[(i64, &str, Value)]) -> Batch {
    let records = rows
        .iter()
        .map(|(id, field, value)| {
            let fields = object(&[(*field, value.clone())]);
            record(operation, object(&[("id", Value::Int(*id))]), fields)
        })
        .collect();
    of(intent, operation, records)
}

fn of(intent: i64, operation: Operation, records: Vec<Record>) -> Batch {
    Batch {
        intent,
        operation,
        records,
        context: context(1),
    }
}

fn rejected(outcome: &Outcome) -> &rowcast_core::Reason {
    match outcome {
        Outcome::Rejected(reason) => reason,
        other => panic!("not rejected: {other:?}"),
    }
}
