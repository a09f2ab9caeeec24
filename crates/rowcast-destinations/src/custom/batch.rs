//! From a batch to the parameters of `sync_batch`, and from its answer to one outcome for each record.
//!
//! A record counts as delivered only if the answer says so once, with `success: true`. Whatever else the
//! answer says or leaves out, nobody knows what became of the record: *unknown*, never success.

use std::collections::{HashMap, HashSet};

use rowcast_core::json::{push_int, push_string, push_value, to_text};
use rowcast_core::key::identity_value;
use rowcast_core::mapping::cast::cast;
use rowcast_core::record::{Batch, Record};
use rowcast_core::{Code, Name, Operation, Outcome, Reason, Value};

use super::protocol::{Field, FieldType, Object};
use crate::http::service::Service;

/// What the records of a batch are written into.
pub(super) struct Plan<'a> {
    pub(super) object: &'a Object,
    pub(super) fields: &'a [Field],
    /// The field that records are found by.
    pub(super) identifier: &'a Name,
}

/// A batch as parameters.
#[derive(Debug, PartialEq)]
pub(super) struct Params {
    pub(super) text: String,
    /// Positions in the batch of the records it holds, with their identifiers as text.
    pub(super) held: Vec<(usize, String)>,
    /// Records that can't be sent.
    pub(super) failed: Vec<(usize, Reason)>,
}

impl Plan<'_> {
    /// Writes a batch.
    pub(super) fn params(&self, batch: &Batch) -> Params {
        let mut schema: Vec<Field> = Vec::new();
        let mut records = String::new();
        let mut keys = String::new();
        let mut held = Vec::new();
        let mut failed = Vec::new();
        for (position, record) in batch.records.iter().enumerate() {
            match self.record(record, &mut schema) {
                Ok((text, identifier)) => {
                    if !held.is_empty() {
                        records.push(',');
                        keys.push(',');
                    }
                    records.push_str(&text);
                    push_string(&mut keys, &record.idempotency_key);
                    held.push((position, identifier));
                }
                Err(reason) => failed.push((position, reason)),
            }
        }
        let context = &batch.context;
        let text = self.text(
            batch.operation,
            (context.run, &context.sync_id),
            &schema,
            &records,
            &keys,
        );
        Params { text, held, failed }
    }

    /// The parameters around the items of two lists: records, and their idempotency keys. `sync` is the
    /// run's number and the sync's own identity.
    pub(super) fn text(
        &self,
        operation: Operation,
        (run, sync_id): (i64, &str),
        schema: &[Field],
        records: &str,
        keys: &str,
    ) -> String {
        let mut text = String::with_capacity(records.len() + keys.len() + 512);
        text.push_str("{\"sync_plan\":{\"object\":");
        self.object.push(&mut text);
        text.push_str(",\"operation\":");
        push_string(&mut text, operation.as_str());
        text.push_str(",\"sync_run_id\":");
        push_int(&mut text, run);
        text.push_str(",\"sync_id\":");
        push_string(&mut text, sync_id);
        text.push_str(",\"schema\":{");
        for (index, field) in schema.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            field.push(&mut text, field.api_name == *self.identifier);
        }
        text.push_str("}},\"records\":[");
        text.push_str(records);
        text.push_str("],\"idempotency_keys\":[");
        text.push_str(keys);
        text.push_str("]}");
        text
    }

    /// A record's text and its identifier; notes its fields in the schema.
    fn record(&self, record: &Record, schema: &mut Vec<Field>) -> Result<(String, String), Reason> {
        let mut text = String::from("{");
        let mut identifier = None;
        let named = |name: &Name| record.match_on.iter().any(|(known, _)| known == name);
        let others = record.fields.iter().filter(|(name, _)| !named(name));
        for (name, value) in record.match_on.iter().chain(others) {
            let field = match self.fields.iter().find(|field| field.api_name == *name) {
                Some(field) => field.clone(),
                None => Field::new_on_write(name, value),
            };
            let value = wire_value(&field, value)?;
            if *name == *self.identifier {
                identifier = Some(to_text(&value)).filter(|_| !value.is_null());
            }
            if text.len() > 1 {
                text.push(',');
            }
            push_string(&mut text, name);
            text.push(':');
            push_value(&mut text, &value);
            if !schema.iter().any(|known| known.api_name == field.api_name) {
                schema.push(field);
            }
        }
        text.push('}');
        let identifier = identifier.ok_or_else(|| {
            Reason::new(
                Code::MatchMissing,
                format!("the record has no {} to be found by", self.identifier),
            )
        })?;
        Ok((text, identifier))
    }
}

/// A value in the form that its field's type has on the wire.
fn wire_value(field: &Field, value: &Value) -> Result<Value, Reason> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::List(items) if field.array => {
            let items = items.iter().map(|item| one(field, item));
            Ok(Value::List(items.collect::<Result<_, _>>()?))
        }
        Value::Json(text) if field.array && text.trim_start().starts_with('[') => {
            match rowcast_core::json::from_json(text) {
                Ok(list) => wire_value(field, &list),
                Err(_) => Ok(value.clone()),
            }
        }
        one_value if field.array => Ok(Value::List(vec![one(field, one_value)?])),
        one_value => one(field, one_value),
    }
}

fn one(field: &Field, value: &Value) -> Result<Value, Reason> {
    let name = match field.kind {
        FieldType::Boolean => "boolean",
        FieldType::Integer => "integer",
        FieldType::Float => "number",
        FieldType::Decimal => "decimal",
        FieldType::Date => "date",
        FieldType::DateTime => "timestamp",
        FieldType::String => "string",
    };
    let cast = cast(name, value).map_err(|why| {
        Reason::new(
            Code::CastFailed,
            format!("the value of {} does not fit its type", field.api_name),
        )
        .detail(why)
        .hint(format!(
            "the connector says that {} is {}: cast the column, or map another",
            field.api_name,
            field.type_name()
        ))
    })?;
    Ok(match (field.kind, cast) {
        // Exact digits survive no JSON parser that reads numbers as floats.
        (FieldType::Decimal, value) if !value.is_null() => to_text(&value).into(),
        // Times without a zone are UTC, as the protocol has them.
        (FieldType::DateTime, Value::Timestamp(us)) => Value::TimestampTz(us),
        (FieldType::Integer, value) if field.identifier => identity_value(value),
        (_, value) => value,
    })
}

/// What an answer to `sync_batch` says of each record that was sent.
pub(super) fn outcomes(
    result: &Value,
    held: &[(usize, String)],
    service: &Service,
) -> Vec<Outcome> {
    let Some(Value::List(results)) = result.get("record_results") else {
        let reason = Reason::new(
            Code::DestinationAnswer,
            "the answer to sync_batch has no list `record_results`",
        )
        .hint("`rowcast connectors test` shows what the connector answers");
        return vec![Outcome::Unknown(reason); held.len()];
    };
    let mut by_identifier: HashMap<String, Vec<&Value>> = HashMap::new();
    for one in results {
        if let Some(identifier) = one.get("identifier").filter(|value| !value.is_null()) {
            by_identifier
                .entry(to_text(identifier))
                .or_default()
                .push(one);
        }
    }
    let known: HashSet<&String> = held.iter().map(|(_, identifier)| identifier).collect();
    let strange = by_identifier
        .keys()
        .filter(|name| !known.contains(name))
        .count();
    held.iter()
        .map(|(_, identifier)| match by_identifier.get(identifier) {
            Some(found) => match found.as_slice() {
                [one] => judge(one, service),
                several => no_result(
                    format!("the answer has {} results for this record", several.len()),
                    strange,
                ),
            },
            None => no_result("the answer has no result for this record".into(), strange),
        })
        .collect()
}

fn judge(result: &Value, service: &Service) -> Outcome {
    match result.get("success") {
        Some(Value::Bool(true)) => Outcome::Delivered,
        Some(Value::Bool(false)) => {
            let words = result.get("error_message").map(to_text).unwrap_or_default();
            let reason = Reason::new(
                Code::DestinationRejected,
                "the connector rejected the record",
            );
            Outcome::Rejected(if words.is_empty() {
                reason
            } else {
                reason.detail(service.tidy(&words))
            })
        }
        _ => no_result(
            "the result of this record has no `success` of true or false".into(),
            0,
        ),
    }
}

fn no_result(message: String, strange: usize) -> Outcome {
    let mut reason = Reason::new(Code::NoResult, message);
    if strange > 0 {
        reason = reason.detail(format!(
            "{strange} results name records that were not in the request"
        ));
    }
    Outcome::Unknown(reason.hint(
        "the connector must answer with exactly one result for each record, under the identifier it was sent; `rowcast connectors test` shows what it does",
    ))
}

#[cfg(test)]
mod tests;
