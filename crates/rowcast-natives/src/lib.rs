//! Connectors to databases and brokers that are reached over protocols of their own.
//!
//! Floor 1: knows `rowcast-core` and the network. Each kind is a module behind a Cargo feature of
//! the same name; its description is there without the feature. A destination here writes one batch
//! and says what became of each record; it never retries, sleeps, limits, counts, logs a payload or
//! touches state.

#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "only its settings are described in this build")
)]
mod broker;
pub mod catalog;
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "only its settings are described in this build")
)]
mod connect;
pub mod redis;

pub use catalog::{absent, build, build_for_check, descriptors, knows};
