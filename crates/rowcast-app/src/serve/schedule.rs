//! Keeps schedules: waits for the next time of any sync, and makes a job of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rowcast_core::Reason;
use rowcast_core::schedule::{Overlap, Schedule, latest};
use rowcast_postgres::control::Tick;
use tokio_util::sync::CancellationToken;

use super::{Ask, Inner, Loaded, written};
use crate::map::now_us;

/// How often changed files and lost connections are looked for while nothing is due.
const LOOK: Duration = Duration::from_secs(1);
/// A time noticed later than this was missed, not merely noticed late.
const LATE_US: i64 = 60_000_000;

pub(super) async fn keep(inner: &Inner, stop: &CancellationToken) {
    let mut dealt_with = BTreeMap::new();
    let mut failing = false;
    while !stop.is_cancelled() {
        let loaded = inner.loaded();
        let wait = match round(inner, &loaded, &mut dealt_with).await {
            Ok(wait) => {
                failing = false;
                wait
            }
            Err(reason) => {
                if !failing {
                    tracing::error!(%reason, "schedules can't be kept; trying on");
                }
                failing = true;
                LOOK
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait.min(LOOK)) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Deals with everything that is due, and says how long nothing will be.
async fn round(
    inner: &Inner,
    loaded: &Loaded,
    dealt_with: &mut BTreeMap<String, i64>,
) -> Result<Duration, Reason> {
    let now = now_us();
    let syncs = &loaded.project.config.syncs;
    let new: Vec<String> = syncs
        .values()
        .filter(|sync| !sync.schedules.is_empty() && !dealt_with.contains_key(&sync.name))
        .map(|sync| sync.name.clone())
        .collect();
    if !new.is_empty() {
        dealt_with.extend(inner.control.schedules(&new, now).await?);
    }
    let mut next = None;
    for sync in syncs.values() {
        let Some(since) = dealt_with.get_mut(&sync.name) else {
            continue;
        };
        if let Some((due, form)) = due(&sync.schedules, &sync.name, *since, now) {
            let missed = now - due > LATE_US;
            if loaded.project.paused(sync).is_some() || (missed && !form.catch_up) {
                inner.control.pass(&sync.name, due).await?;
            } else {
                tick(inner, loaded, &sync.name, due, form).await?;
            }
            *since = due;
        }
        let after = instant(*since);
        let times = sync
            .schedules
            .iter()
            .filter_map(|form| form.next(&sync.name, after));
        next = times.map(|fire| fire.at).chain(next).min();
    }
    let wait = next.map_or(LOOK, |next| {
        let left = next.as_microsecond() - now_us();
        Duration::from_micros(left.max(0).unsigned_abs())
    });
    Ok(wait)
}

async fn tick(
    inner: &Inner,
    loaded: &Loaded,
    sync: &str,
    due_us: i64,
    form: &Schedule,
) -> Result<(), Reason> {
    let queue = form.overlap == Overlap::Queue;
    let request = written(&Ask {
        wait: queue,
        ..Ask::default()
    });
    // The reference was checked when the project was read.
    let source = super::source_of(&loaded.project, sync).unwrap_or_default();
    let tick = Tick {
        sync,
        source: &source,
        due_us,
        request: &request,
        queue,
    };
    match inner.control.tick(&tick).await? {
        Some(job) => {
            tracing::info!(sync, job, "due");
            inner.wake.notify_one();
        }
        None => tracing::debug!(
            sync,
            "due, and dealt with: by another server, or it is running"
        ),
    }
    Ok(())
}

/// The latest time that has come since, over all forms, and the form it is of: however many were
/// missed, they are one.
fn due<'a>(
    schedules: &'a [Schedule],
    sync: &str,
    since: i64,
    now: i64,
) -> Option<(i64, &'a Schedule)> {
    let (since, now) = (instant(since), instant(now));
    schedules
        .iter()
        .filter_map(|form| {
            let at = latest(form, sync, since, now)?;
            Some((at.as_microsecond(), form))
        })
        .max_by_key(|(at, _)| *at)
}

fn instant(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
}
