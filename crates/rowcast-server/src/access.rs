//! Who may call what: a bearer token whose scope is at least that of the route.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use rowcast_app::serve::{Caller, Scope};
use rowcast_core::{Code, Reason};

use crate::answer::Refusal;
use crate::{App, repeat};

/// Lets a request through, or says why not.
pub(crate) async fn check(
    app: &App,
    scope: Scope,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    // Taken out first: a request can't be shared while the token is looked for.
    let token = token(&request).map(str::to_owned);
    let what = format!("{} {}", request.method(), request.uri().path());
    match permitted(app, scope, token.as_deref(), &what).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            let left = app.meter.count(caller.id, std::time::Instant::now());
            let mut response = match app.meter.check(left) {
                Ok(()) => noted(app, &caller, request, next).await,
                Err(refusal) => refusal.into_response(),
            };
            app.meter.tell(left, response.headers_mut());
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Answers, and remembers who asked for what may change something.
async fn noted(app: &App, caller: &Caller, request: Request, next: Next) -> Response<Body> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = repeat::answer(app, caller, request, next).await;
    if method != "GET" {
        let (service, status) = (&app.service, response.status().as_u16());
        service.note(caller, method.as_str(), &path, status).await;
    }
    response
}

/// The bearer token of a request.
fn token(request: &Request) -> Option<&str> {
    let header = request.headers().get(header::AUTHORIZATION);
    header
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
}

async fn permitted(
    app: &App,
    scope: Scope,
    token: Option<&str>,
    what: &str,
) -> Result<Caller, Refusal> {
    let Some(token) = token else {
        return Err(unknown("the request has no token"));
    };
    match app.service.caller(token).await? {
        None => Err(unknown("the token is not known, revoked or at its end")),
        Some(caller) if caller.scope < scope => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            Reason::new(
                Code::ScopeTooSmall,
                format!(
                    "the token's scope {} does not permit this",
                    caller.scope.as_str()
                ),
            )
            .detail(format!("{what} needs {}", scope.as_str()))
            .hint("ask somebody with an admin token for another: `POST /api/v1/tokens`"),
        )),
        Some(caller) => Ok(caller),
    }
}

fn unknown(message: &str) -> Refusal {
    let reason = Reason::new(Code::TokenInvalid, message)
        .hint("send one with each request: `Authorization: Bearer TOKEN`");
    Refusal::new(StatusCode::UNAUTHORIZED, reason)
}
