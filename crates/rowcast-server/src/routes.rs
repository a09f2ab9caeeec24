//! Every route, one line each: the router, the scopes and the OpenAPI document come from here.

use axum::routing::{MethodRouter, delete, get, post};
use rowcast_app::serve::Scope;

use crate::handlers::{history, jobs, objects, service, syncs, tokens};
use crate::{App, events, metrics, openapi};

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
    pub(crate) handler: fn() -> MethodRouter<App>,
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
    get "/healthz" None, 200, "Whether the process lives", NONE, NONE, service::health;
    get "/readyz" None, 200, "Whether it can do its work", NONE, NONE, service::ready;
    get "/metrics" READ, 200, "Figures for Prometheus", NONE, NONE, metrics::metrics;
    get "/api/v1/openapi.json" READ, 200, "This description", NONE, NONE, openapi::document;

    get "/api/v1/project" READ, 200, "What the project has, and problems of files that were changed", NONE, NONE, service::project;
    post "/api/v1/validate" READ, 200, "Reads the files again and gives every problem", NONE, NONE, service::validate;
    post "/api/v1/check" RUN, 200, "Checks connections and privileges", NONE, &[("names", "sources and destinations; all without it")], service::check;

    get "/api/v1/sources" READ, 200, "All sources", NONE, NONE, objects::sources;
    get "/api/v1/sources/{name}" READ, 200, "A source", NONE, NONE, objects::source;
    get "/api/v1/sources/{name}/tables" READ, 200, "Tables and columns that its role sees", &[("schema", "only this one")], NONE, objects::tables;
    get "/api/v1/models" READ, 200, "All models", NONE, NONE, objects::models;
    get "/api/v1/models/{name}" READ, 200, "A model", NONE, NONE, objects::model;
    get "/api/v1/models/{name}/preview" READ, 200, "Its first rows, types and key; sensitive columns are masked", &[("limit", "rows, 10 by default and 100 at most")], NONE, objects::preview;
    get "/api/v1/destinations" READ, 200, "All destinations", NONE, NONE, objects::destinations;
    get "/api/v1/destinations/{name}" READ, 200, "A destination", NONE, NONE, objects::destination;
    get "/api/v1/syncs" READ, 200, "All syncs", NONE, NONE, objects::syncs;
    get "/api/v1/syncs/{name}" READ, 200, "A sync", NONE, NONE, objects::sync;

    get "/api/v1/status" READ, 200, "How every sync stands, with its last and next runs", NONE, NONE, syncs::status;
    get "/api/v1/syncs/{name}/status" READ, 200, "How a sync stands", NONE, NONE, syncs::sync_status;
    post "/api/v1/syncs/{name}/plan" RUN, 200, "What a run would send, without sending", NONE, &[("limit", "only so many changes"), ("keys", "only these primary keys")], syncs::plan;
    post "/api/v1/syncs/{name}/run" RUN, 202, "Asks for a run; 409 when one is going on", NONE, ASK, syncs::run;
    post "/api/v1/syncs/{name}/cancel" RUN, 200, "Stops a run; what was delivered is kept", NONE, NONE, syncs::cancel;
    post "/api/v1/syncs/{name}/retry" RUN, 200, "Makes rejected rows due in the next run", NONE, KEYS, syncs::retry;
    post "/api/v1/syncs/{name}/pause" RUN, 200, "Stops it from running until it is resumed", NONE, NONE, syncs::pause;
    post "/api/v1/syncs/{name}/resume" RUN, 200, "Lets it run again", NONE, NONE, syncs::resume;
    post "/api/v1/syncs/{name}/reset" WRITE, 200, "Forgets what was delivered; the next run sends every row", NONE, CONFIRMED, syncs::reset;
    post "/api/v1/syncs/{name}/baseline" WRITE, 200, "Accepts the present rows as sent, without sending", NONE, CONFIRMED, syncs::baseline;
    get "/api/v1/syncs/{name}/rejects" READ, 200, "Rows that the destination rejected", &[LIMIT], NONE, history::rejects;
    get "/api/v1/syncs/{name}/why" READ, 200, "The story of one row", &[("key", "its primary key, as on the command line")], NONE, history::why;
    get "/api/v1/syncs/{name}/runs" READ, 200, "Its runs, newest first", &[LIMIT, ("before", "`next` of the page before")], NONE, history::runs;
    get "/api/v1/syncs/{name}/runs/{run}" READ, 200, "A run", NONE, NONE, history::one_run;
    get "/api/v1/syncs/{name}/runs/{run}/log" READ, 200, "The row log of a run, by key", &[LIMIT, ("after", "`next` of the page before"), ("key", "only this key"), ("outcome", "only this outcome"), ("code", "only this code")], NONE, history::row_log;

    get "/api/v1/live" READ, 200, "Runs that this server carries out now", NONE, NONE, jobs::live;
    get "/api/v1/jobs/{job}" READ, 200, "A run that was asked for", NONE, NONE, jobs::job;
    get "/api/v1/jobs/{job}/events" READ, 200, "Follows its run: server-sent events `progress`, at last `ended`", NONE, NONE, events::events;

    get "/api/v1/tokens" ADMIN, 200, "All tokens, never themselves", NONE, NONE, tokens::tokens;
    post "/api/v1/tokens" ADMIN, 201, "Makes a token, which is shown this once", NONE, &[("name", "who or what it is for"), ("scope", "read, run, write or admin"), ("expires_in", "such as 90d; for ever without it")], tokens::make_token;
    delete "/api/v1/tokens/{id}" ADMIN, 204, "Takes a token back", NONE, NONE, tokens::revoke_token;
}
