//! `custom`: connectors of the user's own, in any language, over the custom connector protocol.
//!
//! `protocol` has the words, `link` the two ways to a connector (`web`, `stdio`), `learned` what it says of
//! the object of a sync, `batch` the records and their outcomes, `conformance` the suite that
//! `rowcast connectors test` runs. What the connector says decides limits, operations and fields, so it is
//! asked before anything is planned. Nothing here retries.

mod batch;
pub mod conformance;
mod descriptor;
mod learned;
mod link;
mod protocol;
mod stdio;
mod web;

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::destination::ObjectSchema;
use rowcast_core::record::{Batch, Operation};
use rowcast_core::{
    BoxFuture, Capabilities, Check, Code, Destination, DestinationConfig, Fault, Outcome, Reason,
};
use tokio::sync::OnceCell;

use self::learned::{Learned, Wanted};
use self::link::Link;
use self::protocol::Request;
use self::stdio::Process;
use self::web::Web;
use crate::settings::Problems;

pub use self::descriptor::descriptor;

/// How long an answer may take without `timeout:`. Connectors pass batches on to services of their own.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Records a call before the connector has said how many it takes.
const RECORDS: usize = 100;

/// Bytes of a call without `batch.max_bytes`: what web frameworks take by default, or more.
const BATCH_BYTES: usize = 1_000_000;

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let custom = Custom::new(config, problems)?;
    Some(Arc::new(custom))
}

/// A custom connector, opened for one sync.
pub struct Custom {
    link: Link,
    wanted: Wanted,
    /// Before it has been asked for better.
    assumed: Capabilities,
    learned: OnceCell<Learned>,
}

impl Custom {
    fn new(config: &DestinationConfig, problems: &mut Problems) -> Option<Self> {
        let link = link(config, problems)?;
        if config.match_fields.len() > 1 {
            problems.add(
                "match_on",
                "a custom connector finds records by one field",
                "name one field of the object in match_on, such as match_on: { email: email }",
            );
            return None;
        }
        Some(Self {
            link,
            wanted: Wanted::new(config),
            assumed: Capabilities {
                operations: Operation::ALL.to_vec(),
                batch_records_max: config.batch_records.unwrap_or(RECORDS).max(1),
                operation_limits: Vec::new(),
                batch_bytes_max: config.batch_bytes.unwrap_or(BATCH_BYTES),
                concurrency_max: config.concurrency.unwrap_or(1).max(1),
                rate: config.rate,
                timeout: timeout(config),
                exactly_once: false,
                publishes: false,
            },
            learned: OnceCell::new(),
        })
    }

    async fn learned(&self) -> Result<&Learned, Fault> {
        self.learned
            .get_or_try_init(|| Learned::ask(&self.link, &self.wanted, &self.assumed))
            .await
    }

    async fn deliver(&self, batch: &Batch) -> Result<Vec<Outcome>, Fault> {
        if batch.records.is_empty() {
            return Ok(Vec::new());
        }
        let learned = self.learned().await?;
        let most = learned.capabilities.batch_records_max;
        if batch.records.len() > most {
            return Err(Fault::Split {
                reason: Reason::new(
                    Code::RecordTooLarge,
                    format!("the connector takes at most {most} records at once"),
                ),
            });
        }
        let params = learned.plan().params(batch);
        // Every record has an outcome before the first is known, so that none can be missed.
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.records.len()];
        for (position, reason) in params.failed {
            outcomes[position] = Some(Outcome::Rejected(reason));
        }
        if !params.held.is_empty() {
            let request = Request::new("sync_batch", &params.text);
            let key = batch.idempotency_key();
            let (result, _) = self.link.call(&request, Some(&key)).await?;
            let told = batch::outcomes(&result, &params.held, self.link.service());
            for ((position, _), outcome) in params.held.iter().zip(told) {
                outcomes[*position] = Some(outcome);
            }
        }
        outcomes
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Fault::lost(Reason::defect("a record of a call got no outcome")))
    }
}

fn timeout(config: &DestinationConfig) -> Duration {
    config.timeout.unwrap_or(TIMEOUT)
}

/// The way that the settings name.
fn link(config: &DestinationConfig, problems: &mut Problems) -> Option<Link> {
    let settings = &config.settings;
    let only_with = |name: &str, other: &str, problems: &mut Problems| {
        if settings.get(name).is_some() {
            problems.add(
                format!("settings.{name}"),
                format!("this setting belongs to {other}:"),
                &format!("remove it, or give {other}:"),
            );
        }
    };
    match (settings.get("url"), settings.get("command")) {
        (Some(url), None) => {
            for name in ["environment", "log_errors"] {
                only_with(name, "command", problems);
            }
            let web = Web::new(config, url, timeout(config), problems)?;
            Some(Link::Web(Box::new(web)))
        }
        (None, Some(command)) => {
            for name in ["auth", "headers"] {
                only_with(name, "url", problems);
            }
            let process = Process::new(config, command, timeout(config), problems)?;
            Some(Link::Process(process))
        }
        _ => {
            problems.add(
                "settings.url",
                "exactly one of url and command is needed",
                "url: the address of a service; command: a program that is started, [python3, connector.py]",
            );
            None
        }
    }
}

impl std::fmt::Debug for Custom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custom")
            .field("connector", &self.link.service().host)
            .finish_non_exhaustive()
    }
}

impl Destination for Custom {
    fn capabilities(&self) -> &Capabilities {
        let learned = self.learned.get();
        learned.map_or(&self.assumed, |learned| &learned.capabilities)
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let (mut checks, reached) = self.link.check().await;
            if !reached {
                checks.push(Check::skipped(
                    "test_connection",
                    "it must be reached first",
                ));
                return checks;
            }
            checks.extend(learned::checks(&self.link, &self.wanted).await);
            if self.wanted.object.is_empty() || checks.iter().any(|check| check.reason.is_some()) {
                return checks;
            }
            checks.push(match self.learned().await {
                Ok(learned) => Check::passed("object", learned.summary()),
                Err(fault) => Check::failed("object", fault.reason().clone()),
            });
            checks
        })
    }

    fn discover(&self) -> BoxFuture<'_, Result<Vec<ObjectSchema>, Fault>> {
        Box::pin(learned::discover(&self.link, &self.wanted))
    }

    fn prepare(&self) -> BoxFuture<'_, Result<Option<ObjectSchema>, Fault>> {
        Box::pin(async {
            let learned = self.learned().await?;
            Ok((!learned.object.any_field).then(|| learned.schema()))
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(self.deliver(batch))
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        // What the connector says of its fields is known once it has been asked: `plan` does.
        let Some(learned) = self.learned.get() else {
            return Vec::new();
        };
        let params = learned.plan().params(batch);
        let request = Request::new("sync_batch", &params.text);
        let sent = (!params.held.is_empty())
            .then(|| self.link.render(&request, Some(&batch.idempotency_key())));
        let failed = params.failed.iter().map(|(position, reason)| {
            format!("# not sent, {}: {reason}", batch.records[*position].key)
        });
        sent.into_iter().chain(failed).collect()
    }
}
