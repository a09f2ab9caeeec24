//! What the brokers have in common: a record becomes a message, a batch goes over one connection,
//! and every message is answered for by the server.
//!
//! A kind says how its protocol opens a connection and publishes (`Protocol`); the rest is here,
//! once. Records of a batch are published in their order over one connection, and the engine never
//! has two records of one identity in flight, so order per key holds. Must never call a message
//! delivered that the server has not acknowledged, and never say *not applied* once a byte of a
//! message has left.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rowcast_core::connector::Problems;
use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::destination::ObjectSchema;
use rowcast_core::envelope::push_record;
use rowcast_core::{
    Applied, Batch, BoxFuture, Capabilities, Check, Code, Destination, DestinationConfig, Fault,
    Name, Operation, Outcome, Reason, SettingValue,
};
use tokio::time::timeout;

use crate::connect::Endpoint;

/// Messages in one write without `batch:`, and at most.
const RECORDS: usize = 500;
const RECORDS_MAX: usize = 10_000;
/// Bytes in one write, by the engine's estimate, without `batch:` and at most.
const BYTES: usize = 4 << 20;
const BYTES_MAX: usize = 64 << 20;
/// Writes in flight together, each over a connection of its own.
const CONCURRENCY: usize = 2;
const CONCURRENCY_MAX: usize = 16;
/// How long the server may take to acknowledge a batch, unless `timeout:` says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The setting that says what a message's body holds.
pub(crate) fn body_setting() -> Setting {
    Setting::optional(
        "body",
        SettingKind::Choice(&["record", "fields"]),
        "`record`: operation, key, identity and fields as one JSON object. `fields`: the mapped fields alone; a delete then has an empty body, and its key and operation stand beside it.",
    )
    .default("record")
}

/// What a message's body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Record,
    Fields,
}

impl Body {
    pub(crate) fn read(config: &DestinationConfig) -> Self {
        match config.settings.get("body").and_then(SettingValue::as_text) {
            Some("fields") => Self::Fields,
            _ => Self::Record,
        }
    }
}

/// One record as a message.
#[derive(Debug)]
pub(crate) struct Message {
    /// The primary key: the value itself for one column, a JSON list for several.
    pub(crate) key: String,
    pub(crate) idempotency_key: String,
    pub(crate) body: String,
}

/// The messages of one batch and what they share.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) sync: Name,
    pub(crate) run: String,
    /// When the run began, in microseconds since 1970.
    pub(crate) started_at: i64,
    pub(crate) operation: Operation,
    pub(crate) messages: Vec<Message>,
}

impl Load {
    pub(crate) fn new(batch: &Batch, body: Body) -> Self {
        let message = |record: &rowcast_core::Record| {
            let mut text = String::new();
            match body {
                Body::Record => push_record(&mut text, record, batch),
                Body::Fields if batch.operation == Operation::Delete => {}
                Body::Fields => record.push_fields(&mut text),
            }
            Message {
                key: match &*record.key.0 {
                    [part] => part.to_string(),
                    _ => record.key.canonical(),
                },
                idempotency_key: record.idempotency_key.clone(),
                body: text,
            }
        };
        Self {
            sync: batch.context.sync.clone(),
            run: batch.context.run.to_string(),
            started_at: batch.context.started_at,
            operation: batch.operation,
            messages: batch.records.iter().map(message).collect(),
        }
    }
}

/// How a kind of broker is spoken to. Nothing here retries.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// An open connection, logged in.
    type Link: Send + 'static;

    fn endpoint(&self) -> &Endpoint;

    /// Connects and logs in.
    fn open(&self) -> impl Future<Output = Result<Self::Link, Fault>> + Send;

    /// The server's name and version.
    fn version(&self, link: &Self::Link) -> String;

    /// Whether the object is there and may be written to. Changes nothing.
    fn inspect(&self, link: &mut Self::Link) -> impl Future<Output = Vec<Check>> + Send;

    /// The objects there are, as far as the server tells.
    fn objects(
        &self,
        link: &mut Self::Link,
    ) -> impl Future<Output = Result<Vec<ObjectSchema>, Fault>> + Send;

    /// Publishes and waits for the server's word on every message. `sent` is set before the first
    /// byte of a message leaves.
    fn publish(
        &self,
        link: &mut Self::Link,
        load: &Load,
        sent: &AtomicBool,
    ) -> impl Future<Output = Result<Vec<Outcome>, Fault>> + Send;

    /// A message as people see it, without its body.
    fn show(&self, load: &Load, message: &Message) -> String;
}

/// A destination that speaks a broker's protocol.
pub(crate) struct Broker<P: Protocol> {
    protocol: P,
    body: Body,
    capabilities: Capabilities,
    /// Connections that wait for work.
    idle: Mutex<Vec<P::Link>>,
}

impl<P: Protocol> Broker<P> {
    /// The destination of a sync.
    pub(crate) fn open(
        protocol: P,
        config: &DestinationConfig,
        problems: &mut Problems,
    ) -> Option<Arc<dyn Destination>> {
        if !problems.is_empty() {
            return None;
        }
        let within = |value: Option<usize>, usual: usize, most: usize| {
            value.map_or(usual, |value| value.clamp(1, most))
        };
        Some(Arc::new(Self {
            protocol,
            body: Body::read(config),
            capabilities: Capabilities {
                operations: Operation::ALL.to_vec(),
                batch_records_max: within(config.batch_records, RECORDS, RECORDS_MAX),
                operation_limits: Vec::new(),
                batch_bytes_max: within(config.batch_bytes, BYTES, BYTES_MAX),
                concurrency_max: within(config.concurrency, CONCURRENCY, CONCURRENCY_MAX),
                rate: config.rate,
                timeout: config.timeout.unwrap_or(TIMEOUT),
                exactly_once: false,
                publishes: false,
            },
            idle: Mutex::new(Vec::new()),
        }))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<P::Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn link(&self) -> Result<P::Link, Fault> {
        let waiting = self.idle().pop();
        match waiting {
            Some(link) => Ok(link),
            None => self.protocol.open().await,
        }
    }

    /// A connection that failed is not used again.
    async fn write_batch(&self, batch: &Batch) -> Result<Vec<Outcome>, Fault> {
        if batch.records.is_empty() {
            return Ok(Vec::new());
        }
        let load = Load::new(batch, self.body);
        let sent = AtomicBool::new(false);
        let work = async {
            let mut link = self.link().await?;
            let outcomes = self.protocol.publish(&mut link, &load, &sent).await?;
            self.idle().push(link);
            Ok(outcomes)
        };
        let limit = self.capabilities.timeout;
        timeout(limit, work).await.unwrap_or_else(|_| {
            let applied = if sent.load(Ordering::SeqCst) {
                Applied::Unknown
            } else {
                Applied::No
            };
            Err(self.late(limit, applied))
        })
    }

    fn late(&self, limit: Duration, applied: Applied) -> Fault {
        Fault::Transient {
            after: None,
            applied,
            reason: Reason::new(
                Code::DestinationBusy,
                format!(
                    "{} did not acknowledge a batch within {} s",
                    self.protocol.endpoint().place(),
                    limit.as_secs_f32()
                ),
            )
            .hint("look at the server's load and alarms, or raise `timeout`"),
        }
    }

    async fn checks(&self) -> Vec<Check> {
        let endpoint = self.protocol.endpoint();
        let opened = timeout(self.capabilities.timeout, self.protocol.open()).await;
        let mut link = match opened {
            Ok(Ok(link)) => link,
            Ok(Err(fault)) => {
                let reason = fault.reason().clone();
                if reason.code == Code::DestinationAuth {
                    return vec![
                        Check::passed("connect", format!("{} answers", endpoint.place())),
                        Check::failed("login", reason),
                    ];
                }
                if reason.code == Code::DestinationObject {
                    return vec![
                        Check::passed("connect", format!("{} answers", endpoint.place())),
                        Check::passed("login", "accepted"),
                        Check::failed("object", reason),
                    ];
                }
                return vec![
                    Check::failed("connect", reason),
                    Check::skipped("login", "there is no connection"),
                ];
            }
            Err(_) => {
                let limit = self.capabilities.timeout.as_secs_f32();
                let reason = endpoint.unreachable(&format!("no answer within {limit} s"));
                return vec![Check::failed("connect", reason)];
            }
        };
        let found = format!(
            "{} at {}, {}",
            self.protocol.version(&link),
            endpoint.place(),
            endpoint.protection()
        );
        let mut checks = vec![
            Check::passed("connect", found),
            Check::passed("login", "accepted"),
        ];
        let inspection = self.protocol.inspect(&mut link);
        match timeout(self.capabilities.timeout, inspection).await {
            Ok(found) => checks.extend(found),
            Err(_) => {
                let late = self.late(self.capabilities.timeout, Applied::No);
                checks.push(Check::failed("object", late.reason().clone()));
            }
        }
        checks
    }
}

impl<P: Protocol> Destination for Broker<P> {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn takes_json(&self) -> bool {
        true
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(self.checks())
    }

    fn discover(&self) -> BoxFuture<'_, Result<Vec<ObjectSchema>, Fault>> {
        Box::pin(async {
            let work = async {
                let mut link = self.protocol.open().await?;
                self.protocol.objects(&mut link).await
            };
            let limit = self.capabilities.timeout;
            let found = timeout(limit, work).await;
            found.unwrap_or_else(|_| Err(self.late(limit, Applied::No)))
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(self.write_batch(batch))
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            self.idle().clear();
            Ok(())
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        let load = Load::new(batch, self.body);
        let messages = load.messages.iter();
        messages
            .map(|message| format!("{}\n{}", self.protocol.show(&load, message), message.body))
            .collect()
    }
}
