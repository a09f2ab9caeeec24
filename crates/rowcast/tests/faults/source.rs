//! The network between the program and the source's server.

use std::time::Duration;

use rowcast_testkit::proxy::{Fault, Rule, Side, When};

use crate::world::Kind;
use crate::{Case, End, Path, walk};

/// It is tried again within the run.
const OVERCOME: &[End] = &[(0, "")];
/// Nobody to talk to: the run did not begin, or lost its connection before the first request.
const CONNECT: &[End] = &[(3, "E0201")];
const LOST: &[End] = &[(3, "E0214")];
/// The limit of the connection or that of the whole extraction, whichever is first.
const SILENT: &[End] = &[(3, "E0214"), (1, "E0215")];
/// A connection is made again while the lease holds; a machine that is too slow for that stops.
const IN_TIME: &[End] = &[(0, ""), (1, "E0304")];
const AT_THE_END: &[End] = &[(0, ""), (3, "E0214")];

/// Whether a fault is one that shows no error.
fn is_silent(fault: &Fault) -> bool {
    matches!(fault, Fault::Swallow | Fault::Stall)
}

fn case(name: &str, rule: Rule, ends: &'static [End]) -> Case {
    Case {
        name: name.to_owned(),
        path: Path::ToSource,
        rules: vec![rule],
        ends,
        repeats: false,
    }
}

/// Faults that end something, so that the place alone decides what follows.
fn endings() -> [(&'static str, Fault); 4] {
    [
        ("reset", Fault::Reset),
        ("closed", Fault::Close),
        ("half-open", Fault::Swallow),
        ("stalled", Fault::Stall),
    ]
}

fn before_the_first_request() -> Vec<Case> {
    let mut cases = vec![Case {
        rules: Vec::new(),
        ..case("refused", Rule::up(When::Start, Fault::Reset), CONNECT)
    }];
    let down = |when: When, nth: usize, fault| Rule::down(when, fault).nth(nth);
    for (how, fault) in endings() {
        for (place, when, nth, ends) in [
            ("login", When::Message(b'R'), 1, CONNECT),
            ("description", When::Message(b'T'), 3, LOST),
            ("head of COPY", When::Message(b'H'), 1, LOST),
            ("row of COPY", When::Message(b'd'), 10, LOST),
            ("end of COPY", When::Message(b'c'), 1, LOST),
        ] {
            let name = format!("{place}, {how}");
            let ends = if is_silent(&fault) && ends == LOST {
                SILENT
            } else {
                ends
            };
            cases.push(case(&name, down(when, nth, fault.clone()), ends));
        }
        let name = format!("request for COPY, {how}");
        let rule = Rule::up(When::text("COPY ("), fault);
        cases.push(case(&name, rule, SILENT));
    }
    for (how, fault) in [
        ("wrong length", Fault::WrongLength(4000)),
        ("too short a length", Fault::WrongLength(-2)),
        ("flipped", Fault::Flip(5)),
        (
            "garbage",
            Fault::Garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ),
        ("one way", Fault::CloseOneWay),
    ] {
        for (place, when, nth, ends) in [
            ("login", When::Message(b'R'), 1, CONNECT),
            ("description", When::Message(b'T'), 3, LOST),
            ("row of COPY", When::Message(b'd'), 10, SILENT),
        ] {
            let name = format!("{place}, {how}");
            cases.push(case(&name, down(when, nth, fault.clone()), ends));
        }
    }
    cases
}

fn slowness() -> Vec<Case> {
    let slow = |name: &str, side, fault| {
        case(name, Rule::new(side, When::Start, fault).always(), OVERCOME)
    };
    vec![
        slow("segments of one byte, up", Side::Up, Fault::Segments),
        slow("segments of one byte, down", Side::Down, Fault::Segments),
        slow(
            "latency",
            Side::Up,
            Fault::Latency(Duration::from_millis(5)),
        ),
        case(
            "rows that drip too slowly",
            Rule::down(When::Message(b'd'), Fault::Drip(Duration::from_millis(250))),
            SILENT,
        ),
    ]
}

/// Answers to COMMIT that are lost, and COMMITs that never arrive: the extraction's, those of the
/// steps, the last one's.
fn commits() -> Vec<Case> {
    let mut cases = Vec::new();
    for nth in 1..=4 {
        for (how, fault) in endings() {
            let silent = is_silent(&fault);
            let rule = Rule::up(When::text("COMMIT"), fault).nth(nth);
            for (arrives, rule) in [("arrives", rule.clone().passing()), ("is lost", rule)] {
                let name = format!("COMMIT {nth} {arrives}, {how}");
                let ends = match (nth, silent) {
                    (1, false) => LOST,
                    (1, true) => SILENT,
                    (_, false) => OVERCOME,
                    (_, true) => IN_TIME,
                };
                cases.push(Case {
                    repeats: nth > 1,
                    ..case(&name, rule, ends)
                });
            }
        }
    }
    for (how, fault) in endings() {
        let ends = if is_silent(&fault) {
            AT_THE_END
        } else {
            OVERCOME
        };
        let rule = Rule::up(When::text("lease_owner = NULL"), fault);
        cases.push(case(&format!("end of the run, {how}"), rule, ends));
    }
    cases
}

#[test]
fn a_broken_network_to_the_source_costs_a_run_at_most() {
    let mut cases = before_the_first_request();
    cases.extend(slowness());
    cases.extend(commits());
    walk("source", Kind::Http, cases, 60);
}
