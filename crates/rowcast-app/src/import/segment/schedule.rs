//! Segment's schedules in ours.

use rowcast_config::render::Part;
use serde_json::Value;

use super::super::draft::{Page, map};
use super::objects::{self, Schedule};

/// Segment counts from Sunday.
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Writes `schedule:`; what has no counterpart is said, never approximated.
pub(super) fn put(page: &mut Page, schedule: Option<&Schedule>) {
    let Some(schedule) = schedule else { return };
    let config = &schedule.config;
    let read = match schedule.strategy.as_str() {
        "MANUAL" => return,
        "PERIODIC" => objects::text(config, &["interval"])
            .filter(|interval| duration(interval))
            .map(|interval| map([("every", Part::Word(interval))])),
        "CRON" => objects::text(config, &["spec"]).map(|spec| {
            let mut members = vec![("cron".to_owned(), Part::text(spec))];
            members.extend(zone(config));
            Part::Map(members)
        }),
        "SPECIFIC_DAYS" => days(config),
        "DBT_CLOUD" => objects::text(config, &["jobId", "job_id"]).map(|job| {
            page.differs("its account in dbt Cloud is not part of the schedule");
            map([("dbt", map([("job", Part::text(job))]))])
        }),
        _ => None,
    };
    match read {
        Some(read) => page.put("schedule", read),
        None => page.differs(format!(
            "its schedule {} {config} has no counterpart: it runs when you run it",
            schedule.strategy
        )),
    }
}

fn zone(config: &Value) -> Option<(String, Part)> {
    let zone = objects::text(config, &["timezone", "timeZone"])?;
    Some(("timezone".to_owned(), Part::text(zone)))
}

/// `15m`, `2h`, `1d`.
fn duration(text: &str) -> bool {
    let digits = text.trim_end_matches(['m', 'h', 'd']);
    digits.len() + 1 == text.len()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.is_empty()
}

/// Days and full hours: one hour is a time of day, several are a cron expression.
fn days(config: &Value) -> Option<Part> {
    let numbers = |key: &str| -> Option<Vec<u64>> {
        config
            .get(key)?
            .as_array()?
            .iter()
            .map(Value::as_u64)
            .collect()
    };
    let (days, hours) = (numbers("days")?, numbers("hours")?);
    if days.is_empty()
        || hours.is_empty()
        || days.iter().any(|day| *day > 6)
        || hours.iter().any(|hour| *hour > 23)
    {
        return None;
    }
    let mut members = match hours[..] {
        [hour] => vec![
            (
                "days".to_owned(),
                Part::List(
                    days.iter()
                        .map(|day| Part::word(DAYS[*day as usize]))
                        .collect(),
                ),
            ),
            ("at".to_owned(), Part::text(format!("{hour:02}:00"))),
        ],
        _ => {
            let listed = |numbers: &[u64]| {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                numbers.join(",")
            };
            vec![(
                "cron".to_owned(),
                Part::text(format!("0 {} * * {}", listed(&hours), listed(&days))),
            )]
        }
    };
    members.extend(zone(config));
    Some(Part::Map(members))
}
