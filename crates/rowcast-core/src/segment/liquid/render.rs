//! Does what a tree of nodes says, and counts the text it makes.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::TEXT_MAX;
use super::expression::{Comparison, Expression, Filtered, Step};
use super::filter;
use super::parse::Node;
use crate::segment::convert::number;
use crate::segment::text;
use crate::value::Value;

/// The state of one rendering.
pub(super) struct Renderer<'a> {
    payload: &'a Value,
    assigned: HashMap<String, Value>,
    counters: HashMap<String, f64>,
    cycles: HashMap<String, usize>,
    /// Bytes of text made so far.
    made: usize,
    pub(super) now_us: i64,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(payload: &'a Value, now_us: i64) -> Self {
        Self {
            payload,
            assigned: HashMap::new(),
            counters: HashMap::new(),
            cycles: HashMap::new(),
            made: 0,
            now_us,
        }
    }

    /// Counts text before it is made.
    ///
    /// # Errors
    /// It is too much.
    pub(super) fn make(&mut self, bytes: usize) -> Result<(), String> {
        self.made = self.made.saturating_add(bytes);
        if self.made > TEXT_MAX {
            return Err(format!(
                "the template makes more than {} MB of text",
                TEXT_MAX >> 20
            ));
        }
        Ok(())
    }

    pub(super) fn render(&mut self, nodes: &[Node]) -> Result<String, String> {
        let mut out = String::new();
        self.nodes(nodes, &mut out)?;
        Ok(out)
    }

    fn nodes(&mut self, nodes: &[Node], out: &mut String) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.put(text, out)?,
                Node::Print(filtered) => {
                    let value = self.filtered(filtered)?;
                    let text = printed(&value);
                    self.put(&text, out)?;
                }
                Node::Assign(name, filtered) => {
                    let value = self.filtered(filtered)?;
                    self.assigned.insert(name.clone(), value);
                }
                Node::Capture(name, body) => {
                    let text = self.render(body)?;
                    self.assigned.insert(name.clone(), Value::text(text));
                }
                Node::If(branches) => {
                    for (guard, body) in branches {
                        if is_true(&self.value(guard)) {
                            self.nodes(body, out)?;
                            break;
                        }
                    }
                }
                Node::Increment(name) => {
                    let count = self.counter(name);
                    self.counters.insert(name.clone(), count + 1.0);
                    self.put(&text::number(count), out)?;
                }
                Node::Decrement(name) => {
                    let count = self.counter(name) - 1.0;
                    self.counters.insert(name.clone(), count);
                    self.put(&text::number(count), out)?;
                }
                Node::Cycle(group, values) => {
                    let turn = self.cycles.entry(group.clone()).or_default();
                    let value = &values[*turn % values.len()];
                    *turn += 1;
                    let text = printed(&self.value(value));
                    self.put(&text, out)?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, text: &str, out: &mut String) -> Result<(), String> {
        self.make(text.len())?;
        out.push_str(text);
        Ok(())
    }

    fn counter(&self, name: &str) -> f64 {
        self.counters
            .get(name)
            .copied()
            .unwrap_or_else(|| self.payload.get(name).and_then(number).unwrap_or(0.0))
    }

    fn filtered(&mut self, filtered: &Filtered) -> Result<Value, String> {
        let mut value = self.value(&filtered.value);
        for call in &filtered.filters {
            let arguments: Vec<Value> = call.arguments.iter().map(|a| self.value(a)).collect();
            let allow_false = call
                .named
                .iter()
                .any(|(name, value)| name == "allow_false" && is_true(&self.value(value)));
            value = filter::apply(self, &call.name, value, &arguments, allow_false)?;
        }
        Ok(value)
    }

    fn value(&self, expression: &Expression) -> Value {
        match expression {
            Expression::Literal(value) => value.clone(),
            Expression::Empty | Expression::Blank => Value::text(""),
            Expression::Path(root, steps) => self.path(root, steps),
            Expression::Not(inner) => Value::Bool(!is_true(&self.value(inner))),
            Expression::And(left, right) => {
                let left = self.value(left);
                if is_true(&left) {
                    self.value(right)
                } else {
                    left
                }
            }
            Expression::Or(left, right) => {
                let left = self.value(left);
                if is_true(&left) {
                    left
                } else {
                    self.value(right)
                }
            }
            Expression::Compare(left, comparison, right) => {
                Value::Bool(self.compare(left, *comparison, right))
            }
        }
    }

    fn compare(&self, left: &Expression, comparison: Comparison, right: &Expression) -> bool {
        let special = |expression: &Expression, other: &Value| match expression {
            Expression::Empty => Some(is_empty(other)),
            Expression::Blank => Some(is_blank(other)),
            _ => None,
        };
        let (a, b) = (self.value(left), self.value(right));
        let equal = special(right, &a)
            .or_else(|| special(left, &b))
            .unwrap_or_else(|| equal(&a, &b));
        match comparison {
            Comparison::Equal => equal,
            Comparison::NotEqual => !equal,
            Comparison::Less => order(&a, &b) == Some(Ordering::Less),
            Comparison::AtMost => order(&a, &b).is_some_and(Ordering::is_le),
            Comparison::Greater => order(&a, &b) == Some(Ordering::Greater),
            Comparison::AtLeast => order(&a, &b).is_some_and(Ordering::is_ge),
            Comparison::Contains => match &a {
                Value::Text(text) => text.contains(&printed(&b)),
                Value::List(items) => items.iter().any(|item| self::equal(item, &b)),
                _ => false,
            },
        }
    }

    fn path(&self, root: &str, steps: &[Step]) -> Value {
        let mut steps = steps;
        let mut name = root.to_owned();
        if root.is_empty()
            && let Some((Step::Index(first), rest)) = steps.split_first()
        {
            name = printed(&self.value(first));
            steps = rest;
        }
        let mut value = if let Some(value) = self.assigned.get(&name) {
            value.clone()
        } else if let Some(count) = self.counters.get(&name) {
            Value::float(*count)
        } else {
            self.payload.get(&name).cloned().unwrap_or(Value::Null)
        };
        for step in steps {
            value = match step {
                Step::Member(name) => member(&value, name),
                Step::Index(index) => {
                    let index = self.value(index);
                    match (&value, number(&index)) {
                        (Value::List(items), Some(at)) => item(items, at),
                        _ => member(&value, &printed(&index)),
                    }
                }
            };
        }
        value
    }
}

fn item(items: &[Value], at: f64) -> Value {
    let at = if at < 0.0 {
        at + items.len() as f64
    } else {
        at
    };
    if at < 0.0 || at.fract() != 0.0 {
        return Value::Null;
    }
    items.get(at as usize).cloned().unwrap_or(Value::Null)
}

fn member(value: &Value, name: &str) -> Value {
    let found = match value {
        Value::Object(members) => match value.get(name) {
            Some(found) => Some(found.clone()),
            None if name == "size" => Some(Value::Int(members.len() as i64)),
            None => None,
        },
        Value::List(items) => match name {
            "size" => Some(Value::Int(items.len() as i64)),
            "first" => items.first().cloned(),
            "last" => items.last().cloned(),
            index => index.parse().ok().map(|at: f64| item(items, at)),
        },
        Value::Text(text) if name == "size" => Some(Value::Int(text.encode_utf16().count() as i64)),
        Value::Text(letters) => name
            .parse()
            .ok()
            .and_then(|at| text::letters(letters).nth(at))
            .map(Value::text),
        _ => None,
    };
    found.unwrap_or(Value::Null)
}

/// Only false and nil are false.
pub(super) fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// As `{{ … }}` prints it: lists without separators, nil as nothing.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::List(items) => items.iter().map(printed).collect(),
        Value::Object(_) => "[object Object]".into(),
        scalar => text::scalar(scalar),
    }
}

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Text(text) => text.trim().is_empty(),
        value => is_empty(value),
    }
}

#[expect(
    clippy::float_cmp,
    reason = "JavaScript's comparison has no margin of error"
)]
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => match (a, b) {
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
            }
            (a, b) => a == b,
        },
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    if let (Value::Text(a), Value::Text(b)) = (a, b) {
        return Some(a.encode_utf16().cmp(b.encode_utf16()));
    }
    let number = |value: &Value| match value {
        Value::Null => None,
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Text(_) => Some(filter::to_number(value)),
        value => number(value),
    };
    number(a)?.partial_cmp(&number(b)?)
}
