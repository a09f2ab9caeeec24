//! One function for each route, in a module for each subject: parse, call, render.

pub(crate) mod alerts;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod hooks;
pub(crate) mod jobs;
pub(crate) mod objects;
pub(crate) mod retl;
pub(crate) mod service;
pub(crate) mod syncs;
pub(crate) mod tokens;
pub(crate) mod tools;

use axum::http::StatusCode;
use rowcast_core::{Code, Reason};

use crate::answer::Refusal;

/// Entries of a page that says no number.
const PAGE: u32 = 100;

/// A limit within bounds.
fn within(limit: Option<u32>, usual: u32, max: u32) -> Result<u32, Refusal> {
    let limit = limit.unwrap_or(usual);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    let reason = Reason::new(
        Code::RequestInvalid,
        format!("a limit of {limit} is not to be had"),
    )
    .hint(format!("ask for 1 to {max}"));
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason))
}
