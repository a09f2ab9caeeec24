//! `plan` and `--dry-run`: the same diff, guards, mapping and batching, without a lease, a request
//! or a write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rowcast_core::ledger::DiffCounts;
use rowcast_core::quota::{Quota, Spent};
use rowcast_core::record::Batch;
use rowcast_core::segment::Batching;
use rowcast_core::{
    Capabilities, Change, Kind, Operation, Reason, Record, RunContext, RunReport, RunStatus,
};

use crate::observe::Phase;
use crate::prepare::{Outgoing, Pass, Prepared};
use crate::report::Tally;
use crate::run::{RunInput, guards, minutes, preparer, stale};

/// Changes read at a time.
const READ_CHANGES: usize = 500;

/// Sample records shown by default for each kind of change.
const SAMPLES_PER_KIND: usize = 10;

/// Batches of one operation that are filled side by side, where `batch_keys` tell them apart.
pub(crate) const GROUPS_MAX: usize = 64;

/// How long a request is assumed to take when its rate is not limited.
const REQUEST_ASSUMED: Duration = Duration::from_millis(100);

/// A mapped record with the change it comes from.
#[derive(Debug, Clone)]
pub struct Sample {
    pub change: Change,
    pub record: Record,
}

/// What a run would do.
#[derive(Debug, Clone)]
pub struct Preview {
    /// As if everything to send were left to the next run: `pending` is what would be sent.
    pub report: RunReport,
    pub counts: DiffCounts,
    /// Changes by kind and what becomes of them; `None` is skip.
    pub operations: Vec<(Kind, Option<Operation>, u64)>,
    pub samples: Vec<Sample>,
    /// The first request of each operation, as text.
    pub requests: Vec<String>,
    /// Requests needed, if nothing is retried or split.
    pub calls: u64,
    /// How long they take: by the rate limit, or at 100 ms each; and by what is left of the quota.
    pub time: Duration,
    /// The destination's quota and how much of it is used; `None` without one, or without a call.
    pub quota: Option<(Quota, Spent)>,
    /// What `plan --out` seals.
    pub digest: u128,
}

/// Batches counted as delivery would make them.
#[derive(Default)]
struct Batches {
    firsts: BTreeMap<Operation, First>,
    /// Records and bytes of the batch that is being filled, by operation and `batch_keys`.
    filled: BTreeMap<(Operation, u64), (usize, usize)>,
    calls: u64,
}

/// The first batch of an operation.
struct First {
    group: u64,
    full: bool,
    records: Vec<Record>,
}

impl Batches {
    fn add(&mut self, outgoing: Outgoing, capabilities: &Capabilities) {
        let Outgoing { record, note } = outgoing;
        let operation = record.operation;
        let place = (operation, note.group);
        if self.filled.len() >= GROUPS_MAX && !self.filled.contains_key(&place) {
            let largest = self.filled.iter().max_by_key(|(_, (records, _))| *records);
            if let Some(largest) = largest.map(|(place, _)| *place) {
                self.filled.remove(&largest);
            }
        }
        let first = self.firsts.entry(operation).or_insert(First {
            group: note.group,
            full: false,
            records: Vec::new(),
        });
        let (records, bytes) = self.filled.entry(place).or_default();
        if *records >= capabilities.records_max(operation)
            || (*records > 0 && *bytes + note.bytes > capabilities.batch_bytes_max)
        {
            first.full |= first.group == note.group;
            (*records, *bytes) = (0, 0);
        }
        if *records == 0 {
            self.calls += u64::from(capabilities.requests(operation));
        }
        *records += 1;
        *bytes += note.bytes;
        if !first.full && first.group == note.group {
            first.records.push(record);
        }
    }
}

/// Looks at what a run would do.
///
/// # Errors
/// The changes could not be read.
pub async fn preview(input: &RunInput) -> Result<Preview, Reason> {
    let began = input.clock.now();
    let started_at = input.clock.now_us();
    let mut report = RunReport::new(input.plan.name.clone(), 0, started_at);
    let mut request = input.options.diff.clone();
    request.dry_run = true;
    input.observer.phase(Phase::Diff);
    let mut changes = input.ledger.changes(None, &request).await?;
    input.observer.diffed(&changes.counts);
    report.counts = changes.counts;
    report.notes.clone_from(&changes.notes);

    input.observer.phase(Phase::Guard);
    let (held, _) = guards(input, &changes);
    let context = Arc::new(RunContext {
        sync: input.plan.name.clone(),
        sync_id: String::new(),
        run: 0,
        epoch: 0,
        generation: 0,
        object: input.plan.object.clone(),
        key_columns: input.plan.key_columns.clone(),
        started_at,
    });
    let preparer = preparer(input, context.clone());
    let capabilities = &limited(&input.plan.batching, input.destination.capabilities());
    let passes: &[Pass] = if input.plan.tracks_match {
        &[Pass::Deletes, Pass::Rest]
    } else {
        &[Pass::Single]
    };
    let mut tally = Tally::default();
    let mut operations = BTreeMap::<(u8, Option<Operation>), (Kind, u64)>::new();
    let mut batches = Batches::default();
    let mut samples = Vec::new();
    let mut room = String::new();
    let mut sampled = [0; 3];
    loop {
        let some = changes.changes.next(READ_CHANGES).await?;
        if some.is_empty() {
            break;
        }
        for change in some {
            for pass in passes {
                let rank = match change.kind {
                    Kind::Added => 0,
                    Kind::Updated => 1,
                    Kind::Removed => 2_u8,
                };
                let becomes = match preparer.prepare(change.clone(), *pass, &mut room) {
                    Prepared::Ignore => continue,
                    Prepared::NullKey(reason) => {
                        tally.reason(&reason);
                        continue;
                    }
                    Prepared::Settle(settled) => {
                        tally.count(&settled);
                        None
                    }
                    Prepared::Send(outgoing) => {
                        let operation = outgoing.record.operation;
                        if sampled[usize::from(rank)] < SAMPLES_PER_KIND {
                            sampled[usize::from(rank)] += 1;
                            samples.push(Sample {
                                change: change.clone(),
                                record: outgoing.record.clone(),
                            });
                        }
                        batches.add(outgoing, capabilities);
                        Some(operation)
                    }
                };
                let entry = operations.entry((rank, becomes));
                entry.or_insert((change.kind, 0)).1 += 1;
            }
        }
    }
    let calls = batches.calls;
    let quota = match input.quota.clone() {
        Some(quota) if calls > 0 => {
            let spent = input.ledger.spent(&quota).await?;
            report.notes.push(words(&quota, spent, calls));
            Some((quota, spent))
        }
        _ => None,
    };
    // In the order of a run: deletes first (semantics 11).
    let (deletes, writes): (Vec<_>, Vec<_>) = batches
        .firsts
        .into_iter()
        .partition(|(operation, _)| *operation == Operation::Delete);
    let requests = deletes
        .into_iter()
        .chain(writes)
        .flat_map(|(operation, First { records, .. })| {
            input.destination.render(&Batch {
                intent: 0,
                operation,
                records,
                context: context.clone(),
            })
        })
        .collect();
    tally.fill(&mut report, false);
    report.failure = match stale(&input.options, &changes) {
        Some(reason) => Some(reason),
        None => held.first().map(|held| held.reason.clone()),
    };
    report.guards = held;
    report.status = match report.failure {
        Some(_) => RunStatus::Held,
        None if report.invalid + report.counts.invalid_keys > 0 => RunStatus::Partial,
        None => RunStatus::Succeeded,
    };
    report.balance()?;
    let spent = input.clock.now().saturating_duration_since(began);
    report.duration_us = spent.as_micros() as u64;
    Ok(Preview {
        counts: report.counts,
        digest: report.counts.digest,
        operations: operations
            .into_iter()
            .map(|((_, becomes), (kind, count))| (kind, becomes, count))
            .collect(),
        time: time(calls, capabilities, quota.as_ref()),
        quota,
        samples,
        requests,
        calls,
        report,
    })
}

/// What a destination can do, within what the mapping says about batches.
pub(crate) fn limited(batching: &Batching, capabilities: &Capabilities) -> Capabilities {
    let records = capabilities.batch_records_max.min(batching.most_records());
    let bytes = batching.bytes_max.unwrap_or(usize::MAX);
    Capabilities {
        batch_records_max: records.max(1),
        batch_bytes_max: capabilities.batch_bytes_max.min(bytes),
        ..capabilities.clone()
    }
}

/// What a plan says of the quota.
fn words(quota: &Quota, spent: Spent, calls: u64) -> String {
    let allowed = quota.allowed.requests;
    let left = allowed.saturating_sub(spent.requests);
    let anew = minutes(spent.window.ends_in);
    let fits = if calls > left.into() {
        "a run ends with what is left as pending, and the next goes on"
    } else {
        "the run fits"
    };
    format!(
        "{} of {allowed} requests of the service's quota are used, {left} are left for the next {anew}: {fits}",
        spent.requests
    )
}

fn time(calls: u64, capabilities: &Capabilities, quota: Option<&(Quota, Spent)>) -> Duration {
    let parallel = capabilities.concurrency_max.max(1) as f64;
    let alone = REQUEST_ASSUMED.as_secs_f64() * calls as f64 / parallel;
    let limited = capabilities.rate.map_or(0.0, |rate| {
        rate.per.as_secs_f64() * calls as f64 / f64::from(rate.requests.max(1))
    });
    // Until the window of the quota in which the last call falls.
    let windows = quota.map_or(0.0, |(quota, spent)| {
        let allowed = quota.allowed.requests.max(1);
        let left = allowed.saturating_sub(spent.requests);
        match calls.saturating_sub(left.into()) {
            0 => 0.0,
            later => {
                let full = (later - 1) / u64::from(allowed);
                let whole = quota.allowed.per.as_secs_f64() * full as f64;
                spent.window.ends_in.as_secs_f64() + whole
            }
        }
    });
    let limited = limited.max(windows);
    Duration::from_secs_f64(alone.max(limited))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowcast_core::destination::Rate;
    use rowcast_core::quota::Window;

    #[test]
    fn calls_beyond_what_is_left_of_a_quota_wait_for_its_next_windows() {
        let hour = Duration::from_secs(3_600);
        let quota = Quota {
            account: "crm".into(),
            allowed: Rate {
                requests: 100,
                per: 24 * hour,
            },
        };
        let spent = |requests| Spent {
            requests,
            window: Window {
                began: 0,
                ends_in: 2 * hour,
            },
        };
        let capabilities = Capabilities {
            operations: Vec::new(),
            batch_records_max: 1,
            operation_limits: Vec::new(),
            batch_bytes_max: 1 << 20,
            concurrency_max: 1_000,
            rate: None,
            timeout: hour,
            exactly_once: false,
            publishes: false,
        };
        let of = |calls, used| time(calls, &capabilities, Some(&(quota.clone(), spent(used))));
        assert!(of(40, 60) < hour);
        assert_eq!(of(41, 60), 2 * hour);
        assert_eq!(of(140, 60), 2 * hour);
        assert_eq!(of(141, 60), 26 * hour);
        assert_eq!(of(1, 100), 2 * hour);
        let said = words(&quota, spent(60), 41);
        assert!(said.starts_with("60 of 100 requests"), "{said}");
        assert!(said.contains("40 are left for the next 2 h 0 min") && said.contains("pending"));
        assert!(words(&quota, spent(60), 40).ends_with("the run fits"));
    }
}
