//! Carries values into minijinja and back without loss.
//!
//! Whole numbers and text become minijinja's own. Exact numerics, lists, objects and JSON columns
//! travel as opaque objects that render as `json::to_text` does and come back as they were. Must
//! never round unless the expression calculates.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Value as Jinja, ValueKind};

use super::decimal;
use crate::json::{from_json, to_text};
use crate::value::Value;

/// The most items an expression may give back in one list: enough for any record, small enough
/// that a mistake can't fill the memory.
const MAX_ITEMS: usize = 100_000;

/// How deep a result may nest.
const MAX_DEPTH: usize = 64;

/// How values appear to one expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Manner {
    /// The expression calculates or compares: numerics are numbers, if need be rounded to a double.
    pub(super) calculates: bool,
    /// The expression joins text with `~`: null is empty text, booleans are `true` and `false`.
    pub(super) joins: bool,
}

/// A value as minijinja holds it.
#[derive(Debug)]
struct Carried {
    value: Value,
    manner: Manner,
}

/// A value for an expression.
pub(super) fn into_jinja(value: &Value, manner: Manner) -> Jinja {
    match value {
        Value::Null if !manner.joins => Jinja::from(()),
        Value::Bool(value) if !manner.joins => Jinja::from(*value),
        Value::Int(value) => Jinja::from(*value),
        Value::Text(text) => Jinja::from(&**text),
        Value::Float { .. } | Value::Decimal(_) if manner.calculates => number(&to_text(value)),
        // Text, so that slices, comparisons with text and all filters work on them.
        Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::TimestampTz(_)
        | Value::Uuid(_) => Jinja::from(to_text(value)),
        Value::Json(text) => match from_json(text) {
            Ok(Value::Json(_)) | Err(_) => Jinja::from(&**text),
            Ok(value @ (Value::List(_) | Value::Object(_))) => carry(value, manner),
            Ok(scalar) => into_jinja(&scalar, manner),
        },
        value => carry(value.clone(), manner),
    }
}

fn carry(value: Value, manner: Manner) -> Jinja {
    Jinja::from_object(Carried { value, manner })
}

/// The number that an expression calculates with: whole if it fits, else a double.
fn number(text: &str) -> Jinja {
    if let Ok(whole) = text.parse::<i64>() {
        return Jinja::from(whole);
    }
    match text.parse::<f64>() {
        // Up to 2^53 a whole double is the same number as an integer, and prints without `.0`.
        Ok(value) if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 => {
            Jinja::from(value as i64)
        }
        Ok(value) => Jinja::from(value),
        Err(_) => Jinja::from(text),
    }
}

/// A result as a value.
///
/// # Errors
/// Says why it can't be one, without any of its content.
pub(super) fn from_jinja(value: &Jinja) -> Result<Value, String> {
    convert(value, 0)
}

fn convert(value: &Jinja, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("the result is nested more than {MAX_DEPTH} deep"));
    }
    if let Some(carried) = value.downcast_object_ref::<Carried>() {
        return Ok(carried.value.clone());
    }
    match value.kind() {
        ValueKind::Undefined => Err("the value is undefined".to_owned()),
        ValueKind::None => Ok(Value::Null),
        ValueKind::Bool => Ok(Value::Bool(value.is_true())),
        ValueKind::Number => Ok(match value.as_i64() {
            Some(whole) if value.is_integer() => Value::Int(whole),
            _ if value.is_integer() => Value::Decimal(value.to_string().into()),
            _ => f64::try_from(value.clone())
                .map_or_else(|_| Value::from(value.to_string()), Value::float),
        }),
        ValueKind::String => Ok(Value::text(value.as_str().unwrap_or_default())),
        ValueKind::Bytes => Ok(Value::Bytes(value.as_bytes().unwrap_or_default().into())),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter().map_err(|_| "the list can't be read")? {
                if items.len() >= MAX_ITEMS {
                    return Err(format!("a list has more than {MAX_ITEMS} items"));
                }
                items.push(convert(&item, depth + 1)?);
            }
            Ok(Value::List(items))
        }
        ValueKind::Map => {
            let mut members = crate::value::Object::new();
            for name in value.try_iter().map_err(|_| "the object can't be read")? {
                let member = value
                    .get_item(&name)
                    .map_err(|_| "the object can't be read")?;
                members.push((name.to_string().into(), convert(&member, depth + 1)?));
            }
            Ok(Value::Object(members))
        }
        kind => Err(format!("the result is {kind}, which is no value")),
    }
}

impl Object for Carried {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.value {
            Value::List(_) => ObjectRepr::Seq,
            Value::Object(_) => ObjectRepr::Map,
            _ => ObjectRepr::Plain,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let found = match &self.value {
            Value::List(items) => items.get(key.as_usize()?)?,
            value @ Value::Object(_) => value.get(key.as_str()?)?,
            _ => return None,
        };
        Some(into_jinja(found, self.manner))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.value {
            Value::List(items) => Enumerator::Seq(items.len()),
            Value::Object(members) => Enumerator::Values(
                members
                    .iter()
                    .map(|(name, _)| Jinja::from(&**name))
                    .collect(),
            ),
            _ => Enumerator::NonEnumerable,
        }
    }

    fn is_true(self: &Arc<Self>) -> bool {
        match &self.value {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Float { value, .. } => *value != 0.0,
            Value::Decimal(text) => !decimal::is_zero(text),
            Value::List(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some(match decimal::compare(&self.value, &other.value) {
            Some(ordering) => ordering,
            None => to_text(&self.value).cmp(&to_text(&other.value)),
        })
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(&self.value))
    }
}

/// The test `is none`, also where null travels as empty text.
pub(super) fn is_null(value: &Jinja) -> bool {
    value.is_none()
        || value
            .downcast_object_ref::<Carried>()
            .is_some_and(|carried| carried.value.is_null())
}
