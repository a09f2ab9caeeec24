//! `outcomes:`, the map from an answer to the outcome of each record.

use std::collections::HashMap;

use rowcast_core::json::to_text;
use rowcast_core::record::{Batch, Record};
use rowcast_core::{Code, Outcome, Reason, SettingValue, Value};

use super::service::{Service, words_of};
use crate::settings::Problems;
use rowcast_core::envelope::envelope;

/// How an answer tells the outcome of each record.
#[derive(Debug, Clone)]
pub(crate) enum Outcomes {
    /// A result for every record.
    Results(Results),
    /// Only what failed, in one list or several; the others were delivered.
    Failures(Vec<Failures>),
}

/// A list with a result for every record.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    at: Vec<String>,
    pair_by: Pair,
    path: Vec<String>,
    values: Vec<String>,
    /// Whether `values` are those of rejections (`in`) or of successes (`not_in`).
    rejects: bool,
    message: Vec<String>,
}

/// A list of failures.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    at: Vec<String>,
    /// The first that names a record of the request is taken.
    pair_by: Vec<Pair>,
    message: Vec<String>,
}

#[derive(Debug, Clone)]
enum Pair {
    /// The position in the list itself.
    Index,
    /// A member that holds the position in the request.
    Position(Vec<String>),
    Field {
        /// Empty for the item itself; a list names several records.
        field: Vec<String>,
        /// Where the record holds the same value; by default the key, match value or field named
        /// as the result's member.
        record: Option<Vec<String>>,
    },
}

/// A path of names joined by dots; `.` is the thing itself.
pub(crate) fn dotted(value: Option<&SettingValue>) -> Vec<String> {
    value
        .and_then(SettingValue::as_text)
        .unwrap_or_default()
        .split('.')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The items of a list of text; true and false are their words.
pub(crate) fn texts(value: &SettingValue) -> Vec<String> {
    let items = value.items().iter();
    items
        .filter_map(|item| match item {
            SettingValue::Bool(value) => Some(value.to_string()),
            item => item.as_text().map(str::to_owned),
        })
        .collect()
}

fn pair(value: Option<&SettingValue>) -> Pair {
    match value {
        Some(pair @ SettingValue::Map(_)) => match pair.get("index") {
            Some(path) => Pair::Position(dotted(Some(path))),
            None => Pair::Field {
                field: dotted(pair.get("field")),
                record: pair.get("record").map(|path| dotted(Some(path))),
            },
        },
        _ => Pair::Index,
    }
}

impl Outcomes {
    /// Reads the setting, whose shape has been checked; `place` is its path.
    pub(crate) fn parse(
        value: &SettingValue,
        place: &str,
        problems: &mut Problems,
    ) -> Option<Self> {
        if let Some(failures) = value.get("failures") {
            return Some(Self::Failures(
                failures
                    .items()
                    .iter()
                    .map(|list| Failures {
                        at: dotted(list.get("at")),
                        pair_by: match list.get("pair_by") {
                            Some(SettingValue::List(several)) => {
                                several.iter().map(|one| pair(Some(one))).collect()
                            }
                            one => vec![pair(one)],
                        },
                        message: dotted(list.get("message")),
                    })
                    .collect(),
            ));
        }
        let Some(when) = value.get("rejected_when") else {
            problems.add(
                place,
                "this does not say which results are rejections",
                "add rejected_when: { path: status, in: [error] }",
            );
            return None;
        };
        let (values, rejects) = match (when.get("in"), when.get("not_in")) {
            (Some(values), None) => (texts(values), true),
            (None, Some(values)) => (texts(values), false),
            _ => {
                problems.add(
                    format!("{place}.rejected_when"),
                    "exactly one of in and not_in is needed",
                    "for example { path: status, in: [error] }",
                );
                return None;
            }
        };
        Some(Self::Results(Results {
            at: dotted(value.get("at")),
            pair_by: pair(value.get("pair_by")),
            path: dotted(when.get("path")),
            values,
            rejects,
            message: dotted(value.get("message")),
        }))
    }

    /// Whether results are paired with records by a value of theirs.
    pub(super) fn reads_values(&self) -> bool {
        let by_value = |pair: &Pair| matches!(pair, Pair::Field { .. });
        match self {
            Self::Results(results) => by_value(&results.pair_by),
            Self::Failures(lists) => lists.iter().any(|list| list.pair_by.iter().any(by_value)),
        }
    }

    /// The outcome of each record that was in the request.
    pub(super) fn read(
        &self,
        records: &[&Record],
        batch: &Batch,
        answer: &Value,
        service: &Service,
    ) -> Vec<Outcome> {
        match self {
            Self::Results(results) => results.read(records, batch, answer, service),
            Self::Failures(lists) => failed(lists, records, batch, answer, service),
        }
    }
}

/// A record's own value that a result names it by.
fn named_by(
    record: &Record,
    batch: &Batch,
    field: &[String],
    path: Option<&[String]>,
) -> Option<String> {
    let envelope = Value::Object(envelope(record, batch));
    let value = match path {
        Some([name]) if name == "match_value" => record.match_on.first().map(|(_, value)| value),
        Some(path) => walk(&envelope, path),
        None => ["key", "match", "fields"]
            .iter()
            .find_map(|part| walk(envelope.get(part)?, field)),
    };
    value.map(to_text)
}

/// Everything is delivered but what the lists name. A failure that names no record of the request
/// leaves it open which one failed: all that no other failure names are unknown then.
fn failed(
    lists: &[Failures],
    records: &[&Record],
    batch: &Batch,
    answer: &Value,
    service: &Service,
) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Delivered; records.len()];
    let mut nameless = None;
    for list in lists {
        let items = match walk(answer, &list.at) {
            Some(Value::List(items)) => items.as_slice(),
            _ => continue,
        };
        for (order, item) in items.iter().enumerate() {
            let known = list
                .pair_by
                .iter()
                .map(|pair| named(pair, order, item, records, batch))
                .find(|known| !known.is_empty())
                .unwrap_or_default();
            let outcome = reject(item, &list.message, service);
            if known.is_empty() {
                nameless = Some(outcome);
            } else {
                for position in known {
                    outcomes[position] = outcome.clone();
                }
            }
        }
    }
    if let Some(Outcome::Rejected(reason)) = nameless {
        if let [outcome] = outcomes.as_mut_slice() {
            *outcome = Outcome::Rejected(reason);
            return outcomes;
        }
        let mut unknown = Reason::new(
            Code::NoResult,
            "the answer has a failure that names no record of the request",
        );
        unknown.detail = reason.detail;
        for outcome in &mut outcomes {
            if *outcome == Outcome::Delivered {
                *outcome = Outcome::Unknown(unknown.clone());
            }
        }
    }
    outcomes
}

/// Positions of the records that a failure names.
fn named(
    pair: &Pair,
    order: usize,
    item: &Value,
    records: &[&Record],
    batch: &Batch,
) -> Vec<usize> {
    let within = |position: &usize| *position < records.len();
    match pair {
        Pair::Index => Some(order).into_iter().filter(within).collect(),
        Pair::Position(path) => each(walk(item, path))
            .filter_map(|value| to_text(value).parse().ok())
            .filter(within)
            .collect(),
        Pair::Field { field, record } => {
            let wanted: Vec<String> = each(walk(item, field)).map(to_text).collect();
            let mut all = records.iter().enumerate();
            let mut found = Vec::new();
            for (position, of) in &mut all {
                let own = named_by(of, batch, field, record.as_deref());
                if own.is_some_and(|own| wanted.contains(&own)) {
                    found.push(position);
                }
            }
            found
        }
    }
}

/// A value, or the items of a list.
fn each(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    let (list, one) = match value {
        Some(Value::List(items)) => (items.as_slice(), None),
        other => (&[][..], other),
    };
    list.iter().chain(one)
}

impl Results {
    fn read(
        &self,
        records: &[&Record],
        batch: &Batch,
        answer: &Value,
        service: &Service,
    ) -> Vec<Outcome> {
        let results: Vec<&Value> = match walk(answer, &self.at) {
            Some(Value::List(items)) => items.iter().collect(),
            // One record, one result, without a list around it.
            Some(one @ Value::Object(_)) if records.len() == 1 => vec![one],
            _ => {
                return all_unknown(
                    records.len(),
                    &Reason::new(
                        Code::DestinationAnswer,
                        format!(
                            "the answer has no list of results at {:?}",
                            self.at.join(".")
                        ),
                    )
                    .hint("compare outcomes.at with an answer of the service"),
                );
            }
        };
        let by_value: HashMap<String, &Value> = match &self.pair_by {
            Pair::Index => HashMap::new(),
            Pair::Field { field: path, .. } | Pair::Position(path) => results
                .iter()
                .filter_map(|result| Some((to_text(walk(result, path)?), *result)))
                .collect(),
        };
        records
            .iter()
            .enumerate()
            .map(|(position, record)| {
                let result = match &self.pair_by {
                    Pair::Index => results.get(position).copied(),
                    Pair::Position(_) => by_value.get(&position.to_string()).copied(),
                    Pair::Field {
                        field,
                        record: path,
                    } => named_by(record, batch, field, path.as_deref())
                        .and_then(|value| by_value.get(&value).copied()),
                };
                result.map_or_else(no_result, |result| self.judge(result, service))
            })
            .collect()
    }

    fn judge(&self, result: &Value, service: &Service) -> Outcome {
        let Some(value) = walk(result, &self.path) else {
            // Without the member that tells, `not_in` says rejected and `in` says nothing.
            return if self.rejects {
                Outcome::Delivered
            } else {
                reject(result, &self.message, service)
            };
        };
        if self.values.contains(&to_text(value)) == self.rejects {
            reject(result, &self.message, service)
        } else {
            Outcome::Delivered
        }
    }
}

fn reject(result: &Value, message: &[String], service: &Service) -> Outcome {
    let words = match walk(result, message) {
        Some(value) if !message.is_empty() => to_text(value),
        _ => words_of(result).unwrap_or_else(|| to_text(result)),
    };
    Outcome::Rejected(
        Reason::new(
            Code::DestinationRejected,
            "the destination rejected the record",
        )
        .detail(service.tidy(&words)),
    )
}

fn no_result() -> Outcome {
    Outcome::Unknown(
        Reason::new(Code::NoResult, "the answer has no result for this record")
            .hint("compare outcomes.pair_by with an answer of the service"),
    )
}

pub(super) fn all_unknown(count: usize, reason: &Reason) -> Vec<Outcome> {
    vec![Outcome::Unknown(reason.clone()); count]
}

/// The value at a path; numbers name items of lists.
pub(crate) fn walk<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| match value {
        Value::List(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}
