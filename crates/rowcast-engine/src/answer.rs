//! From a destination's answer to a verdict on one record.
//!
//! Pure. When in doubt it must say *unknown*, never *delivered*.

use rowcast_core::settle::Verdict;
use rowcast_core::{Applied, Code, Operation, Outcome, Reason};

/// What an answer means for a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Final(Verdict),
    /// Taken, but not durable before the destination's `finish`.
    Accepted,
}

/// Judges the outcome of one record. `doubt`: an earlier attempt of it, in this run or an earlier
/// one, may have taken effect.
pub(crate) fn judge(outcome: Outcome, operation: Operation, doubt: bool) -> Judged {
    Judged::Final(match outcome {
        Outcome::Delivered => Verdict::Delivered(operation),
        Outcome::Accepted => return Judged::Accepted,
        Outcome::Unknown(reason) => Verdict::Unknown { operation, reason },
        Outcome::Rejected(reason) => match (operation, reason.code) {
            // Gone is what was asked for.
            (Operation::Delete, Code::NotFound) => Verdict::Delivered(operation),
            // The earlier attempt did it.
            (Operation::Insert, Code::AlreadyExists) if doubt => Verdict::Delivered(operation),
            _ => Verdict::Rejected {
                operation,
                reason,
                doubt,
            },
        },
    })
}

/// The verdict on a record whose last attempt failed and that gets no other in this run.
pub(crate) fn give_up(operation: Operation, applied: Applied, reason: &Reason) -> Verdict {
    match applied {
        Applied::No => Verdict::Pending,
        Applied::Unknown => Verdict::Unknown {
            operation,
            reason: reason.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: Code) -> Reason {
        Reason::new(code, "refused")
    }

    #[test]
    fn rule_9_a_delete_that_the_destination_does_not_know_is_delivered() {
        let not_found = || Outcome::Rejected(reason(Code::NotFound));
        assert_eq!(
            judge(not_found(), Operation::Delete, false),
            Judged::Final(Verdict::Delivered(Operation::Delete))
        );
        assert!(matches!(
            judge(not_found(), Operation::Update, true),
            Judged::Final(Verdict::Rejected { .. })
        ));
    }

    #[test]
    fn an_insert_that_exists_is_delivered_only_when_an_attempt_of_ours_may_have_done_it() {
        let exists = || Outcome::Rejected(reason(Code::AlreadyExists));
        assert_eq!(
            judge(exists(), Operation::Insert, true),
            Judged::Final(Verdict::Delivered(Operation::Insert))
        );
        assert!(matches!(
            judge(exists(), Operation::Insert, false),
            Judged::Final(Verdict::Rejected { doubt: false, .. })
        ));
    }

    #[test]
    fn rule_26_a_record_without_a_result_is_unknown() {
        let outcome = Outcome::Unknown(reason(Code::NoResult));
        assert!(matches!(
            judge(outcome, Operation::Upsert, false),
            Judged::Final(Verdict::Unknown { .. })
        ));
    }
}
