//! Cron expressions of five fields, as in crontab(5): lists, ranges, steps, names, descriptors.
//!
//! When both the day of the month and the day of the week are restricted, either suffices, as
//! everywhere. What other dialects add (seconds, `L`, `W`, `#`, `?`, `TZ=`) is refused by name.

use std::time::Duration;

use jiff::civil::{Date, Time};

use super::local::Counting;

/// A cron expression that can come true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    /// Bit n: minute n.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Bit 0: Sunday.
    weekdays: u64,
    /// The hour is written as `*` or `*/n`: the expression counts through the day.
    any_hour: bool,
    any_day: bool,
    any_weekday: bool,
}

/// Descriptors and what they stand for.
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The Gregorian calendar repeats after 400 years, weekdays included.
const CYCLE_DAYS: u32 = 146_097;

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

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead, as a hint.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let expanded = if trimmed.starts_with('@') {
            descriptor(trimmed)?
        } else {
            trimmed
        };
        let parts: Vec<&str> = expanded.split_whitespace().collect();
        dialect(&parts)?;
        if parts.len() != FIELDS.len() {
            return Err(format!(
                "write five fields (minute, hour, day of month, month, day of week); there are {}",
                parts.len()
            ));
        }
        let mut sets = [0; 5];
        for ((part, field), set) in parts.iter().zip(&FIELDS).zip(&mut sets) {
            *set = field_set(part, field)?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let cron = Self {
            text: trimmed.to_owned(),
            minutes,
            hours,
            days,
            months,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            any_hour: parts[1].starts_with('*'),
            any_day: parts[2].starts_with('*'),
            any_weekday: parts[4].starts_with('*'),
        };
        if cron.days_of_cycle().next().is_none() {
            return Err("no month named here has such a day: it would never run".into());
        }
        Ok(cron)
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is due on a day.
    pub(super) fn on(&self, date: Date) -> bool {
        self.on_day(
            date.month().unsigned_abs().into(),
            date.day().unsigned_abs().into(),
            date.weekday().to_sunday_zero_offset().unsigned_abs().into(),
        )
    }

    fn on_day(&self, month: u32, day: u32, weekday: u32) -> bool {
        let day = self.days >> day & 1 == 1;
        let weekday = self.weekdays >> weekday & 1 == 1;
        let either = !self.any_day && !self.any_weekday;
        self.months >> month & 1 == 1
            && if either {
                day || weekday
            } else {
                day && weekday
            }
    }

    /// The times of a day, by hour.
    pub(super) fn times(&self) -> Vec<(i8, Vec<Time>)> {
        let minutes: Vec<i8> = (0..60).filter(|m| self.minutes >> m & 1 == 1).collect();
        (0..24)
            .filter(|hour| self.hours >> hour & 1 == 1)
            .map(|hour| {
                let times = minutes
                    .iter()
                    .map(|minute| Time::constant(hour, *minute, 0, 0));
                (hour, times.collect())
            })
            .collect()
    }

    pub(super) fn counting(&self) -> Counting {
        if self.any_hour {
            Counting::Through
        } else {
            Counting::Once
        }
    }

    /// The smallest distance between two runs over the whole cycle of the calendar.
    pub fn smallest_gap(&self) -> Duration {
        let minutes: Vec<u32> = self
            .times()
            .iter()
            .flat_map(|(_, times)| times)
            .map(|time| {
                u32::from(time.hour().unsigned_abs()) * 60 + u32::from(time.minute().unsigned_abs())
            })
            .collect();
        let within = minutes.windows(2).map(|pair| pair[1] - pair[0]).min();
        let (first, last) = (minutes[0], minutes[minutes.len() - 1]);
        // From the last time of one day to the first time of the next day that has any.
        let mut days = self.days_of_cycle();
        let start = days.next().unwrap_or_default();
        let mut before = start;
        let mut apart = u32::MAX;
        for day in days.chain([start + CYCLE_DAYS]) {
            apart = apart.min(day - before);
            before = day;
            if apart == 1 {
                break;
            }
        }
        let between = apart.saturating_mul(1_440) - last + first;
        Duration::from_secs(60 * u64::from(within.map_or(between, |gap| gap.min(between))))
    }

    /// The numbers of the days on which it is due, in 400 years from 2000-01-01, a Saturday.
    fn days_of_cycle(&self) -> impl Iterator<Item = u32> {
        let mut number = 0;
        let days = (2000..2400_u32).flat_map(|year| {
            (1..=12_u32)
                .flat_map(move |month| (1..=days_in(year, month)).map(move |day| (month, day)))
        });
        days.filter_map(move |(month, day)| {
            let weekday = (number + 6) % 7;
            number += 1;
            self.on_day(month, day, weekday).then_some(number - 1)
        })
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn descriptor(text: &str) -> Result<&'static str, String> {
    let lower = text.to_ascii_lowercase();
    let name = lower.split_whitespace().next().unwrap_or_default();
    if name == "@every" {
        return Err("write a period with its own key: `{ every: 1h }`".into());
    }
    if name == "@reboot" {
        return Err("there is nothing to reboot: write a time, or `rowcast run`".into());
    }
    DESCRIPTORS
        .iter()
        .find(|(known, _)| *known == lower)
        .map(|(_, fields)| *fields)
        .ok_or_else(|| {
            let known: Vec<&str> = DESCRIPTORS.iter().map(|(name, _)| *name).collect();
            format!("write five fields, or one of {}", known.join(", "))
        })
}

/// Refuses by name what other programs understand.
fn dialect(parts: &[&str]) -> Result<(), String> {
    if let Some(zone) = parts
        .first()
        .and_then(|part| part.split_once('='))
        .filter(|(key, _)| matches!(*key, "TZ" | "CRON_TZ"))
        .map(|(_, zone)| zone)
    {
        return Err(format!(
            "write the zone with its own key: `timezone: {zone}`"
        ));
    }
    if parts.len() == 6 || parts.len() == 7 {
        return Err(format!(
            "write five fields, without seconds and years; there are {}",
            parts.len()
        ));
    }
    for (part, field) in parts.iter().zip(&FIELDS) {
        let plain = |word: &str| field.words.contains(&word.to_ascii_lowercase().as_str());
        let foreign = part.split([',', '-', '/']).find_map(|item| {
            if plain(item) {
                return None;
            }
            item.chars().find(|c| matches!(c, '?' | '#' | 'L' | 'W'))
        });
        if let Some(sign) = foreign {
            return Err(format!(
                "`{sign}` in the {} is another dialect's; crontab(5) has numbers, names, `*`, `,`, `-` and `/`",
                field.name
            ));
        }
    }
    Ok(())
}

fn field_set(part: &str, field: &Field) -> Result<u64, String> {
    let mut set = 0;
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
            (number(first, field)?, number(last, field)?)
        } else {
            let first = number(range, field)?;
            (first, if step.is_some() { field.max } else { first })
        };
        if first > last {
            return Err(format!(
                "the range `{range}` of the {} runs backwards; write two ranges with a comma",
                field.name
            ));
        }
        for value in (first..=last).step_by(step.unwrap_or(1) as usize) {
            set |= 1 << value;
        }
    }
    Ok(set)
}

fn number(text: &str, field: &Field) -> Result<u32, String> {
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
    fn expressions_are_judged_field_by_field() {
        for good in [
            "0 6 * * 1-5",
            "*/15 * * * *",
            "15/20 * * * *",
            "0 0 1,15 * mon",
            "5-59/10 0 29 feb *",
            "0 0 * jan-Mar SUN-Sat",
            "0 0 * * 7",
            "0 0 30 2 mon",
            "@hourly",
            "@Midnight",
            "@annually",
        ] {
            assert!(Cron::parse(good).is_ok(), "{good}: {:?}", Cron::parse(good));
        }
        for (bad, part) in [
            ("0 6 * *", "there are 4"),
            ("0 0 6 * * *", "without seconds"),
            ("60 * * * *", "minute `60`"),
            ("0 24 * * *", "hour `24`"),
            ("0 0 0 * *", "day of month `0`"),
            ("0 0 30 2 *", "never run"),
            ("0 0 30 2 */2", "never run"),
            ("0 0 31 4,6,9,11 *", "never run"),
            ("0 0 * * fri-mon", "backwards"),
            ("*/0 * * * *", "step"),
            ("@every 1h", "every: 1h"),
            ("@reboot", "rowcast run"),
            ("@fortnightly", "@weekly"),
            ("0 0 L * *", "`L` in the day of month"),
            ("0 0 15W * *", "`W` in the day of month"),
            ("0 0 * * mon#2", "`#` in the day of week"),
            ("0 0 ? * 1", "`?` in the day of month"),
            ("TZ=UTC 0 0 * * *", "timezone: UTC"),
            ("+1 * * * *", "minute `+1`"),
            ("1, * * * *", "minute ``"),
        ] {
            let hint = Cron::parse(bad).unwrap_err();
            assert!(hint.contains(part), "{bad}: {hint}");
        }
    }

    #[test]
    fn seven_is_sunday() {
        assert_eq!(
            Cron::parse("0 0 * * 7").unwrap().weekdays,
            Cron::parse("0 0 * * sun").unwrap().weekdays
        );
    }

    #[test]
    fn the_smallest_gap_is_found_over_days_and_years() {
        for (text, minutes) in [
            ("* * * * *", 1),
            ("0,14 0 * * *", 14),
            ("58 23 * * *", 1_440),
            ("0,58 0,23 * * *", 2),
            ("0 0,23 * * *", 60),
            ("0 0 1,15 * *", 14 * 1_440),
            ("0 0 1 * *", 28 * 1_440),
            ("0 0 1,31 * *", 1_440),
            ("0 0 29 2 *", 1_461 * 1_440),
            ("0 0 * * mon", 7 * 1_440),
            ("0 0 1 1 *", 365 * 1_440),
        ] {
            let gap = Cron::parse(text).unwrap().smallest_gap();
            assert_eq!(gap, Duration::from_secs(minutes * 60), "{text}");
        }
    }
}
