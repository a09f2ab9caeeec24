//! What is done with a sync: plan, run, stop, pause, reset.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowcast_app::plan::PlanRequest;
use rowcast_app::serve::Ask;
use rowcast_app::state;
use serde::Deserialize;

use crate::App;
use crate::answer::{Answered, json as answer, ok};
use crate::input::body;

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
