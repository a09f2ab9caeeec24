//! What happened: runs, their row logs, rejected rows, the story of one row.

use axum::extract::{Path, State};
use rowcast_app::history::{self, LogRequest};
use rowcast_app::{Project, state};
use rowcast_core::{Code, Reason};
use serde::Deserialize;

use super::{Asked, Limited, PAGE, within};
use crate::App;
use crate::answer::{Answered, Refusal, ok};
use crate::input::query;

pub(crate) async fn rejects(
    State(app): State<App>,
    Path(name): Path<String>,
    asked: Asked<Limited>,
) -> Answered {
    let limit = within(query(asked)?.limit, PAGE, history::PAGE_MAX)?;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfKey {
    key: String,
}

pub(crate) async fn why(
    State(app): State<App>,
    Path(name): Path<String>,
    asked: Asked<OfKey>,
) -> Answered {
    let OfKey { key } = query(asked)?;
    let key = one_key(&key)?;
    ok(&rowcast_app::why::why(&app.service.project(), &name, &key).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Before {
    limit: Option<u32>,
    before: Option<i64>,
}

pub(crate) async fn runs(
    State(app): State<App>,
    Path(name): Path<String>,
    asked: Asked<Before>,
) -> Answered {
    let asked = query(asked)?;
    let limit = within(asked.limit, PAGE, history::PAGE_MAX)?;
    ok(&history::runs(&app.service.project(), &name, asked.before, limit).await?)
}

pub(crate) async fn one_run(
    State(app): State<App>,
    Path((name, run)): Path<(String, i64)>,
) -> Answered {
    ok(&history::run(&app.service.project(), &name, run).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfLog {
    limit: Option<u32>,
    after: Option<String>,
    key: Option<String>,
    outcome: Option<String>,
    code: Option<String>,
}

pub(crate) async fn row_log(
    State(app): State<App>,
    Path((name, run)): Path<(String, i64)>,
    asked: Asked<OfLog>,
) -> Answered {
    let asked = query(asked)?;
    let request = LogRequest {
        key: asked.key,
        outcome: asked.outcome,
        code: asked.code,
        after: asked.after,
        limit: within(asked.limit, PAGE, history::PAGE_MAX)?,
    };
    let project: Project = app.service.project();
    ok(&history::row_log(&project, &name, run, &request).await?)
}
