//! `mysql` keeps the contract of a destination on a MariaDB server, and its own promises.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod conformance;
mod creating;
mod promises;
#[path = "../support/mod.rs"]
mod support;
