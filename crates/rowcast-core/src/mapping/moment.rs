//! Dates and timestamps: reading ISO text, patterns, truncation, Unix time.
//!
//! jiff does patterns; the calendar beyond its years (-9999 to 9999) and the infinities are refused
//! with a reason, never wrapped. Everything is in UTC: the machine's own zone must never matter.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};

use super::function::Failure;
use crate::time::{DAY_US, civil};
use crate::value::Value;

/// A date or timestamp: the value itself, or what ISO text says.
pub(super) fn read(value: &Value) -> Result<Cow<'_, Value>, Failure> {
    match value {
        Value::Date(_) | Value::Timestamp(_) | Value::TimestampTz(_) => Ok(Cow::Borrowed(value)),
        Value::Text(text) => read_text(text.trim()).map(Cow::Owned).ok_or_else(|| {
            Failure::new("the text is not an ISO date or timestamp")
                .value(value)
                .hint("give a pattern: { parse_date: [column, \"%d.%m.%Y\"] }")
        }),
        other => {
            Err(Failure::new(format!("{} is not a date or timestamp", other.kind())).value(other))
        }
    }
}

/// A date or timestamp as services read it: RFC 3339 in UTC. A date is its midnight.
///
/// # Errors
/// What is wrong, without the value.
pub fn instant(value: &Value) -> Result<String, String> {
    let us = microseconds(value).map_err(|failure| failure.text(true))?;
    // RFC 3339 has years of four digits.
    if !(-62_135_596_800_000_000..253_402_300_800_000_000).contains(&us) {
        return Err("the year has no four digits".to_owned());
    }
    let mut out = String::new();
    crate::time::push_timestamp(&mut out, us, "Z");
    Ok(out)
}

fn read_text(text: &str) -> Option<Value> {
    if let Ok(date) = text.parse::<Date>() {
        // `2024-02-29T10:00` also reads as a date; only a bare date is one.
        if !text.contains([':', 'T', 't', ' ']) {
            return Some(Value::Date(days(date)));
        }
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Value::TimestampTz(at.as_microsecond()));
    }
    let at: DateTime = text.parse().ok()?;
    Some(Value::Timestamp(utc(at)?))
}

fn utc(at: DateTime) -> Option<i64> {
    Offset::UTC
        .to_timestamp(at)
        .ok()
        .map(Timestamp::as_microsecond)
}

fn days(date: Date) -> i32 {
    let epoch = Date::constant(1970, 1, 1);
    (date - epoch).get_days()
}

/// Microseconds since 1970 of a date (its midnight) or timestamp, in UTC.
fn microseconds(value: &Value) -> Result<i64, Failure> {
    match &*read(value)? {
        Value::Date(i32::MAX | i32::MIN)
        | Value::Timestamp(i64::MAX | i64::MIN)
        | Value::TimestampTz(i64::MAX | i64::MIN) => {
            Err(Failure::new("infinity has no calendar date"))
        }
        Value::Date(days) => bounded(i64::from(*days).checked_mul(DAY_US)),
        Value::Timestamp(us) | Value::TimestampTz(us) => bounded(Some(*us)),
        other => Err(Failure::new(format!(
            "{} is not a date or timestamp",
            other.kind()
        ))),
    }
}

/// Far enough from the ends of 64 bits that truncation can't overflow: 400 days.
fn bounded(us: Option<i64>) -> Result<i64, Failure> {
    us.filter(|us| us.unsigned_abs() < (i64::MAX - 400 * DAY_US) as u64)
        .ok_or_else(|| Failure::new("the date is too far away"))
}

/// Whole units of this many microseconds since 1970, rounded down.
pub(super) fn unix(value: &Value, unit: i64) -> Result<Value, Failure> {
    Ok(Value::Int(microseconds(value)?.div_euclid(unit)))
}

/// Text by a strftime pattern, in UTC.
pub(super) fn format(value: &Value, pattern: &str) -> Result<String, Failure> {
    let at = Timestamp::from_microsecond(microseconds(value)?)
        .map_err(|_| Failure::new("the date is beyond the year 9999"))?;
    let text = strtime::format(pattern, &at.to_zoned(TimeZone::UTC))
        .map_err(|error| Failure::new(format!("the pattern `{pattern}` can't be used: {error}")))?;
    if text.len() > super::template::MAX_OUTPUT {
        return Err(Failure::new("the result is larger than 1 MiB"));
    }
    Ok(text)
}

/// A date or timestamp from text by a strptime pattern.
pub(super) fn parse(text: &str, pattern: &str) -> Result<Value, Failure> {
    let failure = || {
        Failure::new(format!("the text does not fit the pattern `{pattern}`"))
            .value(&Value::from(text))
    };
    let parts = strtime::parse(pattern, text.trim()).map_err(|_| failure())?;
    if let Ok(at) = parts.to_timestamp() {
        return Ok(Value::TimestampTz(at.as_microsecond()));
    }
    if parts.hour().is_some() {
        let at = parts.to_datetime().map_err(|_| failure())?;
        return utc(at).map(Value::Timestamp).ok_or_else(failure);
    }
    parts
        .to_date()
        .map(|date| Value::Date(days(date)))
        .map_err(|_| failure())
}

/// Cut down to a unit; the kind of the value stays.
pub(super) fn truncate(value: &Value, unit: &str) -> Result<Value, Failure> {
    let at = microseconds(value)?;
    let day = at.div_euclid(DAY_US);
    let (year, month, day_of_month) = civil(day);
    let first_of_month = day - i64::from(day_of_month) + 1;
    let cut = match unit {
        "year" => first_of(year, 1) * DAY_US,
        "quarter" => first_of(year, (month - 1) / 3 * 3 + 1) * DAY_US,
        "month" => first_of_month * DAY_US,
        // 1970-01-01 was a Thursday: three days after a Monday.
        "week" => (day - (day + 3).rem_euclid(7)) * DAY_US,
        "day" => day * DAY_US,
        "hour" => at - at.rem_euclid(3_600_000_000),
        "minute" => at - at.rem_euclid(60_000_000),
        "second" => at - at.rem_euclid(1_000_000),
        _ => {
            return Err(
                Failure::new(format!("`{unit}` is not a unit to cut down to"))
                    .hint("use year, quarter, month, week, day, hour, minute or second"),
            );
        }
    };
    Ok(match &*read(value)? {
        Value::Date(_) => Value::Date(cut.div_euclid(DAY_US) as i32),
        Value::Timestamp(_) => Value::Timestamp(cut),
        _ => Value::TimestampTz(cut),
    })
}

/// Days since 1970 of the first day of a month (the inverse of `civil`).
fn first_of(year: i64, month: u32) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_text;

    #[test]
    fn iso_text_is_read_in_all_its_forms() {
        for (text, expected) in [
            ("2024-02-29", "2024-02-29"),
            ("2024-02-29T12:30:00Z", "2024-02-29T12:30:00Z"),
            (
                "2024-02-29 12:30:00.123456+02",
                "2024-02-29T10:30:00.123456Z",
            ),
            ("2024-02-29 12:30:00", "2024-02-29T12:30:00"),
            ("2024-02-29T12:30", "2024-02-29T12:30:00"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(
                to_text(&read(&Value::from(text)).unwrap()),
                expected,
                "{text}"
            );
        }
        for text in ["", "yesterday", "2024-02-30", "29.02.2024", "12:30"] {
            assert!(read(&Value::from(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn truncation_knows_the_calendar() {
        for (unit, expected) in [
            ("year", "2023-01-01T00:00:00Z"),
            ("quarter", "2023-10-01T00:00:00Z"),
            ("month", "2023-12-01T00:00:00Z"),
            ("week", "2023-12-25T00:00:00Z"),
            ("day", "2023-12-31T00:00:00Z"),
            ("hour", "2023-12-31T23:00:00Z"),
            ("minute", "2023-12-31T23:59:00Z"),
            ("second", "2023-12-31T23:59:58Z"),
        ] {
            let value = truncate(&Value::from("2023-12-31T23:59:58.7Z"), unit).unwrap();
            assert_eq!(to_text(&value), expected, "{unit}");
        }
        for day in (-800_000..800_000).step_by(97) {
            let (year, month, of_month) = civil(day);
            assert_eq!(first_of(year, month), day - i64::from(of_month) + 1);
        }
    }

    #[test]
    fn infinities_and_far_years_are_refused_not_wrapped() {
        for value in [
            Value::Date(i32::MAX),
            Value::Timestamp(i64::MIN),
            Value::TimestampTz(i64::MAX),
        ] {
            assert!(unix(&value, 1_000_000).is_err());
            assert!(format(&value, "%Y").is_err());
            assert!(truncate(&value, "year").is_err());
        }
        assert!(format(&Value::Date(5_000_000), "%Y").is_err());
        assert!(format(&Value::Date(0), "%!").is_err());
    }
}
