//! Requests from outside that start runs: webhooks of dbt Cloud, and signed triggers.
//!
//! A request proves by its signature who sent it, over the exact bytes of its body, before anything
//! of it is believed. An event starts nothing twice, however often it is sent.

use rowcast_config::Hook;
use rowcast_core::schedule::{Overlap, Trigger};
use rowcast_core::{Code, Reason};
use rowcast_destinations::signature::{Refused, Standard, verify, verify_dbt};
use rowcast_postgres::control::Started;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ask, Asked, Loaded, Service, source_of, written};
use crate::map::now_us;
use crate::{Answer, Project};

/// Events of dbt Cloud are remembered for 30 days (`serve::alerts`); older ones are refused, so that
/// none can be played again after it is forgotten.
const DBT_AGE_MAX_US: i64 = 29 * 86_400 * 1_000_000;
/// Longest id of an event: what senders use is far shorter.
const ID_MAX: usize = 256;
/// dbt Cloud's code of a run that succeeded.
const DBT_SUCCESS: i64 = 10;

/// What came with a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct HookRequest<'a> {
    /// `Authorization`, of dbt Cloud.
    pub authorization: Option<&'a str>,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`, of Standard Webhooks.
    pub id: Option<&'a str>,
    pub timestamp: Option<&'a str>,
    pub signatures: Option<&'a str>,
    pub body: &'a [u8],
}

/// What became of a request that was believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HookAnswer {
    /// Runs that were started.
    pub started: Vec<Asked>,
    /// Why nothing was started, or not everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A webhook of dbt Cloud, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DbtEvent {
    event_id: String,
    event_type: String,
    timestamp: Option<jiff::Timestamp>,
    #[serde(default)]
    data: DbtRun,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DbtRun {
    job_id: Option<Word>,
    run_status: Option<String>,
    run_status_code: Option<i64>,
}

/// A number or text, which dbt Cloud's versions differ in.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Number(i64),
}

impl Word {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

fn nothing(note: impl Into<String>) -> HookAnswer {
    HookAnswer {
        started: Vec::new(),
        note: Some(note.into()),
    }
}

fn unsigned(why: Refused) -> Reason {
    Reason::new(Code::SignatureInvalid, why.as_str()).hint(
        "sign the exact bytes of the body with the secret under `hooks:` of rowcast.yml: `rowcast explain E0912`",
    )
}

fn unreadable(detail: impl Into<String>) -> Reason {
    Reason::new(Code::RequestInvalid, "the event can't be understood")
        .detail(detail)
        .hint("a webhook of dbt Cloud or a signed trigger is expected here")
}

impl Service {
    /// Deals with a request to a hook. `None` when there is no such hook.
    ///
    /// # Errors
    /// It is not signed as it should be, can't be understood, or the control database fails.
    pub async fn hook(&self, name: &str, request: &HookRequest<'_>) -> Answer<Option<HookAnswer>> {
        let loaded = self.inner.loaded();
        let Some(hook) = loaded.project.config.hooks.get(name) else {
            return Ok(None);
        };
        let answer = match hook {
            Hook::Dbt { secrets } => {
                let given = request.authorization.unwrap_or_default();
                verify_dbt(secrets, given, request.body).map_err(unsigned)?;
                self.dbt(&loaded, name, request.body).await?
            }
            Hook::Trigger { secrets, syncs } => {
                let standard = Standard {
                    id: request.id.unwrap_or_default(),
                    timestamp: request.timestamp.unwrap_or_default(),
                    signatures: request.signatures.unwrap_or_default(),
                };
                let now = now_us().div_euclid(1_000_000);
                verify(secrets, standard, request.body, now).map_err(unsigned)?;
                let asked: Vec<(String, bool)> =
                    syncs.iter().map(|sync| (sync.clone(), false)).collect();
                self.start(&loaded, name, standard.id, "hook", &asked)
                    .await?
            }
        };
        Ok(Some(answer))
    }

    async fn dbt(&self, loaded: &Loaded, hook: &str, body: &[u8]) -> Answer<HookAnswer> {
        let event: DbtEvent =
            serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))?;
        if event.event_type != "job.run.completed" {
            return Ok(nothing(format!("{} starts nothing", event.event_type)));
        }
        let age = event
            .timestamp
            .map(|at| now_us() - at.as_microsecond())
            .ok_or_else(|| unreadable("it has no timestamp"))?;
        if age > DBT_AGE_MAX_US {
            return Err(unsigned(Refused::Untimely).into());
        }
        let status = event.data.run_status.as_deref().unwrap_or("");
        let well = match event.data.run_status_code {
            Some(code) => code == DBT_SUCCESS,
            None => status.eq_ignore_ascii_case("success"),
        };
        if !well {
            return Ok(nothing(format!(
                "the job ended as {status:?}, not as success"
            )));
        }
        let job = event
            .data
            .job_id
            .map(|id| id.text())
            .ok_or_else(|| unreadable("it names no job"))?;
        let asked = after_job(&loaded.project, &job);
        if asked.is_empty() {
            return Ok(nothing(format!(
                "no sync has `schedule: {{ dbt: {{ job: {job} }} }}`"
            )));
        }
        self.start(loaded, hook, &event.event_id, "dbt", &asked)
            .await
    }

    /// Starts syncs for an event, unless it was dealt with before.
    async fn start(
        &self,
        loaded: &Loaded,
        hook: &str,
        event: &str,
        trigger: &str,
        asked: &[(String, bool)],
    ) -> Answer<HookAnswer> {
        if event.is_empty() || event.len() > ID_MAX {
            return Err(unreadable(format!("its id must have 1 to {ID_MAX} bytes")).into());
        }
        let mut known = Vec::new();
        for (sync, queue) in asked {
            let paused = loaded.project.paused(loaded.project.sync(sync)?).is_some();
            if !paused {
                let request = written(&Ask {
                    wait: *queue,
                    ..Ask::default()
                });
                let source = source_of(&loaded.project, sync)?;
                known.push((sync.as_str(), source, request, *queue));
            }
        }
        let started: Vec<Started<'_>> = known
            .iter()
            .map(|(sync, source, request, queue)| Started {
                sync,
                source,
                request,
                queue: *queue,
            })
            .collect();
        let Some(jobs) = self
            .inner
            .asks
            .event(hook, event, trigger, &started)
            .await?
        else {
            return Ok(nothing("this event was dealt with before"));
        };
        for (job, sync) in &jobs {
            tracing::info!(sync, job, hook, "started from outside");
        }
        if !jobs.is_empty() {
            self.inner.wake.notify_one();
        }
        let note = (jobs.len() < asked.len())
            .then(|| "what is paused, or runs already, was not started".to_owned());
        let started = jobs
            .into_iter()
            .map(|(job, sync)| Asked { job, sync })
            .collect();
        Ok(HookAnswer { started, note })
    }
}

/// Syncs that run after a job of dbt Cloud, and whether they wait for a run that is going on.
fn after_job(project: &Project, ended: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for sync in project.config.syncs.values() {
        let form = sync
            .schedules
            .iter()
            .find(|form| matches!(&form.trigger, Trigger::Dbt { job } if job == ended));
        if let Some(form) = form {
            found.push((sync.name.clone(), form.overlap == Overlap::Queue));
        }
    }
    found
}
