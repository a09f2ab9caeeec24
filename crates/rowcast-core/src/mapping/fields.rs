//! `fields:` and `match_on:` of a sync: Rowcast's own mapping language.
//!
//! Pure: the same row gives the same bytes. Every problem of a mapping is found before any row is
//! read, and a row that can't be mapped is invalid, never a panic.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::compiler::{Compiler, Place, unknown_column};
use super::reference::flow;
use super::rule::{Nulls, Rule, View, object};
use super::{Mapper, Plain};
use crate::code::Code;
use crate::fault::Reason;
use crate::json::{push_string, push_value};
use crate::key::identity_value;
use crate::record::RunContext;
use crate::row::{Row, Schema};
use crate::value::{Name, Object, Value};

/// What a mapping is compiled from.
#[derive(Debug, Clone, Copy)]
pub struct CompileInput<'a> {
    /// Destination field -> rule.
    pub fields: &'a Value,
    /// Destination field -> rule; without it the primary key is the identity.
    pub match_on: Option<&'a Value>,
    /// Names of the primary key columns.
    pub key_columns: &'a [Name],
    /// The model's columns, when they are known: columns and types are checked then.
    pub schema: Option<&'a Schema>,
    /// Columns whose values never appear in an error.
    pub sensitive: &'a [Name],
}

/// Something wrong with a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingProblem {
    /// Where: `fields.phones[1].sha256`. The message of the reason begins with it.
    pub path: String,
    pub reason: Reason,
}

impl std::fmt::Display for MappingProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(f)
    }
}

/// A compiled `fields:` mapping.
#[derive(Debug)]
pub struct FieldMapping {
    fields: Vec<(Name, Rule)>,
    /// Each field's name as JSON writes it, with the colon.
    labels: Vec<Box<str>>,
    match_on: Vec<(Name, Rule)>,
    /// The column of each field, when every field is a column as it is and no column is used twice.
    moved: Option<Vec<usize>>,
    key_columns: Vec<Name>,
    /// Where the key columns stand among `columns`, when they are the identity.
    key_positions: Vec<usize>,
    columns: Vec<Name>,
    described: Vec<(Name, String)>,
    positions: RwLock<Option<Arc<Positions>>>,
}

/// Where the mapping's columns stand in the rows of one schema.
#[derive(Debug)]
struct Positions {
    schema: Arc<Schema>,
    positions: Box<[usize]>,
}

impl FieldMapping {
    /// Compiles `fields:` and `match_on:`.
    ///
    /// # Errors
    /// Every problem of both, in their order.
    pub fn compile(input: CompileInput<'_>) -> Result<Self, Vec<MappingProblem>> {
        Self::compile_at("fields", input)
    }

    /// As `compile`, for rules that stand under another key.
    pub(super) fn compile_at(
        root: &str,
        input: CompileInput<'_>,
    ) -> Result<Self, Vec<MappingProblem>> {
        let mut compiler = Compiler {
            schema: input.schema,
            sensitive: input.sensitive,
            columns: Vec::new(),
            problems: Vec::new(),
        };
        let fields = named_rules(&mut compiler, input.fields, root, Place::Field);
        let match_on = match input.match_on {
            Some(match_on) => named_rules(&mut compiler, match_on, "match_on", Place::Argument),
            None => Some(Vec::new()),
        };
        if let (Some(Value::Object(_)), Some(rules)) = (input.match_on, &match_on)
            && rules.is_empty()
        {
            compiler.problem(
                "match_on",
                Reason::new(Code::ExpressionInvalid, "match_on: it names no field")
                    .hint("leave it out to match by the primary key"),
            );
        }
        if input.match_on.is_none() {
            for key in input.key_columns {
                if let Some(schema) = input.schema
                    && schema.position(key).is_none()
                {
                    let reason = unknown_column(schema, key, "primary_key");
                    compiler.problem("primary_key", reason);
                }
                if !compiler.columns.contains(key) {
                    compiler.columns.push(key.clone());
                }
            }
        }
        match (fields, match_on) {
            (Some(fields), Some(match_on)) if compiler.problems.is_empty() => Ok(Self {
                labels: fields.iter().map(|(name, _)| label(name)).collect(),
                moved: moved(&fields),
                key_positions: positions_of(input.key_columns, &compiler.columns),
                fields,
                match_on,
                key_columns: input.key_columns.to_vec(),
                columns: compiler.columns,
                described: describe(input.fields),
                positions: RwLock::new(None),
            }),
            _ => Err(compiler.problems),
        }
    }

    /// Every field with its rule on one line, as YAML; for `plan`, previews and docs.
    pub fn describe(&self) -> Vec<(Name, String)> {
        self.described.clone()
    }

    /// The fields' rules.
    pub(super) fn rules(&self) -> &[(Name, Rule)] {
        &self.fields
    }

    /// The digests of `match_on` alone.
    pub(super) fn match_digests(&self) -> BTreeMap<String, String> {
        let rules = self.match_on.iter();
        rules
            .map(|(name, rule)| (format!("match_on:{name}"), rule.digest()))
            .collect()
    }

    fn positions(&self, schema: &Arc<Schema>) -> Arc<Positions> {
        let cached = self
            .positions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(positions) = &*cached
            && Arc::ptr_eq(&positions.schema, schema)
        {
            return positions.clone();
        }
        drop(cached);
        let positions = Arc::new(Positions {
            schema: schema.clone(),
            positions: self
                .columns
                .iter()
                .map(|column| schema.position(column).unwrap_or(usize::MAX))
                .collect(),
        });
        *self
            .positions
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(positions.clone());
        positions
    }
}

fn label(name: &str) -> Box<str> {
    let mut label = String::new();
    push_string(&mut label, name);
    label.push(':');
    label.into()
}

fn moved(fields: &[(Name, Rule)]) -> Option<Vec<usize>> {
    let mut columns = Vec::with_capacity(fields.len());
    for (_, rule) in fields {
        let (column, _) = rule.plain()?;
        if columns.contains(&column) {
            return None;
        }
        columns.push(column);
    }
    Some(columns)
}

fn positions_of(names: &[Name], columns: &[Name]) -> Vec<usize> {
    names
        .iter()
        .map(|name| {
            let position = columns.iter().position(|column| column == name);
            position.unwrap_or(usize::MAX)
        })
        .collect()
}

fn named_rules(
    compiler: &mut Compiler<'_>,
    tree: &Value,
    path: &str,
    place: Place,
) -> Option<Vec<(Name, Rule)>> {
    if let Value::Object(members) = tree {
        return compiler.members(members, path, place, 1);
    }
    compiler.problem(
        path,
        Reason::new(
            Code::ExpressionInvalid,
            format!(
                "{path}: it must be a mapping of destination fields to rules, not {}",
                tree.kind()
            ),
        )
        .hint(format!("as in {path}: {{ email: email }}")),
    );
    None
}

fn describe(fields: &Value) -> Vec<(Name, String)> {
    let Value::Object(members) = fields else {
        return Vec::new();
    };
    members
        .iter()
        .map(|(name, rule)| match rule {
            Value::Text(text) => (name.clone(), text.to_string()),
            rule => (name.clone(), flow(rule)),
        })
        .collect()
}

impl Mapper for FieldMapping {
    fn columns(&self) -> Vec<Name> {
        self.columns.clone()
    }

    /// One entry a field, and `match_on:FIELD` for each field of `match_on`. A field whose own name
    /// could be taken for one of those is entered as `fields:NAME`.
    fn digests(&self) -> BTreeMap<String, String> {
        let fields = self.fields.iter().map(|(name, rule)| {
            let key = if name.starts_with("match_on:") || name.starts_with("fields:") {
                format!("fields:{name}")
            } else {
                name.to_string()
            };
            (key, rule.digest())
        });
        fields.chain(self.match_digests()).collect()
    }

    fn fields(&self, row: &Row, _context: &RunContext) -> Result<Object, Reason> {
        let positions = self.positions(&row.schema);
        let view = View {
            row,
            columns: &self.columns,
            positions: &positions.positions,
        };
        object(&self.fields, &view)
    }

    fn take_fields(&self, mut row: Row, context: &RunContext) -> Result<Object, Reason> {
        let positions = self.positions(&row.schema);
        let there = |column: &usize| positions.positions[*column] < row.values.len();
        let Some(moved) = self.moved.as_ref().filter(|moved| moved.iter().all(there)) else {
            return self.fields(&row, context);
        };
        let fields = self.fields.iter().zip(moved);
        let fields = fields.map(|((name, _), column)| {
            let value = &mut row.values[positions.positions[*column]];
            (name.clone(), std::mem::replace(value, Value::Null))
        });
        Ok(fields.collect())
    }

    fn push_fields(
        &self,
        row: &Row,
        _context: &RunContext,
        out: &mut String,
    ) -> Result<(), Reason> {
        let positions = self.positions(&row.schema);
        let view = View {
            row,
            columns: &self.columns,
            positions: &positions.positions,
        };
        let cleared = Value::text("");
        out.push('{');
        let mut first = true;
        for ((_, rule), label) in self.fields.iter().zip(&self.labels) {
            let value = rule.evaluate(&view)?;
            let value = match rule.nulls {
                Nulls::Omit if value.is_null() => continue,
                Nulls::Clear if value.is_null() => &cleared,
                _ => &*value,
            };
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            out.push_str(label);
            push_value(out, value);
        }
        out.push('}');
        Ok(())
    }

    fn plain(&self) -> Option<Plain> {
        if !self.match_on.is_empty() {
            return None;
        }
        let fields = self.fields.iter().zip(&self.labels);
        let fields =
            fields.map(|((_, rule), label)| Some((label.clone(), rule.plain()?.1.clone())));
        let identity = self.key_columns.iter();
        Some(Plain {
            identity: identity.map(|name| (label(name), name.clone())).collect(),
            fields: fields.collect::<Option<_>>()?,
            names: self.fields.iter().map(|(name, _)| name.clone()).collect(),
        })
    }

    fn match_on(&self, row: &Row, _context: &RunContext) -> Result<Object, Reason> {
        let positions = self.positions(&row.schema);
        let view = View {
            row,
            columns: &self.columns,
            positions: &positions.positions,
        };
        if self.match_on.is_empty() {
            return self.primary_key(&view);
        }
        let mut identity = Object::with_capacity(self.match_on.len());
        for (name, rule) in &self.match_on {
            match rule.field(&view)? {
                Some(value) if !value.is_null() => identity.push((name.clone(), value)),
                _ => {
                    return Err(Reason::new(
                        Code::MatchMissing,
                        format!("{}: the row has no value to be matched by", rule.path),
                    )
                    .detail("the value is null")
                    .hint("leave such rows out with `where:`, or match by a column that is never null"));
                }
            }
        }
        Ok(identity)
    }
}

impl FieldMapping {
    fn primary_key(&self, view: &View<'_>) -> Result<Object, Reason> {
        let mut identity = Object::with_capacity(self.key_columns.len());
        for (column, position) in self.key_columns.iter().zip(&self.key_positions) {
            let value = view.column(*position).ok_or_else(|| {
                Reason::new(
                    Code::UnknownColumn,
                    format!("primary_key: the row has no column `{column}`"),
                )
            })?;
            let value = match value {
                Value::Null => {
                    return Err(Reason::new(
                        Code::NullKey,
                        format!("primary_key: column `{column}` is null"),
                    )
                    .hint("leave such rows out of the model, or choose a key that is never null"));
                }
                value => identity_value(value.clone()),
            };
            identity.push((column.clone(), value));
        }
        Ok(identity)
    }
}

#[cfg(test)]
mod tests;
