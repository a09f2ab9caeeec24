//! The one minijinja environment of all templates: bounded, strict, without anything that depends
//! on more than its arguments.

use std::sync::OnceLock;

use minijinja::{Environment, UndefinedBehavior};

/// Instructions one placeholder may execute. There are no loops, so this is a bound on its length;
/// a long expression takes a hundred, each well under a microsecond.
pub(super) const FUEL: u64 = 1_000;

/// minijinja's filters that stay as they are. Left out: those that make text of any length from a
/// short one (`format`, `indent`), HTML escaping (autoescape is off), and views for debugging.
pub(super) const BUILTIN_FILTERS: [&str; 27] = [
    "attr",
    "bool",
    "count",
    "d",
    "default",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "unique",
];

/// minijinja's filters that are taken away.
const REMOVED_FILTERS: [&str; 16] = [
    "abs",
    "batch",
    "capitalize",
    "chain",
    "dictsort",
    "e",
    "escape",
    "format",
    "groupby",
    "indent",
    "pprint",
    "round",
    "safe",
    "slice",
    "title",
    "zip",
];

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

pub(super) fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        for global in ["range", "dict", "debug", "namespace"] {
            environment.remove_global(global);
        }
        for filter in REMOVED_FILTERS {
            environment.remove_filter(filter);
        }
        environment.add_test("none", super::carried::is_null);
        environment
    })
}

/// Whether a template may use a filter.
pub(super) fn is_filter(name: &str) -> bool {
    BUILTIN_FILTERS.contains(&name)
}

/// All filters' names, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN_FILTERS.into_iter()
}
