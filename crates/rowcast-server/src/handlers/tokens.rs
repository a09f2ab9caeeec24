//! Tokens of the API.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use rowcast_app::serve::TokenRequest;

use crate::App;
use crate::answer::{Answered, Refusal, json as answer, ok};
use crate::input::body;

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
