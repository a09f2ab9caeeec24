//! Functions on lists, JSON and truth.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Argument, Failure, Function, Input, bounded, structured, text_of, unary};
use crate::json::{from_json, to_json, to_text};
use crate::mapping::decimal;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    unary("join", Input::Any, "the items of a list as text with a separator between them; nulls are left out", (r#"{"join":["tags",", "]}"#, r#"{"tags":["a",null,"b"]}"#, r#""a, b""#), join).options("list, separator", 1, 2),
    unary("first", Input::Any, "the first item of a list; null if it is empty", (r#"{"first":"tags"}"#, r#"{"tags":["a","b"]}"#, r#""a""#), |a| item(&a[0], "first", <[Value]>::first)),
    unary("last", Input::Any, "the last item of a list; null if it is empty", (r#"{"last":"tags"}"#, r#"{"tags":["a","b"]}"#, r#""b""#), |a| item(&a[0], "last", <[Value]>::last)),
    unary("to_json", Input::Any, "JSON text; null gives null", (r#"{"to_json":"tags"}"#, r#"{"tags":["a",1.50]}"#, r#""[\"a\",1.50]""#), |a| bounded(to_json(&a[0]))),
    unary("parse_json", Input::Any, "the value that a JSON text holds", (r#"{"parse_json":"data"}"#, r#"{"data":"{\"a\":1.50}"}"#, r#"{"a":1.50}"#), parse_json),
    unary("json_get", Input::Any, "a part of a JSON value by its path, such as `address.city` or `tags[0]`; null if it is not there", (r#"{"json_get":["data","tags[1].name"]}"#, r#"{"data":{"tags":[1,{"name":"x"}]}}"#, r#""x""#), json_get).options("value, path", 2, 2),
    unary("equals", Input::Any, "whether two values are equal; numbers by their value, others by their text; null equals null only", (r#"{"equals":["plan",{"literal":"pro"}]}"#, r#"{"plan":"pro"}"#, "true"), |a| Ok(Value::Bool(equal(&a[0], &a[1])))).rules("value, value", 2, 2).sees_null(),
    unary("less", Input::Any, "whether the first is less: numbers by their value, others by their text; null if one is null", (r#"{"less":["stock",10]}"#, r#"{"stock":9.5}"#, "true"), |a| Ok(order(a, Ordering::Less))).rules("value, value", 2, 2),
    unary("greater", Input::Any, "whether the first is greater: numbers by their value, others by their text; null if one is null", (r#"{"greater":["total",10]}"#, r#"{"total":9.5}"#, "false"), |a| Ok(order(a, Ordering::Greater))).rules("value, value", 2, 2),
    unary("contains", Input::Any, "whether a text contains a part, or a list an item", (r#"{"contains":["email","@"]}"#, r#"{"email":"a@b.c"}"#, "true"), contains).options("value, part", 2, 2),
    unary("starts_with", Input::Text, "whether a text starts with another", (r#"{"starts_with":["phone","+49"]}"#, r#"{"phone":"+49301"}"#, "true"), |a| Ok(Value::Bool(text_of(&a[0]).starts_with(&*text_of(&a[1]))))).options("value, start", 2, 2),
    unary("ends_with", Input::Text, "whether a text ends with another", (r#"{"ends_with":["email",".org"]}"#, r#"{"email":"a@b.c"}"#, "false"), |a| Ok(Value::Bool(text_of(&a[0]).ends_with(&*text_of(&a[1]))))).options("value, end", 2, 2),
    unary("is_null", Input::Any, "whether the value is null", (r#"{"is_null":"plan"}"#, r#"{"plan":null}"#, "true"), |a| Ok(Value::Bool(a[0].is_null()))).sees_null(),
    unary("not", Input::Any, "the opposite of a boolean; null stays null", (r#"{"not":"active"}"#, r#"{"active":true}"#, "false"), |a| Ok(Value::Bool(!truth(&a[0])?))),
    unary("and", Input::Any, "whether all are true; null counts as false", (r#"{"and":["active",{"greater":["total",0]}]}"#, r#"{"active":true,"total":1}"#, "true"), |a| all(a, true)).rules("value, value, …", 1, usize::MAX).sees_null(),
    unary("or", Input::Any, "whether one is true; null counts as false", (r#"{"or":["active","trial"]}"#, r#"{"active":false,"trial":null}"#, "false"), |a| all(a, false)).rules("value, value, …", 1, usize::MAX).sees_null(),
];

/// Whether a condition holds: a boolean; null does not hold.
pub(in crate::mapping) fn truth(value: &Value) -> Result<bool, Failure> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Null => Ok(false),
        other => Err(Failure::new(format!(
            "a condition must be a boolean, not {}",
            other.kind()
        ))
        .value(other)
        .hint(
            "compare it, as in { equals: [plan, { literal: pro }] }, or cast it with as: boolean",
        )),
    }
}

fn all(arguments: &[Argument<'_>], wanted: bool) -> Result<Value, Failure> {
    for argument in arguments {
        if truth(argument)? != wanted {
            return Ok(Value::Bool(!wanted));
        }
    }
    Ok(Value::Bool(wanted))
}

fn list<'a>(argument: &'a Argument<'_>, function: &str) -> Result<Cow<'a, Value>, Failure> {
    let value = structured(argument)?;
    match &*value {
        Value::List(_) => Ok(value),
        other => Err(Failure::new(format!(
            "`{function}` needs a list, not {}",
            other.kind()
        ))),
    }
}

fn join(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    let separator = arguments.get(1).map(text_of).unwrap_or_default();
    let value = list(&arguments[0], "join")?;
    let Value::List(items) = &*value else {
        return Ok(Value::Null);
    };
    let mut out = String::new();
    for (i, item) in items.iter().filter(|item| !item.is_null()).enumerate() {
        if i > 0 {
            out.push_str(&separator);
        }
        crate::json::push_text(&mut out, item);
        if out.len() > super::MAX_TEXT {
            break;
        }
    }
    bounded(out)
}

fn item(
    argument: &Argument<'_>,
    function: &str,
    pick: fn(&[Value]) -> Option<&Value>,
) -> Result<Value, Failure> {
    match &*list(argument, function)? {
        Value::List(items) => Ok(pick(items).cloned().unwrap_or(Value::Null)),
        _ => Ok(Value::Null),
    }
}

fn parse_json(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    match &*arguments[0] {
        Value::Text(text) | Value::Json(text) => from_json(text).map_err(|error| {
            Failure::new(format!(
                "the text is not JSON (column {} of line {})",
                error.column(),
                error.line()
            ))
            .value(&arguments[0])
        }),
        other => Ok(other.clone()),
    }
}

fn json_get(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    let path = text_of(&arguments[1]);
    let mut value = match &*arguments[0] {
        Value::Text(_) | Value::Json(_) => parse_json(arguments)?,
        other => other.clone(),
    };
    for segment in path.split('.') {
        let (name, indexes) = segment
            .split_once('[')
            .map_or((segment, ""), |(name, rest)| (name, rest));
        if !name.is_empty() {
            value = value.get(name).cloned().unwrap_or(Value::Null);
        }
        for index in indexes.split('[').filter(|index| !index.is_empty()) {
            let index: usize = index
                .strip_suffix(']')
                .and_then(|index| index.parse().ok())
                .ok_or_else(|| {
                    Failure::new("`path` can't be read; it is like `address.city` or `tags[0]`")
                })?;
            value = match value {
                Value::List(mut items) if index < items.len() => items.swap_remove(index),
                _ => Value::Null,
            };
        }
    }
    Ok(value)
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        _ => match decimal::compare(a, b) {
            Some(ordering) => ordering == Ordering::Equal,
            None => to_text(a) == to_text(b),
        },
    }
}

fn order(arguments: &[Argument<'_>], wanted: Ordering) -> Value {
    let (a, b) = (&*arguments[0], &*arguments[1]);
    if b.is_null() {
        return Value::Null;
    }
    let ordering = decimal::compare(a, b).unwrap_or_else(|| to_text(a).cmp(&to_text(b)));
    Value::Bool(ordering == wanted)
}

fn contains(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    let value = structured(&arguments[0])?;
    Ok(Value::Bool(match &*value {
        Value::List(items) => items.iter().any(|item| equal(item, &arguments[1])),
        value => to_text(value).contains(&*text_of(&arguments[1])),
    }))
}
