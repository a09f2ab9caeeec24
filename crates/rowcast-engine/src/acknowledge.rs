//! What is settled, on its way to the ledger: steps, intents, counts.
//!
//! An intent is closed in the same step that carries the last settlement of its records. As long as
//! all of them were delivered as announced they wait for each other, so that the ledger can
//! acknowledge the intent as a whole; no settlement waits longer than it may. It must never count a
//! change before the ledger has it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rowcast_core::Settled;
use rowcast_core::ledger::{Intent, Step, Whole};
use rowcast_core::settle::Verdict;

use crate::report::Tally;

/// Most settlements of one step, unless one intent has more.
pub(crate) const STEP_RECORDS_MAX: usize = 10_000;

/// A settlement waits at most so long for its step.
pub(crate) const STEP_DELAY_MAX: Duration = Duration::from_secs(1);

/// What waits for a step.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "whole intents are few, and memory of its own would cost every settlement more"
)]
enum Queued {
    /// One settlement with its bookkeeping.
    One {
        settled: Settled,
        /// The intent whose last record this is.
        closes: Option<i64>,
        counted: bool,
    },
    /// An intent with all its settlements.
    Whole(Whole),
}

/// An intent that is not settled yet.
#[derive(Debug, Default)]
struct Unsettled {
    left: usize,
    /// Its settlements so far, while it may still be acknowledged as a whole.
    held: Vec<Settled>,
    /// A record of it was settled on its own.
    broken: bool,
}

/// Settlements between the answer and the ledger.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements {
    queue: VecDeque<Queued>,
    /// Settlements in the queue.
    queued: usize,
    /// Settlements that unsettled intents hold.
    held: usize,
    oldest: Option<Instant>,
    unsettled: HashMap<i64, Unsettled>,
    announced: usize,
    last_intent: i64,
    complete: bool,
    /// Intents to close although none of their settlements needs a step.
    abandoned: Vec<i64>,
    pub tally: Tally,
}

/// What a step did, counted once the ledger has it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    tally: Tally,
    /// For the observer, when it wants them.
    pub settled: Vec<Settled>,
    pub writes: bool,
    pub skips: bool,
    pub opens: bool,
}

impl Carried {
    fn take(&mut self, settled: &Settled, counted: bool, observed: bool) {
        self.writes = true;
        if counted {
            self.tally.count(settled);
        }
        if observed {
            self.settled.push(settled.clone());
        }
    }
}

impl Acknowledgements {
    /// A new intent's number.
    pub(crate) fn announce(&mut self, records: usize) -> i64 {
        self.last_intent += 1;
        self.widen(records);
        self.last_intent
    }

    /// The intent announced last.
    pub(crate) fn last_intent(&self) -> i64 {
        self.last_intent
    }

    /// Adds records to the intent announced last, before it is committed.
    pub(crate) fn widen(&mut self, records: usize) {
        self.unsettled.entry(self.last_intent).or_default().left += records;
        self.announced += records;
    }

    /// Moves records out of an intent, to be announced under another.
    pub(crate) fn move_out(&mut self, intent: i64, records: usize) {
        self.announced -= records;
        self.break_up(intent);
        if let Some(unsettled) = self.unsettled.get_mut(&intent) {
            unsettled.left -= records;
            if unsettled.left == 0 {
                self.unsettled.remove(&intent);
                self.abandoned.push(intent);
            }
        }
    }

    /// Records that are announced and not settled.
    pub(crate) fn announced(&self) -> usize {
        self.announced
    }

    /// Takes a settlement. `intent`: under which it was announced; `counted`: whether the change
    /// is decided with it.
    pub(crate) fn settle(
        &mut self,
        settled: Settled,
        intent: Option<i64>,
        counted: bool,
        now: Instant,
    ) {
        let mut closes = None;
        if let Some(intent) = intent {
            self.announced = self.announced.saturating_sub(1);
            if !(settled.is_plain() && counted) {
                self.break_up(intent);
            }
            if let Some(unsettled) = self.unsettled.get_mut(&intent) {
                unsettled.left -= 1;
                let last = unsettled.left == 0;
                if !unsettled.broken {
                    if unsettled.held.is_empty() {
                        unsettled.held.reserve_exact(unsettled.left + 1);
                    }
                    unsettled.held.push(settled);
                    self.held += 1;
                    self.oldest.get_or_insert(now);
                    if last {
                        self.finish_whole(intent);
                    }
                    return;
                }
                if last {
                    self.unsettled.remove(&intent);
                    closes = Some(intent);
                    self.complete = true;
                }
            }
        }
        let moves_nothing = matches!(settled.verdict, Verdict::Pending | Verdict::Held);
        if moves_nothing && closes.is_none() {
            if counted {
                self.tally.count(&settled);
            }
            return;
        }
        self.oldest.get_or_insert(now);
        self.push(settled, closes, counted);
    }

    fn push(&mut self, settled: Settled, closes: Option<i64>, counted: bool) {
        self.queued += 1;
        self.queue.push_back(Queued::One {
            settled,
            closes,
            counted,
        });
    }

    /// All of an intent was delivered as announced.
    fn finish_whole(&mut self, intent: i64) {
        if let Some(Unsettled { held: settled, .. }) = self.unsettled.remove(&intent) {
            self.held -= settled.len();
            self.queued += settled.len();
            self.queue
                .push_back(Queued::Whole(Whole { intent, settled }));
            self.complete = true;
        }
    }

    /// From now on the intent's records are settled one by one.
    fn break_up(&mut self, intent: i64) {
        let Some(unsettled) = self.unsettled.get_mut(&intent) else {
            return;
        };
        unsettled.broken = true;
        let held = std::mem::take(&mut unsettled.held);
        self.held -= held.len();
        for settled in held {
            self.push(settled, None, true);
        }
    }

    /// Settlements that wait for others of their intent wait no longer.
    fn break_up_all(&mut self) {
        if self.held == 0 {
            return;
        }
        let held = self.unsettled.iter();
        let mut intents: Vec<i64> = held
            .filter(|(_, unsettled)| !unsettled.held.is_empty())
            .map(|(intent, _)| *intent)
            .collect();
        intents.sort_unstable();
        for intent in intents {
            self.break_up(intent);
        }
    }

    /// A record accepted but not durable: it leaves the window, its intent stays open.
    pub(crate) fn accept(&mut self) {
        self.announced = self.announced.saturating_sub(1);
    }

    /// Records whose outcome only the destination knows: their intent stays open for the next run.
    pub(crate) fn leave_open(&mut self, records: usize) {
        self.announced = self.announced.saturating_sub(records);
        self.tally.unknown += records as u64;
    }

    /// Gives every open intent up: nothing of it took effect, but for what is settled.
    pub(crate) fn abandon_all(&mut self) {
        self.break_up_all();
        self.abandoned
            .extend(self.unsettled.drain().map(|(id, _)| id));
        self.abandoned.sort_unstable();
        self.announced = 0;
    }

    /// Settlements waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.queued + self.held
    }

    /// Something can be written without breaking an intent up.
    pub(crate) fn is_ready(&self) -> bool {
        !self.queue.is_empty() || !self.abandoned.is_empty()
    }

    /// Nothing is left to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.held == 0 && self.abandoned.is_empty()
    }

    /// When a step must be written at the latest.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.oldest.map(|oldest| oldest + STEP_DELAY_MAX)
    }

    /// Whether a step must be written now: a window completed, enough is waiting, or long enough.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.complete
            || !self.abandoned.is_empty()
            || self.waiting() >= STEP_RECORDS_MAX
            || self.due_at().is_some_and(|at| at <= now)
    }

    /// The next step: settlements in their order, intents to close, intents to open. `drained`:
    /// nothing more is on its way. `observed`: somebody wants to see what was settled.
    pub(crate) fn step(
        &mut self,
        open: Vec<Intent>,
        now: Instant,
        drained: bool,
        observed: bool,
    ) -> (Step, Carried) {
        let late = self.due_at().is_some_and(|at| at <= now);
        if drained || late || self.held >= STEP_RECORDS_MAX {
            self.break_up_all();
        }
        let mut step = Step {
            close: std::mem::take(&mut self.abandoned),
            open,
            ..Step::default()
        };
        let mut carried = Carried {
            opens: !step.open.is_empty(),
            ..Carried::default()
        };
        let mut records = 0;
        while records < STEP_RECORDS_MAX
            && let Some(queued) = self.queue.pop_front()
        {
            match queued {
                Queued::One {
                    settled,
                    closes,
                    counted,
                } => {
                    records += 1;
                    step.close.extend(closes);
                    carried.skips |=
                        matches!(settled.verdict, Verdict::Skipped | Verdict::SkippedFor(_));
                    carried.take(&settled, counted, observed);
                    if !matches!(settled.verdict, Verdict::Pending | Verdict::Held) {
                        step.settled.push(settled);
                    }
                }
                Queued::Whole(whole) => {
                    records += whole.settled.len();
                    for settled in &whole.settled {
                        carried.take(settled, true, observed);
                    }
                    step.whole.push(whole);
                }
            }
        }
        self.queued -= records;
        self.oldest = (self.waiting() > 0).then_some(now);
        self.complete = false;
        (step, carried)
    }

    /// Counts what the ledger has now.
    pub(crate) fn carried(&mut self, carried: &Carried) {
        self.tally.add(&carried.tally);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowcast_core::{Code, Key, Kind, Operation, Reason};

    fn delivered(key: i64) -> Settled {
        Settled {
            key: Key::int(key),
            kind: Kind::Added,
            checksum: Some(key),
            verdict: Verdict::Delivered(Operation::Upsert),
            retried: false,
            match_values: None,
            sent: None,
            idempotency_key: None,
            keep_state: false,
        }
    }

    /// An intent of three records, two of which are delivered.
    fn two_of_three(now: Instant) -> (Acknowledgements, i64) {
        let mut acks = Acknowledgements::default();
        let intent = acks.announce(3);
        acks.settle(delivered(1), Some(intent), true, now);
        acks.settle(delivered(2), Some(intent), true, now);
        (acks, intent)
    }

    fn whole(step: &Step) -> Vec<(i64, usize)> {
        let whole = step.whole.iter();
        whole
            .map(|whole| (whole.intent, whole.settled.len()))
            .collect()
    }

    #[test]
    fn an_intent_that_is_delivered_as_announced_is_acknowledged_as_a_whole() {
        let now = Instant::now();
        let (mut acks, intent) = two_of_three(now);
        assert!(!acks.is_due(now), "the others are waited for");
        acks.settle(delivered(3), Some(intent), true, now);
        assert!(acks.is_due(now));
        let (step, carried) = acks.step(Vec::new(), now, false, false);
        assert_eq!(whole(&step), [(intent, 3)]);
        assert!(step.settled.is_empty() && step.close.is_empty());
        assert_eq!(acks.tally.delivered, 0, "the ledger does not have it yet");
        acks.carried(&carried);
        assert_eq!(acks.tally.delivered, 3);
        assert!(acks.is_empty() && acks.announced() == 0);
    }

    #[test]
    fn a_record_that_was_not_simply_delivered_breaks_its_intent_up() {
        let now = Instant::now();
        let rejected = Verdict::Rejected {
            operation: Operation::Upsert,
            reason: Reason::new(Code::DestinationRejected, "no"),
            doubt: false,
        };
        let others: [fn(&mut Settled, Verdict); 4] = [
            |settled, verdict| settled.verdict = verdict,
            |settled, _| settled.retried = true,
            |settled, _| settled.kind = Kind::Updated,
            |settled, _| settled.match_values = Some(Vec::new()),
        ];
        for other in others {
            let (mut acks, intent) = two_of_three(now);
            let mut last = delivered(3);
            other(&mut last, rejected.clone());
            acks.settle(last, Some(intent), true, now);
            let (step, _) = acks.step(Vec::new(), now, false, false);
            assert!(step.whole.is_empty());
            assert_eq!((step.settled.len(), &step.close[..]), (3, &[intent][..]));
        }
    }

    #[test]
    fn settlements_wait_for_their_intent_no_longer_than_for_a_step() {
        let now = Instant::now();
        let (mut acks, intent) = two_of_three(now);
        let late = now + STEP_DELAY_MAX;
        assert!(acks.is_due(late));
        let (step, _) = acks.step(Vec::new(), late, false, false);
        assert_eq!((step.settled.len(), step.close.len()), (2, 0));
        acks.settle(delivered(3), Some(intent), true, late);
        let (step, _) = acks.step(Vec::new(), late, false, false);
        assert!(step.whole.is_empty(), "part of it is in state already");
        assert_eq!((step.settled.len(), &step.close[..]), (1, &[intent][..]));
    }
}
