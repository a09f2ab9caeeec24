//! Parquet: columns with types, fixed within a run.
//!
//! A column's type is the declared one, else that of its first value in the run; a later value that
//! would lose something in it rejects its record. Rows wait in the draft as JSON lists of cells,
//! because the columns of a run, and the digits of its decimals, are known only at its end.

mod kind;
mod write;

use std::collections::HashMap;
use std::io::Write;

use rowcast_core::json::to_json;
use rowcast_core::record::{Batch, Record};
use rowcast_core::{Code, Reason, SettingValue, Value};

use self::kind::{Kind, NAMES};
use super::{Parts, Rows};
use rowcast_core::connector::Problems;

/// The columns as the settings fix them.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Operation, key, then the listed fields.
    fixed: Vec<(String, Option<Kind>)>,
    /// How many of them are no fields.
    own: usize,
    /// Only listed fields are taken.
    closed: bool,
}

/// The columns of a run so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Table {
    columns: Vec<(String, Option<Kind>)>,
    places: HashMap<String, usize>,
}

impl Table {
    fn place(&mut self, name: &str, kind: Option<Kind>) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.columns.len();
        self.columns.push((name.to_owned(), kind));
        self.places.insert(name.to_owned(), place);
        place
    }
}

impl Layout {
    /// Reads `columns:`, as a list of names or as names to types.
    pub(super) fn read(
        operation: bool,
        key: Vec<String>,
        columns: Option<&SettingValue>,
        problems: &mut Problems,
    ) -> Self {
        let mut fixed = Vec::new();
        if operation {
            fixed.push(("operation".to_owned(), Some(Kind::Text)));
        }
        fixed.extend(key.into_iter().map(|name| (name, None)));
        let own = fixed.len();
        let taken = |name: &str| fixed[..own].iter().any(|(column, _)| column == name);
        let renamed = |name: &str| {
            if taken(name) {
                format!("fields.{name}")
            } else {
                name.to_owned()
            }
        };
        let mut listed = Vec::new();
        match columns {
            Some(SettingValue::Map(members)) => {
                for (name, value) in members {
                    let kind = value.as_text().and_then(Kind::parse);
                    if kind.is_none() {
                        problems.add(
                            format!("settings.columns.{name}"),
                            "this is no type of a column",
                            &format!("the types are {NAMES}"),
                        );
                    }
                    listed.push((renamed(name), kind));
                }
            }
            Some(names) => {
                let names = names.items().iter().filter_map(SettingValue::as_text);
                listed.extend(names.map(|name| (renamed(name), None)));
            }
            None => {}
        }
        fixed.extend(listed);
        Self {
            fixed,
            own,
            closed: columns.is_some(),
        }
    }

    /// Appends a record's cells as one JSON list without a line break.
    ///
    /// # Errors
    /// A field that is not among the listed columns, or a value that does not fit its column. The
    /// table is then as it was.
    pub(super) fn push_row(
        &self,
        out: &mut String,
        table: &mut Table,
        record: &Record,
        batch: &Batch,
    ) -> Result<(), Reason> {
        if table.columns.is_empty() {
            for (name, kind) in &self.fixed {
                table.place(name, *kind);
            }
        }
        let had = table.columns.len();
        let fitted = self.fit(table, record, batch);
        match fitted {
            Ok(fitted) => {
                let mut cells = vec![Value::Null; table.columns.len()];
                for (place, kind, cell) in fitted {
                    if kind.is_some() {
                        table.columns[place].1 = kind;
                    }
                    cells[place] = cell;
                }
                out.push_str(&to_json(&Value::List(cells)));
                Ok(())
            }
            Err(reason) => {
                for (name, _) in table.columns.drain(had..) {
                    table.places.remove(&name);
                }
                Err(reason)
            }
        }
    }

    fn fit(
        &self,
        table: &mut Table,
        record: &Record,
        batch: &Batch,
    ) -> Result<Vec<(usize, Option<Kind>, Value)>, Reason> {
        let mut fitted = Vec::with_capacity(self.own + record.fields.len());
        let mut own = Vec::with_capacity(self.own);
        if self.own > 0 {
            own.push(Value::from(record.operation.as_str()));
            let key = record.key.to_object(&batch.context.key_columns);
            own.extend(key.into_iter().map(|(_, value)| value));
        }
        for (place, value) in own.iter().take(self.own).enumerate() {
            fitted.push(cell(table, place, value)?);
        }
        for (name, value) in &record.fields {
            let own = self.fixed[..self.own].iter();
            let column = if own.clone().any(|(column, _)| **column == **name) {
                format!("fields.{name}")
            } else {
                name.to_string()
            };
            if self.closed && !table.places.contains_key(&column) {
                return Err(super::not_listed(name));
            }
            let place = table.place(&column, None);
            fitted.push(cell(table, place, value)?);
        }
        Ok(fitted)
    }

    /// Turns lines of cells into files.
    pub(super) fn files<F: Write + Send>(
        table: &Table,
        rows: Rows,
        parts: &mut Parts<'_, F>,
    ) -> Result<(), Reason> {
        // Where every value was null, any type is right.
        let columns: Vec<(String, Kind)> = table
            .columns
            .iter()
            .map(|(name, kind)| (name.clone(), kind.unwrap_or(Kind::Text)))
            .collect();
        write::files(&columns, rows, parts)
    }
}

/// A value as a cell of its column, and the column's type after it.
fn cell(
    table: &Table,
    place: usize,
    value: &Value,
) -> Result<(usize, Option<Kind>, Value), Reason> {
    let (name, known) = &table.columns[place];
    let Some(kind) = known.or_else(|| Kind::of(value)) else {
        return Ok((place, None, Value::Null));
    };
    match kind.fit(value) {
        Some(fitted) => Ok((place, Some(fitted.kind), fitted.cell)),
        None => Err(Reason::new(
            Code::DestinationRejected,
            format!(
                "a value of kind {} does not fit the column {name} of type {}",
                value.kind(),
                kind.name()
            ),
        )
        .hint(
            "give the column a type that holds it, under columns: of the destination, or cast the \
             value in the sync's fields",
        )),
    }
}
