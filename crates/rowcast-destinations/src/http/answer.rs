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

use std::time::Duration;

use rowcast_core::json::{from_json, to_text};
use rowcast_core::record::{Batch, Operation, Record};
use rowcast_core::{Applied, Code, Fault, Outcome, Reason, Value};

use super::client::Answer;
use super::outcomes::{Outcomes, all_unknown, walk};
use super::service::Service;

/// What is known about the answers to one call.
pub(crate) struct Reading<'a> {
    pub(crate) service: &'a Service,
    pub(crate) outcomes: Option<&'a Outcomes>,
    /// Statuses that count as delivered besides 2xx.
    pub(crate) accept: &'a [u16],
    /// Statuses besides 2xx whose body tells the outcome of each record.
    pub(crate) told_at: &'a [u16],
    /// What this service means by its answers where the table above does not know it.
    pub(crate) rules: &'a [Rule],
    /// Everything goes to one URL, so that a 404 is about it.
    pub(crate) one_url: bool,
}

/// What a service means by an answer.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Any status when empty.
    pub(crate) statuses: Vec<u16>,
    /// Text in the body.
    pub(crate) contains: Option<String>,
    /// A member of the body and the values it has one of.
    pub(crate) member: Option<(Vec<String>, Vec<String>)>,
    pub(crate) then: Meaning,
    /// How long to wait before the next attempt, when the answer does not say.
    pub(crate) after: Option<Duration>,
    /// The member of the body that says why.
    pub(crate) message: Vec<String>,
}

/// The answers to a failure, as a rule names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Delivered,
    Rejected,
    NotFound,
    AlreadyExists,
    Transient,
    Fatal,
}

impl Rule {
    fn fits(&self, answer: &Answer, body: Option<&Value>) -> bool {
        let status = self.statuses.is_empty() || self.statuses.contains(&answer.status);
        let text = self
            .contains
            .as_ref()
            .is_none_or(|text| String::from_utf8_lossy(&answer.body).contains(text));
        let member = self.member.as_ref().is_none_or(|(path, values)| {
            let value = body.and_then(|body| walk(body, path));
            value.is_some_and(|value| values.contains(&to_text(value)))
        });
        status && text && member
    }
}

impl Reading<'_> {
    /// What an answer means for the records that were in the request.
    ///
    /// # Errors
    /// What the answer means for all of them at once.
    pub(crate) fn judge(
        &self,
        batch: &Batch,
        records: &[&Record],
        answer: &Answer,
    ) -> Result<Vec<Outcome>, Fault> {
        let service = self.service;
        let host = &service.host;
        let status = answer.status;
        if let Some(judged) = self.ruled(records, answer) {
            return judged;
        }
        // Without a failure in it, such an answer is what its status says.
        if self.told_at.contains(&status)
            && let Ok(outcomes) = self.told(batch, records, answer)
            && outcomes
                .iter()
                .any(|one| matches!(one, Outcome::Rejected(_)))
        {
            return Ok(outcomes);
        }
        let alone = records.len() == 1;
        let delivered = || Ok(vec![Outcome::Delivered; records.len()]);
        let rejected = |code, message: &str| {
            Ok(vec![Outcome::Rejected(
                Reason::new(code, message).detail(service.said(answer)),
            )])
        };
        match status {
            200..=299 => self.told(batch, records, answer),
            _ if self.accept.contains(&status) => delivered(),
            300..=399 => Err(Fault::fatal(service.redirected(answer))),
            401 | 403 => Err(Fault::fatal(service.unauthorized(answer))),
            404 if self.one_url && wrong_place(batch.operation, answer) => Err(Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!("there is nothing to send to at this URL of {host}"),
                )
                .detail(service.said(answer))
                .hint("check the path of url: with the service's documentation"),
            )),
            405 | 407 | 410 | 415 | 501 | 505 => Err(Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!("{host} does not take such requests"),
                )
                .detail(service.said(answer))
                .hint("check method, path and format with the service's documentation"),
            )),
            429 => Err(service.wait(answer, Applied::No)),
            408 | 423 | 425 | 500..=599 => Err(service.wait(answer, Applied::Unknown)),
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
            400..=499 => Err(self.refused_whole(records.len(), answer)),
            _ => Err(Fault::Fatal {
                applied: Applied::Unknown,
                reason: Reason::new(
                    Code::DestinationAnswer,
                    format!("{host} answered with the status {status}"),
                )
                .hint("is this an HTTP service, and the right port?"),
            }),
        }
    }

    fn refused_whole(&self, records: usize, answer: &Answer) -> Fault {
        Fault::Split {
            reason: Reason::new(
                Code::DestinationRejected,
                format!("{} refused a batch of {records} records", self.service.host),
            )
            .detail(self.service.said(answer)),
        }
    }

    /// What the first rule that fits says.
    fn ruled(&self, records: &[&Record], answer: &Answer) -> Option<Result<Vec<Outcome>, Fault>> {
        if self.rules.is_empty() {
            return None;
        }
        let service = self.service;
        let body = parsed(answer);
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.fits(answer, body.as_ref()))?;
        let said = || match body.as_ref().and_then(|body| walk(body, &rule.message)) {
            Some(words) if !rule.message.is_empty() => {
                format!(
                    "status {}: {}",
                    answer.status,
                    service.tidy(&to_text(words))
                )
            }
            _ => service.said(answer),
        };
        let reject = |code, message: &str| {
            if let [_] = records {
                let reason = Reason::new(code, message).detail(said());
                Ok(vec![Outcome::Rejected(reason)])
            } else {
                Err(self.refused_whole(records.len(), answer))
            }
        };
        Some(match rule.then {
            Meaning::Delivered => Ok(vec![Outcome::Delivered; records.len()]),
            Meaning::Rejected => reject(
                Code::DestinationRejected,
                "the destination rejected the record",
            ),
            Meaning::NotFound => reject(Code::NotFound, "the record does not exist"),
            Meaning::AlreadyExists => reject(Code::AlreadyExists, "the record exists already"),
            Meaning::Transient => {
                let applied = match answer.status {
                    400..=499 => Applied::No,
                    _ => Applied::Unknown,
                };
                Err(match service.wait(answer, applied) {
                    Fault::Transient {
                        after,
                        applied,
                        reason,
                    } => Fault::Transient {
                        after: after.or(rule.after),
                        applied,
                        reason: reason.detail(said()),
                    },
                    other => other,
                })
            }
            Meaning::Fatal if matches!(answer.status, 401 | 403) => {
                Err(Fault::fatal(service.unauthorized(answer)))
            }
            Meaning::Fatal => Err(Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!("{} refused the request", service.host),
                )
                .detail(said())
                .hint("look at the destination's settings and at the object of the sync"),
            )),
        })
    }

    fn told(
        &self,
        batch: &Batch,
        records: &[&Record],
        answer: &Answer,
    ) -> Result<Vec<Outcome>, Fault> {
        let service = self.service;
        let Some(outcomes) = self.outcomes else {
            return Ok(vec![Outcome::Delivered; records.len()]);
        };
        if answer.cut {
            return Err(Fault::Fatal {
                applied: Applied::Unknown,
                reason: Reason::new(
                    Code::DestinationAnswer,
                    format!("the answer of {} is larger than 1 MiB", service.host),
                )
                .hint("lower batch.max_records, so that the results fit"),
            });
        }
        Ok(match parsed(answer) {
            Some(value) => outcomes.read(records, batch, &value, service),
            None => all_unknown(
                records.len(),
                &Reason::new(
                    Code::DestinationAnswer,
                    format!("the answer of {} is not JSON", service.host),
                )
                .detail(service.said(answer))
                .hint("outcomes: needs a JSON answer; without it the status alone counts"),
            ),
        })
    }
}

fn parsed(answer: &Answer) -> Option<Value> {
    let text = std::str::from_utf8(&answer.body).ok()?;
    from_json(text).ok()
}

/// Whether a 404 is about the URL rather than about a record.
fn wrong_place(operation: Operation, answer: &Answer) -> bool {
    let html = answer
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/html"));
    html || matches!(operation, Operation::Upsert | Operation::Insert)
}
