//! The service itself: probes, the project as it is served, checks of it.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use rowcast_core::{Code, Reason};
use serde::Deserialize;
use serde_json::json;

use crate::App;
use crate::answer::{Answered, Refusal, ok};
use crate::input::body;

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
