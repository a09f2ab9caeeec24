//! Tokens of the API, and what was done with them.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use rowcast_app::history;
use rowcast_app::serve::TokenRequest;

use super::history::Before;
use super::{PAGE, within};
use crate::App;
use crate::answer::{Answered, Refusal, json as answer, ok};
use crate::input::{Asked, Given, Of};

pub(crate) async fn tokens(State(app): State<App>) -> Answered {
    ok(&app.service.tokens().await?)
}

pub(crate) async fn make_token(
    State(app): State<App>,
    Given(request): Given<TokenRequest>,
) -> Answered {
    let made = app.service.make_token(&request).await?;
    Ok(answer(StatusCode::CREATED, &made))
}

pub(crate) async fn revoke_token(State(app): State<App>, Of(id): Of<i64>) -> Answered {
    app.service.revoke_token(id).await?;
    Ok::<Response<Body>, Refusal>(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn audit(State(app): State<App>, Asked(of): Asked<Before>) -> Answered {
    let limit = within(of.limit, PAGE, history::PAGE_MAX)?;
    ok(&app.service.audit(of.before, limit).await?)
}
