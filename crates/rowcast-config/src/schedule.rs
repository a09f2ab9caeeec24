//! When a sync runs: the forms of `schedule:` and what makes one valid.
//!
//! This module reads and judges; when the next run is due is the scheduler's business.

use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::walk::suggest;

/// The shortest period of `every:`.
pub const EVERY_MIN: Duration = Duration::from_secs(10);

/// One form of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub trigger: Trigger,
    /// For `at`, `cron` and `days`. Default UTC.
    pub time_zone: String,
    /// What happens when the sync is still running. Default skip.
    pub overlap: Overlap,
    /// Whether a run that was missed (the server was down) is made up for, once. Default true.
    pub catch_up: bool,
}

/// What starts a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Periodically; with `at`, counted from that time of day.
    Every { every: Duration, at: Option<Time> },
    /// Five fields.
    Cron(String),
    /// On these days of the week.
    Days { days: Vec<Weekday>, at: Time },
    /// When other syncs have ended.
    After { syncs: Vec<String>, when: AfterWhen },
    /// When a dbt Cloud job has ended.
    Dbt { job: String },
}

/// Which ends of another sync count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterWhen {
    #[default]
    Succeeded,
    /// Succeeded or failed.
    Finished,
}

/// What happens to a run that is due while the one before is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    #[default]
    Skip,
    /// It starts when the one before has ended.
    Queue,
}

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

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// Words for `min`, `min + 1`, ….
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        min: 0,
        max: 59,
        words: &[],
    },
    Field {
        name: "hour",
        min: 0,
        max: 23,
        words: &[],
    },
    Field {
        name: "day of month",
        min: 1,
        max: 31,
        words: &[],
    },
    Field {
        name: "month",
        min: 1,
        max: 12,
        words: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Field {
        name: "day of week",
        min: 0,
        // 7 is Sunday too.
        max: 7,
        words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

/// Judges a cron expression of five fields; the error is a hint.
pub(crate) fn check_cron(text: &str) -> Result<(), String> {
    if text.trim_start().starts_with('@') {
        return Err("write the five fields: `@daily` is \"0 0 * * *\"".into());
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(format!(
            "write five fields (minute, hour, day of month, month, day of week); there are {}",
            parts.len()
        ));
    }
    let mut sets = Vec::new();
    for (part, field) in parts.iter().zip(&FIELDS) {
        sets.push(cron_field(part, field)?);
    }
    // A date that no year has, such as 30 February, would never run.
    let longest = |month: u32| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let (days, months) = (&sets[2], &sets[3]);
    let possible = parts[4] != "*"
        || days
            .iter()
            .any(|day| months.iter().any(|m| *day <= longest(*m)));
    if possible {
        Ok(())
    } else {
        Err("no month named here has such a day: it would never run".into())
    }
}

fn cron_field(part: &str, field: &Field) -> Result<Vec<u32>, String> {
    let mut set = Vec::new();
    for item in part.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let step: u32 = step
                    .parse()
                    .ok()
                    .filter(|step| (1..=field.max).contains(step))
                    .ok_or_else(|| {
                        format!(
                            "the step `/{step}` of the {} must be from 1 to {}",
                            field.name, field.max
                        )
                    })?;
                (range, Some(step))
            }
            None => (item, None),
        };
        let (first, last) = if range == "*" {
            (field.min, field.max)
        } else if let Some((first, last)) = range.split_once('-') {
            (cron_number(first, field)?, cron_number(last, field)?)
        } else {
            let first = cron_number(range, field)?;
            (first, if step.is_some() { field.max } else { first })
        };
        if first > last {
            return Err(format!(
                "the range `{range}` of the {} runs backwards",
                field.name
            ));
        }
        set.extend((first..=last).step_by(step.unwrap_or(1) as usize));
    }
    Ok(set)
}

fn cron_number(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(i) = field.words.iter().position(|word| *word == lower) {
        return Ok(field.min + i as u32);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|n| digits && (field.min..=field.max).contains(n))
        .ok_or_else(|| {
            let words = if field.words.is_empty() {
                String::new()
            } else {
                format!(" or a name such as {}", field.words[1])
            };
            format!(
                "the {} `{text}` must be a number from {} to {}{words}",
                field.name, field.min, field.max
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_expressions_are_judged_field_by_field() {
        for good in [
            "0 6 * * 1-5",
            "*/15 * * * *",
            "0 0 1,15 * mon",
            "5-59/10 0 29 feb *",
            "0 0 * * 7",
        ] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("0 6 * *", "there are 4"),
            ("60 * * * *", "minute `60`"),
            ("0 24 * * *", "hour `24`"),
            ("0 0 0 * *", "day of month `0`"),
            ("0 0 30 2 *", "never run"),
            ("0 0 * * fri-mon", "backwards"),
            ("*/0 * * * *", "step"),
            ("@daily", "0 0 * * *"),
            ("+1 * * * *", "minute `+1`"),
            ("1, * * * *", "minute ``"),
        ] {
            let hint = check_cron(bad).unwrap_err();
            assert!(hint.contains(part), "{bad}: {hint}");
        }
    }

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
