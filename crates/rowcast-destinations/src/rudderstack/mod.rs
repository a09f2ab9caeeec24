//! `rudderstack`: events to a RudderStack data plane, as RudderStack's own reverse ETL sends them.
//!
//! `settings` reads the settings, `event` makes an event of each kind, `events` holds what is shared
//! with Segment. Nothing here retries.

mod descriptor;
mod event;
mod settings;

use std::sync::Arc;

use rowcast_core::record::{Batch, Record};
use rowcast_core::{
    BoxFuture, Capabilities, Check, Code, Destination, DestinationConfig, Fault, Outcome, Reason,
};

use self::settings::Settings;
use crate::events::prepared::{Limits, Rendered};
use crate::events::tracker::{Calls, Tracker};
use crate::http::client::{Answer, Lookup, SystemLookup};
use crate::settings::Problems;

pub use self::descriptor::descriptor;

/// What a data plane takes: 4,000 KiB a body before compression, which its gateway enforces, and
/// 32 KiB an event, which its documentation says.
const LIMITS: Limits = Limits {
    call_bytes: 32 * 1024,
    body_bytes: 4_000 * 1024,
};

/// Events in a request without `batch:`.
const BATCH_EVENTS: usize = 1_000;

/// The one address that events are sent to.
const PATH: &str = "/v1/batch";

/// A batch without events: a data plane refuses it after it has looked at the key.
const NOTHING: &str = "{\"batch\":[]}";

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let built = RudderStack::new(config, Arc::new(SystemLookup), problems)?;
    Some(Arc::new(built))
}

/// Events in a request.
fn calls_max(config: &DestinationConfig) -> usize {
    config.batch_records.unwrap_or(BATCH_EVENTS).max(1)
}

/// A source of a data plane, opened for one sync.
struct RudderStack {
    settings: Settings,
    tracker: Tracker,
    capabilities: Capabilities,
}

impl RudderStack {
    fn new(
        config: &DestinationConfig,
        lookup: Arc<dyn Lookup>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (settings, parts) = Settings::parse(config, problems)?;
        let tracker = Tracker::new(parts, lookup, problems)?;
        let operations = settings.mapper.operations(config.mode).to_vec();
        let capabilities = tracker.capabilities(config, operations);
        Some(Self {
            settings,
            tracker,
            capabilities,
        })
    }

    /// Whether the key is taken, as the answer to a batch without events tells.
    fn judge_key(&self, answer: &Answer) -> Check {
        let service = self.tracker.service();
        match answer.status {
            400 => Check::passed("write key", "the data plane knows it"),
            _ => match self.tracker.judge(1, answer) {
                Err(fault @ Fault::Fatal { .. }) => {
                    Check::failed("write key", fault.reason().clone())
                }
                _ => Check::warned(
                    "write key",
                    Reason::new(
                        Code::DestinationAnswer,
                        format!("can't tell whether {} takes the write key", service.host),
                    )
                    .detail(service.said(answer))
                    .hint("is data_plane_url the data plane, without a path?"),
                ),
            },
        }
    }
}

impl Destination for RudderStack {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let (mut checks, reached) = self.tracker.reach().await;
            if !reached {
                return checks;
            }
            checks.push(match self.tracker.ask(PATH, NOTHING).await {
                Ok(answer) => self.judge_key(&answer),
                Err(fault) => Check::failed("write key", fault.reason().clone()),
            });
            checks
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(self.tracker.write(batch, self))
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        self.tracker.render(batch, self)
    }
}

impl Calls for RudderStack {
    fn wrapped(&self) -> bool {
        true
    }

    fn path(&self, _alone: Option<&'static str>) -> String {
        PATH.to_owned()
    }

    fn rendered(&self, record: &Record, batch: &Batch) -> Result<Rendered, Reason> {
        self.settings.event(record, batch)
    }
}
