//! The strict walker: holds a tree against its description and notes everything that does not fit.
//!
//! It only looks; the typed documents are read from the same tree afterwards, with defaults where
//! something did not fit, so that one mistake never hides another.

use rowcast_core::host_key::{self, is_host_key};
use rowcast_core::schedule::Cron;
use rowcast_core::settings::{parse_duration, parse_size};
use rowcast_core::{Code, Reason};

use crate::documents;
use crate::problem::{Location, Problem, reason};
use crate::schedule;
use crate::shape::{Key, Kind, Shape, describe, list_words};
use crate::tree::{Node, Scalar, Yaml};

/// Walks one document.
pub(crate) struct Walker<'a> {
    pub(crate) problems: &'a mut Vec<Problem>,
    /// Values of credentials, to be masked in every message.
    pub(crate) secrets: &'a mut Vec<String>,
    /// `syncs/customers.yml` belongs to `sync "customers"`: how messages name the document.
    pub(crate) subject: String,
    /// The code of a value that does not fit: settings of connectors have their own.
    pub(crate) wrong: Code,
}

impl Walker<'_> {
    pub(crate) fn check(&mut self, node: &Node, shape: &Shape, path: &str) {
        match shape {
            Shape::Group(keys) => self.group(node, keys, shape, path),
            Shape::OneOf(keys) => self.one_of(node, keys, shape, path),
            Shape::Map(value) => match &node.yaml {
                Yaml::Map(entries) => {
                    for entry in entries {
                        self.check(&entry.value, value, &join(path, &entry.key));
                    }
                }
                _ => self.wrong(node, shape, path),
            },
            Shape::List(item) => match &node.yaml {
                Yaml::List(items) => {
                    for (i, node) in items.iter().enumerate() {
                        self.check(node, item, &format!("{path}[{i}]"));
                    }
                }
                _ => self.wrong(node, shape, path),
            },
            Shape::Tree => {}
            Shape::ClearTree => self.clear(node, path),
            Shape::Either(shapes) => self.either(node, shapes, shape, path),
            _ => self.scalar(node, shape, path),
        }
    }

    /// Checks the keys of a mapping: unknown ones, missing ones, and every value.
    pub(crate) fn group(&mut self, node: &Node, keys: &[Key], shape: &Shape, path: &str) {
        if !matches!(node.yaml, Yaml::Map(_)) {
            self.wrong(node, shape, path);
            return;
        }
        self.known(node, keys, path);
        for key in keys.iter().filter(|key| key.required) {
            if node.get(key.name).is_none_or(Node::is_null) {
                self.missing(&node.at, key, path);
            }
        }
    }

    /// Checks unknown keys and the values of the known ones.
    pub(crate) fn known(&mut self, node: &Node, keys: &[Key], path: &str) {
        for entry in node.entries() {
            let Some(key) = keys.iter().find(|key| key.name == entry.key) else {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                self.unknown_key(&entry.key, &entry.key_at, &names, path);
                continue;
            };
            if entry.value.is_null() {
                // `key:` with nothing after it: as if it were not there, unless it is required.
                continue;
            }
            self.check(&entry.value, &key.shape, &join(path, key.name));
        }
    }

    pub(crate) fn missing(&mut self, at: &Location, key: &Key, path: &str) {
        let message = if path.is_empty() {
            format!("{} has no `{}`", self.subject, key.name)
        } else {
            format!("`{path}` of {} has no `{}`", self.subject, key.name)
        };
        let hint = match key.example {
            Some(example) => format!("add `{}: {example}` ({})", key.name, lower(key.help)),
            None => {
                let value = describe(&key.shape);
                format!("add `{}:` with {value} ({})", key.name, lower(key.help))
            }
        };
        let code = if self.wrong == Code::InvalidSetting {
            self.wrong
        } else {
            Code::MissingKey
        };
        self.note(reason(code, message).hint(hint), at);
    }

    pub(crate) fn unknown_key(&mut self, key: &str, at: &Location, known: &[&str], path: &str) {
        let place = if path.is_empty() {
            self.subject.clone()
        } else {
            format!("`{path}` of {}", self.subject)
        };
        let message = format!("{place} has an unknown key `{key}`");
        let hint = match suggest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if path == "settings" && of_destination(key) => {
                format!("`{key}` stands beside `settings`, not under it")
            }
            None if known.is_empty() => "remove it: no keys are known here".into(),
            None => format!("known here: {}", list_words(known, "and")),
        };
        self.note(reason(Code::UnknownKey, message).hint(hint), at);
    }

    fn one_of(&mut self, node: &Node, keys: &[Key], shape: &Shape, path: &str) {
        if !matches!(node.yaml, Yaml::Map(_)) {
            self.wrong(node, shape, path);
            return;
        }
        // Here a key with nothing after it counts: `none:` chooses.
        for entry in node.entries() {
            let key_path = join(path, &entry.key);
            match keys.iter().find(|key| key.name == entry.key) {
                Some(key) if entry.value.is_null() => {
                    if let Shape::Group(members) = &key.shape
                        && members.iter().all(|member| !member.required)
                    {
                        continue;
                    }
                    self.wrong(&entry.value, &key.shape, &key_path);
                }
                Some(key) => self.check(&entry.value, &key.shape, &key_path),
                None => {
                    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                    self.unknown_key(&entry.key, &entry.key_at, &names, path);
                }
            }
        }
        let known: Vec<_> = node
            .entries()
            .iter()
            .filter(|entry| keys.iter().any(|key| key.name == entry.key))
            .collect();
        if let [first, second, ..] = known[..] {
            let message = format!(
                "`{path}` of {} has both `{}` and `{}`",
                self.subject, first.key, second.key
            );
            self.note(
                reason(Code::Exclusive, message).hint("keep exactly one of them"),
                &second.key_at,
            );
        } else if node.entries().is_empty() {
            self.wrong(node, shape, path);
        }
    }

    fn either(&mut self, node: &Node, shapes: &[Shape], whole: &Shape, path: &str) {
        let fitting: Vec<&Shape> = shapes.iter().filter(|shape| fits(node, shape)).collect();
        if let [only] = fitting[..]
            && node.scalar().is_none()
        {
            self.check(node, only, path);
            return;
        }
        let mut clear = Vec::new();
        for shape in &fitting {
            let mut problems = Vec::new();
            Walker {
                problems: &mut problems,
                secrets: self.secrets,
                subject: self.subject.clone(),
                wrong: self.wrong,
            }
            .check(node, shape, path);
            if problems.is_empty() {
                return;
            }
            problems.retain(|problem| problem.reason.code == Code::SecretInClear);
            clear.append(&mut problems);
        }
        if !clear.is_empty() {
            self.problems.append(&mut clear);
            return;
        }
        // Of several scalar forms the words give the best advice.
        let words: Vec<&'static str> = fitting
            .iter()
            .filter_map(|shape| match shape {
                Shape::Choice(words) => Some(words.iter().copied()),
                _ => None,
            })
            .flatten()
            .collect();
        let near = node
            .text()
            .and_then(|text| suggest(text, words.iter().copied()));
        if let Some(near) = near {
            self.wrong_with(node, whole, path, format!("did you mean `{near}`?"));
        } else {
            self.wrong(node, whole, path);
        }
    }

    /// A tree without secrets.
    fn clear(&mut self, node: &Node, path: &str) {
        match &node.yaml {
            Yaml::Null => {}
            Yaml::Scalar(scalar) => {
                if scalar.secret {
                    self.secret_here(&node.at, path);
                }
            }
            Yaml::List(items) => items.iter().for_each(|node| self.clear(node, path)),
            Yaml::Map(entries) => entries
                .iter()
                .for_each(|entry| self.clear(&entry.value, &join(path, &entry.key))),
        }
    }

    fn secret_here(&mut self, at: &Location, path: &str) {
        let message = format!(
            "`{path}` of {} can't come from the environment or a file",
            self.subject
        );
        self.note(
            reason(Code::WrongType, message)
                .detail("what comes from there is a secret, and this value is shown in plans, logs and messages")
                .hint("use ${var:NAME} and set it under `variables:` of rowcast.yml or environments/NAME.yml"),
            at,
        );
    }

    fn scalar(&mut self, node: &Node, shape: &Shape, path: &str) {
        let Some(scalar) = node.scalar() else {
            self.wrong(node, shape, path);
            return;
        };
        let may_be_secret = matches!(
            shape,
            Shape::Text
                | Shape::Secret
                | Shape::Integer { .. }
                | Shape::Boolean
                | Shape::Choice(_)
                | Shape::Duration
                | Shape::Period
                | Shape::Size
                | Shape::Addresses
                | Shape::HostKey
        );
        if scalar.secret && !may_be_secret {
            self.secret_here(&node.at, path);
            return;
        }
        if scalar.unresolved {
            return;
        }
        if matches!(shape, Shape::Secret)
            && scalar.guarded
            && !scalar.secret
            && !names_no_password(&scalar.text)
        {
            self.secrets.push(scalar.text.clone());
            let message = format!("`{path}` of {} holds a secret in clear", self.subject);
            self.note(
                reason(Code::SecretInClear, message)
                    .detail("what comes over the API is stored in files, often in Git")
                    .hint("write a placeholder, `${env:NAME}` or `${file:PATH}`, and set it where the server runs"),
                &node.at,
            );
            return;
        }
        if matches!(shape, Shape::Secret)
            || scalar.secret && matches!(shape, Shape::Text | Shape::HostKey)
        {
            self.secrets.push(scalar.text.clone());
        }
        if let Err(wrong) = judge(scalar, shape) {
            match wrong {
                Some(hint) => self.wrong_with(node, shape, path, hint),
                None => self.wrong(node, shape, path),
            }
        }
    }

    fn wrong(&mut self, node: &Node, shape: &Shape, path: &str) {
        self.wrong_with(node, shape, path, format!("write {}", describe(shape)));
    }

    pub(crate) fn wrong_with(&mut self, node: &Node, shape: &Shape, path: &str, hint: String) {
        let place = if path.is_empty() {
            self.subject.clone()
        } else {
            format!("`{path}` of {}", self.subject)
        };
        let found = if matches!(shape, Shape::Secret) && node.scalar().is_some() {
            "something else".into()
        } else {
            node.found()
        };
        let message = format!("{place} is not {}", short(shape));
        let schedule = path.starts_with("schedule") || path.starts_with("defaults.syncs.schedule");
        let code = if schedule {
            Code::InvalidSchedule
        } else {
            self.wrong
        };
        self.note(
            reason(code, message)
                .detail(format!("found {found}"))
                .hint(hint),
            &node.at,
        );
    }

    pub(crate) fn note(&mut self, reason: Reason, at: &Location) {
        self.problems.push(Problem::at(reason, at));
    }
}

/// The shape in the fewest words, for "… is not …".
fn short(shape: &Shape) -> String {
    match shape {
        Shape::Group(_) | Shape::OneOf(_) | Shape::Map(_) => "a mapping".into(),
        Shape::Either(_) => "of a form that is known here".into(),
        Shape::Duration | Shape::Period => "a duration".into(),
        Shape::Size => "a size".into(),
        Shape::Percent => "a percentage".into(),
        Shape::TimeZone => "a time zone".into(),
        Shape::TimeOfDay => "a time of day".into(),
        Shape::Timestamp => "an instant".into(),
        Shape::Cron => "a cron expression".into(),
        Shape::Addresses => "an address range".into(),
        Shape::Choice(words) if words.len() > 2 => format!("one of {}", list_words(words, "or")),
        shape => describe(shape),
    }
}

fn lower(help: &str) -> String {
    let mut chars = help.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().collect::<String>() + chars.as_str())
        .unwrap_or_default()
}

/// Whether the kind of node (scalar, list, mapping) is that of the shape.
fn fits(node: &Node, shape: &Shape) -> bool {
    match (&node.yaml, shape) {
        (_, Shape::Tree | Shape::ClearTree | Shape::Either(_)) => true,
        (Yaml::Map(_), Shape::Group(_) | Shape::OneOf(_) | Shape::Map(_)) => true,
        (Yaml::List(_), Shape::List(_)) => true,
        (Yaml::Map(_) | Yaml::List(_) | Yaml::Null, _) => false,
        (Yaml::Scalar(_), Shape::Group(_) | Shape::OneOf(_) | Shape::Map(_) | Shape::List(_)) => {
            false
        }
        (Yaml::Scalar(_), _) => true,
    }
}

/// Judges a scalar; the error may hold a better hint than the shape's description.
fn judge(scalar: &Scalar, shape: &Shape) -> Result<(), Option<String>> {
    let text = scalar.text.as_str();
    let ok = match shape {
        Shape::Text | Shape::Plain | Shape::Secret | Shape::OwnName | Shape::Reference(_) => true,
        Shape::Integer { min, max } => {
            (scalar.plain || scalar.secret)
                && text
                    .parse::<u64>()
                    .is_ok_and(|number| (*min..=*max).contains(&number))
        }
        Shape::Boolean => {
            if scalar.as_bool().is_none() {
                return Err(match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" => Some("did you mean `true`?".into()),
                    "no" | "off" | "n" => Some("did you mean `false`?".into()),
                    "true" | "false" => Some(format!(
                        "write `{}` without quotes and in lower case",
                        text.to_ascii_lowercase()
                    )),
                    _ => None,
                });
            }
            true
        }
        Shape::Choice(words) => {
            if words.contains(&text) {
                return Ok(());
            }
            let near = suggest(text, words.iter().copied()).filter(|_| !scalar.secret);
            return Err(near.map(|near| format!("did you mean `{near}`?")));
        }
        Shape::Duration | Shape::Period => {
            if scalar.plain && text.parse::<u64>().is_ok() {
                return Err(Some(format!(
                    "add the unit: `{text}s` for seconds, `{text}m` for minutes"
                )));
            }
            let duration = parse_duration(text);
            if *shape == Shape::Period && duration.is_some_and(|duration| duration.is_zero()) {
                return Err(Some("write a duration above zero".into()));
            }
            duration.is_some()
        }
        Shape::Size => parse_size(text).is_some_and(|bytes| bytes > 0),
        Shape::Percent => return percent(text).map(|_| ()).ok_or(None),
        Shape::TimeZone => return schedule::time_zone(text).map(|_| ()).map_err(Some),
        Shape::TimeOfDay => return schedule::time_of_day(text).map(|_| ()).ok_or(None),
        Shape::Timestamp => text.parse::<jiff::Timestamp>().is_ok(),
        Shape::Cron => return Cron::parse(text).map(|_| ()).map_err(Some),
        Shape::Addresses => is_address_range(text),
        Shape::HostKey if !is_host_key(text) => return Err(Some(host_key::HINT.into())),
        _ => true,
    };
    if ok { Ok(()) } else { Err(None) }
}

/// Reads `10%`, `0.5 %`; a bare number is refused, because `10` might mean rows.
pub(crate) fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim_end();
    let plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let value: f64 = number.parse().ok().filter(|_| plain)?;
    (0.0..=100.0).contains(&value).then_some(value)
}

fn is_address_range(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

/// A connection string without a password is no secret.
fn names_no_password(text: &str) -> bool {
    let rest = ["postgresql://", "postgres://"]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| {
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        !user.contains(':') && !query.contains("password")
    })
}

/// The nearest known word, when it is near enough to be a typing mistake.
pub fn suggest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // Words far longer than any name of ours are no typing mistakes, and cost time to compare.
    const LONGEST: usize = 100;
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            let most = (candidate.chars().count().max(lower.chars().count()) / 3).max(1);
            *distance <= most
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether a destination has this key at the top of its file.
fn of_destination(key: &str) -> bool {
    let keys = documents::keys(Kind::Destination);
    keys.iter().any(|known| known.name == key)
}

/// A path below a path.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// What a message calls a document: `sync "customers"`.
pub(crate) fn subject(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Project => "rowcast.yml".into(),
        kind => format!("{} \"{name}\"", kind.as_str()),
    }
}
