//! What a run cost the database: how long it waited for it, and the write-ahead log.
//!
//! Only what is measured is said. Before PostgreSQL 18 no role can learn what one connection wrote;
//! then it is what the whole server wrote meanwhile, under that name.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rowcast_core::report::{Cost, WalOf};
use tokio_postgres::Client;

/// The first version that keeps an account of each connection.
const ACCOUNTS_SINCE: i32 = 180_000;

/// Measures how long the database is waited for. What is waited for at the same time counts once.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    going_on: usize,
    since: Option<Instant>,
    total: Duration,
    /// Known at the end of the run.
    cost: Option<Cost>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries something out, and counts how long it took.
    pub(super) async fn timed<T>(&self, work: impl Future<Output = T>) -> T {
        let _going_on = self.begin();
        work.await
    }

    fn begin(&self) -> GoingOn<'_> {
        let mut waiting = self.lock();
        if waiting.going_on == 0 {
            waiting.since = Some(Instant::now());
        }
        waiting.going_on += 1;
        GoingOn(self)
    }

    fn so_far(&self) -> Duration {
        let waiting = self.lock();
        waiting.total
            + waiting
                .since
                .map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Forgets an earlier run.
    pub(super) fn restart(&self) {
        let mut waiting = self.lock();
        waiting.total = Duration::ZERO;
        waiting.since = waiting.since.map(|_| Instant::now());
        waiting.cost = None;
    }

    /// The account of the run, which is kept for those who ask later.
    pub(super) async fn close(&self, client: &Client, began: &Began, version: i32) -> Cost {
        let wal = written(client, began, version)
            .await
            .map(|(bytes, of)| (u64::try_from(bytes).unwrap_or(0), of));
        let cost = Cost {
            database_us: self.so_far().as_micros() as u64,
            wal,
        };
        self.lock().cost = Some(cost);
        cost
    }

    pub(super) fn cost(&self) -> Option<Cost> {
        self.lock().cost
    }
}

/// Ends its share of the waiting however it ends, also when its run is cancelled.
struct GoingOn<'a>(&'a Meter);

impl Drop for GoingOn<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.going_on -= 1;
        if waiting.going_on == 0
            && let Some(since) = waiting.since.take()
        {
            waiting.total += since.elapsed();
        }
    }
}

/// Where the write-ahead log was, and which connection looked.
#[derive(Debug, Clone, Default)]
pub(super) struct Began {
    position: Option<String>,
    backend: Option<i32>,
    /// What other connections of the run wrote.
    elsewhere: i64,
}

impl Began {
    /// Adds what another connection of the run wrote. `None`: nobody knows, so that only the server's
    /// own account is left.
    pub(super) fn add(&mut self, bytes: Option<i64>) {
        match bytes {
            Some(bytes) => self.elsewhere += bytes,
            None => self.backend = None,
        }
    }
}

/// Looks where the log is. What can't be learned is left out.
pub(super) async fn look(client: &Client) -> Began {
    let sql = "SELECT pg_current_wal_insert_lsn()::text, pg_backend_pid()";
    let rows = client.query_typed(sql, &[]).await.unwrap_or_default();
    rows.first().map_or_else(Began::default, |row| Began {
        position: row.try_get(0).ok(),
        backend: row.try_get(1).ok(),
        elsewhere: 0,
    })
}

async fn written(client: &Client, began: &Began, version: i32) -> Option<(i64, WalOf)> {
    // A connection that was made again has forgotten what the one before wrote.
    if let Some((bytes, backend)) = account(client, version).await
        && Some(backend) == began.backend
    {
        return Some((bytes + began.elsewhere, WalOf::Run));
    }
    let position = began.position.as_deref()?;
    let sql = "SELECT (pg_current_wal_insert_lsn() - $1::text::pg_lsn)::bigint";
    let rows = client
        .query_typed(sql, &[(&position, tokio_postgres::types::Type::TEXT)])
        .await
        .ok()?;
    let bytes = rows.first()?.try_get(0).ok()?;
    Some((bytes, WalOf::Server))
}

/// The bytes that a connection wrote, and its backend. `None` where the server keeps no such account.
pub(super) async fn account(client: &Client, version: i32) -> Option<(i64, i32)> {
    if version < ACCOUNTS_SINCE {
        return None;
    }
    // Accounts are closed at most once a second, unless somebody asks.
    let _ = client
        .query_typed("SELECT pg_stat_force_next_flush()", &[])
        .await;
    let sql =
        "SELECT wal_bytes::bigint, pg_backend_pid() FROM pg_stat_get_backend_wal(pg_backend_pid())";
    let rows = client.query_typed(sql, &[]).await.unwrap_or_default();
    let row = rows.first()?;
    let bytes = row.try_get::<_, Option<i64>>(0).ok()??;
    Some((bytes, row.try_get(1).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_at_once_counts_once() {
        let meter = Meter::default();
        let first = meter.begin();
        let second = meter.begin();
        drop(first);
        assert!(meter.lock().since.is_some(), "the second goes on");
        drop(second);
        let total = meter.so_far();
        assert!(meter.lock().since.is_none());
        assert_eq!(meter.so_far(), total, "nothing is waited for");
    }
}
