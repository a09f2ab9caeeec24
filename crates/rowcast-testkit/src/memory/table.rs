//! A model in memory, its mapping, and what a mirror of it must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowcast_core::json::push_object;
use rowcast_core::value::{Name, Object};
use rowcast_core::{Code, Column, Mapper, Reason, Row, RunContext, Schema, Value};

/// A model: rows by their primary key, columns `id`, `email`, `name`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub rows: BTreeMap<i64, (String, String)>,
    /// Rows without a primary key.
    pub null_keys: u64,
}

impl Table {
    /// The model's columns.
    pub fn schema() -> Arc<Schema> {
        let column = |name: &str, type_name: &str| Column {
            name: name.into(),
            type_name: type_name.into(),
        };
        Arc::new(Schema {
            columns: vec![
                column("id", "bigint"),
                column("email", "text"),
                column("name", "text"),
            ],
        })
    }

    /// Adds or changes a row whose email follows from its id.
    pub fn put(&mut self, id: i64, name: &str) {
        self.rows
            .insert(id, (format!("{id}@example.com"), name.to_owned()));
    }

    pub(super) fn row(id: i64, email: &str, name: &str) -> Row {
        Row {
            schema: Self::schema(),
            values: vec![Value::Int(id), Value::from(email), Value::from(name)],
        }
    }

    /// What a mirror of this table holds: identity → fields.
    pub fn mirror(&self, mapper: &TableMapper) -> BTreeMap<String, String> {
        let mut claims = BTreeMap::<String, Vec<String>>::new();
        for (id, (email, name)) in &self.rows {
            let row = Self::row(*id, email, name);
            let identity = text(&mapper.identity_of(&row));
            claims
                .entry(identity)
                .or_default()
                .push(text(&mapper.fields_of(&row)));
        }
        claims
            .into_iter()
            .filter_map(|(identity, mut fields)| Some((identity, fields.pop()?)))
            .collect()
    }
}

/// The JSON text of an object.
pub fn text(object: &Object) -> String {
    let mut out = String::new();
    push_object(&mut out, object);
    out
}

/// Maps `name`; matches on `id` or, as syncs with `match_on` do, on `email`. A row named `invalid`
/// can't be mapped.
#[derive(Debug, Clone, Default)]
pub struct TableMapper {
    pub match_on_email: bool,
}

impl TableMapper {
    fn fields_of(&self, row: &Row) -> Object {
        let mut fields = Object::new();
        if self.match_on_email {
            fields.push(("id".into(), row.values[0].clone()));
        }
        fields.push(("name".into(), row.values[2].clone()));
        fields
    }

    fn identity_of(&self, row: &Row) -> Object {
        if self.match_on_email {
            vec![("email".into(), row.values[1].clone())]
        } else {
            vec![("id".into(), row.values[0].clone())]
        }
    }
}

impl Mapper for TableMapper {
    fn columns(&self) -> Vec<Name> {
        vec!["id".into(), "email".into(), "name".into()]
    }

    fn digests(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn fields(&self, row: &Row, _: &RunContext) -> Result<Object, Reason> {
        if row.values[2].as_text() == Some("invalid") {
            return Err(Reason::new(Code::CastFailed, "can't cast `name`"));
        }
        Ok(self.fields_of(row))
    }

    fn match_on(&self, row: &Row, _: &RunContext) -> Result<Object, Reason> {
        Ok(self.identity_of(row))
    }
}
