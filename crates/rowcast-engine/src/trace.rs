//! Spans of a run, for whoever collects them: the run, one for each step of the flow, and in the
//! delivery one for each request and each acknowledgement.
//!
//! They carry names and counts. Never a row's values, its key, or anything of the destination's
//! settings.

use rowcast_core::value::Name;
use rowcast_core::{Batch, Lease, RunReport};
use tracing::field::Empty;
use tracing::{Span, debug_span, info_span};

use crate::observe::Phase;

/// A run, from before it has its lease. Its number is known afterwards.
pub(crate) fn run(sync: &Name, trigger: &str) -> Span {
    info_span!(
        target: "rowcast::flow",
        "run",
        sync = %sync,
        trigger,
        run = Empty,
        status = Empty,
        read = Empty,
        delivered = Empty,
        rejected = Empty,
        invalid = Empty,
        pending = Empty,
        code = Empty,
        otel.status_code = Empty,
    )
}

/// The run has its lease.
pub(crate) fn of(span: Span, lease: &Lease) -> Span {
    span.record("run", lease.run);
    span
}

/// A step of the flow.
pub(crate) fn step(run: &Span, phase: Phase) -> Span {
    macro_rules! named {
        ($name:literal) => {
            info_span!(target: "rowcast::flow", parent: run, $name)
        };
    }
    match phase {
        Phase::Open => named!("open"),
        Phase::Diff => named!("diff"),
        Phase::Guard => named!("guard"),
        Phase::Deliver => named!("deliver"),
        Phase::Publish => named!("publish"),
        Phase::Finish => named!("finish"),
    }
}

/// A request to the destination, within the step that makes it.
pub(crate) fn request(batch: &Batch, attempts: u32) -> Span {
    debug_span!(
        target: "rowcast::flow",
        "request",
        operation = batch.operation.as_str(),
        records = batch.records.len(),
        attempt = attempts + 1,
    )
}

/// An acknowledgement: what is known of so many changes becomes durable in state.
pub(crate) fn acknowledge(changes: usize) -> Span {
    debug_span!(target: "rowcast::flow", "acknowledge", changes)
}

/// How the run ended.
pub(crate) fn ended(span: &Span, report: &RunReport) {
    span.record("status", report.status.as_str());
    span.record("read", report.counts.read);
    span.record("delivered", report.delivered);
    span.record("rejected", report.rejected);
    span.record("invalid", report.invalid);
    span.record("pending", report.pending);
    if let Some(reason) = &report.failure {
        span.record("code", reason.code.as_str());
        span.record("otel.status_code", "ERROR");
    }
}
