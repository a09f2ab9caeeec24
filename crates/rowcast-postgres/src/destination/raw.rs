//! Records that came undecoded: what the source sent becomes what the table takes.
//!
//! Most columns have one type on both sides, and then their bytes go as they are. What comes out
//! here is what the column's value would have become, bit for bit; whatever can't be promised that is
//! made a value first.

use std::borrow::Cow;
use std::cmp::Ordering;

use rowcast_core::key::identity_value;
use rowcast_core::record::{RawForm, RawRecord};
use rowcast_core::{Object, Reason, Record, Value};

use super::binary::Native;
use super::text::Form;
use crate::ledger::decode::{Cursor, Malformed, value};
use crate::ledger::forms::element_decode;

/// PostgreSQL's numbers of the types whose bytes are looked at here.
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const JSON: u32 = 114;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;
/// The version that jsonb's binary form begins with.
const JSONB_VERSION: u8 = 1;

/// How a column's bytes get into a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    AsIs,
    /// Text, which may not hold a null character.
    Text,
    /// A document's text becomes its binary form, and back.
    ToJsonb,
    FromJsonb,
    /// As a value.
    Decoded,
}

/// The way from a type's bytes to a column's. `native`: `None` where the column travels as text.
pub(super) fn pass(number: u32, native: Option<Native>, form: &Form) -> Pass {
    match (number, native) {
        (16, Some(Native::Bool))
        | (17, Some(Native::Bytea))
        | (INT8, Some(Native::Int8))
        | (INT2, Some(Native::Int2))
        | (INT4, Some(Native::Int4))
        | (26, Some(Native::Oid))
        | (1082, Some(Native::Date))
        | (1083, Some(Native::Time))
        | (1114 | 1184, Some(Native::Timestamp | Native::TimestampTz))
        | (1700, Some(Native::Numeric))
        | (UUID, Some(Native::Uuid))
        | (JSONB, Some(Native::Jsonb)) => Pass::AsIs,
        (TEXT, Some(Native::Text) | None) | (JSON, Some(Native::Json)) => Pass::Text,
        (JSON, None) if *form == Form::Json => Pass::Text,
        (JSON, Some(Native::Jsonb)) => Pass::ToJsonb,
        (JSONB, Some(Native::Json)) => Pass::FromJsonb,
        // Floats, whose NaN has many forms; numbers of other widths; everything else.
        _ => Pass::Decoded,
    }
}

/// What of a column's bytes follows `prefix`, if anything is to be put before them.
pub(super) fn passed(pass: Pass, bytes: &[u8]) -> Option<(Option<u8>, &[u8])> {
    match pass {
        Pass::AsIs | Pass::Text => Some((None, bytes)),
        Pass::ToJsonb => Some((Some(JSONB_VERSION), bytes)),
        Pass::FromJsonb => match bytes.split_first() {
            Some((&JSONB_VERSION, json)) => Some((None, json)),
            _ => None,
        },
        Pass::Decoded => None,
    }
}

/// Where the columns of a record are, in the room given.
pub(super) fn split<'a>(
    raw: &'a RawRecord,
    columns: &mut Vec<Option<&'a [u8]>>,
) -> Result<(), Malformed> {
    columns.clear();
    let mut cursor = Cursor(raw.columns());
    for _ in &raw.form().types {
        columns.push(cursor.field()?);
    }
    Ok(())
}

/// The value of one column's bytes.
pub(super) fn decoded(
    form: &RawForm,
    column: usize,
    bytes: Option<&[u8]>,
) -> Result<Value, Malformed> {
    let number = *form.types.get(column).ok_or(Malformed)?;
    match bytes {
        None => Ok(Value::Null),
        Some(bytes) => value(element_decode(number), bytes),
    }
}

/// The value of a column.
pub(super) fn column(raw: &RawRecord, column: usize) -> Result<Value, Malformed> {
    let mut columns = Vec::new();
    split(raw, &mut columns)?;
    let bytes = *columns.get(column).ok_or(Malformed)?;
    decoded(raw.form(), column, bytes)
}

/// The record with its values, as the mapping would have made it.
pub(super) fn opened(record: &Record) -> Result<Cow<'_, Record>, Malformed> {
    let Some(raw) = &record.raw else {
        return Ok(Cow::Borrowed(record));
    };
    let form = raw.form();
    let mut columns = Vec::new();
    split(raw, &mut columns)?;
    let at = |column: usize| {
        let bytes = *columns.get(column).ok_or(Malformed)?;
        decoded(form, column, bytes)
    };
    let identity = form.identity.iter();
    let match_on = identity
        .map(|(name, column)| Ok((name.clone(), identity_value(at(*column)?))))
        .collect::<Result<Object, Malformed>>()?;
    let fields = form.fields.iter();
    let fields = fields
        .map(|(name, column)| Ok((name.clone(), at(*column)?)))
        .collect::<Result<Object, Malformed>>()?;
    Ok(Cow::Owned(Record {
        match_on,
        fields,
        raw: None,
        ..record.clone()
    }))
}

/// An order of identities, where their types have one in their bytes: that of their values.
pub(super) fn by_identity(a: &RawRecord, b: &RawRecord) -> Option<Ordering> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    split(a, &mut left).ok()?;
    split(b, &mut right).ok()?;
    for (_, column) in &a.form().identity {
        let (left, right) = ((*left.get(*column)?)?, (*right.get(*column)?)?);
        let order = match *a.form().types.get(*column)? {
            INT2 | INT4 | INT8 => whole(left)?.cmp(&whole(right)?),
            TEXT | UUID => left.cmp(right),
            _ => return None,
        };
        if order.is_ne() {
            return Some(order);
        }
    }
    Some(Ordering::Equal)
}

fn whole(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        2 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
        4 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
        _ => i64::from_be_bytes(bytes.try_into().ok()?),
    })
}

/// A record's columns are cut, which the reader has made sure they are not.
pub(super) fn damaged() -> Reason {
    Reason::defect("the columns of a record can't be read")
}
