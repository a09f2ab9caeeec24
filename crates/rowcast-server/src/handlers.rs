//! One function for each route: parse, call, render.

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use rowcast_app::history::LogRequest;
use rowcast_app::objects::{ObjectKind, get, list};
use rowcast_app::plan::PlanRequest;
use rowcast_app::serve::{Ask, TokenRequest};
use rowcast_app::{Project, history, state};
use rowcast_core::{Code, Reason};
use serde::Deserialize;
use serde_json::json;

use crate::App;
use crate::answer::{Answered, Refusal, json as answer, ok};
use crate::input::{body, query};

/// Entries of a page that says no number.
const PAGE: u32 = 100;
/// Rows of a preview that says no number, and the most.
const ROWS: u32 = 10;
const ROWS_MAX: u32 = 100;

type Asked<T> = Result<Query<T>, QueryRejection>;

pub(crate) async fn health() -> Answered {
    ok(&json!({ "status": "alive" }))
}

pub(crate) async fn ready(State(app): State<App>) -> Answered {
    match app.service.ready().await {
        Ok(()) => ok(&json!({ "status": "ready", "problems": app.service.problems().len() })),
        Err(failure) => {
            // Probes need no token, so they are not told where the database is.
            tracing::warn!(problems = failure.problems.len(), "not ready");
            let reason = Reason::new(Code::ConnectFailed, "the control database does not answer")
                .hint("the server's log says why");
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason))
        }
    }
}

pub(crate) async fn project(State(app): State<App>) -> Answered {
    let summary = rowcast_app::validate::summary(&app.service.project());
    ok(&json!({ "project": summary, "problems": app.service.problems() }))
}

pub(crate) async fn validate(State(app): State<App>) -> Answered {
    let problems = app.service.validate();
    ok(&json!({ "valid": problems.is_empty(), "problems": problems }))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Names {
    names: Vec<String>,
}

pub(crate) async fn check(State(app): State<App>, bytes: Bytes) -> Answered {
    let names: Names = body(&bytes)?;
    ok(&rowcast_app::check::check(&app.service.project(), &names.names).await?)
}

pub(crate) async fn sources(State(app): State<App>) -> Answered {
    ok(&list(&app.service.project(), ObjectKind::Source))
}

pub(crate) async fn source(State(app): State<App>, Path(name): Path<String>) -> Answered {
    ok(&get(&app.service.project(), ObjectKind::Source, &name)?)
}

pub(crate) async fn models(State(app): State<App>) -> Answered {
    ok(&list(&app.service.project(), ObjectKind::Model))
}

pub(crate) async fn model(State(app): State<App>, Path(name): Path<String>) -> Answered {
    ok(&get(&app.service.project(), ObjectKind::Model, &name)?)
}

pub(crate) async fn destinations(State(app): State<App>) -> Answered {
    ok(&list(&app.service.project(), ObjectKind::Destination))
}

pub(crate) async fn destination(State(app): State<App>, Path(name): Path<String>) -> Answered {
    ok(&get(
        &app.service.project(),
        ObjectKind::Destination,
        &name,
    )?)
}

pub(crate) async fn syncs(State(app): State<App>) -> Answered {
    ok(&list(&app.service.project(), ObjectKind::Sync))
}

pub(crate) async fn sync(State(app): State<App>, Path(name): Path<String>) -> Answered {
    ok(&get(&app.service.project(), ObjectKind::Sync, &name)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InSchema {
    schema: Option<String>,
}

pub(crate) async fn tables(
    State(app): State<App>,
    Path(name): Path<String>,
    asked: Asked<InSchema>,
) -> Answered {
    let asked = query(asked)?;
    let project = app.service.project();
    ok(&rowcast_app::tables::tables(&project, Some(&name), asked.schema.as_deref()).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limited {
    limit: Option<u32>,
}

/// A limit within bounds.
fn within(limit: Option<u32>, usual: u32, max: u32) -> Result<u32, Refusal> {
    let limit = limit.unwrap_or(usual);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    let reason = Reason::new(
        Code::RequestInvalid,
        format!("a limit of {limit} is not to be had"),
    )
    .hint(format!("ask for 1 to {max}"));
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason))
}

pub(crate) async fn preview(
    State(app): State<App>,
    Path(name): Path<String>,
    asked: Asked<Limited>,
) -> Answered {
    let limit = within(query(asked)?.limit, ROWS, ROWS_MAX)?;
    ok(&rowcast_app::preview::preview(&app.service.project(), &name, limit).await?)
}

pub(crate) async fn status(State(app): State<App>) -> Answered {
    ok(&state::status(&app.service.project(), &[]).await?)
}

pub(crate) async fn sync_status(State(app): State<App>, Path(name): Path<String>) -> Answered {
    let found = state::status(&app.service.project(), &[name]).await?;
    ok(&found.first())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PlanOf {
    limit: Option<u64>,
    keys: Vec<String>,
}

pub(crate) async fn plan(
    State(app): State<App>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answered {
    let PlanOf { limit, keys } = body(&bytes)?;
    let request = PlanRequest { limit, keys };
    let project = app.service.project();
    ok(&rowcast_app::plan::plan(&project, &name, &request).await?)
}

pub(crate) async fn run(
    State(app): State<App>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answered {
    let ask: Ask = body(&bytes)?;
    let asked = app.service.ask(&name, &ask).await?;
    Ok(answer(StatusCode::ACCEPTED, &asked))
}

pub(crate) async fn cancel(State(app): State<App>, Path(name): Path<String>) -> Answered {
    ok(&app.service.cancel(&name).await?)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    keys: Vec<String>,
}

pub(crate) async fn retry(
    State(app): State<App>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answered {
    let keys: Keys = body(&bytes)?;
    ok(&state::retry(&app.service.project(), &name, &keys.keys).await?)
}

pub(crate) async fn pause(State(app): State<App>, Path(name): Path<String>) -> Answered {
    ok(&state::set_paused(&app.service.project(), &name, true).await?)
}

pub(crate) async fn resume(State(app): State<App>, Path(name): Path<String>) -> Answered {
    ok(&state::set_paused(&app.service.project(), &name, false).await?)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Confirmed {
    confirmed: bool,
}

pub(crate) async fn reset(
    State(app): State<App>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answered {
    let Confirmed { confirmed } = body(&bytes)?;
    ok(&state::reset(&app.service.project(), &name, confirmed).await?)
}

pub(crate) async fn baseline(
    State(app): State<App>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answered {
    let Confirmed { confirmed } = body(&bytes)?;
    ok(&state::baseline(&app.service.project(), &name, confirmed).await?)
}

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

pub(crate) async fn live(State(app): State<App>) -> Answered {
    ok(&app.service.live().runs())
}

pub(crate) async fn job(State(app): State<App>, Path(job): Path<i64>) -> Answered {
    match app.service.job(job).await? {
        Some(found) => ok(&found),
        None => Err(no_job(job)),
    }
}

pub(crate) fn no_job(job: i64) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        Reason::new(Code::UnknownReference, format!("there is no job {job}"))
            .hint("jobs are forgotten a week after their end; runs are in the sync's history"),
    )
}

pub(crate) async fn tokens(State(app): State<App>) -> Answered {
    ok(&app.service.tokens().await?)
}

pub(crate) async fn make_token(State(app): State<App>, bytes: Bytes) -> Answered {
    let request: TokenRequest = body(&bytes)?;
    let made = app.service.make_token(&request).await?;
    Ok(answer(StatusCode::CREATED, &made))
}

pub(crate) async fn revoke_token(State(app): State<App>, Path(id): Path<i64>) -> Answered {
    app.service.revoke_token(id).await?;
    Ok::<Response<Body>, Refusal>(StatusCode::NO_CONTENT.into_response())
}
