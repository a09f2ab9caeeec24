//! The destination: sessions that wait for work, the table as it was read, and the run that opened it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};
use rowcast_core::connector::Problems;
use rowcast_core::destination::{Committed, ObjectSchema};
use rowcast_core::{
    Applied, Batch, BoxFuture, Capabilities, Check, Code, Destination, DestinationConfig, Fault,
    Mode, Name, Operation, Outcome, RunContext, killpoint, progress,
};
use tokio::time::timeout;

use super::check::{Checker, needs_unique, tables};
use super::create::{is_short, make};
use super::link::Door;
use super::name::TableName;
use super::progress::Progress;
use super::refusal::Speaker;
use super::target::{Target, table_missing};
use super::write::Writer;
use crate::connect::{Endpoint, flag, text};

/// Records in a batch: by default, and at most. A batch is one intent and one commit here.
const BATCH_RECORDS: usize = 2_000;
const BATCH_RECORDS_MAX: usize = 10_000;
/// Bytes in a batch, by the engine's estimate: by default, and at most.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_BYTES_MAX: usize = 64 << 20;
/// Batches in flight together: by default, and at most. Each takes a session of the server.
const CONCURRENCY: usize = 2;
const CONCURRENCY_MAX: usize = 4;
/// How long one batch may take, unless `timeout:` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a session may take to be ready again after a failure.
const AFTERMATH: Duration = Duration::from_secs(2);

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let endpoint = Endpoint::read(config, (3306, 3306), problems);
    let database = text(config, "database").unwrap_or_default();
    let table = if config.object.is_empty() {
        None
    } else {
        match TableName::parse(&config.object, &database) {
            Ok(table) => Some(table),
            Err(why) => {
                problems.add(
                    "object",
                    why,
                    "write `object: customers` or `object: crm.customers`",
                );
                return None;
            }
        }
    };
    let limit = config.timeout.unwrap_or(TIMEOUT);
    let progress = text(config, "progress_database").unwrap_or_else(|| database.clone());
    let within = |value: Option<usize>, usual: usize, most: usize| {
        value.map_or(usual, |value| value.clamp(1, most))
    };
    Some(Arc::new(Mysql {
        name: config.name.clone(),
        shown: table
            .as_ref()
            .map_or_else(String::new, TableName::to_string),
        table,
        door: Door::new(endpoint?, config, limit),
        progress: Progress::new(&progress),
        create: flag(config, "create").unwrap_or(false),
        mode: config.mode,
        match_fields: config.match_fields.clone(),
        capabilities: Capabilities {
            operations: Operation::ALL.to_vec(),
            batch_records_max: within(config.batch_records, BATCH_RECORDS, BATCH_RECORDS_MAX),
            operation_limits: Vec::new(),
            batch_bytes_max: within(config.batch_bytes, BATCH_BYTES, BATCH_BYTES_MAX),
            concurrency_max: within(config.concurrency, CONCURRENCY, CONCURRENCY_MAX),
            rate: config.rate,
            timeout: limit,
            exactly_once: true,
            publishes: false,
        },
        idle: Mutex::new(Vec::new()),
        target: Mutex::new(None),
        opened: Mutex::new(None),
    }))
}

struct Mysql {
    name: Name,
    /// `None` without a sync.
    table: Option<TableName>,
    /// The table's name as messages write it.
    shown: String,
    door: Door,
    progress: Progress,
    /// Whether what is missing of the table is made.
    create: bool,
    mode: Mode,
    match_fields: Vec<Name>,
    capabilities: Capabilities,
    idle: Mutex<Vec<Conn>>,
    /// The table as it was read when the run was opened.
    target: Mutex<Option<Arc<Target>>>,
    /// Sync and epoch of the run that opened us.
    opened: Mutex<Option<(String, i64)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mysql {
    fn speaker(&self) -> Speaker<'_> {
        Speaker {
            destination: &self.name,
            table: &self.shown,
        }
    }

    async fn session(&self) -> Result<Conn, Fault> {
        let waiting = locked(&self.idle).pop();
        match waiting {
            Some(conn) => Ok(conn),
            None => self.door.open(self.speaker()).await,
        }
    }

    /// Keeps a session after its work, if no transaction is left behind.
    async fn keep<T>(&self, mut conn: Conn, result: Result<T, Fault>) -> Result<T, Fault> {
        let clean = result.is_ok()
            || matches!(
                timeout(AFTERMATH, conn.query_drop("ROLLBACK")).await,
                Ok(Ok(()))
            );
        if clean {
            locked(&self.idle).push(conn);
        }
        result
    }

    /// Does a piece of work on a session. A late one loses its session, and with it what it had not
    /// committed.
    async fn on_session<T>(
        &self,
        committing: &AtomicBool,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let whole = async {
            let mut conn = self.session().await?;
            let result = work(&mut conn).await;
            self.keep(conn, result).await
        };
        let limit = self.capabilities.timeout;
        timeout(limit, whole).await.unwrap_or_else(|_| {
            let applied = if committing.load(Ordering::SeqCst) {
                Applied::Unknown
            } else {
                Applied::No
            };
            Err(self.speaker().late(limit, applied))
        })
    }

    /// Raises the epoch before anything else, then tells what is there.
    async fn enter(&self, conn: &mut Conn, context: &RunContext) -> Result<Vec<Committed>, Fault> {
        let speaker = self.speaker();
        let fault = |error: Error| speaker.fault(&error);
        if !self.progress.is_there(conn).await.map_err(fault)? {
            for sql in self.progress.make_sql() {
                conn.query_drop(sql).await.map_err(|error| match error {
                    Error::Server(said) => {
                        Fault::fatal(self.progress.unusable(&super::refusal::words(&said)))
                    }
                    error => fault(error),
                })?;
            }
        }
        if !self.progress.raise(conn, context).await.map_err(fault)? {
            let reason = progress::fenced(speaker.destination, context);
            return Err(Fault::fatal(reason));
        }
        let committed = self.progress.recover(conn, context).await.map_err(fault)?;
        self.read_target(conn).await?;
        Ok(committed)
    }

    /// Reads the table and proves that it is fit for the mode. `None` when it is still to be made.
    async fn read_target(&self, conn: &mut Conn) -> Result<Option<Arc<Target>>, Fault> {
        let Some(table) = &self.table else {
            return Err(Fault::fatal(rowcast_core::Reason::defect(
                "a run without a table was opened",
            )));
        };
        let read = Target::read(conn, table).await;
        let target = read.map_err(|error| self.speaker().fault(&error))?;
        let Some(target) = target else {
            return if self.create {
                Ok(None)
            } else {
                Err(Fault::fatal(table_missing(table)))
            };
        };
        if let Some(reason) = target.unfit(table, &self.match_fields, needs_unique(self.mode)) {
            return Err(Fault::fatal(reason));
        }
        let target = Arc::new(target);
        *locked(&self.target) = Some(target.clone());
        Ok(Some(target))
    }

    async fn write_on(
        &self,
        conn: &mut Conn,
        batch: &Batch,
        committing: &AtomicBool,
    ) -> Result<Vec<Outcome>, Fault> {
        let Some(table) = &self.table else {
            return Ok(Vec::new());
        };
        let known = locked(&self.target).clone();
        let mut target = match known {
            Some(target) => Some(target),
            None => self.read_target(conn).await?,
        };
        let lacks = |target: &Arc<Target>| is_short(target, batch);
        if self.create && target.as_ref().is_none_or(lacks) {
            make(conn, self.speaker(), table, &self.match_fields, batch).await?;
            target = self.read_target(conn).await?;
        }
        let target = target.ok_or_else(|| Fault::fatal(table_missing(table)))?;
        let writer = Writer {
            speaker: self.speaker(),
            progress: &self.progress,
            table,
            target: &target,
            committing,
        };
        writer.write(conn, batch).await
    }

    async fn checks(&self) -> Vec<Check> {
        let place = self.door.endpoint.place();
        let mut conn = match self.door.open(self.speaker()).await {
            Ok(conn) => conn,
            Err(fault) => {
                let reason = fault.reason().clone();
                return if reason.code == Code::DestinationUnreachable
                    || reason.code == Code::AddressRefused
                {
                    vec![
                        Check::failed("connect", reason),
                        Check::skipped("login", "there is no connection"),
                    ]
                } else {
                    vec![
                        Check::passed("connect", format!("{place} answers")),
                        Check::failed("login", reason),
                    ]
                };
            }
        };
        let version: Result<Option<String>, Error> = conn.query_first("SELECT VERSION()").await;
        let version = version.ok().flatten().unwrap_or_default();
        let mut checks = vec![
            Check::passed(
                "connect",
                format!("{version} at {place}, {}", self.door.endpoint.protection()),
            ),
            Check::passed("login", "accepted"),
        ];
        let checker = Checker {
            speaker: self.speaker(),
            table: self.table.as_ref(),
            progress: &self.progress,
            mode: self.mode,
            match_fields: &self.match_fields,
            create: self.create,
        };
        checks.extend(checker.run(&mut conn).await);
        let _ = timeout(AFTERMATH, conn.disconnect()).await;
        checks
    }
}

impl Destination for Mysql {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(self.checks())
    }

    fn discover(&self) -> BoxFuture<'_, Result<Vec<ObjectSchema>, Fault>> {
        Box::pin(self.on_session(&UNCOMMITTED, async |conn: &mut Conn| {
            let found = tables(conn, self.door.database()).await;
            found.map_err(|error| self.speaker().fault(&error))
        }))
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(async move {
            let work = async |conn: &mut Conn| self.enter(conn, context).await;
            let committed = self.on_session(&UNCOMMITTED, work).await?;
            *locked(&self.opened) = Some((context.sync_id.clone(), context.epoch));
            killpoint::reach("mysql-destination-opened");
            Ok(committed)
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            if batch.records.is_empty() {
                return Ok(Vec::new());
            }
            let committing = AtomicBool::new(false);
            let work = async |conn: &mut Conn| self.write_on(conn, batch, &committing).await;
            self.on_session(&committing, work).await
        })
    }

    /// Forgets batches of runs before this one: everything they left was settled before this run
    /// sent its first record. Batches of this run stay until the next.
    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            let opened = locked(&self.opened).clone();
            if let Some((sync_id, epoch)) = opened {
                let work = async |conn: &mut Conn| {
                    let forgotten = self.progress.forget(conn, &sync_id, epoch).await;
                    forgotten.map_err(|error| self.speaker().fault(&error))
                };
                self.on_session(&UNCOMMITTED, work).await?;
            }
            let waiting = std::mem::take(&mut *locked(&self.idle));
            for conn in waiting {
                let _ = timeout(AFTERMATH, conn.disconnect()).await;
            }
            Ok(())
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        let records = batch.records.iter();
        let shown = records.map(|record| {
            let mut text = format!("{} {} ", batch.operation, self.shown);
            record.push_match(&mut text);
            text.push(' ');
            record.push_fields(&mut text);
            text
        });
        shown.collect()
    }
}

/// For work that commits nothing whose fate could be in doubt.
static UNCOMMITTED: AtomicBool = AtomicBool::new(false);
