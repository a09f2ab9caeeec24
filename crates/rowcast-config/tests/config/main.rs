//! What people see of the configuration: projects that load, and problems that point at a line.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up fails")]

mod mistakes;
mod project;
mod reading;
mod support;
