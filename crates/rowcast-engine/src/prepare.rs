//! From a change to what a run does with it: send, settle without sending, or set aside.
//!
//! Pure, like the mapping it calls. It must never look at the clock or remember a change.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rowcast_core::change::Conflict;
use rowcast_core::json::{push_object, push_value, size_of_object};
use rowcast_core::mapping::Plain;
use rowcast_core::record::{RawRecord, RecordJson, idempotency_key, identity, identity_digest};
use rowcast_core::segment::Occasion;
use rowcast_core::settle::{Settled, Verdict};
use rowcast_core::value::{Name, Object, Value};
use rowcast_core::{
    Change, Code, Key, Kind, Mapper, Operation, Reason, Record, Retried, Row, RunContext, SyncPlan,
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
    /// A hash of what its batch must have in common; the same for all without `batch_keys`.
    pub group: u64,
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
    Send(Outgoing),
    /// Decided without the destination.
    Settle(Box<Settled>),
    /// A row without a primary key: counted among the invalid keys, never among the changes.
    NullKey(Reason),
    /// Another pass's business.
    Ignore,
}

impl Prepared {
    /// The key of a change that is sent or settled.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Send(outgoing) => Some(&outgoing.record.key),
            Self::Settle(settled) => Some(&settled.key),
            Self::NullKey(_) | Self::Ignore => None,
        }
    }

    /// Bytes of its record.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Send(outgoing) => outgoing.note.bytes,
            _ => 0,
        }
    }
}

/// The rules of one run.
pub(crate) struct Preparer {
    pub plan: SyncPlan,
    pub mapper: Arc<dyn Mapper>,
    pub context: Arc<RunContext>,
    /// Names of the identity's fields.
    pub match_fields: Vec<Name>,
    pub bytes_max: usize,
    /// Records carry JSON text in place of values.
    pub json: bool,
    /// Records may carry undecoded columns in place of values.
    pub raw: bool,
}

/// What a record holds of its row.
enum Content {
    Values {
        match_on: Object,
        fields: Object,
    },
    /// Both as text.
    Text(RecordJson),
    /// Both undecoded.
    Raw(RawRecord),
}

impl Preparer {
    /// Whether nobody but the destination looks at the values that a record is made of.
    fn looks_at_nothing(&self) -> bool {
        !self.plan.tracks_match
            && !self.mapper.looks_at_changes()
            && self.plan.batching.keys.is_empty()
    }

    fn sends_text(&self) -> bool {
        self.json && self.looks_at_nothing()
    }

    /// The mapping, where records may come as text, or undecoded, in place of rows.
    pub(crate) fn plain(&self) -> Option<Plain> {
        // Kept rows are text.
        let raw = self.raw && self.looks_at_nothing() && !self.plan.keep_rows;
        if (self.sends_text() || raw) && self.plan.gate.is_open() {
            self.mapper.plain()
        } else {
            None
        }
    }

    /// Decides about one change. `room` is for writing, and used again.
    pub(crate) fn prepare(&self, mut change: Change, pass: Pass, room: &mut String) -> Prepared {
        let change = &mut change;
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
        let kind = match self.admitted(change) {
            Ok(kind) => kind,
            Err(reason) => return self.decided(change, pass, Verdict::SkippedFor(reason)),
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
            (Operation::Delete, _) => self.delete(change, room),
            (_, Pass::Deletes) => self.prelude(change, kind, room),
            (_, _) => self.write(change, kind, operation, pass, room),
        }
    }

    /// What the change passes the trigger as, if it does and no consent is missing. A doubtful row
    /// looks updated although its first attempt may have been about a new one: it passes as either.
    fn admitted(&self, change: &Change) -> Result<Kind, Reason> {
        let inserted = matches!(
            change.retried,
            Some(Retried::Doubt {
                operation: Operation::Insert,
                ..
            })
        );
        let doubtful =
            matches!(change.retried, Some(Retried::Doubt { .. })) && change.kind != Kind::Removed;
        let (kind, or_else) = match change.kind {
            Kind::Updated if inserted => (Kind::Added, Some(Kind::Updated)),
            Kind::Updated if doubtful => (Kind::Updated, Some(Kind::Added)),
            Kind::Added if doubtful => (Kind::Added, Some(Kind::Updated)),
            kind => (kind, None),
        };
        if self.plan.gate.is_open() {
            return Ok(kind);
        }
        let occasion = occasion(change, kind);
        self.plan
            .gate
            .pass(&occasion, or_else, self.context.started_at)
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
    fn decided(&self, change: &mut Change, pass: Pass, verdict: Verdict) -> Prepared {
        if pass == Pass::Deletes && change.kind != Kind::Removed {
            return Prepared::Ignore;
        }
        Prepared::Settle(Box::new(settle_unsent(change, verdict)))
    }

    fn delete(&self, change: &mut Change, room: &mut String) -> Prepared {
        let match_on = if self.plan.tracks_match {
            match change.delivered_match.take() {
                Some(values) => self.named(&values),
                // Nothing of this key was ever delivered: there is nothing to delete.
                None => return self.decided(change, Pass::Single, Verdict::Skipped),
            }
        } else {
            self.key_object(&change.key)
        };
        let fields = match &change.row {
            _ if self.mapper.looks_at_changes() => {
                let occasion = occasion(change, Kind::Removed);
                match self.mapper.fields_at(&occasion, &self.context) {
                    Ok(fields) => fields,
                    Err(reason) => {
                        return self.decided(change, Pass::Single, Verdict::Invalid(reason));
                    }
                }
            }
            Some(row) if self.plan.keep_rows => row
                .schema
                .columns
                .iter()
                .map(|column| column.name.clone())
                .zip(row.values.iter().cloned())
                .collect(),
            _ => Object::new(),
        };
        let content = Content::Values { match_on, fields };
        self.outgoing(change, Operation::Delete, content, None, false, room)
    }

    /// The delete of the identity that an updated row left, if it did and can be sent at all.
    fn prelude(&self, change: &mut Change, kind: Kind, room: &mut String) -> Prepared {
        let (Some(row), Some(old)) = (&change.row, &change.delivered_match) else {
            return Prepared::Ignore;
        };
        let Ok(match_on) = self.mapper.match_on(row, &self.context) else {
            return Prepared::Ignore;
        };
        let fields = self.fields(change, kind, row);
        if identity(&match_on) == *old || fields.is_err() {
            return Prepared::Ignore;
        }
        let old = change.delivered_match.take().unwrap_or_default();
        self.delete_old(change, &old, room)
    }

    fn fields(&self, change: &Change, kind: Kind, row: &Row) -> Result<Object, Reason> {
        if self.mapper.looks_at_changes() {
            let occasion = Occasion {
                row: Some(row),
                ..occasion(change, kind)
            };
            self.mapper.fields_at(&occasion, &self.context)
        } else {
            self.mapper.fields(row, &self.context)
        }
    }

    fn write(
        &self,
        change: &mut Change,
        kind: Kind,
        operation: Operation,
        pass: Pass,
        room: &mut String,
    ) -> Prepared {
        if let Some(json) = change.json.take() {
            let sent = self.plan.keep_rows.then(|| json.fields().to_owned());
            return self.outgoing(change, operation, Content::Text(json), sent, false, room);
        }
        if let Some(raw) = change.raw.take() {
            return self.outgoing(change, operation, Content::Raw(raw), None, false, room);
        }
        // Taken out, so that the change can be given on.
        let Some(row) = change.row.take() else {
            let reason = Reason::defect(format!("row {} was read without its columns", change.key));
            return invalid(change, reason);
        };
        let match_on = match self.mapper.match_on(&row, &self.context) {
            Ok(match_on) => match_on,
            Err(reason) => return invalid(change, reason),
        };
        // A ledger that can't be read twice: the old identity goes now, the row in the next run.
        let left = change.delivered_match.take().filter(|old| {
            pass == Pass::Single && self.plan.tracks_match && identity(&match_on) != *old
        });
        let whole = self.mapper.looks_at_changes();
        let mut columns = String::new();
        if whole && self.plan.keep_rows {
            push_object(&mut columns, &self.read_columns(&row));
        }
        let content = if self.sends_text() {
            room.clear();
            push_object(room, &match_on);
            let fields_at = room.len();
            self.mapper
                .push_fields(&row, &self.context, room)
                .map(|()| Content::Text(RecordJson::new(room, fields_at)))
        } else {
            let fields = if whole {
                self.fields(change, kind, &row)
            } else {
                self.mapper.take_fields(row, &self.context)
            };
            fields.map(|fields| Content::Values { match_on, fields })
        };
        let content = match content {
            Ok(content) => content,
            Err(reason) => return invalid(change, reason),
        };
        if let Some(old) = left {
            return self.delete_old(change, &old, room);
        }
        let sent = self.plan.keep_rows.then(|| match &content {
            // The delete is made from the columns again.
            _ if whole => std::mem::take(&mut columns),
            Content::Text(json) => json.fields().to_owned(),
            Content::Raw(_) => String::new(),
            Content::Values { fields, .. } => {
                let mut text = String::new();
                push_object(&mut text, fields);
                text
            }
        });
        let mut prepared = self.outgoing(change, operation, content, sent, false, room);
        if let Prepared::Send(outgoing) = &mut prepared {
            outgoing.record.kind = kind;
        }
        prepared
    }

    /// The columns that the mapping reads, with their values.
    fn read_columns(&self, row: &Row) -> Object {
        let columns = self.mapper.columns().into_iter();
        columns
            .filter_map(|name| row.get(&name).cloned().map(|value| (name, value)))
            .collect()
    }

    /// The delete of an identity that a row left.
    fn delete_old(&self, change: &mut Change, old: &[Value], room: &mut String) -> Prepared {
        let content = Content::Values {
            match_on: self.named(old),
            fields: Object::new(),
        };
        self.outgoing(change, Operation::Delete, content, None, true, room)
    }

    fn outgoing(
        &self,
        change: &mut Change,
        operation: Operation,
        content: Content,
        sent: Option<String>,
        prelude: bool,
        room: &mut String,
    ) -> Prepared {
        let checksum = change.checksum.filter(|_| operation != Operation::Delete);
        let (first_run, doubt) = match change.retried {
            Some(Retried::Doubt { run, .. }) => (run, true),
            Some(Retried::Reject { run, .. }) => (run, false),
            None => (self.context.run, false),
        };
        let group = self.group(&content);
        let mut raw = None;
        let (json, match_on, fields) = match content {
            Content::Text(json) => (Some(json), Object::new(), Object::new()),
            Content::Raw(columns) => {
                raw = Some(columns);
                (None, Object::new(), Object::new())
            }
            Content::Values { match_on, fields } if self.json => {
                room.clear();
                push_object(room, &match_on);
                let fields_at = room.len();
                push_object(room, &fields);
                (Some(RecordJson::new(room, fields_at)), match_on, fields)
            }
            Content::Values { match_on, fields } => (None, match_on, fields),
        };
        let mut hasher = DefaultHasher::new();
        let mut bytes = match (&json, &raw) {
            (Some(json), _) => {
                json.match_on().hash(&mut hasher);
                json.match_on().len() + json.fields().len()
            }
            (None, Some(raw)) => raw.columns().len(),
            (None, None) => {
                room.clear();
                push_object(room, &match_on);
                room.hash(&mut hasher);
                room.len() + size_of_object(&fields)
            }
        };
        room.clear();
        change.key.push_canonical(room);
        bytes += room.len();
        if raw.is_some() {
            // A plain mapping's identity is the primary key.
            room.hash(&mut hasher);
        }
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
            group,
            prelude,
        };
        // Two deletes of one key may name two identities, and be tried first in the same run.
        let names_identity = self.plan.tracks_match && operation == Operation::Delete;
        let what = if names_identity {
            Some(identity_digest(&match_on))
        } else {
            checksum
        };
        let record = Record {
            idempotency_key: idempotency_key(&self.context, room, operation, what, first_run),
            key: take_key(change),
            operation,
            kind: change.kind,
            match_on: if self.json { Object::new() } else { match_on },
            fields: if self.json { Object::new() } else { fields },
            json,
            raw,
            checksum,
            doubtful: doubt,
        };
        Prepared::Send(Outgoing { record, note })
    }

    /// What `batch_keys` tell apart.
    fn group(&self, content: &Content) -> u64 {
        let (Content::Values { fields, .. }, false) = (content, self.plan.batching.keys.is_empty())
        else {
            return 0;
        };
        let mut hasher = DefaultHasher::new();
        for name in &self.plan.batching.keys {
            let value = fields.iter().find(|(field, _)| field == name);
            let text = value.map(|(_, value)| {
                let mut text = String::new();
                push_value(&mut text, value);
                text
            });
            text.hash(&mut hasher);
        }
        hasher.finish()
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

fn occasion(change: &Change, kind: Kind) -> Occasion<'_> {
    Occasion {
        kind,
        key: Some(&change.key),
        row: change.row.as_ref(),
    }
}

fn invalid(change: &mut Change, reason: Reason) -> Prepared {
    Prepared::Settle(Box::new(settle_unsent(change, Verdict::Invalid(reason))))
}

fn settle_unsent(change: &mut Change, verdict: Verdict) -> Settled {
    Settled {
        key: take_key(change),
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

/// The change's key, for what is made of it.
fn take_key(change: &mut Change) -> Key {
    std::mem::take(&mut change.key)
}

/// The settlement of a record that was sent, or was about to be.
pub(crate) fn settle_sent(record: Record, note: Note, verdict: Verdict) -> Settled {
    let delivered = matches!(verdict, Verdict::Delivered(_));
    Settled {
        key: record.key,
        kind: note.kind,
        checksum: note.checksum,
        verdict,
        retried: note.retried,
        match_values: note.match_values,
        sent: note.sent.filter(|_| delivered),
        idempotency_key: Some(record.idempotency_key),
        keep_state: false,
    }
}
