//! The functions of a mapping: one table for the compiler, the template filters, the reference page
//! and the tests.
//!
//! A function depends on its arguments alone: no clock, no randomness, no settings of the machine.

mod number;
mod structure;
mod text;
mod time;

use std::borrow::Cow;

pub(super) use structure::truth;

use crate::json::{from_json, to_text};
use crate::value::Value;

/// An argument, borrowed from the row where possible.
pub(super) type Argument<'a> = Cow<'a, Value>;

/// Why a function or a cast refused a value. `message` never holds the value itself, so that it
/// can be shown for sensitive columns; `value` is shown for others only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) value: Option<String>,
    pub(super) hint: Option<&'static str>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            value: None,
            hint: None,
        }
    }

    pub(super) fn value(mut self, value: &Value) -> Self {
        let text = to_text(value);
        let mut shown: String = text.chars().take(60).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        self.value = Some(shown);
        self
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// The words for a person, with the value unless it has to stay hidden.
    pub(super) fn text(&self, hidden: bool) -> String {
        match &self.value {
            Some(value) if !hidden => format!("{}: `{value}`", self.message),
            _ => self.message.clone(),
        }
    }
}

/// What a function works on; what the compiler checks a column's type against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Any,
    /// Text; other values are taken in their text form, but not bytes.
    Text,
    Number,
    /// A date, a timestamp, or ISO text of one.
    Moment,
    /// Only dates and timestamps: ISO text works too, but a text column is likely a mistake.
    Instant,
}

/// One function.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    /// Names of the arguments as the reference shows them.
    pub arguments: &'static str,
    pub least: usize,
    pub most: usize,
    /// Arguments from this one on are constants: a text is itself there, not a column.
    pub constants: usize,
    pub input: Input,
    pub meaning: &'static str,
    /// JSON of a rule, of a row, and of the result.
    pub example: (&'static str, &'static str, &'static str),
    /// Whether a null first argument makes the result null without a call.
    pub null_is_null: bool,
    pub(super) call: fn(&[Argument<'_>]) -> Result<Value, Failure>,
}

impl Function {
    /// Calls it with as many arguments as it takes.
    pub(super) fn apply(&self, arguments: &[Argument<'_>]) -> Result<Value, Failure> {
        if arguments.len() < self.least || arguments.len() > self.most {
            return Err(Failure::new(format!(
                "`{}` takes {}, got {}",
                self.name,
                self.takes(),
                arguments.len()
            )));
        }
        if self.null_is_null && arguments.first().is_some_and(|first| first.is_null()) {
            return Ok(Value::Null);
        }
        (self.call)(arguments)
    }

    /// `1 argument`, `2 to 3 arguments`, `at least 2 arguments`.
    pub(super) fn takes(&self) -> String {
        match (self.least, self.most) {
            (1, 1) => "1 argument".to_owned(),
            (least, most) if least == most => format!("{least} arguments"),
            (least, usize::MAX) => format!("at least {least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        }
    }
}

/// A function with one argument that is null for null.
const fn unary(
    name: &'static str,
    input: Input,
    meaning: &'static str,
    example: (&'static str, &'static str, &'static str),
    call: fn(&[Argument<'_>]) -> Result<Value, Failure>,
) -> Function {
    Function {
        name,
        arguments: "value",
        least: 1,
        most: 1,
        constants: usize::MAX,
        input,
        meaning,
        example,
        null_is_null: true,
        call,
    }
}

impl Function {
    /// With options after the value, which are constants.
    const fn options(mut self, arguments: &'static str, least: usize, most: usize) -> Self {
        self.arguments = arguments;
        self.least = least;
        self.most = most;
        self.constants = 1;
        self
    }

    /// With arguments that all follow the same rule.
    const fn rules(mut self, arguments: &'static str, least: usize, most: usize) -> Self {
        self.arguments = arguments;
        self.least = least;
        self.most = most;
        self
    }

    /// Sees nulls itself.
    const fn sees_null(mut self) -> Self {
        self.null_is_null = false;
        self
    }
}

/// Every function, by subject.
pub fn all() -> impl Iterator<Item = &'static Function> {
    text::FUNCTIONS
        .iter()
        .chain(number::FUNCTIONS)
        .chain(time::FUNCTIONS)
        .chain(structure::FUNCTIONS)
}

/// A function by its name.
pub fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

/// The text form of an argument, without a copy when it is text.
fn text_of<'a>(argument: &'a Argument<'_>) -> Cow<'a, str> {
    match &**argument {
        Value::Text(text) => Cow::Borrowed(text),
        value => Cow::Owned(to_text(value)),
    }
}

/// A JSON column as the list or object it holds.
pub(super) fn structured(value: &Value) -> Result<Cow<'_, Value>, Failure> {
    match value {
        Value::Json(text) => from_json(text)
            .map(Cow::Owned)
            .map_err(|_| Failure::new("the JSON can't be read")),
        value => Ok(Cow::Borrowed(value)),
    }
}

/// The most bytes a function may produce: the bound of templates holds here too.
const MAX_TEXT: usize = super::template::MAX_OUTPUT;

fn bounded(text: String) -> Result<Value, Failure> {
    if text.len() > MAX_TEXT {
        return Err(Failure::new("the result is larger than 1 MiB"));
    }
    Ok(Value::from(text))
}

/// A whole number option, such as a position.
fn whole(argument: &Argument<'_>, name: &str) -> Result<i64, Failure> {
    match &**argument {
        Value::Int(value) => Ok(*value),
        other => Err(Failure::new(format!(
            "`{name}` must be an integer, not {}",
            other.kind()
        ))),
    }
}

#[cfg(test)]
mod tests;
