//! Dates, always in UTC: the zone of the machine must not decide what is sent.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::{Arguments, to_number};
use crate::value::Value;

/// Applies a filter of this kind; `None` when the name is another's or the value is no date.
pub(super) fn apply(value: &Value, arguments: &Arguments<'_>, now_us: i64) -> Option<Value> {
    let format = match arguments.name {
        "date" => arguments
            .text(0)
            .unwrap_or_else(|| "%A, %B %-e, %Y at %-l:%M %P %z".into()),
        "date_to_xmlschema" => "%Y-%m-%dT%H:%M:%S%:z".into(),
        "date_to_rfc822" => "%a, %d %b %Y %H:%M:%S %z".into(),
        "date_to_string" => "%d %b %Y".into(),
        "date_to_long_string" => "%d %B %Y".into(),
        _ => return None,
    };
    let moment = moment(value, now_us)?;
    let text = jiff::fmt::strtime::format(&format, &moment).ok()?;
    Some(Value::text(text))
}

/// The moment a value names: `now`, seconds since 1970, or a date in a usual form.
fn moment(value: &Value, now_us: i64) -> Option<Zoned> {
    let utc = |at: Timestamp| at.to_zoned(TimeZone::fixed(Offset::UTC));
    let text = match value {
        Value::Text(text) => text.trim(),
        Value::Int(_) | Value::Float { .. } | Value::Decimal(_) => {
            return seconds(to_number(value)).map(utc);
        }
        _ => return None,
    };
    if matches!(text, "now" | "today") {
        return Timestamp::from_microsecond(now_us).ok().map(utc);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return seconds(text.parse().ok()?).map(utc);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(utc(at));
    }
    if let Ok(local) = text.parse::<DateTime>() {
        return local.to_zoned(TimeZone::UTC).ok();
    }
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|at| utc(at.timestamp()))
}

fn seconds(seconds: f64) -> Option<Timestamp> {
    let us = seconds * 1e6;
    (us.abs() < 9e18).then(|| Timestamp::from_microsecond(us as i64).ok())?
}
