//! Deterministic simulation of the engine: a seed is a whole world of edits, faults, crashes,
//! cancels and takeovers on virtual time, judged by laws on its trace.
//!
//! `ROWCAST_SIM_SEED=n` replays one seed and prints its trace; a failing seed prints itself, made
//! as small as it can be. Nothing here may ask the machine's clock, its entropy, or the order of a
//! hash map: a seed replays byte for byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chance;
mod doctored;
mod laws;
mod memory;
mod plan;
mod service;
mod trace;
mod world;

use std::fmt::Write as _;

use plan::{Plan, Sabotage};
use trace::{Event, What, text};
use world::{judge, play, shrink};

/// Seeds that every test run plays.
const SEEDS: u64 = 2_000;

/// Seeds that are played twice.
const SEEDS_TWICE: u64 = 150;

/// Seeds among which each sabotage must be noticed.
const SEEDS_SABOTAGED: u64 = 400;

/// A number that the environment asks for.
fn asked(name: &str) -> Option<u64> {
    let value = std::env::var_os(name)?;
    let value = value.to_str().and_then(|value| value.parse().ok());
    Some(value.unwrap_or_else(|| panic!("{name} must be a number")))
}

/// What a person needs of a failing seed: the law, the smallest plan, the part of its trace that
/// is about the keys concerned.
fn explain(plan: &Plan) -> String {
    let smallest = shrink(plan);
    let Err((violation, events)) = judge(&smallest) else {
        return "the seed fails no more: it is not deterministic".into();
    };
    let mut out = format!(
        "seed {} breaks {violation}\nreplay it with ROWCAST_SIM_SEED={}\n\nsmallest plan: \
         {smallest:#?}\n\n",
        plan.seed, plan.seed
    );
    for event in events {
        if violation.names.is_empty() || event.concerns(&violation.names) {
            writeln!(out, "{event}").unwrap();
        }
    }
    out
}

#[test]
fn guarantee_2_and_rule_8_rule_11_rule_13_rule_17_rule_25_hold_for_every_seed() {
    if let Some(seed) = asked("ROWCAST_SIM_SEED") {
        let plan = Plan::new(seed);
        println!("{plan:#?}\n{}", text(&play(&plan)));
        assert!(judge(&plan).is_ok(), "{}", explain(&plan));
        return;
    }
    let seeds = asked("ROWCAST_SIM_SEEDS").unwrap_or(SEEDS);
    let mut seen = Seen::default();
    for seed in 0..seeds {
        let plan = Plan::new(seed);
        match judge(&plan) {
            Ok(events) => seen.look(&events),
            Err((violation, _)) => panic!("{violation}\n{}", explain(&plan)),
        }
    }
    println!("{seeds} seeds: {seen:?}");
    // A simulation in which nothing goes wrong proves nothing.
    let at_least = seeds / 200;
    for (what, count) in seen.all() {
        assert!(count > at_least, "{what} happened {count} times: {seen:?}");
    }
}

#[test]
fn a_seed_replays_byte_for_byte() {
    for seed in 0..SEEDS_TWICE {
        let plan = Plan::new(seed);
        let first = text(&play(&plan));
        let second = text(&play(&plan));
        let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
        assert!(first == second, "seed {seed}: {differs:#?}");
    }
}

/// Each defect put in on purpose is noticed, by a law that has to do with it.
#[test]
fn the_laws_notice_each_sabotage() {
    let kinds = [
        (Sabotage::ForgetDoubts, "nothing is lost"),
        (Sabotage::TakeOverAtOnce, "one identity one operation"),
        (Sabotage::TrustSilence, "state says what was acknowledged"),
        (Sabotage::ForgetIntents, "nothing is lost"),
        (Sabotage::ForgetQuota, "the quota is shared"),
    ];
    for (sabotage, wanted) in kinds {
        let noticed = (0..SEEDS_SABOTAGED).any(|seed| {
            let plan = Plan {
                sabotage,
                ..Plan::new(seed)
            };
            judge(&plan).is_err_and(|(violation, _)| violation.law.contains(wanted))
        });
        assert!(noticed, "{sabotage:?} went unnoticed");
    }
}

/// How often what matters has happened.
#[derive(Debug, Default)]
struct Seen {
    killed: u64,
    cancelled: u64,
    lost_answers: u64,
    busy: u64,
    crowded: u64,
    quota_spent: u64,
    split: u64,
    hung: u64,
    ledger_errors: u64,
    lost_commits: u64,
    lost_leases: u64,
    takeovers: u64,
    recovered_after_kill: u64,
}

impl Seen {
    fn look(&mut self, events: &[Event]) {
        let mut killed = false;
        for event in events {
            let line = format!("{event}");
            let mut note = |what: fn(&mut Self) -> &mut u64, has: bool| {
                *what(self) += u64::from(has);
            };
            match &event.what {
                What::Killed(_) => {
                    killed = true;
                    note(|seen| &mut seen.killed, true);
                }
                What::Cancelled => note(|seen| &mut seen.cancelled, true),
                What::Act(..) => {
                    note(|seen| &mut seen.lost_answers, line.contains("LostAfter"));
                    note(|seen| &mut seen.busy, line.contains("Busy(Some"));
                    note(|seen| &mut seen.crowded, line.contains("Crowded"));
                    note(|seen| &mut seen.split, line.contains("Split"));
                    note(|seen| &mut seen.hung, line.contains("Hang"));
                }
                What::Called(what, how) => {
                    note(|seen| &mut seen.ledger_errors, how != "ok");
                    let lost = *what == "commit" && how.ends_with("answer lost");
                    note(|seen| &mut seen.lost_commits, lost);
                    note(|seen| &mut seen.lost_leases, how.contains("has taken over"));
                }
                What::Ended(report) => {
                    let lost = report.failure.as_ref();
                    let lost = lost.is_some_and(|r| r.code == rowcast_core::Code::LeaseLost);
                    note(|seen| &mut seen.takeovers, lost);
                    let spent = report.notes.iter().any(|note| note.contains("quota"));
                    note(|seen| &mut seen.quota_spent, spent);
                }
                What::Opened { .. } => note(|seen| &mut seen.recovered_after_kill, killed),
                _ => {}
            }
        }
    }

    fn all(&self) -> [(&'static str, u64); 11] {
        [
            ("a kill", self.killed),
            ("a cancel", self.cancelled),
            ("a lost answer", self.lost_answers),
            ("a wait asked for", self.busy),
            ("a request too many at once", self.crowded),
            ("a quota used up", self.quota_spent),
            ("a refused batch", self.split),
            ("a hanging request", self.hung),
            ("an error of the ledger", self.ledger_errors),
            ("a takeover", self.takeovers),
            ("a recovery", self.recovered_after_kill),
        ]
    }
}
