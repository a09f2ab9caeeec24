//! The primary key of a row: what state, order and `why` are about.
//!
//! A key must identify exactly: it is the key columns' own values, never a hash.

use std::fmt;

use smallvec::SmallVec;

use crate::json::{SAFE_INTEGER_MAX, push_int, push_string, push_value};
use crate::value::{Name, Object, Value};

/// One column of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyPart {
    /// Any integer column.
    Int(i64),
    /// A `numeric` column: exact digits, rendered as a number.
    Decimal(Box<str>),
    /// Every other type, in PostgreSQL's text form under pinned settings.
    Text(Box<str>),
}

impl KeyPart {
    /// The part as a value of a record.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Int(value) if value.abs() > SAFE_INTEGER_MAX => Value::from(value.to_string()),
            Self::Int(value) => Value::Int(*value),
            Self::Decimal(digits) if exceeds_safe_integer(digits) => Value::Text(digits.clone()),
            Self::Decimal(digits) => Value::Decimal(digits.clone()),
            Self::Text(text) => Value::Text(text.clone()),
        }
    }
}

/// A key column's value as records carry it: beyond 2^53 a number becomes a string (semantics 30).
pub fn identity_value(value: Value) -> Value {
    match value {
        Value::Int(value) => KeyPart::Int(value).to_value(),
        Value::Decimal(digits) => KeyPart::Decimal(digits).to_value(),
        other => other,
    }
}

fn exceeds_safe_integer(digits: &str) -> bool {
    digits
        .parse::<f64>()
        .is_ok_and(|value| value.abs() > SAFE_INTEGER_MAX as f64)
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Decimal(text) | Self::Text(text) => f.write_str(text),
        }
    }
}

/// The values of the primary key columns, in the model's order. The usual one of them lies in the key
/// itself: keys are copied for every change, and memory of its own would cost each copy as much as
/// all else it goes through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub SmallVec<[KeyPart; 1]>);

impl<const N: usize> From<[KeyPart; N]> for Key {
    fn from(parts: [KeyPart; N]) -> Self {
        parts.into_iter().collect()
    }
}

impl FromIterator<KeyPart> for Key {
    fn from_iter<T: IntoIterator<Item = KeyPart>>(parts: T) -> Self {
        Self(parts.into_iter().collect())
    }
}

impl Key {
    /// A key of one integer column: the usual one.
    pub fn int(value: i64) -> Self {
        Self::from([KeyPart::Int(value)])
    }

    /// A key of one text column.
    pub fn text(value: impl Into<Box<str>>) -> Self {
        Self::from([KeyPart::Text(value.into())])
    }

    /// Names and values as a record carries them. Integers beyond 2^53 become strings.
    pub fn to_object(&self, columns: &[Name]) -> Object {
        columns
            .iter()
            .cloned()
            .zip(self.0.iter().map(KeyPart::to_value))
            .collect()
    }

    /// The canonical text: the JSON list of the parts. Used in logs, `why` and idempotency keys;
    /// unambiguous for every content.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        self.push_canonical(&mut out);
        out
    }

    /// Appends the canonical text.
    pub fn push_canonical(&self, out: &mut String) {
        out.push('[');
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            match part {
                KeyPart::Int(value) => push_int(out, *value),
                KeyPart::Decimal(text) | KeyPart::Text(text) => push_string(out, text),
            }
        }
        out.push(']');
    }

    /// Appends what `to_object` makes, as JSON text.
    pub fn push_object(&self, out: &mut String, columns: &[Name]) {
        out.push('{');
        for (i, (name, part)) in columns.iter().zip(&self.0).enumerate() {
            if i > 0 {
                out.push(',');
            }
            push_string(out, name);
            out.push(':');
            match part {
                KeyPart::Int(value) if value.abs() <= SAFE_INTEGER_MAX => push_int(out, *value),
                part => push_value(out, &part.to_value()),
            }
        }
        out.push('}');
    }
}

/// A person's form: the value itself for one column, `a, b` for several.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_json;

    #[test]
    fn rule_30_keys_beyond_2_pow_53_are_strings() {
        assert_eq!(
            to_json(&KeyPart::Int(SAFE_INTEGER_MAX).to_value()),
            "9007199254740992"
        );
        assert_eq!(
            to_json(&KeyPart::Int(SAFE_INTEGER_MAX + 1).to_value()),
            "\"9007199254740993\""
        );
        assert_eq!(
            to_json(&KeyPart::Decimal("12.50".into()).to_value()),
            "12.50"
        );
    }

    #[test]
    fn canonical_text_tells_composite_keys_apart() {
        let a = Key::from([KeyPart::Text("a,b".into()), KeyPart::Text("c".into())]);
        let b = Key::from([KeyPart::Text("a".into()), KeyPart::Text("b,c".into())]);
        assert_ne!(a.canonical(), b.canonical());
    }
}
