//! The end of a run: its report, the watermark, what is known of uniqueness, the lease given back.

use rowcast_core::guard::Guard;
use rowcast_core::ledger::Lease;
use rowcast_core::report::Cost;
use rowcast_core::{Code, Key, Reason, RunReport, RunStatus, killpoint};
use tokio_postgres::types::Type;

use super::commit::Writer;
use super::extract::UNIQUENESS_RUNS;
use super::open::SourceIdentity;
use super::row_log::Logged;
use super::shape::KeyArrays;
use super::step::{may_reconnect, pause};
use super::{PgLedger, Session, fold, history, layout, lease as leases, recent};
use crate::connect::db_error;

/// What the end of the run writes about its diff.
#[derive(Debug, Default)]
pub(super) struct AfterDiff {
    pub(super) ran: bool,
    pub(super) full: bool,
    pub(super) bounded: bool,
    pub(super) checked: bool,
    pub(super) unique: bool,
    pub(super) model_digest: Option<String>,
    pub(super) duplicates: Vec<(Key, i64)>,
    pub(super) obsolete: Vec<Key>,
    pub(super) watermark: Option<String>,
}

impl PgLedger {
    pub(super) async fn finish_run(&self, lease: &Lease, report: &RunReport) -> Result<(), Reason> {
        let mut guard = self.session.lock().await;
        let Some(session) = guard.as_mut() else {
            return Ok(());
        };
        let (folded, remarks) = self.fold_marked(session, lease, report).await?;
        let mut told = report.clone();
        told.notes.extend(remarks.iter().cloned());
        let report = &told;
        if let Ok(mut kept) = self.remarks.lock() {
            *kept = remarks;
        }
        // Writing the end twice is harmless: a lost answer needs no question.
        let mut attempt = 0;
        loop {
            match self.try_finish(session, lease, report).await {
                Err(reason) if may_reconnect(&reason, attempt, lease) => {
                    attempt += 1;
                    tokio::time::sleep(pause(attempt)).await;
                }
                ended => break ended.map_err(layout::not_writable)?,
            }
        }
        let (client, shape) = (&session.connection.client, &session.shape);
        killpoint::reach("ledger-finished");
        session.connection.wait_at_most(None);
        // A fold has told the planner already.
        let moved = (report.delivered + report.skipped).saturating_sub(folded);
        if moved > 1_000 && moved * 5 > report.counts.state_rows {
            // A planner that believes the state table is empty would choose badly next time.
            let _ = client
                .batch_execute(&format!("ANALYZE {}", shape.own("state")))
                .await;
        }
        if let Some(retention) = &self.retention {
            history::forget(client, shape, retention).await;
        }
        *guard = None;
        Ok(())
    }

    /// Folds what this run acknowledged as whole intents, and what is too much of recent rows. Nothing
    /// is lost when that fails: a later run does it. Gives the number of new rows that were folded, and
    /// what the report should say of what was not.
    ///
    /// # Errors
    /// The lease is lost; the connection is, and can't be made again.
    async fn fold_marked(
        &self,
        session: &mut Session,
        lease: &Lease,
        report: &RunReport,
    ) -> Result<(u64, Vec<String>), Reason> {
        let mut remarks = Vec::new();
        // The exit of a cancelled run is bounded.
        if !(session.marked || session.recent) || report.status == RunStatus::Cancelled {
            session.ahead.leave(&mut session.began);
            return Ok((0, remarks));
        }
        session.ensure_connected(self.state_connector()).await?;
        // Its statements are as long as state is large, not as a lease.
        session.connection.wait_at_most(None);
        let mut folded = 0;
        if session.marked {
            let ahead = session.ahead.end(lease).await;
            session.ahead.account(&mut session.began).await;
            match fold::fold(&session.fence(lease), session.term, ahead).await {
                Ok(rows) => {
                    session.marked = false;
                    folded = rows;
                }
                Err(reason) if reason.code == Code::LeaseLost => return Err(reason),
                Err(reason) => {
                    tracing::warn!(%reason, "acknowledged rows are folded by the next run");
                    remarks.push(format!(
                        "delivered rows could not be moved into state, which the next run does first: {reason}"
                    ));
                }
            }
        }
        if session.recent {
            match recent::fold_some(&session.fence(lease), self.recent, session.term).await {
                Ok(()) => session.recent = false,
                Err(reason) if reason.code == Code::LeaseLost => return Err(reason),
                Err(reason) => {
                    tracing::warn!(%reason, "recent rows stay beside state until a later run");
                    remarks.push(format!(
                        "recent changes could not be moved into state, which a later run does: {reason}"
                    ));
                }
            }
        }
        let patience = leases::patience(session.term);
        session.connection.wait_at_most(Some(patience));
        Ok((folded, remarks))
    }

    async fn try_finish(
        &self,
        session: &mut Session,
        lease: &Lease,
        report: &RunReport,
    ) -> Result<(), Reason> {
        session.ensure_connected(self.state_connector()).await?;
        let connection = &session.connection;
        let version = connection.server.version_num;
        let cost = self
            .meter
            .close(&connection.client, &session.began, version)
            .await;
        session
            .fence(lease)
            .all_or_nothing(self.write_end(session, lease, report, Some(cost)))
            .await
    }

    pub(super) async fn write_end(
        &self,
        session: &Session,
        lease: &Lease,
        report: &RunReport,
        cost: Option<Cost>,
    ) -> Result<(), Reason> {
        let (client, shape) = (&session.connection.client, &session.shape);
        let overrides = &self.config.sync.overrides;
        history::write_report(client, shape, report, overrides, cost).await?;
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

    pub(super) async fn write_progress(
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
            recent: false,
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
