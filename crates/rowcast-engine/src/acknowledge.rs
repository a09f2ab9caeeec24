//! What is settled, on its way to the ledger: steps, intents, counts.
//!
//! An intent is closed in the same step that carries the last settlement of its records. It must
//! never count a change before the ledger has it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rowcast_core::Settled;
use rowcast_core::ledger::{Intent, Step};
use rowcast_core::settle::Verdict;

use crate::report::Tally;

/// Most settlements of one step.
pub(crate) const STEP_RECORDS_MAX: usize = 1_000;

/// A settlement waits at most so long for its step.
pub(crate) const STEP_DELAY_MAX: Duration = Duration::from_secs(1);

/// One settlement with its bookkeeping.
#[derive(Debug)]
struct Queued {
    settled: Settled,
    /// The intent whose last record this is.
    closes: Option<i64>,
    counted: bool,
}

/// Settlements between the answer and the ledger.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements {
    queue: VecDeque<Queued>,
    oldest: Option<Instant>,
    /// Records of each open intent that are not settled yet.
    unsettled: HashMap<i64, usize>,
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
    settled: Vec<(Settled, bool)>,
    pub skips: bool,
    pub opens: bool,
}

impl Carried {
    /// Whether the step acknowledges anything.
    pub(crate) fn writes(&self) -> bool {
        !self.settled.is_empty()
    }
}

impl Acknowledgements {
    /// A new intent's number.
    pub(crate) fn announce(&mut self, records: usize) -> i64 {
        self.last_intent += 1;
        self.unsettled.insert(self.last_intent, records);
        self.announced += records;
        self.last_intent
    }

    /// The intent announced last.
    pub(crate) fn last_intent(&self) -> i64 {
        self.last_intent
    }

    /// Adds records to the intent announced last, before it is committed.
    pub(crate) fn widen(&mut self, records: usize) {
        *self.unsettled.entry(self.last_intent).or_default() += records;
        self.announced += records;
    }

    /// Moves records out of an intent, to be announced under another.
    pub(crate) fn move_out(&mut self, intent: i64, records: usize) {
        self.announced -= records;
        if let Some(left) = self.unsettled.get_mut(&intent) {
            *left -= records;
            if *left == 0 {
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
            if let Some(left) = self.unsettled.get_mut(&intent) {
                *left -= 1;
                if *left == 0 {
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
        self.queue.push_back(Queued {
            settled,
            closes,
            counted,
        });
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

    /// Gives every open intent up: nothing of it took effect.
    pub(crate) fn abandon_all(&mut self) {
        self.abandoned
            .extend(self.unsettled.drain().map(|(id, _)| id));
        self.abandoned.sort_unstable();
        self.announced = 0;
    }

    /// Settlements waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Nothing is left to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.abandoned.is_empty()
    }

    /// When a step must be written at the latest.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.oldest.map(|oldest| oldest + STEP_DELAY_MAX)
    }

    /// Whether a step must be written now: a window completed, enough is waiting, or long enough.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.complete
            || !self.abandoned.is_empty()
            || self.queue.len() >= STEP_RECORDS_MAX
            || self.due_at().is_some_and(|at| at <= now)
    }

    /// The next step: settlements in their order, intents to close, intents to open.
    pub(crate) fn step(&mut self, open: Vec<Intent>, now: Instant) -> (Step, Carried) {
        let mut step = Step {
            close: std::mem::take(&mut self.abandoned),
            open,
            ..Step::default()
        };
        let mut carried = Carried {
            opens: !step.open.is_empty(),
            ..Carried::default()
        };
        while step.settled.len() < STEP_RECORDS_MAX
            && let Some(queued) = self.queue.pop_front()
        {
            step.close.extend(queued.closes);
            carried.skips |= queued.settled.verdict == Verdict::Skipped;
            carried
                .settled
                .push((queued.settled.clone(), queued.counted));
            if !matches!(queued.settled.verdict, Verdict::Pending | Verdict::Held) {
                step.settled.push(queued.settled);
            }
        }
        self.oldest = (!self.queue.is_empty()).then_some(now);
        self.complete = false;
        (step, carried)
    }

    /// Counts what the ledger has now; returns it for the observer.
    pub(crate) fn carried(&mut self, carried: Carried) -> Vec<Settled> {
        let mut settled = Vec::with_capacity(carried.settled.len());
        for (item, counted) in carried.settled {
            if counted {
                self.tally.count(&item);
            }
            settled.push(item);
        }
        settled
    }
}
