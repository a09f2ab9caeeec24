//! `Idempotency-Key`: a request that is repeated is carried out once.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use rowcast_app::serve::{Caller, Repeat};
use rowcast_core::{Code, Reason};

use crate::App;
use crate::answer::Refusal;
use crate::input::bytes;

/// The header.
pub(crate) const KEY: &str = "idempotency-key";

/// Longest key, and longest answer that is remembered.
const KEY_MAX: usize = 255;
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// What must never be stored in clear, and so can't be given a second time.
const NEVER: &str = "/api/v1/tokens";

/// Answers a request: by itself, or with what was answered before.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    request: Request,
    next: Next,
) -> Response<Body> {
    let key = request.headers().get(KEY).cloned();
    match key {
        Some(key) if request.method() == "POST" => {
            match once(app, caller, &key, request, next).await {
                Ok(response) => response,
                Err(refusal) => refusal.into_response(),
            }
        }
        _ => next.run(request).await,
    }
}

async fn once(
    app: &App,
    caller: &Caller,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response<Body>, Refusal> {
    let key = key
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.len() <= KEY_MAX)
        .ok_or_else(|| {
            invalid("the idempotency key can't be understood").hint(format!(
                "send 1 to {KEY_MAX} visible characters, such as a UUID"
            ))
        })?
        .to_owned();
    if request.uri().path() == NEVER {
        return Err(
            invalid("a token is shown once, so this request can't be repeated")
                .hint("leave `Idempotency-Key` away; a token that was not received can be revoked")
                .into(),
        );
    }
    let (parts, body) = request.into_parts();
    let body = bytes(Request::from_parts(parts.clone(), body), &()).await?;
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let form = parts.headers.get(header::CONTENT_TYPE);
    let form = form.map_or(&[][..], HeaderValue::as_bytes);
    let hashed = [
        parts.method.as_str().as_bytes(),
        path.as_bytes(),
        form,
        &body,
    ];
    match app.service.begin_repeat(caller, &key, &hashed).await? {
        Repeat::First => {}
        Repeat::Other => {
            return Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Reason::new(
                    Code::RequestRepeated,
                    "the idempotency key stands for another request",
                )
                .hint("make a new key for each thing that is to be done"),
            ));
        }
        Repeat::Busy => {
            let refusal = Refusal::new(
                StatusCode::CONFLICT,
                Reason::new(
                    Code::RequestRepeated,
                    "the request of this idempotency key is going on",
                )
                .hint("ask again in a moment; the answer is kept"),
            );
            let mut response = refusal.into_response();
            response.headers_mut().insert(header::RETRY_AFTER, 1.into());
            return Ok(response);
        }
        Repeat::Answered { status, body } => return Ok(again(status, body)),
    }
    // A task of its own: a client that hangs up must not cut off what it began.
    let (app, caller) = (app.clone(), caller.clone());
    let request = Request::from_parts(parts, Body::from(body));
    let carried_out = tokio::spawn(async move {
        let (parts, body) = next.run(request).await.into_parts();
        let body = axum::body::to_bytes(body, ANSWER_MAX).await;
        let status = parts.status;
        let kept = match &body {
            Ok(body) if !status.is_server_error() => std::str::from_utf8(body).ok(),
            _ => None,
        };
        let kept = kept.map(|text| (status.as_u16(), text));
        app.service.end_repeat(&caller, &key, kept).await;
        Response::from_parts(parts, Body::from(body.unwrap_or_default()))
    });
    carried_out
        .await
        .map_err(|error| Reason::defect(format!("a request ended early: {error}")).into())
}

fn invalid(message: &str) -> Reason {
    Reason::new(Code::RequestInvalid, message)
}

/// What was answered before.
fn again(status: u16, body: String) -> Response<Body> {
    let form = if status >= 400 {
        "application/problem+json"
    } else {
        "application/json"
    };
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}
