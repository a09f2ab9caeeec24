//! The one contract every destination keeps.
//!
//! A destination writes; the engine does everything else. A destination never retries, sleeps,
//! rate-limits, counts, logs a payload or touches state.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::BoxFuture;
use crate::code::Code;
use crate::fault::{Fault, Reason};
use crate::mode::Mode;
use crate::record::{Batch, Operation, RunContext};
use crate::settings::SettingValue;
use crate::value::Name;

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has it, durably.
    Delivered,
    /// Taken, but not durable before `finish` succeeds (files, object stores).
    Accepted,
    /// Refused, with the destination's own words.
    Rejected(Reason),
    /// No result for this record in an otherwise good answer: unknown, not delivered.
    Unknown(Reason),
}

/// What an object of a destination can do, and within which limits.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// Operations it supports: they decide which modes are offered.
    pub operations: Vec<Operation>,
    /// Most records in one write; 1 = one record a request.
    pub batch_records_max: usize,
    /// Operations whose writes hold fewer records, or take several requests.
    pub operation_limits: Vec<OperationLimit>,
    /// Most bytes of one write, by the engine's estimate of the records' JSON.
    pub batch_bytes_max: usize,
    /// Writes in flight together.
    pub concurrency_max: usize,
    /// Requests allowed per period.
    pub rate: Option<Rate>,
    /// How long one write may take before its outcome counts as lost.
    pub timeout: Duration,
    /// Keeps its own progress with the data and can tell after a crash which batches it has
    /// (semantics 14). One batch is then one intent.
    pub exactly_once: bool,
    /// Records are durable only after `finish` (semantics 15).
    pub publishes: bool,
}

/// What one operation's writes differ in from the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationLimit {
    pub operation: Operation,
    /// Most records in one write, at most `batch_records_max`.
    pub records_max: usize,
    /// Requests that one write makes: 2 when records are looked up first.
    pub requests: u32,
}

impl Capabilities {
    /// Most records in one write of an operation; at least 1.
    pub fn records_max(&self, operation: Operation) -> usize {
        let most = self.batch_records_max;
        self.limit(operation)
            .map_or(most, |limit| limit.records_max.min(most))
            .max(1)
    }

    /// Refuses a batch that one write can't take.
    ///
    /// # Errors
    /// `Fault::Split`: the batch has too many records.
    pub fn admit(&self, batch: &Batch) -> Result<(), Fault> {
        let most = self.records_max(batch.operation);
        if batch.records.len() <= most {
            return Ok(());
        }
        Err(Fault::Split {
            reason: Reason::new(
                Code::RecordTooLarge,
                format!("a request holds at most {most} records"),
            ),
        })
    }

    /// Requests that one write of an operation makes.
    pub fn requests(&self, operation: Operation) -> u32 {
        self.limit(operation)
            .map_or(1, |limit| limit.requests.max(1))
    }

    fn limit(&self, operation: Operation) -> Option<&OperationLimit> {
        let mut limits = self.operation_limits.iter();
        limits.find(|limit| limit.operation == operation)
    }
}

/// What a connector is built from: its own settings and what the sync asks of it.
#[derive(Debug, Clone)]
pub struct DestinationConfig {
    /// The destination's name in the project, for messages.
    pub name: Name,
    /// The connector's own settings (`settings:`).
    pub settings: SettingValue,
    /// `object:` of the sync, or empty.
    pub object: Name,
    pub mode: Mode,
    /// Names of the match fields, in order; the primary key's columns without `match_on`.
    pub match_fields: Vec<Name>,
    /// Names of the primary key columns, in order.
    pub key_columns: Vec<Name>,
    /// `request:` of the sync.
    pub request: SettingValue,
    /// `batch:` — overrides the connector's defaults, never above its maximum.
    pub batch_records: Option<usize>,
    pub batch_bytes: Option<usize>,
    pub concurrency: Option<usize>,
    pub rate: Option<Rate>,
    pub timeout: Option<Duration>,
    /// Address ranges in CIDR form that are reached although they are loopback, private or
    /// link-local.
    pub allow_addresses: Vec<String>,
    /// Where relative paths of settings start: the project's folder.
    pub project_dir: PathBuf,
}

impl DestinationConfig {
    /// A destination with these settings and nothing else: no sync, no limits of its own, the
    /// connector's defaults, no address opened.
    pub fn new(name: impl Into<Name>, settings: SettingValue) -> Self {
        Self {
            name: name.into(),
            settings,
            object: "".into(),
            mode: Mode::default(),
            match_fields: Vec::new(),
            key_columns: Vec::new(),
            request: SettingValue::Null,
            batch_records: None,
            batch_bytes: None,
            concurrency: None,
            rate: None,
            timeout: None,
            allow_addresses: Vec::new(),
            project_dir: ".".into(),
        }
    }
}

/// A limit of requests per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// How a named check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStatus {
    Passed,
    Warned,
    Failed,
    /// Not run because an earlier check failed.
    Skipped,
}

/// One named check with its cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Short and stable: `connect`, `read model customers`, `state schema`.
    pub name: String,
    pub status: CheckStatus,
    /// What was found, one line: `PostgreSQL 15.18, TLS 1.3, verified`.
    pub found: String,
    /// Set for failures and warnings.
    pub reason: Option<Reason>,
}

impl Check {
    /// A check that passed.
    pub fn passed(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: CheckStatus::Passed,
            found: found.into(),
            reason: None,
        }
    }

    /// A check that failed.
    pub fn failed(name: impl Into<String>, reason: Reason) -> Self {
        let found = reason.message.clone();
        Self {
            name: name.into(),
            status: CheckStatus::Failed,
            found,
            reason: Some(reason),
        }
    }

    /// A check that passed with something to know.
    pub fn warned(name: impl Into<String>, reason: Reason) -> Self {
        let found = reason.message.clone();
        Self {
            name: name.into(),
            status: CheckStatus::Warned,
            found,
            reason: Some(reason),
        }
    }

    /// A check that could not be made because of an earlier failure.
    pub fn skipped(name: impl Into<String>, because: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: CheckStatus::Skipped,
            found: because.into(),
            reason: None,
        }
    }
}

/// A field of an object, as the destination describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectField {
    pub name: Name,
    pub type_name: String,
    pub required: bool,
    pub help: Option<String>,
}

/// An object of a destination, as the destination describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSchema {
    pub name: Name,
    pub fields: Vec<ObjectField>,
}

/// A batch that an exactly-once destination holds from an earlier epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub epoch: i64,
    pub intent: i64,
    /// Positions of the batch's records that were rejected, with the reason's text.
    pub rejected: Vec<(usize, String)>,
}

/// A place records are delivered to, opened for one object of one sync.
pub trait Destination: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Whether it only ever writes a record's identity and fields as JSON text. Its records then
    /// come with [`json`](crate::Record::json) in place of the two objects, which costs a fraction.
    fn takes_json(&self) -> bool {
        false
    }

    /// Whether it reads a source's own bytes. Its records then come with
    /// [`raw`](crate::Record::raw) in place of the two objects, wherever nobody else has to look at
    /// their values. It must take any record without, too. Asked once the run is open.
    fn takes_raw(&self) -> bool {
        false
    }

    /// Can we reach it, and may we write? Changes nothing.
    fn check(&self) -> BoxFuture<'_, Vec<Check>>;

    /// Objects and fields, as the service tells them. Empty when it can't tell.
    fn discover(&self) -> BoxFuture<'_, Result<Vec<ObjectSchema>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Asks the service for what only it knows, before anything is planned or sent: its limits, which
    /// `capabilities` says from then on, and the fields of the object. Changes nothing. Called once;
    /// `None` when there is nothing to ask, or when the object takes fields of any name.
    fn prepare(&self) -> BoxFuture<'_, Result<Option<ObjectSchema>, Fault>> {
        Box::pin(async { Ok(None) })
    }

    /// Called once with the lease held and before the first write. An exactly-once destination
    /// raises the epoch on its side and tells which batches of older epochs it holds.
    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        let _ = context;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Writes one batch. `Ok` holds one outcome for each record, in order.
    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>>;

    /// Makes accepted records durable (publishes files). Called once, after the last write;
    /// not called when the run failed or was cancelled. The engine waits for its answer as long as
    /// for a write's, longer for millions of records, and gives the future up then.
    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    /// What the service allows one account in a longer time than its rate's, such as a day. See
    /// [`Quota`](crate::Quota) for who counts it.
    fn quota(&self) -> Option<Rate> {
        None
    }

    /// How long the service has asked, in its latest answers, not to be called: its headers said that
    /// nothing is left of the rate. The engine waits, for every sync of the destination.
    fn resumes_in(&self) -> Option<Duration> {
        None
    }

    /// The requests a batch would make, as text for people (`plan`, `run --dry-run`). Never holds
    /// a secret.
    fn render(&self, batch: &Batch) -> Vec<String> {
        let _ = batch;
        Vec::new()
    }
}
