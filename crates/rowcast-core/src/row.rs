//! Rows as they come from the model, and the shape they share.

use std::sync::Arc;

use crate::value::{Name, Value};

/// A column of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: Name,
    /// The type as PostgreSQL prints it (`timestamp with time zone`, `numeric(10,2)`).
    pub type_name: Box<str>,
}

/// The columns of a model, in order, shared by all rows of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    pub columns: Vec<Column>,
}

impl Schema {
    /// The position of a column by its exact, case-sensitive name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &*column.name == name)
    }
}

/// One row: as many values as its schema has columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub schema: Arc<Schema>,
    pub values: Vec<Value>,
}

impl Row {
    /// The value of a column, if the row has it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.schema.position(name).and_then(|i| self.values.get(i))
    }
}
