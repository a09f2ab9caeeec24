//! A value in the making: JSON and one value more, *absent*.
//!
//! Absent members matter while a mapping runs (a merge can erase with one) and are dropped at its
//! end.

use crate::value::{Name, Value};

/// JSON, or absent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Absent,
    /// Anything but a list or an object.
    Scalar(Value),
    List(Vec<Node>),
    Object(Vec<(Name, Node)>),
}

impl Node {
    pub(super) fn text(text: impl Into<Box<str>>) -> Self {
        Self::Scalar(Value::Text(text.into()))
    }

    /// A deep copy of a value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::List(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Object(members) => Self::Object(
                members
                    .iter()
                    .map(|(name, value)| (name.clone(), Self::of(value)))
                    .collect(),
            ),
            scalar => Self::Scalar(scalar.clone()),
        }
    }

    /// Without absent members; absent items of a list are null, as JSON has nothing else for them.
    pub(super) fn into_value(self) -> Option<Value> {
        Some(match self {
            Self::Absent => return None,
            Self::Scalar(value) => value,
            Self::List(items) => Value::List(
                items
                    .into_iter()
                    .map(|item| item.into_value().unwrap_or(Value::Null))
                    .collect(),
            ),
            Self::Object(members) => Value::Object(
                members
                    .into_iter()
                    .filter_map(|(name, node)| Some((name, node.into_value()?)))
                    .collect(),
            ),
        })
    }

    /// Neither absent nor null.
    pub(super) fn exists(&self) -> bool {
        !matches!(self, Self::Absent | Self::Scalar(Value::Null))
    }

    /// Exists, and is not loosely equal to the empty string in JavaScript's sense.
    pub(super) fn is_not_blank(&self) -> bool {
        match self {
            Self::Absent | Self::Scalar(Value::Null) => false,
            Self::Scalar(Value::Bool(value)) => *value,
            Self::Scalar(value) => match super::convert::number(value) {
                Some(number) => number != 0.0,
                None => !matches!(value, Value::Text(text) if text.is_empty()),
            },
            Self::List(_) => !super::text::of(self).is_empty(),
            Self::Object(_) => true,
        }
    }
}

/// Sets a member; a later one takes the place of an earlier one of the same name.
pub(super) fn set(members: &mut Vec<(Name, Node)>, name: Name, node: Node) {
    match members.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = node,
        None => members.push((name, node)),
    }
}
