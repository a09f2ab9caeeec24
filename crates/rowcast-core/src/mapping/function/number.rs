//! Functions on numbers: exact on decimals, see `decimal`.

use super::{Argument, Failure, Function, Input, unary, whole};
use crate::mapping::decimal::{self, Decimal, Rounding};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    unary("abs", Input::Number, "without its sign", (r#"{"abs":"balance"}"#, r#"{"balance":-12.50}"#, "12.50"), |a| Ok(number(&a[0])?.absolute().into_value())),
    unary("round", Input::Number, "rounded to so many digits after the point (0 if not given; negative: tens, hundreds); a half goes away from zero", (r#"{"round":["price",1]}"#, r#"{"price":2.45}"#, "2.5"), |a| round(a, Rounding::Half)).options("value, digits", 1, 2),
    unary("floor", Input::Number, "the whole number below", (r#"{"floor":"price"}"#, r#"{"price":-2.1}"#, "-3"), |a| round(a, Rounding::Floor)),
    unary("ceil", Input::Number, "the whole number above", (r#"{"ceil":"price"}"#, r#"{"price":2.1}"#, "3"), |a| round(a, Rounding::Ceil)),
    unary("add", Input::Number, "the exact sum; null if one is null", (r#"{"add":["net","tax"]}"#, r#"{"net":0.1,"tax":0.2}"#, "0.3"), |a| fold(a, Decimal::add)).rules("value, value, …", 2, usize::MAX),
    unary("subtract", Input::Number, "the exact difference; null if one is null", (r#"{"subtract":["gross","tax"]}"#, r#"{"gross":0.3,"tax":0.1}"#, "0.2"), |a| fold(a, |x, y| x.add(&y.clone().negated()))).rules("value, value", 2, 2),
    unary("multiply", Input::Number, "the exact product; null if one is null", (r#"{"multiply":["price",100]}"#, r#"{"price":19.99}"#, "1999.00"), |a| fold(a, Decimal::multiply)).rules("value, value, …", 2, usize::MAX),
    unary("divide", Input::Number, "the quotient with 20 digits after the point (more if an operand has more), a half away from zero, without trailing zeros; null if one is null", (r#"{"divide":["cents",100]}"#, r#"{"cents":1999}"#, "19.99"), divide).rules("value, value", 2, 2),
];

pub(super) fn number(argument: &Argument<'_>) -> Result<Decimal, Failure> {
    decimal::of(argument).ok_or_else(|| {
        Failure::new(format!(
            "{} is not a number to calculate with",
            argument.kind()
        ))
        .value(argument)
        .hint("text can be made a number with { column: …, as: number }")
    })
}

fn round(arguments: &[Argument<'_>], rounding: Rounding) -> Result<Value, Failure> {
    let places = match arguments.get(1) {
        Some(places) => whole(places, "digits")?,
        None => 0,
    };
    if places.unsigned_abs() as usize > decimal::MAX_DIGITS {
        return Err(Failure::new("`digits` is too large"));
    }
    Ok(number(&arguments[0])?.round(places, rounding).into_value())
}

fn fold(
    arguments: &[Argument<'_>],
    step: fn(&Decimal, &Decimal) -> Option<Decimal>,
) -> Result<Value, Failure> {
    if arguments.iter().any(|argument| argument.is_null()) {
        return Ok(Value::Null);
    }
    let mut result = number(&arguments[0])?;
    for argument in &arguments[1..] {
        result = step(&result, &number(argument)?).ok_or_else(|| {
            Failure::new(format!(
                "the result has more than {} digits",
                decimal::MAX_DIGITS
            ))
        })?;
    }
    Ok(result.into_value())
}

fn divide(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    if arguments[1].is_null() {
        return Ok(Value::Null);
    }
    number(&arguments[0])?
        .divide(&number(&arguments[1])?)
        .map(Decimal::into_value)
        .ok_or_else(|| Failure::new("division by zero"))
}
