//! The words of a schedule: zones, times of day, days of the week. What they mean is
//! `rowcast_core::schedule`'s business.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::walk::suggest;

/// Reads an IANA name, or says why not.
pub(crate) fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        let near = jiff::tz::db()
            .available()
            .map(|zone| zone.as_str().to_owned())
            .collect::<Vec<_>>();
        match suggest(name, near.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write an IANA name such as UTC, Europe/Paris or America/New_York".into(),
        }
    })
}

/// Reads `09:30` or `09:30:15`.
pub(crate) fn time_of_day(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut number = |max: i8| -> Option<i8> {
        let part = parts.next()?;
        let digits = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|n| digits && *n <= max)
    };
    let (hour, minute) = (number(23)?, number(59)?);
    let second = if text.matches(':').count() == 2 {
        number(59)?
    } else {
        0
    };
    (text.matches(':').count() <= 2).then_some(())?;
    Time::new(hour, minute, second, 0).ok()
}

/// The words of `days:`.
pub(crate) const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_civil() {
        assert_eq!(time_of_day("09:30"), Time::new(9, 30, 0, 0).ok());
        assert_eq!(time_of_day("9:05:07"), Time::new(9, 5, 7, 0).ok());
        for bad in [
            "24:00",
            "9",
            "9:60",
            "09:30:00:00",
            "-1:00",
            "a:b",
            "0930",
            "",
        ] {
            assert_eq!(time_of_day(bad), None, "{bad}");
        }
    }

    #[test]
    fn time_zones_are_suggested() {
        assert!(time_zone("Europe/Paris").is_ok());
        let hint = time_zone("Europe/Pariss").err().unwrap();
        assert_eq!(hint, "did you mean `Europe/Paris`?");
    }
}
