//! Sources, models, destinations and syncs as the project's files describe them.

use axum::extract::State;
use rowcast_app::objects;
use schemars::JsonSchema;
use serde::Deserialize;

use super::within;
use crate::App;
use crate::answer::{Answered, ok};
use crate::input::{Asked, Of};

/// Rows of a preview that says no number, and the most.
const ROWS: u32 = 10;
const ROWS_MAX: u32 = 100;

pub(crate) async fn sources(State(app): State<App>) -> Answered {
    ok(&objects::sources(&app.service.project()))
}

pub(crate) async fn source(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&objects::source(&app.service.project(), &name)?)
}

pub(crate) async fn models(State(app): State<App>) -> Answered {
    ok(&objects::models(&app.service.project()))
}

pub(crate) async fn model(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&objects::model(&app.service.project(), &name)?)
}

pub(crate) async fn destinations(State(app): State<App>) -> Answered {
    ok(&objects::destinations(&app.service.project()))
}

pub(crate) async fn destination(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&objects::destination(&app.service.project(), &name)?)
}

pub(crate) async fn syncs(State(app): State<App>) -> Answered {
    ok(&objects::syncs(&app.service.project()))
}

pub(crate) async fn sync(State(app): State<App>, Of(name): Of<String>) -> Answered {
    ok(&objects::sync(&app.service.project(), &name)?)
}

/// Which tables.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InSchema {
    /// Only this one; without it all but Rowcast's own.
    schema: Option<String>,
}

pub(crate) async fn tables(
    State(app): State<App>,
    Of(name): Of<String>,
    Asked(of): Asked<InSchema>,
) -> Answered {
    let project = app.service.project();
    ok(&rowcast_app::tables::tables(&project, Some(&name), of.schema.as_deref()).await?)
}

/// How many rows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rows {
    /// Rows, 10 by default and 100 at most.
    limit: Option<u32>,
}

pub(crate) async fn preview(
    State(app): State<App>,
    Of(name): Of<String>,
    Asked(rows): Asked<Rows>,
) -> Answered {
    let limit = within(rows.limit, ROWS, ROWS_MAX)?;
    ok(&rowcast_app::preview::preview(&app.service.project(), &name, limit).await?)
}
