//! State in PostgreSQL: what was acknowledged, never what was attempted.
//!
//! `PgLedger` keeps the law of `rowcast_core::ledger::Ledger`: one lease, one snapshot, intents
//! before requests, fenced acknowledgement after them. All writes go to the state schema and to
//! nothing else; the model is read in a read-only transaction.

mod admin;
mod baseline;
mod commit;
mod config;
mod copy;
mod cursor;
mod decode;
mod diff;
mod extract;
mod form;
mod forms;
mod layout;
mod lease;
mod matching;
mod merge;
mod model;
mod plan;
mod registry;
mod rehash;
mod shape;
mod spool;
#[cfg(test)]
mod tests;
mod tuple;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rowcast_core::destination::Committed;
use rowcast_core::guard::{Guard, Held};
use rowcast_core::ledger::{
    ChangeReader, ChangeSet, DiffRequest, Intent, IntentItem, Lease, Ledger, OpenRequest, Opened,
    Step,
};
use rowcast_core::{
    BoxFuture, Change, Code, Key, Kind, Mode, Operation, Reason, RunReport, RunStatus, Settled,
    Verdict, killpoint,
};
use tokio::sync::Mutex;
use tokio_postgres::types::Type;

pub use admin::{Biography, LogEntry, RejectRow, RunRow, StateAdmin, SyncStatus};
pub use config::{CursorSpec, LedgerConfig, LogLevel, ModelBody, ModelSpec, SyncSpec};
pub use spool::SpoolConfig;

use commit::{Fence, Logged, Writer};
use extract::{Extracted, Extraction, UNIQUENESS_RUNS};
use plan::{HashPlan, PlanChange};
use registry::Registered;
use shape::{KeyArrays, Shape};
use spool::SpoolReader;
use tuple::Layout;

use crate::connect::{Connection, Connector, db_error};

/// Runs under this many changes log every operation by default (semantics 27).
const LOG_ALL_BELOW: u64 = 10_000;
/// A lost connection is made again this often within one step.
const RECONNECTS: u32 = 5;

/// The memory of one sync, in PostgreSQL.
pub struct PgLedger {
    config: LedgerConfig,
    join_memory: u64,
    session: Mutex<Option<Session>>,
}

impl std::fmt::Debug for PgLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgLedger")
            .field("sync", &self.config.sync.name)
            .finish_non_exhaustive()
    }
}

/// What a run holds between `open` and `finish`.
struct Session {
    connection: Connection,
    shape: Shape,
    registered: Registered,
    term: Duration,
    source: SourceIdentity,
    moved_back: Option<Held>,
    logged: Logged,
    after: AfterDiff,
    /// Whether a transaction is open on the connection.
    open: AtomicBool,
}

impl Session {
    fn fence<'a>(&'a self, lease: &'a Lease) -> Fence<'a> {
        Fence {
            client: &self.connection.client,
            shape: &self.shape,
            lease,
            open: &self.open,
        }
    }

    /// Connects again when the connection was lost since it was last used. Between transactions only.
    async fn ensure_connected(&mut self, connector: &Connector) -> Result<(), Reason> {
        if self.connection.client.is_closed() {
            self.connection = connector.connect().await?;
            self.open = AtomicBool::new(false);
        }
        // Of work that was abandoned half-way, when its run was cancelled.
        if *self.open.get_mut()
            && self
                .connection
                .client
                .batch_execute("ROLLBACK")
                .await
                .is_ok()
        {
            self.open = AtomicBool::new(false);
        }
        Ok(())
    }
}

/// What the end of the run writes about its diff.
#[derive(Debug, Default)]
struct AfterDiff {
    ran: bool,
    full: bool,
    bounded: bool,
    checked: bool,
    unique: bool,
    model_digest: Option<String>,
    duplicates: Vec<(Key, i64)>,
    obsolete: Vec<Key>,
    watermark: Option<String>,
}

/// Which server, and where in its history (semantics 20).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SourceIdentity {
    system: Option<String>,
    timeline: Option<i32>,
    /// As text; compared by the server.
    position: Option<String>,
}

impl PgLedger {
    /// A ledger for one sync.
    pub fn new(config: LedgerConfig) -> Self {
        Self {
            config,
            join_memory: form::JOIN_MEMORY_MAX,
            session: Mutex::new(None),
        }
    }

    /// The most memory, in bytes, that one comparison may take on the server: 256 MB unless this
    /// says otherwise. A table whose state needs more is compared by keys and checksums first.
    #[must_use]
    pub fn with_join_memory(mut self, bytes: u64) -> Self {
        self.join_memory = bytes;
        self
    }

    fn state_connector(&self) -> &Connector {
        self.config.state.as_ref().unwrap_or(&self.config.source)
    }

    async fn open_session(&self, request: &OpenRequest) -> Result<Opened, Reason> {
        let schema = &self.config.state_schema;
        let connection = self.state_connector().connect().await?;
        let client = &connection.client;
        refuse_replica(&connection, self.config.state.is_some())?;
        layout::ensure(client, schema, &self.config.source_name).await?;
        let (keys, source) = if self.config.state.is_some() {
            let source = self.config.source.connect().await?;
            (
                self.describe_keys(&source).await?,
                source_identity(&source).await,
            )
        } else {
            (
                self.describe_keys(&connection).await?,
                source_identity(&connection).await,
            )
        };
        let sync = &self.config.sync;
        let (mut registered, mut shape) = registry::ensure(client, schema, sync, &keys)
            .await
            .map_err(layout::not_writable)?;
        let term = lease::term(request.request_timeout);
        let taken = lease::take(client, &shape, &sync.name, term, request.wait)
            .await
            .map_err(layout::not_writable)?;
        killpoint::reach("ledger-leased");
        let started = async {
            // A reset may have come between finding the sync and holding its lease.
            (registered, shape) = registry::ensure(client, schema, sync, &keys).await?;
            let moved_back = self.moved_back(&connection, &shape, &source).await?;
            if request.full {
                registered.backfill += 1;
                let sql = format!(
                    "UPDATE {} SET backfill = $2 WHERE id = $1 AND epoch = $3",
                    shape.shared("sync")
                );
                client
                    .query_typed(
                        &sql,
                        &[
                            (&shape.sync, Type::INT4),
                            (&registered.backfill, Type::INT4),
                            (&taken.epoch, Type::INT8),
                        ],
                    )
                    .await
                    .map_err(|error| db_error(&error, "starting a full run"))?;
            }
            let run = start_run(
                &connection,
                &shape,
                taken.epoch,
                taken.generation,
                &request.trigger,
            )
            .await?;
            let open_intents = read_intents(&connection, &shape, taken.epoch).await?;
            Ok((moved_back, run, open_intents))
        }
        .await;
        let (moved_back, run, open_intents) = match started {
            Ok(started) => started,
            Err(reason) => {
                lease::give_back(client, &shape, taken.epoch).await;
                return Err(reason);
            }
        };
        let lease = Arc::new(Lease::new(
            registered.uuid.clone(),
            run,
            taken.epoch,
            taken.generation.into(),
            taken.deadline,
        ));
        *self.session.lock().await = Some(Session {
            connection,
            shape,
            registered,
            term,
            source,
            moved_back,
            logged: Logged::Errors,
            after: AfterDiff::default(),
            open: AtomicBool::new(false),
        });
        Ok(Opened {
            lease,
            open_intents: open_intents.into_iter().map(|(intent, _)| intent).collect(),
        })
    }

    async fn describe_keys(
        &self,
        connection: &Connection,
    ) -> Result<Vec<shape::KeyColumn>, Reason> {
        let client = &connection.client;
        let described = async {
            model::begin(client, &self.config.model, None).await?;
            model::describe(client, &self.config).await
        }
        .await;
        let _ = client.batch_execute("ROLLBACK").await;
        described.map(|model| model.keys)
    }

    /// A restored backup, a failover or a staging clone with our schema inside.
    async fn moved_back(
        &self,
        connection: &Connection,
        shape: &Shape,
        now: &SourceIdentity,
    ) -> Result<Option<Held>, Reason> {
        let sql = format!(
            "SELECT system_identifier, timeline, wal_position, \
             CASE WHEN $2::text IS NULL OR wal_position IS NULL THEN false \
             ELSE $2::text::pg_lsn < wal_position::pg_lsn END FROM {} WHERE sync_id = $1",
            shape.shared("progress")
        );
        let rows = connection
            .client
            .query_typed(
                &sql,
                &[(&shape.sync, Type::INT4), (&now.position, Type::TEXT)],
            )
            .await
            .map_err(|error| db_error(&error, "reading the source's last position"))?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let before = SourceIdentity {
            system: row.get(0),
            timeline: row.get(1),
            position: row.get(2),
        };
        let differs = |then: &Option<String>, now: &Option<String>| matches!((then, now), (Some(then), Some(now)) if then != now);
        let detail = if differs(&before.system, &now.system) {
            "it is another cluster than the one state was written for".to_owned()
        } else if matches!((before.timeline, now.timeline), (Some(then), Some(now)) if then != now)
        {
            "its timeline changed: a backup was restored or a replica was promoted".to_owned()
        } else if row.get(3) {
            format!(
                "its write-ahead log is at {}, before {} of the last run",
                now.position.as_deref().unwrap_or("?"),
                before.position.as_deref().unwrap_or("?")
            )
        } else {
            return Ok(None);
        };
        Ok(Some(Guard::MovedBack.hold(
            format!(
                "source {:?} moved back in time or to another server",
                self.config.source_name
            ),
            detail,
        )))
    }

    async fn extract(
        &self,
        lease: Option<&Lease>,
        request: &DiffRequest,
    ) -> Result<ChangeSet, Reason> {
        let (shape, registered, moved_back) = self.diff_inputs(lease).await?;
        let source = self.config.source.connect().await?;
        let mut held: Vec<Held> = moved_back.into_iter().collect();
        let mut notes = Vec::new();
        let plan = self
            .settle_plan(
                lease,
                request,
                &shape,
                &registered,
                &source,
                &mut held,
                &mut notes,
            )
            .await?;
        let fence = lease.map(|lease| (lease.epoch, lease.generation as i32));
        let extraction = Extraction {
            config: &self.config,
            shape: &shape,
            plan: &plan,
            request,
            fence,
            join_memory: self.join_memory,
        };
        let extracted = if self.config.state.is_some() && !shape.is_absent() {
            let state = self.state_connector().connect().await?;
            extraction.merge(&source.client, &state.client).await?
        } else {
            extraction.run(&source).await?
        };
        drop(source);
        killpoint::reach("ledger-spooled");
        self.remember(lease, request, &extracted).await;
        notes.extend(extracted.notes);
        Ok(ChangeSet {
            counts: extracted.counts,
            schema: Arc::clone(&extracted.layout.schema),
            held,
            notes,
            duplicates: extracted
                .duplicates
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            changes: Box::new(Reader {
                layout: extracted.layout,
                spool: extracted.reader,
            }),
        })
    }

    /// Shape and registration: the session's with a lease, a look from outside without one.
    async fn diff_inputs(
        &self,
        lease: Option<&Lease>,
    ) -> Result<(Shape, Registered, Option<Held>), Reason> {
        if lease.is_some() {
            let session = self.session.lock().await;
            let session = session
                .as_ref()
                .ok_or_else(|| Reason::defect("no run is open"))?;
            return Ok((
                session.shape.clone(),
                session.registered.clone(),
                session.moved_back.clone(),
            ));
        }
        let connection = self.state_connector().connect().await?;
        let client = &connection.client;
        let (schema, sync) = (&self.config.state_schema, &self.config.sync);
        let (keys, source) = if self.config.state.is_some() {
            let source = self.config.source.connect().await?;
            (
                self.describe_keys(&source).await?,
                source_identity(&source).await,
            )
        } else {
            (
                self.describe_keys(&connection).await?,
                source_identity(&connection).await,
            )
        };
        let known = if layout::known(client, schema).await? {
            registry::look(client, schema, sync).await?
        } else {
            None
        };
        match known {
            Some(known) => {
                let shape = Shape::new(schema, known.id, keys);
                registry::prove(sync, &known, &shape.keys)?;
                let moved_back = self.moved_back(&connection, &shape, &source).await?;
                Ok((shape, known, moved_back))
            }
            None => Ok((Shape::absent(keys), Registered::unknown(), None)),
        }
    }

    /// Compares the present checksum plan with the stored one and does what the difference asks.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of `extract`, split out to be read alone"
    )]
    async fn settle_plan(
        &self,
        lease: Option<&Lease>,
        request: &DiffRequest,
        shape: &Shape,
        registered: &Registered,
        source: &Connection,
        held: &mut Vec<Held>,
        notes: &mut Vec<String>,
    ) -> Result<HashPlan, Reason> {
        let sync = &self.config.sync;
        model::begin(&source.client, &self.config.model, None).await?;
        let described = model::describe(&source.client, &self.config).await;
        source
            .client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| db_error(&error, "reading the model"))?;
        let columns: Vec<_> = described?
            .data
            .into_iter()
            .map(|column| (column.name, column.facts))
            .collect();
        let current = HashPlan::new(
            &columns,
            &sync.digests,
            &self.config.model.time_zone,
            registered.random,
            registered.backfill,
            sync.mode,
            sync.on,
        );
        let Some(stored) = registered.plan.clone() else {
            self.store_plan(lease, request, &current, None).await?;
            return Ok(current);
        };
        let retyped = current.retyped(&stored);
        if !retyped.is_empty() {
            let list: Vec<String> = retyped
                .iter()
                .map(|(name, then, now)| format!("{name} was {then}, is {now}"))
                .collect();
            held.push(
                Guard::Columns.hold("a mapped column changed its type".into(), list.join("; ")),
            );
        }
        if stored.mode != current.mode && current.mode == Mode::Mirror.as_str() {
            notes.push(
                "the mode is mirror now: rows removed in earlier runs stay in the destination"
                    .into(),
            );
        }
        let overridden = |guard| sync.overrides.contains(&guard);
        let may = retyped.is_empty() || overridden(Guard::Columns);
        match current.compare(Some(stored.clone())) {
            // The run is held: storing the plan would let the next one pass.
            PlanChange::Resend if !may => Ok(current),
            PlanChange::Same | PlanChange::First => {
                self.store_plan(lease, request, &current, Some(&stored))
                    .await?;
                Ok(current)
            }
            PlanChange::Resend => {
                notes.push("the mapping changed: every row counts as updated".into());
                self.store_plan(lease, request, &current, Some(&stored))
                    .await?;
                Ok(current)
            }
            PlanChange::Rehash(old) => {
                if let Err(reason) = self.try_plan(source, &old).await {
                    if !overridden(Guard::Rehash) {
                        held.push(Guard::Rehash.hold(
                            "the checksums of what was sent can't be computed any more".into(),
                            format!(
                                "{reason}; choose: --override rehash sends every row again, \
                                 `rowcast baseline {}` accepts the present rows as sent",
                                sync.name
                            ),
                        ));
                        return Ok(current);
                    }
                } else if lease.is_none() || request.dry_run || !may {
                    // To look, the old checksums serve as well as the new ones.
                    return Ok(HashPlan {
                        mode: current.mode,
                        on: current.on,
                        ..*old
                    });
                } else if let Some(lease) = lease {
                    let rehashed = self.rehash(lease, shape, source, &old, &current).await?;
                    notes.push(format!("{rehashed} checksums were rewritten without sending: the mapping only lost fields"));
                }
                self.store_plan(lease, request, &current, Some(&stored))
                    .await?;
                Ok(current)
            }
        }
    }

    /// Stores the plan before the first request, so that acknowledgements are about it.
    async fn store_plan(
        &self,
        lease: Option<&Lease>,
        request: &DiffRequest,
        plan: &HashPlan,
        stored: Option<&HashPlan>,
    ) -> Result<(), Reason> {
        let Some(lease) = lease else { return Ok(()) };
        if request.dry_run || stored == Some(plan) {
            return Ok(());
        }
        let session = self.session.lock().await;
        let session = session
            .as_ref()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        let (client, shape) = (&session.connection.client, &session.shape);
        let json = serde_json::to_string(plan)
            .map_err(|error| Reason::defect(format!("a plan can't be written: {error}")))?;
        let failed = |error| db_error(&error, "storing the checksum plan");
        let sql = format!(
            "UPDATE {} SET plan = $2::text::jsonb WHERE id = $1",
            shape.shared("sync")
        );
        // Rows far behind a cursor's watermark are concerned too: the next runs compare all.
        let compare_all = format!(
            "UPDATE {} SET full_diff_at = NULL WHERE sync_id = $1",
            shape.shared("progress")
        );
        session
            .fence(lease)
            .all_or_nothing(async {
                client
                    .query_typed(&sql, &[(&shape.sync, Type::INT4), (&json, Type::TEXT)])
                    .await
                    .map_err(failed)?;
                client
                    .query_typed(&compare_all, &[(&shape.sync, Type::INT4)])
                    .await
                    .map_err(failed)?;
                match stored {
                    Some(stored) if stored.mode != plan.mode || stored.on != plan.on => {
                        self.widen(client, shape).await
                    }
                    _ => Ok(()),
                }
            })
            .await?;
        killpoint::reach("ledger-plan-stored");
        Ok(())
    }

    /// The mode or the selection changed (semantics 16): what was skipped before counts as updated,
    /// and tombstones that the new mode does not keep are forgotten.
    async fn widen(&self, client: &tokio_postgres::Client, shape: &Shape) -> Result<(), Reason> {
        let failed = |error| db_error(&error, "applying the new mode to state");
        let state = shape.table("state");
        // A mode that deletes by identity must know which one was delivered.
        let unknown = if self.config.sync.match_columns.is_some() {
            " OR m IS NULL"
        } else {
            ""
        };
        client
            .batch_execute(&format!(
                "UPDATE {state} SET h = NULL WHERE mark = 's'{unknown}"
            ))
            .await
            .map_err(failed)?;
        if !self.config.sync.mode.keeps_tombstones() {
            let sql = format!(
                "WITH gone AS (DELETE FROM {state} WHERE mark = 't' RETURNING 1) \
                 UPDATE {} SET rows = rows - (SELECT count(*) FROM gone) WHERE sync_id = $1",
                shape.shared("progress")
            );
            client
                .query_typed(&sql, &[(&shape.sync, Type::INT4)])
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    async fn remember(&self, lease: Option<&Lease>, request: &DiffRequest, extracted: &Extracted) {
        if lease.is_none() || request.dry_run {
            return;
        }
        let mut session = self.session.lock().await;
        let Some(session) = session.as_mut() else {
            return;
        };
        let counts = &extracted.counts;
        let changes = counts.added + counts.updated + counts.removed + counts.retried;
        session.logged = match self.config.sync.log {
            LogLevel::All => Logged::All,
            LogLevel::Default if changes < LOG_ALL_BELOW => Logged::All,
            _ => Logged::Errors,
        };
        session.after = AfterDiff {
            ran: true,
            full: extracted.full,
            bounded: !request.keys.is_empty() || request.limit.is_some(),
            checked: extracted.checked,
            unique: extracted.unique,
            model_digest: Some(extracted.model_digest.clone()),
            duplicates: extracted.duplicates.clone(),
            obsolete: extracted.obsolete.clone(),
            watermark: extracted.watermark.clone(),
        };
    }

    async fn commit_step(&self, lease: &Lease, step: Step) -> Result<(), Reason> {
        let mut session = self.session.lock().await;
        let session = session
            .as_mut()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        let mut attempt = 0;
        let mut unsure = None;
        loop {
            match self.try_step(session, lease, &step, &mut unsure).await {
                Err(reason)
                    if reason.code == Code::ConnectionLost
                        && attempt < RECONNECTS
                        && lease.outlives(Instant::now(), Duration::ZERO) =>
                {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                }
                result => return result,
            }
        }
    }

    /// A lost answer to COMMIT is looked up, so that no step counts twice.
    async fn try_step(
        &self,
        session: &mut Session,
        lease: &Lease,
        step: &Step,
        unsure: &mut Option<String>,
    ) -> Result<(), Reason> {
        session.ensure_connected(self.state_connector()).await?;
        if let Some(transaction) = unsure {
            match commit::took_effect(&session.connection.client, transaction).await? {
                Some(true) => return Ok(()),
                Some(false) => *unsure = None,
                None => {
                    return Err(Reason::new(
                        Code::ConnectionLost,
                        "the server is still busy with an acknowledgement whose connection was lost",
                    ));
                }
            }
        }
        let writer = Writer {
            client: &session.connection.client,
            shape: &session.shape,
            mode: self.config.sync.mode,
            keep_rows: self.config.sync.keep_rows,
            logged: session.logged,
        };
        writer.commit(lease, step, &session.open, unsure).await
    }

    async fn recover_intents(&self, lease: &Lease, committed: &[Committed]) -> Result<(), Reason> {
        let session = self.session.lock().await;
        let session = session
            .as_ref()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        let intents = read_intents(&session.connection, &session.shape, lease.epoch).await?;
        if intents.is_empty() {
            return Ok(());
        }
        let writer = Writer {
            client: &session.connection.client,
            shape: &session.shape,
            mode: self.config.sync.mode,
            keep_rows: self.config.sync.keep_rows,
            logged: Logged::Errors,
        };
        let sql = format!(
            "DELETE FROM {} WHERE epoch < $1",
            session.shape.table("intent")
        );
        session
            .fence(lease)
            .all_or_nothing(async {
                for (intent, run) in &intents {
                    writer
                        .settle(*run, &settle_intent(intent, committed))
                        .await?;
                }
                writer
                    .client
                    .query_typed(&sql, &[(&lease.epoch, Type::INT8)])
                    .await
                    .map_err(|error| db_error(&error, "settling the intents of an earlier run"))?;
                killpoint::reach("ledger-recovery-written");
                Ok(())
            })
            .await?;
        killpoint::reach("ledger-recovered");
        Ok(())
    }

    async fn renew_lease(&self, lease: &Lease) -> Result<(), Reason> {
        let asked = Instant::now();
        let mut session = self.session.lock().await;
        let Some(session) = session.as_mut() else {
            return Ok(());
        };
        session.ensure_connected(self.state_connector()).await?;
        let renewed = lease::renew(
            &session.connection.client,
            &session.shape,
            lease.epoch,
            session.term,
        )
        .await?;
        match renewed {
            None => {
                lease.lose();
                Err(commit::lease_lost())
            }
            Some(cancelled) => {
                lease.extend(asked + session.term);
                if cancelled {
                    return Err(Reason::new(
                        Code::Cancelled,
                        "the run was cancelled by `rowcast cancel`",
                    ));
                }
                Ok(())
            }
        }
    }

    async fn finish_run(&self, lease: &Lease, report: &RunReport) -> Result<(), Reason> {
        let mut guard = self.session.lock().await;
        let Some(session) = guard.as_mut() else {
            return Ok(());
        };
        session.ensure_connected(self.state_connector()).await?;
        let (client, shape) = (&session.connection.client, &session.shape);
        session
            .fence(lease)
            .all_or_nothing(self.write_end(session, lease, report))
            .await?;
        killpoint::reach("ledger-finished");
        let moved = report.delivered + report.skipped;
        if moved > 1_000 && moved * 5 > report.counts.state_rows {
            // A planner that believes the state table is empty would choose badly next time.
            let _ = client
                .batch_execute(&format!("ANALYZE {}", shape.table("state")))
                .await;
        }
        *guard = None;
        Ok(())
    }

    async fn write_end(
        &self,
        session: &Session,
        lease: &Lease,
        report: &RunReport,
    ) -> Result<(), Reason> {
        let (client, shape) = (&session.connection.client, &session.shape);
        admin::write_report(client, shape, report, &self.config.sync.overrides).await?;
        let ended = matches!(report.status, RunStatus::Succeeded | RunStatus::Partial);
        if session.after.ran && report.status != RunStatus::Held {
            self.write_progress(session, report, ended).await?;
        }
        let sql = format!(
            "UPDATE {} SET lease_until = NULL, lease_owner = NULL, cancel_epoch = NULL WHERE id = $1 AND epoch = $2",
            shape.shared("sync")
        );
        client
            .query_typed(
                &sql,
                &[(&shape.sync, Type::INT4), (&lease.epoch, Type::INT8)],
            )
            .await
            .map_err(|error| db_error(&error, "ending the run"))?;
        killpoint::reach("ledger-finish-written");
        Ok(())
    }

    async fn write_progress(
        &self,
        session: &Session,
        report: &RunReport,
        ended: bool,
    ) -> Result<(), Reason> {
        let (client, shape, after) = (&session.connection.client, &session.shape, &session.after);
        let failed = |error| db_error(&error, "ending the run");
        let writer = Writer {
            client,
            shape,
            mode: self.config.sync.mode,
            keep_rows: false,
            logged: Logged::Errors,
        };
        writer
            .forget_rejects(&KeyArrays::of(shape, &after.obsolete))
            .await?;
        if after.checked {
            client
                .batch_execute(&format!("DELETE FROM {}", shape.table("frozen")))
                .await
                .map_err(failed)?;
            let keys = KeyArrays::of(shape, after.duplicates.iter().map(|(key, _)| key));
            if !keys.is_empty() {
                let rows: Vec<i64> = after.duplicates.iter().map(|(_, rows)| *rows).collect();
                let names = shape.names("");
                let sql = format!(
                    "INSERT INTO {} ({names}, rows) SELECT * FROM {}",
                    shape.table("frozen"),
                    shape.unnest(&[&format!("${}::bigint[]", shape.keys.len() + 1)])
                );
                let mut params = keys.params();
                params.push((&rows, Type::INT8_ARRAY));
                client.query_typed(&sql, &params).await.map_err(failed)?;
            }
        }
        // The watermark moves only when nothing is left behind it (semantics 18).
        let settled = ended && report.pending == 0 && report.invalid == 0 && !after.bounded;
        let watermark = if settled {
            after.watermark.clone()
        } else {
            None
        };
        let full = settled && after.full;
        // A source that moved back is believed when somebody said so, not when a run went wrong.
        let believed =
            session.moved_back.is_none() || self.config.sync.overrides.contains(&Guard::MovedBack);
        let source = if believed {
            session.source.clone()
        } else {
            SourceIdentity::default()
        };
        // A key that is no key makes runs fail: look before the next one.
        let doubtful = report.status == RunStatus::Failed && !after.checked && !after.unique;
        let sql = format!(
            "UPDATE {} SET model_digest = CASE WHEN $2 OR $3 THEN $4 ELSE model_digest END, \
             runs_since_check = CASE WHEN $10 THEN {UNIQUENESS_RUNS} WHEN $2 OR $3 THEN 0 ELSE runs_since_check + 1 END, \
             watermark = CASE WHEN model_digest IS DISTINCT FROM $4 THEN $5 ELSE coalesce($5, watermark) END, \
             full_diff_at = CASE WHEN $6 THEN clock_timestamp() \
             WHEN model_digest IS DISTINCT FROM $4 THEN NULL ELSE full_diff_at END, \
             system_identifier = coalesce($7, system_identifier), timeline = coalesce($8, timeline), \
             wal_position = coalesce($9, wal_position) WHERE sync_id = $1",
            shape.shared("progress")
        );
        client
            .query_typed(
                &sql,
                &[
                    (&shape.sync, Type::INT4),
                    (&after.checked, Type::BOOL),
                    (&after.unique, Type::BOOL),
                    (&after.model_digest, Type::TEXT),
                    (&watermark, Type::TEXT),
                    (&full, Type::BOOL),
                    (&source.system, Type::TEXT),
                    (&source.timeline, Type::INT4),
                    (&source.position, Type::TEXT),
                    (&doubtful, Type::BOOL),
                ],
            )
            .await
            .map_err(failed)?;
        Ok(())
    }
}

/// The settled records of an earlier run's intent: acknowledged where the destination holds the
/// batch, doubts otherwise.
fn settle_intent(intent: &Intent, committed: &[Committed]) -> Vec<Settled> {
    let held = committed
        .iter()
        .find(|committed| committed.epoch == intent.epoch && committed.intent == intent.id);
    let unknown = || {
        Reason::new(
            Code::NoResult,
            "an earlier run ended before the destination's answer was recorded",
        )
        .hint("the row is sent again with its newest values")
    };
    let items = intent.items.iter().enumerate();
    items
        .map(|(position, item)| {
            let operation = item.operation;
            let verdict = match held {
                None => Verdict::Unknown {
                    operation,
                    reason: unknown(),
                },
                Some(held) => match held.rejected.iter().find(|(at, _)| *at == position) {
                    None => Verdict::Delivered(operation),
                    Some((_, message)) => Verdict::Rejected {
                        operation,
                        reason: Reason::new(Code::DestinationRejected, message.clone()),
                        doubt: false,
                    },
                },
            };
            Settled {
                key: item.key.clone(),
                kind: if operation == Operation::Delete {
                    Kind::Removed
                } else {
                    Kind::Updated
                },
                checksum: item.checksum,
                verdict,
                retried: true,
                match_values: item.match_values.clone(),
                sent: None,
                idempotency_key: None,
                keep_state: false,
            }
        })
        .collect()
}

fn refuse_replica(connection: &Connection, elsewhere: bool) -> Result<(), Reason> {
    if !connection.server.in_recovery {
        return Ok(());
    }
    Err(Reason::new(Code::StateNotWritable, "state can't be written on a replica")
        .detail("the server is in recovery: it takes no writes")
        .hint(if elsewhere {
            "point the source named by `state:` to a primary server"
        } else {
            "read from the replica and keep state elsewhere: add `state: { source: NAME }` to the source"
        }))
}

/// Which server this is. What the role may not see is left out.
async fn source_identity(connection: &Connection) -> SourceIdentity {
    let position = read_text(
        connection,
        "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text",
    )
    .await;
    let timeline = read_text(
        connection,
        "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_control_checkpoint()).timeline_id::text \
         ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int::text END",
    )
    .await;
    SourceIdentity {
        system: connection.server.system_identifier.map(|id| id.to_string()),
        timeline: timeline.and_then(|text| text.parse().ok()),
        position,
    }
}

async fn read_text(connection: &Connection, sql: &str) -> Option<String> {
    let rows = connection.client.query_typed(sql, &[]).await.ok()?;
    rows.first()?.try_get::<_, Option<String>>(0).ok()?
}

async fn start_run(
    connection: &Connection,
    shape: &Shape,
    epoch: i64,
    generation: i32,
    trigger: &str,
) -> Result<i64, Reason> {
    let failed = |error| db_error(&error, "starting the run");
    let history = shape.shared("run_history");
    let client = &connection.client;
    // A run that never ended is told as what it is.
    let sql = format!(
        "UPDATE {history} SET status = 'failed', finished_at = clock_timestamp(), error_code = $2, \
         error_message = 'the process ended before the run did; this run settles what it left' \
         WHERE sync_id = $1 AND status = 'running'"
    );
    let code = Code::RunFailed.to_string();
    client
        .query_typed(&sql, &[(&shape.sync, Type::INT4), (&code, Type::TEXT)])
        .await
        .map_err(failed)?;
    let sql = format!(
        "INSERT INTO {history} (sync_id, generation, epoch, trigger, status) \
         VALUES ($1, $2, $3, $4, 'running') RETURNING run"
    );
    let trigger = if trigger.is_empty() { "cli" } else { trigger };
    let rows = client
        .query_typed(
            &sql,
            &[
                (&shape.sync, Type::INT4),
                (&generation, Type::INT4),
                (&epoch, Type::INT8),
                (&trigger, Type::TEXT),
            ],
        )
        .await
        .map_err(failed)?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// Intents of earlier epochs, with the run that announced them.
async fn read_intents(
    connection: &Connection,
    shape: &Shape,
    epoch: i64,
) -> Result<Vec<(Intent, i32)>, Reason> {
    let keys: Vec<String> = (1..=shape.keys.len())
        .map(|i| format!("k{i}::text[]"))
        .collect();
    let sql = format!(
        "SELECT intent, epoch, run, ops, hs, ms, {} FROM {} WHERE epoch < $1 ORDER BY epoch, intent",
        keys.join(", "),
        shape.table("intent")
    );
    let rows = connection
        .client
        .query_typed(&sql, &[(&epoch, Type::INT8)])
        .await
        .map_err(|error| db_error(&error, "reading the intents of an earlier run"))?;
    let mut intents = Vec::new();
    for row in &rows {
        let operations: String = row.get(3);
        let checksums: Vec<Option<i64>> = row.get(4);
        let matches: Vec<Option<String>> = row.get(5);
        let columns: Vec<Vec<String>> = (0..shape.keys.len()).map(|i| row.get(6 + i)).collect();
        let mut items = Vec::new();
        for (i, letter) in operations.chars().enumerate() {
            let parts: Vec<String> = columns
                .iter()
                .filter_map(|column| column.get(i).cloned())
                .collect();
            items.push(IntentItem {
                key: shape.parse_key(&parts)?,
                operation: Operation::from_letter(letter)
                    .ok_or_else(|| Reason::defect("an intent names an unknown operation"))?,
                checksum: checksums.get(i).copied().flatten(),
                match_values: matches
                    .get(i)
                    .cloned()
                    .flatten()
                    .and_then(|text| matching::texts(&text)),
            });
        }
        intents.push((
            Intent {
                id: row.get(0),
                epoch: row.get(1),
                items,
            },
            row.get(2),
        ));
    }
    Ok(intents)
}

impl Ledger for PgLedger {
    fn open<'a>(&'a self, request: &'a OpenRequest) -> BoxFuture<'a, Result<Opened, Reason>> {
        Box::pin(self.open_session(request))
    }

    fn recover<'a>(
        &'a self,
        lease: &'a Lease,
        committed: &'a [Committed],
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.recover_intents(lease, committed))
    }

    fn changes<'a>(
        &'a self,
        lease: Option<&'a Lease>,
        request: &'a DiffRequest,
    ) -> BoxFuture<'a, Result<ChangeSet, Reason>> {
        Box::pin(self.extract(lease, request))
    }

    fn commit<'a>(&'a self, lease: &'a Lease, step: Step) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.commit_step(lease, step))
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.renew_lease(lease))
    }

    fn finish<'a>(
        &'a self,
        lease: &'a Lease,
        report: &'a RunReport,
    ) -> BoxFuture<'a, Result<(), Reason>> {
        Box::pin(self.finish_run(lease, report))
    }
}

/// The change set, read from the spool.
struct Reader {
    layout: Layout,
    spool: SpoolReader,
}

impl ChangeReader for Reader {
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Change>, Reason>> {
        let mut changes = Vec::with_capacity(max.min(1024));
        let read = loop {
            if changes.len() == max {
                break Ok(changes);
            }
            match self.spool.next() {
                Ok(None) => break Ok(changes),
                Ok(Some(tuple)) => match self.layout.change(tuple) {
                    Ok(change) => changes.push(change),
                    Err(reason) => break Err(reason),
                },
                Err(reason) => break Err(reason),
            }
        };
        Box::pin(std::future::ready(read))
    }

    fn rewind(&mut self) -> BoxFuture<'_, Result<bool, Reason>> {
        let rewound = self.spool.rewind().map(|()| true);
        Box::pin(std::future::ready(rewound))
    }
}
