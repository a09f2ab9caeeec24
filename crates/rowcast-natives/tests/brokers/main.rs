//! The brokers keep the contract of a destination, on their real servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod redis;
mod support;
