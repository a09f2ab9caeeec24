//! What an answer means: one table from status to outcome or fault.
//!
//! | answer | one record | several records |
//! |---|---|---|
//! | 2xx, or accepted | delivered, or what `outcomes:` says | the same |
//! | 401, 403 | the run stops: credentials | the same |
//! | 404 on delete | delivered | split, to find which |
//! | 404 on update | rejected: not found | split, to find which |
//! | 404 otherwise, `url:` | the run stops: no such URL | the same |
//! | 409 on insert | rejected: exists already | split |
//! | 405, 407, 410, 415, 501, 505 | the run stops | the same |
//! | 413 | rejected: too large | split |
//! | 429, 503 | again after `Retry-After` | the same |
//! | 408, 423, 425, other 5xx | again; whether it took effect is unknown | the same |
//! | other 4xx | rejected, in the service's words | split |
//! | 3xx | the run stops: redirects are not followed | the same |

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use rowcast_core::json::{from_json, to_json, to_text};
use rowcast_core::mapping::template::percent_encode;
use rowcast_core::record::{Batch, Operation, Record};
use rowcast_core::{Applied, Code, Fault, Outcome, Reason, SettingValue, Value};

use super::client::{Answer, wall_clock};
use super::config::{Call, Settings};
use crate::envelope::envelope;
use crate::settings::Problems;

/// How much of a service's answer is quoted when it holds no message of its own.
const WORDS_MAX: usize = 300;

/// Longest `Retry-After` that is believed: a day. Beyond it the run would only look hung.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// `outcomes:`, the map from an answer to the outcome of each record.
#[derive(Debug, Clone)]
pub(super) struct Outcomes {
    at: Vec<String>,
    pair_by: Pair,
    path: Vec<String>,
    values: Vec<String>,
    /// Whether `values` are those of rejections (`in`) or of successes (`not_in`).
    rejects: bool,
    message: Vec<String>,
}

#[derive(Debug, Clone)]
enum Pair {
    Index,
    Field {
        field: Vec<String>,
        /// Where the record holds the same value; by default the key, match value or field named
        /// as the result's member.
        record: Option<Vec<String>>,
    },
}

fn dotted(value: Option<&SettingValue>) -> Vec<String> {
    value
        .and_then(SettingValue::as_text)
        .unwrap_or_default()
        .split('.')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn texts(value: &SettingValue) -> Vec<String> {
    let items = value.items().iter();
    items
        .filter_map(SettingValue::as_text)
        .map(str::to_owned)
        .collect()
}

impl Outcomes {
    /// Reads the setting, whose shape has been checked.
    pub(super) fn parse(value: &SettingValue, problems: &mut Problems) -> Option<Self> {
        let when = value.get("rejected_when")?;
        let (values, rejects) = match (when.get("in"), when.get("not_in")) {
            (Some(values), None) => (texts(values), true),
            (None, Some(values)) => (texts(values), false),
            _ => {
                problems.add(
                    "settings.outcomes.rejected_when",
                    "exactly one of in and not_in is needed",
                    "for example { path: status, in: [error] }",
                );
                return None;
            }
        };
        let pair_by = match value.get("pair_by") {
            Some(pair @ SettingValue::Map(_)) => Pair::Field {
                field: dotted(pair.get("field")),
                record: pair.get("record").map(|path| dotted(Some(path))),
            },
            _ => Pair::Index,
        };
        Some(Self {
            at: dotted(value.get("at")),
            pair_by,
            path: dotted(when.get("path")),
            values,
            rejects,
            message: dotted(value.get("message")),
        })
    }

    /// Whether results are paired with records by a value of theirs.
    pub(super) fn reads_values(&self) -> bool {
        matches!(self.pair_by, Pair::Field { .. })
    }

    /// The outcome of each record that was in the request.
    fn read(
        &self,
        records: &[&Record],
        batch: &Batch,
        answer: &Value,
        settings: &Settings,
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
            Pair::Field { field, .. } => results
                .iter()
                .filter_map(|result| Some((to_text(walk(result, field)?), *result)))
                .collect(),
        };
        records
            .iter()
            .enumerate()
            .map(|(position, record)| {
                let result = match &self.pair_by {
                    Pair::Index => results.get(position).copied(),
                    Pair::Field {
                        field,
                        record: path,
                    } => {
                        let envelope = Value::Object(envelope(record, batch));
                        let value = match path {
                            Some(path) => walk(&envelope, path),
                            None => ["key", "match", "fields"]
                                .iter()
                                .find_map(|part| walk(envelope.get(part)?, field)),
                        };
                        value.and_then(|value| by_value.get(&to_text(value)).copied())
                    }
                };
                result.map_or_else(no_result, |result| self.judge(result, settings))
            })
            .collect()
    }

    fn judge(&self, result: &Value, settings: &Settings) -> Outcome {
        let Some(value) = walk(result, &self.path) else {
            // Without the member that tells, `not_in` says rejected and `in` says nothing.
            return if self.rejects {
                Outcome::Delivered
            } else {
                self.reject(result, settings)
            };
        };
        if self.values.contains(&to_text(value)) == self.rejects {
            self.reject(result, settings)
        } else {
            Outcome::Delivered
        }
    }

    fn reject(&self, result: &Value, settings: &Settings) -> Outcome {
        let words = match walk(result, &self.message) {
            Some(value) if !self.message.is_empty() => to_text(value),
            _ => words_of(result).unwrap_or_else(|| to_text(result)),
        };
        Outcome::Rejected(
            Reason::new(
                Code::DestinationRejected,
                "the destination rejected the record",
            )
            .detail(settings.tidy(&words)),
        )
    }
}

fn no_result() -> Outcome {
    Outcome::Unknown(
        Reason::new(Code::NoResult, "the answer has no result for this record")
            .hint("compare outcomes.pair_by with an answer of the service"),
    )
}

fn all_unknown(count: usize, reason: &Reason) -> Vec<Outcome> {
    vec![Outcome::Unknown(reason.clone()); count]
}

fn walk<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| match value {
        Value::List(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

impl Settings {
    /// What an answer means for the records that were in the request.
    pub(super) fn judge(
        &self,
        call: &Call,
        batch: &Batch,
        records: &[&Record],
        answer: &Answer,
    ) -> Result<Vec<Outcome>, Fault> {
        let status = answer.status;
        let alone = records.len() == 1;
        let delivered = || Ok(vec![Outcome::Delivered; records.len()]);
        let rejected = |code, message: &str| {
            Ok(vec![Outcome::Rejected(
                Reason::new(code, message).detail(self.said(answer)),
            )])
        };
        match status {
            200..=299 => self.judge_success(batch, records, answer),
            _ if call.accept.contains(&status) => delivered(),
            300..=399 => Err(Fault::fatal(self.redirected(answer))),
            401 | 403 => Err(Fault::fatal(
                Reason::new(
                    Code::DestinationAuth,
                    format!("{} refused the credentials", self.host),
                )
                .detail(self.said(answer))
                .hint("look at auth: of the destination: is the token the right one, unexpired, and allowed to write?"),
            )),
            404 if wrong_place(call, batch.operation, answer) => Err(Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!("there is nothing to send to at this URL of {}", self.host),
                )
                .detail(self.said(answer))
                .hint("check the path of url: with the service's documentation"),
            )),
            405 | 407 | 410 | 415 | 501 | 505 => Err(Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!("{} does not take such requests", self.host),
                )
                .detail(self.said(answer))
                .hint("check method, path and format with the service's documentation"),
            )),
            429 => Err(self.wait(answer, Applied::No)),
            408 | 423 | 425 | 500..=599 => Err(self.wait(answer, Applied::Unknown)),
            404 if alone && batch.operation == Operation::Delete => delivered(),
            404 if alone && batch.operation == Operation::Update => {
                rejected(Code::NotFound, "the record to update does not exist")
            }
            409 if alone && batch.operation == Operation::Insert => {
                rejected(Code::AlreadyExists, "the record to insert exists already")
            }
            413 if alone => rejected(
                Code::RecordTooLarge,
                "the record is larger than the destination takes",
            ),
            400..=499 if alone => rejected(
                Code::DestinationRejected,
                "the destination rejected the record",
            ),
            400..=499 => Err(Fault::Split {
                reason: Reason::new(
                    Code::DestinationRejected,
                    format!("{} refused a batch of {} records", self.host, records.len()),
                )
                .detail(self.said(answer)),
            }),
            _ => Err(Fault::Fatal {
                applied: Applied::Unknown,
                reason: Reason::new(
                    Code::DestinationAnswer,
                    format!("{} answered with the status {status}", self.host),
                )
                .hint("is this an HTTP service, and the right port?"),
            }),
        }
    }

    fn judge_success(
        &self,
        batch: &Batch,
        records: &[&Record],
        answer: &Answer,
    ) -> Result<Vec<Outcome>, Fault> {
        let Some(outcomes) = &self.outcomes else {
            return Ok(vec![Outcome::Delivered; records.len()]);
        };
        if answer.cut {
            return Err(Fault::Fatal {
                applied: Applied::Unknown,
                reason: Reason::new(
                    Code::DestinationAnswer,
                    format!("the answer of {} is larger than 1 MiB", self.host),
                )
                .hint("lower batch.max_records, so that the results fit"),
            });
        }
        let parsed = std::str::from_utf8(&answer.body)
            .ok()
            .and_then(|text| from_json(text).ok());
        Ok(match parsed {
            Some(value) => outcomes.read(records, batch, &value, self),
            None => all_unknown(
                records.len(),
                &Reason::new(
                    Code::DestinationAnswer,
                    format!("the answer of {} is not JSON", self.host),
                )
                .detail(self.said(answer))
                .hint("outcomes: needs a JSON answer; without it the status alone counts"),
            ),
        })
    }

    fn redirected(&self, answer: &Answer) -> Reason {
        let location = answer
            .headers
            .get("location")
            .and_then(|value| value.to_str().ok())
            .unwrap_or("nowhere");
        Reason::new(
            Code::DestinationObject,
            format!(
                "{} answered with a redirect, which is not followed",
                self.host
            ),
        )
        .detail(format!(
            "status {} to {}",
            answer.status,
            self.tidy(location)
        ))
        .hint("if that place is right, make it the destination's URL")
    }

    fn wait(&self, answer: &Answer, applied: Applied) -> Fault {
        let message = match answer.status {
            429 => format!("{} asked to send slower", self.host),
            _ => format!("{} failed", self.host),
        };
        Fault::Transient {
            after: retry_after(answer, wall_clock()),
            applied,
            reason: Reason::new(Code::DestinationBusy, message).detail(self.said(answer)),
        }
    }

    /// The status and the service's own words.
    fn said(&self, answer: &Answer) -> String {
        let text = String::from_utf8_lossy(&answer.body);
        let words = from_json(&text).ok().as_ref().and_then(words_of);
        let words = self.tidy(words.as_deref().unwrap_or(&text));
        if words.is_empty() {
            format!("status {}", answer.status)
        } else {
            format!("status {}: {words}", answer.status)
        }
    }

    /// Puts `***` in the place of every secret, also where it is written as JSON or URL-encoded.
    pub(super) fn mask(&self, text: &mut String) {
        for secret in self
            .secrets
            .iter()
            .filter(|secret| !secret.reveal().is_empty())
        {
            let plain = secret.reveal().as_str();
            let json = to_json(&Value::from(plain));
            let mut encoded = String::new();
            percent_encode(plain, &mut encoded);
            for form in [plain, json.trim_matches('"'), &encoded] {
                if text.contains(form) {
                    *text = text.replace(form, "***");
                }
            }
        }
    }

    /// One line without control characters, without our secrets, of bounded length.
    pub(super) fn tidy(&self, text: &str) -> String {
        let mut text = text.to_owned();
        self.mask(&mut text);
        let words = text.split(|c: char| c.is_whitespace() || c.is_control());
        let line = words
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        match line.char_indices().nth(WORDS_MAX) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// The sentence in an answer, by the names services give it.
fn words_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::List(items) => items.first().and_then(words_of),
        Value::Object(_) => [
            "error",
            "message",
            "detail",
            "error_description",
            "errors",
            "title",
            "reason",
        ]
        .iter()
        .filter_map(|name| value.get(name))
        .find_map(words_of),
        _ => None,
    }
}

/// Whether a 404 is about the URL rather than about a record.
fn wrong_place(call: &Call, operation: Operation, answer: &Answer) -> bool {
    let html = answer
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/html"));
    call.path.is_none() && (html || matches!(operation, Operation::Upsert | Operation::Insert))
}

/// `Retry-After` in seconds or as a date.
fn retry_after(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let text = answer.headers.get("retry-after")?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}
