//! Rows that were acknowledged lately: beside state, and moved into it a part at a time.
//!
//! The changes of a run lie all over a large table of state. Writing each where its row is would touch
//! most pages of the table, and a page's first change after a checkpoint logs the whole page. So the
//! updates and removals of a run that changes little go into a small table of their own, `recent`, and
//! whoever reads state reads both (`Shape::table`): a row of `recent` takes the place of the row of state
//! with its key. When `recent` outgrows its share, the end of a run moves those rows into state that lie
//! in the next stretch of its pages, so that each page is written once for the changes of several runs.
//!
//! Two things must always hold. Every key in `recent` is in the table of state too, so that a left join
//! sees all. And a statement that writes to the table of state takes the rows of its keys out of `recent`
//! first (`absorb`), so that nothing older lies above what it writes.

use std::time::{Duration, Instant};

use rowcast_core::ledger::DiffCounts;
use rowcast_core::{Reason, killpoint};

use super::commit::{Fence, Writer};
use super::effects::PutSet;
use super::flight::{Flight, Params};
use super::fold;
use super::named_policy::named;
use super::shape::{KeyArrays, Shape};
use crate::connect::db_error;
use tokio_postgres::types::Type;

/// When changes go to `recent`, and how much stays there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentPolicy {
    /// From so many rows in state on: a small table is written where its rows are.
    pub from: u64,
    /// A run that changes up to so many thousandths of the rows in state. One that changes more
    /// writes where its rows are: it would touch every page anyway.
    pub run: u64,
    /// So many thousandths of the rows in state may lie in `recent` after a run.
    pub keep: u64,
}

impl RecentPolicy {
    /// With 3 %, runs that change 1 % move a sixth of the pages of state each, and state with what
    /// is recent stays under 0.3 of the table it is about (measured with the benchmark's).
    pub(super) const DEFAULT: Self = Self {
        from: 50_000,
        run: 30,
        keep: 30,
    };

    /// The policy of this process: outside of release builds a test may name another.
    pub(super) fn in_force() -> Self {
        named("ROWCAST_RECENT").map_or(Self::DEFAULT, |[from, run, keep]| Self { from, run, keep })
    }

    /// Whether a run that found this writes its changes to `recent`.
    pub(super) fn fits(self, counts: &DiffCounts) -> bool {
        let changed = counts.updated + counts.removed + counts.retried;
        counts.state_rows >= self.from
            && changed.saturating_mul(1_000) <= counts.state_rows.saturating_mul(self.run)
    }

    /// How many rows may stay.
    fn most(self, rows: u64) -> u64 {
        if rows < self.from {
            return 0;
        }
        rows.saturating_mul(self.keep) / 1_000
    }
}

/// State is moved in so many stretches of pages, at least.
const STRETCHES: i64 = 24;

/// A stretch has at least so many pages.
const STRETCH_MIN: i64 = 16;

/// State with its rows' successors in `recent`, as a FROM item.
pub(super) fn overlaid(shape: &Shape) -> String {
    let instead = |column: &str| {
        format!("CASE WHEN r.k1 IS NULL THEN s.{column} ELSE r.{column} END AS {column}")
    };
    let unless = |column: &str| format!("CASE WHEN r.k1 IS NULL THEN s.{column} END AS {column}");
    format!(
        "(SELECT {}, {}, {}, {}, {} FROM {} s LEFT JOIN {} r ON {} WHERE r.gone IS NOT TRUE)",
        shape.names("s."),
        instead("h"),
        instead("run"),
        unless("mark"),
        unless("m"),
        shape.own("state"),
        shape.own("recent"),
        shape.equal("r", "s"),
    )
}

/// The statement that moves rows of `recent` into the table of state: `taken` deletes them from
/// `recent r` and joins with what it needs; `within` narrows the rows of state, as `s`, they may lie in.
fn into_state(shape: &Shape, taken: &str, within: &str) -> String {
    let state = shape.own("state");
    let equal = shape.equal("s", "t");
    format!(
        "WITH taken AS (DELETE FROM {recent} AS r {taken} RETURNING {names}, r.h, r.run, r.gone), \
         dropped AS (DELETE FROM {state} AS s USING taken t WHERE {equal}{within} AND t.gone), \
         written AS (UPDATE {state} AS s SET h = t.h, run = t.run, mark = NULL, m = NULL \
         FROM taken t WHERE {equal}{within} AND NOT t.gone) SELECT count(*) FROM taken",
        recent = shape.own("recent"),
        names = shape.names("r."),
    )
}

/// The statement that moves the rows of some keys; `keys` is a FROM item with the alias `u`.
pub(super) fn absorbing(shape: &Shape, keys: &str) -> String {
    let taken = format!("USING {keys} WHERE {}", shape.equal("r", "u"));
    into_state(shape, &taken, "")
}

/// Moves everything into the table of state, in the current transaction.
///
/// # Errors
/// The database fails.
pub(super) async fn fold_all(client: &tokio_postgres::Client, shape: &Shape) -> Result<(), Reason> {
    client
        .query_typed(&into_state(shape, "WHERE true", ""), &[])
        .await
        .map_err(|error| db_error(&error, "moving recent rows into state"))?;
    Ok(())
}

/// Moves stretches of state's pages until no more lies in `recent` than may, in one fenced transaction
/// that also extends the lease.
///
/// # Errors
/// The lease is lost, the database fails; then nothing was moved and nothing is lost.
pub(super) async fn fold_some(
    fence: &Fence<'_>,
    policy: RecentPolicy,
    term: Duration,
) -> Result<(), Reason> {
    let asked = Instant::now();
    killpoint::reach("ledger-recent-before");
    let asked = fence
        .all_or_nothing(async {
            let due = look(fence).await?;
            let most = policy.most(due.rows.max(0) as u64) as i64;
            if due.recent <= most {
                return Ok(asked);
            }
            let stretch = (due.pages / STRETCHES).max(STRETCH_MIN);
            let (mut left, mut at) = (due.recent, due.at);
            // Pages that are written to meanwhile come at the end: one round sees all.
            let mut to_go = due.pages + stretch;
            while left > most && to_go > 0 {
                if at >= due.pages {
                    at = 0;
                }
                left -= fold_stretch(fence.client, fence.shape, at, at + stretch).await?;
                at += stretch;
                to_go -= stretch;
            }
            let sql = format!(
                "UPDATE {} SET recent_page = {at} WHERE sync_id = {}",
                fence.shape.shared("progress"),
                fence.shape.sync
            );
            fence
                .client
                .batch_execute(&sql)
                .await
                .map_err(|error| db_error(&error, "moving recent rows into state"))?;
            killpoint::reach("ledger-recent-written");
            fold::extend(fence, term).await
        })
        .await?;
    fence.lease.extend(fence.lease.deadline().max(asked + term));
    killpoint::reach("ledger-recent-folded");
    Ok(())
}

struct Due {
    recent: i64,
    rows: i64,
    pages: i64,
    /// The page to go on with.
    at: i64,
}

async fn look(fence: &Fence<'_>) -> Result<Due, Reason> {
    let shape = fence.shape;
    let sql = format!(
        "SELECT (SELECT count(*) FROM {recent}), rows, recent_page, \
         pg_relation_size('{state}'::regclass) / current_setting('block_size')::bigint \
         FROM {progress} WHERE sync_id = {sync}",
        recent = shape.own("recent"),
        state = shape.own("state").replace('\'', "''"),
        progress = shape.shared("progress"),
        sync = shape.sync,
    );
    let rows = fence
        .client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| db_error(&error, "counting recent rows"))?;
    let row = rows
        .first()
        .ok_or_else(|| Reason::defect("the sync has no progress row"))?;
    Ok(Due {
        recent: row.get(0),
        rows: row.get(1),
        at: row.get(2),
        pages: row.get(3),
    })
}

async fn fold_stretch(
    client: &tokio_postgres::Client,
    shape: &Shape,
    from: i64,
    to: i64,
) -> Result<i64, Reason> {
    let pages = |alias: &str| format!("{alias}.ctid >= '({from},0)' AND {alias}.ctid < '({to},0)'");
    let taken = format!(
        "USING {} AS x WHERE {} AND {}",
        shape.own("state"),
        shape.equal("r", "x"),
        pages("x")
    );
    let sql = into_state(shape, &taken, &format!(" AND {}", pages("s")));
    let rows = client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| db_error(&error, "moving recent rows into state"))?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

impl Writer<'_> {
    /// Moves the rows of these keys into the table of state, which is about to be written to.
    pub(super) fn absorb<'f>(&self, flight: &mut Flight<'f>, keys: &'f KeyArrays) {
        if keys.is_empty() || !self.shape.has_recent() {
            return;
        }
        let from = format!("{} AS u({})", self.shape.unnest(&[]), self.shape.names(""));
        flight.push(absorbing(self.shape, &from), keys.params());
    }

    /// Delivered values: of keys that state has, beside it; of others, into it.
    pub(super) fn put_recent<'f>(&self, flight: &mut Flight<'f>, run: i32, set: &'f PutSet) {
        if set.keys.is_empty() {
            return;
        }
        self.shape.expect_recent();
        let names = self.shape.names("");
        let checksums = format!("${}::bigint[]", self.shape.keys.len() + 1);
        let mut params: Params<'f> = set.keys.params();
        params.push((&set.checksums, Type::INT8_ARRAY));
        let sql = format!(
            "WITH u AS MATERIALIZED (SELECT * FROM {unnest} AS u({names}, h)), \
             there AS MATERIALIZED (SELECT {u_names}, u.h, coalesce(r.gone, false) AS was_gone FROM u \
             JOIN {state} s ON {s_u} LEFT JOIN {recent} r ON {r_u}), \
             beside AS (INSERT INTO {recent} AS r ({names}, h, run, gone) \
             SELECT {names}, h, {run}, false FROM there \
             ON CONFLICT ({names}) DO UPDATE SET h = EXCLUDED.h, run = EXCLUDED.run, gone = false), \
             fresh AS (INSERT INTO {state} ({names}, h, run) SELECT {u_names}, u.h, {run} FROM u \
             WHERE NOT EXISTS (SELECT 1 FROM there t WHERE {t_u}) RETURNING 1), \
             counted AS (SELECT (SELECT count(*) FROM there WHERE was_gone) + (SELECT count(*) FROM fresh) AS n) \
             UPDATE {progress} SET rows = rows + c.n FROM counted c WHERE sync_id = {sync} AND c.n <> 0",
            unnest = self.shape.unnest(&[&checksums]),
            u_names = self.shape.names("u."),
            state = self.shape.own("state"),
            recent = self.shape.own("recent"),
            s_u = self.shape.equal("s", "u"),
            r_u = self.shape.equal("r", "u"),
            t_u = self.shape.equal("t", "u"),
            progress = self.shape.shared("progress"),
            sync = self.shape.sync,
        );
        flight.push(sql, params);
    }

    /// Keys whose rows were removed.
    pub(super) fn drop_recent<'f>(&self, flight: &mut Flight<'f>, run: i32, keys: &'f KeyArrays) {
        if keys.is_empty() {
            return;
        }
        self.shape.expect_recent();
        let names = self.shape.names("");
        let sql = format!(
            "WITH there AS MATERIALIZED (SELECT DISTINCT {u_names} FROM {unnest} AS u({names}) \
             JOIN {state} s ON {s_u} LEFT JOIN {recent} r ON {r_u} WHERE r.gone IS NOT TRUE), \
             beside AS (INSERT INTO {recent} AS r ({names}, h, run, gone) \
             SELECT {names}, NULL, {run}, true FROM there \
             ON CONFLICT ({names}) DO UPDATE SET h = NULL, run = EXCLUDED.run, gone = true), \
             counted AS (SELECT count(*) AS n FROM there) \
             UPDATE {progress} SET rows = rows - c.n FROM counted c WHERE sync_id = {sync} AND c.n <> 0",
            u_names = self.shape.names("u."),
            unnest = self.shape.unnest(&[]),
            state = self.shape.own("state"),
            recent = self.shape.own("recent"),
            s_u = self.shape.equal("s", "u"),
            r_u = self.shape.equal("r", "u"),
            progress = self.shape.shared("progress"),
            sync = self.shape.sync,
        );
        flight.push(sql, keys.params());
    }
}
