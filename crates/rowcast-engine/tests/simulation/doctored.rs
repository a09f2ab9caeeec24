//! The checker itself is checked: traces that were good until somebody tampered with them.

use crate::laws::check;
use crate::plan::{Plan, Shape};
use crate::trace::{Event, What};
use crate::world::judge;

/// A good trace, and the positions of two effects of one identity from different snapshots, both
/// alone in their requests.
fn good() -> (Shape, Vec<Event>, usize, usize) {
    for seed in 0.. {
        let mut plan = Plan::new(seed);
        plan.shape.publishes = false;
        plan.shape.exactly_once = false;
        plan.shape.batch = 1;
        let Ok(events) = judge(&plan) else { continue };
        let effects: Vec<(usize, u64)> = events
            .iter()
            .enumerate()
            .filter_map(|(at, event)| match &event.what {
                What::Applied(request, effects) if effects == &[true] => Some((at, *request)),
                _ => None,
            })
            .collect();
        for (position, (first, request)) in effects.iter().enumerate() {
            for (second, later) in &effects[position + 1..] {
                let same = identity(&events, *request) == identity(&events, *later);
                let other_run = events[*first].process != events[*second].process;
                if same && other_run {
                    return (plan.shape, events, *first, *second);
                }
            }
        }
    }
    unreachable!("some seed writes a record twice")
}

fn identity(events: &[Event], wanted: u64) -> Option<&str> {
    events.iter().find_map(|event| match &event.what {
        What::Requested {
            request, records, ..
        } if *request == wanted => Some(records[0].identity.as_str()),
        _ => None,
    })
}

fn law(events: &[Event], shape: Shape) -> &'static str {
    check(events, shape).expect_err("it was doctored").law
}

#[test]
fn an_older_value_after_a_newer_one_is_noticed() {
    let (shape, mut events, first, second) = good();
    check(&events, shape).unwrap();
    // The first request's effect comes when the second's has come.
    let late = events.remove(first);
    events.insert(second, late);
    let law = law(&events, shape);
    let either = [
        "guarantee 2, never an older value after a newer one",
        // The first one is then still under way when the second begins.
        "rule 11, one identity one operation",
    ];
    assert!(either.contains(&law), "{law}");
    // And when the receiver alone is looked at, it is the inversion that is seen.
    let (shape, mut events, first, second) = good();
    let (What::Applied(a, _), What::Applied(b, _)) = (&events[first].what, &events[second].what)
    else {
        unreachable!("both are effects")
    };
    let (a, b) = (*a, *b);
    let (first_process, second_process) = (events[first].process, events[second].process);
    events[first].what = What::Applied(a, vec![false]);
    let records = events.iter().find_map(|event| match &event.what {
        What::Requested {
            request, records, ..
        } if *request == a => Some(records.clone()),
        _ => None,
    });
    let late = Event {
        at_us: events[second].at_us,
        process: first_process,
        what: What::Published(records.unwrap()),
    };
    assert_ne!(first_process, second_process, "{b}");
    events.insert(second + 1, late);
    let law = super::doctored::law(&events, shape);
    assert_eq!(law, "guarantee 2, never an older value after a newer one");
}

#[test]
fn a_lost_record_is_noticed() {
    let (shape, events, ..) = good();
    // Whatever effect was the last of its identity, without it the receiver lacks something, or
    // has something too much.
    let last = events.iter().rposition(
        |event| matches!(&event.what, What::Applied(_, effects) if effects.contains(&true)),
    );
    let mut doctored = events.clone();
    let What::Applied(request, _) = doctored[last.unwrap()].what else {
        unreachable!("it is an effect")
    };
    doctored[last.unwrap()].what = What::Ignored(request);
    assert_eq!(law(&doctored, shape), "rule 17, nothing is lost");
}

#[test]
fn operations_that_overlap_are_noticed() {
    let (shape, mut events, _, second) = good();
    let What::Applied(request, _) = events[second].what else {
        unreachable!("it is an effect")
    };
    let begun = events
        .iter()
        .position(
            |event| matches!(&event.what, What::Requested { request: of, .. } if *of == request),
        )
        .unwrap();
    let mut again = events[begun].clone();
    if let What::Requested { request, .. } = &mut again.what {
        *request += 1_000_000;
    }
    events.insert(begun + 1, again);
    assert_eq!(law(&events, shape), "rule 11, one identity one operation");
}

#[test]
fn a_request_without_an_intent_and_an_acknowledgement_without_an_answer_are_noticed() {
    let (shape, events, ..) = good();
    let mut doctored = events.clone();
    for event in &mut doctored {
        if let What::Committed { opened, .. } = &mut event.what {
            opened.clear();
        }
    }
    let broken = law(&doctored, shape);
    assert_eq!(broken, "rule 8, intents precede requests");
    let mut doctored = events.clone();
    for event in &mut doctored {
        if let What::Answered(request, _) = event.what {
            event.what = What::Unanswered(request, "doctored".into());
        }
    }
    let broken = law(&doctored, shape);
    assert_eq!(broken, "guarantee 1, state says what was acknowledged");
}

#[test]
fn counts_that_do_not_add_up_are_noticed() {
    let (shape, mut events, ..) = good();
    for event in &mut events {
        if let What::Ended(report) = &mut event.what {
            report.delivered += 1;
        }
    }
    assert_eq!(law(&events, shape), "rule 25, everything adds up");
}
