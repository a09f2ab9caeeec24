//! The model law: whatever happens to the table, the destination, the ledger and the process, once
//! the faults stop a mirror equals its source, and a run without changes writes and sends nothing.
//!
//! Everything is in memory and on a virtual clock; one history takes well under a millisecond of
//! waiting. The oracle is `Table::mirror`: what a mirror of the table must hold.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rowcast_core::{Code, Mode, RunReport, RunStatus};
use rowcast_testkit::arbitrary::{Round, history};
use rowcast_testkit::faulty::Act;
use rowcast_testkit::memory::Table;
use world::{Shape, World};

/// Histories of each of the six tests; together more than 10,000.
const HISTORIES: u32 = 2_200;

/// Runs with faults in one history.
const ROUNDS: usize = 4;

/// Whatever happened in a run, its report adds up and counts what is there.
fn check_report(report: &RunReport, table: &Table, acts: &[Act]) {
    report.balance().unwrap();
    assert_eq!(
        report.counts.read,
        table.rows.len() as u64 + table.null_keys
    );
    assert_ne!(report.status, RunStatus::Running);
    if let Some(reason) = &report.failure
        && reason.code == Code::Defect
    {
        assert!(acts.contains(&Act::WrongCount), "{reason:?}");
    }
}

/// A destination that keeps its progress with the data has all of a batch or nothing, and does not
/// refuse what it has.
fn acts(shape: Shape, round: &Round) -> Vec<Act> {
    let whole = |act: &Act| !matches!(act, Act::Reject(_) | Act::Unheard(_) | Act::WrongCount);
    let mut acts = round.acts.clone();
    let refuses = acts.contains(&Act::Split);
    let lost = |act: &Act| matches!(act, Act::LostAfter | Act::HangAfter);
    acts.retain(|act| !shape.exactly_once || whole(act) && !(refuses && lost(act)));
    acts
}

async fn play(shape: Shape, rounds: &[Round]) {
    let world = World::new(shape);
    for round in rounds {
        world
            .ledger
            .edit(|table| round.edits.iter().for_each(|edit| edit.apply(table)));
        world.destination.play(acts(shape, round));
        world.faulty_ledger.play(round.commits.clone());
        world.crash.arm(round.crash);
        if let Some(report) = world.run().await {
            check_report(&report, &world.table(), &round.acts);
        }
    }
    world.destination.play([]);
    world.faulty_ledger.play([]);
    world.ledger.edit(|table| {
        // What can't be delivered by its nature is no part of the law.
        table.null_keys = 0;
        let mut seen = std::collections::BTreeSet::new();
        let email = shape.match_on_email;
        table.rows.retain(|_, (address, name)| {
            name != "invalid" && (!email || seen.insert(address.clone()))
        });
    });
    let table = world.table();
    let mut runs = 0;
    loop {
        runs += 1;
        let report = world
            .run()
            .await
            .expect("nothing ends the process any more");
        check_report(&report, &table, &[]);
        assert_eq!(report.status, RunStatus::Succeeded, "{:?}", report.failure);
        if runs
            == if shape.rewinds && !shape.publishes {
                2
            } else {
                3
            }
        {
            break;
        }
    }
    check_law(&world, shape);
    check_order(&world);
    if shape.exactly_once {
        check_once(&world);
    }
    let commits = world.ledger.memory().commits;
    let requests = world.memory.requests();
    let report = world.run().await.unwrap();
    assert_eq!(report.counts.unchanged, report.counts.read);
    assert_eq!(
        world.ledger.memory().commits,
        commits,
        "wrote without changes"
    );
    assert_eq!(world.memory.requests(), requests, "sent without changes");
}

fn check_law(world: &World, shape: Shape) {
    let expected = world.table().mirror(&world.mapper);
    let records = world.memory.records();
    match shape.mode {
        Mode::Mirror => assert_eq!(records, expected),
        _ => {
            for (identity, fields) in expected {
                assert_eq!(records.get(&identity), Some(&fields), "{identity}");
            }
        }
    }
    let memory = world.ledger.memory();
    assert!(memory.intents.is_empty() && memory.doubts.is_empty());
    assert_eq!(memory.state.len(), world.table().rows.len());
}

/// Each key's writes come from runs in their order: never an older value after a newer one.
fn check_order(world: &World) {
    let mut last = BTreeMap::new();
    for written in world.memory.log() {
        let before = last.insert(written.key.clone(), written.run);
        assert!(
            before.is_none_or(|before| before <= written.run),
            "{written:?}"
        );
    }
}

/// No record took effect twice.
fn check_once(world: &World) {
    let mut seen = std::collections::BTreeSet::new();
    for written in world.memory.log() {
        assert!(seen.insert(written.idempotency_key.clone()), "{written:?}");
    }
}

fn check(shape: impl Strategy<Value = Shape>) {
    let mut runner = TestRunner::new(Config {
        cases: HISTORIES,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&(shape, history(ROUNDS)), |(shape, rounds)| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            runtime.block_on(play(shape, &rounds));
            Ok(())
        })
        .unwrap();
}

fn shape(mode: Mode, match_on_email: bool, publishes: bool) -> impl Strategy<Value = Shape> {
    (1_usize..4, 1_usize..4, prop::bool::weighted(0.8), 1_u32..4).prop_map(
        move |(batch, concurrency, rewinds, attempts)| Shape {
            mode,
            match_on_email,
            rewinds: rewinds || !match_on_email,
            publishes,
            exactly_once: false,
            batch,
            concurrency,
            attempts,
            // Rejects stay due: the law is about what happens when they are tried.
            retry_runs: 1_000,
        },
    )
}

#[test]
fn guarantee_1_and_rule_17_a_mirror_ends_equal_to_its_source() {
    check(shape(Mode::Mirror, false, false));
}

#[test]
fn rule_17_a_mirror_with_other_identities_ends_equal_to_its_source() {
    check(shape(Mode::Mirror, true, false));
}

#[test]
fn rule_15_a_mirror_that_publishes_ends_equal_to_its_source() {
    check(shape(Mode::Mirror, false, true));
}

#[test]
fn rule_15_a_mirror_with_other_identities_that_publishes_ends_equal_to_its_source() {
    check(shape(Mode::Mirror, true, true));
}

#[test]
fn rule_8_an_upsert_ends_with_every_row_of_its_source() {
    check(shape(Mode::Upsert, false, false));
}

#[test]
fn rule_14_a_destination_with_progress_of_its_own_has_every_record_once() {
    check(shape(Mode::Mirror, false, false).prop_map(|shape| Shape {
        exactly_once: true,
        ..shape
    }));
}
