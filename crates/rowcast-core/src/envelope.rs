//! The record body: the one JSON shape in which records leave when nothing else was asked for.

use crate::Value;
use crate::json::{push_int, push_string};
use crate::record::{Batch, Record};
use crate::value::Object;

/// Appends `{"operation": …, "key": …, "match": …, "fields": …, "idempotency_key": …, "sync": …,
/// "run": …}`.
pub fn push_record(out: &mut String, record: &Record, batch: &Batch) {
    out.push_str("{\"operation\":\"");
    out.push_str(record.operation.as_str());
    out.push_str("\",\"key\":");
    record.key.push_object(out, &batch.context.key_columns);
    out.push_str(",\"match\":");
    record.push_match(out);
    out.push_str(",\"fields\":");
    record.push_fields(out);
    out.push_str(",\"idempotency_key\":");
    push_string(out, &record.idempotency_key);
    out.push_str(",\"sync\":");
    push_string(out, &batch.context.sync);
    out.push_str(",\"run\":\"");
    push_int(out, batch.context.run);
    out.push_str("\"}");
}

/// The record body as an object, for records that hold their values: what templates see as `record`, and what a form spells out.
pub fn envelope(record: &Record, batch: &Batch) -> Object {
    let context = &batch.context;
    vec![
        ("operation".into(), Value::from(record.operation.as_str())),
        (
            "key".into(),
            Value::Object(record.key.to_object(&context.key_columns)),
        ),
        ("match".into(), Value::Object(record.match_on.clone())),
        ("fields".into(), Value::Object(record.fields.clone())),
        (
            "idempotency_key".into(),
            Value::from(record.idempotency_key.as_str()),
        ),
        ("sync".into(), Value::from(&*context.sync)),
        ("run".into(), Value::from(context.run.to_string())),
    ]
}
