//! Values as parameters of statements.
//!
//! A value arrives as the column's own type reads it, in the session's strict mode: what does not
//! fit is refused by the server, never cut. What the server would take and change is refused here.

use mysql_async::Value as Param;
use rowcast_core::Value;
use rowcast_core::json::{is_json_number, to_json, to_text};
use rowcast_core::time::civil;

use super::target::{Column, Family};

const DAY: i64 = 86_400_000_000;

/// A value for a column.
///
/// # Errors
/// Why no column of its kind can hold it.
pub(super) fn param(value: &Value, column: &Column) -> Result<Param, &'static str> {
    Ok(match value {
        Value::Null => Param::NULL,
        Value::Bool(value) => Param::Int((*value).into()),
        Value::Int(value) => Param::Int(*value),
        Value::Float { value, .. } if !value.is_finite() => {
            return Err("MySQL has no NaN and no infinity");
        }
        // The shortest digits: a 32-bit float as a double would get digits that nobody wrote.
        Value::Float { .. } => Param::Bytes(to_text(value).into_bytes()),
        Value::Decimal(digits) if is_json_number(digits) => {
            Param::Bytes(digits.as_bytes().to_vec())
        }
        Value::Decimal(_) => return Err("MySQL has no NaN and no infinity"),
        Value::Text(text) => Param::Bytes(text.as_bytes().to_vec()),
        Value::Bytes(bytes) if column.family == Family::Binary => Param::Bytes(bytes.to_vec()),
        Value::Uuid(bytes) if column.family == Family::Binary => Param::Bytes(bytes.to_vec()),
        Value::Bytes(_) | Value::Uuid(_) => Param::Bytes(to_text(value).into_bytes()),
        Value::Date(i32::MIN | i32::MAX)
        | Value::Timestamp(i64::MIN | i64::MAX)
        | Value::TimestampTz(i64::MIN | i64::MAX) => return Err("MySQL has no infinite dates"),
        Value::Timestamp(us) | Value::TimestampTz(us) if column.family == Family::Moment => {
            moment(*us)?
        }
        Value::Date(days) if column.family == Family::Moment => moment(i64::from(*days) * DAY)?,
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) | Value::TimestampTz(_) => {
            Param::Bytes(to_text(value).into_bytes())
        }
        Value::Json(text) => Param::Bytes(text.as_bytes().to_vec()),
        Value::List(_) | Value::Object(_) => Param::Bytes(to_json(value).into_bytes()),
    })
}

/// A date with a time of day. The session's zone is UTC.
fn moment(us: i64) -> Result<Param, &'static str> {
    let (days, within) = (us.div_euclid(DAY), us.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    if !(0..=9_999).contains(&year) {
        return Err("MySQL's dates have years from 0 to 9999");
    }
    let seconds = within / 1_000_000;
    Ok(Param::Date(
        year as u16,
        month as u8,
        day as u8,
        (seconds / 3_600) as u8,
        (seconds / 60 % 60) as u8,
        (seconds % 60) as u8,
        (within % 1_000_000) as u32,
    ))
}

/// The bytes a parameter takes on the wire, about.
pub(super) fn size(param: &Param) -> usize {
    match param {
        Param::Bytes(bytes) => bytes.len() + 9,
        _ => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(family: Family) -> Column {
        Column {
            name: "c".to_owned(),
            type_name: String::new(),
            family,
            required: false,
            generated: false,
        }
    }

    #[test]
    fn instants_keep_their_microseconds_and_digits_stay() {
        let moment = column(Family::Moment);
        assert_eq!(
            param(&Value::TimestampTz(-1), &moment),
            Ok(Param::Date(1969, 12, 31, 23, 59, 59, 999_999))
        );
        assert!(param(&Value::Timestamp(i64::MAX), &moment).is_err());
        let other = column(Family::Other);
        let digits = "-12345678901234567890.1234567890";
        assert_eq!(
            param(&Value::Decimal(digits.into()), &other),
            Ok(Param::Bytes(digits.as_bytes().to_vec()))
        );
        assert!(param(&Value::Decimal("NaN".into()), &other).is_err());
        assert_eq!(param(&Value::Bool(true), &other), Ok(Param::Int(1)));
    }

    #[test]
    fn bytes_stay_bytes_only_where_the_column_is_binary() {
        let bytes = Value::Bytes(Box::from([0, 255]));
        assert_eq!(
            param(&bytes, &column(Family::Binary)),
            Ok(Param::Bytes(vec![0, 255]))
        );
        assert_eq!(
            param(&bytes, &column(Family::Other)),
            Ok(Param::Bytes(b"AP8=".to_vec()))
        );
    }
}
