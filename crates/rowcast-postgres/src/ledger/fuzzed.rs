//! What fuzzing reaches of this crate: the decoder of binary COPY. Not for programs.

use rowcast_core::Value;

use super::decode::{Cursor, value};
use super::forms::Decode;

const DECODES: [Decode; 18] = [
    Decode::Bool,
    Decode::Int2,
    Decode::Int4,
    Decode::Int8,
    Decode::Oid,
    Decode::Float4,
    Decode::Float8,
    Decode::Numeric,
    Decode::Text,
    Decode::Bytea,
    Decode::Date,
    Decode::Time,
    Decode::Timestamp,
    Decode::TimestampTz,
    Decode::Uuid,
    Decode::Array,
    Decode::Json,
    Decode::Jsonb,
];

/// How many of the types carry JSON of the server's own, at the end of the list.
const JSON_TYPES: usize = 2;

/// The value that these bytes are as a type (by its number), and whether its text is the server's
/// own JSON, which is not looked into.
pub fn copy_value(which: u8, bytes: &[u8]) -> Option<(Value, bool)> {
    let which = usize::from(which) % DECODES.len();
    let value = value(DECODES[which], bytes).ok()?;
    Some((value, which >= DECODES.len() - JSON_TYPES))
}

/// The lengths of a tuple's fields, as far as they can be read.
pub fn copy_fields(tuple: &[u8]) -> Vec<Option<usize>> {
    let mut cursor = Cursor(tuple);
    let mut lengths = Vec::new();
    while !cursor.0.is_empty() {
        let Ok(field) = cursor.field() else { break };
        lengths.push(field.map(<[u8]>::len));
    }
    lengths
}
