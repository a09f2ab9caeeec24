//! Alerts as a state machine: what is told of any history, and that a stored watch goes on as one
//! that was never stored.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use rowcast_core::RunStatus;
use rowcast_core::alert::{
    Condition, Counter, Counts, Deviation, Ended, Event, Message, Moment, Notice, NoticeKind,
    Rules, Watch,
};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

fn run(number: i64, status: RunStatus, at: i64, delivered: u64, rejected: u64) -> Ended {
    Ended {
        run: Some(number),
        status,
        finished_us: at,
        duration_us: Some(MINUTE),
        counts: Some(Counts {
            read: 100,
            added: delivered,
            delivered,
            rejected,
            ..Counts::default()
        }),
        code: (status == RunStatus::Failed).then(|| "E0601".to_owned()),
        message: (status == RunStatus::Failed).then(|| "the destination can't be reached".into()),
        full: None,
    }
}

fn ended(watch: &mut Watch, rules: &Rules, run: &Ended) {
    watch.observe(rules, Event::Ended(run, &[]));
}

fn at(now_us: i64) -> Moment<'static> {
    Moment {
        sync: "orders",
        now_us,
        muted: false,
        paused: false,
    }
}

fn told(notices: &[Notice]) -> Vec<(Condition, NoticeKind)> {
    notices
        .iter()
        .map(|notice| (notice.condition, notice.kind))
        .collect()
}

#[test]
fn a_failure_is_told_once_reminded_of_and_its_end_is_told() {
    let rules = Rules {
        remind: Some(Duration::from_secs(3_600)),
        ..Rules::default()
    };
    let mut watch = Watch::new(0, None, 0);
    ended(&mut watch, &rules, &run(1, RunStatus::Failed, MINUTE, 0, 0));
    let first = watch.notices(&rules, at(MINUTE));
    assert_eq!(told(&first), [(Condition::Failed, NoticeKind::Raised)]);
    assert_eq!(
        first[0].cause.text,
        "run 1 failed with E0601: the destination can't be reached"
    );
    // Failing on is no change.
    ended(
        &mut watch,
        &rules,
        &run(2, RunStatus::Failed, 2 * MINUTE, 0, 0),
    );
    assert!(watch.notices(&rules, at(2 * MINUTE)).is_empty());
    let again = watch.notices(&rules, at(MINUTE + HOUR));
    assert_eq!(told(&again), [(Condition::Failed, NoticeKind::Reminder)]);
    assert_eq!(
        again[0].cause.run,
        Some(2),
        "a reminder has the newest cause"
    );
    assert!(watch.notices(&rules, at(2 * MINUTE + HOUR)).is_empty());
    // What was stopped by hand proves nothing.
    ended(
        &mut watch,
        &rules,
        &run(3, RunStatus::Cancelled, 2 * HOUR, 0, 0),
    );
    assert!(watch.any_open());
    ended(
        &mut watch,
        &rules,
        &run(4, RunStatus::Partial, 2 * HOUR, 9, 1),
    );
    let over = watch.notices(&rules, at(2 * HOUR));
    assert_eq!(told(&over), [(Condition::Failed, NoticeKind::Recovered)]);
    assert_eq!(over[0].since_us, MINUTE);
    assert!(watch.notices(&rules, at(9 * HOUR)).is_empty());
}

#[test]
fn a_sync_is_late_although_nothing_runs_and_not_while_it_is_paused() {
    let rules = Rules {
        late: Some(Duration::from_secs(3_600)),
        ..Rules::default()
    };
    let mut watch = Watch::new(0, None, 0);
    assert!(watch.notices(&rules, at(HOUR)).is_empty());
    let paused = Moment {
        paused: true,
        ..at(2 * HOUR)
    };
    assert!(watch.notices(&rules, paused).is_empty());
    let late = watch.notices(&rules, at(2 * HOUR));
    assert_eq!(told(&late), [(Condition::Late, NoticeKind::Raised)]);
    assert!(late[0].cause.text.contains("for 2h"), "{:?}", late[0].cause);
    ended(
        &mut watch,
        &rules,
        &run(1, RunStatus::Failed, 2 * HOUR, 0, 0),
    );
    let failed = watch.notices(&rules, at(2 * HOUR));
    assert_eq!(told(&failed), [(Condition::Failed, NoticeKind::Raised)]);
    ended(
        &mut watch,
        &rules,
        &run(2, RunStatus::Succeeded, 3 * HOUR, 9, 0),
    );
    let over = watch.notices(&rules, at(3 * HOUR));
    assert_eq!(
        told(&over),
        [
            (Condition::Failed, NoticeKind::Recovered),
            (Condition::Late, NoticeKind::Recovered)
        ]
    );
}

#[test]
fn rejected_records_are_weighed_against_those_that_were_tried() {
    let rules = Rules {
        rejected_percent: Some(5.0),
        ..Rules::default()
    };
    let mut watch = Watch::new(0, None, 0);
    ended(&mut watch, &rules, &run(1, RunStatus::Partial, 1, 95, 5));
    assert!(watch.notices(&rules, at(1)).is_empty(), "exactly the limit");
    ended(&mut watch, &rules, &run(2, RunStatus::Partial, 2, 94, 6));
    let over = watch.notices(&rules, at(2));
    assert_eq!(told(&over), [(Condition::Rejected, NoticeKind::Raised)]);
    assert_eq!(
        over[0].cause.text,
        "run 2 had 6 of 100 records rejected or invalid: 6%, over 5%"
    );
    // Nothing was tried: nothing is known.
    ended(&mut watch, &rules, &run(3, RunStatus::Succeeded, 3, 0, 0));
    assert!(watch.notices(&rules, at(3)).is_empty());
    ended(&mut watch, &rules, &run(4, RunStatus::Succeeded, 4, 10, 0));
    let over = watch.notices(&rules, at(4));
    assert_eq!(told(&over), [(Condition::Rejected, NoticeKind::Recovered)]);
}

#[test]
fn a_run_that_goes_on_too_long_is_told_before_it_ends() {
    let rules = Rules {
        runtime: Some(Duration::from_secs(600)),
        ..Rules::default()
    };
    let mut watch = Watch::new(0, None, 0);
    let running = |minutes: i64| Event::Running {
        since_us: 0,
        now_us: minutes * MINUTE,
    };
    watch.observe(&rules, running(10));
    assert!(watch.notices(&rules, at(10 * MINUTE)).is_empty());
    watch.observe(&rules, running(11));
    let slow = watch.notices(&rules, at(11 * MINUTE));
    assert_eq!(told(&slow), [(Condition::Runtime, NoticeKind::Raised)]);
    let mut long = run(1, RunStatus::Succeeded, 12 * MINUTE, 1, 0);
    long.duration_us = Some(12 * MINUTE);
    ended(&mut watch, &rules, &long);
    assert!(watch.notices(&rules, at(12 * MINUTE)).is_empty());
    ended(
        &mut watch,
        &rules,
        &run(2, RunStatus::Succeeded, 20 * MINUTE, 1, 0),
    );
    let over = watch.notices(&rules, at(20 * MINUTE));
    assert_eq!(told(&over), [(Condition::Runtime, NoticeKind::Recovered)]);
}

#[test]
fn a_count_is_compared_with_the_mean_of_enough_runs() {
    let rules = Rules {
        deviation: Some(Deviation {
            percent: 50.0,
            runs: 4,
            of: Counter::Read,
        }),
        ..Rules::default()
    };
    let mut watch = Watch::new(0, None, 0);
    let few = run(1, RunStatus::Succeeded, 1, 1, 0);
    watch.observe(&rules, Event::Ended(&few, &[1_000, 1_000]));
    assert!(
        watch.notices(&rules, at(1)).is_empty(),
        "two runs are no mean"
    );
    // Only the last four count.
    watch.observe(&rules, Event::Ended(&few, &[210, 190, 200, 200, 9_000]));
    assert!(watch.notices(&rules, at(2)).is_empty(), "exactly half");
    watch.observe(&rules, Event::Ended(&few, &[210, 230, 200, 200]));
    let off = watch.notices(&rules, at(3));
    assert_eq!(told(&off), [(Condition::Deviation, NoticeKind::Raised)]);
    assert!(
        off[0]
            .cause
            .text
            .contains("100 rows read, on average 210.0"),
        "{:?}",
        off[0].cause
    );
    watch.observe(&rules, Event::Ended(&few, &[100, 100, 100]));
    let over = watch.notices(&rules, at(4));
    assert_eq!(told(&over), [(Condition::Deviation, NoticeKind::Recovered)]);
}

#[test]
fn a_full_sync_is_told_with_its_reason_and_nothing_recovers_from_it() {
    let rules = Rules {
        full: true,
        ..Rules::default()
    };
    let mut watch = Watch::new(0, None, 0);
    let mut full = run(1, RunStatus::Succeeded, 1, 9, 0);
    full.full = Some("the mapping changed".to_owned());
    ended(&mut watch, &rules, &full);
    let first = watch.notices(&rules, at(1));
    assert_eq!(told(&first), [(Condition::Full, NoticeKind::Raised)]);
    assert_eq!(
        first[0].cause.text,
        "run 1 was a full sync: the mapping changed"
    );
    ended(&mut watch, &rules, &run(2, RunStatus::Succeeded, 2, 9, 0));
    assert!(watch.notices(&rules, at(100 * HOUR)).is_empty());
    full.run = Some(3);
    ended(&mut watch, &rules, &full);
    let second = watch.notices(&rules, at(101 * HOUR));
    assert_eq!(told(&second), [(Condition::Full, NoticeKind::Raised)]);
    assert_ne!(first[0].id, second[0].id);
}

#[test]
fn what_happens_while_muted_is_told_afterwards_if_it_still_holds() {
    let rules = Rules::default();
    let mut watch = Watch::new(0, None, 0);
    let muted = |now_us| Moment {
        muted: true,
        ..at(now_us)
    };
    ended(&mut watch, &rules, &run(1, RunStatus::Failed, 1, 0, 0));
    assert!(watch.notices(&rules, muted(1)).is_empty());
    ended(&mut watch, &rules, &run(2, RunStatus::Succeeded, 2, 1, 0));
    assert!(watch.notices(&rules, at(2)).is_empty(), "it came and went");
    ended(&mut watch, &rules, &run(3, RunStatus::Failed, 3, 0, 0));
    assert!(watch.notices(&rules, muted(3)).is_empty());
    let raised = watch.notices(&rules, at(4));
    assert_eq!(told(&raised), [(Condition::Failed, NoticeKind::Raised)]);
    ended(&mut watch, &rules, &run(4, RunStatus::Succeeded, 5, 1, 0));
    assert!(watch.notices(&rules, muted(5)).is_empty());
    let over = watch.notices(&rules, at(6));
    assert_eq!(told(&over), [(Condition::Failed, NoticeKind::Recovered)]);
}

#[test]
fn a_condition_that_is_watched_no_more_comes_to_its_end() {
    let rules = Rules::default();
    let mut watch = Watch::new(0, None, 0);
    ended(&mut watch, &rules, &run(1, RunStatus::Failed, 1, 0, 0));
    assert_eq!(watch.notices(&rules, at(1)).len(), 1);
    let without = Rules {
        failed: false,
        ..rules
    };
    let over = watch.notices(&without, at(2));
    assert_eq!(told(&over), [(Condition::Failed, NoticeKind::Recovered)]);
    assert!(!watch.any_open());
}

#[test]
fn a_message_has_counts_code_and_commands_and_no_words_of_the_other_side() {
    let rules = Rules {
        rejected_percent: Some(1.0),
        ..Rules::default()
    };
    let mut watch = Watch::new(0, None, 0);
    ended(&mut watch, &rules, &run(7, RunStatus::Partial, 1, 8, 2));
    let notices = watch.notices(&rules, at(1));
    let message = Message::of(&notices[0], "shop", "orders", "a".into(), "b".into());
    assert_eq!(
        message.title(),
        "shop: sync orders has many rejected records"
    );
    assert_eq!(message.subject(), "rowcast/shop/orders/rejected");
    assert_eq!(
        message.commands,
        [
            "rowcast runs orders",
            "rowcast rejects orders",
            "rowcast why orders KEY"
        ]
    );
    assert!(
        message
            .counts_line()
            .expect("counts")
            .contains("rejected 2")
    );
    let text = serde_json::to_string(&message).expect("it is plain data");
    assert_eq!(serde_json::from_str::<Message>(&text).ok(), Some(message));
}

#[derive(Debug, Clone)]
enum Step {
    End {
        status: RunStatus,
        delivered: u64,
        rejected: u64,
        minutes: i64,
        full: bool,
    },
    Look {
        muted: bool,
        paused: bool,
    },
    Wait(i64),
    /// The server is killed and reads its watch from the database.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = prop_oneof![
        Just(RunStatus::Succeeded),
        Just(RunStatus::Partial),
        Just(RunStatus::Failed),
        Just(RunStatus::Held),
        Just(RunStatus::Cancelled),
    ];
    let step = prop_oneof![
        (status, 0_u64..20, 0_u64..4, 0_i64..30, any::<bool>()).prop_map(
            |(status, delivered, rejected, minutes, full)| Step::End {
                status,
                delivered,
                rejected,
                minutes,
                full
            }
        ),
        (any::<bool>(), any::<bool>()).prop_map(|(muted, paused)| Step::Look { muted, paused }),
        (1_i64..300).prop_map(Step::Wait),
        Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..60)
}

fn rules() -> Rules {
    Rules {
        rejected_percent: Some(10.0),
        late: Some(Duration::from_secs(7_200)),
        runtime: Some(Duration::from_secs(900)),
        full: true,
        remind: Some(Duration::from_secs(3_600)),
        deviation: Some(Deviation {
            percent: 50.0,
            runs: 5,
            of: Counter::Delivered,
        }),
        ..Rules::default()
    }
}

proptest! {
    #[test]
    fn of_any_history_every_change_is_told_once_and_in_order(steps in steps()) {
        let rules = rules();
        let mut watch = Watch::new(0, None, 0);
        let (mut now, mut number) = (0_i64, 0_i64);
        let mut before: Vec<u64> = Vec::new();
        let mut believed: BTreeSet<Condition> = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let mut take = |watch: &mut Watch, moment: Moment<'_>| {
            let notices = watch.notices(&rules, moment);
            assert!(!moment.muted || notices.is_empty(), "told although muted");
            for notice in &notices {
                assert!(ids.insert(notice.id.clone()), "{notice:?} is there twice");
                match notice.kind {
                    // Nobody is told of the end of a full sync, so that it can be raised again.
                    NoticeKind::Raised => assert!(
                        believed.insert(notice.condition) || notice.condition == Condition::Full
                    ),
                    NoticeKind::Reminder => assert!(believed.contains(&notice.condition)),
                    NoticeKind::Recovered => assert!(believed.remove(&notice.condition)),
                    NoticeKind::Test => panic!("nobody asked for a test"),
                }
            }
            if !moment.muted {
                for (condition, standing) in &watch.conditions {
                    assert_eq!(standing.open, standing.told, "{condition:?} is not told");
                }
            }
            notices
        };
        for step in steps {
            match step {
                Step::Wait(minutes) => now += minutes * MINUTE,
                Step::Restart => {
                    let text = serde_json::to_string(&watch).expect("it is plain data");
                    let read: Watch = serde_json::from_str(&text).expect("what was written");
                    prop_assert_eq!(&read, &watch);
                    watch = read;
                }
                Step::Look { muted, paused } => {
                    let moment = Moment { sync: "orders", now_us: now, muted, paused };
                    take(&mut watch, moment);
                    // Whoever looks again sees nothing new.
                    prop_assert!(take(&mut watch, moment).is_empty());
                }
                Step::End { status, delivered, rejected, minutes, full } => {
                    number += 1;
                    let mut ended = run(number, status, now, delivered, rejected);
                    ended.duration_us = Some(minutes * MINUTE);
                    ended.full = full.then(|| "it was asked for".to_owned());
                    watch.observe(&rules, Event::Ended(&ended, &before));
                    if matches!(status, RunStatus::Succeeded | RunStatus::Partial) {
                        before.insert(0, delivered);
                    }
                }
            }
        }
        // After a good run and a look, nothing is open that a run can mend.
        number += 1;
        let mut good = run(number, RunStatus::Succeeded, now, 10, 0);
        good.duration_us = Some(0);
        watch.observe(&rules, Event::Ended(&good, &[10, 10, 10]));
        take(&mut watch, at(now));
        prop_assert!(!watch.any_open(), "{:?}", watch);
    }
}
