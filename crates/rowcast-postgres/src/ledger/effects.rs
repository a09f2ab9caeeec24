//! Settled changes, sorted by what they do to state.

use std::collections::HashMap;

use rowcast_core::{Code, Effect, Key, Kind, Operation, Settled, Verdict};

use super::shape::{KeyArrays, Shape};

#[derive(Debug)]
pub(super) struct PutSet {
    pub(super) keys: KeyArrays,
    pub(super) places: HashMap<Key, usize>,
    pub(super) checksums: Vec<i64>,
    /// `None`: delivered.
    pub(super) marks: Vec<Option<&'static str>>,
    pub(super) matches: Vec<Option<String>>,
    pub(super) sent: Vec<Option<String>>,
}

impl PutSet {
    /// Whether everything was delivered, to a sync that does not keep identities.
    pub(super) fn is_plain(&self) -> bool {
        self.marks.iter().all(Option::is_none) && self.matches.iter().all(Option::is_none)
    }
}

#[derive(Debug)]
pub(super) struct DoubtSet {
    pub(super) keys: KeyArrays,
    pub(super) operations: Vec<String>,
    pub(super) matches: Vec<Option<String>>,
}

#[derive(Debug)]
pub(super) struct RejectSet {
    pub(super) keys: KeyArrays,
    pub(super) operations: Vec<String>,
    pub(super) checksums: Vec<Option<i64>>,
    pub(super) codes: Vec<String>,
    pub(super) messages: Vec<String>,
}

/// Settled changes sorted by what they do to state.
#[derive(Debug)]
pub(super) struct Effects {
    pub(super) put: PutSet,
    pub(super) drop: KeyArrays,
    pub(super) bury: KeyArrays,
    pub(super) doubt: DoubtSet,
    pub(super) reject: RejectSet,
    pub(super) forget: KeyArrays,
    /// Rows that left the model, and not identities that moved.
    pub(super) removed: i64,
}

impl Effects {
    pub(super) fn new(shape: &Shape) -> Self {
        let keys = || KeyArrays::new(shape);
        Self {
            put: PutSet {
                keys: keys(),
                places: HashMap::new(),
                checksums: Vec::new(),
                marks: Vec::new(),
                matches: Vec::new(),
                sent: Vec::new(),
            },
            drop: keys(),
            bury: keys(),
            doubt: DoubtSet {
                keys: keys(),
                operations: Vec::new(),
                matches: Vec::new(),
            },
            reject: RejectSet {
                keys: keys(),
                operations: Vec::new(),
                checksums: Vec::new(),
                codes: Vec::new(),
                messages: Vec::new(),
            },
            forget: keys(),
            removed: 0,
        }
    }

    pub(super) fn add(&mut self, change: &Settled, effect: Effect) {
        let matches = change
            .match_values
            .as_deref()
            .map(super::matching::canonical);
        match effect {
            Effect::Put { checksum, skipped } => {
                let mark = skipped.then_some("s");
                // A key that came twice, before it was found to be no key: the last one counts.
                if let Some(&at) = self.put.places.get(&change.key) {
                    self.put.checksums[at] = checksum;
                    self.put.marks[at] = mark;
                    self.put.matches[at] = matches;
                    self.put.sent[at].clone_from(&change.sent);
                } else {
                    let place = self.put.checksums.len();
                    self.put.places.insert(change.key.clone(), place);
                    self.put.keys.push(&change.key);
                    self.put.checksums.push(checksum);
                    self.put.marks.push(mark);
                    self.put.matches.push(matches);
                    self.put.sent.push(change.sent.clone());
                }
            }
            Effect::Drop => self.drop.push(&change.key),
            Effect::Bury => self.bury.push(&change.key),
            Effect::Doubt(operation) => self.doubt(change, operation, matches),
            Effect::Reject(operation) => self.reject(change, operation),
            Effect::DoubtAndReject(operation) => {
                self.doubt(change, operation, matches);
                self.reject(change, operation);
            }
            Effect::Nothing => {}
        }
        if change.kind == Kind::Removed && matches!(effect, Effect::Drop | Effect::Bury) {
            self.removed += 1;
        }
        let settled = matches!(effect, Effect::Put { .. } | Effect::Drop | Effect::Bury);
        if settled && change.retried {
            self.forget.push(&change.key);
        }
    }

    fn doubt(&mut self, change: &Settled, operation: Operation, matches: Option<String>) {
        self.doubt.keys.push(&change.key);
        self.doubt.operations.push(operation.letter().to_string());
        self.doubt.matches.push(if operation == Operation::Delete {
            None
        } else {
            matches
        });
    }

    fn reject(&mut self, change: &Settled, operation: Operation) {
        let (code, message) = match &change.verdict {
            Verdict::Rejected { reason, .. } => (reason.code.to_string(), reason.to_string()),
            _ => (Code::DestinationRejected.to_string(), String::new()),
        };
        self.reject.keys.push(&change.key);
        self.reject.operations.push(operation.letter().to_string());
        self.reject.checksums.push(change.checksum);
        self.reject.codes.push(code);
        // A text column can't hold a null byte, and a service's words may.
        self.reject.messages.push(message.replace('\0', ""));
    }
}
