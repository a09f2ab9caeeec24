//! `null`: takes everything and keeps nothing. For trying a sync, and for measuring one.

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::record::{Batch, Operation};
use rowcast_core::{
    BoxFuture, Capabilities, Check, Descriptor, Destination, DestinationConfig, Fault, Outcome,
};

use crate::settings::Problems;

/// Most records handed over at once without `batch:`.
const RECORDS_MAX: usize = 1_000;

/// What the connector says of itself.
pub fn descriptor() -> Descriptor {
    Descriptor {
        name: "null",
        title: "Null",
        summary: "Acknowledges every record and keeps none. Use it to try a model, a mapping and a \
                  schedule before there is a real destination, or to measure how fast a source can \
                  be read.",
        settings: Vec::new(),
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: false,
        object_help: "",
        objects: Vec::new(),
        logs_changes: true,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every connector is built alike")]
pub(crate) fn build(
    config: &DestinationConfig,
    _problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    Some(Arc::new(Null {
        capabilities: Capabilities {
            operations: Operation::ALL.to_vec(),
            batch_records_max: config.batch_records.unwrap_or(RECORDS_MAX),
            operation_limits: Vec::new(),
            batch_bytes_max: config.batch_bytes.unwrap_or(8_000_000),
            concurrency_max: config.concurrency.unwrap_or(1),
            rate: config.rate,
            timeout: config.timeout.unwrap_or(Duration::from_secs(30)),
            exactly_once: false,
            publishes: false,
        },
    }))
}

#[derive(Debug)]
struct Null {
    capabilities: Capabilities,
}

impl Destination for Null {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn takes_json(&self) -> bool {
        true
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async { vec![Check::passed("connect", "nothing to connect to")] })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async { Ok(vec![Outcome::Delivered; batch.records.len()]) })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        vec![format!(
            "{} of {} records: kept nowhere",
            batch.operation,
            batch.records.len()
        )]
    }
}
