//! Types of columns, and whether a value fits one without loss.

use rowcast_core::Value;
use rowcast_core::json::{to_json, to_text};
use rowcast_core::time::DAY_US;

/// Digits of the widest decimal: what 16 bytes hold.
pub(super) const DIGITS_MAX: usize = 38;
/// Digits of the widest decimal that 8 bytes hold.
pub(super) const DIGITS_SMALL: usize = 18;

/// Whole numbers up to here are exact in a double: 2^53.
const EXACT_MAX: u64 = 1 << 53;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    BigInt,
    Double,
    /// Digits before and after the point. `grows` when they are those of the values so far.
    Decimal {
        whole: usize,
        scale: usize,
        grows: bool,
    },
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
}

/// The types' names as they are written under `columns:`.
pub(super) const NAMES: &str =
    "boolean, bigint, double, decimal(12,2), text, bytes, date, time, timestamp, timestamptz, uuid";

/// A value in the form in which a draft keeps it: null, a boolean, a whole number or text.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) cell: Value,
    /// The column's type, which a decimal may have widened.
    pub(super) kind: Kind,
}

impl Kind {
    /// Reads a type's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "boolean" => Self::Boolean,
            "bigint" => Self::BigInt,
            "double" => Self::Double,
            "text" => Self::Text,
            "bytes" => Self::Bytes,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            "uuid" => Self::Uuid,
            other => {
                let inner = other.strip_prefix("decimal(")?.strip_suffix(')')?;
                let (digits, scale) = inner.split_once(',')?;
                let digits: usize = digits.trim().parse().ok()?;
                let scale: usize = scale.trim().parse().ok()?;
                if digits == 0 || digits > DIGITS_MAX || scale > digits {
                    return None;
                }
                Self::Decimal {
                    whole: digits - scale,
                    scale,
                    grows: false,
                }
            }
        })
    }

    /// The type of a column whose first value this is; `None` for null.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Boolean,
            Value::Int(_) => Self::BigInt,
            Value::Float { .. } => Self::Double,
            Value::Decimal(_) => Self::Decimal {
                whole: 0,
                scale: 0,
                grows: true,
            },
            Value::Text(_) | Value::Json(_) | Value::List(_) | Value::Object(_) => Self::Text,
            Value::Bytes(_) => Self::Bytes,
            Value::Date(_) => Self::Date,
            Value::Time(_) => Self::Time,
            Value::Timestamp(_) => Self::Timestamp,
            Value::TimestampTz(_) => Self::TimestampTz,
            Value::Uuid(_) => Self::Uuid,
        })
    }

    /// The name as it is written under `columns:`.
    pub(super) fn name(self) -> String {
        match self {
            Self::Boolean => "boolean",
            Self::BigInt => "bigint",
            Self::Double => "double",
            Self::Decimal { grows: true, .. } => "decimal",
            Self::Decimal { whole, scale, .. } => {
                return format!("decimal({},{scale})", whole + scale);
            }
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Uuid => "uuid",
        }
        .to_owned()
    }

    /// The value as a cell of this column; `None` when something of it would be lost.
    pub(super) fn fit(self, value: &Value) -> Option<Fitted> {
        let cell = match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Boolean, Value::Bool(value)) => Value::Bool(*value),
            (Self::BigInt, Value::Int(value)) => Value::Int(*value),
            (Self::BigInt, Value::Decimal(text)) => Value::Int(text.parse().ok()?),
            (Self::Double, Value::Float { value, single }) => {
                // A single's digits, not those of its binary neighbour among the doubles.
                let value = if *single {
                    to_text(&Value::Float {
                        value: *value,
                        single: true,
                    })
                    .parse()
                    .unwrap_or(*value)
                } else {
                    *value
                };
                Value::Int(value.to_bits() as i64)
            }
            (Self::Double, Value::Int(value)) if value.unsigned_abs() <= EXACT_MAX => {
                Value::Int((*value as f64).to_bits() as i64)
            }
            (Self::Decimal { .. }, Value::Decimal(text)) => return self.fit_decimal(text),
            (Self::Decimal { .. }, Value::Int(value)) => {
                return self.fit_decimal(&value.to_string());
            }
            (Self::Text, Value::Json(_) | Value::List(_) | Value::Object(_)) => {
                Value::from(to_json(value))
            }
            (Self::Text, value) => Value::from(to_text(value)),
            (Self::Bytes, Value::Bytes(_)) | (Self::Uuid, Value::Uuid(_)) => {
                Value::from(to_text(value))
            }
            (Self::Date, Value::Date(days)) if *days != i32::MAX && *days != i32::MIN => {
                Value::Int(i64::from(*days))
            }
            // PostgreSQL knows 24:00:00, Parquet does not.
            (Self::Time, Value::Time(us)) if (0..DAY_US).contains(us) => Value::Int(*us),
            (Self::Timestamp, Value::Timestamp(us))
            | (Self::TimestampTz, Value::TimestampTz(us))
                if *us != i64::MAX && *us != i64::MIN =>
            {
                Value::Int(*us)
            }
            _ => return None,
        };
        Some(Fitted { cell, kind: self })
    }

    fn fit_decimal(self, text: &str) -> Option<Fitted> {
        let Self::Decimal {
            whole,
            scale,
            grows,
        } = self
        else {
            return None;
        };
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (int, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(int) || !digits(fraction) || int.is_empty() && fraction.is_empty() {
            return None;
        }
        let int = int.trim_start_matches('0');
        // Zeros at the end are no digits that could be lost.
        let kept = fraction.trim_end_matches('0');
        let (whole, scale) = if grows {
            let shown = if fraction.len() <= DIGITS_SMALL {
                fraction.len()
            } else {
                kept.len()
            };
            (whole.max(int.len()), scale.max(shown))
        } else {
            (whole, scale)
        };
        if int.len() > whole || kept.len() > scale || whole + scale > DIGITS_MAX {
            return None;
        }
        let sign = if text.starts_with('-') { "-" } else { "" };
        Some(Fitted {
            cell: Value::from(format!("{sign}{int}.{kept}")),
            kind: Self::Decimal {
                whole,
                scale,
                grows,
            },
        })
    }

    /// Digits altogether and after the point, as the file says them. Where they grew, the width is
    /// that of the storage, so that it differs less from run to run.
    pub(super) fn precision(self) -> (usize, usize) {
        match self {
            Self::Decimal {
                whole,
                scale,
                grows: true,
            } if whole + scale <= DIGITS_SMALL => (DIGITS_SMALL, scale),
            Self::Decimal {
                scale, grows: true, ..
            } => (DIGITS_MAX, scale),
            Self::Decimal { whole, scale, .. } => (whole + scale, scale),
            _ => (0, 0),
        }
    }
}

/// A decimal cell as a whole number of its column's smallest unit.
pub(super) fn unscaled(cell: &str, scale: usize) -> Option<i128> {
    let (int, fraction) = cell.split_once('.')?;
    let missing = scale.checked_sub(fraction.len())?;
    let text = format!("{int}{fraction}{}", "0".repeat(missing));
    match text.as_str() {
        "" | "-" => Some(0),
        digits => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Value {
        Value::Decimal(text.into())
    }

    #[test]
    fn a_value_fits_whole_or_not_at_all() {
        let fits = |kind: &str, value: &Value| Kind::parse(kind).unwrap().fit(value).is_some();
        for (kind, value) in [
            ("bigint", Value::Int(i64::MIN)),
            ("bigint", decimal("12")),
            ("double", Value::Int(-9_007_199_254_740_992)),
            ("decimal(4,2)", decimal("-12.50")),
            ("decimal(4,2)", decimal("12.500")),
            ("decimal(4,2)", decimal("0")),
            ("decimal(38,0)", decimal(&"9".repeat(38))),
            ("text", Value::Int(1)),
            ("text", Value::Json("{}".into())),
            ("date", Value::Null),
        ] {
            assert!(fits(kind, &value), "{kind}: {value:?}");
        }
        for (kind, value) in [
            ("bigint", decimal("1.5")),
            ("bigint", decimal("9223372036854775808")),
            ("bigint", Value::from("1")),
            ("double", Value::Int(i64::MAX)),
            ("double", decimal("0.1")),
            ("decimal(4,2)", decimal("123.00")),
            ("decimal(4,2)", decimal("1.005")),
            ("decimal(4,2)", decimal("NaN")),
            ("decimal(4,2)", decimal("-Infinity")),
            ("decimal(4,2)", Value::float(1.0)),
            ("boolean", Value::from("t")),
            ("date", Value::Date(i32::MAX)),
            ("time", Value::Time(DAY_US)),
            ("timestamptz", Value::TimestampTz(i64::MIN)),
            ("timestamptz", Value::Timestamp(0)),
            ("uuid", Value::from("no")),
        ] {
            assert!(!fits(kind, &value), "{kind}: {value:?}");
        }
    }

    #[test]
    fn a_decimal_without_a_declared_type_grows_until_it_can_not() {
        let mut kind = Kind::of(&decimal("1.5")).unwrap();
        for text in ["1.50", "-123", "0.001"] {
            kind = kind.fit(&decimal(text)).unwrap().kind;
        }
        assert_eq!(kind.precision(), (18, 3));
        assert!(kind.fit(&decimal(&"9".repeat(36))).is_none());
        kind = kind.fit(&decimal(&"9".repeat(35))).unwrap().kind;
        assert_eq!(kind.precision(), (38, 3));
    }

    #[test]
    fn decimals_become_whole_numbers_of_their_unit() {
        let kind = Kind::parse("decimal(38,3)").unwrap();
        for (text, expected) in [
            ("0", 0),
            ("-0.5", -500),
            ("1.250", 1_250),
            ("00012", 12_000),
            (".5", 500),
        ] {
            let cell = kind.fit(&decimal(text)).unwrap().cell;
            assert_eq!(
                unscaled(cell.as_text().unwrap(), 3),
                Some(expected),
                "{text}"
            );
        }
        let most = "9".repeat(38);
        let kind = Kind::parse("decimal(38,0)").unwrap();
        let cell = kind.fit(&decimal(&most)).unwrap().cell;
        assert_eq!(unscaled(cell.as_text().unwrap(), 0), most.parse().ok());
    }
}
