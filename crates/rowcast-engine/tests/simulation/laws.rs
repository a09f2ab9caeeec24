//! The laws, checked on a trace alone: what the receiver saw, what the engine was told, what the
//! ledger kept. They know nothing of the engine, so a doctored trace can be judged too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rowcast_core::{Key, Operation, RunReport, RunStatus};

use crate::plan::Shape;
use crate::trace::{Announced, Event, Rows, Sent, Settlement, Told, What};
use crate::world::QUOTA_WINDOW;

/// A broken law, and the keys and identities it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) law: &'static str,
    pub(crate) what: String,
    pub(crate) names: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

type Judged = Result<(), Violation>;

fn broken(law: &'static str, what: String, about: &[&Sent]) -> Judged {
    let names = about
        .iter()
        .flat_map(|sent| [sent.key.to_string(), sent.identity.clone()])
        .collect();
    Err(Violation { law, what, names })
}

/// One request, until both sides are done with it.
#[derive(Debug)]
struct Request {
    process: usize,
    records: Vec<Sent>,
    waits: bool,
    works: bool,
}

/// What one process was told and did.
#[derive(Debug, Default)]
struct Life {
    snapshot: Option<(usize, Rows, u64)>,
    /// Announced and not closed: key, operation, checksum by intent.
    intents: BTreeMap<i64, BTreeSet<(Key, char, Option<i64>)>>,
    /// Keys whose delivery, or whose having been delivered, it was told of.
    told: BTreeSet<(Key, char)>,
    accepted: BTreeSet<(Key, char)>,
    /// Identities and keys it has upserted, as far as the receiver saw.
    upserted: BTreeSet<String>,
    upsert_requested: bool,
}

#[derive(Default)]
struct Laws {
    requests: BTreeMap<u64, Request>,
    lives: BTreeMap<usize, Life>,
    snapshots: usize,
    /// The newest snapshot each identity was written from.
    written: BTreeMap<String, (usize, Sent)>,
    /// The receiver's records, by the effects in the trace.
    records: BTreeMap<String, String>,
    idempotency: BTreeMap<String, Sent>,
    effects: BTreeSet<String>,
}

/// Judges a whole trace.
pub(crate) fn check(events: &[Event], shape: Shape) -> Judged {
    let mut laws = Laws::default();
    for event in events {
        laws.take(event, shape)?;
    }
    match events.last().map(|event| &event.what) {
        Some(What::Final { .. }) => Ok(()),
        _ => broken("the end", "the simulation did not end".into(), &[]),
    }
}

/// No window sees more requests than the quota allows, whichever of the first so many processes sends
/// them and however it ends.
pub(crate) fn within_quota(events: &[Event], shape: Shape, limited: usize) -> Judged {
    let Some(quota) = shape.quota else {
        return Ok(());
    };
    let mut windows = BTreeMap::<u64, u32>::new();
    for event in events {
        if let What::Requested { request, .. } = event.what
            && event.process <= limited
        {
            let window = event.at_us / QUOTA_WINDOW.as_micros() as u64;
            let requests = windows.entry(window).or_default();
            *requests += 1;
            if *requests > quota {
                let what = format!("request {request} is number {requests} of {quota}");
                return broken("the quota is shared", what, &[]);
            }
        }
    }
    Ok(())
}

impl Laws {
    fn take(&mut self, event: &Event, shape: Shape) -> Judged {
        let process = event.process;
        match &event.what {
            What::Broken(what) => broken("the contract", what.clone(), &[]),
            What::Snapshot { rows, read } => {
                self.snapshots += 1;
                let snapshot = Some((self.snapshots, rows.clone(), *read));
                self.lives.entry(process).or_default().snapshot = snapshot;
                Ok(())
            }
            What::Requested {
                request,
                intent,
                records,
                leased,
            } => self.requested(process, *request, *intent, records, *leased, shape),
            What::Applied(request, effects) => {
                let records = match self.requests.get(request) {
                    Some(request) => request.records.clone(),
                    None => return broken("requests", format!("{request} never began"), &[]),
                };
                for (sent, took) in records.iter().zip(effects) {
                    if *took {
                        self.effect(process, sent, shape)?;
                    }
                }
                self.done(*request, |request| request.works = false);
                Ok(())
            }
            What::Ignored(request) => {
                self.done(*request, |request| request.works = false);
                Ok(())
            }
            What::Answered(request, told) => {
                let life = self.lives.entry(process).or_default();
                let records = self.requests.get(request).map(|request| &request.records);
                for (sent, told) in records.into_iter().flatten().zip(told) {
                    let heard = (sent.key.clone(), sent.operation.letter());
                    match told {
                        Told::Delivered | Told::Settled => life.told.insert(heard),
                        Told::Accepted => life.accepted.insert(heard),
                        Told::Rejected | Told::Unknown => false,
                    };
                }
                self.done(*request, |request| request.waits = false);
                Ok(())
            }
            What::Unanswered(request, _) => {
                self.done(*request, |request| request.waits = false);
                Ok(())
            }
            What::Published(records) => records
                .iter()
                .try_for_each(|sent| self.effect(process, sent, shape)),
            What::PublishAnswered(true) => {
                let life = self.lives.entry(process).or_default();
                let accepted = std::mem::take(&mut life.accepted);
                life.told.extend(accepted);
                Ok(())
            }
            What::Committed {
                settled,
                opened,
                closed,
            } => self.committed(process, settled, opened, closed),
            What::Ended(report) => self.ended(process, report),
            What::Final {
                mirror,
                mirrors,
                state,
                open,
            } => self.finally(mirror, *mirrors, state, *open, shape),
            _ => Ok(()),
        }
    }

    fn done(&mut self, request: u64, change: impl FnOnce(&mut Request)) {
        if let Some(found) = self.requests.get_mut(&request) {
            change(found);
            if !found.waits && !found.works {
                self.requests.remove(&request);
            }
        }
    }

    fn requested(
        &mut self,
        process: usize,
        request: u64,
        intent: i64,
        records: &[Sent],
        leased: bool,
        shape: Shape,
    ) -> Judged {
        let all: Vec<&Sent> = records.iter().collect();
        if !leased {
            let what = format!("request {request} may outlast the lease of process {process}");
            return broken("rule 13, no request outlasts its lease", what, &all);
        }
        let life = self.lives.entry(process).or_default();
        let Some((_, rows, _)) = &life.snapshot else {
            return broken("rule 10", "a request before the snapshot".into(), &all);
        };
        // Then all deletes of a run precede its first upsert, those of other identities too.
        let two_passes = shape.match_on_email && shape.rewinds && !shape.publishes;
        for sent in records {
            let item = (sent.key.clone(), sent.operation.letter(), sent.checksum);
            let announced = life.intents.get(&intent);
            if !announced.is_some_and(|items| items.contains(&item)) {
                let what = format!("{} {} was not announced", sent.operation, sent.key);
                return broken("rule 8, intents precede requests", what, &[sent]);
            }
            let row = rows.get(&sent.key);
            let writes = sent.operation != Operation::Delete;
            if writes && row != Some(&(sent.identity.clone(), sent.fields.clone())) {
                let what = format!("{} is sent as {sent:?} but is {row:?}", sent.key);
                return broken("guarantee 2, the snapshot's value is sent", what, &[sent]);
            }
            // A row that changed its identity deletes its old one first, whoever claims it now.
            let claimed = row.is_none() && rows.values().any(|(of, _)| *of == sent.identity);
            if !writes && claimed {
                let what = format!("{} is claimed by a present row", sent.identity);
                return broken("rule 12, no claimed identity is deleted", what, &[sent]);
            }
            let delete_is_late =
                life.upserted.contains(&sent.identity) || two_passes && life.upsert_requested;
            if !writes && delete_is_late {
                let what = format!("{} is deleted after an upsert", sent.identity);
                return broken("rule 11, deletes precede upserts", what, &[sent]);
            }
            if let Some(before) = self.idempotency.get(&sent.idempotency_key)
                && (before.key != sent.key
                    || before.operation != sent.operation
                    || before.identity != sent.identity
                    || before.checksum != sent.checksum)
            {
                let what = format!("one idempotency key for {before:?} and {sent:?}");
                return broken("rule 9, idempotency keys", what, &[before, sent]);
            }
            self.idempotency
                .insert(sent.idempotency_key.clone(), sent.clone());
            for (other, found) in &self.requests {
                let same = found.records.iter().find(|r| r.identity == sent.identity);
                if let Some(same) = same {
                    let what = format!(
                        "request {request} of process {process} begins while request {other} of \
                         process {} is under way, both for {}",
                        found.process, sent.identity
                    );
                    return broken("rule 11, one identity one operation", what, &[sent, same]);
                }
            }
        }
        let upserts = records.iter().any(|r| r.operation != Operation::Delete);
        life.upsert_requested |= upserts;
        let request_state = Request {
            process,
            records: records.to_vec(),
            waits: true,
            works: true,
        };
        self.requests.insert(request, request_state);
        Ok(())
    }

    /// The receiver has one record more, or less.
    fn effect(&mut self, process: usize, sent: &Sent, shape: Shape) -> Judged {
        let life = self.lives.entry(process).or_default();
        let version = life.snapshot.as_ref().map_or(0, |(version, ..)| *version);
        if let Some((newer, before)) = self.written.get(&sent.identity)
            && *newer > version
        {
            let what = format!(
                "{} of snapshot {version} after {before:?} of snapshot {newer}: {sent:?}",
                sent.identity
            );
            let law = "guarantee 2, never an older value after a newer one";
            return broken(law, what, &[sent, before]);
        }
        self.written
            .insert(sent.identity.clone(), (version, sent.clone()));
        if sent.operation == Operation::Delete {
            if life.upserted.contains(&sent.identity) {
                let what = format!("{} was deleted after its upsert", sent.identity);
                return broken("rule 11, deletes precede upserts", what, &[sent]);
            }
            self.records.remove(&sent.identity);
        } else {
            life.upserted.insert(sent.identity.clone());
            self.records
                .insert(sent.identity.clone(), sent.fields.clone());
        }
        if shape.exactly_once && !self.effects.insert(sent.idempotency_key.clone()) {
            let what = format!("{sent:?} took effect twice");
            return broken("rule 14, exactly once", what, &[sent]);
        }
        Ok(())
    }

    fn committed(
        &mut self,
        process: usize,
        settled: &[(Key, Settlement)],
        opened: &[Announced],
        closed: &[i64],
    ) -> Judged {
        let life = self.lives.entry(process).or_default();
        for (key, settlement) in settled {
            let Settlement::Delivered(operation) = settlement else {
                continue;
            };
            if !life.told.contains(&(key.clone(), operation.letter())) {
                return Err(Violation {
                    law: "guarantee 1, state says what was acknowledged",
                    what: format!("{operation} of {key} was never acknowledged"),
                    names: vec![key.to_string()],
                });
            }
        }
        for id in closed {
            life.intents.remove(id);
        }
        for (id, items) in opened {
            let items = items
                .iter()
                .map(|(key, operation, checksum)| (key.clone(), operation.letter(), *checksum));
            life.intents.entry(*id).or_default().extend(items);
        }
        Ok(())
    }

    fn ended(&mut self, process: usize, report: &RunReport) -> Judged {
        let law = "rule 25, everything adds up";
        if let Err(reason) = report.balance() {
            return broken(law, reason.to_string(), &[]);
        }
        let life = self.lives.entry(process).or_default();
        let read = life.snapshot.as_ref().map_or(0, |(_, _, read)| *read);
        if report.counts.read != 0 && report.counts.read != read {
            let what = format!("{} rows read of {read}", report.counts.read);
            return broken(law, what, &[]);
        }
        if report.status == RunStatus::Running {
            return broken(law, "a run ended as running".into(), &[]);
        }
        Ok(())
    }

    fn finally(
        &self,
        mirror: &BTreeMap<String, String>,
        mirrors: bool,
        state: &BTreeSet<Key>,
        open: usize,
        shape: Shape,
    ) -> Judged {
        let lost = |what: String, identity: &String| {
            Err(Violation {
                law: "rule 17, nothing is lost",
                what,
                names: vec![identity.clone()],
            })
        };
        for (identity, fields) in mirror {
            if self.records.get(identity) != Some(fields) {
                let has = self.records.get(identity);
                return lost(format!("{identity} is {fields}, not {has:?}"), identity);
            }
        }
        if mirrors && let Some(more) = self.records.keys().find(|key| !mirror.contains_key(*key)) {
            return lost(format!("{more} is gone from the model"), more);
        }
        if state.len() != mirror.len() && (mirrors || shape.match_on_email) {
            let what = format!("state has {} rows of {}", state.len(), mirror.len());
            return broken("guarantee 1, state is what was acknowledged", what, &[]);
        }
        if open > 0 || !self.requests.is_empty() {
            let what = format!(
                "{open} intents, doubts or rejects are open, and requests {:?}",
                self.requests.keys()
            );
            return broken("rule 8, doubts are settled", what, &[]);
        }
        Ok(())
    }
}
