//! What the ledger in memory keeps, how it compares, and how a settlement moves it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rowcast_core::change::Conflict;
use rowcast_core::destination::Committed;
use rowcast_core::json::push_value;
use rowcast_core::ledger::{DiffCounts, DiffRequest, Intent};
use rowcast_core::quota::{Quota, Window};
use rowcast_core::settle::{Effect, Settled, Verdict};
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{
    Change, Code, Key, KeyPart, Kind, Lease, Mode, Operation, Reason, Retried, Row, RunReport,
    Value,
};
use tokio::sync::Notify;

use super::{Table, lock, now};

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
    pub(super) lease_until: Option<Instant>,
    pub(super) diffed: BTreeSet<Key>,
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
    pub(super) memory: Mutex<Memory>,
    /// Requests used or set aside, by account and beginning of the window.
    pub(super) used: Mutex<BTreeMap<(String, i64), u32>>,
    /// After so many changes reading waits for the signal.
    pub(super) held: Mutex<Option<(usize, Arc<Notify>)>>,
    /// Where its clock stands at 0.
    began: Option<Instant>,
}

impl MemoryLedger {
    /// A ledger for a sync, over an empty table.
    pub fn new(sync: MemorySync) -> Arc<Self> {
        Arc::new(Self {
            sync,
            began: Some(now()),
            ..Self::default()
        })
    }

    /// In the next run, reading waits after about so many changes until the signal is given.
    pub fn hold_reading(&self, after: usize) -> Arc<Notify> {
        let signal = Arc::new(Notify::new());
        *lock(&self.held) = Some((after, signal.clone()));
        signal
    }

    /// The present window of a quota: the first begins when the ledger is made.
    pub(super) fn window(&self, quota: &Quota) -> Window {
        let since = self.began.map_or(Duration::ZERO, |began| now() - began);
        let length = Duration::from_secs(quota.seconds().unsigned_abs());
        let past = (since.as_nanos() / length.as_nanos()) as u32;
        Window {
            began: quota.seconds() * i64::from(past),
            ends_in: (length * (past + 1)).saturating_sub(since),
        }
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

    pub(super) fn fenced<'a>(&'a self, lease: &Lease) -> Result<MutexGuard<'a, Memory>, Reason> {
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

    pub(super) fn diff(&self, memory: &Memory, request: &DiffRequest) -> (DiffCounts, Vec<Change>) {
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
                json: None,
                raw: None,
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
                json: None,
                raw: None,
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
                key: Key::from([KeyPart::Text("null".into())]),
                kind: Kind::Added,
                checksum: None,
                row: None,
                json: None,
                raw: None,
                retried: None,
                delivered_match: None,
                conflict: Some(Conflict::NullKey),
            });
        }
        (counts, changes)
    }

    pub(super) fn apply(&self, memory: &mut Memory, settled: &Settled, run: i64) {
        let key = settled.key.clone();
        let effect = settled.effect(self.sync.mode);
        if matches!(
            effect,
            Effect::Put { .. } | Effect::Doubt(_) | Effect::DoubtAndReject(_)
        ) {
            Self::overwrite(memory, &key, settled.match_values.as_deref());
        }
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

    /// A record was, or may have been, written over another key's: what the destination holds is
    /// no longer what that key's state says (semantics 12).
    fn overwrite(memory: &mut Memory, key: &Key, match_values: Option<&[Value]>) {
        let Some(taken) = match_values else {
            return;
        };
        for (other, row) in &mut memory.state {
            if other != key && row.match_values.as_deref() == Some(taken) {
                row.checksum = None;
            }
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

    pub(super) fn recover_intent(
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
