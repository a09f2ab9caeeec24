//! `plan`: what a run would send, without sending; and the sealed plan that `run --plan` sends
//! exactly or refuses (semantics 28).

use std::path::Path;
use std::sync::Arc;

use rowcast_core::ledger::DiffRequest;
use rowcast_core::{Code, Kind, Reason};
use rowcast_engine::{Preview, Quiet, RunInput};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::failure::file_reason;
use crate::run::{shown, stale, typed_keys};
use crate::view::{
    GuardView, OperationCount, PlanView, QuotaView, ReasonCount, SampleView, Seal, change_word,
};
use crate::{Answer, Failure, Project, budget, wire};

/// The version of a sealed plan's form.
const FORM: u32 = 1;

/// Sample records kept of each kind of change.
const SAMPLES_PER_KIND: usize = 5;

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct PlanRequest {
    pub limit: Option<u64>,
    /// As typed; see [`crate::key`].
    pub keys: Vec<String>,
}

/// Looks at what a run of a sync would do.
///
/// # Errors
/// The configuration does not fit, or the model or the state can't be read.
pub async fn plan(project: &Project, name: &str, request: &PlanRequest) -> Answer<PlanView> {
    let sync = project.sync(name)?;
    let first_seed = first_seed();
    let parts = wire::parts(project, name, &[], Some(first_seed)).await?;
    wire::agree(sync, &parts.plan.key_columns, &*parts.destination).await?;
    let quota = budget::quota(project, &sync.destination, &*parts.destination)?;
    let mut input = RunInput::new(parts.ledger, parts.destination, parts.mapper, parts.plan);
    input.quota = quota;
    input.match_fields = parts.match_fields;
    input.options.diff = DiffRequest {
        limit: request.limit,
        keys: typed_keys(project, name, &request.keys).await?,
        dry_run: true,
        ..DiffRequest::default()
    };
    input.observer = Arc::new(Quiet);
    let found = rowcast_engine::preview(&input).await?;
    let mut view = view(sync, &found);
    view.seal = Seal {
        changes: found.digest,
        configuration: configuration(project, name)?,
        limit: request.limit,
        keys: request.keys.clone(),
        first_seed,
    };
    Ok(view)
}

fn view(sync: &rowcast_config::Sync, found: &Preview) -> PlanView {
    let c = &found.counts;
    let skipped = found
        .operations
        .iter()
        .filter(|(_, operation, _)| operation.is_none())
        .map(|(_, _, count)| count)
        .sum();
    let mut shown_of = [0_usize; 3];
    let samples = found
        .samples
        .iter()
        .filter(|sample| {
            let slot = &mut shown_of[match sample.change.kind {
                Kind::Added => 0,
                Kind::Updated => 1,
                Kind::Removed => 2,
            }];
            *slot += 1;
            *slot <= SAMPLES_PER_KIND
        })
        .map(|sample| SampleView {
            change: change_word(sample.change.kind),
            key: sample.record.key.to_string(),
            operation: sample.record.operation.as_str(),
            fields: raw(&sample.record.fields),
        })
        .collect();
    PlanView {
        sync: sync.name.clone(),
        destination: sync.destination.clone(),
        object: sync.object.clone().unwrap_or_default(),
        mode: sync.mode.as_str(),
        read: c.read,
        unchanged: c.unchanged,
        added: c.added,
        updated: c.updated,
        removed: c.removed,
        retried: c.retried,
        invalid_keys: c.invalid_keys,
        state_rows: c.state_rows,
        operations: found
            .operations
            .iter()
            .filter_map(|(kind, operation, count)| {
                operation.map(|operation| OperationCount {
                    change: change_word(*kind),
                    operation: operation.as_str(),
                    count: *count,
                })
            })
            .collect(),
        skipped,
        invalid: found.report.invalid,
        calls: found.calls,
        time_ms: found.time.as_millis() as u64,
        quota: found.quota.as_ref().map(QuotaView::of),
        samples,
        requests: found.requests.clone(),
        guards: found.report.guards.iter().map(GuardView::from).collect(),
        notes: found.report.notes.clone(),
        reasons: ReasonCount::of(&found.report),
        seal: Seal::default(),
    }
}

fn raw(fields: &rowcast_core::Object) -> Box<RawValue> {
    let mut text = String::new();
    rowcast_core::json::push_object(&mut text, fields);
    RawValue::from_string(text).unwrap_or_default()
}

/// Random bits for the checksums of a sync that has never run.
fn first_seed() -> i64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library seeds its hashers from the system's random numbers.
    RandomState::new().hash_one(0_u8) as i64
}

/// A digest of everything the files say about a sync; secrets and places in files aside.
fn configuration(project: &Project, name: &str) -> Answer<String> {
    let sync = project.sync(name)?;
    let model = project.model(&sync.model)?;
    let text = format!(
        "{sync:?}\n{model:?}\n{:?}\n{:?}",
        project.destination(&sync.destination)?,
        project.source(&model.source)?
    );
    Ok(blake3::hash(text.as_bytes()).to_hex()[..32].to_owned())
}

/// A plan on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sealed {
    rowcast_plan: u32,
    project: String,
    syncs: Vec<SealedSync>,
}

/// What a sealed plan says of one sync.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SealedSync {
    sync: String,
    /// In hexadecimal, over (operation, key, checksum) of the whole change set.
    changes: String,
    configuration: String,
    pub(crate) limit: Option<u64>,
    pub(crate) keys: Vec<String>,
    /// The random part of the checksums, for a sync that had not run when the plan was made.
    pub(crate) first_seed: i64,
}

impl SealedSync {
    pub(crate) fn digest(&self) -> Result<u128, Reason> {
        u128::from_str_radix(&self.changes, 16)
            .map_err(|_| stale(format!("the sealed plan of {} is damaged", self.sync)))
    }
}

impl Sealed {
    /// The syncs to run: those of the plan, or the named ones of them.
    pub(crate) fn names(&self, wanted: &[String]) -> Answer<Vec<String>> {
        let names: Vec<String> = self
            .syncs
            .iter()
            .map(|sealed| sealed.sync.clone())
            .collect();
        match wanted.iter().find(|name| !names.contains(name)) {
            Some(name) => Err(stale(format!("the sealed plan has no sync {name}")).into()),
            None if wanted.is_empty() => Ok(names),
            None => Ok(wanted.to_vec()),
        }
    }

    /// The random part of the checksums the plan of a sync was made with.
    pub(crate) fn first_seed(&self, name: &str) -> Option<i64> {
        let sealed = self.syncs.iter().find(|sealed| sealed.sync == name)?;
        Some(sealed.first_seed)
    }

    /// The plan of one sync, if the configuration is still the one it was made from.
    pub(crate) fn of(&self, project: &Project, name: &str) -> Answer<&SealedSync> {
        let sealed = self
            .syncs
            .iter()
            .find(|sealed| sealed.sync == name)
            .ok_or_else(|| Failure::from(stale(format!("the sealed plan has no sync {name}"))))?;
        if sealed.configuration != configuration(project, name)? {
            return Err(stale(format!(
                "the configuration of {name} is not the sealed plan's"
            ))
            .detail("a file of the sync, its model, source or destination was edited")
            .into());
        }
        Ok(sealed)
    }
}

/// A sealed plan with what people read in it.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    sealed: Sealed,
    shown: &'a [PlanView],
}

/// Writes the plans of several syncs as one sealed plan.
///
/// # Errors
/// The file can't be written.
pub fn write(project: &Project, plans: &[PlanView], path: &Path) -> Answer<()> {
    let sealed = Sealed {
        rowcast_plan: FORM,
        project: project.config.name.clone(),
        syncs: plans
            .iter()
            .map(|plan| SealedSync {
                sync: plan.sync.clone(),
                changes: format!("{:032x}", plan.seal.changes),
                configuration: plan.seal.configuration.clone(),
                limit: plan.seal.limit,
                keys: plan.seal.keys.clone(),
                first_seed: plan.seal.first_seed,
            })
            .collect(),
    };
    let text = serde_json::to_string_pretty(&Document {
        sealed,
        shown: plans,
    })
    .map_err(|error| Reason::defect(format!("a plan can't be written: {error}")))?;
    std::fs::write(path, text + "\n").map_err(|error| file_reason("write", path, &error))?;
    Ok(())
}

/// Reads a sealed plan.
///
/// # Errors
/// The file can't be read or is no plan.
pub fn read(path: &Path) -> Answer<Sealed> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        file_reason("read", path, &error).hint("make a sealed plan with `rowcast plan --out FILE`")
    })?;
    let sealed: Sealed = serde_json::from_str(&text).map_err(|error| {
        Reason::new(Code::Usage, format!("{} is not a sealed plan", shown(path)))
            .detail(error.to_string())
            .hint("make one with `rowcast plan --out FILE`")
    })?;
    if sealed.rowcast_plan != FORM {
        return Err(stale(format!(
            "{} was made by another version of rowcast",
            shown(path)
        ))
        .into());
    }
    Ok(sealed)
}
