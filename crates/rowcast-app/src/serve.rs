//! A project as a running service: schedules are kept, runs asked for are carried out, the files are
//! read again when they change.
//!
//! Several services may share one control schema. What a service must not lose is in that schema or
//! in the state of syncs before it is acted on; a service that is killed leaves jobs that another,
//! or its next start, carries on.

mod alerts;
mod files;
mod hooks;
mod live;
pub(crate) mod place;
mod reload;
mod requests;
mod retl;
mod schedule;
mod standing;
mod tokens;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rowcast_config::Problem;
use rowcast_core::guard::Guard;
use rowcast_core::{Code, Reason, Secret};
use rowcast_postgres::control::{Control, Job};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use files::{Expected, FileRequest, FileView};
pub use hooks::{HookAnswer, HookRequest};
pub use live::{Live, LiveRun};
pub use requests::{AuditRow, Repeat};
pub use retl::{RetlFilter, RetlMetrics, RetlStatus, RetlSync, RetlTotal, retl_status};
pub use tokens::{Caller, Scope, TokenMade, TokenRequest, TokenView};

use crate::run::RunRequest;
use crate::state::{self, Cancelled};
use crate::{Answer, Project};

/// How often a run that can't be followed is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(500);

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    pub dir: PathBuf,
    pub env: Option<String>,
    /// A connection string of the control database; by default where the state is.
    pub database: Option<Secret<String>>,
    /// Runs of this server at once.
    pub jobs: usize,
    /// Changes of files over the API become commits.
    pub git: bool,
}

/// A project as the server runs it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) project: Project,
}

/// What a run asked for is to do: stored with the job, so names are only ever added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ask {
    /// Sends every row again.
    pub full: bool,
    /// Only these primary keys.
    pub keys: Vec<String>,
    /// Sends only so many changes and ignores removals.
    pub limit: Option<u64>,
    /// Guards that may not hold it.
    #[serde(rename = "override")]
    pub overrides: Vec<String>,
    /// Waits for a run that is going on elsewhere.
    pub wait: bool,
}

impl Ask {
    /// As the run takes it.
    ///
    /// # Errors
    /// A guard that is none.
    pub(crate) fn request(&self, trigger: &str) -> Answer<RunRequest> {
        let guard = |word: &String| {
            Guard::parse(word).ok_or_else(|| {
                let all: Vec<&str> = Guard::ALL.iter().map(|guard| guard.as_str()).collect();
                Reason::new(Code::Usage, format!("there is no guard {word:?}"))
                    .hint(format!("write one of {}", all.join(", ")))
            })
        };
        Ok(RunRequest {
            full: self.full,
            keys: self.keys.clone(),
            limit: self.limit,
            wait: self.wait,
            overrides: self.overrides.iter().map(guard).collect::<Result<_, _>>()?,
            sealed: None,
            trigger: trigger.to_owned(),
        })
    }
}

/// A run that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Asked {
    /// Its number, by which it can be followed.
    pub job: i64,
    pub sync: String,
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobView {
    pub job: i64,
    pub sync: String,
    pub trigger: String,
    /// `queued`, `running`, `done`.
    pub status: String,
    pub due_at: String,
    /// How its run ended: `succeeded`, `partial`, `failed`, `held`, `cancelled`; or `skipped`, when
    /// the sync was running elsewhere, or `paused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<serde_json::Value>,
}

/// A project being served.
#[derive(Debug, Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ServeOptions,
    owner: String,
    loaded: RwLock<Arc<Loaded>>,
    /// What is wrong with the files since they were changed.
    problems: RwLock<Vec<Problem>>,
    /// What the project was read from.
    known: Mutex<reload::Known>,
    /// For schedules and jobs.
    control: Control,
    /// For those who ask.
    asks: Control,
    /// For alerts, which must not hold up anything else.
    alerts: Control,
    /// When the project was opened, in microseconds since 1970.
    opened_us: i64,
    live: Live,
    /// A job may be there.
    wake: Notify,
    /// A job may have ended.
    ended: Notify,
    /// A message may be there.
    post: Notify,
}

impl Service {
    /// Reads the project and prepares the control schema. Nothing runs before [`Service::run`].
    ///
    /// # Errors
    /// The project has problems, or the control database can't be used.
    pub async fn open(options: ServeOptions) -> Answer<Self> {
        if options.git {
            files::usable(&options.dir)?;
        }
        let files = reload::files(&options.dir);
        let project = Project::load(Some(&options.dir), options.env.as_deref())?;
        let control = place::control(&project, options.database.as_ref())?;
        control.prepare().await?;
        control.forget_old_requests().await?;
        Ok(Self {
            inner: Arc::new(Inner {
                owner: Control::owner(),
                known: Mutex::new(reload::Known::new(files, &project)),
                loaded: RwLock::new(Arc::new(Loaded { project })),
                problems: RwLock::default(),
                asks: control.beside(),
                alerts: control.beside(),
                opened_us: crate::map::now_us(),
                control,
                live: Live::default(),
                wake: Notify::new(),
                ended: Notify::new(),
                post: Notify::new(),
                options,
            }),
        })
    }

    /// Keeps schedules and carries out jobs until `stop`, then lets the runs that are going on end in
    /// order: what was delivered is kept, and what was not is carried on by the next start.
    pub async fn run(&self, stop: &CancellationToken) {
        tokio::join!(
            schedule::keep(&self.inner, stop),
            work::carry_out(&self.inner, stop),
            reload::watch(&self.inner, stop),
            alerts::watch(&self.inner, stop),
            alerts::deliver(&self.inner, stop),
        );
    }

    /// The project as it is now.
    pub fn project(&self) -> Project {
        self.inner.loaded().project.clone()
    }

    /// What is wrong with the project's files since they were changed; the project from before is
    /// served as long as there is anything.
    pub fn problems(&self) -> Vec<Problem> {
        let problems = self.inner.problems.read();
        problems.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files as they are now and gives every problem; what is served stays as it is.
    pub fn validate(&self) -> Vec<Problem> {
        let options = &self.inner.options;
        match Project::load(Some(&options.dir), options.env.as_deref()) {
            Ok(_) => Vec::new(),
            Err(failure) => failure.problems,
        }
    }

    /// Runs that this server carries out now.
    pub fn live(&self) -> &Live {
        &self.inner.live
    }

    /// Whether the control database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ready(&self) -> Answer<()> {
        Ok(self.inner.asks.ping().await?)
    }

    /// Asks for a run, which begins as soon as there is room.
    ///
    /// # Errors
    /// The sync is unknown, paused or running already, or a guard is none.
    pub async fn ask(&self, sync: &str, ask: &Ask) -> Answer<Asked> {
        let loaded = self.inner.loaded();
        let source = source_of(&loaded.project, sync)?;
        ask.request("api")?;
        let request = written(ask);
        let job = Job {
            sync,
            source: &source,
            trigger: "api",
            request: &request,
        };
        let Some(job) = self.inner.asks.ask(&job).await? else {
            return Err(Reason::new(
                Code::SyncRunning,
                format!("sync {sync:?} is already running"),
            )
            .detail("a run of it is going on or waits to begin")
            .hint(format!(
                "wait for its end, or stop it: `rowcast cancel {sync}`"
            ))
            .into());
        };
        self.inner.wake.notify_one();
        Ok(Asked {
            job,
            sync: sync.to_owned(),
        })
    }

    /// A run that was asked for; `None` when there is no such job, or it is forgotten.
    ///
    /// # Errors
    /// The control database fails.
    pub async fn job(&self, id: i64) -> Answer<Option<JobView>> {
        let found = self.inner.asks.job(id).await?;
        Ok(found.map(|job| JobView {
            job: job.id,
            sync: job.sync,
            trigger: job.trigger,
            status: job.status,
            due_at: crate::view::instant(job.due_us),
            outcome: job.outcome,
            run: job.run,
            error: job
                .error
                .map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))),
        }))
    }

    /// A run that was asked for, at its end or after so long, whichever is first.
    ///
    /// # Errors
    /// The control database fails.
    pub async fn job_within(&self, id: i64, wait: std::time::Duration) -> Answer<Option<JobView>> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            // Followed first: an end between looking and following would be missed.
            let live = self.inner.live.follow(id);
            match self.job(id).await? {
                Some(job) if job.status != "done" => {
                    if tokio::time::Instant::now() >= until {
                        return Ok(Some(job));
                    }
                }
                found => return Ok(found),
            }
            // One that waits, or that another server carries out, is looked at now and then.
            let ended = async {
                match live {
                    Some(mut run) => while run.changed().await.is_ok() {},
                    None => tokio::time::sleep(LOOK).await,
                }
            };
            let _ = tokio::time::timeout_at(until, ended).await;
        }
    }

    /// A run of a sync, at its end or after so long, whichever is first.
    ///
    /// # Errors
    /// There is no such run, or state can't be read.
    pub async fn run_within(
        &self,
        sync: &str,
        run: i64,
        wait: std::time::Duration,
    ) -> Answer<crate::history::RunRow> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let found = crate::history::run(&self.project(), sync, run).await?;
            if found.status != "running" || tokio::time::Instant::now() >= until {
                return Ok(found);
            }
            tokio::time::sleep_until(until.min(tokio::time::Instant::now() + LOOK)).await;
        }
    }

    /// Stops a run wherever it is going on, or withdraws one that waits.
    ///
    /// # Errors
    /// The sync is unknown, or state can't be written.
    pub async fn cancel(&self, sync: &str) -> Answer<Cancelled> {
        let project = self.project();
        project.sync(sync)?;
        let withdrawn = self.inner.asks.withdraw(sync).await?;
        let cancelled = state::cancel(&project, sync).await?;
        Ok(Cancelled {
            running: cancelled.running || withdrawn,
            ..cancelled
        })
    }
}

impl Inner {
    fn loaded(&self) -> Arc<Loaded> {
        let loaded = self.loaded.read();
        loaded.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The name of a sync's source.
fn source_of(project: &Project, sync: &str) -> Answer<String> {
    let sync = project.sync(sync)?;
    Ok(project.model(&sync.model)?.source.clone())
}

/// As it is stored with a job.
fn written(ask: &Ask) -> String {
    serde_json::to_string(ask).unwrap_or_else(|_| "{}".to_owned())
}
