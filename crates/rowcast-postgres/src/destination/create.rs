//! Making the table, or columns it lacks, from the first records (`create: true`).
//!
//! Only what is missing is made; nothing that exists is ever altered or dropped.

use rowcast_core::key::KeyPart;
use rowcast_core::{Batch, Code, Name, Reason, Value};

use super::name::{NAME_BYTES_MAX, TableName, ident_list};
use super::target::Target;
use crate::sql::{ident, literal};

/// The type of a new column, from the values of a batch: the first kind seen, `text` when the
/// values are of several kinds or all null.
fn type_of<'a>(values: impl Iterator<Item = &'a Value>) -> &'static str {
    let mut found: Option<&'static str> = None;
    for value in values {
        let kind = match value {
            Value::Null => continue,
            Value::Bool(_) => "boolean",
            Value::Int(_) => "bigint",
            Value::Float { .. } => "double precision",
            Value::Decimal(_) => "numeric",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytea",
            Value::Date(_) => "date",
            Value::Time(_) => "time",
            Value::Timestamp(_) => "timestamp",
            Value::TimestampTz(_) => "timestamptz",
            Value::Uuid(_) => "uuid",
            Value::Json(_) | Value::List(_) | Value::Object(_) => "jsonb",
        };
        found = match found {
            None => Some(kind),
            Some(known) if known == kind => Some(known),
            Some("bigint" | "numeric") if matches!(kind, "bigint" | "numeric") => Some("numeric"),
            Some(_) => return "text",
        };
    }
    found.unwrap_or("text")
}

/// The columns a batch asks for, with the types its values have.
fn columns(batch: &Batch) -> Vec<(Name, &'static str)> {
    let mut names: Vec<Name> = Vec::new();
    for record in &batch.records {
        for (name, _) in record.match_on.iter().chain(&record.fields) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
        .into_iter()
        .map(|name| {
            let values = batch.records.iter().filter_map(|record| {
                let mut members = record.match_on.iter().chain(&record.fields);
                members
                    .find(|(field, _)| *field == name)
                    .map(|(_, value)| value)
            });
            let kind = match key_type(batch, &name) {
                Some(kind) => kind,
                None => type_of(values),
            };
            (name, kind)
        })
        .collect()
}

/// Integers of a key travel as text beyond 2^53; the column is an integer all the same.
fn key_type(batch: &Batch, name: &Name) -> Option<&'static str> {
    let at = batch
        .context
        .key_columns
        .iter()
        .position(|key| key == name)?;
    let matched = |record: &rowcast_core::Record| record.match_on.iter().any(|(n, _)| n == name);
    batch
        .records
        .iter()
        .all(|record| matched(record) && matches!(record.key.0.get(at), Some(KeyPart::Int(_))))
        .then_some("bigint")
}

/// The statements that make what a batch needs, empty when nothing is missing.
///
/// # Errors
/// `E0608` when a field's name is longer than PostgreSQL keeps.
pub(super) fn statements(
    batch: &Batch,
    table: &TableName,
    target: Option<&Target>,
    match_fields: &[Name],
) -> Result<String, Reason> {
    let missing: Vec<(Name, &'static str)> = columns(batch)
        .into_iter()
        .filter(|(name, _)| target.is_none_or(|target| target.position(name).is_none()))
        .collect();
    if let Some((name, _)) = missing.iter().find(|(name, _)| name.len() > NAME_BYTES_MAX) {
        return Err(Reason::new(
            Code::DestinationObject,
            format!("a column can't be named {}", ident(name)),
        )
        .detail(format!(
            "the name has {} bytes; PostgreSQL keeps {NAME_BYTES_MAX}",
            name.len()
        ))
        .hint("give the field a shorter name"));
    }
    if target.is_some() && missing.is_empty() {
        return Ok(String::new());
    }
    let lock = literal(&format!("rowcast create {table}"));
    let mut sql = format!(
        "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({lock}, 0));"
    );
    if target.is_none() {
        let columns: Vec<String> = missing
            .iter()
            .map(|(name, kind)| format!("{} {kind}", ident(name)))
            .chain([format!(
                "PRIMARY KEY ({})",
                ident_list(match_fields.iter().map(|field| &**field))
            )])
            .collect();
        sql.push_str(&format!(
            "CREATE TABLE IF NOT EXISTS {table} ({});",
            columns.join(", ")
        ));
    }
    for (name, kind) in missing.iter().filter(|_| target.is_some()) {
        sql.push_str(&format!(
            "ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {} {kind};",
            ident(name)
        ));
    }
    sql.push_str("COMMIT");
    Ok(sql)
}

/// What to tell when the table is missing and may not be made.
pub(super) fn table_missing(table: &TableName, match_fields: &[Name]) -> Reason {
    let columns = ident_list(match_fields.iter().map(|field| &**field));
    let definitions: Vec<String> = match_fields
        .iter()
        .map(|field| format!("{} bigint", ident(field)))
        .collect();
    Reason::new(
        Code::DestinationObject,
        format!("table {table} does not exist"),
    )
    .hint(format!(
        "CREATE TABLE {table} ({}, PRIMARY KEY ({columns})); with the types and columns you want; \
         or set `create: true`",
        definitions.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_takes_the_kind_of_its_values() {
        let kind = |values: &[Value]| type_of(values.iter());
        assert_eq!(kind(&[Value::Null, Value::Int(1)]), "bigint");
        assert_eq!(
            kind(&[Value::Int(1), Value::Decimal("1.5".into())]),
            "numeric"
        );
        assert_eq!(kind(&[Value::Int(1), Value::text("x")]), "text");
        assert_eq!(kind(&[Value::Null]), "text");
        assert_eq!(kind(&[Value::List(vec![])]), "jsonb");
    }
}
