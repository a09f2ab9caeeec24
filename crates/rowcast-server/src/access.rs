//! Who may call what: a bearer token whose scope is at least that of the route.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
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
    let caller = match known(app, peer(&request), token.as_deref()).await {
        Ok(caller) => permitted(caller, scope, &what),
        Err(response) => return *response,
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            let left = app.meter.count(caller.id, Instant::now());
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

/// Who asks. Connections always say where they come from.
fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::from([0, 0, 0, 0]), |info| info.0.ip())
}

/// Whose token it is.
async fn known(
    app: &App,
    peer: IpAddr,
    token: Option<&str>,
) -> Result<Caller, Box<Response<Body>>> {
    let refused = |refusal: Refusal| Box::new(refusal.into_response());
    let Some(token) = token else {
        return Err(refused(unknown("the request has no token")));
    };
    if let Err(wait) = app.logins.check(peer, token, Instant::now()) {
        let mut response = refused(Refusal::new(StatusCode::TOO_MANY_REQUESTS, wait.reason));
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, wait.seconds.into());
        return Err(response);
    }
    let found = app.service.caller(token).await;
    match found.map_err(|failure| refused(failure.into()))? {
        Some(caller) => {
            app.logins.good(token);
            Ok(caller)
        }
        None => {
            app.logins.wrong(peer, token, Instant::now());
            Err(refused(unknown(
                "the token is not known, revoked or at its end",
            )))
        }
    }
}

fn permitted(caller: Caller, scope: Scope, what: &str) -> Result<Caller, Refusal> {
    if caller.scope >= scope {
        return Ok(caller);
    }
    let reason = Reason::new(
        Code::ScopeTooSmall,
        format!(
            "the token's scope {} does not permit this",
            caller.scope.as_str()
        ),
    )
    .detail(format!("{what} needs {}", scope.as_str()))
    .hint("ask somebody with an admin token for another: `POST /api/v1/tokens`");
    Err(Refusal::new(StatusCode::FORBIDDEN, reason))
}

fn unknown(message: &str) -> Refusal {
    let reason = Reason::new(Code::TokenInvalid, message)
        .hint("send one with each request: `Authorization: Bearer TOKEN`");
    Refusal::new(StatusCode::UNAUTHORIZED, reason)
}
