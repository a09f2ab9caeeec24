//! From the outcome of a change to its effect on state: one table, for every ledger.
//!
//! State says what was acknowledged, never what was attempted. This is where that sentence is
//! code.

use crate::change::Kind;
use crate::code::Code;
use crate::fault::Reason;
use crate::key::Key;
use crate::mode::Mode;
use crate::record::Operation;
use crate::value::Value;

/// What finally became of a change in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Acknowledged by the destination.
    Delivered(Operation),
    /// The mode or `on:` decided not to send it.
    Skipped,
    /// As `Skipped`, for a reason of this row's own: its trigger or a consent.
    SkippedFor(Reason),
    /// Refused by the destination. `doubt` when an earlier attempt in this run had an unknown
    /// outcome, so that what the destination holds is not known.
    Rejected {
        operation: Operation,
        reason: Reason,
        doubt: bool,
    },
    /// Could not be mapped; never left the building.
    Invalid(Reason),
    /// The outcome is not known: lost answer, crash, timeout, missing result.
    Unknown {
        operation: Operation,
        reason: Reason,
    },
    /// Sent nowhere in this run (cancelled, budget spent, gave up with a clear refusal): the next
    /// run finds it again.
    Pending,
    /// A reject that is not due.
    Held,
}

/// A change with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub key: Key,
    pub kind: Kind,
    pub checksum: Option<i64>,
    pub verdict: Verdict,
    /// The key had a doubt or a reject before: it is forgotten when the change is delivered or
    /// skipped.
    pub retried: bool,
    /// The identity that was delivered, for syncs whose state keeps it (semantics 12). When it is
    /// put or doubted, any other key whose state holds the same identity loses its checksum: its
    /// record was written over.
    pub match_values: Option<Vec<Value>>,
    /// The values that were delivered as JSON text, for syncs with `keep: rows`.
    pub sent: Option<String>,
    pub idempotency_key: Option<String>,
    /// A removed row whose state must stay until the row that took its identity over is delivered.
    pub keep_state: bool,
}

/// What a settled change does to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// State takes the checksum; doubts and rejects of the key are forgotten.
    Put { checksum: i64, skipped: bool },
    /// The key leaves state; doubts and rejects of the key are forgotten.
    Drop,
    /// The key stays in state as a tombstone: gone from the model, still at the destination.
    Bury,
    /// State becomes `h = NULL` and the key a doubt.
    Doubt(Operation),
    /// The key becomes a reject; state keeps what was last acknowledged.
    Reject(Operation),
    /// Both: refused now, but an earlier attempt may have taken effect.
    DoubtAndReject(Operation),
    /// Nothing moves; the next diff finds the change again.
    Nothing,
}

impl Settled {
    /// Whether state takes nothing over but key and checksum, as they were announced: a new row was
    /// delivered, and there is no doubt, reject, identity or sent value to settle with it.
    pub fn is_plain(&self) -> bool {
        matches!(self.verdict, Verdict::Delivered(operation) if operation != Operation::Delete)
            && self.kind == Kind::Added
            && self.checksum.is_some()
            && !self.retried
            && !self.keep_state
            && self.match_values.is_none()
            && self.sent.is_none()
    }

    /// The effect on state under a mode.
    pub fn effect(&self, mode: Mode) -> Effect {
        match &self.verdict {
            _ if self.keep_state => Effect::Nothing,
            Verdict::Delivered(Operation::Delete) => Effect::Drop,
            Verdict::Delivered(_) => match self.checksum {
                Some(checksum) => Effect::Put {
                    checksum,
                    skipped: false,
                },
                None => Effect::Nothing,
            },
            // It stays new, so that it can be inserted when the consent is given.
            Verdict::SkippedFor(reason)
                if mode == Mode::Insert
                    && self.kind == Kind::Added
                    && reason.code == Code::ConsentMissing =>
            {
                Effect::Nothing
            }
            Verdict::Skipped | Verdict::SkippedFor(_) => match (self.kind, self.checksum) {
                (Kind::Removed, _) if mode.keeps_tombstones() => Effect::Bury,
                (Kind::Removed, _) => Effect::Drop,
                (_, Some(checksum)) => Effect::Put {
                    checksum,
                    skipped: true,
                },
                (_, None) => Effect::Nothing,
            },
            Verdict::Rejected {
                operation,
                doubt: true,
                ..
            } => Effect::DoubtAndReject(*operation),
            Verdict::Rejected { operation, .. } => Effect::Reject(*operation),
            Verdict::Unknown { operation, .. } => Effect::Doubt(*operation),
            Verdict::Invalid(_) | Verdict::Pending | Verdict::Held => Effect::Nothing,
        }
    }
}
