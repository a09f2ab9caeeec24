//! What is done with a sync: plan, run, stop, pause, reset.

use axum::extract::State;
use axum::http::StatusCode;
use rowcast_app::plan::PlanRequest;
use rowcast_app::serve::Ask;
use rowcast_app::state;
use rowcast_core::Reason;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::App;
use crate::answer::{Answered, json as answer, ok};
use crate::input::{Given, Of};

pub(crate) async fn status(State(app): State<App>) -> Answered {
    ok(&app.service.status(&[]).await?)
}

pub(crate) async fn sync_status(State(app): State<App>, Of(name): Of<String>) -> Answered {
    let found = app.service.status(&[name]).await?;
    match found.first() {
        Some(status) => ok(status),
        None => Err(Reason::defect("a sync that there is has no status").into()),
    }
}

/// What to look at.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PlanOf {
    /// Only so many changes.
    limit: Option<u64>,
    /// Only these primary keys.
    keys: Vec<String>,
}

pub(crate) async fn plan(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(of): Given<PlanOf>,
) -> Answered {
    let request = PlanRequest {
        limit: of.limit,
        keys: of.keys,
    };
    let project = app.service.project();
    ok(&rowcast_app::plan::plan(&project, &name, &request).await?)
}

pub(crate) async fn run(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(ask): Given<Ask>,
) -> Answered {
    let asked = app.service.ask(&name, &ask).await?;
    Ok(answer(StatusCode::ACCEPTED, &asked))
}

pub(crate) async fn cancel(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&app.service.cancel(&name).await?)
}

/// Which rows.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    /// Primary keys as text, a JSON list for a key of several columns; all without it.
    keys: Vec<String>,
}

pub(crate) async fn retry(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(of): Given<Keys>,
) -> Answered {
    ok(&state::retry(&app.service.project(), &name, &of.keys).await?)
}

pub(crate) async fn pause(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&state::set_paused(&app.service.project(), &name, true).await?)
}

pub(crate) async fn resume(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&state::set_paused(&app.service.project(), &name, false).await?)
}

/// Whether it is meant.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Confirmed {
    /// False or absent to be told how many rows it concerns.
    confirmed: bool,
}

pub(crate) async fn reset(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(Confirmed { confirmed }): Given<Confirmed>,
) -> Answered {
    ok(&state::reset(&app.service.project(), &name, confirmed).await?)
}

pub(crate) async fn baseline(
    State(app): State<App>,
    Of(name): Of<String>,
    Given(Confirmed { confirmed }): Given<Confirmed>,
) -> Answered {
    ok(&state::baseline(&app.service.project(), &name, confirmed).await?)
}
