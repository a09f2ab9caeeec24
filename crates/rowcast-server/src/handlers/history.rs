//! What happened: runs, their row logs, rejected rows, the story of one row.

use axum::extract::State;
use rowcast_app::history::{self, LogRequest, RunsRequest};
use rowcast_app::state;
use rowcast_core::{Code, Reason};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{PAGE, Waiting, within};
use crate::App;
use crate::answer::{Answered, Refusal, ok};
use crate::input::{Asked, Of};

/// How many rows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limited {
    /// Rows, 100 by default and 1,000 at most.
    limit: Option<u32>,
}

pub(crate) async fn rejects(
    State(app): State<App>,
    Of(name): Of<String>,
    Asked(of): Asked<Limited>,
) -> Answered {
    let limit = within(of.limit, PAGE, history::PAGE_MAX)?;
    ok(&state::rejects(&app.service.project(), &name, limit).await?)
}

/// Exactly one key.
fn one_key(text: &str) -> Result<Vec<String>, Refusal> {
    let keys = rowcast_app::key::parse_all(&[text.to_owned()])?;
    match <[Vec<String>; 1]>::try_from(keys) {
        Ok([key]) => Ok(key),
        Err(_) => Err(
            Reason::new(Code::RequestInvalid, "exactly one key is asked about")
                .hint("write `key=7`, or a JSON list for a key of several columns")
                .into(),
        ),
    }
}

/// Which row.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfKey {
    /// Its primary key, as on the command line.
    key: String,
}

pub(crate) async fn why(
    State(app): State<App>,
    Of(name): Of<String>,
    Asked(of): Asked<OfKey>,
) -> Answered {
    let key = one_key(&of.key)?;
    ok(&rowcast_app::why::why(&app.service.project(), &name, &key).await?)
}

/// Which part of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Before {
    /// Entries of a page, 100 by default and 1,000 at most.
    pub(super) limit: Option<u32>,
    /// `next` of the page before.
    pub(super) before: Option<i64>,
}

pub(crate) async fn runs(
    State(app): State<App>,
    Of(name): Of<String>,
    Asked(of): Asked<Before>,
) -> Answered {
    let limit = within(of.limit, PAGE, history::PAGE_MAX)?;
    ok(&history::runs(&app.service.project(), &name, of.before, limit).await?)
}

pub(crate) async fn one_run(
    State(app): State<App>,
    Of((name, run)): Of<(String, i64)>,
    Asked(of): Asked<Waiting>,
) -> Answered {
    ok(&app.service.run_within(&name, run, of.time()?).await?)
}

/// Which runs, over all syncs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfRuns {
    /// Entries of a page, 100 by default and 1,000 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    before: Option<String>,
    /// Only of this sync.
    sync: Option<String>,
    /// Only those that are `running`, or ended `succeeded`, `partial`, `failed`, `held` or `cancelled`.
    status: Option<String>,
    /// Only those begun then or later, in RFC 3339.
    since: Option<String>,
}

pub(crate) async fn all_runs(State(app): State<App>, Asked(of): Asked<OfRuns>) -> Answered {
    let request = RunsRequest {
        sync: of.sync,
        status: of.status,
        since: of.since,
        before: of.before,
        limit: within(of.limit, PAGE, history::PAGE_MAX)?,
    };
    ok(&history::all_runs(&app.service.project(), &request).await?)
}

pub(crate) async fn error_groups(
    State(app): State<App>,
    Of((name, run)): Of<(String, i64)>,
) -> Answered {
    ok(&history::error_groups(&app.service.project(), &name, run).await?)
}

/// Which lines of a row log.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfLog {
    /// Entries of a page, 100 by default and 1,000 at most.
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
    /// Only this key.
    key: Option<String>,
    /// Only this outcome.
    outcome: Option<String>,
    /// Only this code.
    code: Option<String>,
}

pub(crate) async fn row_log(
    State(app): State<App>,
    Of((name, run)): Of<(String, i64)>,
    Asked(of): Asked<OfLog>,
) -> Answered {
    let request = LogRequest {
        key: of.key,
        outcome: of.outcome,
        code: of.code,
        after: of.after,
        limit: within(of.limit, PAGE, history::PAGE_MAX)?,
    };
    let project = app.service.project();
    ok(&history::row_log(&project, &name, run, &request).await?)
}
