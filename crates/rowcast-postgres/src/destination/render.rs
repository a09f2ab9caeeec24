//! The statements a batch would run, for people.
//!
//! What runs in truth carries the records as arrays (see `merge`); this shows the same effect with
//! the values in place, and can be pasted into psql.

use rowcast_core::{Batch, Operation, Record, Value};

use super::name::{TableName, ident_list};
use super::target::Target;
use super::text::{Form, cell};
use crate::sql::{ident, literal};

/// One statement for records that carry the same columns; one for each record of an update.
pub(super) fn render(batch: &Batch, table: &TableName, target: Option<&Target>) -> Vec<String> {
    let values = Values { target };
    let mut inserts: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    let mut statements = Vec::new();
    for record in &batch.records {
        match batch.operation {
            Operation::Insert | Operation::Upsert => {
                let (names, row) = values.row(record);
                match inserts.iter_mut().find(|(known, _)| *known == names) {
                    Some((_, rows)) => rows.push(row),
                    None => inserts.push((names, vec![row])),
                }
            }
            Operation::Update => statements.push(format!(
                "UPDATE {table} SET {} WHERE {};",
                values.pairs(&record.fields, ", "),
                values.pairs(&record.match_on, " AND ")
            )),
            Operation::Delete => statements.push(format!(
                "DELETE FROM {table} WHERE {};",
                values.pairs(&record.match_on, " AND ")
            )),
        }
    }
    let Some(first) = batch.records.first() else {
        return statements;
    };
    let matches: Vec<&str> = first.match_on.iter().map(|(name, _)| &**name).collect();
    for (names, rows) in inserts {
        let others: Vec<String> = names
            .iter()
            .filter(|name| !matches.contains(name))
            .map(|name| format!("{0} = EXCLUDED.{0}", ident(name)))
            .collect();
        let action = if batch.operation == Operation::Insert || others.is_empty() {
            "NOTHING".to_owned()
        } else {
            format!("UPDATE SET {}", others.join(", "))
        };
        statements.push(format!(
            "INSERT INTO {table} ({}) VALUES {} ON CONFLICT ({}) DO {action};",
            ident_list(names),
            rows.join(", "),
            ident_list(matches.iter().copied())
        ));
    }
    statements
}

struct Values<'a> {
    target: Option<&'a Target>,
}

impl Values<'_> {
    fn row<'r>(&self, record: &'r Record) -> (Vec<&'r str>, String) {
        let matched = |name: &str| record.match_on.iter().any(|(field, _)| &**field == name);
        let fields = record.fields.iter().filter(|(name, _)| !matched(name));
        let members: Vec<&(rowcast_core::Name, Value)> =
            record.match_on.iter().chain(fields).collect();
        let texts: Vec<String> = members
            .iter()
            .map(|(n, value)| self.text(n, value))
            .collect();
        (
            members.iter().map(|(name, _)| &**name).collect(),
            format!("({})", texts.join(", ")),
        )
    }

    fn pairs(&self, members: &rowcast_core::Object, between: &str) -> String {
        let pairs: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("{} = {}", ident(name), self.text(name, value)))
            .collect();
        pairs.join(between)
    }

    fn text(&self, name: &str, value: &Value) -> String {
        let form = self
            .target
            .and_then(|target| target.position(name).map(|at| &target.columns[at].form))
            .unwrap_or(&Form::Plain);
        match (value, cell(value, form)) {
            (Value::Int(number), _) if *form == Form::Plain => number.to_string(),
            (_, Ok(Some(text))) => literal(&text).trim_start().to_owned(),
            _ => "NULL".to_owned(),
        }
    }
}
