//! `segment`: calls to Segment's tracking API.
//!
//! Segment answers 200 to most calls that it drops, so everything it would drop is refused here, and
//! the write key is looked up before a run's first call. `settings` reads the settings, `events`
//! holds what is shared with RudderStack.

mod descriptor;
mod settings;

use std::sync::Arc;

use rowcast_core::destination::Committed;
use rowcast_core::json::push_value;
use rowcast_core::record::{Batch, Record, RunContext};
use rowcast_core::value::Object;
use rowcast_core::{
    BoxFuture, Capabilities, Check, Code, Destination, DestinationConfig, Fault, Outcome, Reason,
    Value,
};

use self::settings::Settings;
use crate::events::call::{Call, Times, call, object_of, operations, put};
use crate::events::prepared::{Limits, Rendered};
use crate::events::tracker::{Calls, Tracker};
use crate::http::client::{Lookup, SystemLookup};
use crate::settings::Problems;

pub use self::descriptor::descriptor;

/// What the tracking API takes. 500 KB is read as decimal and 32 KB as binary: Segment's own
/// libraries stay below the first and send calls up to the second.
const LIMITS: Limits = Limits {
    call_bytes: 32 * 1024,
    body_bytes: 500_000,
};

/// Calls that Segment takes at once: a request with more is answered with 200, and dropped.
const CALLS_MAX: usize = 2_500;

/// Calls in a request without `batch:`.
const BATCH_CALLS: usize = 500;

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let built = Segment::new(config, Arc::new(SystemLookup), problems)?;
    Some(Arc::new(built))
}

/// Calls in a request.
fn calls_max(config: &DestinationConfig) -> usize {
    let wanted = config.batch_records.unwrap_or(BATCH_CALLS);
    wanted.clamp(1, CALLS_MAX)
}

/// A source of a Segment workspace, opened for one sync.
struct Segment {
    settings: Settings,
    tracker: Tracker,
    capabilities: Capabilities,
}

impl Segment {
    fn new(
        config: &DestinationConfig,
        lookup: Arc<dyn Lookup>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (settings, parts) = Settings::parse(config, problems)?;
        let tracker = Tracker::new(parts, lookup, problems)?;
        let operations = operations(config.mode).to_vec();
        let capabilities = tracker.capabilities(config, operations);
        Some(Self {
            settings,
            tracker,
            capabilities,
        })
    }

    /// The destination's `integrations` beneath the call's own; Profiles go nowhere else.
    fn integrations(&self, call: &mut Call) {
        let own = call.get("integrations").and_then(object_of);
        let mut all = self.settings.integrations.clone();
        for (name, value) in own.unwrap_or_default() {
            put(&mut all, &name, value);
        }
        if self.settings.profiles {
            put(&mut all, "All", Value::Bool(false));
        }
        if !all.is_empty() {
            call.put("integrations", Value::Object(all));
        }
    }

    /// Looks the write key up where Segment's own libraries do. Nothing is written.
    async fn known_key(&self) -> Result<(), Fault> {
        let Some(url) = self.settings.key_url() else {
            return Ok(());
        };
        let answer = self.tracker.read(url).await?;
        match answer.status {
            400..=404 => Err(Fault::fatal(self.tracker.wrong_key(&answer))),
            200..=299 => Ok(()),
            _ => Err(Fault::refused(
                Reason::new(
                    Code::DestinationBusy,
                    "Segment can't look the write key up now",
                )
                .detail(self.tracker.service().said(&answer)),
            )),
        }
    }
}

impl Calls for Segment {
    /// One call a request goes to the address of its own type.
    fn wrapped(&self) -> bool {
        self.capabilities.batch_records_max > 1
    }

    fn path(&self, alone: Option<&'static str>) -> String {
        match alone {
            Some(kind) if !self.wrapped() => format!("/{kind}"),
            _ => "/batch".to_owned(),
        }
    }

    fn rendered(&self, record: &Record, _batch: &Batch) -> Result<Rendered, Reason> {
        let mut call = call(record, self.settings.object, Times::Own)?;
        if !self.settings.kinds().contains(&call.kind) {
            return Err(Reason::new(
                Code::DestinationRejected,
                format!("Segment Profiles take no {} calls", call.kind.as_str()),
            )
            .hint("send identify, group or track, or remove `profiles` from the destination"));
        }
        self.integrations(&mut call);
        consent(&mut call);
        let mut members: Object = vec![("type".into(), Value::from(call.kind.as_str()))];
        members.push((
            "messageId".into(),
            Value::from(record.idempotency_key.as_str()),
        ));
        members.append(&mut call.members);
        let mut text = String::new();
        push_value(&mut text, &Value::Object(members));
        Ok(Rendered {
            kind: call.kind.as_str(),
            text,
        })
    }
}

/// Consent is kept only in Segment's own form: categories to booleans.
fn consent(call: &mut Call) {
    let Some(consent) = call
        .get("context")
        .and_then(object_of)
        .and_then(|context| context.into_iter().find(|(name, _)| &**name == "consent"))
    else {
        return;
    };
    let valid = object_of(&consent.1)
        .as_ref()
        .and_then(|members| {
            members
                .iter()
                .find(|(name, _)| &**name == "categoryPreferences")
        })
        .and_then(|(_, preferences)| object_of(preferences))
        .is_some_and(|preferences| {
            preferences
                .iter()
                .all(|(_, given)| matches!(given, Value::Bool(_)))
        });
    if !valid {
        call.put_context("consent", Value::Object(Object::new()));
    }
}

impl Destination for Segment {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let (mut checks, reached) = self.tracker.reach().await;
            if !reached {
                return checks;
            }
            checks.push(match self.known_key().await {
                _ if self.settings.key_url().is_none() => Check::skipped(
                    "write key",
                    "not looked up: set cdn_endpoint beside endpoint",
                ),
                Ok(()) => Check::passed("write key", "Segment knows it"),
                Err(fault @ Fault::Fatal { .. }) => {
                    Check::failed("write key", fault.reason().clone())
                }
                Err(fault) => Check::warned("write key", fault.reason().clone()),
            });
            checks
        })
    }

    /// A wrong key would be answered with 200: it is looked up before the first call. Where the
    /// look-up itself fails, the run goes on.
    fn open<'a>(
        &'a self,
        _context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(async {
            match self.known_key().await {
                Err(fault @ Fault::Fatal { .. })
                    if fault.reason().code == Code::DestinationAuth =>
                {
                    Err(fault)
                }
                _ => Ok(Vec::new()),
            }
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(self.tracker.write(batch, self))
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        self.tracker.render(batch, self)
    }
}
