//! One event, as RudderStack's reverse ETL writes it.

use rowcast_core::json::{push_value, to_text};
use rowcast_core::mapping::instant;
use rowcast_core::record::{Batch, Operation, Record, RunContext};
use rowcast_core::value::Object;
use rowcast_core::{Code, Kind, Name, Reason, Value};

use super::settings::{Mapper, Settings};
use crate::events::call::{Call, CallType, Times, call, is_reserved, object_of, put};
use crate::events::prepared::Rendered;

/// What `context.sources.version` says: who made the event.
const VERSION: &str = concat!("rowcast-v", env!("CARGO_PKG_VERSION"));

impl Settings {
    /// The event of a record.
    ///
    /// # Errors
    /// Why a data plane would refuse it, or its destinations drop it.
    pub(super) fn event(&self, record: &Record, batch: &Batch) -> Result<Rendered, Reason> {
        let (kind, mut members) = match &self.mapper {
            Mapper::Json(object) => of_call(call(record, *object, Times::RudderStack)?),
            Mapper::Visual { kind, identifier } => of_call(visual(record, kind, identifier)?),
            Mapper::Record => ("record", of_record(record)?),
        };
        let mut context = match members.iter().position(|(name, _)| &**name == "context") {
            Some(at) => object_of(&members.remove(at).1).unwrap_or_default(),
            None => Object::new(),
        };
        put(&mut context, "sources", sources(batch));
        let mut event: Object = vec![
            ("type".into(), Value::from(kind)),
            ("channel".into(), Value::from("sources")),
        ];
        event.append(&mut members);
        put(&mut event, "context", Value::Object(context));
        put(&mut event, "recordId", Value::from(record.key.to_string()));
        put(
            &mut event,
            "messageId",
            Value::from(record.idempotency_key.as_str()),
        );
        let started = started(&batch.context);
        if !event.iter().any(|(name, _)| &**name == "timestamp") {
            put(&mut event, "timestamp", started.clone());
        }
        put(&mut event, "originalTimestamp", started);
        let mut text = String::new();
        push_value(&mut text, &Value::Object(event));
        Ok(Rendered { kind, text })
    }
}

fn of_call(call: Call) -> (&'static str, Object) {
    (call.kind.as_str(), call.members)
}

fn started(context: &RunContext) -> Value {
    instant(&Value::TimestampTz(context.started_at)).map_or(Value::Null, Value::from)
}

/// Who sent the event: the sync, its run, and the batch within it.
fn sources(batch: &Batch) -> Value {
    let context = &batch.context;
    let run = format!("{}-{}-{}", context.sync_id, context.generation, context.run);
    Value::Object(vec![
        ("job_id".into(), Value::from(context.sync_id.as_str())),
        ("job_run_id".into(), Value::from(run.as_str())),
        ("task_run_id".into(), Value::from(run)),
        ("batch_id".into(), Value::from(batch.idempotency_key())),
        ("task_id".into(), Value::from(&*context.sync)),
        ("version".into(), Value::from(VERSION)),
    ])
}

/// The visual mapper's first form: traits in the destination's own names.
fn visual(record: &Record, kind: &str, identifier: &Name) -> Result<Call, Reason> {
    if let Some((field, _)) = record.fields.iter().find(|(field, _)| {
        matches!(&**field, "user_id" | "context.externalId[0].id") || is_reserved(field)
    }) {
        return Err(Reason::new(
            Code::DestinationRejected,
            format!("{field} is kept by RudderStack for itself"),
        )
        .hint("the identifier belongs into `match_on:`"));
    }
    let id = match record.match_on.as_slice() {
        [(_, value)] if !value.is_null() => to_text(value),
        _ => String::new(),
    };
    if id.is_empty() {
        return Err(no_identifier());
    }
    let external = Value::Object(vec![
        ("id".into(), Value::from(id.as_str())),
        ("type".into(), Value::from(kind)),
        ("identifierType".into(), Value::from(&**identifier)),
    ]);
    // The data plane wants the text, not the boolean.
    let context = vec![
        ("mappedToDestination".into(), Value::from("true")),
        ("externalId".into(), Value::List(vec![external])),
    ];
    Ok(Call {
        kind: CallType::Identify,
        members: vec![
            ("userId".into(), Value::from(id)),
            ("traits".into(), Value::Object(record.fields.clone())),
            ("context".into(), Value::Object(context)),
        ],
    })
}

/// The visual mapper's second form: an event of type `record`.
fn of_record(record: &Record) -> Result<Object, Reason> {
    let mut identifiers = Object::with_capacity(record.match_on.len());
    for (name, value) in &record.match_on {
        let value = match value {
            Value::Null => return Err(no_identifier()),
            Value::Int(_) | Value::Decimal(_) | Value::Float { .. } => value.clone(),
            other => Value::from(to_text(other)),
        };
        identifiers.push((name.clone(), value));
    }
    // What a delete carries with `keep: rows` are columns, not the destination's fields.
    let fields = match record.operation {
        Operation::Delete => Object::new(),
        _ => record.fields.clone(),
    };
    Ok(vec![
        ("action".into(), Value::from(action(record))),
        ("fields".into(), Value::Object(fields)),
        ("identifiers".into(), Value::Object(identifiers)),
    ])
}

/// An upsert is an insert the first time, then an update.
fn action(record: &Record) -> &'static str {
    match (record.operation, record.kind) {
        (Operation::Delete, _) => "delete",
        (Operation::Insert, _) | (Operation::Upsert, Kind::Added) => "insert",
        _ => "update",
    }
}

fn no_identifier() -> Reason {
    Reason::new(Code::DestinationRejected, "the record has no identifier")
        .hint("leave such rows out with `where:`, or match by a column that is never null")
}
