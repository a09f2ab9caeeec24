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

use std::time::Duration;

use axum::http::StatusCode;
use rowcast_core::settings::parse_duration;
use rowcast_core::{Code, Reason};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::answer::Refusal;

/// Entries of a page that says no number.
const PAGE: u32 = 100;

/// Longest wait: below what proxies cut off.
const WAIT_MAX: Duration = Duration::from_secs(60);

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

/// How long to wait for an end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Waiting {
    /// Waits so long for the run to end, such as `30s`; 60s at most.
    wait: Option<String>,
}

impl Waiting {
    fn time(&self) -> Result<Duration, Refusal> {
        let Some(text) = &self.wait else {
            return Ok(Duration::ZERO);
        };
        parse_duration(text)
            .filter(|wait| *wait <= WAIT_MAX)
            .ok_or_else(|| {
                let reason = Reason::new(Code::RequestInvalid, format!("can't wait {text:?}"))
                    .hint("write a time up to 60s, such as `wait=30s`");
                Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
            })
    }
}
