//! Segment's mapping language and triggers, as people bring them.
//!
//! Pure: a mapping and a payload give a value or an error, a trigger and an event give yes or no.
//! Must never modify what it is given, never do I/O, and never cost more than its limits allow:
//! mappings come from other people's tools.

pub mod controls;
mod convert;
mod directive;
pub mod event;
mod liquid;
mod mapper;
mod node;
mod path;
mod reads;
mod replace;
mod template;
mod text;
pub mod trigger;
mod validate;

use crate::value::{Object, Value};

pub use controls::{Batching, Controls};
pub use event::{Occasion, row_event};
pub use mapper::{SegmentInput, SegmentMapping};
pub use reads::Reads;
pub use trigger::Trigger;
pub use validate::Problem;

/// The key that puts one directive in front of the whole mapping.
const ROOT_DIRECTIVE: &str = "__segment_internal_directive";

/// A mapping that passed validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    root: Value,
}

impl Mapping {
    /// Takes a mapping as it is stored at Segment.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its path.
    pub fn new(mapping: Value) -> Result<Self, Vec<Problem>> {
        let root = with_root_directive(mapping)?;
        let problems = validate::validate(&root);
        if problems.is_empty() {
            Ok(Self { root })
        } else {
            Err(problems)
        }
    }

    /// The value that a payload gives. `None` is JavaScript's `undefined`. `now_us`: what `now`
    /// means in a Liquid template, in microseconds since 1970.
    ///
    /// # Errors
    /// The payload is not an object, or a directive fails on it.
    pub fn transform(&self, payload: &Value, now_us: i64) -> Result<Option<Value>, String> {
        if !matches!(payload, Value::Object(_)) {
            return Err(format!(
                "data must be an object, and it is {}",
                article(payload)
            ));
        }
        let context = directive::Context { payload, now_us };
        directive::resolve(&self.root, context).map(node::Node::into_value)
    }
}

impl Mapping {
    /// The columns that it reads of a row event.
    pub fn reads(&self) -> Reads {
        Reads::of_mapping(&self.root)
    }
}

fn article(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Int(_) => "an integer".into(),
        value => format!("a {}", value.kind()),
    }
}

/// Moves the other keys of a mapping under the `mapping` of its root directive.
fn with_root_directive(mapping: Value) -> Result<Value, Vec<Problem>> {
    let Value::Object(mut members) = mapping else {
        return Ok(mapping);
    };
    let Some(at) = members
        .iter()
        .position(|(name, _)| &**name == ROOT_DIRECTIVE)
    else {
        return Ok(Value::Object(members));
    };
    let (_, root) = members.remove(at);
    let refused = |message: &str| {
        Err(vec![Problem {
            path: format!("/{ROOT_DIRECTIVE}"),
            message: message.into(),
        }])
    };
    let Value::Object(mut root) = root else {
        return refused("must be an object with one directive");
    };
    let [(name, Value::Object(argument))] = root.as_mut_slice() else {
        return refused("must be an object with one directive, whose argument is an object");
    };
    if !name.starts_with('@') {
        return refused("must be an object with one directive");
    }
    let mut argument: Object = std::mem::take(argument);
    argument.retain(|(name, _)| &**name != "mapping");
    argument.push(("mapping".into(), Value::Object(members)));
    Ok(Value::Object(vec![(name.clone(), Value::Object(argument))]))
}

#[cfg(test)]
mod tests;
