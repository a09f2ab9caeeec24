//! One value of a row or a record, without loss.
//!
//! A `Value` must never round: exact numerics keep their digits as text, timestamps are whole
//! microseconds, JSON columns keep their text. How each becomes JSON is written down in `json`.

use std::sync::Arc;

/// A column or field name, shared between the records of a run.
pub type Name = Arc<str>;

/// An ordered JSON-like object. Keys are unique; the order is the mapping's.
pub type Object = Vec<(Name, Value)>;

/// One value, as read from PostgreSQL or made by a mapping.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// `smallint`, `integer`, `bigint`, `oid`.
    Int(i64),
    /// `real` (`single` true: rendered with the shortest digits of a 32-bit float) or `double precision`.
    Float {
        value: f64,
        single: bool,
    },
    /// `numeric`: the exact digits as PostgreSQL prints them, or `NaN`, `Infinity`, `-Infinity`.
    Decimal(Box<str>),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    /// Days since 1970-01-01; `i32::MAX` is `infinity`, `i32::MIN` is `-infinity`.
    Date(i32),
    /// Microseconds since midnight (24:00:00 is allowed, as in PostgreSQL).
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00 without zone; `i64::MAX`/`i64::MIN` are the infinities.
    Timestamp(i64),
    /// Microseconds since 1970-01-01T00:00:00Z; `i64::MAX`/`i64::MIN` are the infinities.
    TimestampTz(i64),
    Uuid([u8; 16]),
    /// The text of a `json` or `jsonb` value, valid JSON, passed through byte for byte.
    Json(Box<str>),
    List(Vec<Value>),
    Object(Object),
}

impl Value {
    /// Text from anything that can become a boxed string.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A double-precision float.
    pub fn float(value: f64) -> Self {
        Self::Float {
            value,
            single: false,
        }
    }

    /// Whether this is `Null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, when this is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The member of an object by name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| &**n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// What people call this kind of value, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Float { .. } => "float",
            Self::Decimal(_) => "decimal",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Timestamp(_) => "timestamp",
            Self::TimestampTz(_) => "timestamp with time zone",
            Self::Uuid(_) => "uuid",
            Self::Json(_) => "json",
            Self::List(_) => "list",
            Self::Object(_) => "object",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into_boxed_str())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
