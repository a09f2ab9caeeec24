//! Runs and their row log, a page at a time.

use rowcast_core::{Code, Reason};
use rowcast_postgres::ledger::LogFilter;
pub use rowcast_postgres::ledger::{LogLine, RunRow};
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

fn page(limit: u32) -> Answer<i64> {
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
fn cut<T>(mut items: Vec<T>, limit: i64, cursor: impl Fn(&T) -> String) -> Page<T> {
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
