//! Carries out jobs: claims those that may begin, runs them, keeps their leases, tells how they ended.

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::Code;
use rowcast_core::schedule::{AfterWhen, Trigger};
use rowcast_postgres::control::{Arrival, Claim, Claimed};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Ask, Inner, Loaded, reload, source_of, written};
use crate::view::RunView;
use crate::{Answer, Failure, Project, run, wire};

/// A server that is silent for so long is gone, and its jobs are taken over.
const LEASE: Duration = Duration::from_secs(15);
/// How often a job is kept: two may fail.
const KEEP: Duration = Duration::from_secs(5);
/// How often jobs of other servers, and of the API of other servers, are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Jobs are remembered for so long, for those who asked for them; runs have their own retention.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);
/// How often older ones are forgotten, in rounds of looking.
const FORGET_EVERY: u32 = 3_600;
/// How often jobs of servers that died on this machine are looked for, in rounds of looking.
const BURY_EVERY: u32 = 5;

pub(super) async fn carry_out(inner: &Arc<Inner>, stop: &CancellationToken) {
    let mut running = JoinSet::new();
    let mut rounds = 0_u32;
    let mut failing = false;
    while !stop.is_cancelled() {
        if rounds.is_multiple_of(FORGET_EVERY) {
            let _ = inner.control.forget(REMEMBERED).await;
        }
        if rounds.is_multiple_of(BURY_EVERY) {
            let _ = inner.control.release_dead().await;
        }
        rounds = rounds.wrapping_add(1);
        while running.len() < inner.options.jobs && !stop.is_cancelled() {
            match claim(inner).await {
                Ok(Some((loaded, job))) => {
                    running.spawn(one(inner.clone(), loaded, job, stop.clone()));
                }
                Ok(None) => {
                    failing = false;
                    break;
                }
                Err(failure) => {
                    if !failing {
                        report(&failure, "jobs can't be claimed; trying on");
                    }
                    failing = true;
                    break;
                }
            }
        }
        tokio::select! {
            () = inner.wake.notified() => {}
            _ = running.join_next(), if !running.is_empty() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
    // Each run has heard it too, and ends within the engine's own limit.
    while running.join_next().await.is_some() {}
}

async fn claim(inner: &Inner) -> Answer<Option<(Arc<Loaded>, Claimed)>> {
    reload::fresh_secrets(inner);
    let loaded = inner.loaded();
    let config = &loaded.project.config;
    let mut syncs = Vec::new();
    for sync in config.syncs.values() {
        let source = source_of(&loaded.project, &sync.name)?;
        let most = config.sources.get(&source).map_or(1, |source| source.runs);
        syncs.push((
            sync.name.clone(),
            source,
            i32::try_from(most).unwrap_or(i32::MAX),
        ));
    }
    let claim = Claim {
        owner: &inner.owner,
        lease: LEASE,
        syncs: &syncs,
    };
    let claimed = inner.control.claim(&claim).await?;
    Ok(claimed.map(|job| (loaded, job)))
}

/// How a job ended.
struct End {
    outcome: String,
    run: Option<i64>,
    error: Option<String>,
}

async fn one(inner: Arc<Inner>, loaded: Arc<Loaded>, job: Claimed, stop: CancellationToken) {
    tracing::info!(
        sync = job.sync,
        job = job.id,
        attempt = job.attempt,
        "begins"
    );
    let ended = kept(&inner, &loaded, &job, &stop).await;
    inner.live.end(job.id);
    if ended.outcome == "cancelled" && stop.is_cancelled() {
        // Not asked for by anybody: it is carried on at the next start, or by another server.
        let _ = inner.control.give_back(&job).await;
        return;
    }
    tracing::info!(
        sync = job.sync,
        job = job.id,
        outcome = ended.outcome,
        "ended"
    );
    finish(&inner, &loaded.project, &job, &ended, &stop).await;
}

/// Runs a job and keeps its lease meanwhile. A lease that is lost does not stop the run: what it
/// writes is guarded by the sync's own lease.
async fn kept(inner: &Inner, loaded: &Arc<Loaded>, job: &Claimed, stop: &CancellationToken) -> End {
    let watcher = inner.live.begin(job.id, &job.sync);
    let began = watcher.began.clone();
    let work = {
        let (loaded, job, cancel) = (loaded.clone(), job.clone(), stop.child_token());
        let observer = Arc::new(watcher);
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            carried(&loaded, &job, observer, &cancel).await
        }))
    };
    tokio::pin!(work);
    let mut keep = tokio::time::interval(KEEP);
    keep.tick().await;
    loop {
        tokio::select! {
            ended = &mut work => {
                return match ended {
                    Ok(Ok(end)) => end,
                    Ok(Err(failure)) => failed(&failure, job),
                    Err(error) => failed(
                        &rowcast_core::Reason::defect("a run ended early")
                            .detail(error.to_string())
                            .into(),
                        job,
                    ),
                };
            }
            () = began.notified() => {
                let _ = inner.control.began(job).await;
            }
            _ = keep.tick() => {
                if let Ok(false) = inner.control.renew(job, LEASE).await {
                    tracing::warn!(sync = job.sync, job = job.id, "another server has taken the job over");
                }
            }
        }
    }
}

async fn carried(
    loaded: &Loaded,
    job: &Claimed,
    observer: Arc<dyn rowcast_engine::Observer>,
    cancel: &CancellationToken,
) -> Answer<End> {
    let project = &loaded.project;
    if let Some(why) = run::paused(project, &job.sync).await? {
        return Ok(End {
            outcome: "paused".to_owned(),
            run: None,
            error: serde_json::to_string(&why).ok(),
        });
    }
    wire::may_be_served(project, &job.sync).await?;
    let ask: Ask = serde_json::from_str(&job.request).map_err(|error| {
        rowcast_core::Reason::new(Code::Usage, "what the run is to do can't be read")
            .detail(error.to_string())
    })?;
    let mut request = ask.request(&job.trigger)?;
    if job.attempt > 1 {
        // The run before may still hold the sync's lease for a moment.
        request.wait = true;
        // A full resend that has begun goes on; it need not begin anew.
        request.full &= !job.began;
    }
    let view = run::run(project, &job.sync, &request, observer, cancel).await?;
    Ok(of_view(&view))
}

fn of_view(view: &RunView) -> End {
    End {
        outcome: view.status.to_owned(),
        run: Some(view.run),
        error: view
            .failure
            .as_ref()
            .and_then(|problem| serde_json::to_string(&[problem]).ok()),
    }
}

fn failed(failure: &Failure, job: &Claimed) -> End {
    let running = failure
        .problems
        .iter()
        .any(|problem| problem.reason.code == Code::SyncRunning);
    if !running {
        report(failure, &format!("{} did not run", job.sync));
    }
    End {
        outcome: if running { "skipped" } else { "failed" }.to_owned(),
        run: None,
        error: serde_json::to_string(&failure.problems).ok(),
    }
}

/// Ends the job, as often as it takes: until then it is this server's, and afterwards nobody's.
async fn finish(
    inner: &Inner,
    project: &Project,
    job: &Claimed,
    ended: &End,
    stop: &CancellationToken,
) {
    let request = written(&Ask::default());
    let following = following(project, &job.sync, &ended.outcome);
    let followers: Vec<Arrival<'_>> = following
        .iter()
        .map(|follower| Arrival {
            sync: &follower.sync,
            source: &follower.source,
            parents: &follower.parents,
            counts: follower.counts,
            request: &request,
        })
        .collect();
    let mut told = false;
    loop {
        let done = inner
            .control
            .finish(
                job,
                &ended.outcome,
                ended.run,
                ended.error.as_deref(),
                &followers,
            )
            .await;
        match done {
            Ok(_) => break,
            Err(reason) if stop.is_cancelled() => {
                tracing::error!(%reason, "the end of a run could not be noted");
                return;
            }
            Err(reason) => {
                if !told {
                    tracing::error!(%reason, "the end of a run can't be noted; trying on");
                }
                told = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
    inner.wake.notify_one();
    inner.ended.notify_one();
}

struct Follower {
    sync: String,
    source: String,
    parents: Vec<String>,
    counts: bool,
}

/// Syncs that are scheduled after this one, and whether this end counts for them.
fn following(project: &Project, ended: &str, outcome: &str) -> Vec<Follower> {
    let mut found = Vec::new();
    for sync in project.config.syncs.values() {
        for schedule in &sync.schedules {
            let Trigger::After { syncs, when } = &schedule.trigger else {
                continue;
            };
            if !syncs.iter().any(|parent| parent == ended) {
                continue;
            }
            let mut parents = syncs.clone();
            parents.sort();
            parents.dedup();
            found.push(Follower {
                sync: sync.name.clone(),
                source: source_of(project, &sync.name).unwrap_or_default(),
                parents,
                counts: counts(*when, outcome),
            });
        }
    }
    found
}

fn counts(when: AfterWhen, outcome: &str) -> bool {
    match when {
        AfterWhen::Succeeded => matches!(outcome, "succeeded" | "partial"),
        // What did not run has not ended.
        AfterWhen::Finished => !matches!(outcome, "skipped" | "paused"),
    }
}

fn report(failure: &Failure, what: &str) {
    for problem in &failure.problems {
        tracing::error!("{what}: {}", problem.render(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_rows_do_not_hold_followers_up_and_what_did_not_run_has_not_ended() {
        for (outcome, succeeded, finished) in [
            ("succeeded", true, true),
            ("partial", true, true),
            ("failed", false, true),
            ("held", false, true),
            ("cancelled", false, true),
            ("skipped", false, false),
            ("paused", false, false),
        ] {
            assert_eq!(
                counts(AfterWhen::Succeeded, outcome),
                succeeded,
                "{outcome}"
            );
            assert_eq!(counts(AfterWhen::Finished, outcome), finished, "{outcome}");
        }
    }
}
