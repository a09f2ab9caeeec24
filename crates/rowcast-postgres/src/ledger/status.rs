//! How syncs stand. It must never need the model, nor wait for a run.

use std::collections::{BTreeMap, BTreeSet};

use rowcast_core::Reason;
use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::admin::{RunRow, StateAdmin, query};
use super::lease;
use super::runs::Which;
use crate::connect::db_error;

/// How a sync stands.
#[derive(Debug, Clone, Serialize)]
pub struct SyncStatus {
    pub sync: String,
    pub paused: bool,
    pub running: bool,
    pub rows: i64,
    pub rejects: i64,
    pub doubts: i64,
    pub frozen: i64,
    pub last_run: Option<RunRow>,
    /// The last that is not going on.
    pub last_ended: Option<RunRow>,
    /// A server was asked for a run that has not begun.
    pub waiting: bool,
}

impl StateAdmin {
    /// How syncs stand, by name: those that are named, or all.
    ///
    /// # Errors
    /// State can't be read.
    pub async fn status(&self, names: &[String]) -> Result<Vec<SyncStatus>, Reason> {
        let Some(connection) = self.open().await? else {
            return Ok(Vec::new());
        };
        let client = &connection.client;
        // One question for all syncs, and one for what is beside their state: an API is asked this
        // often, and of many.
        let sql = format!(
            "SELECT s.id, s.name, s.paused, coalesce(s.lease_until > clock_timestamp(), false), p.rows, s.lease_owner, \
             to_regclass($1 || '.reject_' || s.id) IS NOT NULL, \
             (SELECT max(r.run) FROM {s}.run_history r WHERE r.sync_id = s.id), \
             (SELECT max(r.run) FROM {s}.run_history r WHERE r.sync_id = s.id AND r.status <> 'running'), \
             to_regclass($1 || '.control_job') IS NOT NULL \
             FROM {s}.sync s JOIN {s}.progress p ON p.sync_id = s.id \
             WHERE cardinality($2::text[]) = 0 OR s.name = ANY ($2) ORDER BY s.name",
            s = crate::sql::ident(&self.schema)
        );
        let place = crate::sql::ident(&self.schema);
        let what = "reading the status of syncs";
        let rows = client
            .query_typed(&sql, &[(&place, Type::TEXT), (&names, Type::TEXT_ARRAY)])
            .await
            .map_err(|error| db_error(&error, what))?;
        let last: Vec<i64> = rows
            .iter()
            .flat_map(|row| [row.get::<_, Option<i64>>(7), row.get(8)])
            .flatten()
            .collect();
        let last_runs: BTreeMap<i64, RunRow> = self
            .read_runs(client, &Which::Exactly(&last), i64::MAX)
            .await?
            .into_iter()
            .map(|run| (run.run, run))
            .collect();
        let with_tables: Vec<i32> = rows
            .iter()
            .filter(|row| row.get(6))
            .map(|row| row.get(0))
            .collect();
        // When a server keeps its own tables here.
        let mut waiting = BTreeSet::new();
        if rows.first().is_some_and(|row| row.get(9)) {
            let job = crate::sql::qualified(&self.schema, "control_job");
            let sql = format!("SELECT sync FROM {job} WHERE status = 'queued'");
            let queued = query(client, &sql, what).await?;
            waiting.extend(queued.iter().map(|row| row.get::<_, String>(0)));
        }
        let mut beside = self.count_beside(client, &with_tables).await?;
        connection.give_back();
        let mut found = Vec::new();
        for row in &rows {
            let (id, name): (i32, String) = (row.get(0), row.get(1));
            let owner: Option<String> = row.get(5);
            let alive = owner.is_some_and(|owner| !lease::is_dead(&owner));
            let (rejects, doubts, frozen) = beside.remove(&id).unwrap_or_default();
            let run_of = |column: usize| {
                let run = row.get::<_, Option<i64>>(column)?;
                last_runs.get(&run).cloned()
            };
            found.push(SyncStatus {
                paused: row.get(2),
                running: row.get::<_, bool>(3) && alive,
                rows: row.get(4),
                rejects,
                doubts,
                frozen,
                last_run: run_of(7),
                last_ended: run_of(8),
                waiting: waiting.contains(&name),
                sync: name,
            });
        }
        Ok(found)
    }

    /// Rejects, doubts and frozen keys of syncs.
    async fn count_beside(
        &self,
        client: &Client,
        syncs: &[i32],
    ) -> Result<BTreeMap<i32, (i64, i64, i64)>, Reason> {
        let mut counts = BTreeMap::new();
        // The text of a statement has its limits, and so have the locks of one.
        for part in syncs.chunks(500) {
            let table =
                |kind: &str, id: &i32| crate::sql::qualified(&self.schema, &format!("{kind}_{id}"));
            let selects: Vec<String> = part
                .iter()
                .map(|id| {
                    format!(
                        "SELECT {id}, (SELECT count(*) FROM {}), (SELECT count(*) FROM {}), (SELECT count(*) FROM {})",
                        table("reject", id),
                        table("doubt", id),
                        table("frozen", id)
                    )
                })
                .collect();
            let sql = selects.join(" UNION ALL ");
            for row in query(client, &sql, "reading the status of syncs").await? {
                counts.insert(row.get(0), (row.get(1), row.get(2), row.get(3)));
            }
        }
        Ok(counts)
    }
}
