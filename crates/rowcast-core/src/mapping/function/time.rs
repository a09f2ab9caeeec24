//! Functions on dates and timestamps. Timestamps without a zone are taken as UTC.

use super::{Argument, Failure, Function, Input, text_of, unary};
use crate::mapping::moment;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    unary("date_format", Input::Moment, "text by a strftime pattern, in UTC", (r#"{"date_format":["born","%d.%m.%Y"]}"#, r#"{"born":"2024-02-29"}"#, r#""29.02.2024""#), |a| moment::format(&a[0], &text_of(&a[1])).map(Value::from)).options("value, pattern", 2, 2),
    unary("parse_date", Input::Text, "a date, or a timestamp when the pattern has a time, from text by a strptime pattern; without a pattern from ISO text", (r#"{"parse_date":["born","%d.%m.%Y"]}"#, r#"{"born":"29.02.2024"}"#, r#""2024-02-29""#), parse_date).options("value, pattern", 1, 2),
    unary("date_trunc", Input::Moment, "cut down to `year`, `quarter`, `month`, `week` (from Monday), `day`, `hour`, `minute` or `second`", (r#"{"date_trunc":["at","month"]}"#, r#"{"at":"2024-02-29T12:30:00Z"}"#, r#""2024-02-01T00:00:00Z""#), |a| moment::truncate(&a[0], &text_of(&a[1]))).options("value, unit", 2, 2),
    unary("unix", Input::Instant, "whole seconds since 1970-01-01 UTC", (r#"{"unix":"at"}"#, r#"{"at":"2024-02-29T12:30:00.5Z"}"#, "1709209800"), |a| moment::unix(&a[0], 1_000_000)),
    unary("unix_ms", Input::Instant, "whole milliseconds since 1970-01-01 UTC", (r#"{"unix_ms":"at"}"#, r#"{"at":"2024-02-29T12:30:00.5Z"}"#, "1709209800500"), |a| moment::unix(&a[0], 1_000)),
];

fn parse_date(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    match arguments.get(1) {
        Some(pattern) => moment::parse(&text_of(&arguments[0]), &text_of(pattern)),
        None => moment::read(&arguments[0]).map(std::borrow::Cow::into_owned),
    }
}
