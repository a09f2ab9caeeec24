//! Lists.

use super::math::whole;
use super::{Arguments, to_number};
use crate::segment::liquid::render::{equal, is_true, printed};
use crate::value::Value;

/// Applies a filter of this kind; `None` when the name is another's.
///
/// # Errors
/// An argument is missing.
pub(super) fn apply(value: &Value, arguments: &Arguments<'_>) -> Result<Option<Value>, String> {
    let mut items = match value {
        Value::List(items) => items.clone(),
        Value::Null => Vec::new(),
        other => vec![other.clone()],
    };
    let made = match arguments.name {
        "join" => {
            let separator = arguments.text(0).unwrap_or_else(|| " ".into());
            let texts: Vec<String> = items.iter().map(printed).collect();
            Value::text(texts.join(&separator))
        }
        "first" => match value {
            Value::List(_) => items.first().cloned().unwrap_or(Value::Null),
            _ => Value::text(""),
        },
        "last" => match value {
            Value::List(_) => items.last().cloned().unwrap_or(Value::Null),
            _ => Value::text(""),
        },
        "size" => Value::Int(match value {
            Value::Text(text) => text.encode_utf16().count() as i64,
            Value::List(items) => items.len() as i64,
            _ => 0,
        }),
        "compact" => {
            items.retain(|item| !item.is_null());
            Value::List(items)
        }
        "push" => {
            items.push(arguments.values.first().cloned().unwrap_or(Value::Null));
            Value::List(items)
        }
        "unshift" => {
            items.insert(0, arguments.values.first().cloned().unwrap_or(Value::Null));
            Value::List(items)
        }
        "pop" => {
            items.pop();
            Value::List(items)
        }
        "shift" => {
            if !items.is_empty() {
                items.remove(0);
            }
            Value::List(items)
        }
        "slice" => slice(value, arguments),
        "sum" => {
            let property = arguments.text(0);
            let total = items
                .iter()
                .map(|item| match &property {
                    Some(name) => item.get(name).map_or(f64::NAN, to_number),
                    None => to_number(item),
                })
                .filter(|number| !number.is_nan())
                .sum();
            whole(total)
        }
        "where" => {
            let name = arguments.needed(0)?;
            items.retain(|item| match (item.get(&name), arguments.values.get(1)) {
                (Some(found), Some(wanted)) => equal(found, wanted),
                (Some(found), None) => is_true(found),
                (None, wanted) => wanted == Some(&Value::Null),
            });
            Value::List(items)
        }
        _ => return Ok(None),
    };
    Ok(Some(made))
}

fn slice(value: &Value, arguments: &Arguments<'_>) -> Value {
    let begin = arguments.number(0).unwrap_or(0.0);
    let length = arguments.number(1).unwrap_or(1.0).max(0.0) as usize;
    let range = |size: usize| {
        let begin = if begin < 0.0 {
            begin + size as f64
        } else {
            begin
        };
        let begin = (begin.max(0.0) as usize).min(size);
        begin..begin.saturating_add(length).min(size)
    };
    match value {
        Value::Null => Value::List(Vec::new()),
        Value::List(items) => Value::List(items[range(items.len())].to_vec()),
        other => {
            let units: Vec<u16> = printed(other).encode_utf16().collect();
            Value::text(String::from_utf16_lossy(&units[range(units.len())]))
        }
    }
}
