//! Runs that were asked for, and those that are going on.

use axum::extract::State;
use axum::http::StatusCode;
use rowcast_core::{Code, Reason};

use super::Waiting;
use crate::App;
use crate::answer::{Answered, Refusal, ok};
use crate::input::{Asked, Of};

pub(crate) async fn live(State(app): State<App>) -> Answered {
    ok(&app.service.live().runs())
}

pub(crate) async fn job(
    State(app): State<App>,
    Of(job): Of<i64>,
    Asked(of): Asked<Waiting>,
) -> Answered {
    match app.service.job_within(job, of.time()?).await? {
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
