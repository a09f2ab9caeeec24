//! The start of a run: the sync and its tables, the lease, the source's identity, what an earlier
//! run left behind.
//!
//! Must never take a lease for a state that belongs to another place.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rowcast_core::guard::{Guard, Held};
use rowcast_core::ledger::{Lease, OpenRequest, Opened};
use rowcast_core::{Code, Reason, killpoint};
use tokio_postgres::types::Type;

use super::commit::Fence;
use super::finish::AfterDiff;
use super::fold_ahead::{Ahead, Folded};
use super::model::Model;
use super::recovery::read_intents;
use super::row_log::Logged;
use super::shape::Shape;
use super::{PgLedger, Session, cost, fold, layout, lease, model, registry};
use crate::connect::{Connection, db_error};

/// Which server, and where in its history (semantics 20).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SourceIdentity {
    pub(super) system: Option<String>,
    pub(super) timeline: Option<i32>,
    /// As text; compared by the server.
    pub(super) position: Option<String>,
}

impl PgLedger {
    pub(super) async fn open_session(&self, request: &OpenRequest) -> Result<Opened, Reason> {
        let schema = &self.config.state_schema;
        let connection = self.state_connector().connect().await?;
        let client = &connection.client;
        refuse_replica(&connection, self.config.state.is_some())?;
        layout::ensure(client, schema, &self.config.source_name).await?;
        let (model, source) = if self.config.state.is_some() {
            let source = self.config.source.connect().await?;
            self.describe(&source).await?
        } else {
            self.describe(&connection).await?
        };
        let keys = model.keys.clone();
        let sync = &self.config.sync;
        let (mut registered, mut shape) =
            registry::ensure(client, schema, sync, &keys, self.first_seed)
                .await
                .map_err(layout::not_writable)?;
        let term = lease::term(request.request_timeout);
        let taken = lease::take(client, &shape, &sync.name, term, request.wait)
            .await
            .map_err(layout::not_writable)?;
        killpoint::reach("ledger-leased");
        let started = async {
            // A reset may have come between finding the sync and holding its lease.
            (registered, shape) =
                registry::ensure(client, schema, sync, &keys, self.first_seed).await?;
            // Before anything looks at state: what an earlier run acknowledged and did not fold.
            let probe = Lease::new(
                registered.uuid.clone(),
                0,
                taken.epoch,
                taken.generation.into(),
                taken.deadline,
            );
            let open = AtomicBool::new(false);
            let fence = Fence {
                client,
                shape: &shape,
                lease: &probe,
                open: &open,
            };
            if lease::has_acknowledged(client, &shape).await? {
                fold::fold(&fence, term, Folded::default()).await?;
            }
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
            );
            // Four questions in one breath: the answers come in this order.
            tokio::try_join!(
                self.moved_back(&connection, &shape, &source),
                run,
                read_intents(&connection, &shape, taken.epoch),
                async { Ok(cost::look(client).await) }
            )
            .map(|(moved_back, run, intents, began)| {
                (moved_back, run, intents, began, probe.deadline())
            })
        }
        .await;
        let (moved_back, run, open_intents, began, deadline) = match started {
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
            deadline,
        ));
        *self.session.lock().await = Some(Session {
            connection,
            shape,
            model,
            registered,
            term,
            source,
            began,
            moved_back,
            logged: Logged::Errors,
            after: AfterDiff::default(),
            marked: false,
            recent: false,
            ahead: Ahead::default(),
            open: AtomicBool::new(false),
        });
        Ok(Opened {
            lease,
            open_intents: open_intents.into_iter().map(|(intent, _)| intent).collect(),
        })
    }

    /// The model, and the place and time of its server.
    ///
    /// # Errors
    /// The model can't be read.
    pub(super) async fn describe(
        &self,
        connection: &Connection,
    ) -> Result<(Model, SourceIdentity), Reason> {
        let client = &connection.client;
        let described = async {
            model::begin(client, &self.config.model, None).await?;
            model::describe(client, &self.config).await
        }
        .await;
        let (_, identity) = tokio::join!(
            client.batch_execute("ROLLBACK"),
            source_identity(connection)
        );
        Ok((described?, identity))
    }

    /// A restored backup, a failover or a staging clone with our schema inside.
    pub(super) async fn moved_back(
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
pub(super) async fn source_identity(connection: &Connection) -> SourceIdentity {
    let (position, timeline) = tokio::join!(
        read_text(
            connection,
            "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text",
        ),
        read_text(
            connection,
            "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_control_checkpoint()).timeline_id::text \
             ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int::text END",
        )
    );
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
        "WITH ended AS (UPDATE {history} SET status = 'failed', finished_at = clock_timestamp(), error_code = $5, \
         error_message = 'the process ended before the run did; this run settles what it left' \
         WHERE sync_id = $1 AND status = 'running') \
         INSERT INTO {history} (sync_id, generation, epoch, trigger, status) \
         VALUES ($1, $2, $3, $4, 'running') RETURNING run"
    );
    let code = Code::RunFailed.to_string();
    let trigger = if trigger.is_empty() { "cli" } else { trigger };
    let rows = client
        .query_typed(
            &sql,
            &[
                (&shape.sync, Type::INT4),
                (&generation, Type::INT4),
                (&epoch, Type::INT8),
                (&trigger, Type::TEXT),
                (&code, Type::TEXT),
            ],
        )
        .await
        .map_err(failed)?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}
