//! The place of the HTTP API, above `rowcast-app` and beside the command line: routes that parse,
//! call a use case and render its answer. Nothing is built here yet.
//!
//! Must never know the PostgreSQL client or a connector.
