//! Watches syncs and tells people: one loop looks at what ended and at the clock, another sends the
//! messages that follow.
//!
//! Neither may ever hold a run up. Both keep what they know in the control schema, so that several
//! servers tell once, and a restart neither repeats nor loses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rowcast_config::Sync;
use rowcast_core::alert::{Condition, Event, Message, Moment, Notice, Watch};
use rowcast_core::{Code, Reason};
use rowcast_postgres::control::{ClaimedMessage, Moved, NewMessage, WatchRow};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Inner, Loaded, Service};
use crate::alerts::{self, AlertsView, ChannelView, MuteRequest, Muted, Tried, channels, facts};
use crate::map::now_us;
use crate::state::admin_of;
use crate::view::instant;
use crate::{Answer, Failure, run};

/// How often the clock and other servers' ends of runs are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often an open condition is compared with runs of the command line, and lateness with pauses of
/// the command line: neither tells anybody.
const LOOK_AGAIN_US: i64 = 30_000_000;
/// How long one attempt may take, whatever a receiver does.
const ATTEMPT: Duration = Duration::from_secs(90);
/// A server that is silent for so long has died on the way; another tries again.
const LEASE: Duration = Duration::from_secs(120);
/// The wait after a first attempt; it doubles with each.
const WAIT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Messages are tried for a day.
const TRY_FOR_US: i64 = 86_400_000_000;
/// Messages and events are remembered for so long.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// How often older ones are forgotten, in rounds of looking.
const FORGET_EVERY: u32 = 1_800;
/// Messages on their way at once, each to another channel.
const AT_ONCE: usize = 16;
/// How long messages on their way are waited for when the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// When things of a sync were asked of its state, which is not done in every round.
#[derive(Debug, Clone, Copy, Default)]
struct Looked {
    runs_us: i64,
    /// When it was last found paused.
    paused_us: i64,
}

/// Watches until it is told to stop.
pub(super) async fn watch(inner: &Inner, stop: &CancellationToken) {
    let mut looked = BTreeMap::new();
    let mut rounds = 0_u32;
    let mut told = BTreeSet::new();
    while !stop.is_cancelled() {
        if rounds.is_multiple_of(FORGET_EVERY) {
            let _ = inner.alerts.forget_messages(REMEMBERED).await;
            let _ = inner.alerts.forget_events(REMEMBERED).await;
        }
        rounds = rounds.wrapping_add(1);
        let loaded = inner.loaded();
        let failures = round(inner, &loaded, &mut looked).await;
        // Each failure is told once until it is gone.
        let now: BTreeSet<String> = failures.iter().map(shown).collect();
        for new in now.difference(&told) {
            tracing::error!("alerts can't be looked at; trying on: {new}");
        }
        told = now;
        tokio::select! {
            () = inner.ended.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn shown(failure: &Failure) -> String {
    let all: Vec<String> = failure
        .problems
        .iter()
        .map(|problem| problem.reason.to_string())
        .collect();
    all.join("; ")
}

async fn round(
    inner: &Inner,
    loaded: &Loaded,
    looked: &mut BTreeMap<String, Looked>,
) -> Vec<Failure> {
    let (watched, others): (Vec<&Sync>, Vec<&Sync>) = loaded
        .project
        .config
        .syncs
        .values()
        .partition(|sync| !sync.alerts.to.is_empty());
    let names =
        |syncs: &[&Sync]| -> Vec<String> { syncs.iter().map(|sync| sync.name.clone()).collect() };
    let others = names(&others);
    if !others.is_empty()
        && let Err(reason) = inner.alerts.pass_over(&others).await
    {
        return vec![reason.into()];
    }
    if watched.is_empty() {
        return Vec::new();
    }
    let rows = match inner.alerts.watches(&names(&watched)).await {
        Ok(rows) => rows,
        Err(reason) => return vec![reason.into()],
    };
    let mut failures = Vec::new();
    for row in rows {
        let Some(sync) = watched.iter().find(|sync| sync.name == row.sync) else {
            continue;
        };
        let looked = looked.entry(row.sync.clone()).or_default();
        if let Err(failure) = look(inner, loaded, sync, &row, looked).await {
            failures.push(failure);
        }
    }
    failures
}

/// Looks at one sync, and makes messages of what changed.
async fn look(
    inner: &Inner,
    loaded: &Loaded,
    sync: &Sync,
    row: &WatchRow,
    looked: &mut Looked,
) -> Answer<()> {
    let rules = &sync.alerts.rules;
    let now = now_us();
    let before = alerts::watch_of(row);
    let jobs = if row.news {
        inner.alerts.ended_jobs(&row.sync).await?
    } else {
        Vec::new()
    };
    let news = jobs.iter().any(|job| job.run.is_some());
    let idle = before.as_ref().is_some_and(|watch| {
        now - looked.runs_us < LOOK_AGAIN_US || !worth_another_look(watch, sync, now)
    });
    let runs = if news || !idle {
        let read = read_runs(loaded, sync).await;
        looked.runs_us = now;
        match read {
            Ok(runs) => runs,
            // Ends of runs are looked at when state can be read again; the clock does not wait.
            Err(failure) if news => return Err(failure),
            Err(_) => Vec::new(),
        }
    } else {
        Vec::new()
    };
    let mut watch = before
        .clone()
        .unwrap_or_else(|| facts::begin(&runs, inner.opened_us));
    // What ended before anybody watched is past.
    let seen: Vec<i64> = jobs.iter().map(|job| job.id).collect();
    let mut jobs = jobs;
    if before.is_none() {
        jobs.retain(|job| job.finished_us >= inner.opened_us);
    }
    facts::observe(&mut watch, rules, sync, &runs, &jobs);
    if let Some(since_us) = row.running_since_us {
        let event = Event::Running {
            since_us,
            now_us: now,
        };
        watch.observe(rules, event);
    }
    let moment = Moment {
        sync: &sync.name,
        now_us: now,
        muted: alerts::muted(row, now).is_some(),
        paused: paused(loaded, sync, &watch, now, looked).await,
    };
    let notices = watch.notices(rules, moment);
    if before.as_ref() == Some(&watch) && seen.is_empty() && notices.is_empty() {
        return Ok(());
    }
    keep(inner, loaded, sync, row, &watch, &seen, &notices).await
}

/// Whether it is paused, as far as that matters: in its files, or by command when it would now be told
/// to be late. A state that can't be read has no say: the clock does not wait.
async fn paused(
    loaded: &Loaded,
    sync: &Sync,
    watch: &Watch,
    now: i64,
    looked: &mut Looked,
) -> bool {
    if loaded.project.paused(sync).is_some() {
        return true;
    }
    let told_next = watch.is_late(&sync.alerts.rules, now) && !watch.is_open(Condition::Late);
    if !told_next {
        return false;
    }
    if now - looked.paused_us >= LOOK_AGAIN_US {
        let asked = run::paused(&loaded.project, &sync.name).await;
        looked.paused_us = if matches!(asked, Ok(Some(_))) { now } else { 0 };
    }
    looked.paused_us != 0
}

/// Whether runs of the command line could change what is known.
fn worth_another_look(watch: &Watch, sync: &Sync, now: i64) -> bool {
    watch.is_late(&sync.alerts.rules, now) || watch.any_open()
}

async fn read_runs(loaded: &Loaded, sync: &Sync) -> Answer<Vec<rowcast_postgres::ledger::RunRow>> {
    let admin = admin_of(&loaded.project, &sync.name)?;
    let runs = admin
        .runs_before(&sync.name, None, facts::RUNS_READ.into())
        .await?;
    Ok(facts::deliveries(runs))
}

async fn keep(
    inner: &Inner,
    loaded: &Loaded,
    sync: &Sync,
    row: &WatchRow,
    watch: &Watch,
    jobs: &[i64],
    notices: &[Notice],
) -> Answer<()> {
    let project = &loaded.project.config.name;
    let at = instant(now_us());
    let mut made = Vec::new();
    for notice in notices {
        let since = instant(notice.since_us);
        let mut message = Message::of(notice, project, &sync.name, since, at.clone());
        message.owner.clone_from(&sync.about.owner);
        let body = serde_json::to_string(&message).map_err(|error| {
            Reason::defect("an alert can't be written").detail(error.to_string())
        })?;
        for channel in &sync.alerts.to {
            made.push((message.id.clone(), channel, message.subject(), body.clone()));
        }
    }
    let messages: Vec<NewMessage<'_>> = made
        .iter()
        .map(|(id, channel, subject, body)| NewMessage {
            id,
            channel,
            subject,
            body,
        })
        .collect();
    let state = serde_json::to_string(watch)
        .map_err(|error| Reason::defect("a watch can't be written").detail(error.to_string()))?;
    let moved = Moved {
        project,
        sync: &sync.name,
        version: row.version,
        state: &state,
        jobs,
        messages: &messages,
    };
    // Who is not the first has nothing to do: the other has told.
    if inner.alerts.move_watch(&moved).await? {
        for notice in notices {
            tracing::warn!(
                sync = sync.name,
                condition = notice.condition.as_str(),
                notice = notice.kind.as_str(),
                "{}",
                notice.cause.text
            );
        }
        if !messages.is_empty() {
            inner.post.notify_one();
        }
    }
    Ok(())
}

/// Sends messages until it is told to stop.
pub(super) async fn deliver(inner: &Arc<Inner>, stop: &CancellationToken) {
    let mut sending: JoinSet<String> = JoinSet::new();
    let mut busy: Vec<String> = Vec::new();
    let mut failing = false;
    while !stop.is_cancelled() {
        while sending.len() < AT_ONCE && !stop.is_cancelled() {
            let loaded = inner.loaded();
            let project = &loaded.project.config.name;
            match inner.alerts.claim_message(project, &busy, LEASE).await {
                Ok(None) => {
                    failing = false;
                    break;
                }
                Ok(Some(message)) => {
                    busy.push(message.channel.clone());
                    let inner = inner.clone();
                    sending.spawn(async move {
                        one(&inner, &loaded, &message).await;
                        message.channel
                    });
                }
                Err(reason) => {
                    if !failing {
                        tracing::error!(%reason, "messages can't be sent; trying on");
                    }
                    failing = true;
                    break;
                }
            }
        }
        tokio::select! {
            () = inner.post.notified() => {}
            ended = sending.join_next(), if !sending.is_empty() => match ended {
                Some(Ok(channel)) => busy.retain(|name| *name != channel),
                // A task that broke does not say which channel it was: none is in the way then.
                _ => busy.clear(),
            },
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
    // What is not through by then is sent again by the next start, under the same id.
    let _ = tokio::time::timeout(GRACE, async {
        while sending.join_next().await.is_some() {}
    })
    .await;
}

/// One attempt.
async fn one(inner: &Inner, loaded: &Loaded, claimed: &ClaimedMessage) {
    let outcome = match tokio::time::timeout(ATTEMPT, tell(loaded, claimed)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(
            Reason::new(Code::AlertUndelivered, "the alert was not delivered")
                .detail(format!("no end after {} seconds", ATTEMPT.as_secs())),
        ),
    };
    let (error, again) = match outcome {
        Ok(()) => (None, None),
        Err(reason) => {
            let again = again(claimed.attempt, now_us() - claimed.created_us);
            tracing::warn!(
                channel = claimed.channel,
                attempt = claimed.attempt,
                given_up = again.is_none(),
                %reason,
                "an alert was not delivered"
            );
            (Some(reason.to_string()), again)
        }
    };
    let settled = inner
        .alerts
        .settle_message(claimed, error.as_deref(), again)
        .await;
    if let Err(reason) = settled {
        tracing::error!(%reason, "what became of an alert can't be noted; it may be sent again");
    }
}

async fn tell(loaded: &Loaded, claimed: &ClaimedMessage) -> Result<(), Reason> {
    let undelivered = |detail: String| {
        Reason::new(Code::AlertUndelivered, "the alert was not delivered").detail(detail)
    };
    let message: Message = serde_json::from_str(&claimed.body)
        .map_err(|error| undelivered(format!("it can't be read: {error}")))?;
    let Some(channel) = loaded.project.config.channels.get(&claimed.channel) else {
        return Err(undelivered(format!(
            "the channel {} is not in rowcast.yml any more",
            claimed.channel
        )));
    };
    channels::build(&loaded.project, channel)
        .tell(&message)
        .await
}

/// How long to wait after so many attempts; `None` when it was tried long enough.
fn again(attempt: i32, age_us: i64) -> Option<Duration> {
    if age_us >= TRY_FOR_US {
        return None;
    }
    let doubled = u32::try_from(attempt.saturating_sub(1))
        .unwrap_or(0)
        .min(16);
    Some((WAIT * 2_u32.pow(doubled)).min(WAIT_MAX))
}

impl Service {
    /// How alerts stand.
    ///
    /// # Errors
    /// The control database fails.
    pub async fn alerts(&self) -> Answer<AlertsView> {
        alerts::list(&self.project(), &self.inner.asks).await
    }

    /// How the channels stand.
    ///
    /// # Errors
    /// The control database fails.
    pub async fn channels(&self) -> Answer<Vec<ChannelView>> {
        alerts::channel_views(&self.project(), &self.inner.asks).await
    }

    /// Tells nobody about a sync for a while.
    ///
    /// # Errors
    /// See [`alerts::mute`].
    pub async fn mute(&self, sync: &str, request: &MuteRequest) -> Answer<Muted> {
        alerts::mute(&self.project(), &self.inner.asks, sync, request).await
    }

    /// Tells about a sync again.
    ///
    /// # Errors
    /// See [`alerts::unmute`].
    pub async fn unmute(&self, sync: &str) -> Answer<Muted> {
        let done = alerts::unmute(&self.project(), &self.inner.asks, sync).await;
        self.inner.ended.notify_one();
        done
    }

    /// Tries a channel, or all.
    ///
    /// # Errors
    /// See [`alerts::test`].
    pub async fn test_channels(&self, channel: Option<&str>) -> Answer<Vec<Tried>> {
        alerts::test(&self.project(), channel).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_ever_later_and_end_after_a_day() {
        let seconds = |attempt| again(attempt, 0).map(|wait| wait.as_secs());
        assert_eq!(seconds(1), Some(10));
        assert_eq!(seconds(2), Some(20));
        assert_eq!(seconds(9), Some(2_560));
        assert_eq!(seconds(10), Some(3_600));
        assert_eq!(seconds(i32::MAX), Some(3_600));
        assert_eq!(again(1, TRY_FOR_US), None);
    }
}
