//! Broken networks and broken servers around the real program: every run ends within its deadline,
//! with the right code and a reason that says what failed and the way out, and once the fault is
//! gone the destination equals the source, judged by what the receiver saw.
//!
//! `ROWCAST_FAULT=words` walks only the cases whose names hold these words, and prints how each
//! ended.

#![allow(clippy::print_stdout, reason = "it says how many cases ran")]

#[path = "../support/command.rs"]
mod command;
mod destination;
mod encrypted;
mod https;
mod judge;
mod servers;
mod source;
mod world;

use std::sync::Mutex;

use rowcast_testkit::proxy::Rule;
use world::{Kind, World};

/// Where the faults of a case are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    ToSource,
    ToDestination,
}

/// How the disturbed run ends: exit code, and the error's code unless it succeeds.
pub(crate) type End = (i32, &'static str);

/// One fault at one place.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) path: Path,
    pub(crate) rules: Vec<Rule>,
    /// The ends that are right; more than one where it depends on who notices first.
    pub(crate) ends: &'static [End],
    /// Records that may arrive twice: none when the fault comes before the first request.
    pub(crate) repeats: bool,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of a person who looks into a failure"
)]
pub(crate) fn asked() -> Option<String> {
    std::env::var("ROWCAST_FAULT").ok()
}

/// Worlds at a time: most of the time one waits for a timeout.
const WORLDS: usize = 10;

/// Walks all cases over some worlds, and proves that all of them ran.
pub(crate) fn walk(name: &str, kind: Kind, cases: Vec<Case>, at_least: usize) {
    let only = asked();
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|case| only.as_deref().is_none_or(|only| case.name.contains(only)))
        .collect();
    let total = cases.len();
    assert!(
        only.is_some() || total >= at_least,
        "{total} cases of {at_least}"
    );
    let queue = Mutex::new(cases.into_iter());
    let next = || queue.lock().expect("a queue").next();
    let walked = Mutex::new((0_usize, Vec::<String>::new()));
    std::thread::scope(|scope| {
        for number in 0..WORLDS.min(total) {
            let (next, walked, only) = (&next, &walked, &only);
            scope.spawn(move || {
                let mut world = World::new(kind, &format!("{name}_{number}"));
                while let Some(case) = next() {
                    let crossed = world::caught(|| world.cross(&case));
                    let mut walked = walked.lock().expect("a count");
                    walked.0 += 1;
                    match crossed {
                        Ok(said) if only.is_some() => println!("{}: {said}", case.name),
                        Ok(_) => {}
                        Err(problem) => {
                            walked.1.push(format!("== {}\n{problem}", case.name));
                            drop(walked);
                            world = World::new(kind, &format!("{name}_{number}_again"));
                        }
                    }
                }
            });
        }
    });
    let (count, problems) = walked.into_inner().expect("a count");
    println!("{name}: {count} cases ran");
    assert_eq!(count, total);
    assert!(
        problems.is_empty(),
        "{} of {count} cases went wrong\n{}",
        problems.len(),
        problems.join("\n\n")
    );
}

/// The page that tells people what to expect names every end that is expected here.
#[test]
fn the_page_of_faults_names_every_end() {
    let page = include_str!("../../../../docs/src/faults.md");
    let files = [
        include_str!("source.rs"),
        include_str!("destination.rs"),
        include_str!("servers.rs"),
        include_str!("encrypted.rs"),
        include_str!("https.rs"),
    ];
    let mut ends = 0;
    for file in files {
        for (at, _) in file.match_indices("\"E0") {
            let code = &file[at + 1..at + 6];
            assert!(
                page.contains(&format!("errors/{code}.md")),
                "{code} is missing"
            );
            ends += 1;
        }
    }
    assert!(ends >= 10, "{ends}");
}
