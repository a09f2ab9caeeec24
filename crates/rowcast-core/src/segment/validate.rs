//! What can be said about a mapping before any row: every problem with its path.
//!
//! Plain lists and plain literals are not looked into, because Segment does not: a mapping
//! that works there is accepted here.

use super::convert::is_falsy;
use crate::value::{Object, Value};

/// One thing that is wrong with a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `/name/@directive/argument`; empty for the mapping itself.
    pub path: String,
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        write!(f, "{path} {}", self.message)
    }
}

/// Longest `pattern` and `replacement`, in UTF-16 units.
pub(super) const REPLACE_MAX: usize = 10;
/// Longest Liquid template, in UTF-16 units.
pub(super) const LIQUID_MAX: usize = 1_000;

/// Length as JavaScript counts it.
pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Everything that is wrong with a mapping.
pub(super) fn validate(mapping: &Value) -> Vec<Problem> {
    let mut problems = Problems::default();
    problems.node(mapping, "");
    problems.0
}

/// What an argument may be beside a directive.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Text,
    Object,
    Anything,
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Problem {
            path: path.into(),
            message: message.into(),
        });
    }

    fn node(&mut self, value: &Value, path: &str) {
        let Value::Object(members) = value else {
            return;
        };
        let directives: Vec<&(crate::value::Name, Value)> = members
            .iter()
            .filter(|(name, _)| name.starts_with('@'))
            .collect();
        match directives.as_slice() {
            [] => {
                for (name, value) in members {
                    self.node(value, &format!("{path}/{name}"));
                }
            }
            [(name, argument)] => {
                let beside: Vec<&str> = members
                    .iter()
                    .map(|(name, _)| &**name)
                    .filter(|name| !name.starts_with('@') && *name != "_metadata")
                    .collect();
                if beside.is_empty() {
                    self.directive(name, argument, &format!("{path}/{name}"));
                } else {
                    self.add(
                        path,
                        format!(
                            "must have nothing beside {name:?}, and it has {}",
                            names(&beside)
                        ),
                    );
                }
            }
            several => {
                let several: Vec<&str> = several.iter().map(|(name, _)| &**name).collect();
                self.add(
                    path,
                    format!("must have one directive, and it has {}", names(&several)),
                );
            }
        }
    }

    /// A directive, or what else the argument may be.
    fn takes(&mut self, value: &Value, takes: Takes, path: &str) {
        let fits = match (takes, value) {
            (_, value) if is_directive(value) => true,
            (Takes::Text, value) => matches!(value, Value::Text(_)),
            (Takes::Object, value) => matches!(value, Value::Object(_)),
            (Takes::Anything, _) => true,
        };
        if fits {
            self.node(value, path);
        } else {
            let wanted = if takes == Takes::Text {
                "a string"
            } else {
                "an object"
            };
            self.add(
                path,
                format!(
                    "must be {wanted} or a directive, and it is {}",
                    super::article(value)
                ),
            );
        }
    }

    fn directive(&mut self, name: &str, argument: &Value, path: &str) {
        match name {
            "@path" | "@template" => self.takes(argument, Takes::Text, path),
            "@literal" if !is_directive(argument) => {}
            "@literal" | "@excludeWhenNull" => self.takes(argument, Takes::Anything, path),
            "@liquid" => self.liquid(argument, path),
            "@arrayPath" => self.array_path(argument, path),
            "@if" => self.object(argument, path, |this, argument| {
                for name in ["exists", "blank", "then", "else"] {
                    this.optional(argument, name, Takes::Anything, path);
                }
            }),
            "@case" => self.object(argument, path, |this, argument| {
                if let Some(operator) = member(argument, "operator")
                    && !matches!(operator, Value::Text(_))
                {
                    this.add(&format!("{path}/operator"), "must be a string");
                }
                this.optional(argument, "value", Takes::Text, path);
            }),
            "@replace" => self.object(argument, path, |this, argument| {
                this.replace(argument, path);
            }),
            "@json" => self.object(argument, path, |this, argument| {
                this.required(argument, "value", Takes::Anything, path);
                match member(argument, "mode") {
                    Some(Value::Text(mode))
                        if ["encode", "decode"].contains(&mode.to_lowercase().as_str()) => {}
                    _ => this.add(&format!("{path}/mode"), "must be \"encode\" or \"decode\""),
                }
            }),
            "@flatten" => self.object(argument, path, |this, argument| {
                this.required(argument, "value", Takes::Anything, path);
                if let Some(separator) = member(argument, "separator")
                    && !matches!(separator, Value::Text(_))
                {
                    this.add(&format!("{path}/separator"), "must be a string");
                }
            }),
            "@merge" => self.object(argument, path, |this, argument| this.merge(argument, path)),
            "@transform" => self.object(argument, path, |this, argument| {
                this.required(argument, "apply", Takes::Object, path);
                this.required(argument, "mapping", Takes::Object, path);
            }),
            _ => self.add(path, format!("has an invalid directive: {name}")),
        }
    }

    fn object(&mut self, argument: &Value, path: &str, then: impl FnOnce(&mut Self, &Object)) {
        match argument {
            Value::Object(members) => then(self, members),
            other => self.add(
                path,
                format!("must be an object, and it is {}", super::article(other)),
            ),
        }
    }

    fn optional(&mut self, argument: &Object, name: &str, takes: Takes, path: &str) {
        if let Some(value) = member(argument, name) {
            self.takes(value, takes, &format!("{path}/{name}"));
        }
    }

    fn required(&mut self, argument: &Object, name: &str, takes: Takes, path: &str) {
        match member(argument, name) {
            Some(value) => self.takes(value, takes, &format!("{path}/{name}")),
            None => self.add(&format!("{path}/{name}"), "is missing"),
        }
    }

    fn liquid(&mut self, argument: &Value, path: &str) {
        match argument {
            Value::Text(text) if length(text) <= LIQUID_MAX => {}
            Value::Text(_) => {
                self.add(
                    path,
                    format!("must be at most {LIQUID_MAX} characters long"),
                );
            }
            other => self.add(
                path,
                format!("must be a string, and it is {}", super::article(other)),
            ),
        }
    }

    fn array_path(&mut self, argument: &Value, path: &str) {
        let Value::List(items) = argument else {
            return self.add(
                path,
                format!(
                    "must be a list of a path and a shape, and it is {}",
                    super::article(argument)
                ),
            );
        };
        match items.first() {
            Some(root) => self.takes(root, Takes::Text, &format!("{path}/0")),
            None => self.add(&format!("{path}/0"), "is missing"),
        }
        if let Some(shape) = items.get(1) {
            self.node(shape, &format!("{path}/1"));
        }
    }

    fn replace(&mut self, argument: &Object, path: &str) {
        match member(argument, "pattern") {
            Some(Value::Text(text)) if (1..=REPLACE_MAX).contains(&length(text)) => {}
            _ => self.add(
                &format!("{path}/pattern"),
                format!("must be a string of 1 to {REPLACE_MAX} characters"),
            ),
        }
        match member(argument, "replacement") {
            None => {}
            Some(Value::Text(text)) if length(text) <= REPLACE_MAX => {}
            Some(_) => self.add(
                &format!("{path}/replacement"),
                format!("must be a string of up to {REPLACE_MAX} characters"),
            ),
        }
        for name in ["ignorecase", "global"] {
            if member(argument, name).is_some_and(|value| !matches!(value, Value::Bool(_))) {
                self.add(&format!("{path}/{name}"), "must be true or false");
            }
        }
        self.required(argument, "value", Takes::Text, path);
    }

    fn merge(&mut self, argument: &Object, path: &str) {
        match member(argument, "objects") {
            Some(Value::List(items)) => {
                for (i, item) in items.iter().enumerate() {
                    self.takes(item, Takes::Object, &format!("{path}/objects/{i}"));
                }
            }
            _ => self.add(&format!("{path}/objects"), "must be a list of objects"),
        }
        if let Some(direction) = member(argument, "direction")
            && !matches!(direction, Value::Text(text) if ["left", "right"].contains(&&**text))
        {
            self.add(
                &format!("{path}/direction"),
                "must be \"left\" or \"right\"",
            );
        }
    }
}

/// Exactly what runs as a directive: keys with `@`, and nothing beside them but `_metadata`.
pub(super) fn is_directive(value: &Value) -> bool {
    let Value::Object(members) = value else {
        return false;
    };
    members.iter().any(|(name, _)| name.starts_with('@'))
        && members
            .iter()
            .all(|(name, _)| name.starts_with('@') || &**name == "_metadata")
}

/// A member of an argument.
pub(super) fn member<'a>(argument: &'a Object, name: &str) -> Option<&'a Value> {
    argument
        .iter()
        .find(|(known, _)| &**known == name)
        .map(|(_, value)| value)
}

/// A member that is there and not falsy as it stands.
pub(super) fn truthy<'a>(argument: &'a Object, name: &str) -> Option<&'a Value> {
    member(argument, name).filter(|value| !is_falsy(value))
}

fn names(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}
