//! What a changed mapping, mode or column type means for state, before anything is compared.
//!
//! Must never let a guard's question be answered by sending.

use rowcast_core::guard::{Guard, Held};
use rowcast_core::ledger::{DiffRequest, Lease};
use rowcast_core::{Mode, Reason, killpoint};
use tokio_postgres::types::Type;

use super::PgLedger;
use super::diff::DataColumn;
use super::plan::{HashPlan, PlanChange};
use super::recent;
use super::registry::Registered;
use super::shape::Shape;
use crate::connect::{Connection, db_error};

impl PgLedger {
    /// Compares the present checksum plan with the stored one and does what the difference asks.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of `extract`, split out to be read alone"
    )]
    pub(super) async fn settle_plan(
        &self,
        lease: Option<&Lease>,
        request: &DiffRequest,
        shape: &Shape,
        registered: &Registered,
        data: &[DataColumn],
        source: &Connection,
        held: &mut Vec<Held>,
        notes: &mut Vec<String>,
    ) -> Result<HashPlan, Reason> {
        let sync = &self.config.sync;
        let columns: Vec<_> = data
            .iter()
            .map(|column| (column.name.clone(), column.facts.clone()))
            .collect();
        let current = HashPlan::new(
            &columns,
            &sync.digests,
            &self.config.model.time_zone,
            registered.random,
            registered.backfill,
            sync.mode,
            sync.on,
        )
        .with_gate(&sync.gate);
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
                        let mut rehash = Guard::Rehash.hold(
                            "the checksums of what was sent can't be computed any more".into(),
                            format!("so it can't be told which rows changed: {reason}"),
                        );
                        rehash.reason = rehash.reason.hint(format!(
                            "run again with `--override rehash` to send every row again, or \
                             `rowcast baseline {}` to accept the present rows as sent",
                            sync.name
                        ));
                        held.push(rehash);
                        return Ok(current);
                    }
                } else if lease.is_none() || request.dry_run || !may {
                    // To look, the old checksums serve as well as the new ones.
                    return Ok(HashPlan {
                        mode: current.mode,
                        on: current.on,
                        gate: current.gate,
                        ..*old
                    });
                } else if let Some(lease) = lease {
                    let rehashed = self.rehash(lease, shape, source, &old, &current).await?;
                    notes.push(format!("{rehashed} checksums were rewritten without sending: the mapping only lost fields, or other columns are read"));
                }
                self.store_plan(lease, request, &current, Some(&stored))
                    .await?;
                Ok(current)
            }
        }
    }

    /// Stores the plan before the first request, so that acknowledgements are about it.
    pub(super) async fn store_plan(
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
                    Some(stored) if plan.selects_otherwise(stored) => {
                        self.widen(client, shape).await
                    }
                    _ => Ok(()),
                }
            })
            .await?;
        killpoint::reach("ledger-plan-stored");
        Ok(())
    }

    /// The mode, the selection or the gate changed (semantics 16): what was skipped before counts as updated,
    /// and tombstones that the new mode does not keep are forgotten.
    pub(super) async fn widen(
        &self,
        client: &tokio_postgres::Client,
        shape: &Shape,
    ) -> Result<(), Reason> {
        let failed = |error| db_error(&error, "applying the new mode to state");
        recent::fold_all(client, shape).await?;
        let state = shape.own("state");
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
}
