//! Every route, one line each: the router, the check of scopes, the OpenAPI document and the reference
//! pages come from here.
//!
//! A line says: method, path, scope, query and body (`()` for none), status and type of the answer,
//! what it is, and the function that answers.

use axum::routing::{MethodRouter, delete, get, post, put};
use rowcast_app::adopt::Adoption;
use rowcast_app::alerts::{AlertsView, MuteRequest, Muted, Tried};
use rowcast_app::connectors::{Choice, ConnectorRow, ConnectorView, FixtureResult, TryView};
use rowcast_app::explain::Explained;
use rowcast_app::history::{ErrorGroup, LogLine, Page, RunRow};
use rowcast_app::objects::{
    DestinationDetails, ModelDetails, ObjectView, SourceDetails, SyncDetails,
};
use rowcast_app::serve::{
    Ask, Asked, AuditRow, FileRequest, FileView, HookAnswer, JobView, LiveRun, RetlSync, Scope,
    TokenMade, TokenRequest, TokenView,
};
use rowcast_app::state::{Cancelled, Done, Paused};
use rowcast_app::suggest::Suggestion;
use rowcast_app::tables::RelationView;
use rowcast_app::test::TestResult;
use rowcast_app::view::{CheckGroup, PlanView, PreviewView, RejectView, SyncStatus};
use rowcast_app::why::Story;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::forms::{Events, Html, Signed, Text};
use crate::handlers::Waiting;
use crate::handlers::history::{Before, Limited, OfKey, OfLog, OfRuns};
use crate::handlers::objects::{InSchema, Rows};
use crate::handlers::retl::{Filter, RetlPage, RetlStarted, Start};
use crate::handlers::service::{Alive, CheckOf, Ready, Served, Validated};
use crate::handlers::syncs::{Confirmed, Keys, PlanOf};
use crate::handlers::tools::{
    AdoptOf, ChoicesOf, MapOf, Mapped, SchemaOf, SetupOf, Sql, TestsOf, TryOf,
};
use crate::handlers::{
    alerts, files, history, hooks, jobs, objects, retl, service, syncs, tokens, tools,
};
use crate::{App, events, metrics, openapi, page};

/// Describes a type.
pub(crate) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// A route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// In lower case.
    pub method: &'static str,
    /// With parameters in braces.
    pub path: &'static str,
    /// What a token must permit; `None` for what needs none.
    pub scope: Option<Scope>,
    pub summary: &'static str,
    /// The status of the answer when all is well.
    pub status: u16,
    pub(crate) query: Describe,
    pub(crate) body: Describe,
    pub(crate) answer: Describe,
    pub(crate) handler: fn() -> MethodRouter<App>,
}

/// The type itself, for parameters and bodies.
fn whole<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// The type by its name, for answers.
fn named<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

macro_rules! routes {
    ($($method:ident $path:literal $scope:expr, $query:ty, $body:ty => $status:literal $answer:ty, $summary:literal, $handler:path;)*) => {
        /// Every route.
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            scope: $scope,
            summary: $summary,
            status: $status,
            query: whole::<$query>,
            body: whole::<$body>,
            answer: named::<$answer>,
            handler: || $method($handler),
        }),*];
    };
}

const READ: Option<Scope> = Some(Scope::Read);
const RUN: Option<Scope> = Some(Scope::Run);
const WRITE: Option<Scope> = Some(Scope::Write);
const ADMIN: Option<Scope> = Some(Scope::Admin);

routes! {
    get "/healthz" None, (), () => 200 Alive, "Whether the process lives", service::health;
    get "/readyz" None, (), () => 200 Ready, "Whether it can do its work", service::ready;
    get "/metrics" READ, (), () => 200 Text, "Figures for Prometheus", metrics::metrics;
    get "/docs/api" None, (), () => 200 Html, "The reference of the API as a page", page::reference;
    get "/api/v1/openapi.json" READ, (), () => 200 Map<String, Value>, "This description", openapi::document;

    get "/api/v1/project" READ, (), () => 200 Served, "What the project has, and problems of files that were changed", service::project;
    post "/api/v1/validate" READ, (), () => 200 Validated, "Reads the files again and gives every problem", service::validate;
    post "/api/v1/check" RUN, (), CheckOf => 200 Vec<CheckGroup>, "Checks connections and privileges", service::check;

    get "/api/v1/sources" READ, (), () => 200 Vec<ObjectView<SourceDetails>>, "All sources", objects::sources;
    get "/api/v1/sources/{name}" READ, (), () => 200 ObjectView<SourceDetails>, "A source", objects::source;
    post "/api/v1/sources" WRITE, (), FileRequest => 201 FileView, "Makes a source: its file, when the project is valid with it", files::create::<SourceDetails>;
    get "/api/v1/sources/{name}/file" READ, (), () => 200 FileView, "Its file with the version", files::file::<SourceDetails>;
    put "/api/v1/sources/{name}" WRITE, (), FileRequest => 200 FileView, "Replaces its file, when the project is valid with it", files::replace::<SourceDetails>;
    delete "/api/v1/sources/{name}" WRITE, (), () => 204 (), "Deletes its file; 409 while others refer to it", files::delete::<SourceDetails>;
    get "/api/v1/sources/{name}/tables" READ, InSchema, () => 200 Vec<RelationView>, "Tables and columns that its role sees", objects::tables;
    get "/api/v1/models" READ, (), () => 200 Vec<ObjectView<ModelDetails>>, "All models", objects::models;
    get "/api/v1/models/{name}" READ, (), () => 200 ObjectView<ModelDetails>, "A model", objects::model;
    post "/api/v1/models" WRITE, (), FileRequest => 201 FileView, "Makes a model: its file, when the project is valid with it", files::create::<ModelDetails>;
    get "/api/v1/models/{name}/file" READ, (), () => 200 FileView, "Its file with the version", files::file::<ModelDetails>;
    put "/api/v1/models/{name}" WRITE, (), FileRequest => 200 FileView, "Replaces its file, when the project is valid with it", files::replace::<ModelDetails>;
    delete "/api/v1/models/{name}" WRITE, (), () => 204 (), "Deletes its file; 409 while others refer to it", files::delete::<ModelDetails>;
    get "/api/v1/models/{name}/preview" READ, Rows, () => 200 PreviewView, "Its first rows, types and key; sensitive columns are masked", objects::preview;
    get "/api/v1/destinations" READ, (), () => 200 Vec<ObjectView<DestinationDetails>>, "All destinations", objects::destinations;
    get "/api/v1/destinations/{name}" READ, (), () => 200 ObjectView<DestinationDetails>, "A destination", objects::destination;
    post "/api/v1/destinations" WRITE, (), FileRequest => 201 FileView, "Makes a destination: its file, when the project is valid with it", files::create::<DestinationDetails>;
    get "/api/v1/destinations/{name}/file" READ, (), () => 200 FileView, "Its file with the version", files::file::<DestinationDetails>;
    put "/api/v1/destinations/{name}" WRITE, (), FileRequest => 200 FileView, "Replaces its file, when the project is valid with it", files::replace::<DestinationDetails>;
    delete "/api/v1/destinations/{name}" WRITE, (), () => 204 (), "Deletes its file; 409 while others refer to it", files::delete::<DestinationDetails>;
    get "/api/v1/syncs" READ, (), () => 200 Vec<ObjectView<SyncDetails>>, "All syncs", objects::syncs;
    get "/api/v1/syncs/{name}" READ, (), () => 200 ObjectView<SyncDetails>, "A sync", objects::sync;
    post "/api/v1/syncs" WRITE, (), FileRequest => 201 FileView, "Makes a sync: its file, when the project is valid with it", files::create::<SyncDetails>;
    get "/api/v1/syncs/{name}/file" READ, (), () => 200 FileView, "Its file with the version", files::file::<SyncDetails>;
    put "/api/v1/syncs/{name}" WRITE, (), FileRequest => 200 FileView, "Replaces its file, when the project is valid with it", files::replace::<SyncDetails>;
    delete "/api/v1/syncs/{name}" WRITE, (), () => 204 (), "Deletes its file; 409 while others refer to it", files::delete::<SyncDetails>;

    post "/api/v1/sources/{name}/setup-sql" READ, (), SetupOf => 200 Sql, "The grants that its role needs", tools::setup_sql;
    post "/api/v1/destinations/{name}/try" RUN, (), TryOf => 200 TryView, "Sends one record, without any state", tools::try_record;
    post "/api/v1/destinations/{name}/choices" RUN, (), ChoicesOf => 200 Vec<Choice>, "Which values a field can take, of Segment's catalogue", tools::choices;
    post "/api/v1/map" READ, (), MapOf => 200 Mapped, "Maps rows to records; sends nothing", tools::map;
    post "/api/v1/test" READ, (), TestsOf => 200 Vec<TestResult>, "Runs the project's tests", tools::test;
    get "/api/v1/connectors" READ, (), () => 200 Vec<ConnectorRow>, "All connectors, the project's own included", tools::connectors;
    get "/api/v1/connectors/{name}" READ, (), () => 200 ConnectorView, "A connector with its reference page", tools::connector;
    post "/api/v1/connectors/{name}/test" READ, (), () => 200 Vec<FixtureResult>, "Runs its fixtures; nothing leaves the server", tools::test_connector;
    get "/api/v1/schemas" READ, SchemaOf, () => 200 Map<String, Value>, "JSON Schema of the project's files, by kind", tools::schemas;
    get "/api/v1/codes" READ, (), () => 200 Vec<Explained>, "All error codes", tools::codes;
    get "/api/v1/codes/{code}" READ, (), () => 200 Explained, "An error code with its page", tools::code;

    get "/api/v1/status" READ, (), () => 200 Vec<SyncStatus>, "How every sync stands, with its last and next runs", syncs::status;
    get "/api/v1/syncs/{name}/status" READ, (), () => 200 SyncStatus, "How a sync stands", syncs::sync_status;
    post "/api/v1/syncs/{name}/suggest" RUN, (), () => 200 Suggestion, "Proposes columns for the fields of its object", tools::suggest;
    post "/api/v1/syncs/{name}/plan" RUN, (), PlanOf => 200 PlanView, "What a run would send, without sending", syncs::plan;
    post "/api/v1/syncs/{name}/run" RUN, (), Ask => 202 Asked, "Asks for a run; 409 when one is going on", syncs::run;
    post "/api/v1/syncs/{name}/cancel" RUN, (), () => 200 Cancelled, "Stops a run; what was delivered is kept", syncs::cancel;
    post "/api/v1/syncs/{name}/retry" RUN, (), Keys => 200 Done, "Makes rejected rows due in the next run", syncs::retry;
    post "/api/v1/syncs/{name}/pause" RUN, (), () => 200 Paused, "Stops it from running until it is resumed", syncs::pause;
    post "/api/v1/syncs/{name}/resume" RUN, (), () => 200 Paused, "Lets it run again", syncs::resume;
    post "/api/v1/syncs/{name}/reset" WRITE, (), Confirmed => 200 Done, "Forgets what was delivered; the next run sends every row", syncs::reset;
    post "/api/v1/syncs/{name}/baseline" WRITE, (), Confirmed => 200 Done, "Accepts the present rows as sent, without sending", syncs::baseline;
    post "/api/v1/syncs/{name}/adopt" WRITE, (), AdoptOf => 200 Adoption, "Takes over what Segment or RudderStack had delivered", tools::adopt;
    get "/api/v1/syncs/{name}/rejects" READ, Limited, () => 200 Vec<RejectView>, "Rows that the destination rejected", history::rejects;
    get "/api/v1/syncs/{name}/why" READ, OfKey, () => 200 Story, "The story of one row", history::why;
    get "/api/v1/syncs/{name}/runs" READ, Before, () => 200 Page<RunRow>, "Its runs, newest first", history::runs;
    get "/api/v1/syncs/{name}/runs/{run}" READ, Waiting, () => 200 RunRow, "A run", history::one_run;
    get "/api/v1/syncs/{name}/runs/{run}/log" READ, OfLog, () => 200 Page<LogLine>, "The row log of a run, by key", history::row_log;
    get "/api/v1/syncs/{name}/runs/{run}/errors" READ, (), () => 200 Vec<ErrorGroup>, "What went wrong with rows of a run, in groups", history::error_groups;
    get "/api/v1/runs" READ, OfRuns, () => 200 Page<RunRow>, "The runs of all syncs, newest first", history::all_runs;

    get "/api/v1/live" READ, (), () => 200 Vec<LiveRun>, "Runs that this server carries out now", jobs::live;
    get "/api/v1/jobs/{job}" READ, Waiting, () => 200 JobView, "A run that was asked for", jobs::job;
    get "/api/v1/jobs/{job}/events" READ, (), () => 200 Events, "Follows its run: server-sent events `progress`, at last `ended`", events::events;

    get "/api/v1/alerts" READ, (), () => 200 AlertsView, "What is open, what is muted, and how the channels stand", alerts::alerts;
    post "/api/v1/alerts/test" RUN, (), () => 200 Vec<Tried>, "Sends a message to every channel", alerts::test_all;
    post "/api/v1/alerts/test/{channel}" RUN, (), () => 200 Vec<Tried>, "Sends a message to a channel", alerts::test;
    post "/api/v1/syncs/{name}/mute" RUN, (), MuteRequest => 200 Muted, "Tells nobody about a sync for a while", alerts::mute;
    post "/api/v1/syncs/{name}/unmute" RUN, (), () => 200 Muted, "Tells about it again", alerts::unmute;

    post "/hooks/{name}" None, (), Signed => 200 HookAnswer, "Starts runs; signed with the hook's secret in place of a token", hooks::hook;

    post "/v2/retl-connections/{id}/start" RUN, (), Start => 200 RetlStarted, "As RudderStack: starts the sync of this name; 409 when it is running", retl::start;
    post "/v2/retl-connections/{id}/stop" RUN, (), () => 204 (), "As RudderStack: stops its run", retl::stop;
    get "/v2/retl-connections/{id}/syncs" READ, Filter, () => 200 RetlPage, "As RudderStack: its runs, newest first", retl::syncs;
    get "/v2/retl-connections/{id}/syncs/{sync}" READ, (), () => 200 RetlSync, "As RudderStack: a run", retl::sync;

    get "/api/v1/tokens" ADMIN, (), () => 200 Vec<TokenView>, "All tokens, never themselves", tokens::tokens;
    post "/api/v1/tokens" ADMIN, (), TokenRequest => 201 TokenMade, "Makes a token, which is shown this once", tokens::make_token;
    delete "/api/v1/tokens/{id}" ADMIN, (), () => 204 (), "Takes a token back", tokens::revoke_token;
    get "/api/v1/audit" ADMIN, Before, () => 200 Page<AuditRow>, "Who asked for what may change something, the newest first", tokens::audit;
}
