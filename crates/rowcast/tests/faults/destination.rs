//! The network between the program and the destination.

use std::time::Duration;

use rowcast_testkit::proxy::{Fault, Rule, Side, When};

use crate::world::Kind;
use crate::{Case, End, Path, walk};

/// It is tried again within the run.
const OVERCOME: &[End] = &[(0, "")];
const UNREACHABLE: &[End] = &[(3, "E0601")];
const EXHAUSTED: &[End] = &[(1, "E0703")];

fn case(name: String, rule: Rule) -> Case {
    Case {
        name,
        path: Path::ToDestination,
        rules: vec![rule],
        ends: OVERCOME,
        repeats: true,
    }
}

fn refused() -> Case {
    Case {
        rules: Vec::new(),
        ends: EXHAUSTED,
        repeats: false,
        ..case("refused".to_owned(), Rule::up(When::Start, Fault::Reset))
    }
}

/// Everything that can happen to the bytes of an exchange.
fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("reset", Fault::Reset),
        ("closed", Fault::Close),
        ("closed one way", Fault::CloseOneWay),
        ("half-open", Fault::Swallow),
        ("stalled", Fault::Stall),
        ("dripping", Fault::Drip(Duration::from_millis(200))),
        ("flipped", Fault::Flip(4)),
        ("garbage", Fault::Garbage(b"\0\0garbage\r\n".to_vec())),
    ]
}

fn http() -> Vec<Case> {
    let mut cases = vec![refused()];
    for (place, side, when) in [
        ("head of the request", Side::Up, When::text("POST ")),
        ("body of the request", Side::Up, When::text("\"operation\"")),
        ("head of the answer", Side::Down, When::text("HTTP/1.1")),
        ("body of the answer", Side::Down, When::text("\r\n\r\n")),
    ] {
        for (how, fault) in faults() {
            // Bytes that are changed on their way up arrive as another request: only TLS helps.
            if side == Side::Up
                && place.starts_with("body")
                && ["flipped", "garbage"].contains(&how)
            {
                continue;
            }
            let rule = Rule::new(side, when.clone(), fault).nth(2);
            cases.push(case(format!("{place}, {how}"), rule));
        }
    }
    for (how, fault) in [
        ("too long a length", Fault::WrongLength(50)),
        ("too short a length", Fault::WrongLength(-1)),
        ("twice", Fault::Duplicate),
    ] {
        for nth in [1, 3] {
            let rule = Rule::down(When::text("HTTP/1.1"), fault.clone()).nth(nth);
            cases.push(case(format!("answer {nth}, {how}"), rule));
        }
    }
    for (how, fault) in [
        ("reset", Fault::Reset),
        ("closed", Fault::Close),
        ("half-open", Fault::Swallow),
    ] {
        let rule = Rule::up(When::text("POST "), fault).nth(2).passing();
        cases.push(case(format!("lost answer, {how}"), rule));
    }
    for (how, side, fault) in [
        ("segments up", Side::Up, Fault::Segments),
        ("segments down", Side::Down, Fault::Segments),
        (
            "latency",
            Side::Up,
            Fault::Latency(Duration::from_millis(50)),
        ),
    ] {
        cases.push(Case {
            repeats: false,
            ..case(how.to_owned(), Rule::new(side, When::Start, fault).always())
        });
    }
    cases
}

fn postgres() -> Vec<Case> {
    let mut cases = vec![Case {
        ends: UNREACHABLE,
        ..refused()
    }];
    for (how, fault) in [
        ("reset", Fault::Reset),
        ("closed", Fault::Close),
        ("half-open", Fault::Swallow),
        ("stalled", Fault::Stall),
    ] {
        for (place, rule) in [
            ("login", Rule::down(When::Message(b'R'), fault.clone())),
            (
                "first answer",
                Rule::down(When::Message(b'C'), fault.clone()),
            ),
            (
                "write",
                Rule::up(When::text("INTO \"public\".\"rows\""), fault.clone()),
            ),
            (
                "COMMIT that is lost",
                Rule::up(When::text("COMMIT"), fault.clone()).nth(2),
            ),
            (
                "COMMIT that arrives",
                Rule::up(When::text("COMMIT"), fault.clone())
                    .nth(2)
                    .passing(),
            ),
            (
                "third COMMIT that arrives",
                Rule::up(When::text("COMMIT"), fault.clone())
                    .nth(3)
                    .passing(),
            ),
        ] {
            cases.push(case(format!("{place}, {how}"), rule));
        }
    }
    for (how, fault) in [
        ("wrong length", Fault::WrongLength(4000)),
        ("flipped", Fault::Flip(5)),
        ("garbage", Fault::Garbage(b"\0\0garbage".to_vec())),
        ("closed one way", Fault::CloseOneWay),
        ("dripping", Fault::Drip(Duration::from_millis(200))),
    ] {
        let rule = Rule::down(When::Message(b'C'), fault).nth(3);
        cases.push(case(format!("answer, {how}"), rule));
    }
    cases
}

#[test]
fn a_broken_network_to_an_api_loses_and_reorders_nothing() {
    walk("http", Kind::Http, http(), 40);
}

#[test]
fn a_broken_network_to_a_target_database_keeps_exactly_once() {
    walk("postgres", Kind::Postgres, postgres(), 28);
}
