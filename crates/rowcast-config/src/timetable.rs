//! `schedule:` of a sync, from the tree to its forms: which keys belong together.

use std::time::Duration;

use jiff::tz::TimeZone;
use rowcast_core::Code;
use rowcast_core::schedule::{AfterWhen, Cron, EVERY_MIN, Overlap, Schedule, Trigger};

use crate::problem::reason;
use crate::schedule::{DAYS, time_of_day, time_zone};
use crate::tree::{Entry, Node, Yaml};
use crate::walk::Walker;

pub(crate) fn schedules(node: &Node, walker: &mut Walker<'_>) -> Vec<Schedule> {
    match &node.yaml {
        Yaml::Map(_) => schedule(node, walker).into_iter().collect(),
        Yaml::List(items) => items
            .iter()
            .filter(|item| matches!(item.yaml, Yaml::Map(_)))
            .filter_map(|item| schedule(item, walker))
            .collect(),
        _ => Vec::new(),
    }
}

fn schedule(node: &Node, walker: &mut Walker<'_>) -> Option<Schedule> {
    let present = |key: &str| node.entry(key).filter(|entry| !entry.value.is_null());
    let forms: Vec<&Entry> = ["every", "cron", "days", "after", "dbt"]
        .iter()
        .filter_map(|key| present(key))
        .collect();
    let [form] = forms[..] else {
        if let [first, second, ..] = forms[..] {
            let message = format!(
                "a schedule of {} has both `{}` and `{}`",
                walker.subject, first.key, second.key
            );
            walker.note(
                reason(Code::Exclusive, message)
                    .hint("write a list with one form each: `- { every: 1h }`"),
                &second.key_at,
            );
        } else {
            let message = format!("a schedule of {} does not say when", walker.subject);
            walker.note(
                reason(Code::InvalidSchedule, message)
                    .hint("add one of every, cron, days, after or dbt: `{ every: 15m }`"),
                &node.at,
            );
        }
        return None;
    };
    let takes: &[&str] = match form.key.as_str() {
        "every" | "days" => &["at", "timezone", "overlap", "catch_up", "jitter"],
        "cron" => &["timezone", "overlap", "catch_up", "jitter"],
        "after" => &["when", "overlap"],
        _ => &["overlap"],
    };
    for key in ["at", "when", "timezone", "catch_up", "jitter"] {
        if let Some(entry) = present(key)
            && !takes.contains(&key)
        {
            let message = format!(
                "a schedule of {} has `{key}`, which means nothing beside `{}`",
                walker.subject, form.key
            );
            walker.note(
                reason(Code::InvalidSchedule, message).hint(format!("remove `{key}`")),
                &entry.key_at,
            );
        }
    }
    let at = node.string("at").and_then(|text| time_of_day(&text));
    let trigger = match form.key.as_str() {
        "every" => {
            let every = node.duration("every")?;
            if every < EVERY_MIN {
                let message = format!("a schedule of {} runs too often", walker.subject);
                walker.note(
                    reason(Code::InvalidSchedule, message).hint("write 10s or more"),
                    &form.value.at,
                );
            }
            Trigger::Every { every, at }
        }
        "cron" => Trigger::Cron(Cron::parse(&node.string("cron")?).ok()?),
        "days" => {
            let words = node.strings("days")?;
            let mut days = Vec::new();
            for (word, day) in DAYS {
                if words.iter().any(|w| w == word) {
                    days.push(day);
                }
            }
            if words.is_empty() {
                let message = format!("a schedule of {} names no days", walker.subject);
                walker.note(
                    reason(Code::InvalidSchedule, message).hint("write days such as [mon, thu]"),
                    &form.value.at,
                );
            }
            if present("at").is_none() {
                let message = format!("a schedule of {} has days but no time", walker.subject);
                walker.note(
                    reason(Code::InvalidSchedule, message)
                        .hint("add the time of day: `at: \"09:00\"`"),
                    &form.key_at,
                );
            }
            Trigger::Days { days, at: at? }
        }
        "after" => {
            let syncs = node.strings("after")?;
            if syncs.is_empty() {
                let message = format!("a schedule of {} follows no sync", walker.subject);
                walker.note(
                    reason(Code::InvalidSchedule, message)
                        .hint("name the syncs: `after: [orders]`"),
                    &form.value.at,
                );
            }
            Trigger::After {
                syncs,
                when: match node.word("when") {
                    Some("finished") => AfterWhen::Finished,
                    _ => AfterWhen::Succeeded,
                },
            }
        }
        _ => Trigger::Dbt {
            job: node.get("dbt")?.string("job")?,
        },
    };
    Some(Schedule {
        trigger,
        zone: node
            .string("timezone")
            .and_then(|name| time_zone(&name).ok())
            .unwrap_or(TimeZone::UTC),
        overlap: match node.word("overlap") {
            Some("queue") => Overlap::Queue,
            _ => Overlap::Skip,
        },
        catch_up: node.bool("catch_up").unwrap_or(true),
        jitter: node.duration("jitter").unwrap_or(Duration::ZERO),
    })
}
