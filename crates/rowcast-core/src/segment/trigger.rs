//! Segment's triggers: `type = "track" and event = "new"`.
//!
//! A comparison that does not fit the value's type is false, never an error; a text that can't be
//! read is an error when it is read, never a trigger that silently matches nothing.

mod read;

use super::event::{Occasion, row_event};
use super::reads::Reads;
use crate::change::Kind;
use crate::value::Value;

/// A trigger that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    text: Box<str>,
    root: Level,
}

/// Conditions side by side.
#[derive(Debug, Clone, PartialEq)]
struct Level {
    join: Join,
    terms: Vec<Term>,
}

/// Segment joins a whole level by the last word in it, whatever the words before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    And,
    Or,
}

#[derive(Debug, Clone, PartialEq)]
enum Term {
    Group(Level),
    Condition(Condition),
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    /// The names from the event down to the value.
    field: Vec<String>,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Is(Literal),
    IsNot(Literal),
    Less(f64),
    AtMost(f64),
    Greater(f64),
    AtLeast(f64),
    Contains(String),
    ContainsNot(String),
    Starts(String),
    StartsNot(String),
    Ends(String),
    EndsNot(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
}

/// Where a trigger can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerError {
    /// In characters from the start of the text.
    pub at: usize,
    pub message: String,
}

impl std::fmt::Display for TriggerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (at character {})", self.message, self.at + 1)
    }
}

impl Trigger {
    /// Reads a trigger.
    ///
    /// # Errors
    /// Where and why it can't be read.
    pub fn parse(text: &str) -> Result<Self, TriggerError> {
        let root = read::trigger(text)?;
        Ok(Self {
            text: text.trim().into(),
            root,
        })
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether an event passes.
    pub fn matches(&self, event: &Value) -> bool {
        self.root.matches(event)
    }

    /// The columns that it reads of a row event.
    pub fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        self.root.reads(&mut reads);
        reads
    }

    /// Whether the row event of a change of this kind could pass, whatever its columns hold.
    pub fn may_pass(&self, kind: Kind) -> bool {
        self.root.may_match(kind)
    }
}

impl Level {
    fn matches(&self, event: &Value) -> bool {
        let mut terms = self.terms.iter();
        let holds = |term: &Term| match term {
            Term::Group(level) => level.matches(event),
            Term::Condition(condition) => condition.holds(event),
        };
        match self.join {
            Join::And => terms.all(holds),
            Join::Or => terms.any(holds),
        }
    }

    fn reads(&self, reads: &mut Reads) {
        for term in &self.terms {
            match term {
                Term::Group(level) => level.reads(reads),
                Term::Condition(condition) => {
                    // The walk of a field ends where a value is falsy, so its start is what counts.
                    if condition
                        .field
                        .first()
                        .is_some_and(|root| root == "properties")
                    {
                        reads.take(&condition.field);
                    }
                }
            }
        }
    }

    fn may_match(&self, kind: Kind) -> bool {
        let may = |term: &Term| match term {
            Term::Group(level) => level.may_match(kind),
            Term::Condition(condition) => condition.may_hold(kind),
        };
        match self.join {
            Join::And => self.terms.iter().all(may),
            Join::Or => self.terms.iter().any(may),
        }
    }
}

impl Condition {
    /// `false` only where the kind of change alone decides.
    fn may_hold(&self, kind: Kind) -> bool {
        match self.field.first().map(String::as_str) {
            Some("properties") => true,
            // Nothing else depends on the row.
            _ => self.holds(&row_event(
                &Occasion {
                    kind,
                    key: None,
                    row: None,
                },
                None,
                0,
            )),
        }
    }

    fn holds(&self, event: &Value) -> bool {
        let mut value = Some(event);
        // As in a path of a mapping: below null, false, 0 and "" the walk stays where it is.
        for name in &self.field {
            value = value.and_then(|value| {
                if super::convert::is_falsy(value) {
                    Some(value)
                } else {
                    value.get(name)
                }
            });
        }
        let value = value.unwrap_or(&Value::Null);
        let number = super::convert::number(value);
        let text = value.as_text();
        match &self.test {
            Test::Is(Literal::Text(wanted)) => text == Some(wanted),
            Test::IsNot(Literal::Text(wanted)) => text != Some(wanted),
            Test::Is(Literal::Number(wanted)) => number == Some(*wanted),
            Test::IsNot(Literal::Number(wanted)) => number.is_some() && number != Some(*wanted),
            Test::Is(Literal::Bool(wanted)) => *value == Value::Bool(*wanted),
            Test::IsNot(Literal::Bool(wanted)) => *value != Value::Bool(*wanted),
            Test::Is(Literal::Null) => value.is_null(),
            Test::IsNot(Literal::Null) => !value.is_null(),
            Test::Less(limit) => number.is_some_and(|number| number < *limit),
            Test::AtMost(limit) => number.is_some_and(|number| number <= *limit),
            Test::Greater(limit) => number.is_some_and(|number| number > *limit),
            Test::AtLeast(limit) => number.is_some_and(|number| number >= *limit),
            Test::Contains(part) => text.is_some_and(|text| text.contains(part)),
            Test::ContainsNot(part) => text.is_some_and(|text| !text.contains(part)),
            Test::Starts(part) => text.is_some_and(|text| text.starts_with(part)),
            Test::StartsNot(part) => text.is_some_and(|text| !text.starts_with(part)),
            Test::Ends(part) => text.is_some_and(|text| text.ends_with(part)),
            Test::EndsNot(part) => text.is_some_and(|text| !text.ends_with(part)),
        }
    }
}
