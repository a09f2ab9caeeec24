//! What one can ask of Rowcast: one function for each use case, called alike by the command line,
//! the HTTP API and the scheduler.
//!
//! Every function takes a loaded [`Project`] and gives data that serializes; it must never print,
//! read a terminal or know how it was called. `wire` is the only module that names the concrete
//! parts behind the engine's traits, `environment` the only one that reads variables.

pub mod adopt;
pub mod alerts;
mod budget;
pub mod check;
pub mod connectors;
mod environment;
pub mod explain;
pub mod failure;
pub mod health;
pub mod history;
pub mod import;
pub mod init;
pub mod key;
pub mod map;
pub mod objects;
pub mod plan;
pub mod preview;
pub mod project;
pub mod reference;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod serve;
pub mod setup;
pub mod state;
pub mod suggest;
pub mod tables;
pub mod test;
pub mod validate;
pub mod view;
pub mod why;
mod wire;

pub use failure::Failure;
pub use project::Project;
pub use rowcast_config::Problem;
pub use rowcast_engine::{Observer, Progress, Retrying};

/// How long the end of a process waits for cancel requests: long for a network, short for a user.
const SETTLING: std::time::Duration = std::time::Duration::from_secs(2);

/// Waits, for two seconds at the most, until databases have heard what they were asked to cancel: to
/// be called before a process ends.
pub async fn settled() {
    rowcast_postgres::connect::cancels_delivered(SETTLING).await;
}

/// The answer of a use case.
pub type Answer<T> = Result<T, Failure>;

/// Microseconds since 1970 of an instant in RFC 3339; `None` when it is none.
pub fn instant_us(instant: &str) -> Option<i64> {
    let then: jiff::Timestamp = instant.parse().ok()?;
    Some(then.as_microsecond())
}

/// Seconds since an instant in RFC 3339; `None` when it is none.
pub fn seconds_since(instant: &str) -> Option<u64> {
    let ahead = seconds_from_now(instant)?;
    Some(ahead.min(0).unsigned_abs())
}

/// Seconds from 1970 to an instant in RFC 3339; `None` when it is none.
pub fn seconds_of(instant: &str) -> Option<i64> {
    let instant: jiff::Timestamp = instant.parse().ok()?;
    Some(instant.as_second())
}

/// Seconds until an instant in RFC 3339, negative when it has passed; `None` when it is none.
pub fn seconds_from_now(instant: &str) -> Option<i64> {
    let then: jiff::Timestamp = instant.parse().ok()?;
    Some(then.as_second() - map::now_us() / 1_000_000)
}
