//! What JavaScript thinks of a value: its number, whether it counts as true.

use crate::value::Value;

/// The number, for values that are JSON numbers.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float { value, .. } => Some(*value),
        Value::Decimal(digits) => digits.parse().ok().filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

/// Whether an `if` would take the value for false: null, false, 0, NaN and the empty string.
pub(super) fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Text(text) => text.is_empty(),
        value => number(value).is_some_and(|number| number == 0.0 || number.is_nan()),
    }
}
