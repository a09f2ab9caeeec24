//! Numbers, in JavaScript's arithmetic.

use super::{Arguments, to_number};
use crate::value::Value;

/// Applies a filter of this kind; `None` when the name is another's.
///
/// # Errors
/// An argument is missing.
pub(super) fn apply(value: &Value, arguments: &Arguments<'_>) -> Result<Option<Value>, String> {
    let number = to_number(value);
    let other = || {
        arguments
            .needed(0)
            .map(|_| arguments.get(0).map_or(f64::NAN, to_number))
    };
    let made = match arguments.name {
        "abs" => number.abs(),
        "at_least" => number.max(other()?),
        "at_most" => number.min(other()?),
        "ceil" => number.ceil(),
        "floor" => number.floor(),
        "round" => round(number, arguments.number(0).unwrap_or(0.0)),
        "plus" => number + other()?,
        "minus" => number - other()?,
        "times" => number * other()?,
        "modulo" => number % other()?,
        "divided_by" => {
            let quotient = number / other()?;
            if arguments.get(1) == Some(&Value::Bool(true)) {
                quotient.floor()
            } else {
                quotient
            }
        }
        "to_integer" => number.trunc(),
        _ => return Ok(None),
    };
    Ok(Some(whole(made)))
}

/// Whole numbers print without a point.
pub(super) fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::Int(number as i64)
    } else {
        Value::float(number)
    }
}

/// Halves go up, as `Math.round` has it.
fn round(number: f64, digits: f64) -> f64 {
    let scale = 10_f64.powi(digits.clamp(-300.0, 300.0) as i32);
    (number * scale + 0.5).floor() / scale
}
