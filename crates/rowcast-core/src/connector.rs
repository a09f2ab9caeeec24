//! From a connector's description to a destination: its settings are checked against what it says
//! of itself, every problem at once, then it is built.
//!
//! The descriptor is the one description: a setting that is not in it does not exist. Messages here
//! may name settings but never show their values, because a value may be secret.

use std::sync::Arc;

use crate::descriptor::{Setting, SettingKind};
use crate::settings::{parse_duration, parse_size};
use crate::{Code, Descriptor, Destination, DestinationConfig, Reason, SettingValue};

/// Makes a destination of settings that fit the description; what only the connector can know of
/// them goes to the problems, and `None` comes back.
pub type Build = fn(&DestinationConfig, &mut Problems) -> Option<Arc<dyn Destination>>;

/// A connector as a table of connectors holds it.
#[derive(Debug, Clone, Copy)]
pub struct Connector {
    /// What it says of itself.
    pub describe: fn() -> Descriptor,
    pub build: Build,
}

impl Connector {
    /// Builds a destination for one sync.
    ///
    /// # Errors
    /// Every problem found, each with the path of the setting: `settings.…` for the destination's
    /// file, `request.…` for the sync's, or the engine's own key (`allow_addresses`, `batch`).
    pub fn build(
        &self,
        config: &DestinationConfig,
    ) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
        let descriptor = (self.describe)();
        let destination = self.assemble(&descriptor, config)?;
        let offered = &destination.capabilities().operations;
        let missing: Vec<SettingProblem> = config
            .mode
            .operations()
            .into_iter()
            .filter(|operation| !offered.contains(operation))
            .map(|operation| SettingProblem {
                path: format!("request.{operation}"),
                reason: Reason::new(
                    Code::UnsupportedMode,
                    format!(
                        "mode {} needs the operation {operation}, which destination {} can't do as configured",
                        config.mode.as_str(),
                        config.name
                    ),
                )
                .hint(if descriptor.request.is_empty() {
                    "choose another mode".to_owned()
                } else {
                    format!("add request.{operation} to the sync, or choose another mode")
                }),
            })
            .collect();
        if missing.is_empty() {
            Ok(destination)
        } else {
            Err(missing)
        }
    }

    /// Builds a destination without a sync, for `check` and `discover`: what only a sync could
    /// bring (`request:`, `object:`, the mode) is not asked for.
    ///
    /// # Errors
    /// As `build`.
    pub fn build_for_check(
        &self,
        mut config: DestinationConfig,
    ) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
        config.request = SettingValue::Null;
        let mut descriptor = (self.describe)();
        descriptor.object_required = false;
        self.assemble(&descriptor, &config)
    }

    fn assemble(
        &self,
        descriptor: &Descriptor,
        config: &DestinationConfig,
    ) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
        let mut problems = Problems::default();
        problems.check_config(descriptor, config);
        if !problems.is_empty() {
            return Err(problems.into_vec());
        }
        match (self.build)(config, &mut problems) {
            Some(destination) if problems.is_empty() => Ok(destination),
            _ if problems.is_empty() => Err(vec![SettingProblem {
                path: "settings".into(),
                reason: Reason::defect(format!(
                    "connector {} gave up without saying why",
                    descriptor.name
                )),
            }]),
            _ => Err(problems.into_vec()),
        }
    }
}

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// Dotted path from the file's top: `settings.auth.bearer`, `request.upsert.put`.
    pub path: String,
    pub reason: Reason,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<SettingProblem>);

impl Problems {
    /// Notes a wrong setting and the way out.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>, hint: &str) {
        let path = path.into();
        let reason = Reason::new(Code::InvalidSetting, format!("{path}: {}", message.into()));
        self.0.push(SettingProblem {
            path,
            reason: reason.hint(hint),
        });
    }

    /// Notes a problem that has a reason of its own.
    pub fn push(&mut self, path: impl Into<String>, reason: Reason) {
        self.0.push(SettingProblem {
            path: path.into(),
            reason,
        });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order they were found.
    pub fn into_vec(self) -> Vec<SettingProblem> {
        self.0
    }

    /// Checks what a sync and its destination say against a connector's description.
    pub fn check_config(&mut self, descriptor: &Descriptor, config: &DestinationConfig) {
        self.check_members(&descriptor.settings, &config.settings, "settings");
        if descriptor.request.is_empty() && config.request != SettingValue::Null {
            self.add(
                "request",
                format!("connector {} takes no request", descriptor.name),
                "remove request: from the sync",
            );
        } else {
            self.check_members(&descriptor.request, &config.request, "request");
        }
        if descriptor.object_required && config.object.is_empty() {
            self.add(
                "object",
                format!("connector {} needs an object", descriptor.name),
                &format!("add `object:` to the sync: {}", descriptor.object_help),
            );
        }
    }

    /// Checks a mapping against the settings it may have.
    pub fn check_members(&mut self, settings: &[Setting], value: &SettingValue, path: &str) {
        let members = match value {
            SettingValue::Null => &[],
            SettingValue::Map(members) => members.as_slice(),
            _ => return self.wrong(path, "a mapping"),
        };
        for (name, value) in members {
            let path = format!("{path}.{name}");
            match settings.iter().find(|setting| setting.name == name) {
                Some(setting) => self.check(&setting.kind, value, &path),
                None => {
                    let known: Vec<_> = settings.iter().map(|setting| setting.name).collect();
                    self.add(
                        path,
                        "this setting does not exist",
                        &format!("the settings here are {}", known.join(", ")),
                    );
                }
            }
        }
        for setting in settings.iter().filter(|setting| setting.required) {
            if !members.iter().any(|(name, _)| name == setting.name) {
                let path = format!("{path}.{}", setting.name);
                self.add(path, "this setting is required", setting.help);
            }
        }
    }

    /// Checks a whole document against its keys.
    pub fn check_tree(&mut self, keys: &[Setting], tree: &SettingValue) {
        let mut found = Self::default();
        found.check_members(keys, tree, "");
        self.0.extend(found.0.into_iter().map(|mut problem| {
            let path = problem.path.trim_start_matches('.').to_owned();
            problem.reason.message = problem.reason.message.replace(&problem.path, &path);
            problem.path = path;
            problem
        }));
    }

    fn check(&mut self, kind: &SettingKind, value: &SettingValue, path: &str) {
        match kind {
            SettingKind::Text | SettingKind::Secret => {
                if value.as_secret().is_none() {
                    self.wrong(path, "text");
                }
            }
            SettingKind::Integer => {
                if value.as_u64().is_none() {
                    self.wrong(path, "a whole number");
                }
            }
            SettingKind::Boolean => {
                if value.as_bool().is_none() {
                    self.wrong(path, "true or false");
                }
            }
            SettingKind::Choice(words) => {
                if !value.as_text().is_some_and(|text| words.contains(&text)) {
                    self.wrong(path, &format!("one of {}", words.join(", ")));
                }
            }
            SettingKind::Duration => {
                if value.as_text().and_then(parse_duration).is_none() {
                    self.wrong(path, "a duration such as 30s or 10m");
                }
            }
            SettingKind::Size => {
                if value.as_text().and_then(parse_size).is_none() {
                    self.wrong(path, "a size such as 500KB or 1MB");
                }
            }
            SettingKind::Group(members) => self.check_members(members, value, path),
            SettingKind::OneOf(members) => {
                self.check_members(members, value, path);
                if matches!(value, SettingValue::Map(given) if given.len() != 1) {
                    let names: Vec<_> = members.iter().map(|member| member.name).collect();
                    self.wrong(path, &format!("exactly one of {}", names.join(", ")));
                }
            }
            SettingKind::TextList => {
                let texts = matches!(value, SettingValue::List(items)
                    if items.iter().all(|item| item.as_text().is_some()));
                if !texts {
                    self.wrong(path, "a list of text");
                }
            }
            SettingKind::List(kind) => match value {
                SettingValue::List(items) => {
                    for (position, item) in items.iter().enumerate() {
                        self.check(kind, item, &format!("{path}[{position}]"));
                    }
                }
                _ => self.wrong(path, "a list"),
            },
            SettingKind::Map(kind) => match value {
                SettingValue::Map(members) => {
                    for (name, value) in members {
                        self.check(kind, value, &format!("{path}.{name}"));
                    }
                }
                _ => self.wrong(path, "a mapping"),
            },
            SettingKind::Tree => {}
            SettingKind::Either(kinds) => self.check_either(kinds, value, path),
        }
    }

    /// The form whose shape fits says what is wrong; when none fits, all are named.
    fn check_either(&mut self, kinds: &[SettingKind], value: &SettingValue, path: &str) {
        let is_map = matches!(value, SettingValue::Map(_));
        let mut first: Option<Problems> = None;
        for kind in kinds {
            let mut attempt = Problems::default();
            attempt.check(kind, value, path);
            if attempt.is_empty() {
                return;
            }
            let structured = matches!(
                kind,
                SettingKind::Group(_) | SettingKind::OneOf(_) | SettingKind::Map(_)
            );
            if structured == is_map {
                first.get_or_insert(attempt);
            }
        }
        match first {
            Some(attempt) => self.0.extend(attempt.0),
            None => {
                let forms: Vec<_> = kinds.iter().map(describe).collect();
                self.wrong(path, &forms.join(", or "));
            }
        }
    }

    fn wrong(&mut self, path: &str, expected: &str) {
        self.add(
            path,
            format!("expected {expected}"),
            "see the connector's page",
        );
    }
}

/// A kind in words, for messages and the reference page.
pub fn describe(kind: &SettingKind) -> String {
    match kind {
        SettingKind::Text => "text".into(),
        SettingKind::Secret => "secret".into(),
        SettingKind::Integer => "whole number".into(),
        SettingKind::Boolean => "true or false".into(),
        SettingKind::Choice(words) => words.join(" or "),
        SettingKind::Duration => "duration".into(),
        SettingKind::Size => "size".into(),
        SettingKind::Group(_) => "mapping".into(),
        SettingKind::OneOf(members) => {
            let names: Vec<_> = members.iter().map(|member| member.name).collect();
            format!("exactly one of {}", names.join(", "))
        }
        SettingKind::TextList => "list of text".into(),
        SettingKind::List(kind) => format!("list of {}", describe(kind)),
        SettingKind::Map(kind) => format!("names to {}", describe(kind)),
        SettingKind::Tree => "tree with templates".into(),
        SettingKind::Either(kinds) => {
            let forms: Vec<_> = kinds.iter().map(describe).collect();
            forms.join(" or ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once_and_no_value_is_shown() {
        let settings = [
            Setting::required("url", SettingKind::Text, "where to"),
            Setting::optional("format", SettingKind::Choice(&["a", "b"]), ""),
        ];
        let value = SettingValue::Map(vec![
            ("format".into(), SettingValue::Text("hunter2".into())),
            ("urll".into(), SettingValue::Text("hunter2".into())),
        ]);
        let mut problems = Problems::default();
        problems.check_members(&settings, &value, "settings");
        let problems = problems.into_vec();
        let paths: Vec<_> = problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["settings.format", "settings.urll", "settings.url"]);
        assert!(!format!("{problems:?}").contains("hunter2"));
    }
}
