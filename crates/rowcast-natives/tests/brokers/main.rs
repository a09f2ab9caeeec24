//! The brokers keep the contract of a destination, on their real servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod amqp;
mod mqtt;
mod nats;
mod redis;
#[path = "../support/mod.rs"]
mod support;
mod tls;
