//! Every route, one line each: the router, the scopes and the OpenAPI document come from here.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodRouter, delete, get, post};
use rowcast_app::serve::Scope;
use rowcast_core::{Code, Reason};

use crate::answer::Refusal;
use crate::{App, access, events, handlers, metrics, openapi};

/// Most bytes of a request's body: keys to retry are the longest thing that is sent here.
const BODY_MAX: usize = 1024 * 1024;

/// A route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// In lower case.
    pub method: &'static str,
    /// With parameters in braces.
    pub path: &'static str,
    /// What a token must permit; `None` for probes, which need none.
    pub scope: Option<Scope>,
    pub summary: &'static str,
    /// Parameters of the query, with what they are.
    pub query: &'static [(&'static str, &'static str)],
    /// Members of the body, with what they are.
    pub body: &'static [(&'static str, &'static str)],
    /// The status of the answer when all is well.
    pub status: u16,
    handler: fn() -> MethodRouter<App>,
}

const NONE: &[(&str, &str)] = &[];

macro_rules! routes {
    ($($method:ident $path:literal $scope:expr, $status:literal, $summary:literal, $query:expr, $body:expr, $handler:path;)*) => {
        /// Every route.
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            scope: $scope,
            summary: $summary,
            query: $query,
            body: $body,
            status: $status,
            handler: || $method($handler),
        }),*];
    };
}

const READ: Option<Scope> = Some(Scope::Read);
const RUN: Option<Scope> = Some(Scope::Run);
const WRITE: Option<Scope> = Some(Scope::Write);
const ADMIN: Option<Scope> = Some(Scope::Admin);

const LIMIT: (&str, &str) = (
    "limit",
    "entries of a page, 100 by default and 1,000 at most",
);
const KEYS: &[(&str, &str)] = &[(
    "keys",
    "primary keys as text, a JSON list for a key of several columns; all without it",
)];
const CONFIRMED: &[(&str, &str)] = &[(
    "confirmed",
    "false or absent to be told how many rows it concerns",
)];
const ASK: &[(&str, &str)] = &[
    ("full", "send every row again"),
    ("keys", "only these primary keys"),
    ("limit", "send only so many changes and ignore removals"),
    ("override", "names of guards that may not hold the run"),
    ("wait", "wait for a run that is going on elsewhere"),
];

routes! {
    get "/healthz" None, 200, "Whether the process lives", NONE, NONE, handlers::health;
    get "/readyz" None, 200, "Whether it can do its work", NONE, NONE, handlers::ready;
    get "/metrics" READ, 200, "Figures for Prometheus", NONE, NONE, metrics::metrics;
    get "/api/v1/openapi.json" READ, 200, "This description", NONE, NONE, openapi::document;

    get "/api/v1/project" READ, 200, "What the project has, and problems of files that were changed", NONE, NONE, handlers::project;
    post "/api/v1/validate" READ, 200, "Reads the files again and gives every problem", NONE, NONE, handlers::validate;
    post "/api/v1/check" RUN, 200, "Checks connections and privileges", NONE, &[("names", "sources and destinations; all without it")], handlers::check;

    get "/api/v1/sources" READ, 200, "All sources", NONE, NONE, handlers::sources;
    get "/api/v1/sources/{name}" READ, 200, "A source", NONE, NONE, handlers::source;
    get "/api/v1/sources/{name}/tables" READ, 200, "Tables and columns that its role sees", &[("schema", "only this one")], NONE, handlers::tables;
    get "/api/v1/models" READ, 200, "All models", NONE, NONE, handlers::models;
    get "/api/v1/models/{name}" READ, 200, "A model", NONE, NONE, handlers::model;
    get "/api/v1/models/{name}/preview" READ, 200, "Its first rows, types and key; sensitive columns are masked", &[("limit", "rows, 10 by default and 100 at most")], NONE, handlers::preview;
    get "/api/v1/destinations" READ, 200, "All destinations", NONE, NONE, handlers::destinations;
    get "/api/v1/destinations/{name}" READ, 200, "A destination", NONE, NONE, handlers::destination;
    get "/api/v1/syncs" READ, 200, "All syncs", NONE, NONE, handlers::syncs;
    get "/api/v1/syncs/{name}" READ, 200, "A sync", NONE, NONE, handlers::sync;

    get "/api/v1/status" READ, 200, "How every sync stands, with its last and next runs", NONE, NONE, handlers::status;
    get "/api/v1/syncs/{name}/status" READ, 200, "How a sync stands", NONE, NONE, handlers::sync_status;
    post "/api/v1/syncs/{name}/plan" RUN, 200, "What a run would send, without sending", NONE, &[("limit", "only so many changes"), ("keys", "only these primary keys")], handlers::plan;
    post "/api/v1/syncs/{name}/run" RUN, 202, "Asks for a run; 409 when one is going on", NONE, ASK, handlers::run;
    post "/api/v1/syncs/{name}/cancel" RUN, 200, "Stops a run; what was delivered is kept", NONE, NONE, handlers::cancel;
    post "/api/v1/syncs/{name}/retry" RUN, 200, "Makes rejected rows due in the next run", NONE, KEYS, handlers::retry;
    post "/api/v1/syncs/{name}/pause" RUN, 200, "Stops it from running until it is resumed", NONE, NONE, handlers::pause;
    post "/api/v1/syncs/{name}/resume" RUN, 200, "Lets it run again", NONE, NONE, handlers::resume;
    post "/api/v1/syncs/{name}/reset" WRITE, 200, "Forgets what was delivered; the next run sends every row", NONE, CONFIRMED, handlers::reset;
    post "/api/v1/syncs/{name}/baseline" WRITE, 200, "Accepts the present rows as sent, without sending", NONE, CONFIRMED, handlers::baseline;
    get "/api/v1/syncs/{name}/rejects" READ, 200, "Rows that the destination rejected", &[LIMIT], NONE, handlers::rejects;
    get "/api/v1/syncs/{name}/why" READ, 200, "The story of one row", &[("key", "its primary key, as on the command line")], NONE, handlers::why;
    get "/api/v1/syncs/{name}/runs" READ, 200, "Its runs, newest first", &[LIMIT, ("before", "`next` of the page before")], NONE, handlers::runs;
    get "/api/v1/syncs/{name}/runs/{run}" READ, 200, "A run", NONE, NONE, handlers::one_run;
    get "/api/v1/syncs/{name}/runs/{run}/log" READ, 200, "The row log of a run, by key", &[LIMIT, ("after", "`next` of the page before"), ("key", "only this key"), ("outcome", "only this outcome"), ("code", "only this code")], NONE, handlers::row_log;

    get "/api/v1/live" READ, 200, "Runs that this server carries out now", NONE, NONE, handlers::live;
    get "/api/v1/jobs/{job}" READ, 200, "A run that was asked for", NONE, NONE, handlers::job;
    get "/api/v1/jobs/{job}/events" READ, 200, "Follows its run: server-sent events `progress`, at last `ended`", NONE, NONE, events::events;

    get "/api/v1/tokens" ADMIN, 200, "All tokens, never themselves", NONE, NONE, handlers::tokens;
    post "/api/v1/tokens" ADMIN, 201, "Makes a token, which is shown this once", NONE, &[("name", "who or what it is for"), ("scope", "read, run, write or admin"), ("expires_in", "such as 90d; for ever without it")], handlers::make_token;
    delete "/api/v1/tokens/{id}" ADMIN, 204, "Takes a token back", NONE, NONE, handlers::revoke_token;
}

pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let mut handler = (route.handler)();
        if let Some(scope) = route.scope {
            let app = app.clone();
            handler = handler.layer(from_fn(move |request: Request, next: Next| {
                let app = app.clone();
                async move { access::check(&app, scope, request, next).await }
            }));
        }
        router = router.route(route.path, handler);
    }
    router
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(app)
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
