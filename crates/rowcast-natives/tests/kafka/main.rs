//! `kafka` keeps the contract of a destination, and Kafka's own promises, on a cluster of
//! librdkafka's.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod brokers;
mod conformance;
mod messages;
#[path = "../support/mod.rs"]
mod support;
