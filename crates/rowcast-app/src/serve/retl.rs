//! Runs as RudderStack's API shows them, for orchestrators that were written for it: a sync is a
//! connection, a job is a sync of it.

use rowcast_core::{Code, Reason};
use rowcast_postgres::control::{JobFilter, JobTimes};
use rowcast_postgres::ledger::RunRow;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Ask, Service};
use crate::Answer;
use crate::state::admin_of;
use crate::view::instant;

/// A run, with RudderStack's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetlSync {
    pub id: String,
    /// `running`, `succeeded`, `failed`.
    pub status: &'static str,
    pub started_at: String,
    pub finished_at: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    pub metrics: RetlMetrics,
}

/// Counts of a run; zero until it has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RetlMetrics {
    pub succeeded: RetlTotal,
    /// Rejected and invalid records.
    pub failed: RetlTotal,
    /// Changes that were found.
    pub changed: RetlTotal,
    /// Rows that were read.
    pub total: u64,
}

/// A count, as it is wrapped there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RetlTotal {
    pub total: u64,
}

/// Which runs to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetlStatus {
    Running,
    Succeeded,
    Failed,
}

/// What to list.
#[derive(Debug, Clone, Copy)]
pub struct RetlFilter {
    pub status: Option<RetlStatus>,
    /// Microseconds since 1970.
    pub started_after_us: Option<i64>,
    pub started_before_us: Option<i64>,
    /// From 1.
    pub page: u32,
    pub per_page: u32,
}

impl Service {
    /// Starts a run of a sync, and gives its id.
    ///
    /// # Errors
    /// See [`Service::ask`].
    pub async fn retl_start(&self, sync: &str, full: bool) -> Answer<String> {
        let ask = Ask {
            full,
            ..Ask::default()
        };
        Ok(self.ask(sync, &ask).await?.job.to_string())
    }

    /// One run; `None` when there is none of this id, or it is forgotten.
    ///
    /// # Errors
    /// The sync is unknown, or a database fails.
    pub async fn retl_sync(&self, sync: &str, id: &str) -> Answer<Option<RetlSync>> {
        self.project().sync(sync)?;
        let Ok(id) = id.parse() else {
            return Ok(None);
        };
        let Some(job) = self.inner.asks.job_of(sync, id).await? else {
            return Ok(None);
        };
        let mut shown = self.retl_shown(sync, vec![job]).await?;
        Ok(shown.pop())
    }

    /// The runs of a sync, the newest first, and how many there are.
    ///
    /// # Errors
    /// The sync is unknown, or a database fails.
    pub async fn retl_syncs(
        &self,
        sync: &str,
        filter: &RetlFilter,
    ) -> Answer<(Vec<RetlSync>, u64)> {
        self.project().sync(sync)?;
        let jobs = JobFilter {
            going_on: filter.status.map(|status| status == RetlStatus::Running),
            well: match filter.status {
                Some(RetlStatus::Succeeded) => Some(true),
                Some(RetlStatus::Failed) => Some(false),
                _ => None,
            },
            after_us: filter.started_after_us,
            before_us: filter.started_before_us,
        };
        let skip = i64::from(filter.page.saturating_sub(1)) * i64::from(filter.per_page);
        let asks = &self.inner.asks;
        let (jobs, total) = asks
            .jobs_of(sync, &jobs, skip, filter.per_page.into())
            .await?;
        Ok((self.retl_shown(sync, jobs).await?, total.unsigned_abs()))
    }

    async fn retl_shown(&self, sync: &str, jobs: Vec<JobTimes>) -> Answer<Vec<RetlSync>> {
        let runs: Vec<i64> = jobs.iter().filter_map(|job| job.job.run).collect();
        let counted = match (runs.iter().min(), runs.iter().max()) {
            (Some(first), Some(last)) => {
                let admin = admin_of(&self.project(), sync)?;
                // Runs of the command line may lie between: the span of the ids bounds them all.
                let limit = last - first + 1;
                admin
                    .runs_before(sync, Some(last + 1), limit.min(10_000))
                    .await?
            }
            _ => Vec::new(),
        };
        Ok(jobs
            .iter()
            .map(|job| {
                let run = counted.iter().find(|run| Some(run.run) == job.job.run);
                shown(job, run)
            })
            .collect())
    }
}

fn shown(job: &JobTimes, run: Option<&RunRow>) -> RetlSync {
    let outcome = job.job.outcome.as_deref();
    let status = match (job.job.status.as_str(), outcome) {
        ("done", Some("succeeded" | "partial")) => "succeeded",
        ("done", _) => "failed",
        _ => "running",
    };
    let error = (status == "failed").then(|| why(outcome.unwrap_or("failed"), job, run));
    RetlSync {
        id: job.job.id.to_string(),
        status,
        started_at: instant(job.started_us.unwrap_or(job.created_us)),
        finished_at: job.finished_us.map(instant),
        error,
        metrics: run.map(metrics).unwrap_or_default(),
    }
}

fn metrics(run: &RunRow) -> RetlMetrics {
    let count = |count: Option<i64>| count.unwrap_or(0).unsigned_abs();
    let total = |total| RetlTotal { total };
    RetlMetrics {
        succeeded: total(count(run.delivered)),
        failed: total(count(run.rejected) + count(run.invalid)),
        changed: total(count(run.added) + count(run.updated) + count(run.removed)),
        total: count(run.read),
    }
}

/// One line that an orchestrator shows: the outcome, the code and the message.
fn why(outcome: &str, job: &JobTimes, run: Option<&RunRow>) -> String {
    let problems: serde_json::Value = job
        .job
        .error
        .as_ref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    // A list of problems, or one reason alone.
    let first = problems.get(0).unwrap_or(&problems);
    let word = |name: &str| first[name].as_str().map(str::to_owned);
    let code = word("code").or_else(|| run?.error_code.clone());
    let message = word("message").or_else(|| run?.error_message.clone());
    match (code, message) {
        (Some(code), Some(message)) => format!("{outcome}: {code}: {message}"),
        (_, Some(message)) => format!("{outcome}: {message}"),
        _ => outcome.to_owned(),
    }
}

/// The status of a word.
///
/// # Errors
/// It is none.
pub fn retl_status(word: &str) -> Result<RetlStatus, Reason> {
    match word {
        "running" => Ok(RetlStatus::Running),
        "succeeded" => Ok(RetlStatus::Succeeded),
        "failed" => Ok(RetlStatus::Failed),
        _ => Err(
            Reason::new(Code::RequestInvalid, format!("there is no status {word:?}"))
                .hint("ask for running, succeeded or failed"),
        ),
    }
}
