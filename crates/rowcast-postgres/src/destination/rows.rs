//! From the records of a batch to groups that share a statement.
//!
//! Records that carry the same columns share a statement. What can't be sent at all (no value to
//! match by, a NUL character) is rejected here, alone.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use rowcast_core::json::to_text;
use rowcast_core::key::identity_value;
use rowcast_core::record::RawForm;
use rowcast_core::{Batch, Code, Operation, Outcome, Reason, Record, Value};

use super::merge::Shape;
use super::name::TableName;
use super::raw::{self, damaged};
use super::target::{Column, Target};
use super::text::cell;
use crate::ledger::decode::Malformed;
use crate::sql::ident;

/// One record as texts.
#[derive(Debug)]
pub(super) struct Row {
    /// Its place in the batch.
    pub(super) position: usize,
    /// In the order of the shape's columns.
    pub(super) cells: Vec<Option<Box<str>>>,
}

/// Records for one statement.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) shape: Shape,
    /// Places in the batch, in the order of the identities.
    pub(super) rows: Vec<usize>,
    /// For each of `shape.sets`, the place among the record's fields.
    sources: Vec<usize>,
    /// The record whose members gave the shape, by its place in the batch.
    like: usize,
    /// Whether the shape follows from the members' names alone.
    by_names: bool,
}

impl Group {
    /// The value of a record for a column of the shape.
    pub(super) fn value<'a>(
        &self,
        record: &'a Record,
        column: usize,
    ) -> Result<Cow<'a, Value>, Malformed> {
        let set = column.checked_sub(self.shape.matches.len());
        Ok(match (&record.raw, set) {
            (None, None) => Cow::Borrowed(&record.match_on[column].1),
            (None, Some(set)) => Cow::Borrowed(&record.fields[self.sources[set]].1),
            (Some(raw), None) => {
                let at = self.raw_column(raw.form(), column);
                Cow::Owned(identity_value(raw::column(raw, at)?))
            }
            (Some(raw), Some(_)) => {
                let at = self.raw_column(raw.form(), column);
                Cow::Owned(raw::column(raw, at)?)
            }
        })
    }

    /// Where an undecoded record holds what belongs into a column of the shape.
    pub(super) fn raw_column(&self, form: &RawForm, column: usize) -> usize {
        match column.checked_sub(self.shape.matches.len()) {
            None => form.identity[column].1,
            Some(set) => form.fields[self.sources[set]].1,
        }
    }

    /// The records as texts. `outcomes` takes those that PostgreSQL can't hold.
    pub(super) fn texts(
        &self,
        batch: &Batch,
        target: &Target,
        outcomes: &mut [Outcome],
    ) -> Result<Vec<Row>, Reason> {
        let columns: Vec<&Column> = self.shape.all().map(|at| &target.columns[at]).collect();
        let mut rows = Vec::with_capacity(self.rows.len());
        for position in &self.rows {
            let record = &batch.records[*position];
            let mut cells = Vec::with_capacity(columns.len());
            let mut unfit = None;
            for (n, column) in columns.iter().enumerate() {
                let value = self.value(record, n).map_err(|Malformed| damaged())?;
                match cell(&value, &column.form) {
                    Ok(cell) => cells.push(cell),
                    Err(why) => {
                        unfit = Some(unstorable(column, why));
                        break;
                    }
                }
            }
            match unfit {
                None => rows.push(Row {
                    position: *position,
                    cells,
                }),
                Some(reason) => outcomes[*position] = Outcome::Rejected(reason),
            }
        }
        Ok(rows)
    }
}

/// A value that no column of its kind can hold.
pub(super) fn unstorable(column: &Column, why: &str) -> Reason {
    Reason::new(
        Code::DestinationRejected,
        format!("a value for column {} can't be stored", ident(&column.name)),
    )
    .detail(why)
}

/// Sorts a batch into groups. `outcomes` takes the records without a value to match by.
///
/// # Errors
/// `E0608`: a field that is no column, or one that can't be written.
pub(super) fn groups(
    batch: &Batch,
    table: &TableName,
    target: &Target,
    outcomes: &mut [Outcome],
) -> Result<Vec<Group>, Reason> {
    let mut groups: Vec<Group> = Vec::new();
    for (position, (record, outcome)) in batch.records.iter().zip(outcomes).enumerate() {
        let known = groups
            .iter()
            .position(|group| group.by_names && same_names(record, &batch.records[group.like]));
        let at = match known {
            Some(at) => at,
            None => {
                let opened = raw::opened(record).map_err(|Malformed| damaged())?;
                let made = group(batch.operation, &opened, position, table, target)?;
                let same = |group: &Group| {
                    group.shape == made.shape
                        && group.sources == made.sources
                        && group.by_names == made.by_names
                };
                match groups.iter().position(same) {
                    Some(at) => at,
                    None => {
                        groups.push(made);
                        groups.len() - 1
                    }
                }
            }
        };
        match record.match_on.iter().find(|(_, value)| value.is_null()) {
            Some((name, _)) => *outcome = Outcome::Rejected(unmatched(name)),
            None => groups[at].rows.push(position),
        }
    }
    groups.retain(|group| !group.rows.is_empty());
    for group in &mut groups {
        // One order for every writer, so that two of them rarely wait for each other in a circle.
        group
            .rows
            .sort_by(|a, b| by_identity(&batch.records[*a], &batch.records[*b]));
    }
    Ok(groups)
}

fn unmatched(name: &str) -> Reason {
    Reason::new(
        Code::MatchMissing,
        format!(
            "the record has no value for {}, by which it is matched",
            ident(name)
        ),
    )
}

fn same_names(a: &Record, b: &Record) -> bool {
    match (&a.raw, &b.raw) {
        (Some(a), Some(b)) => return Arc::ptr_eq(a.form(), b.form()),
        (None, None) => {}
        _ => return false,
    }
    let same = |a: &rowcast_core::Object, b: &rowcast_core::Object| {
        a.len() == b.len() && a.iter().zip(b).all(|((a, _), (b, _))| a == b)
    };
    same(&a.match_on, &b.match_on) && same(&a.fields, &b.fields)
}

fn by_identity(a: &Record, b: &Record) -> Ordering {
    if let (Some(a), Some(b)) = (&a.raw, &b.raw)
        && let Some(order) = raw::by_identity(a, b)
    {
        return order;
    }
    let (Ok(a), Ok(b)) = (raw::opened(a), raw::opened(b)) else {
        return Ordering::Equal;
    };
    let pairs = a.match_on.iter().zip(&b.match_on);
    let mut orders = pairs.map(|((_, a), (_, b))| by_value(a, b));
    orders
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Any total order does.
fn by_value(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        _ => (a.kind().cmp(b.kind())).then_with(|| to_text(a).cmp(&to_text(b))),
    }
}

/// A group without rows that the record at `position` would fit into.
fn group(
    operation: Operation,
    record: &Record,
    position: usize,
    table: &TableName,
    target: &Target,
) -> Result<Group, Reason> {
    let column = |name: &str| {
        let at = target
            .position(name)
            .ok_or_else(|| target.unknown(table, name))?;
        if target.columns[at].generated {
            return Err(Reason::new(
                Code::DestinationObject,
                format!(
                    "column {} of table {table} is generated by the database",
                    ident(name)
                ),
            )
            .hint("take it out of `fields`"));
        }
        Ok(at)
    };
    let matches = record
        .match_on
        .iter()
        .map(|(name, _)| match operation {
            // Only written columns must be writable.
            Operation::Delete | Operation::Update => target
                .position(name)
                .ok_or_else(|| target.unknown(table, name)),
            Operation::Insert | Operation::Upsert => column(name),
        })
        .collect::<Result<Vec<usize>, Reason>>()?;
    let mut made = Group {
        shape: Shape {
            matches,
            sets: Vec::with_capacity(record.fields.len()),
        },
        rows: Vec::new(),
        sources: Vec::with_capacity(record.fields.len()),
        like: position,
        by_names: true,
    };
    if operation != Operation::Delete {
        for (source, (name, value)) in record.fields.iter().enumerate() {
            let matched = record.match_on.iter().find(|(field, _)| field == name);
            let at = match matched {
                // The identity is what the record is found by; only an update may change it.
                Some((_, by)) => {
                    made.by_names &= operation != Operation::Update;
                    let at = target.position(name);
                    let changes = by != value || at.is_some_and(|at| target.columns[at].loose);
                    if operation != Operation::Update || !changes {
                        continue;
                    }
                    column(name)?
                }
                None => column(name)?,
            };
            made.shape.sets.push(at);
            made.sources.push(source);
        }
    }
    Ok(made)
}
