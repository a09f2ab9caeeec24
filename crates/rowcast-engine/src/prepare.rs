//! From a change to what a run does with it: send, settle without sending, or set aside.
//!
//! Pure, like the mapping it calls. It must never look at the clock or remember a change.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rowcast_core::change::Conflict;
use rowcast_core::json::push_object;
use rowcast_core::record::{idempotency_key, identity};
use rowcast_core::settle::{Settled, Verdict};
use rowcast_core::value::{Name, Object, Value};
use rowcast_core::{
    Change, Code, Key, Kind, Mapper, Operation, Reason, Record, Retried, RunContext, SyncPlan,
};

/// Which changes a pass over the change set is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// All of them, once.
    Single,
    /// Syncs whose state keeps match values, first pass: removed rows, and the old identity of
    /// rows that changed it (semantics 12).
    Deletes,
    /// The same syncs, second pass: everything else.
    Rest,
}

/// What a settlement needs to know of a record beside the record itself.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub kind: Kind,
    /// The present row's checksum.
    pub checksum: Option<i64>,
    pub retried: bool,
    /// An earlier run's attempt may have taken effect.
    pub doubt: bool,
    pub match_values: Option<Vec<Value>>,
    pub sent: Option<String>,
    /// A hash of the identity: two records that share it never travel together.
    pub identity: u64,
    pub bytes: usize,
    /// Deletes the identity that an updated row left behind. The change itself is counted when its
    /// upsert is settled.
    pub prelude: bool,
}

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub record: Record,
    pub note: Note,
}

/// What to do with a change.
#[derive(Debug)]
pub(crate) enum Prepared {
    Send(Box<Outgoing>),
    /// Decided without the destination.
    Settle(Box<Settled>),
    /// A row without a primary key: counted among the invalid keys, never among the changes.
    NullKey(Reason),
    /// Another pass's business.
    Ignore,
}

/// The rules of one run.
pub(crate) struct Preparer {
    pub plan: SyncPlan,
    pub mapper: Arc<dyn Mapper>,
    pub context: Arc<RunContext>,
    /// Names of the identity's fields.
    pub match_fields: Vec<Name>,
    pub bytes_max: usize,
}

impl Preparer {
    /// Decides about one change.
    pub(crate) fn prepare(&self, change: &Change, pass: Pass) -> Prepared {
        match (pass, change.kind) {
            (Pass::Rest, Kind::Removed) => return Prepared::Ignore,
            (Pass::Deletes, Kind::Added | Kind::Updated) if !self.may_have_moved(change) => {
                return Prepared::Ignore;
            }
            _ => {}
        }
        match (&change.conflict, pass) {
            (Some(Conflict::NullKey), _) => {
                return Prepared::NullKey(
                    Reason::new(Code::NullKey, "a row's primary key is null")
                        .hint("add `where: … is not null`, or choose another primary key"),
                );
            }
            (Some(Conflict::Claimed { by }), _) => {
                let reason = Reason::new(
                    Code::IdentityClaimedTwice,
                    "two rows claim the same identity at the destination",
                )
                .detail(format!(
                    "rows {} and {by} have equal `match_on` values",
                    change.key
                ))
                .hint("make the `match_on` columns unique in the model");
                return self.decided(change, pass, Verdict::Invalid(reason));
            }
            _ => {}
        }
        let Some(operation) = self.operation(change) else {
            return self.decided(change, pass, Verdict::Skipped);
        };
        if let Some(Retried::Reject { due: false, .. }) = change.retried {
            return self.decided(change, pass, Verdict::Held);
        }
        if let Some(Conflict::TakenOver { settled }) = change.conflict {
            return match self.decided(change, pass, Verdict::Skipped) {
                Prepared::Settle(mut taken) => {
                    taken.keep_state = !settled;
                    Prepared::Settle(taken)
                }
                other => other,
            };
        }
        match (operation, pass) {
            (Operation::Delete, _) => self.delete(change),
            (_, Pass::Deletes) => self.prelude(change),
            (_, _) => self.write(change, operation, pass),
        }
    }

    /// What the mode asks for; `None` is skip. A doubtful record whose row is still there is sent
    /// again with the operation that was attempted, whatever kind of change it looks like now.
    pub(crate) fn operation(&self, change: &Change) -> Option<Operation> {
        let mode = self.plan.mode;
        if let Some(Retried::Doubt { operation, .. }) = change.retried {
            let attempted_on_this_side =
                (operation == Operation::Delete) == (change.kind == Kind::Removed);
            if attempted_on_this_side && mode.operations().contains(&operation) {
                return Some(operation);
            }
        }
        mode.operation(change.kind)
            .filter(|_| self.plan.on.includes(change.kind))
    }

    fn may_have_moved(&self, change: &Change) -> bool {
        self.plan.tracks_match && change.delivered_match.is_some() && change.conflict.is_none()
    }

    /// A decision without sending. The first pass leaves present rows to the second.
    #[expect(clippy::unused_self, reason = "reads as one of the preparer's answers")]
    fn decided(&self, change: &Change, pass: Pass, verdict: Verdict) -> Prepared {
        if pass == Pass::Deletes && change.kind != Kind::Removed {
            return Prepared::Ignore;
        }
        Prepared::Settle(Box::new(settle_unsent(change, verdict)))
    }

    fn delete(&self, change: &Change) -> Prepared {
        let match_on = if self.plan.tracks_match {
            match &change.delivered_match {
                Some(values) => self.named(values),
                // Nothing of this key was ever delivered: there is nothing to delete.
                None => return self.decided(change, Pass::Single, Verdict::Skipped),
            }
        } else {
            self.key_object(&change.key)
        };
        let fields = match &change.row {
            Some(row) if self.plan.keep_rows => row
                .schema
                .columns
                .iter()
                .map(|column| column.name.clone())
                .zip(row.values.iter().cloned())
                .collect(),
            _ => Object::new(),
        };
        self.outgoing(change, Operation::Delete, match_on, fields, None, false)
    }

    /// The delete of the identity that an updated row left, if it did and can be sent at all.
    fn prelude(&self, change: &Change) -> Prepared {
        let (Some(row), Some(old)) = (&change.row, &change.delivered_match) else {
            return Prepared::Ignore;
        };
        let Ok(match_on) = self.mapper.match_on(row, &self.context) else {
            return Prepared::Ignore;
        };
        if identity(&match_on) == *old || self.mapper.fields(row, &self.context).is_err() {
            return Prepared::Ignore;
        }
        let match_on = self.named(old);
        self.outgoing(
            change,
            Operation::Delete,
            match_on,
            Object::new(),
            None,
            true,
        )
    }

    fn write(&self, change: &Change, operation: Operation, pass: Pass) -> Prepared {
        let Some(row) = &change.row else {
            let reason = Reason::defect(format!("row {} was read without its columns", change.key));
            return Prepared::Settle(Box::new(settle_unsent(change, Verdict::Invalid(reason))));
        };
        let mapped = self
            .mapper
            .match_on(row, &self.context)
            .and_then(|match_on| Ok((match_on, self.mapper.fields(row, &self.context)?)));
        let (match_on, fields) = match mapped {
            Ok(mapped) => mapped,
            Err(reason) => {
                return Prepared::Settle(Box::new(settle_unsent(change, Verdict::Invalid(reason))));
            }
        };
        // A ledger that can't be read twice: the old identity goes now, the row in the next run.
        if pass == Pass::Single
            && self.plan.tracks_match
            && let Some(old) = &change.delivered_match
            && identity(&match_on) != *old
        {
            let match_on = self.named(old);
            return self.outgoing(
                change,
                Operation::Delete,
                match_on,
                Object::new(),
                None,
                true,
            );
        }
        let sent = self.plan.keep_rows.then(|| {
            let mut text = String::new();
            push_object(&mut text, &fields);
            text
        });
        self.outgoing(change, operation, match_on, fields, sent, false)
    }

    fn outgoing(
        &self,
        change: &Change,
        operation: Operation,
        match_on: Object,
        fields: Object,
        sent: Option<String>,
        prelude: bool,
    ) -> Prepared {
        let checksum = change.checksum.filter(|_| operation != Operation::Delete);
        let (first_run, doubt) = match change.retried {
            Some(Retried::Doubt { run, .. }) => (run, true),
            Some(Retried::Reject { run, .. }) => (run, false),
            None => (self.context.run, false),
        };
        let mut text = String::new();
        push_object(&mut text, &match_on);
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        push_object(&mut text, &fields);
        let bytes = text.len() + change.key.canonical().len();
        if bytes > self.bytes_max {
            let reason = Reason::new(
                Code::RecordTooLarge,
                format!("record {} is larger than the destination takes", change.key),
            )
            .detail(format!("{bytes} bytes, {} are allowed", self.bytes_max))
            .hint("map fewer or shorter fields, or raise `batch.max_bytes` of the destination");
            let verdict = Verdict::Rejected {
                operation,
                reason,
                doubt,
            };
            return Prepared::Settle(Box::new(settle_unsent(change, verdict)));
        }
        let note = Note {
            kind: change.kind,
            checksum: change.checksum,
            retried: change.retried.is_some(),
            doubt,
            match_values: self.plan.tracks_match.then(|| identity(&match_on)),
            sent,
            identity: hasher.finish(),
            bytes,
            prelude,
        };
        let record = Record {
            idempotency_key: idempotency_key(
                &self.context,
                &change.key,
                operation,
                checksum,
                first_run,
            ),
            key: change.key.clone(),
            operation,
            match_on,
            fields,
            checksum,
            doubtful: doubt,
        };
        Prepared::Send(Box::new(Outgoing { record, note }))
    }

    fn named(&self, values: &[Value]) -> Object {
        self.match_fields
            .iter()
            .cloned()
            .zip(values.iter().cloned())
            .collect()
    }

    fn key_object(&self, key: &Key) -> Object {
        if self.match_fields.len() == key.0.len() {
            key.to_object(&self.match_fields)
        } else {
            key.to_object(&self.context.key_columns)
        }
    }
}

fn settle_unsent(change: &Change, verdict: Verdict) -> Settled {
    Settled {
        key: change.key.clone(),
        kind: change.kind,
        checksum: change.checksum,
        verdict,
        retried: change.retried.is_some(),
        match_values: None,
        sent: None,
        idempotency_key: None,
        keep_state: false,
    }
}

/// The settlement of a record that was sent, or was about to be.
pub(crate) fn settle_sent(record: &Record, note: &mut Note, verdict: Verdict) -> Settled {
    let delivered = matches!(verdict, Verdict::Delivered(_));
    Settled {
        key: record.key.clone(),
        kind: note.kind,
        checksum: note.checksum,
        verdict,
        retried: note.retried,
        match_values: note.match_values.take(),
        sent: note.sent.take().filter(|_| delivered),
        idempotency_key: Some(record.idempotency_key.clone()),
        keep_state: false,
    }
}
