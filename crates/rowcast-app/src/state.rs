//! Looking at what was delivered, and steering it: status, runs, rejects, retry, baseline, reset,
//! pause, cancel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rowcast_config::Source;
use rowcast_core::guard::Guard;
use rowcast_core::ledger::DiffRequest;
use rowcast_core::{Code, Ledger, Reason};
use rowcast_postgres::ledger::{RunRow, StateAdmin};
use schemars::JsonSchema;
use serde::Serialize;

use crate::health::{Activity, Health};
use crate::view::{CostView, RejectView, RunSummary, StepView, SyncStatus};
use crate::{Answer, Project, key, wire};

/// What a command did to a sync's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Done {
    pub sync: String,
    /// Rows concerned.
    pub rows: u64,
    /// False when it was only said what would be done.
    pub done: bool,
}

/// What became of a request to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cancelled {
    pub sync: String,
    /// Whether it was running, and was asked to stop.
    pub running: bool,
}

/// What became of a pause or its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Paused {
    pub sync: String,
    pub paused: bool,
    /// The sync's file says `paused: true` as well, which only an edit ends.
    pub in_file: bool,
}

/// The state that a source's syncs have.
pub(crate) fn admin(project: &Project, source: &Source) -> Answer<StateAdmin> {
    project.states.at(project.config.state_source(source))
}

/// The places of state that have been asked, each with its connections: as long as the project lives,
/// a question needs no login of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct States(Arc<Mutex<BTreeMap<String, StateAdmin>>>);

impl States {
    fn at(&self, place: &Source) -> Answer<StateAdmin> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(admin) = known.get(&place.name) {
            return Ok(admin.clone());
        }
        let admin = StateAdmin::new(wire::connector(place)?, &place.state_schema);
        known.insert(place.name.clone(), admin.clone());
        Ok(admin)
    }
}

/// The state of a sync.
pub(crate) fn admin_of(project: &Project, sync: &str) -> Answer<StateAdmin> {
    let sync = project.sync(sync)?;
    let model = project.model(&sync.model)?;
    admin(project, project.source(&model.source)?)
}

/// One `StateAdmin` for each place that the syncs' state lives in.
pub(crate) fn admins(project: &Project, syncs: &[String]) -> Answer<BTreeMap<String, StateAdmin>> {
    let mut places = BTreeMap::new();
    for name in syncs {
        let model = project.model(&project.sync(name)?.model)?;
        let source = project.source(&model.source)?;
        let place = project.config.state_source(source).name.clone();
        if let std::collections::btree_map::Entry::Vacant(entry) = places.entry(place) {
            entry.insert(admin(project, source)?);
        }
    }
    Ok(places)
}

/// How syncs stand.
///
/// # Errors
/// A name is unknown, or state can't be read.
pub async fn status(project: &Project, syncs: &[String]) -> Answer<Vec<SyncStatus>> {
    let names = project.selected(syncs)?;
    let mut known = BTreeMap::new();
    for admin in admins(project, &names)?.values() {
        for status in admin.status(&names).await? {
            known.insert(status.sync.clone(), status);
        }
    }
    let mut all = Vec::new();
    for name in names {
        let sync = project.sync(&name)?;
        let found = known.remove(&name);
        let last_run = found
            .as_ref()
            .and_then(|found| found.last_run.clone())
            .map(summary);
        let last_ended = found
            .as_ref()
            .and_then(|found| found.last_ended.clone())
            .map(summary);
        let running = found.as_ref().is_some_and(|found| found.running);
        let paused =
            project.paused(sync).is_some() || found.as_ref().is_some_and(|found| found.paused);
        let rejects = found
            .as_ref()
            .map_or(0, |found| found.rejects.unsigned_abs());
        all.push(SyncStatus {
            health: Health::of(last_ended.as_ref(), rejects),
            activity: Activity::of(
                running,
                found.as_ref().is_some_and(|found| found.waiting),
                paused,
            ),
            sync: name,
            model: sync.model.clone(),
            destination: match &sync.object {
                Some(object) => format!("{} / {object}", sync.destination),
                None => sync.destination.clone(),
            },
            running,
            rows_in_state: found.as_ref().map_or(0, |found| found.rows.unsigned_abs()),
            rejects,
            due: crate::schedule::due(sync),
            last_run,
        });
    }
    Ok(all)
}

/// The latest runs, newest first; `limit` of each sync.
///
/// # Errors
/// A name is unknown, or state can't be read.
pub async fn runs(project: &Project, syncs: &[String], limit: u32) -> Answer<Vec<RunSummary>> {
    let names = project.selected(syncs)?;
    let mut all = Vec::new();
    for name in &names {
        let found = admin_of(project, name)?
            .runs(Some(name), limit.into())
            .await?;
        all.extend(found.into_iter().map(summary));
    }
    all.sort_by(|a: &RunSummary, b: &RunSummary| {
        b.started_at.cmp(&a.started_at).then(b.run.cmp(&a.run))
    });
    Ok(all)
}

fn summary(run: RunRow) -> RunSummary {
    let count = |count: Option<i64>| count.map_or(0, i64::unsigned_abs);
    RunSummary {
        run: run.run,
        sync: run.sync,
        status: run.status,
        trigger: run.trigger,
        started_at: run.started_at,
        duration_ms: count(run.duration_us) / 1_000,
        read: count(run.read),
        added: count(run.added),
        updated: count(run.updated),
        removed: count(run.removed),
        delivered: count(run.delivered),
        rejected: count(run.rejected),
        invalid: count(run.invalid),
        pending: count(run.pending),
        failure: run.error_message,
        cost: CostView::of_row(
            run.read,
            run.state_rows,
            run.database_us,
            run.wal_bytes,
            run.wal_of,
        ),
        steps: run
            .steps
            .into_iter()
            .map(|step| StepView {
                step: std::borrow::Cow::Owned(step.step),
                duration_ms: step.duration_us / 1_000,
            })
            .collect(),
    }
}

/// Rejected rows of a sync.
///
/// # Errors
/// The sync has never run, or state can't be read.
pub async fn rejects(project: &Project, sync: &str, limit: u32) -> Answer<Vec<RejectView>> {
    let rows = admin_of(project, sync)?.rejects(sync, limit.into()).await?;
    Ok(rows
        .into_iter()
        .map(|row| RejectView {
            sync: sync.to_owned(),
            key: row.key,
            operation: row.operation,
            code: row.code,
            message: row.message,
            first_run: row.first_run.into(),
            first_at: row.first_at,
            attempts: row.attempts.unsigned_abs(),
        })
        .collect())
}

/// Makes rejected rows due in the next run.
///
/// # Errors
/// The sync has never run, or a key can't be read.
pub async fn retry(project: &Project, sync: &str, keys: &[String]) -> Answer<Done> {
    let keys = key::parse_all(keys)?;
    let rows = admin_of(project, sync)?.retry(sync, &keys).await?;
    Ok(Done {
        sync: sync.to_owned(),
        rows: rows.unsigned_abs(),
        done: true,
    })
}

/// Forgets what was delivered. Without `confirmed`, says how many rows that would be.
///
/// # Errors
/// The sync has never run, or is running.
pub async fn reset(project: &Project, sync: &str, confirmed: bool) -> Answer<Done> {
    let admin = admin_of(project, sync)?;
    let rows = if confirmed {
        admin.reset(sync).await?
    } else {
        let status = admin.status(&[sync.to_owned()]).await?;
        status.first().map_or(0, |status| status.rows)
    };
    Ok(Done {
        sync: sync.to_owned(),
        rows: rows.unsigned_abs(),
        done: confirmed,
    })
}

/// Accepts the model's present rows as delivered, without sending. Without `confirmed`, says how
/// many rows the model has.
///
/// # Errors
/// The model can't be read, or the sync is running.
pub async fn baseline(project: &Project, sync: &str, confirmed: bool) -> Answer<Done> {
    let ledger = wire::parts(project, sync, &Guard::ALL, None).await?.ledger;
    let rows = if confirmed {
        ledger.baseline().await?
    } else {
        let look = DiffRequest {
            dry_run: true,
            ..DiffRequest::default()
        };
        let changes = ledger.changes(None, &look).await.map_err(|reason| {
            if reason.code == Code::IdentityChanged {
                reason.hint(format!(
                    "`rowcast baseline {sync} --yes` forgets the old place and accepts the present rows as already at the new one"
                ))
            } else {
                reason
            }
        })?;
        changes.counts.read
    };
    Ok(Done {
        sync: sync.to_owned(),
        rows,
        done: confirmed,
    })
}

/// Pauses or resumes a sync wherever it runs.
///
/// # Errors
/// The sync has never run, or state can't be written.
pub async fn set_paused(project: &Project, sync: &str, paused: bool) -> Answer<Paused> {
    let in_file = project.sync(sync)?.about.paused;
    let done = admin_of(project, sync)?.set_paused(sync, paused).await;
    done.map_err(|reason: Reason| {
        reason.hint(format!("write `paused: {paused}` in syncs/{sync}.yml"))
    })?;
    Ok(Paused {
        sync: sync.to_owned(),
        paused,
        in_file,
    })
}

/// Asks the process that runs a sync to stop.
///
/// # Errors
/// State can't be written.
pub async fn cancel(project: &Project, sync: &str) -> Answer<Cancelled> {
    let running = admin_of(project, sync)?.cancel(sync).await?;
    Ok(Cancelled {
        sync: sync.to_owned(),
        running,
    })
}
