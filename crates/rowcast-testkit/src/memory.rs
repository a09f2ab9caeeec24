//! A source, a ledger and a mirror destination in memory, with the same law as the real ones.
//!
//! The ledger is a model to think with and an oracle to test against: small enough to be read at
//! one sitting, built on the same `Effect` table as the real one. It forgets everything that was
//! not committed, as a crash does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rowcast_core::change::Conflict;
use rowcast_core::destination::Committed;
use rowcast_core::json::{push_object, push_value};
use rowcast_core::ledger::{ChangeSet, DiffCounts, DiffRequest, Intent, OpenRequest, Opened, Step};
use rowcast_core::record::identity;
use rowcast_core::settle::{Effect, Settled, Verdict};
use rowcast_core::sync::RetryPolicy;
use rowcast_core::value::{Name, Object};
use rowcast_core::{
    Batch, BoxFuture, Capabilities, Change, ChangeReader, Check, Code, Column, Destination, Fault,
    Key, KeyPart, Kind, Lease, Ledger, Mapper, Mode, Operation, Outcome, Reason, Record, Retried,
    Row, RunContext, RunReport, Schema, Value,
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A model: rows by their primary key, columns `id`, `email`, `name`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub rows: BTreeMap<i64, (String, String)>,
    /// Rows without a primary key.
    pub null_keys: u64,
}

impl Table {
    /// The model's columns.
    pub fn schema() -> Arc<Schema> {
        let column = |name: &str, type_name: &str| Column {
            name: name.into(),
            type_name: type_name.into(),
        };
        Arc::new(Schema {
            columns: vec![
                column("id", "bigint"),
                column("email", "text"),
                column("name", "text"),
            ],
        })
    }

    /// Adds or changes a row whose email follows from its id.
    pub fn put(&mut self, id: i64, name: &str) {
        self.rows
            .insert(id, (format!("{id}@example.com"), name.to_owned()));
    }

    fn row(id: i64, email: &str, name: &str) -> Row {
        Row {
            schema: Self::schema(),
            values: vec![Value::Int(id), Value::from(email), Value::from(name)],
        }
    }

    /// What a mirror of this table holds: identity → fields.
    pub fn mirror(&self, mapper: &TableMapper) -> BTreeMap<String, String> {
        let mut claims = BTreeMap::<String, Vec<String>>::new();
        for (id, (email, name)) in &self.rows {
            let row = Self::row(*id, email, name);
            let identity = text(&mapper.identity_of(&row));
            claims
                .entry(identity)
                .or_default()
                .push(text(&mapper.fields_of(&row)));
        }
        claims
            .into_iter()
            .filter_map(|(identity, mut fields)| Some((identity, fields.pop()?)))
            .collect()
    }
}

/// The JSON text of an object.
pub fn text(object: &Object) -> String {
    let mut out = String::new();
    push_object(&mut out, object);
    out
}

/// Maps `name`; matches on `id` or, as syncs with `match_on` do, on `email`. A row named `invalid`
/// can't be mapped.
#[derive(Debug, Clone, Default)]
pub struct TableMapper {
    pub match_on_email: bool,
}

impl TableMapper {
    fn fields_of(&self, row: &Row) -> Object {
        let mut fields = Object::new();
        if self.match_on_email {
            fields.push(("id".into(), row.values[0].clone()));
        }
        fields.push(("name".into(), row.values[2].clone()));
        fields
    }

    fn identity_of(&self, row: &Row) -> Object {
        if self.match_on_email {
            vec![("email".into(), row.values[1].clone())]
        } else {
            vec![("id".into(), row.values[0].clone())]
        }
    }
}

impl Mapper for TableMapper {
    fn columns(&self) -> Vec<Name> {
        vec!["id".into(), "email".into(), "name".into()]
    }

    fn digests(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn fields(&self, row: &Row, _: &RunContext) -> Result<Object, Reason> {
        if row.values[2].as_text() == Some("invalid") {
            return Err(Reason::new(Code::CastFailed, "can't cast `name`"));
        }
        Ok(self.fields_of(row))
    }

    fn match_on(&self, row: &Row, _: &RunContext) -> Result<Object, Reason> {
        Ok(self.identity_of(row))
    }
}

/// A key of state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StateRow {
    /// `None`: what the destination holds is not known.
    pub checksum: Option<i64>,
    pub match_values: Option<Vec<Value>>,
    pub sent: Option<String>,
    pub run: i64,
    /// Gone from the model, still at the destination.
    pub buried: bool,
}

/// A key with an unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    pub operation: Operation,
    pub run: i64,
}

/// A key that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub operation: Operation,
    pub checksum: Option<i64>,
    pub attempts: u32,
    pub run: i64,
    pub reason: Reason,
}

/// Everything the ledger has committed.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub state: BTreeMap<Key, StateRow>,
    pub doubts: BTreeMap<Key, Doubt>,
    pub rejects: BTreeMap<Key, Rejected>,
    pub intents: BTreeMap<(i64, i64), (Intent, i64)>,
    pub reports: Vec<RunReport>,
    pub epoch: i64,
    pub generation: i64,
    pub run: i64,
    pub seed: u64,
    /// Transactions that wrote something, reports not counted.
    pub commits: u64,
    /// Most records announced and not settled at any time.
    pub announced_peak: usize,
    lease_until: Option<Instant>,
    diffed: BTreeSet<Key>,
}

/// How a sync looks to its ledger.
#[derive(Debug, Clone)]
pub struct MemorySync {
    pub mode: Mode,
    /// State keeps `email` as the identity.
    pub tracks_match: bool,
    pub retry: RetryPolicy,
    /// How long a lease holds.
    pub term: Duration,
    /// Whether the change set can be read twice.
    pub rewinds: bool,
}

impl Default for MemorySync {
    fn default() -> Self {
        Self {
            mode: Mode::Mirror,
            tracks_match: false,
            retry: RetryPolicy::default(),
            term: Duration::from_secs(90),
            rewinds: true,
        }
    }
}

/// A ledger in memory over a table in memory.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    pub table: Mutex<Table>,
    pub sync: MemorySync,
    memory: Mutex<Memory>,
}

impl MemoryLedger {
    /// A ledger for a sync, over an empty table.
    pub fn new(sync: MemorySync) -> Arc<Self> {
        Arc::new(Self {
            sync,
            ..Self::default()
        })
    }

    /// Changes the table.
    pub fn edit(&self, edit: impl FnOnce(&mut Table)) {
        edit(&mut lock(&self.table));
    }

    /// What is committed.
    pub fn memory(&self) -> Memory {
        lock(&self.memory).clone()
    }

    /// The process is gone, and its lease has run out.
    pub fn crash(&self) {
        lock(&self.memory).lease_until = None;
    }

    /// Another run takes the lease over.
    pub fn take_over(&self) {
        lock(&self.memory).epoch += 1;
    }

    fn fenced<'a>(&'a self, lease: &Lease) -> Result<MutexGuard<'a, Memory>, Reason> {
        let memory = lock(&self.memory);
        if lease.epoch == memory.epoch && lease.generation == memory.generation {
            Ok(memory)
        } else {
            Err(Reason::new(
                Code::LeaseLost,
                "another run has taken over the sync",
            ))
        }
    }

    fn checksum(seed: u64, row: &Row) -> i64 {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        let mut out = String::new();
        row.values
            .iter()
            .for_each(|value| push_value(&mut out, value));
        out.hash(&mut hasher);
        hasher.finish() as i64
    }

    fn retried(&self, memory: &Memory, key: &Key, checksum: Option<i64>) -> Option<Retried> {
        let doubt = memory.doubts.get(key).map(|doubt| Retried::Doubt {
            operation: doubt.operation,
            run: doubt.run,
        });
        let reject = memory.rejects.get(key).map(|reject| {
            let same = reject.checksum == checksum;
            Retried::Reject {
                attempts: if same { reject.attempts } else { 0 },
                due: !same || reject.attempts <= self.sync.retry.runs,
                run: if same { reject.run } else { memory.run },
            }
        });
        match (doubt, reject) {
            (_, Some(held @ Retried::Reject { due: false, .. })) => Some(held),
            (Some(doubt), _) => Some(doubt),
            (None, reject) => reject,
        }
    }

    fn diff(&self, memory: &Memory, request: &DiffRequest) -> (DiffCounts, Vec<Change>) {
        let table = lock(&self.table).clone();
        let wanted = |key: &Key| request.keys.is_empty() || request.keys.contains(key);
        let email = |email: &str| self.sync.tracks_match.then(|| vec![Value::from(email)]);
        let mut claims = HashMap::<String, Vec<Key>>::new();
        if self.sync.tracks_match {
            for (id, (email, _)) in &table.rows {
                claims.entry(email.clone()).or_default().push(Key::int(*id));
            }
        }
        let claimants = |values: &Option<Vec<Value>>, but: &Key| -> Vec<Key> {
            let email = values.as_ref().and_then(|values| values[0].as_text());
            let mut keys = email
                .and_then(|email| claims.get(email).cloned())
                .unwrap_or_default();
            keys.retain(|key| key != but);
            keys
        };
        let holds = |key: &Key, values: &Option<Vec<Value>>| {
            memory
                .state
                .get(key)
                .is_some_and(|row| !row.buried && row.match_values == *values)
        };
        let mut counts = DiffCounts {
            read: table.null_keys,
            invalid_keys: table.null_keys,
            state_rows: memory.state.len() as u64,
            ..DiffCounts::default()
        };
        let mut known_again = Vec::new();
        let mut known = Vec::new();
        let mut new = Vec::new();
        for (id, (mail, name)) in &table.rows {
            let key = Key::int(*id);
            if !wanted(&key) {
                continue;
            }
            counts.read += 1;
            let row = Table::row(*id, mail, name);
            let checksum = Self::checksum(memory.seed, &row);
            let state = memory.state.get(&key);
            let kind = match state {
                None => Kind::Added,
                Some(state) if state.checksum == Some(checksum) => {
                    counts.unchanged += 1;
                    continue;
                }
                Some(_) => Kind::Updated,
            };
            let retried = self.retried(memory, &key, Some(checksum));
            let claimed = claimants(&email(mail), &key);
            let delivered = state.and_then(|state| state.match_values.clone());
            let settled_elsewhere = claimants(&delivered, &key)
                .iter()
                .any(|other| holds(other, &delivered));
            let change = Change {
                kind,
                checksum: Some(checksum),
                row: Some(row),
                delivered_match: delivered.filter(|_| !settled_elsewhere),
                conflict: claimed
                    .first()
                    .map(|by| Conflict::Claimed { by: by.clone() }),
                retried,
                key,
            };
            match (&change.retried, kind) {
                (Some(_), _) => {
                    counts.retried += 1;
                    counts.retried_present += 1;
                    known_again.push(change);
                }
                (None, Kind::Added) => {
                    counts.added += 1;
                    new.push(change);
                }
                (None, _) => {
                    counts.updated += 1;
                    known.push(change);
                }
            }
        }
        let mut changes = Vec::new();
        for (key, state) in &memory.state {
            let present = matches!(&*key.0, [KeyPart::Int(id)] if table.rows.contains_key(id));
            if present || state.buried || request.limit.is_some() || !wanted(key) {
                continue;
            }
            let taken = claimants(&state.match_values, key);
            let retried = self.retried(memory, key, None);
            counts.removed += u64::from(retried.is_none());
            counts.retried += u64::from(retried.is_some());
            changes.push(Change {
                key: key.clone(),
                kind: Kind::Removed,
                checksum: None,
                row: None,
                retried,
                conflict: (!taken.is_empty()).then(|| Conflict::TakenOver {
                    settled: taken.iter().any(|other| holds(other, &state.match_values)),
                }),
                delivered_match: state.match_values.clone(),
            });
        }
        changes.extend(known_again);
        changes.extend(known);
        changes.extend(new);
        for change in &changes {
            let mut hasher = DefaultHasher::new();
            (change.kind, &change.key, change.checksum).hash(&mut hasher);
            counts.digest = counts.digest.wrapping_add(hasher.finish().into());
        }
        let max = request
            .limit
            .or(request.spool_records_max)
            .unwrap_or(u64::MAX);
        counts.beyond_limit = (changes.len() as u64).saturating_sub(max);
        changes.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        for _ in 0..table.null_keys {
            changes.push(Change {
                key: Key(Box::new([KeyPart::Text("null".into())])),
                kind: Kind::Added,
                checksum: None,
                row: None,
                retried: None,
                delivered_match: None,
                conflict: Some(Conflict::NullKey),
            });
        }
        (counts, changes)
    }

    fn apply(&self, memory: &mut Memory, settled: &Settled, run: i64) {
        let key = settled.key.clone();
        let effect = settled.effect(self.sync.mode);
        match effect {
            Effect::Put { checksum, .. } => {
                let before = memory.state.remove(&key).unwrap_or_default();
                let row = StateRow {
                    checksum: Some(checksum),
                    match_values: settled.match_values.clone().or(before.match_values),
                    sent: settled.sent.clone(),
                    run,
                    buried: false,
                };
                memory.state.insert(key.clone(), row);
            }
            Effect::Drop => {
                memory.state.remove(&key);
            }
            Effect::Bury => {
                let row = memory.state.entry(key.clone()).or_default();
                row.buried = true;
                row.checksum = None;
            }
            Effect::Doubt(operation) => {
                Self::doubt(memory, &key, operation, run, settled.match_values.clone());
            }
            Effect::Reject(operation) => Self::reject(memory, settled, operation, run),
            Effect::DoubtAndReject(operation) => {
                Self::doubt(memory, &key, operation, run, settled.match_values.clone());
                Self::reject(memory, settled, operation, run);
            }
            Effect::Nothing => {}
        }
        if matches!(effect, Effect::Put { .. } | Effect::Drop | Effect::Bury) {
            memory.doubts.remove(&key);
            memory.rejects.remove(&key);
        }
    }

    fn doubt(
        memory: &mut Memory,
        key: &Key,
        operation: Operation,
        run: i64,
        match_values: Option<Vec<Value>>,
    ) {
        let row = memory.state.entry(key.clone()).or_default();
        row.checksum = None;
        row.buried = false;
        row.run = run;
        if match_values.is_some() {
            row.match_values = match_values;
        }
        memory
            .doubts
            .entry(key.clone())
            .or_insert(Doubt { operation, run })
            .operation = operation;
    }

    fn reject(memory: &mut Memory, settled: &Settled, operation: Operation, run: i64) {
        let Verdict::Rejected { reason, .. } = &settled.verdict else {
            return;
        };
        let before = memory.rejects.remove(&settled.key);
        let same = before.filter(|before| before.checksum == settled.checksum);
        let reject = Rejected {
            operation,
            checksum: settled.checksum,
            attempts: same.as_ref().map_or(0, |before| before.attempts) + 1,
            run: same.map_or(run, |before| before.run),
            reason: reason.clone(),
        };
        memory.rejects.insert(settled.key.clone(), reject);
    }

    fn recover_intent(
        &self,
        memory: &mut Memory,
        intent: &Intent,
        run: i64,
        held: Option<&Committed>,
    ) {
        for (position, item) in intent.items.iter().enumerate() {
            let rejected = held.and_then(|held| {
                held.rejected
                    .iter()
                    .find(|(rejected, _)| *rejected == position)
            });
            let verdict = match (held, rejected) {
                (None, _) => Verdict::Unknown {
                    operation: item.operation,
                    reason: Reason::new(Code::RunFailed, "the run ended before the answer"),
                },
                (Some(_), None) => Verdict::Delivered(item.operation),
                (Some(_), Some((_, text))) => Verdict::Rejected {
                    operation: item.operation,
                    reason: Reason::new(Code::DestinationRejected, text.clone()),
                    doubt: false,
                },
            };
            let settled = Settled {
                key: item.key.clone(),
                kind: Kind::Updated,
                checksum: item.checksum,
                verdict,
                retried: true,
                match_values: item.match_values.clone(),
                sent: None,
                idempotency_key: None,
                keep_state: false,
            };
            self.apply(memory, &settled, run);
        }
    }
}

struct Spooled {
    changes: Vec<Change>,
    next: usize,
    rewinds: bool,
}

impl ChangeReader for Spooled {
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Change>, Reason>> {
        let end = self.changes.len().min(self.next + max);
        let some = self.changes[self.next..end].to_vec();
        self.next = end;
        Box::pin(async { Ok(some) })
    }

    fn rewind(&mut self) -> BoxFuture<'_, Result<bool, Reason>> {
        if self.rewinds {
            self.next = 0;
        }
        Box::pin(async { Ok(self.rewinds) })
    }
}

impl Ledger for MemoryLedger {
    fn open<'a>(&'a self, request: &'a OpenRequest) -> BoxFuture<'a, Result<Opened, Reason>> {
        Box::pin(async move {
            let mut memory = loop {
                let until = {
                    let memory = lock(&self.memory);
                    match memory.lease_until.filter(|until| *until > now()) {
                        None => break memory,
                        Some(until) => until,
                    }
                };
                if !request.wait {
                    return Err(Reason::new(
                        Code::SyncRunning,
                        "the sync is already running",
                    ));
                }
                tokio::time::sleep_until(until.into()).await;
            };
            memory.epoch += 1;
            memory.run += 1;
            memory.seed += u64::from(request.full);
            let deadline = now() + self.sync.term.max(2 * request.request_timeout);
            memory.lease_until = Some(deadline);
            let lease = Lease::new(
                "memory".into(),
                memory.run,
                memory.epoch,
                memory.generation,
                deadline,
            );
            Ok(Opened {
                lease: Arc::new(lease),
                open_intents: memory
                    .intents
                    .values()
                    .map(|(intent, _)| intent.clone())
                    .collect(),
            })
        })
    }

    fn recover<'a>(
        &'a self,
        lease: &'a Lease,
        committed: &'a [Committed],
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut memory = self.fenced(lease)?;
            for ((epoch, id), (intent, run)) in std::mem::take(&mut memory.intents) {
                let held = committed
                    .iter()
                    .find(|held| held.epoch == epoch && held.intent == id);
                self.recover_intent(&mut memory, &intent, run, held);
            }
            Ok(())
        })
    }

    fn changes<'a>(
        &'a self,
        lease: Option<&'a Lease>,
        request: &'a DiffRequest,
    ) -> BoxFuture<'a, Result<ChangeSet, Reason>> {
        Box::pin(async move {
            let mut memory = match lease {
                Some(lease) => self.fenced(lease)?,
                None => lock(&self.memory),
            };
            let (counts, changes) = self.diff(&memory, request);
            if lease.is_some() {
                memory.diffed = changes.iter().map(|change| change.key.clone()).collect();
            }
            Ok(ChangeSet {
                counts,
                schema: Table::schema(),
                held: Vec::new(),
                notes: Vec::new(),
                duplicates: Vec::new(),
                changes: Box::new(Spooled {
                    changes,
                    next: 0,
                    rewinds: self.sync.rewinds,
                }),
            })
        })
    }

    fn commit<'a>(&'a self, lease: &'a Lease, step: Step) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut memory = self.fenced(lease)?;
            memory.commits += 1;
            let mut keys = BTreeSet::new();
            for settled in &step.settled {
                assert!(keys.insert(&settled.key), "a key twice in one step");
                self.apply(&mut memory, settled, lease.run);
            }
            for id in &step.close {
                let closed = memory.intents.remove(&(lease.epoch, *id));
                assert!(
                    closed.is_some(),
                    "intent {id} closed twice, or never opened"
                );
            }
            for intent in step.open {
                assert_eq!(intent.epoch, lease.epoch, "an intent of another epoch");
                let id = (intent.epoch, intent.id);
                let before = memory.intents.insert(id, (intent, lease.run));
                assert!(before.is_none(), "an intent's number used twice");
            }
            let announced = memory
                .intents
                .values()
                .map(|(intent, _)| intent.items.len());
            memory.announced_peak = memory.announced_peak.max(announced.sum());
            Ok(())
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut memory = self.fenced(lease)?;
            let deadline = now() + self.sync.term;
            lease.extend(deadline);
            memory.lease_until = Some(deadline);
            Ok(())
        })
    }

    fn finish<'a>(
        &'a self,
        lease: &'a Lease,
        report: &'a RunReport,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(async move {
            let mut memory = self.fenced(lease)?;
            let diffed = std::mem::take(&mut memory.diffed);
            memory.rejects.retain(|key, _| diffed.contains(key));
            memory.reports.push(report.clone());
            memory.lease_until = None;
            Ok(())
        })
    }
}

/// One write that took effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub operation: Operation,
    pub key: Key,
    pub identity: String,
    pub fields: String,
    pub idempotency_key: String,
    pub run: i64,
}

/// A destination that keeps what it is told, by identity.
#[derive(Debug)]
pub struct MemoryDestination {
    pub capabilities: Capabilities,
    state: Mutex<Received>,
}

#[derive(Debug, Default)]
struct Received {
    records: BTreeMap<String, String>,
    unpublished: Vec<Written>,
    log: Vec<Written>,
    requests: u64,
}

impl MemoryDestination {
    /// Every operation; batches of at most `records`; `concurrency` at a time.
    pub fn new(records: usize, concurrency: usize) -> Self {
        Self {
            capabilities: Capabilities {
                operations: Operation::ALL.to_vec(),
                batch_records_max: records,
                batch_bytes_max: 1 << 20,
                concurrency_max: concurrency,
                rate: None,
                timeout: Duration::from_secs(30),
                exactly_once: false,
                publishes: false,
            },
            state: Mutex::default(),
        }
    }

    /// Identity → fields, as it stands.
    pub fn records(&self) -> BTreeMap<String, String> {
        lock(&self.state).records.clone()
    }

    /// Everything that took effect, in order.
    pub fn log(&self) -> Vec<Written> {
        lock(&self.state).log.clone()
    }

    /// Forgets the log, not the records.
    pub fn forget(&self) {
        lock(&self.state).log.clear();
    }

    /// Requests that arrived.
    pub fn requests(&self) -> u64 {
        lock(&self.state).requests
    }

    /// Puts a record there by other means.
    pub fn plant(&self, identity: &str, fields: &str) {
        lock(&self.state)
            .records
            .insert(identity.to_owned(), fields.to_owned());
    }

    fn take(received: &mut Received, written: Written) -> Outcome {
        let exists = received.records.contains_key(&written.identity);
        match (written.operation, exists) {
            (Operation::Insert, true) => {
                return Outcome::Rejected(Reason::new(Code::AlreadyExists, "exists already"));
            }
            (Operation::Update | Operation::Delete, false) => {
                return Outcome::Rejected(Reason::new(Code::NotFound, "no such record"));
            }
            (Operation::Delete, true) => {
                received.records.remove(&written.identity);
            }
            (Operation::Insert | Operation::Update | Operation::Upsert, _) => {
                received
                    .records
                    .insert(written.identity.clone(), written.fields.clone());
            }
        }
        received.log.push(written);
        Outcome::Delivered
    }
}

fn written(record: &Record, context: &RunContext) -> Written {
    Written {
        operation: record.operation,
        key: record.key.clone(),
        identity: text(&record.match_on),
        fields: text(&record.fields),
        idempotency_key: record.idempotency_key.clone(),
        run: context.run,
    }
}

impl Destination for MemoryDestination {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async { vec![Check::passed("memory", "here")] })
    }

    fn open<'a>(&'a self, _: &'a Arc<RunContext>) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        lock(&self.state).unpublished.clear();
        Box::pin(async { Ok(Vec::new()) })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        let received = &mut *lock(&self.state);
        received.requests += 1;
        let mut identities = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            assert_eq!(record.operation, batch.operation, "mixed operations");
            let fresh = identities.insert(text(&record.match_on));
            assert!(
                fresh && !identity(&record.match_on).is_empty(),
                "an identity twice"
            );
            let written = written(record, &batch.context);
            outcomes.push(if self.capabilities.publishes {
                received.unpublished.push(written);
                Outcome::Accepted
            } else {
                Self::take(received, written)
            });
        }
        Box::pin(async { Ok(outcomes) })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        let received = &mut *lock(&self.state);
        for written in std::mem::take(&mut received.unpublished) {
            Self::take(received, written);
        }
        Box::pin(async { Ok(()) })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        vec![format!(
            "{} {} records",
            batch.operation,
            batch.records.len()
        )]
    }
}
