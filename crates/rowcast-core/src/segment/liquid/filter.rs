//! The filters: what is allowed, and who does it.
//!
//! A filter that nobody knows passes the value on, as Segment's engine does; one that Segment
//! turned off is an error.

mod date;
mod encode;
mod list;
mod math;
mod words;

use super::render::{Renderer, is_empty, is_true, printed};
use crate::segment::convert;
use crate::value::Value;

/// Filters that Segment turned off.
const DISABLED: [&str; 20] = [
    "array_to_sentence_string",
    "concat",
    "find",
    "find_exp",
    "find_index",
    "find_index_exp",
    "group_by",
    "group_by_exp",
    "has",
    "has_exp",
    "map",
    "newline_to_br",
    "reject",
    "reject_exp",
    "reverse",
    "sort",
    "sort_natural",
    "uniq",
    "where_exp",
    "type",
];

/// The arguments of a filter.
pub(super) struct Arguments<'a> {
    pub name: &'a str,
    values: &'a [Value],
}

impl Arguments<'_> {
    fn get(&self, at: usize) -> Option<&Value> {
        self.values.get(at).filter(|value| !value.is_null())
    }

    fn text(&self, at: usize) -> Option<String> {
        self.get(at).map(printed)
    }

    fn number(&self, at: usize) -> Option<f64> {
        self.get(at).map(to_number)
    }

    /// An argument that the filter can't do without.
    fn needed(&self, at: usize) -> Result<String, String> {
        if at < self.values.len() {
            Ok(self.text(at).unwrap_or_default())
        } else {
            Err(format!("the filter {:?} needs an argument", self.name))
        }
    }
}

/// A value as JavaScript's `Number()` sees it.
pub(super) fn to_number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Text(text) => {
            let text = text.trim();
            if text.is_empty() {
                0.0
            } else if text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
            {
                text.parse().unwrap_or(f64::NAN)
            } else {
                f64::NAN
            }
        }
        value => convert::number(value).unwrap_or(f64::NAN),
    }
}

/// Applies a filter.
///
/// # Errors
/// The filter is turned off, an argument is missing, the value does not fit, or too much text is
/// made.
pub(super) fn apply(
    renderer: &mut Renderer<'_>,
    name: &str,
    value: Value,
    values: &[Value],
    allow_false: bool,
) -> Result<Value, String> {
    if DISABLED.contains(&name) {
        return Err(format!("the filter {name:?} is not allowed here"));
    }
    let arguments = Arguments { name, values };
    if name == "default" {
        let keeps = if allow_false && value == Value::Bool(false) {
            true
        } else {
            is_true(&value) && !is_empty(&value)
        };
        return Ok(if keeps {
            value
        } else {
            arguments.values.first().cloned().unwrap_or(Value::Null)
        });
    }
    let made = if let Some(made) = math::apply(&value, &arguments)? {
        made
    } else if let Some(made) = words::apply(renderer, &value, &arguments)? {
        made
    } else if let Some(made) = encode::apply(&value, &arguments)? {
        made
    } else if let Some(made) = list::apply(&value, &arguments)? {
        made
    } else if let Some(made) = date::apply(&value, &arguments, renderer.now_us) {
        made
    } else {
        return Ok(value);
    };
    if let Value::Text(text) = &made {
        renderer.make(text.len())?;
    }
    Ok(made)
}
