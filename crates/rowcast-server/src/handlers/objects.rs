//! Sources, models, destinations and syncs as the project's files describe them.

use axum::extract::{Path, State};
use rowcast_app::objects::{ObjectKind, get, list};
use serde::Deserialize;

use super::{Asked, Limited, within};
use crate::App;
use crate::answer::{Answered, ok};
use crate::input::query;

/// Rows of a preview that says no number, and the most.
const ROWS: u32 = 10;
const ROWS_MAX: u32 = 100;

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

pub(crate) async fn preview(
    State(app): State<App>,
    Path(name): Path<String>,
    asked: Asked<Limited>,
) -> Answered {
    let limit = within(query(asked)?.limit, ROWS, ROWS_MAX)?;
    ok(&rowcast_app::preview::preview(&app.service.project(), &name, limit).await?)
}
