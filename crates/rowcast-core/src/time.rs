//! Civil dates from PostgreSQL's counts of days and microseconds.
//!
//! PostgreSQL's range (4713 BC to 294276 AD) is wider than that of time libraries, and a row must
//! be rendered whatever it holds; so the calendar arithmetic lives here. It must never panic.

use std::fmt::Write as _;

use crate::json::push_ascii;

/// Microseconds in a day.
pub const DAY_US: i64 = 86_400_000_000;

/// Year, month, day of a count of days since 1970-01-01 in the proleptic Gregorian calendar.
/// Year 0 is 1 BC. (Howard Hinnant's `civil_from_days`.)
pub fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = (if mp < 10 { mp + 3 } else { mp - 9 }) as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

fn push_year(out: &mut String, year: i64) -> bool {
    // PostgreSQL has no year 0: 0 is 1 BC.
    let (shown, bc) = if year <= 0 {
        (1 - year, true)
    } else {
        (year, false)
    };
    if shown <= 9_999 {
        let (hundreds, rest) = (shown as u32 / 100, shown as u32 % 100);
        let [[a, b], [c, d]] = [two(hundreds), two(rest)];
        push_ascii(out, &[a, b, c, d]);
    } else {
        let _ = write!(out, "{shown}");
    }
    bc
}

/// Two digits of a number below 100.
fn two(number: u32) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

fn push_month_and_day(out: &mut String, month: u32, day: u32) {
    let ([a, b], [c, d]) = (two(month), two(day));
    push_ascii(out, &[b'-', a, b, b'-', c, d]);
}

/// `2024-02-29`, `infinity`, `-infinity`, or `0044-03-15 BC`: PostgreSQL's ISO form.
pub fn push_date(out: &mut String, days: i32) {
    match days {
        i32::MAX => out.push_str("infinity"),
        i32::MIN => out.push_str("-infinity"),
        days => {
            let (year, month, day) = civil(i64::from(days));
            let bc = push_year(out, year);
            push_month_and_day(out, month, day);
            if bc {
                out.push_str(" BC");
            }
        }
    }
}

/// `13:37:00`, with as many fractional digits as needed and no more.
pub fn push_time(out: &mut String, us: i64) {
    let (text, length) = time(us);
    push_ascii(out, &text[..length]);
}

/// The same as bytes, of which so many count.
fn time(us: i64) -> ([u8; 15], usize) {
    // At most 24 hours, so far within 32 bits.
    let seconds = (us / 1_000_000) as u32;
    let mut fraction = (us % 1_000_000) as u32;
    let mut text = *b"00:00:00.000000";
    text[..2].copy_from_slice(&two(seconds / 3600));
    text[3..5].copy_from_slice(&two(seconds / 60 % 60));
    text[6..8].copy_from_slice(&two(seconds % 60));
    if fraction == 0 {
        return (text, 8);
    }
    for pair in text[9..].rchunks_exact_mut(2) {
        pair.copy_from_slice(&two(fraction % 100));
        fraction /= 100;
    }
    let zeros = text.iter().rev().take_while(|&&digit| digit == b'0');
    (text, text.len() - zeros.count())
}

/// `2024-02-29T13:37:00.5` followed by `suffix` (`Z` for instants, nothing without a zone).
/// Infinities are `infinity` and `-infinity`; dates before year 1 end in ` BC`.
pub fn push_timestamp(out: &mut String, us: i64, suffix: &str) {
    match us {
        i64::MAX => out.push_str("infinity"),
        i64::MIN => out.push_str("-infinity"),
        us => {
            let (year, month, day) = civil(us.div_euclid(DAY_US));
            let ([a, b], [c, d]) = (two(month), two(day));
            let (time, length) = time(us.rem_euclid(DAY_US));
            let mut text = *b"-00-00T00:00:00.000000";
            text[..7].copy_from_slice(&[b'-', a, b, b'-', c, d, b'T']);
            text[7..].copy_from_slice(&time);
            let bc = push_year(out, year);
            push_ascii(out, &text[..7 + length]);
            out.push_str(suffix);
            if bc {
                out.push_str(" BC");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(us: i64) -> String {
        let mut out = String::new();
        push_timestamp(&mut out, us, "Z");
        out
    }

    #[test]
    fn instants_are_written_as_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(timestamp(1_709_209_800_500_000), "2024-02-29T12:30:00.5Z");
        assert_eq!(
            timestamp(1_709_209_800_000_070),
            "2024-02-29T12:30:00.00007Z"
        );
        assert_eq!(timestamp(i64::MAX), "infinity");
    }

    #[test]
    fn dates_before_year_one_keep_postgres_form() {
        let mut out = String::new();
        push_date(&mut out, -735_160);
        assert_eq!(out, "0044-03-15 BC");
    }
}
