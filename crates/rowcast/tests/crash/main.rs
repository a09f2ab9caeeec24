//! `kill -9` at every named point, over ten seeds, for the http and the postgres destination: no
//! change is lost, no older value follows a newer one, and only what the crash left open is sent
//! again, judged by the receivers' own logs.
//!
//! A world walks all points, one after the other, so that each crash meets the state that earlier
//! ones left. `ROWCAST_CRASH_SEED=7` walks one seed alone, `ROWCAST_CRASH_POINT=run-opened` one
//! point.

mod chance;
#[path = "../support/command.rs"]
mod command;
mod history;
mod points;
#[path = "../support/project.rs"]
mod project;
mod receiver;
mod table;
mod window;
mod world;

use std::sync::{Condvar, Mutex};

use points::{Kind, POINTS};
use world::World;

const SEEDS: u64 = 10;

/// Worlds at a time, over all tests of this file. Most of the time one waits for the lease of its
/// dead process, so that more than there are cores are well.
const WORLDS: usize = 10;

static FREE: Mutex<usize> = Mutex::new(WORLDS);
static FREED: Condvar = Condvar::new();

#[expect(
    clippy::disallowed_methods,
    reason = "switches of a person who looks into a failure"
)]
fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Walks all points in one world. `Err`: where it went wrong, and what was found.
fn walk(kind: Kind, seed: u64) -> Result<(), String> {
    let free = FREE.lock().expect("a count");
    *FREED.wait_while(free, |free| *free == 0).expect("a count") -= 1;
    let at = Mutex::new("the first runs".to_owned());
    let walked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new(kind, seed).await;
            let only = asked("ROWCAST_CRASH_POINT");
            for point in POINTS.iter().filter(|point| point.is_on(kind)) {
                if only.as_deref().is_none_or(|only| only == point.name) {
                    point.name.clone_into(&mut at.lock().expect("a name"));
                    world.cross(*point).await;
                }
            }
        });
    }));
    *FREE.lock().expect("a count") += 1;
    FREED.notify_one();
    walked.map_err(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| {
                panic
                    .downcast_ref::<&str>()
                    .map(|words| (*words).to_owned())
            })
            .unwrap_or_default();
        let at = at.lock().map(|at| at.clone()).unwrap_or_default();
        format!("{kind:?}, seed {seed}, {at}: {words}")
    })
}

fn walk_all(kind: Kind) {
    let seeds: Vec<u64> = match asked("ROWCAST_CRASH_SEED") {
        Some(seed) => vec![seed.parse().expect("ROWCAST_CRASH_SEED is a number")],
        None => (1..=SEEDS).collect(),
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let walks: Vec<_> = seeds
            .into_iter()
            .map(|seed| scope.spawn(move || walk(kind, seed)))
            .collect();
        walks
            .into_iter()
            .filter_map(|walk| walk.join().expect("panics are caught").err())
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn rule_8_a_kill_at_any_point_loses_reorders_and_repeats_nothing_over_http() {
    walk_all(Kind::Http);
}

#[test]
fn rule_14_a_kill_at_any_point_has_every_effect_exactly_once_in_postgres() {
    walk_all(Kind::Postgres);
}
