//! A value in the binary form of its column's type, as a binary COPY carries it.
//!
//! What comes out here is what the type's own input would make of the value's text, bit for bit;
//! whatever can't be promised that travels as text instead, and the server reads it. Must never
//! round, cut or guess.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use rowcast_core::Value;

use super::text::{Form, push};

/// Days and microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_US: i64 = 946_684_800_000_000;
/// The first day of 4714-11-24 BC and the day after the last, from 2000-01-01
/// (`IS_VALID_DATE` of the server).
const DATE_MIN: i32 = -2_451_545;
const DATE_END: i32 = 2_145_031_949;
/// As above for timestamps, in microseconds (`MIN_TIMESTAMP`, `END_TIMESTAMP`).
const TIMESTAMP_MIN: i64 = -211_813_488_000_000_000;
const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;
const DAY_US: i64 = 86_400_000_000;
/// Longer numerics travel as text: their counts of digits would need a closer look.
const NUMERIC_CHARS_MAX: usize = 4_096;

/// Types whose binary form is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// Text, varchar, char(n), enums: the text itself.
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    Jsonb,
}

/// A type of the server's own catalog, by its oid. Those are fixed for ever.
pub(super) fn native(oid: u32, enumeration: bool) -> Option<Native> {
    Some(match oid {
        _ if enumeration => Native::Text,
        16 => Native::Bool,
        21 => Native::Int2,
        23 => Native::Int4,
        20 => Native::Int8,
        26 => Native::Oid,
        700 => Native::Float4,
        701 => Native::Float8,
        1700 => Native::Numeric,
        25 | 1042 | 1043 => Native::Text,
        17 => Native::Bytea,
        1082 => Native::Date,
        1083 => Native::Time,
        1114 => Native::Timestamp,
        1184 => Native::TimestampTz,
        2950 => Native::Uuid,
        114 => Native::Json,
        3802 => Native::Jsonb,
        _ => return None,
    })
}

/// How a value was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    /// Not in this type's binary form: the column must travel as text. What was appended so far
    /// is to be taken away.
    AsText,
    /// PostgreSQL's text can't hold it.
    Nul,
}

/// Appends a value that is not null in the binary form of a type. `scratch` is any string.
pub(super) fn put(out: &mut BytesMut, scratch: &mut String, value: &Value, native: Native) -> Put {
    let done = match native {
        Native::Text => return put_text(out, scratch, value, &Form::Plain),
        Native::Json => return put_text(out, scratch, value, &Form::Json),
        Native::Jsonb => {
            out.put_u8(1); // the version of jsonb's binary form
            return put_text(out, scratch, value, &Form::Json);
        }
        Native::Bool => match value {
            Value::Bool(value) => {
                out.put_u8(u8::from(*value));
                Some(())
            }
            _ => None,
        },
        Native::Int2 => whole(value)
            .and_then(|number| i16::try_from(number).ok())
            .map(|number| out.put_i16(number)),
        Native::Int4 => whole(value)
            .and_then(|number| i32::try_from(number).ok())
            .map(|number| out.put_i32(number)),
        Native::Int8 => whole(value).map(|number| out.put_i64(number)),
        Native::Oid => whole(value)
            .and_then(|number| u32::try_from(number).ok())
            .map(|number| out.put_u32(number)),
        Native::Float4 => single(value).map(|number| out.put_f32(number)),
        Native::Float8 => double(value).map(|number| out.put_f64(number)),
        Native::Numeric => match value {
            Value::Decimal(text) => put_numeric(out, text),
            Value::Int(number) => {
                scratch.clear();
                let _ = write!(scratch, "{number}");
                put_numeric(out, scratch)
            }
            _ => None,
        },
        Native::Bytea => match value {
            Value::Bytes(bytes) => {
                out.put_slice(bytes);
                Some(())
            }
            _ => None,
        },
        Native::Date => match value {
            Value::Date(days) => date(*days).map(|days| out.put_i32(days)),
            _ => None,
        },
        Native::Time => match value {
            Value::Time(us) => (0..=DAY_US).contains(us).then(|| out.put_i64(*us)),
            _ => None,
        },
        // A zone in the text of a plain timestamp is passed over, and a timestamp without a zone
        // is taken as UTC: both are the same count.
        Native::Timestamp | Native::TimestampTz => match value {
            Value::Timestamp(us) | Value::TimestampTz(us) => {
                timestamp(*us).map(|us| out.put_i64(us))
            }
            _ => None,
        },
        Native::Uuid => match value {
            Value::Uuid(bytes) => {
                out.put_slice(bytes);
                Some(())
            }
            Value::Text(text) => uuid(text).map(|bytes| out.put_slice(&bytes)),
            _ => None,
        },
    };
    match done {
        Some(()) => Put::Done,
        None => Put::AsText,
    }
}

/// Appends a value's text, as its column's type reads it.
pub(super) fn put_text(
    out: &mut BytesMut,
    scratch: &mut String,
    value: &Value,
    form: &Form,
) -> Put {
    let text = match (value, form) {
        (Value::Text(text), _) | (Value::Json(text), Form::Json) => text,
        _ => {
            scratch.clear();
            push(scratch, value, form);
            scratch.as_str()
        }
    };
    if text.as_bytes().contains(&0) {
        return Put::Nul;
    }
    out.put_slice(text.as_bytes());
    Put::Done
}

/// Integers beyond 2^53 travel as text in keys.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Only what one rounding makes; a NaN in the bits that the server's own has.
fn single(value: &Value) -> Option<f32> {
    match value {
        Value::Float { value, .. } if value.is_nan() => Some(f32::NAN),
        Value::Float {
            value,
            single: true,
        } => Some(*value as f32),
        Value::Int(number) => Some(*number as f32),
        _ => None,
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Float { value, .. } if value.is_nan() => Some(f64::NAN),
        Value::Float {
            value,
            single: false,
        } => Some(*value),
        Value::Int(number) => Some(*number as f64),
        _ => None,
    }
}

fn date(days: i32) -> Option<i32> {
    match days {
        i32::MAX | i32::MIN => Some(days),
        _ => days
            .checked_sub(EPOCH_DAYS)
            .filter(|days| (DATE_MIN..DATE_END).contains(days)),
    }
}

fn timestamp(us: i64) -> Option<i64> {
    match us {
        i64::MAX | i64::MIN => Some(us),
        _ => us
            .checked_sub(EPOCH_US)
            .filter(|us| (TIMESTAMP_MIN..TIMESTAMP_END).contains(us)),
    }
}

/// `01234567-89ab-cdef-0123-456789abcdef`; other spellings are left to the server.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut out = [0; 16];
    let mut digits = text.iter().filter(|byte| **byte != b'-');
    for byte in &mut out {
        let mut digit = || char::from(*digits.next()?).to_digit(16);
        *byte = (digit()? << 4 | digit()?) as u8;
    }
    digits.next().is_none().then_some(out)
}

/// `-123.450` as groups of four decimal digits, with the count of digits after the point that it
/// was written with.
fn put_numeric(out: &mut BytesMut, text: &str) -> Option<()> {
    const NEGATIVE: u16 = 0x4000;
    let head = |out: &mut BytesMut, groups: usize, weight: i16, sign: u16, scale: usize| {
        out.put_u16(groups as u16);
        out.put_i16(weight);
        out.put_u16(sign);
        out.put_u16(scale as u16);
    };
    let special = match text {
        "NaN" => Some(0xC000),
        "Infinity" => Some(0xD000),
        "-Infinity" => Some(0xF000),
        _ => None,
    };
    if let Some(sign) = special {
        head(out, 0, 0, sign, 0);
        return Some(());
    }
    if text.len() > NUMERIC_CHARS_MAX {
        return None;
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (NEGATIVE, digits),
        None => (0, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (digits, ""),
    };
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let (scale, whole) = (fraction.len(), whole.trim_start_matches('0').as_bytes());
    let fraction = fraction.trim_end_matches('0').as_bytes();
    let (before, after) = (whole.len().div_ceil(4), fraction.len().div_ceil(4));
    let sign = if before + after == 0 { 0 } else { sign };
    head(out, before + after, before as i16 - 1, sign, scale);
    let number = |digits: &[u8]| {
        let add = |sum: u16, digit: &u8| sum * 10 + u16::from(digit - b'0');
        digits.iter().fold(0, add)
    };
    let (first, rest) = whole.split_at(whole.len() % 4);
    if !first.is_empty() {
        out.put_u16(number(first));
    }
    for group in rest.chunks(4) {
        out.put_u16(number(group));
    }
    for group in fraction.chunks(4) {
        out.put_u16(number(group) * 10_u16.pow(4 - group.len() as u32));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &Value, native: Native) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        match put(&mut out, &mut String::new(), value, native) {
            Put::Done => Some(out.to_vec()),
            Put::AsText | Put::Nul => None,
        }
    }

    fn words(text: &str) -> Option<Vec<u16>> {
        let bytes = bytes(&Value::Decimal(text.into()), Native::Numeric)?;
        let pairs = bytes.chunks(2);
        Some(
            pairs
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect(),
        )
    }

    #[test]
    fn a_numeric_becomes_groups_of_four_digits() {
        // As numeric_send of PostgreSQL 15 writes them.
        assert_eq!(words("12345.678").unwrap(), [3, 1, 0, 3, 1, 2345, 6780]);
        assert_eq!(words("-1.50").unwrap(), [2, 0, 0x4000, 2, 1, 5000]);
        assert_eq!(words("0.00").unwrap(), [0, 0xFFFF, 0, 2]);
        assert_eq!(words("-0").unwrap(), [0, 0xFFFF, 0, 0]);
        assert_eq!(words("-Infinity").unwrap(), [0, 0, 0xF000, 0]);
        for other in ["", "-", ".5", "5.", "1e3", " 1", "1_0", "+1", "١"] {
            assert_eq!(words(other), None, "{other}");
        }
    }

    #[test]
    fn what_does_not_fit_the_type_is_left_to_the_server() {
        for (value, native) in [
            (Value::Int(32_768), Native::Int2),
            (Value::Int(-1), Native::Oid),
            (Value::text("7 "), Native::Int8),
            (Value::Date(i32::MAX - 1), Native::Date),
            (Value::Date(i32::MIN + 1), Native::Date),
            (Value::Timestamp(i64::MIN + 1), Native::Timestamp),
            (Value::Time(DAY_US + 1), Native::Time),
            (Value::float(0.1), Native::Float4),
            (Value::text("t"), Native::Bool),
            (Value::text("{ab}"), Native::Uuid),
            (
                Value::text("0123456789ab-cdef-0123-456789abcdef-----"),
                Native::Uuid,
            ),
        ] {
            assert_eq!(bytes(&value, native), None, "{value:?}");
        }
        assert_eq!(
            bytes(&Value::text("-9007199254740993"), Native::Int8).unwrap(),
            (-9_007_199_254_740_993_i64).to_be_bytes()
        );
        assert_eq!(
            bytes(
                &Value::text("01234567-89AB-cdef-0123-456789abcdef"),
                Native::Uuid
            )
            .unwrap(),
            0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes()
        );
    }
}
