//! The router that the table of routes makes: each behind the check of its scope, with limits around.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use rowcast_core::{Code, Reason};

use crate::answer::Refusal;
use crate::input::bytes;
use crate::routes::ROUTES;
use crate::{App, access};

/// Most bytes of a request's body: keys to retry are the longest thing that is sent here.
pub(crate) const BODY_MAX: usize = 1024 * 1024;

pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let mut handler = (route.handler)();
        if route.method != "get" && !route.takes_body() {
            handler = handler.layer(from_fn(bodiless));
        }
        if let Some(scope) = route.scope {
            let app = app.clone();
            handler = handler.layer(from_fn(move |request: Request, next: Next| {
                let app = app.clone();
                async move { access::check(&app, scope, request, next).await }
            }));
        }
        router = router.route(route.path, handler);
    }
    let names = app.names.clone();
    router
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(move |request: Request, next: Next| {
            let checked = names.check(request.headers(), request.uri());
            async move {
                match checked {
                    Ok(()) => next.run(request).await,
                    Err(refusal) => refusal.into_response(),
                }
            }
        }))
        .with_state(app)
}

/// Refuses a body where none is described: what it asks for would be left undone without a word. One
/// that says nothing, `{}`, is what some clients send in place of none.
async fn bodiless(request: Request, next: Next) -> axum::response::Response {
    let (parts, body) = request.into_parts();
    let given = match bytes(Request::from_parts(parts.clone(), body), &()).await {
        Ok(given) => given,
        Err(refusal) => return refusal.into_response(),
    };
    let says: Vec<u8> = given
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    if !matches!(says.as_slice(), b"" | b"{}") {
        let reason = Reason::new(
            Code::RequestInvalid,
            format!("{} takes no body", parts.uri.path()),
        )
        .detail(format!("one of {} bytes was sent", given.len()))
        .hint("send none; `GET /api/v1/openapi.json` describes which requests have one");
        return Refusal::new(StatusCode::BAD_REQUEST, reason).into_response();
    }
    next.run(Request::from_parts(parts, Body::empty())).await
}

async fn nothing(request: Request) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        Reason::new(
            Code::RequestInvalid,
            format!("there is no {}", request.uri().path()),
        )
        .hint("`GET /api/v1/openapi.json` lists what there is"),
    )
}

async fn not_so(request: Request) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Reason::new(
            Code::RequestInvalid,
            format!(
                "{} can't be asked with {}",
                request.uri().path(),
                request.method()
            ),
        )
        .hint("`GET /api/v1/openapi.json` lists what there is"),
    )
}
