//! The service itself: probes, the project as it is served, checks of it.

use axum::extract::State;
use axum::http::StatusCode;
use rowcast_app::Problem;
use rowcast_app::validate::Summary;
use rowcast_core::{Code, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::answer::{Answered, Refusal, ok};
use crate::input::Given;

/// That the process lives.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Alive {
    /// `alive`.
    status: &'static str,
}

pub(crate) async fn health() -> Answered {
    ok(&Alive { status: "alive" })
}

/// That it can do its work.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Ready {
    /// `ready`.
    status: &'static str,
    /// Problems of files that were changed; the project from before is served.
    problems: usize,
}

pub(crate) async fn ready(State(app): State<App>) -> Answered {
    match app.service.ready().await {
        Ok(()) => ok(&Ready {
            status: "ready",
            problems: app.service.problems().len(),
        }),
        Err(failure) => {
            // Probes need no token, so they are not told where the database is.
            tracing::warn!(problems = failure.problems.len(), "not ready");
            let reason = Reason::new(Code::ConnectFailed, "the control database does not answer")
                .hint("the server's log says why");
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason))
        }
    }
}

/// The project as it is served.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Served {
    project: Summary,
    /// What is wrong with files that were changed; the project from before is served.
    problems: Vec<Problem>,
}

pub(crate) async fn project(State(app): State<App>) -> Answered {
    ok(&Served {
        project: rowcast_app::validate::summary(&app.service.project()),
        problems: app.service.problems(),
    })
}

/// What the files say now.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Validated {
    valid: bool,
    problems: Vec<Problem>,
}

pub(crate) async fn validate(State(app): State<App>) -> Answered {
    let problems = app.service.validate();
    ok(&Validated {
        valid: problems.is_empty(),
        problems,
    })
}

/// What to check.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CheckOf {
    /// Sources and destinations; all without it.
    names: Vec<String>,
}

pub(crate) async fn check(State(app): State<App>, Given(of): Given<CheckOf>) -> Answered {
    ok(&rowcast_app::check::check(&app.service.project(), &of.names).await?)
}
