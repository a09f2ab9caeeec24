//! Bodies: trees whose leaves are templates and whose mappings may hold one of three words.
//!
//! `each_record` makes a list with one item a record, `merge` lays mappings over each other, and
//! `omit_empty` leaves a member out when there is nothing to say. Nothing else has a meaning, and no
//! text is ever pasted into JSON.

use rowcast_core::mapping::template::{Context, TemplateTree};
use rowcast_core::{Code, Name, Reason, SettingValue, Value};

use super::scope::Scope;

/// A compiled body.
#[derive(Debug)]
pub(super) enum Node {
    Leaf(TemplateTree),
    List(Vec<Node>),
    Object(Vec<(Name, Node)>),
    EachRecord(Box<Node>),
    Merge(Vec<Node>),
    OmitEmpty(Box<Node>),
}

/// What a body says for a set of records.
pub(super) struct Made {
    pub(super) value: Value,
    /// Positions of the records that could not be written, with the reason.
    pub(super) failed: Vec<(usize, Reason)>,
}

impl Node {
    /// Compiles a tree of the manifest.
    ///
    /// # Errors
    /// What is wrong at which place.
    pub(super) fn compile(tree: &SettingValue) -> Result<Self, Reason> {
        Ok(match tree {
            SettingValue::Map(members) => match members.as_slice() {
                [(word, inner)] if word == "each_record" => {
                    let inner = Self::compile(inner)?;
                    if inner.lists_records() {
                        return Err(wrong("each_record can't stand within each_record"));
                    }
                    Self::EachRecord(Box::new(inner))
                }
                [(word, inner)] if word == "omit_empty" => {
                    Self::OmitEmpty(Box::new(Self::compile(inner)?))
                }
                [(word, SettingValue::List(items))] if word == "merge" => {
                    Self::Merge(items.iter().map(Self::compile).collect::<Result<_, _>>()?)
                }
                _ => Self::Object(
                    members
                        .iter()
                        .map(|(name, value)| {
                            if matches!(name.as_str(), "each_record" | "omit_empty" | "merge") {
                                return Err(wrong(&format!("{name} stands alone in its mapping")));
                            }
                            Ok((name.as_str().into(), Self::compile(value)?))
                        })
                        .collect::<Result<_, _>>()?,
                ),
            },
            SettingValue::List(items) => {
                Self::List(items.iter().map(Self::compile).collect::<Result<_, _>>()?)
            }
            scalar => Self::Leaf(TemplateTree::compile(&plain(scalar))?),
        })
    }

    /// The top-level names that templates in it read.
    pub(super) fn names(&self, found: &mut Vec<Name>) {
        match self {
            Self::Leaf(tree) => found.extend(tree.columns().iter().cloned()),
            Self::List(nodes) | Self::Merge(nodes) => nodes.iter().for_each(|n| n.names(found)),
            Self::Object(members) => members.iter().for_each(|(_, n)| n.names(found)),
            Self::EachRecord(node) | Self::OmitEmpty(node) => node.names(found),
        }
    }

    /// Whether it has a place for many records.
    pub(super) fn lists_records(&self) -> bool {
        match self {
            Self::Leaf(_) => false,
            Self::List(nodes) | Self::Merge(nodes) => nodes.iter().any(Self::lists_records),
            Self::Object(members) => members.iter().any(|(_, node)| node.lists_records()),
            Self::EachRecord(_) => true,
            Self::OmitEmpty(node) => node.lists_records(),
        }
    }

    /// Whether records are read outside `each_record`: such a body holds one.
    pub(super) fn names_one_record(&self) -> bool {
        match self {
            Self::Leaf(tree) => tree.columns().iter().any(|name| &**name == "record"),
            Self::List(nodes) | Self::Merge(nodes) => nodes.iter().any(Self::names_one_record),
            Self::Object(members) => members.iter().any(|(_, node)| node.names_one_record()),
            Self::EachRecord(_) => false,
            Self::OmitEmpty(node) => node.names_one_record(),
        }
    }

    /// The body for records.
    ///
    /// # Errors
    /// Why no body can be made at all.
    pub(super) fn make(&self, scope: &Scope<'_>, records: &[Value]) -> Result<Made, Reason> {
        let mut failed = Vec::new();
        let value = self.evaluate(scope, records, &mut failed)?;
        let value = value.unwrap_or(Value::Null);
        Ok(Made { value, failed })
    }

    /// `None` is a member to be left out.
    fn evaluate(
        &self,
        scope: &Scope<'_>,
        records: &[Value],
        failed: &mut Vec<(usize, Reason)>,
    ) -> Result<Option<Value>, Reason> {
        Ok(Some(match self {
            Self::Leaf(tree) => tree.evaluate(scope as &dyn Context)?,
            Self::List(nodes) => {
                let mut items = Vec::with_capacity(nodes.len());
                for node in nodes {
                    items.extend(node.evaluate(scope, records, failed)?);
                }
                Value::List(items)
            }
            Self::Object(members) => {
                let mut object = Vec::with_capacity(members.len());
                for (name, node) in members {
                    if let Some(value) = node.evaluate(scope, records, failed)? {
                        object.push((name.clone(), value));
                    }
                }
                Value::Object(object)
            }
            Self::EachRecord(node) => {
                let mut items = Vec::with_capacity(records.len());
                for (position, record) in records.iter().enumerate() {
                    match node.evaluate(&scope.of(record), records, failed) {
                        Ok(value) => items.push(value.unwrap_or(Value::Null)),
                        Err(reason) => failed.push((position, reason)),
                    }
                }
                Value::List(items)
            }
            Self::Merge(nodes) => {
                let mut merged: Vec<(Name, Value)> = Vec::new();
                for node in nodes {
                    match node.evaluate(scope, records, failed)? {
                        None | Some(Value::Null) => {}
                        Some(Value::Object(members)) => {
                            for (name, value) in members {
                                match merged.iter_mut().find(|(other, _)| *other == name) {
                                    Some((_, place)) => *place = value,
                                    None => merged.push((name, value)),
                                }
                            }
                        }
                        Some(other) => {
                            return Err(Reason::new(
                                Code::ExpressionFailed,
                                "a part of a merge is no mapping",
                            )
                            .detail(format!("it is of the kind {}", other.kind())));
                        }
                    }
                }
                Value::Object(merged)
            }
            // What is not there is as good as empty.
            Self::OmitEmpty(node) => {
                return Ok(node
                    .evaluate(scope, records, failed)
                    .ok()
                    .flatten()
                    .filter(|value| !is_empty(value)));
            }
        }))
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn wrong(detail: &str) -> Reason {
    Reason::new(Code::InvalidSetting, "a body can't be read").detail(detail)
}

/// A tree of the manifest as values; a manifest holds no secrets.
pub(crate) fn plain(setting: &SettingValue) -> Value {
    match setting {
        SettingValue::Null | SettingValue::Secret(_) => Value::Null,
        SettingValue::Bool(value) => Value::Bool(*value),
        SettingValue::Number(text) => match text.parse::<i64>() {
            Ok(value) => Value::Int(value),
            Err(_) => Value::Decimal(text.as_str().into()),
        },
        SettingValue::Text(text) => Value::from(text.as_str()),
        SettingValue::List(items) => Value::List(items.iter().map(plain).collect()),
        SettingValue::Map(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| (name.as_str().into(), plain(value)))
                .collect(),
        ),
    }
}
