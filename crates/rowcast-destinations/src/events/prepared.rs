//! Calls in a body, within the limits that the service sets: its own words for a body that is too
//! large come too late, or never.

use rowcast_core::record::Batch;
use rowcast_core::{Code, Reason};

use super::tracker::Calls;

/// What a service takes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of one call.
    pub(crate) call_bytes: usize,
    /// Bytes of a body, before it is compressed.
    pub(crate) body_bytes: usize,
}

/// One call as bytes.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// Its type: `identify`, `record`.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

/// A batch as a body, and what is not in it.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// `{"batch":[…]}`, or the call itself when each has an address of its own.
    pub(crate) body: String,
    /// The type of the only call, for services with an address for each type.
    pub(crate) alone: Option<&'static str>,
    /// Positions in the batch of the records it holds.
    pub(crate) held: Vec<usize>,
    /// Records that can't be sent, with their positions.
    pub(crate) failed: Vec<(usize, Reason)>,
}

const OPEN: &str = "{\"batch\":[";
const CLOSE: &str = "]}";

/// Prepares a batch. A call that can't be made or is too large is set aside, the others are sent.
pub(crate) fn prepare(batch: &Batch, limits: Limits, calls: &dyn Calls) -> Prepared {
    let wrapped = calls.wrapped();
    let mut prepared = Prepared {
        body: String::new(),
        alone: None,
        held: Vec::new(),
        failed: Vec::new(),
    };
    if wrapped {
        prepared.body.push_str(OPEN);
    }
    for (position, record) in batch.records.iter().enumerate() {
        match calls.rendered(record, batch) {
            Ok(call) if call.text.len() > limits.call_bytes => {
                prepared.failed.push((position, too_large(&call, limits)));
            }
            Ok(call) => {
                if !prepared.held.is_empty() {
                    prepared.body.push(',');
                }
                prepared.body.push_str(&call.text);
                prepared.alone = Some(call.kind);
                prepared.held.push(position);
            }
            Err(reason) => prepared.failed.push((position, reason)),
        }
    }
    if wrapped {
        prepared.body.push_str(CLOSE);
    }
    prepared
}

fn too_large(call: &Rendered, limits: Limits) -> Reason {
    Reason::new(
        Code::RecordTooLarge,
        format!("the {} call is larger than the service takes", call.kind),
    )
    .detail(format!(
        "{} bytes, {} are allowed",
        call.text.len(),
        limits.call_bytes
    ))
    .hint("map fewer or shorter fields")
}
