//! `http`: records to any HTTP service.
//!
//! `config` reads the settings, `request` turns a batch into the exact request, `client` sends it
//! where the address policy permits (through `connections` where there is no encryption), `answer`
//! says what the answer means. Nothing here retries.

pub(crate) mod answer;
pub(crate) mod auth;
mod body;
pub mod client;
pub(crate) mod config;
mod connections;
mod curl;
pub(crate) mod descriptor;
#[doc(hidden)]
pub mod fuzzed;
mod line;
pub(crate) mod outcomes;
pub(crate) mod request;
pub(crate) mod sender;
pub(crate) mod service;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::record::Batch;
use rowcast_core::{
    BoxFuture, Capabilities, Check, Destination, DestinationConfig, Fault, Outcome, Reason,
};

use self::client::{Client, Lookup, SystemLookup};
use self::config::Settings;
use self::sender::Sender;
use crate::settings::Problems;
use rowcast_core::address::AddressPolicy;

pub use self::descriptor::descriptor;

/// Requests in flight together without `concurrency:`.
const CONCURRENCY: usize = 8;
/// How long an answer may take without `timeout:`.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request without `batch.max_bytes`: what most services take.
const BATCH_BYTES: usize = 1_000_000;

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let built = Http::new(config, Arc::new(SystemLookup), problems)?;
    Some(Arc::new(built))
}

/// One HTTP service, opened for one sync.
pub struct Http {
    settings: Settings,
    sender: Sender,
    capabilities: Capabilities,
}

impl Http {
    /// A destination whose names are looked up by `lookup`.
    pub fn new(
        config: &DestinationConfig,
        lookup: Arc<dyn Lookup>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let settings = Settings::parse(config, problems);
        let policy = AddressPolicy::read(config, problems)?;
        let (settings, service, auth) = settings.filter(|_| problems.is_empty())?;
        let timeout = config.timeout.unwrap_or(TIMEOUT);
        let secure = settings.root.scheme() == "https";
        let client = match Client::new(policy, lookup, timeout, secure) {
            Ok(client) => client,
            Err(reason) => {
                problems.push("settings.url", reason);
                return None;
            }
        };
        let capabilities = Capabilities {
            operations: settings
                .calls
                .iter()
                .map(|(operation, _)| *operation)
                .collect(),
            batch_records_max: settings.format.records_max(config.batch_records),
            operation_limits: Vec::new(),
            batch_bytes_max: config.batch_bytes.unwrap_or(BATCH_BYTES),
            concurrency_max: config.concurrency.unwrap_or(CONCURRENCY).max(1),
            rate: config.rate,
            timeout,
            exactly_once: false,
            publishes: false,
        };
        Some(Self {
            settings,
            sender: Sender {
                client,
                auth,
                service,
            },
            capabilities,
        })
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("host", &self.sender.service.host)
            .finish_non_exhaustive()
    }
}

impl Destination for Http {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn takes_json(&self) -> bool {
        self.settings.takes_json()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let (mut checks, connected) = self.sender.check_connection(&self.settings.root).await;
            if connected {
                let why = "not called: a webhook has no read-only request";
                checks.push(Check::skipped("write", why));
            } else if checks
                .iter()
                .any(|check| check.reason.is_some() && check.name == "connect")
            {
                checks.push(Check::skipped("write", "the connection must work first"));
            }
            checks
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            if batch.records.is_empty() {
                return Ok(Vec::new());
            }
            let Some(call) = self.settings.call(batch.operation) else {
                return Err(Fault::fatal(Reason::defect(format!(
                    "operation {} has no request",
                    batch.operation
                ))));
            };
            self.capabilities.admit(batch)?;
            let id = batch.idempotency_key();
            let preparation = self
                .settings
                .prepare(&self.sender.auth, call, batch, &id)
                .map_err(Fault::fatal)?;
            // Every record has an outcome before the first is known, so that none can be missed.
            let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.records.len()];
            for (position, reason) in preparation.failed {
                outcomes[position] = Some(Outcome::Rejected(reason));
            }
            if let Some(prepared) = preparation.request {
                let answer = self.sender.send(&prepared, &id).await?;
                let records: Vec<_> = prepared.held.iter().map(|i| &batch.records[*i]).collect();
                let reading = self.settings.reading(&self.sender.service, call);
                let judged = reading.judge(batch, &records, &answer)?;
                for (position, outcome) in prepared.held.iter().zip(judged) {
                    outcomes[*position] = Some(outcome);
                }
            }
            outcomes
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| Fault::lost(Reason::defect("a record of a request got no outcome")))
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        let Some(call) = self.settings.call(batch.operation) else {
            return Vec::new();
        };
        let id = batch.idempotency_key();
        match self.settings.prepare(&self.sender.auth, call, batch, &id) {
            Ok(preparation) => preparation
                .request
                .iter()
                .map(|request| self.sender.curl(request))
                .chain(preparation.failed.iter().map(|(position, reason)| {
                    format!("# not sent, {}: {reason}", batch.records[*position].key)
                }))
                .collect(),
            Err(reason) => vec![format!("# can't be sent: {reason}")],
        }
    }
}
