//! A sync: what is sent where, in which mode, and the policies of its runs.

use rowcast_core::Kind::{Added, Removed, Updated};
use rowcast_core::alert::{Counter, Deviation, Rules};
use rowcast_core::guard::Guards;
use rowcast_core::segment::Trigger;
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{Code, Mode, Name, Selection, Value};

use crate::objects::exclusive;
use crate::problem::reason;
use crate::project::{Alerts, Refresh, RowLog, RunLimits, Sync};
use crate::segment;
use crate::timetable::schedules;
use crate::tree::{Entry, Node, Yaml};
use crate::walk::{Walker, percent};

/// Successful runs that a mean is made of without `runs:`.
const DEVIATION_RUNS: u32 = 10;

pub(crate) fn sync(name: &str, node: &Node, walker: &mut Walker<'_>) -> Sync {
    let (mapping, controls) = segment::mapping(node, walker);
    let mode = node.word("mode").and_then(Mode::parse).or(controls.mode);
    let mode = mode.unwrap_or_default();
    one_mapping(node, mode, walker);
    let event = event(node, mode, walker);
    let (on, trigger) = selection(node, mode, walker);
    let run = node.get("run");
    let retry = node.get("retry");
    let default = RetryPolicy::default();
    Sync {
        name: name.to_owned(),
        about: node.about(),
        was: node.string("was"),
        model: node.string("model").unwrap_or_default(),
        destination: node.string("destination").unwrap_or_default(),
        object: node.string("object"),
        mode,
        on,
        trigger,
        refresh: match node.word("refresh") {
            Some("full") => Refresh::Full,
            _ => Refresh::Incremental,
        },
        match_on: match controls.match_on {
            Some(pair) if node.get("match_on").is_none_or(Node::is_null) => vec![pair],
            _ => match_on(node, walker),
        },
        condition: node.string("where"),
        fields: node
            .get("fields")
            .filter(|node| matches!(node.yaml, Yaml::Map(_)))
            .map_or_else(|| Value::Object(Vec::new()), Node::value),
        mapping,
        event,
        batching: controls.batching,
        request: node
            .get("request")
            .map(|node| node.setting(None))
            .unwrap_or_default(),
        schedules: node
            .get("schedule")
            .map(|node| schedules(node, walker))
            .unwrap_or_default(),
        run: RunLimits {
            max_duration: run.and_then(|node| node.duration("max_duration")),
            max_records: run.and_then(|node| node.number("max_records")),
        },
        retry: RetryPolicy {
            runs: retry
                .and_then(|node| node.number("runs"))
                .unwrap_or(default.runs),
            within: retry
                .and_then(|node| node.duration("for"))
                .unwrap_or(default.within),
        },
        guards: node.get("guards").map(guards).unwrap_or_default(),
        alerts: node.get("alerts").map(alerts).unwrap_or_default(),
        log: match node.word("log") {
            Some("errors") => RowLog::Errors,
            Some("all") => RowLog::All,
            _ => RowLog::Auto,
        },
        keep_rows: node.word("keep") == Some("rows"),
        positions: node.positions(),
    }
}

/// Exactly one of `fields`, `mapping`, `event`.
fn one_mapping(node: &Node, mode: Mode, walker: &mut Walker<'_>) {
    let written: Vec<&Entry> = ["fields", "mapping", "event"]
        .iter()
        .filter_map(|key| node.entry(key))
        .filter(|entry| !entry.value.is_null())
        .collect();
    match written[..] {
        [] if mode != Mode::Delete => {
            let message = format!("{} has no `fields`", walker.subject);
            walker.note(
                reason(Code::MissingKey, message)
                    .hint("say which field gets which column: `fields: { email: email }`"),
                &node.at,
            );
        }
        [first, second, ..] => {
            let other = first.key.clone();
            exclusive(walker, second, &other);
        }
        [only]
            if only.key == "fields"
                && matches!(&only.value.yaml, Yaml::Map(m) if m.is_empty())
                && mode != Mode::Delete =>
        {
            let message = format!("`fields` of {} is empty", walker.subject);
            walker.note(
                reason(Code::MissingKey, message)
                    .hint("say which field gets which column: `fields: { email: email }`"),
                &only.key_at,
            );
        }
        _ => {}
    }
}

/// `event:` as it is written. An event brings its own type, and nothing takes one back.
fn event(node: &Node, mode: Mode, walker: &mut Walker<'_>) -> Option<Value> {
    let entry = node.entry("event").filter(|entry| !entry.value.is_null())?;
    if let Some(object) = node.entry("object").filter(|entry| !entry.value.is_null()) {
        let message = format!("{} has both `event` and `object`", walker.subject);
        walker.note(
            reason(Code::Exclusive, message)
                .hint("remove `object`: the event's own `type` says what it is"),
            &object.key_at,
        );
    }
    if mode == Mode::Mirror {
        let at = node
            .entry("mode")
            .map_or(&entry.key_at, |entry| &entry.value.at);
        let message = format!(
            "{} asks for mode {mode}, which events do not support",
            walker.subject
        );
        walker.note(
            reason(Code::UnsupportedMode, message)
                .detail("what was told once can't be taken back: there is no event that deletes")
                .hint("possible here: upsert, update, insert, or delete for an event about each removed row; `connector: rudderstack` with `mapper: record` mirrors"),
            at,
        );
    }
    Some(entry.value.value())
}

fn selection(node: &Node, mode: Mode, walker: &mut Walker<'_>) -> (Selection, Option<Trigger>) {
    let Some(on) = node.get("on").filter(|on| !on.is_null()) else {
        return (Selection::default(), None);
    };
    if let Some(scalar) = on.scalar() {
        let trigger = segment::trigger(on, scalar, walker);
        let may = |kind| {
            trigger
                .as_ref()
                .is_none_or(|trigger| trigger.may_pass(kind))
        };
        let selection = Selection {
            added: may(Added),
            updated: may(Updated),
            removed: may(Removed),
        };
        if !sends(selection, mode) {
            never(on, selection, mode, walker);
        }
        return (selection, trigger);
    }
    let words = node.strings("on").unwrap_or_default();
    let has = |word: &str| words.iter().any(|w| w == word);
    let selection = Selection {
        added: has("added"),
        updated: has("updated"),
        // The word of other tools is understood too.
        removed: has("removed") || has("deleted"),
    };
    if !sends(selection, mode)
        && on
            .items()
            .iter()
            .all(|item| item.text().is_some_and(is_change))
    {
        never(on, selection, mode, walker);
    }
    (selection, None)
}

fn sends(selection: Selection, mode: Mode) -> bool {
    [Added, Updated, Removed]
        .into_iter()
        .any(|kind| selection.includes(kind) && mode.operation(kind).is_some())
}

fn never(on: &Node, selection: Selection, mode: Mode, walker: &mut Walker<'_>) {
    let nothing = Selection {
        added: false,
        updated: false,
        removed: false,
    };
    let detail = if selection == nothing && on.scalar().is_some() {
        "a row is an event of type \"track\" called \"new\", \"updated\" or \"deleted\", and the trigger \
         lets none of them through"
            .to_owned()
    } else {
        format!("mode {mode} skips every change that `on` lets through")
    };
    let message = format!("{} would never send anything", walker.subject);
    walker.note(
        reason(Code::Exclusive, message)
            .detail(detail)
            .hint("change `mode` or `on`"),
        &on.at,
    );
}

fn is_change(word: &str) -> bool {
    matches!(word, "added" | "updated" | "removed" | "deleted")
}

fn match_on(node: &Node, walker: &mut Walker<'_>) -> Vec<(Name, Name)> {
    let Some(match_on) = node.get("match_on") else {
        return Vec::new();
    };
    if matches!(&match_on.yaml, Yaml::Map(entries) if entries.is_empty()) {
        let message = format!("`match_on` of {} is empty", walker.subject);
        walker.note(
            reason(Code::WrongType, message)
                .hint("name the field and the column, `{ email: email }`, or remove the key to match by the primary key"),
            &match_on.at,
        );
    }
    let pair = |entry: &Entry| {
        let column = entry.value.text()?;
        Some((entry.key.as_str().into(), column.into()))
    };
    match_on.entries().iter().filter_map(pair).collect()
}

fn guards(node: &Node) -> Guards {
    let default = Guards::default();
    let percent_of = |key: &str| node.get(key)?.text().and_then(percent);
    Guards {
        removed_percent: percent_of("removed").unwrap_or(default.removed_percent),
        changed_percent: percent_of("changed").unwrap_or(default.changed_percent),
        calls: node.number("calls"),
    }
}

fn alerts(node: &Node) -> Alerts {
    let default = Rules::default();
    let yes = |key: &str, default| node.bool(key).unwrap_or(default);
    let percent_of = |node: &Node, key: &str| node.get(key).and_then(Node::text).and_then(percent);
    let deviation = node.get("deviation").and_then(|node| {
        Some(Deviation {
            percent: percent_of(node, "over")?,
            runs: node.number("runs").unwrap_or(DEVIATION_RUNS),
            of: node.word("of").and_then(Counter::parse).unwrap_or_default(),
        })
    });
    Alerts {
        rules: Rules {
            failed: yes("failed", default.failed),
            held: yes("held", default.held),
            rejected_percent: percent_of(node, "rejected"),
            late: node.duration("late"),
            runtime: node.duration("runtime"),
            deviation,
            full: yes("full", default.full),
            remind: match node.word("remind") {
                None => default.remind,
                // `never` is no duration.
                Some(_) => node.duration("remind"),
            },
            recovery: yes("recovery", default.recovery),
        },
        to: node.strings("to").unwrap_or_default(),
    }
}
