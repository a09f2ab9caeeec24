//! Everything that happened in one simulation, in order: what is compared when a seed is replayed
//! and what the laws are checked on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rowcast_core::{Key, Operation, Outcome, RunReport};

/// A record as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) key: Key,
    pub(crate) operation: Operation,
    pub(crate) identity: String,
    pub(crate) fields: String,
    pub(crate) idempotency_key: String,
    pub(crate) checksum: Option<i64>,
}

/// An intent's number, and what it announces: key, operation, checksum.
pub(crate) type Announced = (i64, Vec<(Key, Operation, Option<i64>)>);

/// What a row is at the destination: identity and fields.
pub(crate) type Rows = BTreeMap<Key, (String, String)>;

#[derive(Debug, Clone)]
#[allow(dead_code, reason = "read as text")]
pub(crate) enum What {
    Edited(String),
    Started,
    Killed(&'static str),
    Cancelled,
    /// The engine asked its clock to wait.
    Sleeps(u64),
    /// A call of the ledger and how it went.
    Called(&'static str, String),
    Opened {
        run: i64,
        epoch: i64,
    },
    /// The change set was taken from this version of the table.
    Snapshot {
        rows: Rows,
        read: u64,
    },
    /// A step that took effect.
    Committed {
        /// Keys settled, with their verdict's first word and the operation.
        settled: Vec<(Key, Settlement)>,
        opened: Vec<Announced>,
        closed: Vec<i64>,
    },
    Requested {
        request: u64,
        intent: i64,
        records: Vec<Sent>,
        /// The lease outlives the request.
        leased: bool,
    },
    /// What the script does with the request.
    Act(u64, String),
    /// The service did the work; `true` for each record that took effect.
    Applied(u64, Vec<bool>),
    /// The service did nothing and will not.
    Ignored(u64),
    /// What the engine was told, by record.
    Answered(u64, Vec<Told>),
    /// The engine was told of a failure of the whole, or hung up.
    Unanswered(u64, String),
    /// The service made durable what it had accepted.
    Published(Vec<Sent>),
    PublishAnswered(bool),
    Ended(Box<RunReport>),
    Refused(String),
    /// A contract of the test kit was broken.
    Broken(String),
    /// All is over: what a mirror of the table holds, and the keys of state.
    Final {
        mirror: BTreeMap<String, String>,
        mirrors: bool,
        state: BTreeSet<Key>,
        open: usize,
    },
}

/// What the engine was told of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Delivered,
    Accepted,
    Rejected,
    /// Rejected because it exists, or does not.
    Settled,
    Unknown,
}

impl Told {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        use rowcast_core::Code;
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::Accepted => Self::Accepted,
            Outcome::Rejected(reason)
                if matches!(reason.code, Code::NotFound | Code::AlreadyExists) =>
            {
                Self::Settled
            }
            Outcome::Rejected(_) => Self::Rejected,
            Outcome::Unknown(_) => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    Delivered(Operation),
    Skipped,
    Rejected,
    Unknown,
    Other,
}

/// An event: when, in which process (0: none), what.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at_us: u64,
    pub(crate) process: usize,
    pub(crate) what: What,
}

impl Event {
    /// Whether it speaks of one of these keys or identities, or frames a run.
    pub(crate) fn concerns(&self, names: &[String]) -> bool {
        let key = |key: &Key| names.contains(&key.to_string());
        match &self.what {
            What::Sleeps(_) => false,
            What::Called(_, how) => how != "ok",
            What::Requested { records, .. } | What::Published(records) => records
                .iter()
                .any(|record| key(&record.key) || names.contains(&record.identity)),
            What::Committed {
                settled, opened, ..
            } => {
                settled.iter().any(|(of, _)| key(of))
                    || opened
                        .iter()
                        .flat_map(|(_, items)| items)
                        .any(|(of, ..)| key(of))
            }
            _ => true,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at_us as f64 / 1e6;
        write!(f, "{seconds:>12.6} p{} ", self.process)?;
        match &self.what {
            What::Requested {
                request,
                intent,
                records,
                leased,
            } => {
                write!(f, "request {request} of intent {intent} leased {leased}:")?;
                for sent in records {
                    write!(
                        f,
                        " {} {} {} = {} ({:?}, {});",
                        sent.operation,
                        sent.key,
                        sent.identity,
                        sent.fields,
                        sent.checksum,
                        &sent.idempotency_key[..8],
                    )?;
                }
                Ok(())
            }
            What::Ended(report) => write!(f, "ended {report:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Writes events down with the virtual time.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    events: Arc<Mutex<Vec<Event>>>,
    began: tokio::time::Instant,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            events: Arc::default(),
            began: tokio::time::Instant::now(),
        }
    }

    pub(crate) fn add(&self, process: usize, what: What) {
        let at_us = self.began.elapsed().as_micros() as u64;
        let event = Event {
            at_us,
            process,
            what,
        };
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    }

    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A trace as text: what two runs of one seed must agree in, byte for byte.
pub(crate) fn text(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        text.push_str(&event.to_string());
        text.push('\n');
    }
    text
}
