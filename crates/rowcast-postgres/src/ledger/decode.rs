//! From the bytes of a binary COPY to values, without loss.
//!
//! Every length is checked: a cut or foreign stream is an error, never a panic and never a wrong
//! value.

use rowcast_core::time::{DAY_US, push_date, push_time};
use rowcast_core::{Value, json};

use super::forms::{Decode, element_decode};

/// Days between 1970-01-01 and PostgreSQL's epoch 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_US: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The bytes do not have the form that the type prescribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Malformed)
}

/// A cursor over bytes with checked reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    /// A big-endian 16-bit integer.
    pub(crate) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(array(self.take(2)?)?))
    }

    /// A big-endian 32-bit integer.
    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(array(self.take(4)?)?))
    }

    /// One field of a COPY tuple: a length and as many bytes, or null.
    pub(crate) fn field(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        self.take(length).map(Some)
    }
}

/// A 64-bit integer field.
pub(super) fn int8(bytes: &[u8]) -> Result<i64> {
    Ok(i64::from_be_bytes(array(bytes)?))
}

/// A text field.
pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// The value of a field that is not null.
pub(crate) fn value(decode: Decode, bytes: &[u8]) -> Result<Value> {
    Ok(match decode {
        Decode::Bool => Value::Bool(array::<1>(bytes)?[0] != 0),
        Decode::Int2 => Value::Int(i16::from_be_bytes(array(bytes)?).into()),
        Decode::Int4 => Value::Int(i32::from_be_bytes(array(bytes)?).into()),
        Decode::Int8 => Value::Int(int8(bytes)?),
        Decode::Oid => Value::Int(u32::from_be_bytes(array(bytes)?).into()),
        Decode::Float4 => Value::Float {
            value: f32::from_be_bytes(array(bytes)?).into(),
            single: true,
        },
        Decode::Float8 => Value::Float {
            value: f64::from_be_bytes(array(bytes)?),
            single: false,
        },
        Decode::Numeric => {
            let mut digits = String::with_capacity(24);
            push_numeric(&mut digits, bytes)?;
            Value::Decimal(digits.into())
        }
        Decode::Text => Value::Text(text(bytes)?.into()),
        Decode::Bytea => Value::Bytes(bytes.into()),
        Decode::Date => match i32::from_be_bytes(array(bytes)?) {
            infinity @ (i32::MAX | i32::MIN) => Value::Date(infinity),
            days => Value::Date(days.saturating_add(EPOCH_DAYS)),
        },
        Decode::Time => Value::Time(int8(bytes)?),
        Decode::Timestamp => instant(bytes, Value::Timestamp, "")?,
        Decode::TimestampTz => instant(bytes, Value::TimestampTz, "Z")?,
        Decode::Uuid => Value::Uuid(array(bytes)?),
        Decode::Json => Value::Json(text(bytes)?.into()),
        Decode::Jsonb => match bytes.split_first() {
            Some((1, json)) => Value::Json(text(json)?.into()),
            _ => return Err(Malformed),
        },
        Decode::Array => list(bytes)?,
    })
}

/// PostgreSQL counts from 2000, so its last 30 years (from 294247) lie beyond what 64 bits count
/// from 1970. Those are read as their text.
fn instant(bytes: &[u8], make: fn(i64) -> Value, suffix: &str) -> Result<Value> {
    let us = int8(bytes)?;
    if us == i64::MAX || us == i64::MIN {
        return Ok(make(us));
    }
    Ok(match us.checked_add(EPOCH_US) {
        Some(unix) if unix != i64::MAX => make(unix),
        _ => {
            let days = i32::try_from(us.div_euclid(DAY_US)).map_err(|_| Malformed)?;
            let mut text = String::new();
            push_date(&mut text, days + EPOCH_DAYS);
            text.push('T');
            push_time(&mut text, us.rem_euclid(DAY_US));
            text.push_str(suffix);
            Value::Text(text.into())
        }
    })
}

/// An array of any number of dimensions; lower bounds are not kept (JSON has none).
fn list(bytes: &[u8]) -> Result<Value> {
    let mut cursor = Cursor(bytes);
    let dimensions = cursor.i32()?;
    let _has_nulls = cursor.i32()?;
    let decode = element_decode(u32::from_be_bytes(array(cursor.take(4)?)?));
    if dimensions == 0 {
        return Ok(Value::List(Vec::new()));
    }
    // PostgreSQL's own limit is 6 dimensions.
    if !(1..=6).contains(&dimensions) {
        return Err(Malformed);
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        // An empty array has no dimensions, or one without items (int2vector). An empty one inside
        // another would let a few bytes claim millions of lists.
        let length = usize::try_from(cursor.i32()?).map_err(|_| Malformed)?;
        if length == 0 && dimensions > 1 {
            return Err(Malformed);
        }
        lengths.push(length);
        let _lower_bound = cursor.i32()?;
    }
    dimension(&mut cursor, decode, &lengths)
}

fn dimension(cursor: &mut Cursor<'_>, decode: Decode, lengths: &[usize]) -> Result<Value> {
    let Some((&length, rest)) = lengths.split_first() else {
        return Err(Malformed);
    };
    let mut items = Vec::new();
    for _ in 0..length {
        items.push(if rest.is_empty() {
            match cursor.field()? {
                None => Value::Null,
                Some(bytes) => value(decode, bytes)?,
            }
        } else {
            dimension(cursor, decode, rest)?
        });
    }
    Ok(Value::List(items))
}

/// Appends the JSON text of a field: what `json::push_value` writes of its `value`, without making
/// the values that would have to be allocated.
pub(super) fn push_json(out: &mut String, decode: Decode, bytes: &[u8]) -> Result<()> {
    match (decode, bytes.split_first()) {
        (Decode::Text, _) => json::push_string(out, text(bytes)?),
        (Decode::Json, _) => out.push_str(text(bytes)?),
        (Decode::Jsonb, Some((1, bytes))) => out.push_str(text(bytes)?),
        (Decode::Numeric, _) => {
            let start = out.len();
            if push_numeric(out, bytes)? == Numeric::Special {
                out.insert(start, '"');
                out.push('"');
            }
        }
        _ => json::push_value(out, &value(decode, bytes)?),
    }
    Ok(())
}

/// What a numeric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numeric {
    Digits,
    /// `NaN` or an infinity.
    Special,
}

/// Appends the exact digits of a numeric: base-10000 digits with a weight, a sign and a display
/// scale.
fn push_numeric(out: &mut String, bytes: &[u8]) -> Result<Numeric> {
    let mut cursor = Cursor(bytes);
    let count = usize::try_from(cursor.i16()?).map_err(|_| Malformed)?;
    let weight = i32::from(cursor.i16()?);
    let sign = cursor.i16()? as u16;
    let scale = usize::try_from(cursor.i16()?).map_err(|_| Malformed)?;
    let special = match sign {
        0xC000 => Some("NaN"),
        0xD000 => Some("Infinity"),
        0xF000 => Some("-Infinity"),
        _ => None,
    };
    if let Some(special) = special {
        out.push_str(special);
        return Ok(Numeric::Special);
    }
    let digits = cursor.take(2 * count)?;
    // `position` counts groups of four digits from the point: 0 is the last whole group.
    let group = |position: i32| -> Result<[u8; 4]> {
        let at = usize::try_from(weight - position).ok();
        let pair = at.and_then(|at| digits.get(2 * at..2 * at + 2));
        let digit = pair.map_or(0, |pair| i16::from_be_bytes([pair[0], pair[1]]));
        if !(0..10_000).contains(&digit) {
            return Err(Malformed);
        }
        let at = |unit: i16| b'0' + (digit / unit % 10) as u8;
        Ok([at(1_000), at(100), at(10), at(1)])
    };
    let push = |out: &mut String, digits: &[u8]| out.extend(digits.iter().map(|&d| char::from(d)));
    if sign == 0x4000 {
        out.push('-');
    }
    if weight < 0 {
        out.push('0');
    } else {
        let first = group(weight)?;
        let zeros = first[..3].iter().take_while(|&&digit| digit == b'0');
        push(out, &first[zeros.count()..]);
        for position in (0..weight).rev() {
            push(out, &group(position)?);
        }
    }
    if scale > 0 {
        out.push('.');
        let (mut left, mut position) = (scale, -1);
        while left > 0 {
            let digits = group(position)?;
            let shown = left.min(digits.len());
            push(out, &digits[..shown]);
            left -= shown;
            position -= 1;
        }
    }
    Ok(Numeric::Digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_bytes_are_errors() {
        assert_eq!(value(Decode::Int8, &[0; 7]), Err(Malformed));
        assert_eq!(value(Decode::Numeric, &[0, 1, 0, 0]), Err(Malformed));
        assert_eq!(value(Decode::Array, &[0, 0, 0, 9]), Err(Malformed));
        assert_eq!(Cursor(&[0, 0, 0, 9, 1]).field(), Err(Malformed));
    }
}
