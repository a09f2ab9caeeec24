//! Runs and their row log, a page at a time.

use rowcast_core::{Code, Reason};
pub use rowcast_postgres::ledger::{ErrorGroup, LogLine, RunRow};
use rowcast_postgres::ledger::{LogFilter, RunFilter};
use schemars::JsonSchema;
use serde::Serialize;

use crate::state::admin_of;
use crate::{Answer, Project};

/// Most entries of a page.
pub const PAGE_MAX: u32 = 1_000;

/// A page, and what to ask for the next one with.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What to look for in a row log.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    pub key: Option<String>,
    pub outcome: Option<String>,
    pub code: Option<String>,
    /// `next` of the page before.
    pub after: Option<String>,
    pub limit: u32,
}

/// The runs of a sync, newest first.
///
/// # Errors
/// The sync is unknown, the limit or the cursor is wrong, or state can't be read.
pub async fn runs(
    project: &Project,
    sync: &str,
    before: Option<i64>,
    limit: u32,
) -> Answer<Page<RunRow>> {
    let admin = admin_of(project, sync)?;
    let limit = page(limit)?;
    let items = admin.runs_before(sync, before, limit + 1).await?;
    Ok(cut(items, limit, |run| run.run.to_string()))
}

/// Which runs, over all syncs.
#[derive(Debug, Clone, Default)]
pub struct RunsRequest {
    /// Only of this sync.
    pub sync: Option<String>,
    /// Only with this status.
    pub status: Option<String>,
    /// Only those begun then or later, in RFC 3339.
    pub since: Option<String>,
    /// `next` of the page before.
    pub before: Option<String>,
    pub limit: u32,
}

/// The runs of all syncs, newest first.
///
/// State may be in several places, each with numbers of its own: the cursor holds one for each.
///
/// # Errors
/// The sync is unknown, a value or the cursor is wrong, or state can't be read.
pub async fn all_runs(project: &Project, request: &RunsRequest) -> Answer<Page<RunRow>> {
    let limit = page(request.limit)?;
    let since_us = match &request.since {
        None => None,
        Some(text) => {
            let instant: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| {
                Reason::new(Code::Usage, format!("{text:?} is no instant"))
                    .detail(error.to_string())
                    .hint("write one as RFC 3339 does: `2026-03-29T06:00:00Z`")
            })?;
            Some(instant.as_microsecond())
        }
    };
    let names: Vec<String> = match &request.sync {
        Some(name) => vec![project.sync(name)?.name.clone()],
        None => project.config.syncs.keys().cloned().collect(),
    };
    let mut places = cursors(request.before.as_deref())?;
    let mut found: Vec<(String, RunRow)> = Vec::new();
    for (place, admin) in crate::state::admins(project, &names)? {
        let filter = RunFilter {
            syncs: &names,
            status: request.status.as_deref(),
            since_us,
            before: places.get(&place).copied(),
        };
        let runs = admin.runs_among(&filter, limit + 1).await?;
        found.extend(runs.into_iter().map(|run| (place.clone(), run)));
    }
    found.sort_by(|(_, a), (_, b)| b.started_at.cmp(&a.started_at).then(b.run.cmp(&a.run)));
    let more = found.len() as i64 > limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    for (place, run) in &found {
        let least = places.entry(place.clone()).or_insert(run.run);
        *least = (*least).min(run.run);
    }
    let next = places
        .iter()
        .map(|(place, run)| format!("{place}:{run}"))
        .collect::<Vec<_>>()
        .join(",");
    Ok(Page {
        items: found.into_iter().map(|(_, run)| run).collect(),
        next: more.then_some(next),
    })
}

/// How far each place has been read.
fn cursors(before: Option<&str>) -> Answer<std::collections::BTreeMap<String, i64>> {
    let wrong = || {
        Reason::new(Code::Usage, "the cursor can't be read")
            .hint("use `next` of the page before as it is")
    };
    let mut places = std::collections::BTreeMap::new();
    for part in before.into_iter().flat_map(|text| text.split(',')) {
        let (place, run) = part.rsplit_once(':').ok_or_else(wrong)?;
        places.insert(place.to_owned(), run.parse().map_err(|_| wrong())?);
    }
    Ok(places)
}

/// What went wrong with rows of a run, in groups.
///
/// # Errors
/// The sync is unknown or has no such run, or state can't be read.
pub async fn error_groups(
    project: &Project,
    sync: &str,
    run_number: i64,
) -> Answer<Vec<ErrorGroup>> {
    run(project, sync, run_number).await?;
    Ok(admin_of(project, sync)?
        .error_groups(sync, run_number)
        .await?)
}

/// One run of a sync.
///
/// # Errors
/// The sync is unknown or has no such run, or state can't be read.
pub async fn run(project: &Project, sync: &str, run: i64) -> Answer<RunRow> {
    let admin = admin_of(project, sync)?;
    let found = admin
        .runs_before(sync, Some(run.saturating_add(1)), 1)
        .await?;
    let found = found.into_iter().find(|found| found.run == run);
    found.ok_or_else(|| {
        Reason::new(
            Code::UnknownReference,
            format!("sync {sync:?} has no run {run}"),
        )
        .hint(format!(
            "`rowcast runs {sync}` lists those that are remembered"
        ))
        .into()
    })
}

/// The row log of a run, by key.
///
/// # Errors
/// The sync is unknown, the limit or the cursor is wrong, or state can't be read.
pub async fn row_log(
    project: &Project,
    sync: &str,
    run: i64,
    request: &LogRequest,
) -> Answer<Page<LogLine>> {
    let admin = admin_of(project, sync)?;
    let limit = page(request.limit)?;
    let after = match &request.after {
        None => None,
        Some(text) => Some(place(text).ok_or_else(|| {
            Reason::new(Code::Usage, "the cursor can't be read")
                .hint("use `next` of the page before as it is")
        })?),
    };
    let filter = LogFilter {
        key: request.key.clone(),
        outcome: request.outcome.clone(),
        code: request.code.clone(),
        after,
    };
    let items = admin.run_log(sync, run, &filter, limit + 1).await?;
    Ok(cut(items, limit, |line| {
        format!("{}:{}", line.at_us, line.key)
    }))
}

/// The place of a line: its time, and its key, which may hold anything.
fn place(cursor: &str) -> Option<(String, i64)> {
    let (at, key) = cursor.split_once(':')?;
    Some((key.to_owned(), at.parse().ok()?))
}

pub(crate) fn page(limit: u32) -> Answer<i64> {
    if (1..=PAGE_MAX).contains(&limit) {
        Ok(limit.into())
    } else {
        Err(
            Reason::new(Code::Usage, format!("a page of {limit} is not to be had"))
                .hint(format!("ask for 1 to {PAGE_MAX}"))
                .into(),
        )
    }
}

/// One more was asked for, to know whether there is another page.
pub(crate) fn cut<T>(mut items: Vec<T>, limit: i64, cursor: impl Fn(&T) -> String) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = if items.len() > limit {
        items.truncate(limit);
        items.last().map(cursor)
    } else {
        None
    };
    Page { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let full = cut(vec![1, 2, 3], 2, |n: &i32| n.to_string());
        assert_eq!((full.items.len(), full.next.as_deref()), (2, Some("2")));
        let last = cut(vec![1, 2], 2, |n: &i32| n.to_string());
        assert_eq!((last.items.len(), last.next), (2, None));
        assert_eq!(place("12:a:b"), Some(("a:b".to_owned(), 12)));
        assert_eq!(place("12"), None);
    }
}
