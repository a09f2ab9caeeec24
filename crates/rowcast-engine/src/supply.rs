//! Reading, mapping, batching: the side of delivery that gets records ready.
//!
//! Batches hold one operation and distinct identities. A record whose identity is still on its
//! way waits at the head of the line, so order per identity is kept without looking further
//! (semantics 11). It must never read further than the next window.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use rowcast_core::record::Batch;
use rowcast_core::settle::Settled;
use rowcast_core::{Capabilities, ChangeReader, Key, Kind, Operation, Reason, Record};

use crate::ahead::Ahead;
use crate::place::Place;
use crate::prepare::{Note, Outgoing, Pass, Prepared, Preparer};
use crate::preview::{GROUPS_MAX, limited};

/// Decisions of one reading step at most: what they are about must reach the ledger.
const FOUND_MAX: usize = 500;

/// Records a batch has room for from the start.
const RECORDS_RESERVED: usize = 1_000;

/// Bytes of mapped records kept ready, in flight and waiting together: the memory of delivery.
pub(crate) const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A part of a batch that is sent in one request.
#[derive(Debug)]
pub(crate) struct Piece {
    pub batch: Arc<Batch>,
    pub notes: Vec<Note>,
    /// Failed attempts.
    pub attempts: u32,
    /// Why the outcome of one of them is not known, if so.
    pub uncertain: Option<Reason>,
}

/// A batch on its way, in as many pieces as its refusals made of it.
#[derive(Debug)]
pub(crate) struct Job {
    /// The intent it was announced under.
    pub intent: Option<i64>,
    pub pieces: VecDeque<Piece>,
}

impl Job {
    pub(crate) fn records(&self) -> usize {
        self.pieces.iter().map(|piece| piece.notes.len()).sum()
    }
}

/// Takes a hash as it is: an identity has been hashed already.
#[derive(Debug, Clone, Copy, Default)]
struct AsItIs(u64);

type Hashed = BuildHasherDefault<AsItIs>;

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Why the line stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    /// An earlier record of the same identity is on its way.
    Identity(u64),
    /// All deletes come before the first other record.
    Deletes,
}

#[derive(Debug)]
struct Open {
    operation: Operation,
    group: u64,
    records: Vec<Record>,
    notes: Vec<Note>,
    bytes: usize,
}

/// What a reading step came upon that is not a record to send.
#[derive(Debug)]
pub(crate) enum Found {
    Settled(Box<Settled>),
    NullKey(Reason),
    /// Left to the next run, although it was read.
    Deferred,
}

/// Records getting ready.
pub(crate) struct Supply {
    pub preparer: Arc<Preparer>,
    ahead: Ahead,
    pub pass: Pass,
    buffer: VecDeque<Prepared>,
    exhausted: bool,
    waiting: Option<(Outgoing, Barrier)>,
    open: Vec<Open>,
    /// Batches that are not announced yet.
    pub ready: VecDeque<Job>,
    ready_records: usize,
    /// Identities from batching to settlement.
    active: HashSet<u64, Hashed>,
    /// Bytes of all records from batching to settlement.
    bytes: usize,
    deletes_over: bool,
    /// Identities that retried records take, when the changes can be read only once: an old
    /// identity among them is not deleted any more.
    taken: HashSet<u64>,
    /// Keys whose old identity could not be deleted in the first pass: decided already.
    pub decided: HashSet<Key>,
    capabilities: Capabilities,
    bytes_max: usize,
    publishes: bool,
    /// Records this run may still send.
    pub budget: Option<u64>,
    pub budget_spent: bool,
}

impl Supply {
    pub(crate) fn new(
        home: Place,
        preparer: Preparer,
        reader: Box<dyn ChangeReader>,
        capabilities: &Capabilities,
    ) -> Self {
        let budget = preparer.plan.records_max;
        let capabilities = limited(&preparer.plan.batching, capabilities);
        let preparer = Arc::new(preparer);
        Self {
            ahead: Ahead::new(home, preparer.clone(), reader),
            preparer,
            pass: Pass::Single,
            buffer: VecDeque::new(),
            exhausted: false,
            waiting: None,
            open: Vec::new(),
            ready: VecDeque::new(),
            ready_records: 0,
            active: HashSet::default(),
            bytes: 0,
            deletes_over: false,
            taken: HashSet::new(),
            decided: HashSet::new(),
            bytes_max: capabilities.batch_bytes_max,
            publishes: capabilities.publishes,
            capabilities,
            budget,
            budget_spent: false,
        }
    }

    /// Chooses the pass or passes. Two when the sync's state keeps match values and the changes can
    /// be read twice. A destination that publishes takes the delete of an old identity and the
    /// upsert of the new one in different runs: if it were not known whether both were published,
    /// either identity could be the one that exists, and a doubt remembers only one.
    pub(crate) async fn begin(&mut self) -> Result<(), Reason> {
        let twice = self.preparer.plan.tracks_match && !self.publishes;
        if twice && self.ahead.rewind().await? {
            self.pass = Pass::Deletes;
        }
        Ok(())
    }

    /// Goes on to the second pass; `false` when there is none.
    pub(crate) async fn next_pass(&mut self) -> Result<bool, Reason> {
        if self.pass != Pass::Deletes || self.budget_spent {
            return Ok(false);
        }
        if !self.ahead.rewind().await? {
            return Err(Reason::defect(
                "the change set could be read twice, and then not",
            ));
        }
        self.pass = Pass::Rest;
        self.exhausted = false;
        self.deletes_over = true;
        Ok(true)
    }

    /// Whether everything was read and handed out.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted && self.buffer.is_empty() && self.waiting.is_none()
    }

    /// Nothing more will come before something on its way is settled.
    pub(crate) fn stands_still(&self) -> bool {
        self.is_exhausted() || self.waiting.is_some() || self.budget_spent
    }

    pub(crate) fn ready_records(&self) -> usize {
        self.ready_records
    }

    /// The barrier that separates deletes from the rest.
    pub(crate) fn waits_for_deletes(&self) -> bool {
        matches!(self.waiting, Some((_, Barrier::Deletes)))
    }

    /// Everything that was deleted is acknowledged.
    pub(crate) fn deletes_done(&mut self) {
        self.deletes_over = true;
        if let Some((outgoing, Barrier::Deletes)) = self.waiting.take() {
            self.admit(outgoing);
        }
    }

    /// A record is settled: its identity is free again.
    pub(crate) fn release(&mut self, note: &Note) {
        self.active.remove(&note.identity);
        self.bytes = self.bytes.saturating_sub(note.bytes);
    }

    /// Until more was read and mapped for `fill`.
    pub(crate) async fn arrival(&mut self) -> Result<(), Reason> {
        self.ahead.arrival().await
    }

    /// Reads and maps until `target` records are ready, something must be settled without sending,
    /// or the line stands still. Dropped before that, it loses nothing.
    pub(crate) async fn fill(
        &mut self,
        target: usize,
        found: &mut Vec<Found>,
    ) -> Result<(), Reason> {
        if let Some((outgoing, Barrier::Identity(identity))) = self.waiting.take_if(
            |(_, barrier)| matches!(barrier, Barrier::Identity(id) if !self.active.contains(id)),
        ) {
            debug_assert!(!self.active.contains(&identity));
            self.admit(outgoing);
        }
        while self.ready_records < target
            && found.len() < FOUND_MAX
            && self.waiting.is_none()
            && self.bytes < BYTES_MAX
            && !self.budget_spent
        {
            if self.buffer.is_empty() && !self.exhausted {
                self.buffer = self.ahead.next(self.pass).await?.into();
                self.exhausted = self.buffer.is_empty();
            }
            let Some(prepared) = self.buffer.pop_front() else {
                break;
            };
            if self.pass == Pass::Rest
                && prepared.key().is_some_and(|key| self.decided.contains(key))
            {
                continue;
            }
            match prepared {
                Prepared::Ignore => {}
                Prepared::NullKey(reason) => found.push(Found::NullKey(reason)),
                Prepared::Settle(settled) => found.push(Found::Settled(settled)),
                Prepared::Send(outgoing) => {
                    if self.takes_turns(&outgoing.note, outgoing.record.operation) {
                        self.admit(outgoing);
                    } else {
                        found.push(Found::Deferred);
                    }
                }
            }
        }
        if self.stands_still() || self.bytes >= BYTES_MAX {
            self.close_all();
        }
        Ok(())
    }

    /// Whether a record may be sent in a single pass of a sync whose state keeps match values:
    /// there, retried records may precede the delete of the identity they take.
    fn takes_turns(&mut self, note: &Note, operation: Operation) -> bool {
        if self.pass != Pass::Single || !self.preparer.plan.tracks_match {
            return true;
        }
        if operation != Operation::Delete && note.retried {
            self.taken.insert(note.identity);
        }
        !(note.prelude && self.taken.contains(&note.identity))
    }

    /// Puts a record into the open batch of its operation, or in front of a barrier.
    fn admit(&mut self, outgoing: Outgoing) {
        if self.budget == Some(0) {
            self.budget_spent = true;
            return;
        }
        let note = &outgoing.note;
        let operation = outgoing.record.operation;
        if !self.deletes_over && operation != Operation::Delete {
            self.waiting = Some((outgoing, Barrier::Deletes));
            return;
        }
        if !self.active.insert(note.identity) {
            let barrier = Barrier::Identity(note.identity);
            self.waiting = Some((outgoing, barrier));
            return;
        }
        if let Some(budget) = &mut self.budget {
            *budget -= 1;
        }
        self.bytes += note.bytes;
        let position = self.open_for(operation, note.group);
        if self.open[position].bytes + note.bytes > self.bytes_max {
            self.close(position);
        }
        let most = self.capabilities.records_max(operation);
        let open = &mut self.open[position];
        open.bytes += note.bytes;
        let Outgoing { record, note } = outgoing;
        if open.records.is_empty() && note.group == 0 {
            let records = most.min(RECORDS_RESERVED);
            open.records.reserve_exact(records);
            open.notes.reserve_exact(records);
        }
        open.records.push(record);
        open.notes.push(note);
        if open.records.len() >= most {
            self.close(position);
        }
    }

    /// The batch that such a record belongs to. With too many side by side the largest is closed:
    /// it gains least by waiting.
    fn open_for(&mut self, operation: Operation, group: u64) -> usize {
        let fits = |open: &Open| open.operation == operation && open.group == group;
        if let Some(position) = self.open.iter().position(fits) {
            return position;
        }
        let new = Open {
            operation,
            group,
            records: Vec::new(),
            notes: Vec::new(),
            bytes: 0,
        };
        if self.open.len() < GROUPS_MAX {
            self.open.push(new);
            return self.open.len() - 1;
        }
        let largest = (0..self.open.len())
            .max_by_key(|position| self.open[*position].records.len())
            .unwrap_or_default();
        self.close(largest);
        self.open[largest] = new;
        largest
    }

    fn close(&mut self, position: usize) {
        let open = &mut self.open[position];
        let records = std::mem::take(&mut open.records);
        let notes = std::mem::take(&mut open.notes);
        open.bytes = 0;
        if records.is_empty() {
            return;
        }
        self.ready_records += records.len();
        let piece = Piece {
            batch: Arc::new(Batch {
                intent: 0,
                operation: open.operation,
                records,
                context: self.preparer.context.clone(),
            }),
            notes,
            attempts: 0,
            uncertain: None,
        };
        self.ready.push_back(Job {
            intent: None,
            pieces: [piece].into(),
        });
    }

    /// Closes the batches that are being filled.
    pub(crate) fn close_all(&mut self) {
        for position in 0..self.open.len() {
            self.close(position);
        }
    }

    /// Takes the next batch to announce, if it has at most `room` records.
    pub(crate) fn take_ready(&mut self, room: usize) -> Option<Job> {
        if self.ready.front()?.records() > room {
            return None;
        }
        let job = self.ready.pop_front()?;
        self.ready_records -= job.records();
        Some(job)
    }

    /// Takes a batch back, to be announced anew before all others.
    pub(crate) fn give_back(&mut self, job: Job) {
        self.ready_records += job.records();
        self.ready.push_front(job);
    }

    /// Takes everything that was not announced.
    pub(crate) fn take_all(&mut self) -> Vec<Job> {
        self.close_all();
        self.waiting = None;
        self.ready_records = 0;
        self.ready.drain(..).collect()
    }

    /// Remembers a change of the first pass that needs no second look.
    pub(crate) fn decide(&mut self, key: &Key, kind: Kind) {
        if self.pass == Pass::Deletes && kind != Kind::Removed {
            self.decided.insert(key.clone());
        }
    }
}
