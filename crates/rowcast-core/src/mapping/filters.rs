//! The one minijinja environment of all templates: bounded, strict, without anything that depends
//! on more than its arguments.
//!
//! Every function of a mapping is a filter of the same name; minijinja's own filters stay where
//! they treat null and exact numbers well, and are left out where they make text of any length
//! from a short one (`format`, `indent`) or have no use without HTML and loops.

use std::sync::OnceLock;

use minijinja::value::{Rest, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::carried::{Manner, from_jinja, into_jinja, is_null};
use super::cast;
use super::function::{self, Argument, Failure, Function};
use crate::value::Value;

/// Instructions one placeholder may execute. There are no loops, so this is a bound on its length;
/// a long expression takes a hundred, each well under a microsecond.
pub(super) const FUEL: u64 = 1_000;

/// The filters beside the functions.
pub(super) const DESCRIBED: [(&str, &str); 25] = [
    (
        "default",
        "another value in place of null or of a name that is not there; short: `d`",
    ),
    ("d", "`default`"),
    ("string", "the text form"),
    (
        "int",
        "a whole number, cut off after the point; text is read",
    ),
    ("float", "a floating-point number; text is read"),
    (
        "bool",
        "whether the value is neither empty, zero, false nor null",
    ),
    ("tojson", "JSON text, as the function `to_json`"),
    ("urlencode", "percent-encoded, as the function `url_encode`"),
    ("count", "`length`"),
    ("list", "the items as a list; of a text its characters"),
    ("lines", "the lines of a text, as a list"),
    ("reverse", "a text or list from its end"),
    ("sort", "a list in order"),
    ("unique", "a list without repetitions"),
    ("min", "the least item of a list"),
    ("max", "the greatest item of a list"),
    ("sum", "the sum of a list"),
    (
        "map",
        "a filter or an attribute of every item: `tags | map('upper')`, `items | map(attribute='name')`",
    ),
    (
        "select",
        "the items that pass a test: `numbers | select('odd')`",
    ),
    ("reject", "the items that do not pass a test"),
    ("selectattr", "the items whose attribute passes a test"),
    (
        "rejectattr",
        "the items whose attribute does not pass a test",
    ),
    ("attr", "an attribute by its name"),
    ("items", "pairs of name and value of an object"),
    (
        "if_empty",
        "another value in place of null or of an empty text or list",
    ),
];

/// minijinja's filters that are taken away.
const REMOVED: [&str; 12] = [
    "zip", "batch", "chain", "dictsort", "e", "escape", "format", "groupby", "indent", "pprint",
    "safe", "slice",
];

/// Filters whose result depends on numbers being numbers.
const CALCULATING: [&str; 5] = ["sum", "min", "max", "sort", "unique"];

/// Tests after `is`.
pub(super) const TESTS: [&str; 27] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];

/// The environment for expressions of a manner: what a filter gives back has to appear as a column
/// does.
pub(super) fn environment(manner: Manner) -> &'static Environment<'static> {
    static ENVIRONMENTS: [OnceLock<Environment<'static>>; 4] = [const { OnceLock::new() }; 4];
    let index = usize::from(manner.calculates) * 2 + usize::from(manner.joins);
    ENVIRONMENTS[index].get_or_init(|| build(manner))
}

fn build(manner: Manner) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    for global in ["range", "dict", "debug", "namespace"] {
        environment.remove_global(global);
    }
    for filter in REMOVED {
        environment.remove_filter(filter);
    }
    for function in function::all() {
        add(&mut environment, function.name, function, manner);
    }
    for (alias, name) in [
        ("tojson", "to_json"),
        ("urlencode", "url_encode"),
        ("count", "length"),
    ] {
        if let Some(function) = function::find(name) {
            add(&mut environment, alias, function, manner);
        }
    }
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("if_empty", if_empty);
    environment.add_filter("string", move |value: Jinja| {
        through(value, manner, |value| cast_to("string", value))
    });
    environment.add_filter("int", move |value: Jinja| {
        through(value, manner, |value| {
            let number = cast_to("decimal", value)?;
            let cut = super::decimal::of(&number).map(super::decimal::Decimal::cut);
            Ok(cut.map_or(Value::Null, super::decimal::Decimal::into_value))
        })
    });
    environment.add_filter("float", move |value: Jinja| {
        through(value, manner, |value| {
            let number = crate::json::to_text(&cast_to("decimal", value)?);
            Ok(number.parse().map_or(Value::Null, Value::float))
        })
    });
    environment.add_test("none", |value: Jinja| is_null(&value));
    environment
}

fn add(
    environment: &mut Environment<'static>,
    name: &'static str,
    function: &'static Function,
    manner: Manner,
) {
    environment.add_filter(name, move |arguments: Rest<Jinja>| {
        let arguments: Vec<Argument<'_>> = arguments
            .iter()
            .map(|argument| from_jinja(argument).map(Argument::Owned).map_err(refused))
            .collect::<Result<_, _>>()?;
        function
            .apply(&arguments)
            .map_err(failed)
            .map(|value| into_jinja(&value, manner))
    });
}

fn through(
    value: Jinja,
    manner: Manner,
    apply: impl Fn(&Value) -> Result<Value, Failure>,
) -> Result<Jinja, Error> {
    let value = from_jinja(&value).map_err(refused)?;
    if value.is_null() {
        return Ok(into_jinja(&value, manner));
    }
    apply(&value)
        .map_err(failed)
        .map(|value| into_jinja(&value, manner))
}

fn cast_to(name: &str, value: &Value) -> Result<Value, Failure> {
    match cast::find(name) {
        Some(cast) => cast.apply(value),
        None => Ok(value.clone()),
    }
}

fn refused(detail: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

fn failed(failure: Failure) -> Error {
    refused(failure.text(false))
}

fn default(value: Jinja, other: Option<Jinja>, falsy: Option<bool>) -> Jinja {
    let other = other.unwrap_or_else(|| Jinja::from(""));
    if value.is_undefined() || is_null(&value) || (falsy == Some(true) && !value.is_true()) {
        other
    } else {
        value
    }
}

fn if_empty(value: Jinja, other: Jinja) -> Jinja {
    if value.is_undefined() || is_null(&value) || value.len() == Some(0) {
        other
    } else {
        value
    }
}

/// Whether a template may use a filter.
pub(super) fn is_filter(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Whether a filter needs numbers as numbers.
pub(super) fn calculates(name: &str) -> bool {
    CALCULATING.contains(&name)
}

/// All filters' names, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    DESCRIBED
        .into_iter()
        .map(|(name, _)| name)
        .chain(function::all().map(|function| function.name))
}
