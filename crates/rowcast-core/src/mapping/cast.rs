//! `as:`: what a value can be cast to.

use super::decimal::{self, Decimal};
use super::function::{Failure, structured};
use super::moment;
use crate::json::{from_json, to_text};
use crate::time::DAY_US;
use crate::value::Value;

/// A target of `as:`.
#[derive(Debug)]
pub struct Cast {
    pub name: &'static str,
    pub meaning: &'static str,
    /// JSON of a value and of the result.
    pub example: (&'static str, &'static str),
    pub(super) call: fn(&Value) -> Result<Value, Failure>,
}

/// Every cast, in the order of the reference.
pub const CASTS: &[Cast] = &[
    Cast {
        name: "string",
        meaning: "its text form: exact digits, ISO dates, JSON for lists and objects",
        example: ("12.50", r#""12.50""#),
        call: |value| Ok(to_text(value).into()),
    },
    Cast {
        name: "integer",
        meaning: "a whole number; text is read, true is 1; a fraction fails unless it is zero",
        example: (r#""42""#, "42"),
        call: integer,
    },
    Cast {
        name: "decimal",
        meaning: "a number with its exact digits; text is read",
        example: (r#""12.50""#, "12.50"),
        call: exact,
    },
    Cast {
        name: "number",
        meaning: "a number: numbers stay as they are, text is read with its exact digits",
        example: (r#""1e3""#, "1000"),
        call: number,
    },
    Cast {
        name: "boolean",
        meaning: "true or false; text like PostgreSQL (`true`, `t`, `yes`, `on`, `1` and their opposites), numbers 1 and 0",
        example: (r#""yes""#, "true"),
        call: boolean,
    },
    Cast {
        name: "date",
        meaning: "a date; a timestamp loses its time (UTC); ISO text is read",
        example: (r#""2024-02-29T12:30:00Z""#, r#""2024-02-29""#),
        call: date,
    },
    Cast {
        name: "timestamp",
        meaning: "a timestamp; a date is its midnight; ISO text is read",
        example: (r#""2024-02-29 12:30:00""#, r#""2024-02-29T12:30:00""#),
        call: timestamp,
    },
    Cast {
        name: "unix",
        meaning: "whole seconds since 1970-01-01 UTC of a date or timestamp",
        example: (r#""2024-02-29T12:30:00Z""#, "1709209800"),
        call: |value| moment::unix(value, 1_000_000),
    },
    Cast {
        name: "unix_ms",
        meaning: "whole milliseconds since 1970-01-01 UTC of a date or timestamp",
        example: (r#""2024-02-29T12:30:00Z""#, "1709209800000"),
        call: |value| moment::unix(value, 1_000),
    },
    Cast {
        name: "json",
        meaning: "the value that a JSON text holds; other values stay as they are",
        example: (r#""{\"a\":1.50}""#, r#"{"a":1.50}"#),
        call: json,
    },
    Cast {
        name: "list",
        meaning: "a list; any other value becomes a list of one",
        example: (r#""a""#, r#"["a"]"#),
        call: list,
    },
];

/// Casts a value by a cast's name; null stays null.
///
/// # Errors
/// Why it can't be, in words without the value.
pub fn cast(name: &str, value: &Value) -> Result<Value, String> {
    let cast = find(name).ok_or_else(|| format!("there is no cast {name}"))?;
    cast.apply(value).map_err(|failure| failure.message)
}

/// A cast by its name.
pub fn find(name: &str) -> Option<&'static Cast> {
    CASTS.iter().find(|cast| cast.name == name)
}

impl Cast {
    /// Casts a value; null stays null.
    pub(super) fn apply(&self, value: &Value) -> Result<Value, Failure> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        (self.call)(value)
    }
}

fn refused(value: &Value, target: &str) -> Failure {
    Failure::new(format!("{} can't be cast to {target}", value.kind())).value(value)
}

fn read_number(value: &Value, target: &str) -> Result<Decimal, Failure> {
    match value {
        Value::Bool(value) => Decimal::parse(if *value { "1" } else { "0" }),
        Value::Text(text) => Decimal::parse(text),
        Value::Json(text) => Decimal::parse(text.trim_matches('"')),
        value => decimal::of(value),
    }
    .ok_or_else(|| refused(value, target))
}

fn integer(value: &Value) -> Result<Value, Failure> {
    let number = read_number(value, "integer")?;
    let whole = number.trimmed().into_value();
    match &whole {
        Value::Int(_) => Ok(whole),
        Value::Decimal(digits) if !digits.contains('.') => Ok(whole),
        _ => Err(refused(value, "integer").hint("round it first, as in { round: price }")),
    }
}

fn exact(value: &Value) -> Result<Value, Failure> {
    Ok(Value::Decimal(
        read_number(value, "decimal")?.to_plain().into(),
    ))
}

fn number(value: &Value) -> Result<Value, Failure> {
    match value {
        Value::Int(_) | Value::Float { .. } | Value::Decimal(_) => Ok(value.clone()),
        value => read_number(value, "number").map(Decimal::into_value),
    }
}

fn boolean(value: &Value) -> Result<Value, Failure> {
    let text = to_text(value).trim().to_lowercase();
    match (value, text.as_str()) {
        (Value::Bool(_), _) => Ok(value.clone()),
        (Value::Text(_) | Value::Json(_), "true" | "t" | "yes" | "y" | "on") | (_, "1") => {
            Ok(Value::Bool(true))
        }
        (Value::Text(_) | Value::Json(_), "false" | "f" | "no" | "n" | "off") | (_, "0") => {
            Ok(Value::Bool(false))
        }
        _ => Err(refused(value, "boolean")),
    }
}

fn date(value: &Value) -> Result<Value, Failure> {
    Ok(match &*moment::read(value)? {
        Value::Timestamp(i64::MAX) | Value::TimestampTz(i64::MAX) => Value::Date(i32::MAX),
        Value::Timestamp(i64::MIN) | Value::TimestampTz(i64::MIN) => Value::Date(i32::MIN),
        Value::Timestamp(us) | Value::TimestampTz(us) => Value::Date(us.div_euclid(DAY_US) as i32),
        date => date.clone(),
    })
}

fn timestamp(value: &Value) -> Result<Value, Failure> {
    Ok(match &*moment::read(value)? {
        Value::Date(i32::MAX) => Value::Timestamp(i64::MAX),
        Value::Date(i32::MIN) => Value::Timestamp(i64::MIN),
        Value::Date(days) => Value::Timestamp(
            i64::from(*days)
                .checked_mul(DAY_US)
                .ok_or_else(|| Failure::new("the date is too far away for a timestamp"))?,
        ),
        timestamp => timestamp.clone(),
    })
}

fn json(value: &Value) -> Result<Value, Failure> {
    match value {
        Value::Text(text) => from_json(text).map_err(|_| refused(value, "json")),
        value => Ok(value.clone()),
    }
}

fn list(value: &Value) -> Result<Value, Failure> {
    let value = structured(value)?;
    Ok(match &*value {
        Value::List(_) => value.into_owned(),
        _ => Value::List(vec![value.into_owned()]),
    })
}
