//! What a seed means: the sync, the edits of its table and the processes that run it, each with
//! what will go wrong.
//!
//! A plan is explicit, so that a failing one can be made smaller by leaving parts out.

use rowcast_core::Mode;
use rowcast_testkit::arbitrary::Edit;

use crate::chance::Chance;

/// Keys and addresses of the table: few, so that they collide, swap and come back.
const IDS: u64 = 7;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shape: Shape,
    /// Edits of the table with their time in milliseconds.
    pub(crate) edits: Vec<(u64, Edit)>,
    pub(crate) processes: Vec<Process>,
    pub(crate) sabotage: Sabotage,
}

/// A defect put in on purpose, to show that the laws notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// State forgets that an outcome is not known.
    ForgetDoubts,
    /// A takeover does not wait until the last request of the run before can have ended.
    TakeOverAtOnce,
    /// A record without a result is called delivered.
    TrustSilence,
    /// What an earlier run had announced and not settled is forgotten.
    ForgetIntents,
    /// What others used of the quota is forgotten.
    ForgetQuota,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) mode: Mode,
    pub(crate) match_on_email: bool,
    pub(crate) rewinds: bool,
    pub(crate) publishes: bool,
    pub(crate) exactly_once: bool,
    pub(crate) batch: usize,
    pub(crate) concurrency: usize,
    pub(crate) attempts: u32,
    /// Requests a second, if limited.
    pub(crate) rate: Option<u32>,
    /// Requests in a window of time that all processes share, if limited.
    pub(crate) quota: Option<u32>,
    /// Requests that the service takes at once; it refuses what comes beside them.
    pub(crate) capacity: Option<usize>,
}

/// One engine that runs the sync once.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) seed: u64,
    pub(crate) starts_ms: u64,
    /// Waits for the lease instead of giving up.
    pub(crate) waits: bool,
    /// Requests that go wrong, in a thousand.
    pub(crate) faults: u64,
    /// Calls of the ledger that go wrong, in a thousand.
    pub(crate) ledger_faults: u64,
    /// The service and the ledger are slow.
    pub(crate) slow: bool,
    pub(crate) ends: Ends,
    /// Its lease is not renewed: a service that takes long makes it run out.
    pub(crate) renewals_fail: bool,
    /// The ledger can't be reached between these times after the start.
    pub(crate) cut_off_ms: Option<(u64, u64)>,
    pub(crate) full: bool,
    pub(crate) records_max: Option<u64>,
    pub(crate) duration_max_s: Option<u64>,
    /// Keys whose records the service refuses, and each batch with them.
    pub(crate) poison: Vec<i64>,
}

/// How a process ends before its run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Never,
    /// Killed at the n-th passage of a place between two steps.
    AtPassage(u64),
    /// Killed so long after its start.
    AfterMs(u64),
    CancelledAfterMs(u64),
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        // Limits have their own chance: they are put around worlds that would be there without.
        let shape = limits(&mut Chance::new(!seed), shape(&mut chance));
        let processes: Vec<Process> = (0..chance.between(1, 6))
            .scan(0, |starts_ms, _| {
                let process = process(&mut chance, shape, *starts_ms);
                let near = chance.happens(500);
                *starts_ms += chance.between(0, if near { 2_000 } else { 120_000 });
                Some(process)
            })
            .collect();
        let last = processes.last().map_or(0, |process| process.starts_ms);
        let mut edits: Vec<(u64, Edit)> = (0..chance.between(1, 6))
            .map(|_| (0, edit(&mut chance)))
            .collect();
        if chance.happens(600) {
            edits.extend((0..IDS as i64).map(|id| (0, Edit::Put(id, 0))));
        }
        for process in &processes {
            for _ in 0..chance.below(4) {
                // Between two runs, and in the middle of one.
                let near = process.starts_ms.saturating_sub(10) + chance.below(3_000);
                edits.push((near, edit(&mut chance)));
            }
        }
        for _ in 0..chance.below(5) {
            edits.push((chance.below(last + 60_000), edit(&mut chance)));
        }
        edits.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            shape,
            edits,
            processes,
            sabotage: Sabotage::None,
        }
    }

    /// The same plan with one thing less, for every such thing.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut smaller = Vec::new();
        for index in 0..self.processes.len() {
            let mut plan = self.clone();
            plan.processes.remove(index);
            smaller.push(plan);
        }
        for index in 0..self.edits.len() {
            let mut plan = self.clone();
            plan.edits.remove(index);
            smaller.push(plan);
        }
        let simpler: [fn(&mut Process); 7] = [
            |process| process.renewals_fail = false,
            |process| process.faults = 0,
            |process| process.ledger_faults = 0,
            |process| process.ends = Ends::Never,
            |process| process.cut_off_ms = None,
            |process| process.slow = false,
            |process| process.poison.clear(),
        ];
        for index in 0..self.processes.len() {
            for simplify in simpler {
                let mut plan = self.clone();
                let before = format!("{:?}", plan.processes[index]);
                simplify(&mut plan.processes[index]);
                if before != format!("{:?}", plan.processes[index]) {
                    smaller.push(plan);
                }
            }
        }
        smaller
    }
}

fn shape(chance: &mut Chance) -> Shape {
    let match_on_email = chance.happens(400);
    let kind = chance.below(10);
    let exactly_once = kind < 2;
    let publishes = kind == 2;
    Shape {
        mode: if match_on_email || chance.happens(700) {
            Mode::Mirror
        } else {
            Mode::Upsert
        },
        match_on_email,
        rewinds: chance.happens(800) || !match_on_email,
        publishes,
        exactly_once,
        batch: chance.between(1, 5) as usize,
        concurrency: chance.between(1, 4) as usize,
        attempts: chance.between(1, 4) as u32,
        rate: chance.happens(200).then_some(2),
        quota: None,
        capacity: None,
    }
}

fn limits(chance: &mut Chance, shape: Shape) -> Shape {
    let quota = chance.between(1, 8) as u32;
    let capacity = chance.between(1, 3) as usize;
    Shape {
        quota: chance.happens(250).then_some(quota),
        capacity: chance.happens(250).then_some(capacity),
        ..shape
    }
}

fn process(chance: &mut Chance, shape: Shape, starts_ms: u64) -> Process {
    let ends = match chance.below(10) {
        0..3 => Ends::AtPassage(chance.between(1, 40)),
        3 => Ends::AfterMs(chance.between(0, 40_000)),
        4 => Ends::CancelledAfterMs(chance.between(0, 40_000)),
        _ => Ends::Never,
    };
    let cut = chance.below(5_000);
    let renewals_fail = chance.happens(120);
    Process {
        seed: chance.next(),
        starts_ms,
        waits: chance.happens(800),
        faults: chance.pick(&[(2, 0), (3, 250), (2, 500), (1, 800)]),
        ledger_faults: chance.pick(&[(4, 0), (3, 60), (1, 200)]),
        slow: renewals_fail || chance.happens(300),
        renewals_fail,
        ends,
        cut_off_ms: chance
            .happens(150)
            .then(|| (cut, cut + chance.between(1_000, 200_000))),
        full: chance.happens(80),
        records_max: chance.happens(80).then_some(3),
        duration_max_s: chance.happens(80).then_some(5),
        poison: if chance.happens(150) && !shape.publishes {
            vec![chance.below(IDS) as i64]
        } else {
            Vec::new()
        },
    }
}

fn edit(chance: &mut Chance) -> Edit {
    let a = chance.below(IDS) as i64;
    let b = chance.below(IDS) as i64;
    match chance.below(19) {
        0..6 => Edit::Put(a, chance.below(3) as u8),
        6..9 => Edit::Address(a, b),
        9..12 => Edit::Remove(a),
        12..14 => Edit::Move(a, b),
        14..17 => Edit::Swap(a, b),
        17 => Edit::Spoil(a),
        _ => Edit::NullKey(chance.happens(500)),
    }
}
