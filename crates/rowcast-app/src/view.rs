//! The forms in which answers are shown: every struct serializes to what `--json` prints and the
//! HTTP API returns. Field names are the glossary's and part of the contract.

use std::borrow::Cow;

use rowcast_core::destination::CheckStatus;
use rowcast_core::guard::Held;
use rowcast_core::quota::{Quota, Spent};
use rowcast_core::{Check, RunReport, RunStatus};
use schemars::JsonSchema;
use serde::Serialize;

use rowcast_config::Problem;

use crate::health::{Activity, Health};

/// One named check.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CheckView {
    pub name: String,
    /// `passed`, `warned`, `failed`, `skipped`.
    pub status: &'static str,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl From<Check> for CheckView {
    fn from(check: Check) -> Self {
        Self {
            name: check.name,
            status: match check.status {
                CheckStatus::Passed => "passed",
                CheckStatus::Warned => "warned",
                CheckStatus::Failed => "failed",
                CheckStatus::Skipped => "skipped",
            },
            found: check.found,
            problem: check.reason.map(Problem::general),
        }
    }
}

/// A reason with the number of records it met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReasonCount {
    pub code: String,
    pub message: String,
    pub count: u64,
}

/// One step of the flow with its duration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepView {
    pub step: Cow<'static, str>,
    pub duration_ms: u64,
}

/// The report of a run, as shown.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunView {
    pub sync: String,
    pub destination: String,
    pub object: String,
    pub run: i64,
    pub status: &'static str,
    pub started_at: String,
    pub duration_ms: u64,

    pub read: u64,
    pub unchanged: u64,
    pub added: u64,
    pub updated: u64,
    pub removed: u64,
    pub retried: u64,
    pub retried_present: u64,
    pub invalid_keys: u64,

    pub delivered: u64,
    pub skipped: u64,
    pub invalid: u64,
    pub rejected: u64,
    pub held: u64,
    pub pending: u64,

    pub requests: u64,
    pub request_retries: u64,
    pub spool_bytes: u64,
    pub reasons: Vec<ReasonCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Problem>,
    pub guards: Vec<GuardView>,
    pub notes: Vec<String>,
    pub steps: Vec<StepView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostView>,
    #[serde(skip)]
    pub ended: RunStatus,
    #[serde(skip)]
    pub first: bool,
}

/// A guard that holds a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct GuardView {
    pub guard: &'static str,
    pub problem: Problem,
}

impl From<&Held> for GuardView {
    fn from(held: &Held) -> Self {
        Self {
            guard: held.guard.as_str(),
            problem: Problem::general(held.reason.clone()),
        }
    }
}

impl ReasonCount {
    /// The reasons of a report, the most frequent first.
    pub fn of(report: &RunReport) -> Vec<Self> {
        let mut reasons: Vec<Self> = report
            .reasons
            .iter()
            .map(|((code, message), count)| Self {
                code: code.clone(),
                message: message.clone(),
                count: *count,
            })
            .collect();
        reasons.sort_by(|a, b| {
            b.count
                .cmp(&a.count)
                .then_with(|| a.message.cmp(&b.message))
        });
        reasons
    }
}

impl RunView {
    /// The report of a run of a sync to `destination` / `object`.
    pub fn new(report: &RunReport, destination: &str, object: &str) -> Self {
        let c = &report.counts;
        Self {
            sync: report.sync.to_string(),
            destination: destination.to_owned(),
            object: object.to_owned(),
            run: report.run,
            status: report.status.as_str(),
            started_at: instant(report.started_at),
            duration_ms: report.duration_us / 1_000,
            read: c.read,
            unchanged: c.unchanged,
            added: c.added,
            updated: c.updated,
            removed: c.removed,
            retried: c.retried,
            retried_present: c.retried_present,
            invalid_keys: c.invalid_keys,
            delivered: report.delivered,
            skipped: report.skipped,
            invalid: report.invalid,
            rejected: report.rejected,
            held: report.held,
            pending: report.pending,
            requests: report.requests,
            request_retries: report.retries,
            spool_bytes: c.spool_bytes,
            reasons: ReasonCount::of(report),
            failure: report.failure.clone().map(Problem::general),
            guards: report.guards.iter().map(GuardView::from).collect(),
            notes: report.notes.clone(),
            steps: report
                .phases
                .iter()
                .map(|(step, us)| StepView {
                    step: Cow::Borrowed(*step),
                    duration_ms: us / 1_000,
                })
                .collect(),
            cost: report.cost.map(|cost| CostView {
                database_ms: cost.database_us / 1_000,
                rows_read: c.read + c.state_rows,
                wal_bytes: cost.wal.map(|(bytes, _)| bytes),
                wal_of: cost.wal.map(|(_, of)| Cow::Borrowed(of.as_str())),
            }),
            ended: report.status,
            first: c.state_rows == 0 && c.read > 0,
        }
    }

    /// Every change the run found.
    pub fn changes(&self) -> u64 {
        self.added + self.updated + self.removed + self.retried
    }
}

/// Microseconds since 1970 as RFC 3339 in UTC, to the millisecond.
pub fn instant(us: i64) -> String {
    let mut out = String::new();
    rowcast_core::time::push_timestamp(&mut out, us - us.rem_euclid(1_000), "Z");
    out
}

/// Checks of one source or destination.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CheckGroup {
    /// `source` or `destination`.
    pub kind: &'static str,
    pub name: String,
    pub checks: Vec<CheckView>,
}

/// A column with its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ColumnView {
    pub name: String,
    #[serde(rename = "type")]
    pub type_name: String,
}

/// The first rows of a model.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PreviewView {
    pub model: String,
    pub source: String,
    pub columns: Vec<ColumnView>,
    /// Values as JSON, in the order of the columns; sensitive ones masked.
    #[schemars(with = "Vec<Vec<serde_json::Value>>")]
    pub rows: Vec<Vec<Box<serde_json::value::RawValue>>>,
    /// `key is unique: 1,204,331 of 1,204,331; 0 null`.
    pub key: String,
    pub key_valid: bool,
    /// Columns that differed between two reads.
    pub warnings: Vec<String>,
}

/// What a run would do, without sending.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PlanView {
    pub sync: String,
    pub destination: String,
    pub object: String,
    pub mode: &'static str,
    pub read: u64,
    pub unchanged: u64,
    pub added: u64,
    pub updated: u64,
    pub removed: u64,
    pub retried: u64,
    pub invalid_keys: u64,
    pub state_rows: u64,
    /// The operations a run would ask for, with their counts.
    pub operations: Vec<OperationCount>,
    pub skipped: u64,
    pub invalid: u64,
    /// Requests a run would make.
    pub calls: u64,
    /// About how long they take: at the destination's rate, or assuming 100 ms each; with the time until
    /// the window of its quota in which the last is sent.
    pub time_ms: u64,
    /// What is left of the destination's quota, when it has one and there is something to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaView>,
    pub samples: Vec<SampleView>,
    /// Some requests as they would be sent, without secrets.
    pub requests: Vec<String>,
    pub guards: Vec<GuardView>,
    pub notes: Vec<String>,
    pub reasons: Vec<ReasonCount>,
    #[serde(skip)]
    pub seal: Seal,
}

/// How much of a quota is used, by all syncs and processes that share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QuotaView {
    /// Requests allowed in one window.
    pub requests: u32,
    /// The length of a window.
    pub per_ms: u64,
    /// Requests used in the present window, or set aside by runs that are going on.
    pub used: u32,
    /// Until the next window begins.
    pub anew_in_ms: u64,
}

impl QuotaView {
    pub(crate) fn of((quota, spent): &(Quota, Spent)) -> Self {
        Self {
            requests: quota.allowed.requests,
            per_ms: quota.allowed.per.as_millis() as u64,
            used: spent.requests,
            anew_in_ms: spent.window.ends_in.as_millis() as u64,
        }
    }
}

/// What a sealed plan holds of a sync (semantics 28).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seal {
    /// Over (operation, key, checksum) of the whole change set.
    pub changes: u128,
    /// Over everything the configuration says about the sync.
    pub configuration: String,
    pub limit: Option<u64>,
    pub keys: Vec<String>,
    /// The random part of the checksums, for a sync that has never run.
    pub first_seed: i64,
}

/// How often an operation would be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OperationCount {
    /// `added`, `updated`, `removed`.
    pub change: &'static str,
    pub operation: &'static str,
    pub count: u64,
}

/// One change as it would be sent.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SampleView {
    /// `added`, `updated`, `removed`.
    pub change: &'static str,
    pub key: String,
    pub operation: &'static str,
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub fields: Box<serde_json::value::RawValue>,
}

/// The word for a kind of change.
pub fn change_word(kind: rowcast_core::Kind) -> &'static str {
    match kind {
        rowcast_core::Kind::Added => "added",
        rowcast_core::Kind::Updated => "updated",
        rowcast_core::Kind::Removed => "removed",
    }
}

/// How a sync stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SyncStatus {
    pub sync: String,
    pub model: String,
    pub destination: String,
    /// What its last run left.
    pub health: Health,
    /// What it does now.
    pub activity: Activity,
    pub running: bool,
    pub rows_in_state: u64,
    pub rejects: u64,
    #[serde(flatten)]
    pub due: crate::schedule::Due,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunSummary>,
}

/// A run in a list.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct RunSummary {
    pub sync: String,
    pub run: i64,
    pub status: String,
    pub trigger: String,
    pub started_at: String,
    pub duration_ms: u64,
    pub read: u64,
    pub added: u64,
    pub updated: u64,
    pub removed: u64,
    pub delivered: u64,
    pub rejected: u64,
    pub invalid: u64,
    pub pending: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostView>,
    pub steps: Vec<StepView>,
}

/// What a run cost the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CostView {
    /// How long the run waited for source and state; what overlaps counts once.
    pub database_ms: u64,
    /// Rows of the model and of the state it was compared with.
    pub rows_read: u64,
    /// Bytes of write-ahead log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes: Option<u64>,
    /// Whose: `run`, written by the run's own connection, or `server`, written by the whole server
    /// meanwhile, of which the run's share is at most all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_of: Option<Cow<'static, str>>,
}

impl CostView {
    /// As it is stored; `None` for a run that has not ended, or of an earlier version.
    pub(crate) fn of_row(
        read: Option<i64>,
        state_rows: Option<i64>,
        database_us: Option<i64>,
        wal_bytes: Option<i64>,
        wal_of: Option<String>,
    ) -> Option<Self> {
        let count = |count: Option<i64>| count.map_or(0, i64::unsigned_abs);
        Some(Self {
            database_ms: database_us?.unsigned_abs() / 1_000,
            rows_read: count(read) + count(state_rows),
            wal_bytes: wal_bytes.map(i64::unsigned_abs),
            wal_of: wal_of.map(Cow::Owned),
        })
    }
}

/// A row that the destination rejected.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RejectView {
    pub sync: String,
    pub key: String,
    pub operation: String,
    pub code: String,
    pub message: String,
    pub first_run: i64,
    pub first_at: String,
    pub attempts: u32,
}
