//! Whether a query is asked for its rows in the order of the key.
//!
//! A query that groups or joins by its key often gives its rows in that order anyway. Behind the
//! fence that keeps expressions from being computed twice, the planner does not see it unless the
//! order is asked for: then both sides can be merged, where state would be hashed, and spilled where
//! it does not fit. Asking for an order that a query does not have makes the server sort its rows, so
//! the planner is asked first what it thinks of both statements, and its word is taken. The order
//! decides how the rows are found, never which.

use rowcast_core::Reason;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::diff::DiffSql;
use super::extract::Extraction;
use super::form::wanted;
use crate::connect::db_error;

/// Whether a hash table of so many bytes spills to the server's disk.
const SPILLS: &str = "SELECT w.setting::float8 * 1024 * m.setting::float8 < $1::bigint \
     FROM pg_catalog.pg_settings w, pg_catalog.pg_settings m \
     WHERE w.name = 'work_mem' AND m.name = 'hash_mem_multiplier'";

impl Extraction<'_> {
    /// Whether the comparison of a query with so many rows of state takes less when the query's rows
    /// are asked for in the order of the key. Nobody is asked where state fits the memory of a join.
    ///
    /// # Errors
    /// The statement can't be planned.
    pub(super) async fn is_cheaper_sorted(
        &self,
        client: &Client,
        diff: &DiffSql<'_>,
        rows: i64,
    ) -> Result<bool, Reason> {
        if !diff.is_fenced() || diff.matching.is_some() {
            return Ok(false);
        }
        let state = i64::try_from(wanted(rows)).unwrap_or(i64::MAX);
        let spills = client
            .query_typed(SPILLS, &[(&state, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, &self.what()))?;
        if !spills.first().is_some_and(|row| row.get(0)) {
            return Ok(false);
        }
        let sorted = DiffSql {
            sorted: true,
            ..diff.clone()
        };
        let as_it_comes = self.total_cost(client, diff).await?;
        let in_order = self.total_cost(client, &sorted).await?;
        tracing::debug!(as_it_comes, in_order, "costs of a query's rows");
        Ok(in_order < as_it_comes)
    }

    /// What the planner thinks that a statement costs, in its own measure.
    async fn total_cost(&self, client: &Client, diff: &DiffSql<'_>) -> Result<f64, Reason> {
        let rows = client
            .query_typed(&format!("EXPLAIN {}", diff.wide()), &[])
            .await
            .map_err(|error| db_error(&error, &self.what()))?;
        let top: &str = rows.first().map_or("", |row| row.get(0));
        // Unlikely to be another form ever; then the rows are taken as they come.
        Ok(cost_of(top).unwrap_or(f64::INFINITY))
    }
}

/// The second figure of `… (cost=4.31..95.12 rows=…`.
fn cost_of(line: &str) -> Option<f64> {
    let (_, costs) = line.split_once("(cost=")?;
    let (_, total) = costs.split_once("..")?;
    total.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::cost_of;

    #[test]
    fn the_cost_of_a_whole_plan_stands_in_its_first_line() {
        let line = "Merge Full Join  (cost=470097.63..878638.87 rows=529667 width=136)";
        assert_eq!(cost_of(line), Some(878_638.87));
        assert_eq!(cost_of("Merge Full Join"), None);
    }
}
