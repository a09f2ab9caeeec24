//! Alerts: from how a sync's runs end, and from the time that passes, to notices.
//!
//! A [`Watch`] holds what is known of one sync: which conditions are open, and which of them people
//! were told. Notices follow from the difference alone, so that a change is told once, whoever
//! looks and however often, and a watch that was stored goes on where it stood. It reads no clock
//! and sends nothing.

mod message;
mod rules;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::RunStatus;

pub use message::Message;
pub use rules::{Condition, Counter, Deviation, RUNS_MAX, RUNS_MIN, Rules};

/// Counts of a run, as far as alerts look at them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub read: u64,
    pub added: u64,
    pub updated: u64,
    pub removed: u64,
    pub delivered: u64,
    pub rejected: u64,
    pub invalid: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `None`: it could not even begin.
    pub run: Option<i64>,
    pub status: RunStatus,
    /// Microseconds since 1970, as all instants here.
    pub finished_us: i64,
    pub duration_us: Option<i64>,
    pub counts: Option<Counts>,
    /// Why it failed or was held: code and message, never the other side's words, which may quote
    /// a row.
    pub code: Option<String>,
    pub message: Option<String>,
    /// Why it sent every row, if it did.
    pub full: Option<String>,
}

/// Something that happened to a sync.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A run ended; with it the counters of the successful runs before it, the newest first.
    Ended(&'a Ended, &'a [u64]),
    /// A run has been going on since then.
    Running { since_us: i64, now_us: i64 },
}

/// What is known about the cause of an open condition, or about its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// How one condition stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub open: bool,
    /// Whether people believe that it is open.
    pub told: bool,
    /// Counts how often it was opened anew.
    pub episode: u32,
    pub since_us: i64,
    /// When the last notice about it was made.
    pub told_us: i64,
    pub reminders: u32,
    pub cause: Cause,
}

/// What is known of a sync.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Since when the sync is watched: until its first success, lateness counts from here.
    pub since_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_us: Option<i64>,
    /// The newest run that was looked at.
    #[serde(default)]
    pub seen_run: i64,
    #[serde(default)]
    pub conditions: BTreeMap<Condition, Standing>,
}

/// What a notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    Raised,
    Reminder,
    Recovered,
    /// Sent by hand, to see that a channel works.
    Test,
}

impl NoticeKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Reminder => "reminder",
            Self::Recovered => "recovered",
            Self::Test => "test",
        }
    }
}

/// A change of state that people are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The same for one change, whoever makes the notice: receivers know a repetition by it.
    pub id: String,
    pub condition: Condition,
    pub kind: NoticeKind,
    pub since_us: i64,
    pub cause: Cause,
}

/// The circumstances in which notices are made.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    pub sync: &'a str,
    pub now_us: i64,
    /// Changes are remembered, and told when this ends.
    pub muted: bool,
    /// A sync that is paused on purpose does not get late.
    pub paused: bool,
}

impl Watch {
    /// Begins to watch a sync.
    pub fn new(since_us: i64, success_us: Option<i64>, seen_run: i64) -> Self {
        Self {
            since_us,
            success_us,
            seen_run,
            conditions: BTreeMap::new(),
        }
    }

    /// Whether a condition is open.
    pub fn is_open(&self, condition: Condition) -> bool {
        let standing = self.conditions.get(&condition);
        standing.is_some_and(|standing| standing.open)
    }

    /// Whether the last success is longer ago than the rules allow.
    pub fn is_late(&self, rules: &Rules, now_us: i64) -> bool {
        let ago = now_us - self.success_us.unwrap_or(self.since_us);
        rules.late.is_some_and(|late| ago > micros(late))
    }

    /// Whether anything is open.
    pub fn any_open(&self) -> bool {
        self.conditions.values().any(|standing| standing.open)
    }

    /// Takes note of what happened.
    pub fn observe(&mut self, rules: &Rules, event: Event<'_>) {
        match event {
            Event::Running { since_us, now_us } => {
                if let Some(most) = rules.runtime
                    && now_us - since_us > micros(most)
                    && self.worth_saying(Condition::Runtime, rules, now_us)
                {
                    let cause = words::running(now_us - since_us, most);
                    self.open(Condition::Runtime, now_us, cause);
                }
            }
            Event::Ended(run, before) => self.ended(rules, run, before),
        }
    }

    fn ended(&mut self, rules: &Rules, run: &Ended, before: &[u64]) {
        self.seen_run = self.seen_run.max(run.run.unwrap_or(0));
        let now = run.finished_us;
        let went_well = matches!(run.status, RunStatus::Succeeded | RunStatus::Partial);
        if went_well {
            self.success_us = Some(self.success_us.map_or(now, |at| at.max(now)));
            self.close(Condition::Failed, words::went_well(run));
            self.close(Condition::Held, words::went_well(run));
        }
        if run.status == RunStatus::Failed && rules.failed {
            self.open(Condition::Failed, now, words::failed(run));
        }
        if run.status == RunStatus::Held && rules.held {
            self.open(Condition::Held, now, words::held(run));
        }
        if let (Some(most), Some(took)) = (rules.runtime, run.duration_us) {
            if took > micros(most) {
                self.open(Condition::Runtime, now, words::took(run, took, most));
            } else if went_well {
                self.close(Condition::Runtime, words::in_time(run, took));
            }
        }
        let Some(counts) = run.counts else {
            return;
        };
        let bad = counts.rejected + counts.invalid;
        let tried = counts.delivered + bad;
        // A run that had nothing to send says nothing about what is rejected.
        if let (Some(most), true) = (rules.rejected_percent, tried > 0) {
            if percent(bad, tried) > most {
                let cause = words::rejected(run, bad, tried, most);
                self.open(Condition::Rejected, now, cause);
            } else if went_well {
                self.close(Condition::Rejected, words::few_rejected(run, bad, tried));
            }
        }
        if !went_well {
            return;
        }
        if let Some(deviation) = rules.deviation {
            let value = deviation.of.of(&counts);
            if let Some(mean) = deviation.mean(before) {
                let off = deviation.off(value, mean);
                let cause = words::deviates(run, &deviation, value, mean, before.len());
                if off > deviation.percent {
                    self.open(Condition::Deviation, now, cause);
                } else {
                    self.close(Condition::Deviation, cause);
                }
            }
        }
        match &run.full {
            Some(why) if rules.full => self.open(Condition::Full, now, words::full(run, why)),
            _ => self.close(Condition::Full, Cause::default()),
        }
    }

    fn open(&mut self, condition: Condition, now_us: i64, cause: Cause) {
        let standing = self.conditions.entry(condition).or_default();
        if !standing.open {
            standing.open = true;
            // What people already believe is not a new episode.
            if !standing.told {
                standing.episode += 1;
                standing.reminders = 0;
                standing.since_us = now_us;
            }
        }
        standing.cause = cause;
    }

    /// Time passes with every look: how much of it has passed is only put down when it is told.
    fn worth_saying(&self, condition: Condition, rules: &Rules, now_us: i64) -> bool {
        self.conditions.get(&condition).is_none_or(|standing| {
            let due = |remind| now_us - standing.told_us >= micros(remind);
            !standing.open || rules.remind.is_some_and(due)
        })
    }

    fn close(&mut self, condition: Condition, cause: Cause) {
        if let Some(standing) = self.conditions.get_mut(&condition)
            && standing.open
        {
            standing.open = false;
            standing.cause = cause;
        }
    }

    /// What people are to be told now, and takes it as told.
    pub fn notices(&mut self, rules: &Rules, moment: Moment<'_>) -> Vec<Notice> {
        self.look_at_the_clock(rules, moment);
        for condition in Condition::ALL {
            if !rules.watches(condition) {
                self.close(condition, words::not_watched());
            }
        }
        let mut notices = Vec::new();
        for (condition, standing) in &mut self.conditions {
            // Nothing comes back to normal after a full run: it was only to be known.
            if *condition == Condition::Full && !standing.open {
                standing.told = false;
            }
            if moment.muted {
                continue;
            }
            let due = |remind| moment.now_us - standing.told_us >= micros(remind);
            let kind = match (standing.open, standing.told) {
                (true, false) => NoticeKind::Raised,
                (false, true) => NoticeKind::Recovered,
                (true, true) if *condition != Condition::Full && rules.remind.is_some_and(due) => {
                    standing.reminders += 1;
                    NoticeKind::Reminder
                }
                _ => continue,
            };
            standing.told = standing.open;
            standing.told_us = moment.now_us;
            if kind == NoticeKind::Recovered && !rules.recovery {
                continue;
            }
            notices.push(Notice {
                id: id(moment.sync, *condition, standing, kind),
                condition: *condition,
                kind,
                since_us: standing.since_us,
                cause: standing.cause.clone(),
            });
        }
        notices
    }

    fn look_at_the_clock(&mut self, rules: &Rules, moment: Moment<'_>) {
        let Some(late) = rules.late else {
            return;
        };
        let ago = moment.now_us - self.success_us.unwrap_or(self.since_us);
        if ago <= micros(late) {
            self.close(Condition::Late, words::succeeded_lately(ago));
        } else if !moment.paused && self.worth_saying(Condition::Late, rules, moment.now_us) {
            let cause = words::late(ago, late, self.success_us.is_some());
            self.open(Condition::Late, moment.now_us, cause);
        }
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

/// The id of a notice: from what it is about alone.
fn id(sync: &str, condition: Condition, standing: &Standing, kind: NoticeKind) -> String {
    let text = serde_json::json!([
        sync,
        condition.as_str(),
        standing.since_us,
        standing.episode,
        kind.as_str(),
        standing.reminders,
    ])
    .to_string();
    format!("alert_{}", &blake3::hash(text.as_bytes()).to_hex()[..32])
}
