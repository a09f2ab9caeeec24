//! Connectors to databases and brokers that are reached over protocols of their own.
//!
//! Floor 1: knows `rowcast-core` and the network. Each kind is a module behind a Cargo feature of
//! the same name; its description is there without the feature. A destination here writes one batch
//! and says what became of each record; it never retries, sleeps, limits, counts, logs a payload or
//! touches state.

#![cfg_attr(
    not(all(
        feature = "amqp",
        feature = "kafka",
        feature = "mqtt",
        feature = "mysql",
        feature = "nats",
        feature = "redis"
    )),
    allow(dead_code, reason = "what the kinds share is whole in every build")
)]

pub mod amqp;
mod broker;
mod catalog;
mod connect;
pub mod kafka;
pub mod mqtt;
pub mod mysql;
pub mod nats;
pub mod redis;

pub use catalog::CATALOG;
