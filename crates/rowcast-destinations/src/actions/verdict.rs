//! What the actions host says of a batch, as outcomes or one fault.
//!
//! 408, 423, 429, statuses from 500 on and broken connections may pass; 401 is about credentials;
//! every other status below 500 is the record's own. Must never call an unknown outcome a failure.

use std::time::Duration;

use rowcast_core::{Applied, Code, Fault, Outcome, Reason};
use serde::Deserialize;

use super::host::Doings;
use crate::http::service::Service;

/// One record's result, as the host writes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    /// 0 for a connection that broke.
    pub(super) status: u16,
    pub(super) message: Option<String>,
    /// The service refused the request as a whole, this record perhaps without guilt.
    pub(super) whole: bool,
    /// The package itself refused it, before any request.
    pub(super) invalid: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delivered,
    Rejected,
    Unauthorized,
    Passing,
    Redirected,
}

/// What becomes of a record. After a broken connection an action's own refusal is no refusal of the
/// service, and its success is none where no answer came at all.
fn fate(told: &Told, doings: &Doings) -> Fate {
    let broken = doings.lost || doings.failure.is_some();
    match told.status {
        200..=299 if broken && doings.answered == 0 => Fate::Passing,
        400..=499 if broken && !told.invalid && told.status != 401 => Fate::Passing,
        200..=299 => Fate::Delivered,
        401 => Fate::Unauthorized,
        300..=399 => Fate::Redirected,
        0 | 408 | 423 | 429 | 500.. => Fate::Passing,
        _ => Fate::Rejected,
    }
}

/// Positions of the records whose credentials were refused.
pub(super) fn unauthorized(told: &[Told], doings: &Doings) -> Vec<usize> {
    let all = told.iter().enumerate();
    all.filter(|(_, told)| fate(told, doings) == Fate::Unauthorized)
        .map(|(at, _)| at)
        .collect()
}

/// One outcome for each record, or why the whole batch failed.
pub(super) fn judge(
    told: &[Told],
    doings: &Doings,
    service: &Service,
) -> Result<Vec<Outcome>, Fault> {
    let fate = |told: &Told| fate(told, doings);
    let count = |wanted: Fate| told.iter().filter(|told| fate(told) == wanted).count();
    let said = |told: &Told| said(told, service);
    let touched = told.iter().filter(|told| !told.invalid);
    let touched: Vec<&Told> = touched.collect();
    let delivered = count(Fate::Delivered);
    if let (Some(reason), 0) = (&doings.fatal, delivered) {
        let applied = if doings.reached == 0 {
            Applied::No
        } else {
            Applied::Unknown
        };
        return Err(Fault::Fatal {
            applied,
            reason: reason.clone(),
        });
    }
    let all = |wanted: Fate| !touched.is_empty() && touched.iter().all(|t| fate(t) == wanted);
    if all(Fate::Unauthorized) {
        let reason = Reason::new(
            Code::DestinationAuth,
            format!("{} refused the credentials", service.host),
        );
        return Err(Fault::fatal(reason.detail(said(touched[0])).hint(
            "look at the credentials of the destination: is the token the right one, unexpired, and allowed to write?",
        )));
    }
    if all(Fate::Redirected) {
        let reason = Reason::new(
            Code::DestinationObject,
            format!(
                "{} answered with a redirect, which is not followed",
                service.host
            ),
        );
        return Err(Fault::fatal(reason.detail(said(touched[0]))));
    }
    if all(Fate::Passing) {
        return Err(passing(&touched, doings, service));
    }
    if touched.len() > 1 && all(Fate::Rejected) && touched.iter().all(|told| told.whole) {
        let reason = Reason::new(
            Code::DestinationRejected,
            format!("{} refused the records together", service.host),
        );
        return Err(Fault::Split {
            reason: reason.detail(said(touched[0])),
        });
    }
    Ok(told
        .iter()
        .map(|told| match fate(told) {
            Fate::Delivered => Outcome::Delivered,
            Fate::Rejected => Outcome::Rejected(
                Reason::new(
                    Code::DestinationRejected,
                    format!("{} rejected the record", service.host),
                )
                .detail(said(told)),
            ),
            Fate::Unauthorized | Fate::Passing | Fate::Redirected => Outcome::Unknown(
                Reason::new(
                    Code::DestinationBusy,
                    format!("{} did not take the record", service.host),
                )
                .detail(said(told)),
            ),
        })
        .collect())
}

/// Everything failed in a way that may pass.
fn passing(touched: &[&Told], doings: &Doings, service: &Service) -> Fault {
    let asked_to_wait = touched.iter().all(|told| matches!(told.status, 423 | 429));
    // Whatever was reached may have written, unless each answer said that it did not.
    let applied = if doings.reached == 0 || asked_to_wait && !doings.lost {
        Applied::No
    } else {
        Applied::Unknown
    };
    let reason = doings.failure.clone().unwrap_or_else(|| {
        let message = match touched[0].status {
            429 => format!("{} asked to send slower", service.host),
            _ => format!("{} failed", service.host),
        };
        Reason::new(Code::DestinationBusy, message).detail(said(touched[0], service))
    });
    Fault::Transient {
        after: doings
            .wait
            .map(|wait| wait.min(Duration::from_secs(24 * 3600))),
        applied,
        reason,
    }
}

fn said(told: &Told, service: &Service) -> String {
    let words = service.tidy(told.message.as_deref().unwrap_or_default());
    match (told.status, words.is_empty()) {
        (0, _) => words,
        (status, true) => format!("status {status}"),
        (status, false) => format!("status {status}: {words}"),
    }
}

#[cfg(test)]
mod tests {
    use rowcast_core::Secret;

    use super::*;

    fn service() -> Service {
        Service {
            host: "segment/x".to_owned(),
            secrets: vec![Secret::new("hunter2".to_owned())],
        }
    }

    fn told(statuses: &[u16]) -> Vec<Told> {
        let told = |status: &u16| Told {
            status: *status,
            ..Told::default()
        };
        statuses.iter().map(told).collect()
    }

    fn reached() -> Doings {
        Doings {
            reached: 1,
            answered: 1,
            ..Doings::default()
        }
    }

    #[test]
    fn after_a_broken_connection_nobody_knows() {
        let doings = Doings {
            reached: 1,
            lost: true,
            ..Doings::default()
        };
        for status in [200, 400] {
            let fault = judge(&told(&[status, status]), &doings, &service());
            let fault = fault.expect_err("nobody knows");
            assert_eq!(fault.applied(), Applied::Unknown, "{fault:?}");
        }
    }

    #[test]
    fn each_record_gets_its_own_outcome() {
        let outcomes = judge(&told(&[200, 400, 500, 404]), &reached(), &service()).expect("mixed");
        assert_eq!(outcomes[0], Outcome::Delivered);
        assert!(matches!(outcomes[1], Outcome::Rejected(_)));
        assert!(matches!(outcomes[2], Outcome::Unknown(_)));
        assert!(matches!(outcomes[3], Outcome::Rejected(_)));
    }

    #[test]
    fn statuses_that_may_pass_are_transient_and_say_whether_anything_was_written() {
        let applied =
            |statuses: &[u16], doings: &Doings| match judge(&told(statuses), doings, &service())
                .expect_err("a fault")
            {
                Fault::Transient { applied, .. } => applied,
                other => panic!("{other:?}"),
            };
        assert_eq!(applied(&[429, 429], &reached()), Applied::No);
        assert_eq!(applied(&[423], &reached()), Applied::No);
        for status in [0, 408, 500, 503] {
            assert_eq!(applied(&[status, 429], &reached()), Applied::Unknown);
            assert_eq!(applied(&[status], &Doings::default()), Applied::No);
        }
    }

    #[test]
    fn refused_credentials_are_fatal_and_one_whole_refusal_is_halved() {
        let fault = judge(&told(&[401, 401]), &reached(), &service()).expect_err("a fault");
        assert!(matches!(
            fault,
            Fault::Fatal {
                applied: Applied::No,
                ..
            }
        ));
        let mut all = told(&[400, 400]);
        for told in &mut all {
            told.whole = true;
        }
        let fault = judge(&all, &reached(), &service()).expect_err("a fault");
        assert!(matches!(fault, Fault::Split { .. }));
        all.truncate(1);
        let outcomes = judge(&all, &reached(), &service()).expect("one");
        assert!(matches!(outcomes[0], Outcome::Rejected(_)));
    }

    #[test]
    fn a_refused_address_stops_the_run() {
        let doings = Doings {
            fatal: Some(Reason::new(Code::AddressRefused, "refused")),
            ..Doings::default()
        };
        let fault = judge(&told(&[0]), &doings, &service()).expect_err("a fault");
        assert!(matches!(
            fault,
            Fault::Fatal {
                applied: Applied::No,
                ..
            }
        ));
    }

    #[test]
    fn words_hold_no_secret() {
        let mut all = told(&[400]);
        all[0].message = Some("bad token hunter2".to_owned());
        let outcomes = judge(&all, &reached(), &service()).expect("one");
        assert!(!format!("{outcomes:?}").contains("hunter2"));
    }
}
