//! From answers, and from their absence, to settled changes.
//!
//! It must never settle a record twice, nor call something delivered that might not be.

use std::sync::Arc;
use std::time::Instant;

use rowcast_core::settle::Verdict;
use rowcast_core::{Applied, Code, Key, Outcome, Reason, Record};

use super::Delivery;
use crate::answer::{Judged, give_up, judge};
use crate::prepare::{Note, Pass, settle_sent};
use crate::supply::{Job, Piece};

impl Delivery {
    pub(super) fn judge_piece(
        &mut self,
        piece: Piece,
        intent: Option<i64>,
        outcomes: Vec<Outcome>,
    ) {
        // The request is over, so that nobody else holds the batch any more.
        let records = Arc::unwrap_or_clone(piece.batch).records;
        let records = records.into_iter().zip(piece.notes).zip(outcomes);
        let now = self.parts.clock.now();
        for ((record, note), outcome) in records {
            let doubt = note.doubt || piece.uncertain.is_some();
            match judge(outcome, record.operation, doubt) {
                Judged::Final(verdict) => self.settle(record, note, intent, verdict, now),
                Judged::Accepted => self.accept(record, note, intent),
            }
        }
    }

    /// Settles all records of a piece that gets no other attempt in this run.
    pub(super) fn settle_piece(
        &mut self,
        piece: Piece,
        intent: Option<i64>,
        applied: Applied,
        reason: &Reason,
    ) {
        let (applied, reason) = match &piece.uncertain {
            Some(earlier) if applied == Applied::No => (Applied::Unknown, earlier.clone()),
            _ => (applied, reason.clone()),
        };
        let records = Arc::unwrap_or_clone(piece.batch).records;
        if self.capabilities.exactly_once && applied == Applied::Unknown {
            // The destination itself knows: the next run asks it, by the open intent.
            for (record, note) in records.iter().zip(&piece.notes) {
                self.supply.release(note);
                self.supply.decide(&record.key, note.kind);
            }
            self.acks.leave_open(records.len());
            return;
        }
        let now = self.parts.clock.now();
        for (record, note) in records.into_iter().zip(piece.notes) {
            let verdict = give_up(record.operation, applied, &reason);
            self.settle(record, note, intent, verdict, now);
        }
    }

    pub(super) fn settle(
        &mut self,
        record: Record,
        note: Note,
        intent: Option<i64>,
        verdict: Verdict,
        now: Instant,
    ) {
        self.supply.release(&note);
        let delivered = verdict == Verdict::Delivered(record.operation);
        // The delete of an old identity decides about its change only when it fails.
        let counted = !(note.prelude && delivered);
        if note.prelude {
            self.prelude_settled(&record.key, &note, delivered);
        }
        let settled = settle_sent(record, note, verdict);
        self.acks.settle(settled, intent, counted, now);
    }

    fn prelude_settled(&mut self, key: &Key, note: &Note, delivered: bool) {
        if !delivered {
            self.supply.decide(key, note.kind);
        } else if self.supply.pass == Pass::Single {
            self.acks.tally.deferred += 1;
        }
    }

    pub(super) fn accept(&mut self, record: Record, note: Note, intent: Option<i64>) {
        self.supply.release(&note);
        self.acks.accept();
        if note.prelude {
            self.prelude_settled(&record.key, &note, true);
        }
        let verdict = Verdict::Delivered(record.operation);
        let counted = !note.prelude;
        let settled = settle_sent(record, note, verdict);
        let kept = self
            .spill
            .push((settled, intent.unwrap_or_default(), counted));
        if let Err(reason) = kept {
            self.fail(reason);
        }
    }

    /// Gives up everything that is not in flight.
    pub(super) fn abandon(&mut self) {
        let mut jobs = self.supply.take_all();
        jobs.retain(|job| job.intent.is_some());
        jobs.extend(self.sendable.drain(..));
        jobs.extend(self.waiting.drain(..).map(|(_, job)| job));
        for job in jobs {
            self.give_up(job);
        }
    }

    pub(super) fn give_up(&mut self, job: Job) {
        let reason = Reason::new(Code::Cancelled, "the run ended before the batch was sent");
        for piece in job.pieces {
            self.settle_piece(piece, job.intent, Applied::No, &reason);
        }
    }

    /// The grace after a cancel is over: what has not answered is unknown.
    pub(super) fn cut_off(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        self.requests.abort();
        let jobs: Vec<Job> = self.in_flight.drain(..).map(|flying| flying.job).collect();
        let reason = Reason::new(
            Code::Cancelled,
            "the run was cancelled before the destination answered",
        );
        for mut job in jobs {
            if let Some(piece) = job.pieces.pop_front() {
                self.settle_piece(piece, job.intent, Applied::Unknown, &reason);
            }
            self.give_up(job);
        }
    }
}
