//! The reader of manifests: what the vocabulary can't say about a tree, every problem at once.

use rowcast_core::mapping::template::Template;
use rowcast_core::settings::parse_duration;
use rowcast_core::{Code, Name, Reason, SettingValue};

use super::scope::NAMES;
use crate::http::answer::{Meaning, Rule};
use crate::http::outcomes::{dotted, texts};
use crate::settings::Problems;

/// Reads with the names of the settings at hand.
pub(super) struct Reader<'a> {
    pub(super) settings: &'a [String],
    pub(super) problems: &'a mut Problems,
}

impl Reader<'_> {
    /// Notes what is wrong at a path.
    pub(super) fn wrong(&mut self, path: &str, message: &str, hint: &str) {
        self.problems.add(path, message, hint);
    }

    /// Compiles one text.
    pub(super) fn template(&mut self, text: &str, path: &str) -> Option<Template> {
        self.settings_named_in(text, path);
        match Template::compile(text) {
            Ok(template) => {
                self.known(template.columns(), path);
                Some(template)
            }
            Err(reason) => {
                self.problems.push(path, placed(reason, path));
                None
            }
        }
    }

    /// Refuses names that templates do not have.
    pub(super) fn known(&mut self, names: &[Name], path: &str) {
        if let Some(name) = names.iter().find(|name| !NAMES.contains(&&***name)) {
            self.problems.add(
                path,
                format!("{name} is not known in a template"),
                &format!("a template knows {}", NAMES.join(", ")),
            );
        }
    }

    /// Refuses settings that the manifest does not declare.
    pub(super) fn settings_named_in(&mut self, text: &str, path: &str) {
        for rest in text.split("settings.").skip(1) {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let name = &rest[..end];
            if !self.settings.iter().any(|known| known == name) {
                self.problems.add(
                    path,
                    format!("there is no setting {name}"),
                    "declare it under settings:",
                );
            }
        }
    }

    /// The same for every text of a tree.
    pub(super) fn settings_named_below(&mut self, tree: &SettingValue, path: &str) {
        match tree {
            SettingValue::Text(text) => self.settings_named_in(text, path),
            SettingValue::List(items) => {
                for item in items {
                    self.settings_named_below(item, path);
                }
            }
            SettingValue::Map(members) => {
                for (_, value) in members {
                    self.settings_named_below(value, path);
                }
            }
            _ => {}
        }
    }

    /// `answers:`, whose shape has been checked.
    pub(super) fn rules(&mut self, value: Option<&SettingValue>, path: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (position, item) in value
            .map_or(&[][..], SettingValue::items)
            .iter()
            .enumerate()
        {
            let when = item.get("when");
            let rule = Rule {
                statuses: statuses(item.get("status")),
                contains: item
                    .get("contains")
                    .and_then(SettingValue::as_text)
                    .map(str::to_owned),
                member: when.map(|when| {
                    let values = when.get("in").map(texts).unwrap_or_default();
                    (dotted(when.get("path")), values)
                }),
                then: match item.get("then").and_then(SettingValue::as_text) {
                    Some("delivered") => Meaning::Delivered,
                    Some("not_found") => Meaning::NotFound,
                    Some("already_exists") => Meaning::AlreadyExists,
                    Some("transient") => Meaning::Transient,
                    Some("fatal") => Meaning::Fatal,
                    _ => Meaning::Rejected,
                },
                after: item
                    .get("after")
                    .and_then(SettingValue::as_text)
                    .and_then(parse_duration),
                message: dotted(item.get("message")),
            };
            if rule.statuses.is_empty() && rule.contains.is_none() && rule.member.is_none() {
                self.wrong(
                    &format!("{path}[{position}]"),
                    "this rule fits every answer",
                    "add status, contains or when",
                );
            }
            rules.push(rule);
        }
        rules
    }
}

/// A list of statuses.
pub(super) fn statuses(value: Option<&SettingValue>) -> Vec<u16> {
    value
        .map_or(&[][..], SettingValue::items)
        .iter()
        .filter_map(|item| item.as_text()?.parse().ok())
        .collect()
}

/// A reason that says where.
pub(super) fn placed(mut reason: Reason, path: &str) -> Reason {
    if reason.code == Code::ExpressionInvalid || reason.code == Code::InvalidSetting {
        reason.message = format!("{path}: {}", reason.message);
    }
    reason
}
