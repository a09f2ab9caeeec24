//! Folding: what intents that were acknowledged as a whole announced becomes rows of state.
//!
//! An intent already holds, durably and in order, the keys and checksums of its records, so that a
//! whole one is acknowledged by marking it. Until it is folded, state misses rows that were
//! delivered: a run folds at its end, the next one before it does anything else, and whoever looks
//! at state in between reads both (`Shape::table`). Folding must never move what an acknowledgement
//! of its own wrote. Large runs have folded most of it by then (`fold_ahead`).

use std::time::{Duration, Instant};

use rowcast_core::{Code, Reason, killpoint};
use tokio_postgres::types::Type;

use super::commit::Fence;
use super::fold_ahead::Folded;
use super::recent;
use super::shape::Shape;
use crate::connect::db_error;

/// From so many rows on it is cheaper to make the primary key after the load than with it.
const BULK_MIN: i64 = 10_000;

/// From so many rows on the planner must hear of them.
const ANALYZE_MIN: i64 = 1_000;

/// Somebody who reads state holds its primary key up; then the rows go in under the key.
const LOCK_TIMEOUT_S: u32 = 2;

/// What there is to fold.
struct Due {
    records: i64,
    /// Intents that are not acknowledged.
    open: i64,
    /// Rows that are in the table already.
    before: i64,
    /// Those of them that this run folded while it went on.
    ahead: i64,
}

/// The ways rows get into state, from the fastest to the one that always works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Without the primary key, which is made afterwards. Needs the table for itself.
    Bulk,
    /// Under the primary key.
    Insert,
    /// Where keys are there already, or came twice.
    Merge,
}

/// Folds everything that is acknowledged, in one fenced transaction that also extends the lease.
/// `ahead` were folded by this run before. Gives the number of rows, those included.
///
/// # Errors
/// The lease is lost, the database fails; then nothing was folded and nothing is lost.
pub(super) async fn fold(fence: &Fence<'_>, term: Duration, ahead: Folded) -> Result<u64, Reason> {
    let asked = Instant::now();
    killpoint::reach("ledger-fold-before");
    let (folded, asked) = fence
        .all_or_nothing(async {
            // A chunk of an earlier run may be on its way: what is counted here must be what is
            // folded. This waits for it, and a later one finds nothing.
            let intents = fence.shape.table("intent");
            run(
                fence,
                &format!("LOCK TABLE {intents} IN SHARE ROW EXCLUSIVE MODE"),
            )
            .await?;
            let due = look(fence, ahead.rows as i64).await?;
            let rows = due.records + due.ahead;
            if rows == 0 {
                return Ok((0, asked));
            }
            if due.records > 0 {
                take_over(fence, &due).await?;
            }
            if due.ahead > 0 && due.open == 0 {
                give_space_back(fence).await?;
            }
            if rows >= ANALYZE_MIN && !ahead.analyzed {
                // A planner that believes the table is empty would choose badly next time.
                run(fence, &format!("ANALYZE {}", fence.shape.own("state"))).await?;
            }
            killpoint::reach("ledger-fold-written");
            Ok((rows as u64, extend(fence, term).await?))
        })
        .await?;
    if folded > 0 {
        fence.lease.extend(fence.lease.deadline().max(asked + term));
        killpoint::reach("ledger-folded");
    }
    Ok(folded)
}

/// Extends the lease in the current transaction: it may have taken longer than the lease lasts, and the
/// row's lock has kept others out so far. Gives the moment from which the lease counts.
///
/// # Errors
/// The database fails.
pub(super) async fn extend(fence: &Fence<'_>, term: Duration) -> Result<Instant, Reason> {
    let asked = Instant::now();
    run(
        fence,
        &format!(
            "UPDATE {} SET lease_until = greatest(lease_until, \
             clock_timestamp() + interval '{} milliseconds') WHERE id = {}",
            fence.shape.shared("sync"),
            term.as_millis(),
            fence.shape.sync
        ),
    )
    .await?;
    Ok(asked)
}

async fn run(fence: &Fence<'_>, sql: &str) -> Result<(), Reason> {
    fence
        .client
        .batch_execute(sql)
        .await
        .map_err(|error| db_error(&error, "folding acknowledged intents into state"))
}

async fn number(fence: &Fence<'_>, sql: &str) -> Result<Vec<i64>, Reason> {
    let rows = fence
        .client
        .query_typed(sql, &[])
        .await
        .map_err(|error| db_error(&error, "folding acknowledged intents into state"))?;
    Ok(rows
        .first()
        .map_or_else(Vec::new, |row| (0..row.len()).map(|i| row.get(i)).collect()))
}

async fn look(fence: &Fence<'_>, ahead: i64) -> Result<Due, Reason> {
    let shape = fence.shape;
    let sql = format!(
        "SELECT coalesce(sum(length(ops)) FILTER (WHERE acknowledged), 0)::bigint, \
         count(*) FILTER (WHERE NOT acknowledged), \
         (SELECT rows FROM {} WHERE sync_id = {}) FROM {}",
        shape.shared("progress"),
        shape.sync,
        shape.table("intent"),
    );
    let found = number(fence, &sql).await?;
    let [records, open, rows] = found[..] else {
        return Err(Reason::defect("the sync has no progress row"));
    };
    Ok(Due {
        records,
        open,
        before: rows - records,
        ahead,
    })
}

async fn take_over(fence: &Fence<'_>, due: &Due) -> Result<(), Reason> {
    let shape = fence.shape;
    if shape.has_recent() {
        // A new row may have the key of one that was removed lately.
        let keys = format!("({}) AS u({}, h, run)", announced(shape), shape.names(""));
        run(fence, &recent::absorbing(shape, &keys)).await?;
    }
    choose_base_run(fence, due).await?;
    let bulk = due.records >= BULK_MIN && due.records >= due.before;
    let ways = [Way::Bulk, Way::Insert, Way::Merge];
    for way in ways.into_iter().skip(usize::from(!bulk)) {
        run(fence, "SAVEPOINT fold").await?;
        match enter(fence, way, due).await {
            Ok(()) => break,
            // A lost connection, a full disk: another way would do no better.
            Err(reason) if way == Way::Merge || !may_differ(&reason) => return Err(reason),
            Err(reason) => {
                tracing::debug!(?way, %reason, "folding in another way");
                run(fence, "ROLLBACK TO SAVEPOINT fold").await?;
            }
        }
    }
    Ok(())
}

/// Chunks leave the rows of their intents to vacuum, which takes as much space as state's keys and
/// checksums. No intent is left, so the table is made empty, unless somebody reads it.
async fn give_space_back(fence: &Fence<'_>) -> Result<(), Reason> {
    let sql = format!(
        "SAVEPOINT space; SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; TRUNCATE {}",
        fence.shape.table("intent")
    );
    match run(fence, &sql).await {
        Err(reason) if may_differ(&reason) => {
            tracing::debug!(%reason, "the space of folded intents is left to vacuum");
            run(fence, "ROLLBACK TO SAVEPOINT space").await
        }
        done => done,
    }
}

/// Whether another way may work where this one failed.
fn may_differ(reason: &Reason) -> bool {
    !matches!(reason.code, Code::ConnectionLost | Code::LeaseLost)
}

/// The run that rows of state without one belong to: settled anew when there is no such row.
async fn choose_base_run(fence: &Fence<'_>, due: &Due) -> Result<(), Reason> {
    let shape = fence.shape;
    // Looking through a large table to save four bytes for each of a few rows does not pay.
    if due.before > due.records {
        return Ok(());
    }
    let sql = format!(
        "UPDATE {progress} SET base_run = (SELECT max(run) FROM {intent} WHERE acknowledged) \
         WHERE sync_id = {sync} AND NOT EXISTS (SELECT 1 FROM {state} WHERE run IS NULL)",
        progress = shape.shared("progress"),
        intent = shape.table("intent"),
        sync = shape.sync,
        state = shape.own("state"),
    );
    run(fence, &sql).await
}

async fn enter(fence: &Fence<'_>, way: Way, due: &Due) -> Result<(), Reason> {
    let shape = fence.shape;
    let (state, names) = (shape.own("state"), shape.names(""));
    let insert = format!("INSERT INTO {state} ({names}, h, run) {}", announced(shape));
    let intents = shape.table("intent");
    let acknowledged = format!("DELETE FROM {intents} WHERE acknowledged");
    match way {
        Way::Bulk => {
            let key = primary_key(fence).await?;
            let key = crate::sql::ident(&key);
            run(
                fence,
                &format!(
                    "SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; \
                     ALTER TABLE {state} DROP CONSTRAINT {key}"
                ),
            )
            .await?;
            run(fence, &insert).await?;
            killpoint::reach("ledger-fold-loaded");
            run(
                fence,
                &format!("ALTER TABLE {state} ADD CONSTRAINT {key} PRIMARY KEY ({names})"),
            )
            .await?;
            // Gives the space back at once.
            let sql = if due.open == 0 {
                format!("TRUNCATE {intents}")
            } else {
                acknowledged
            };
            run(fence, &sql).await
        }
        Way::Insert => {
            run(fence, &insert).await?;
            killpoint::reach("ledger-fold-loaded");
            run(fence, &acknowledged).await
        }
        Way::Merge => {
            run(fence, &merge(shape, due.records)).await?;
            run(fence, &acknowledged).await
        }
    }
}

/// Every record that is acknowledged as part of a whole intent, in the order of their delivery.
fn announced(shape: &Shape) -> String {
    format!(
        "SELECT {keys}, unnest(hs), nullif(run, base_run) FROM \
         (SELECT i.*, p.base_run FROM {intent} i JOIN {progress} p ON p.sync_id = {sync} \
         WHERE i.acknowledged ORDER BY i.epoch, i.intent) AS i",
        keys = shape.unnested(""),
        intent = shape.table("intent"),
        progress = shape.shared("progress"),
        sync = shape.sync,
    )
}

/// A key that is there already, or came twice: state may only keep a checksum on which all agree,
/// and without one the next run sends the row again.
fn merge(shape: &Shape, records: i64) -> String {
    let (names, state) = (shape.names(""), shape.own("state"));
    format!(
        "WITH announced ({names}, h, run) AS ({announced}), \
         once AS (SELECT {names}, CASE WHEN min(h) = max(h) THEN min(h) END AS h, max(run) AS run \
         FROM announced GROUP BY {names}), \
         written AS (INSERT INTO {state} AS s ({names}, h, run) SELECT {names}, h, run FROM once \
         ON CONFLICT ({names}) DO UPDATE SET h = CASE WHEN s.h = EXCLUDED.h THEN s.h END, \
         mark = NULL, run = EXCLUDED.run RETURNING (xmax = 0) AS fresh) \
         UPDATE {progress} SET rows = rows - {records} + (SELECT count(*) FILTER (WHERE fresh) FROM written) \
         WHERE sync_id = {sync}",
        announced = announced(shape),
        progress = shape.shared("progress"),
        sync = shape.sync,
    )
}

async fn primary_key(fence: &Fence<'_>) -> Result<String, Reason> {
    let state = fence.shape.own("state");
    let rows = fence
        .client
        .query_typed(
            "SELECT conname::text FROM pg_catalog.pg_constraint \
             WHERE conrelid = to_regclass($1) AND contype = 'p'",
            &[(&state, Type::TEXT)],
        )
        .await
        .map_err(|error| db_error(&error, "looking for the primary key of state"))?;
    rows.first()
        .map(|row| row.get(0))
        .ok_or_else(|| Reason::defect("state has no primary key"))
}
