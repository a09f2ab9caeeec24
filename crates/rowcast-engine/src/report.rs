//! Counting: every change in exactly one bucket, and the report that must add up.
//!
//! A change is counted when the ledger has it, so the report never says more than state does.

use std::collections::BTreeMap;

use rowcast_core::ledger::DiffCounts;
use rowcast_core::settle::{Settled, Verdict};
use rowcast_core::{Reason, RunReport};

/// Distinct reasons a report lists; the rest is counted as `other`.
const REASONS_MAX: usize = 100;

/// The running counts of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub delivered: u64,
    pub skipped: u64,
    pub invalid: u64,
    pub rejected: u64,
    pub held: u64,
    pub unknown: u64,
    /// Left to the next run on purpose, although it was read.
    pub deferred: u64,
    pub requests: u64,
    pub retries: u64,
    pub reasons: BTreeMap<(String, String), u64>,
}

impl Tally {
    /// Counts a settled change.
    pub(crate) fn count(&mut self, settled: &Settled) {
        match &settled.verdict {
            Verdict::Delivered(_) => self.delivered += 1,
            Verdict::Skipped => self.skipped += 1,
            Verdict::SkippedFor(reason) => {
                self.skipped += 1;
                self.reason(reason);
            }
            Verdict::Held => self.held += 1,
            // Found again by the next run; what is left over is counted at the end.
            Verdict::Pending => {}
            Verdict::Invalid(reason) => {
                self.invalid += 1;
                self.reason(reason);
            }
            Verdict::Rejected { reason, .. } => {
                self.rejected += 1;
                self.reason(reason);
            }
            Verdict::Unknown { .. } => self.unknown += 1,
        }
    }

    /// Counts a reason for the grouped display.
    pub(crate) fn reason(&mut self, reason: &Reason) {
        let key = (reason.code.as_str().to_owned(), reason.to_string());
        self.reasons_of(key, 1);
    }

    fn reasons_of(&mut self, key: (String, String), number: u64) {
        if self.reasons.len() >= REASONS_MAX && !self.reasons.contains_key(&key) {
            let other = (String::new(), "other".to_owned());
            *self.reasons.entry(other).or_default() += number;
        } else {
            *self.reasons.entry(key).or_default() += number;
        }
    }

    /// Adds another count to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.skipped += other.skipped;
        self.invalid += other.invalid;
        self.rejected += other.rejected;
        self.held += other.held;
        self.unknown += other.unknown;
        self.deferred += other.deferred;
        self.requests += other.requests;
        self.retries += other.retries;
        for (key, number) in &other.reasons {
            self.reasons_of(key.clone(), *number);
        }
    }

    /// Changes that are decided, and known to the ledger.
    pub(crate) fn decided(&self) -> u64 {
        self.delivered + self.skipped + self.invalid + self.rejected + self.held
    }

    /// Writes the counts into the report. `complete`: the change set was read to its end and
    /// nothing was cut off, so that no change may be missing.
    pub(crate) fn fill(&self, report: &mut RunReport, complete: bool) {
        report.delivered = self.delivered;
        report.skipped = self.skipped;
        report.invalid = self.invalid;
        report.rejected = self.rejected;
        report.held = self.held;
        report.unknown = self.unknown;
        report.requests = self.requests;
        report.retries = self.retries;
        report.reasons.clone_from(&self.reasons);
        report.pending = if complete {
            self.unknown + self.deferred + report.counts.beyond_limit
        } else {
            total(&report.counts).saturating_sub(self.decided())
        };
    }
}

/// All changes of a change set.
pub(crate) fn total(counts: &DiffCounts) -> u64 {
    counts.added + counts.updated + counts.removed + counts.retried
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowcast_core::Code;

    #[test]
    fn reasons_are_grouped_and_bounded() {
        let mut tally = Tally::default();
        for i in 0..250 {
            let reason = Reason::new(Code::DestinationRejected, format!("no. {}", i % 125));
            tally.reason(&reason);
        }
        assert_eq!(tally.reasons.len(), REASONS_MAX + 1);
        assert_eq!(tally.reasons.values().sum::<u64>(), 250);
    }

    #[test]
    fn guarantee_4_and_rule_25_a_change_lost_on_the_way_unbalances_a_complete_run() {
        let mut report = RunReport::new("s".into(), 1, 0);
        report.counts.added = 2;
        report.counts.read = 2;
        let tally = Tally {
            delivered: 1,
            ..Tally::default()
        };
        tally.fill(&mut report, true);
        assert!(report.balance().is_err());
        tally.fill(&mut report, false);
        assert!(report.balance().is_ok());
        assert_eq!(report.pending, 1);
    }
}
