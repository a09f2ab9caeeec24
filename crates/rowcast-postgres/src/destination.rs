//! The `postgres` destination: records into a table of another database, exactly once.
//!
//! The records of a batch and the note that it was delivered are committed in one transaction, so
//! an attempt with a lost answer is asked for, never guessed (semantics 14). Start reading at
//! `write.rs`.

mod ask;
mod binary;
mod check;
mod create;
mod encode;
mod load;
mod merge;
mod name;
mod pool;
mod progress;
mod raw;
mod refusal;
mod render;
mod rows;
mod settings;
mod ssh;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rowcast_core::destination::{Committed, ObjectSchema};
use rowcast_core::{
    Applied, Batch, BoxFuture, Capabilities, Check, Destination, DestinationConfig, Fault, Mode,
    Name, Operation, Outcome, Reason, RunContext, killpoint,
};

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;

pub use settings::descriptor;

use crate::connect::{Connection, Connector};
use check::{Checker, needs_unique};
use create::table_missing;
use load::Straight;
use pool::{AFTERMATH, Pool};
use progress::Progress;
use refusal::Speaker;
use settings::Settings;
use target::Target;
use write::{Writer, Written, newer};

/// Records in a batch: by default, and at most. A batch is one intent and one commit here. Its
/// records need no smaller window (semantics 8): recovery asks which batches are in the table.
const BATCH_RECORDS: usize = 5_000;
const BATCH_RECORDS_MAX: usize = 10_000;
/// Bytes in a batch, by the engine's estimate: by default, and at most.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_BYTES_MAX: usize = 64 << 20;
/// Batches in flight together: by default, and at most. Each takes a connection of the server. With
/// two, one is written while the other is mapped or acknowledged.
const CONCURRENCY: usize = 2;
const CONCURRENCY_MAX: usize = 4;
/// How long one batch may take, unless `timeout:` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Builds the destination for one sync. Nothing is connected to yet.
///
/// # Errors
/// Every problem of the settings, with the setting's name.
pub fn build(config: DestinationConfig) -> Result<Arc<dyn Destination>, Vec<(String, Reason)>> {
    Postgres::new(config).map(|destination| Arc::new(destination) as Arc<dyn Destination>)
}

/// A connection lent to one piece of work.
struct Loan {
    connection: Connection,
    deadline: Instant,
}

struct Postgres {
    name: Name,
    /// The table's name as statements and messages write it.
    table: String,
    settings: Settings,
    mode: Mode,
    match_fields: Vec<Name>,
    capabilities: Capabilities,
    progress: Progress,
    pool: Pool,
    straight: Straight,
    /// The table as it was last read.
    target: Mutex<Option<Arc<Target>>>,
    /// One maker of tables and columns at a time.
    making: tokio::sync::Mutex<()>,
    /// Sync and epoch of the run that opened us.
    opened: Mutex<Option<(String, i64)>>,
}

impl Postgres {
    fn new(config: DestinationConfig) -> Result<Self, Vec<(String, Reason)>> {
        let mut problems = Vec::new();
        let settings = Settings::read(&config, &mut problems);
        let connect = settings::connection(&config, &mut problems);
        let (Some(settings), Some(mut connect)) = (settings, connect) else {
            return Err(problems);
        };
        let timeout = config.timeout.unwrap_or(TIMEOUT);
        connect.statement_timeout = Some(timeout);
        Ok(Self {
            capabilities: Capabilities {
                operations: Operation::ALL.to_vec(),
                batch_records_max: config
                    .batch_records
                    .map_or(BATCH_RECORDS, |records| records.clamp(1, BATCH_RECORDS_MAX)),
                operation_limits: Vec::new(),
                batch_bytes_max: config
                    .batch_bytes
                    .map_or(BATCH_BYTES, |bytes| bytes.clamp(1, BATCH_BYTES_MAX)),
                concurrency_max: config
                    .concurrency
                    .map_or(CONCURRENCY, |writers| writers.clamp(1, CONCURRENCY_MAX)),
                rate: config.rate,
                timeout,
                exactly_once: true,
                publishes: false,
            },
            progress: Progress::new(&settings.progress_schema),
            pool: Pool::new(&config.name, Connector::new(connect)),
            name: config.name,
            table: settings.table.to_string(),
            mode: config.mode,
            match_fields: config.match_fields,
            settings,
            straight: Straight::default(),
            target: Mutex::new(None),
            making: tokio::sync::Mutex::new(()),
            opened: Mutex::new(None),
        })
    }

    fn known_target(&self) -> Option<Arc<Target>> {
        self.target
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, target: Option<Arc<Target>>) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Who speaks in messages.
    fn speaker(&self) -> Speaker<'_> {
        Speaker {
            destination: &self.name,
            table: &self.table,
            row_security: self
                .known_target()
                .is_some_and(|target| target.row_security),
        }
    }

    /// A connection, and until when its work must be done.
    async fn lend(&self) -> Result<Loan, Fault> {
        let limit = self.capabilities.timeout;
        let deadline = Instant::now() + limit;
        let connection = timeout_at(deadline, self.pool.take())
            .await
            .map_err(|_| self.speaker().late(limit, Applied::No))??;
        Ok(Loan {
            connection,
            deadline,
        })
    }

    /// Takes a connection back after its work. It is kept only when no transaction is left behind;
    /// late work is cancelled.
    async fn take_back<T>(
        &self,
        loan: Loan,
        result: Result<Result<T, Fault>, Elapsed>,
        applied: Applied,
    ) -> Result<T, Fault> {
        let connection = loan.connection;
        match result {
            Ok(Ok(done)) => {
                self.pool.give(connection);
                Ok(done)
            }
            Ok(Err(fault)) => {
                let rollback = connection.client.batch_execute("ROLLBACK");
                if let Ok(Ok(())) = tokio::time::timeout(AFTERMATH, rollback).await {
                    self.pool.give(connection);
                }
                Err(fault)
            }
            Err(_) => {
                Pool::cancel(&connection).await;
                Err(self.speaker().late(self.capabilities.timeout, applied))
            }
        }
    }

    async fn open_run(&self, context: &RunContext) -> Result<Vec<Committed>, Fault> {
        self.straight.reset();
        let loan = self.lend().await?;
        let work = self.enter(&loan.connection.client, context);
        let result = timeout_at(loan.deadline, work).await;
        let committed = self.take_back(loan, result, Applied::No).await?;
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((context.sync_id.clone(), context.epoch));
        killpoint::reach("postgres-destination-opened");
        Ok(committed)
    }

    /// Raises the epoch before anything else, then tells what is there.
    async fn enter(&self, client: &Client, context: &RunContext) -> Result<Vec<Committed>, Fault> {
        let speaker = self.speaker();
        let fault = |error: tokio_postgres::Error| speaker.fault(&error);
        let state = self.progress.state(client).await.map_err(fault)?;
        if !state.usable {
            return Err(Fault::fatal(self.progress.unusable(&state)));
        }
        if !state.tables {
            let sql = self.progress.make_sql(&state);
            client.batch_execute(&sql).await.map_err(fault)?;
        }
        if !self.progress.raise(client, context).await.map_err(fault)? {
            return Err(Fault::fatal(newer(speaker, context)));
        }
        let committed = self.progress.recover(client, context).await;
        let committed = committed.map_err(fault)?;
        self.resolve(client, speaker).await?;
        Ok(committed)
    }

    /// Reads the table and proves that it is fit for the mode.
    async fn resolve(&self, client: &Client, speaker: Speaker<'_>) -> Result<(), Fault> {
        let table = &self.settings.table;
        let read = Target::read(client, table).await;
        let Some(target) = read.map_err(|error| speaker.fault(&error))? else {
            self.remember(None);
            if self.settings.create {
                return Ok(());
            }
            return Err(Fault::fatal(table_missing(table, &self.match_fields)));
        };
        let missing = target.missing_privileges(client, table, self.mode).await;
        if let Some(reason) = missing.map_err(|error| speaker.fault(&error))? {
            return Err(Fault::fatal(reason));
        }
        self.judge(&target).map_err(Fault::fatal)?;
        self.remember(Some(Arc::new(target)));
        Ok(())
    }

    fn judge(&self, target: &Target) -> Result<(), Reason> {
        let table = &self.settings.table;
        let matches = target.match_columns(table, &self.match_fields)?;
        if needs_unique(self.mode) && !target.unique_over(&matches) {
            return Err(Target::not_unique(table, &self.match_fields));
        }
        Ok(())
    }

    /// The table as the batch needs it; with `create: true` what is missing is made first.
    async fn target_for(
        &self,
        batch: &Batch,
        client: &Client,
        speaker: Speaker<'_>,
    ) -> Result<Arc<Target>, Fault> {
        let table = &self.settings.table;
        let lacks = |target: &Target| {
            let mut records = batch.records.iter();
            records.any(|record| {
                let mut names = record.match_on.iter().chain(&record.fields);
                names.any(|(name, _)| target.position(name).is_none())
            })
        };
        if let Some(target) = self.known_target()
            && !(self.settings.create && lacks(&target))
        {
            return Ok(target);
        }
        let _making = self.making.lock().await;
        let fault = |error: tokio_postgres::Error| speaker.fault(&error);
        let found = Target::read(client, table).await.map_err(fault)?;
        let sql = if self.settings.create {
            create::statements(batch, table, found.as_ref(), &self.match_fields)
                .map_err(Fault::fatal)?
        } else {
            String::new()
        };
        if !sql.is_empty() {
            client.batch_execute(&sql).await.map_err(fault)?;
        }
        let target = Target::read(client, table)
            .await
            .map_err(fault)?
            .ok_or_else(|| Fault::fatal(table_missing(table, &self.match_fields)))?;
        self.judge(&target).map_err(Fault::fatal)?;
        let target = Arc::new(target);
        self.remember(Some(target.clone()));
        Ok(target)
    }

    async fn write_batch(&self, batch: &Batch) -> Result<Written, Fault> {
        if batch.records.is_empty() {
            return Ok(Written {
                outcomes: Vec::new(),
                statements: 0,
            });
        }
        let committing = AtomicBool::new(false);
        let loan = self.lend().await?;
        let work = self.write_on(&loan.connection.client, batch, &committing);
        let result = timeout_at(loan.deadline, work).await;
        let applied = if committing.load(Ordering::SeqCst) {
            Applied::Unknown
        } else {
            Applied::No
        };
        self.take_back(loan, result, applied).await
    }

    async fn write_on(
        &self,
        client: &Client,
        batch: &Batch,
        committing: &AtomicBool,
    ) -> Result<Written, Fault> {
        let speaker = self.speaker();
        let target = self.target_for(batch, client, speaker).await?;
        Writer {
            client,
            speaker,
            progress: &self.progress,
            table: &self.settings.table,
            target: &target,
            straight: &self.straight,
            timeout: self.capabilities.timeout,
            committing,
        }
        .write(batch)
        .await
    }

    /// Forgets batches of runs before this one: everything they left was settled before this run
    /// sent its first record. Batches of this run stay until the next.
    async fn finish_run(&self) -> Result<(), Fault> {
        let opened = self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((sync_id, epoch)) = opened {
            let loan = self.lend().await?;
            let work = async {
                let forgotten = self
                    .progress
                    .forget(&loan.connection.client, &sync_id, epoch)
                    .await;
                forgotten
                    .map(|_| ())
                    .map_err(|error| self.speaker().fault(&error))
            };
            let result = timeout_at(loan.deadline, work).await;
            self.take_back(loan, result, Applied::No).await?;
        }
        self.pool.close();
        Ok(())
    }
}

impl Destination for Postgres {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Not where columns are made of what the records hold.
    fn takes_raw(&self) -> bool {
        !self.settings.create
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let checker = Checker {
                destination: &self.name,
                settings: &self.settings,
                progress: &self.progress,
                mode: self.mode,
                match_fields: &self.match_fields,
            };
            checker.run(self.pool.connect().await).await
        })
    }

    fn discover(&self) -> BoxFuture<'_, Result<Vec<ObjectSchema>, Fault>> {
        Box::pin(async {
            let loan = self.lend().await?;
            let work = async {
                check::tables(&loan.connection.client, &self.settings.default_schema)
                    .await
                    .map_err(|error| self.speaker().fault(&error))
            };
            let result = timeout_at(loan.deadline, work).await;
            self.take_back(loan, result, Applied::No).await
        })
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(self.open_run(context))
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async {
            self.write_batch(batch)
                .await
                .map(|written| written.outcomes)
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.finish_run())
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        render::render(batch, &self.settings.table, self.known_target().as_deref())
    }
}
