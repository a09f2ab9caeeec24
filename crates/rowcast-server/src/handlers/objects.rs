//! Sources, models, destinations and syncs as the project's files describe them.

use axum::extract::State;
use rowcast_app::objects::{self, ObjectKind, ObjectView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::with_version;
use super::within;
use crate::App;
use crate::answer::{Answered, ok};
use crate::input::{Asked, Of};

/// Rows of a preview that says no number, and the most.
const ROWS: u32 = 10;
const ROWS_MAX: u32 = 100;

/// An object with the version of its file, for `If-Match`.
fn versioned<T: Serialize>(app: &App, kind: ObjectKind, found: &ObjectView<T>) -> Answered {
    let file = app.service.file(kind, &found.name);
    let answer = ok(found)?;
    Ok(match file {
        Ok(file) => with_version(answer, &file.version),
        // Deleted or not readable since the project was read: there is no version to change.
        Err(_) => answer,
    })
}

pub(crate) async fn sources(State(app): State<App>) -> Answered {
    ok(&objects::sources(&app.service.project()))
}

pub(crate) async fn source(State(app): State<App>, Of(name): Of<String>) -> Answered {
    let found = objects::source(&app.service.project(), &name)?;
    versioned(&app, ObjectKind::Source, &found)
}

pub(crate) async fn models(State(app): State<App>) -> Answered {
    ok(&objects::models(&app.service.project()))
}

pub(crate) async fn model(State(app): State<App>, Of(name): Of<String>) -> Answered {
    let found = objects::model(&app.service.project(), &name)?;
    versioned(&app, ObjectKind::Model, &found)
}

pub(crate) async fn destinations(State(app): State<App>) -> Answered {
    ok(&objects::destinations(&app.service.project()))
}

pub(crate) async fn destination(State(app): State<App>, Of(name): Of<String>) -> Answered {
    let found = objects::destination(&app.service.project(), &name)?;
    versioned(&app, ObjectKind::Destination, &found)
}

pub(crate) async fn syncs(State(app): State<App>) -> Answered {
    ok(&objects::syncs(&app.service.project()))
}

pub(crate) async fn sync(State(app): State<App>, Of(name): Of<String>) -> Answered {
    let found = objects::sync(&app.service.project(), &name)?;
    versioned(&app, ObjectKind::Sync, &found)
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
