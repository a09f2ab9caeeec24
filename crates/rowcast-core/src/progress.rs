//! What a destination that keeps progress with the data notes and says (semantics 14).
//!
//! Such a destination commits a batch and a row about it in one transaction of its own, so that a lost
//! answer can be looked up. Its SQL is its own; the note of rejected records and the words for what can
//! go wrong between sending and a confirmed commit are the same everywhere. Must never call a commit
//! that was not confirmed a refusal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::destination::Outcome;
use crate::fault::{Applied, Fault, Reason};
use crate::record::RunContext;

/// How a batch's claim on its row of progress ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The row is ours: write the records.
    New,
    /// The batch is in the table already: a lost answer is being asked for again.
    Present,
    /// A newer run of the sync has been here.
    Fenced,
}

/// What a failed statement says about its records.
#[derive(Debug)]
pub enum Refusal {
    /// One of the records is at fault: find it.
    Record(Reason),
    /// All of them wait for something else.
    Whole(Box<Fault>),
}

impl Refusal {
    /// All of the records wait for something else.
    pub fn whole(fault: Fault) -> Self {
        Self::Whole(Box::new(fault))
    }
}

/// A rejected record as the row of progress keeps it.
#[derive(Serialize, Deserialize)]
struct Rejected {
    position: usize,
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// The note of a batch without a rejected record.
pub const NOTHING_REJECTED: &str = "[]";

/// The note of a batch's rejected records, as JSON; `None` when there are none.
pub fn note(outcomes: &[Outcome]) -> Option<String> {
    // No database keeps U+0000 in JSON; a server's message never has it, ours might quote a name.
    let kept = |text: &str| text.replace('\0', "");
    let notes: Vec<Rejected> = outcomes
        .iter()
        .enumerate()
        .filter_map(|(position, outcome)| match outcome {
            Outcome::Rejected(reason) => Some(Rejected {
                position,
                code: reason.code.to_string(),
                message: kept(&reason.message),
                detail: reason.detail.as_deref().map(kept),
                hint: reason.hint.as_deref().map(kept),
            }),
            _ => None,
        })
        .collect();
    if notes.is_empty() {
        return None;
    }
    serde_json::to_string(&notes).ok()
}

/// The rejected records of a note with their positions, `None` when the text is not of this module's
/// making.
pub fn rejected(note: &str) -> Option<Vec<(usize, Reason)>> {
    let notes: Vec<Rejected> = serde_json::from_str(note).ok()?;
    let read = |note: Rejected| {
        Some((
            note.position,
            Reason {
                code: Code::parse(&note.code)?,
                message: note.message,
                detail: note.detail,
                hint: note.hint,
            },
        ))
    };
    notes.into_iter().map(read).collect()
}

/// The rejected records of a note as [`Committed`](crate::destination::Committed) tells them.
pub fn rejected_texts(note: &str) -> Option<Vec<(usize, String)>> {
    let texts = rejected(note)?.into_iter();
    Some(
        texts
            .map(|(position, reason)| (position, reason.to_string()))
            .collect(),
    )
}

/// The outcomes of `count` records of the batch that stands in `table` with this note; unknown when
/// the note can't be read.
pub fn outcomes(note: Option<&str>, count: usize, intent: i64, table: &str) -> Vec<Outcome> {
    let Some(rejected) = note.and_then(rejected) else {
        let reason = Reason::new(
            Code::NoResult,
            format!("the note of batch {intent} in {table} can't be read"),
        );
        return vec![Outcome::Unknown(reason); count];
    };
    let mut outcomes = vec![Outcome::Delivered; count];
    for (position, reason) in rejected {
        if let Some(outcome) = outcomes.get_mut(position) {
            *outcome = Outcome::Rejected(reason);
        }
    }
    outcomes
}

/// The connection broke.
pub fn lost(destination: &str, said: impl Into<String>, applied: Applied) -> Fault {
    Fault::Transient {
        after: None,
        applied,
        reason: Reason::new(
            Code::DestinationUnreachable,
            format!("the connection to destination `{destination}` was lost"),
        )
        .detail(said),
    }
}

/// COMMIT was sent and not confirmed.
pub fn commit_unconfirmed(destination: &str, table: &str, said: impl Into<String>) -> Fault {
    Fault::lost(
        Reason::new(
            Code::DestinationUnreachable,
            format!("destination `{destination}` did not confirm a commit to {table}"),
        )
        .detail(said)
        .hint("the next attempt reads from the destination whether the batch is there"),
    )
}

/// Nothing came back in time; `look` says where locks are seen.
pub fn late(destination: &str, after: Duration, applied: Applied, look: &str) -> Fault {
    Fault::Transient {
        after: None,
        applied,
        reason: Reason::new(
            Code::DestinationBusy,
            format!(
                "destination `{destination}` did not answer within {} s",
                after.as_secs_f32()
            ),
        )
        .hint(format!("{look}, or raise `timeout`")),
    }
}

/// The server can't take a batch now, and took nothing.
pub fn busy(destination: &str, said: impl Into<String>) -> Fault {
    Fault::refused(
        Reason::new(
            Code::DestinationBusy,
            format!("destination `{destination}` could not take a batch now"),
        )
        .detail(said),
    )
}

/// A newer run of the sync has been at the destination.
pub fn fenced(destination: &str, context: &RunContext) -> Reason {
    Reason::new(
        Code::DestinationFenced,
        format!(
            "destination `{destination}` has seen a newer run of sync `{}`",
            context.sync
        ),
    )
    .detail(format!("this run has epoch {}", context.epoch))
    .hint(
        "another worker has taken the sync over; if state was restored from a backup, see \
         `rowcast explain E0612`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> Outcome {
        Outcome::Rejected(
            Reason::new(Code::DestinationRejected, message)
                .detail("said")
                .hint("do"),
        )
    }

    #[test]
    fn rule_14_a_batch_that_is_asked_for_again_has_the_outcomes_it_had() {
        let was = vec![
            Outcome::Delivered,
            refused("a \"b\""),
            Outcome::Delivered,
            refused("c"),
        ];
        let text = note(&was).unwrap();
        assert_eq!(outcomes(Some(&text), 4, 1, "delivery"), was);
        assert_eq!(
            rejected_texts(&text).unwrap(),
            [(1, "a \"b\": said".to_owned()), (3, "c: said".to_owned())]
        );
        let all = vec![Outcome::Delivered; 2];
        assert_eq!(note(&all), None);
        assert_eq!(outcomes(Some(NOTHING_REJECTED), 2, 1, "delivery"), all);
    }

    #[test]
    fn a_note_that_is_not_ours_leaves_the_outcome_unknown() {
        for text in [
            None,
            Some(""),
            Some("{}"),
            Some(r#"[{"position":0,"code":"E9999","message":"x"}]"#),
        ] {
            let unknown = outcomes(text, 2, 7, "delivery");
            assert!(
                matches!(&unknown[..], [Outcome::Unknown(_), Outcome::Unknown(_)]),
                "{text:?}"
            );
        }
        // A position that the batch does not have harms none that it has.
        let text = note(&[Outcome::Delivered, refused("x")]).unwrap();
        assert_eq!(outcomes(Some(&text), 1, 7, "t"), [Outcome::Delivered]);
    }

    #[test]
    fn a_note_holds_nothing_that_a_database_refuses() {
        let text = note(&[refused("a\0b\\u0000")]).unwrap();
        let [(0, reason)] = &rejected(&text).unwrap()[..] else {
            panic!("{text}");
        };
        assert_eq!(reason.message, "ab\\u0000");
    }
}
