//! Events from outside that start runs: each at most once, however often it is sent.

use std::time::Duration;

use rowcast_core::Reason;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::jobs::{instant, job_row, moment};
use super::{Control, JobRow};
use crate::connect::db_error;

/// A sync that an event starts.
#[derive(Debug, Clone, Copy)]
pub struct Started<'a> {
    pub sync: &'a str,
    pub source: &'a str,
    pub request: &'a str,
    /// Wait for a run that is going on, instead of starting none.
    pub queue: bool,
}

/// A job with its times, for those who list them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTimes {
    pub job: JobRow,
    /// Microseconds since 1970.
    pub created_us: i64,
    pub started_us: Option<i64>,
    pub finished_us: Option<i64>,
}

/// Which jobs of a sync to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobFilter {
    /// Queued and running, or done.
    pub going_on: Option<bool>,
    /// Of those that are done: whether their outcome is one of `WELL`.
    pub well: Option<bool>,
    pub after_us: Option<i64>,
    pub before_us: Option<i64>,
}

/// Outcomes of runs that delivered.
const WELL: &str = "('succeeded', 'partial')";

impl Control {
    /// Deals with an event: who is first to say so starts the jobs. `None` when it was dealt with
    /// before; else the jobs that were started, with their syncs.
    ///
    /// # Errors
    /// The database fails; nothing is dealt with then.
    pub async fn event(
        &self,
        hook: &str,
        event: &str,
        trigger: &str,
        started: &[Started<'_>],
    ) -> Result<Option<Vec<(i64, String)>>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "WITH won AS (INSERT INTO {event} (hook, event) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1), \
             made AS (INSERT INTO {job} (sync, source, trigger, due_at, request, status) \
               SELECT s.sync, s.source, $3, clock_timestamp(), s.request, 'queued' \
               FROM unnest($4::text[], $5::text[], $6::text[], $7::bool[]) AS s (sync, source, request, queue) \
               WHERE EXISTS (SELECT 1 FROM won) \
                 AND (s.queue OR NOT EXISTS (SELECT 1 FROM {job} j WHERE j.sync = s.sync AND j.status <> 'done')) \
               ON CONFLICT (sync) WHERE status = 'queued' DO NOTHING RETURNING id, sync) \
             SELECT NULL::bigint, NULL::text FROM won UNION ALL SELECT id, sync FROM made",
            event = self.table("event"),
            job = self.table("job"),
        );
        let syncs: Vec<&str> = started.iter().map(|s| s.sync).collect();
        let sources: Vec<&str> = started.iter().map(|s| s.source).collect();
        let requests: Vec<&str> = started.iter().map(|s| s.request).collect();
        let queue: Vec<bool> = started.iter().map(|s| s.queue).collect();
        let rows = connection
            .client
            .query_typed(
                &sql,
                &[
                    (&hook, Type::TEXT),
                    (&event, Type::TEXT),
                    (&trigger, Type::TEXT),
                    (&syncs, Type::TEXT_ARRAY),
                    (&sources, Type::TEXT_ARRAY),
                    (&requests, Type::TEXT_ARRAY),
                    (&queue, Type::BOOL_ARRAY),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "dealing with an event"))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let job = |row: &Row| Some((row.get::<_, Option<i64>>(0)?, row.get(1)));
        Ok(Some(rows.iter().filter_map(job).collect()))
    }

    /// Forgets events that came longer ago than this.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_events(&self, older: Duration) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "DELETE FROM {} WHERE at < clock_timestamp() - $1::bigint * interval '1 second'",
            self.table("event")
        );
        let seconds = older.as_secs() as i64;
        connection
            .client
            .query_typed(&sql, &[(&seconds, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "forgetting old events"))?;
        Ok(())
    }

    /// Jobs of a sync, the newest first, and how many there are in all.
    ///
    /// # Errors
    /// The database fails.
    pub async fn jobs_of(
        &self,
        sync: &str,
        filter: &JobFilter,
        skip: i64,
        limit: i64,
    ) -> Result<(Vec<JobTimes>, i64), Reason> {
        let connection = self.open().await?;
        let matching = format!(
            "FROM {} WHERE sync = $1 AND ($2::bool IS NULL OR (status <> 'done') = $2) \
             AND ($3::bool IS NULL OR status = 'done' AND (outcome IN {WELL}) = $3) \
             AND ($4::bigint IS NULL OR coalesce(started_at, created_at) > {after}) \
             AND ($5::bigint IS NULL OR coalesce(started_at, created_at) < {before})",
            self.table("job"),
            after = instant("$4"),
            before = instant("$5"),
        );
        let sql = format!(
            "SELECT id, sync, trigger, status, {due}, outcome, run, error, {created}, {started}, {finished} \
             {matching} ORDER BY id DESC OFFSET $6 LIMIT $7",
            due = moment("due_at"),
            created = moment("created_at"),
            started = moment("started_at"),
            finished = moment("finished_at"),
        );
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 7] = [
            (&sync, Type::TEXT),
            (&filter.going_on, Type::BOOL),
            (&filter.well, Type::BOOL),
            (&filter.after_us, Type::INT8),
            (&filter.before_us, Type::INT8),
            (&skip, Type::INT8),
            (&limit, Type::INT8),
        ];
        let failed = |error| db_error(&error, "listing jobs");
        let client = &connection.client;
        let rows = client
            .query_typed(&sql, &parameters)
            .await
            .map_err(failed)?;
        let sql = format!("SELECT count(*) {matching}");
        let count = client.query_typed_one(&sql, &parameters[..5]).await;
        let total = count.map_err(failed)?.get(0);
        Ok((rows.iter().map(times).collect(), total))
    }

    /// A job of a sync with its times.
    ///
    /// # Errors
    /// The database fails.
    pub async fn job_of(&self, sync: &str, id: i64) -> Result<Option<JobTimes>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT id, sync, trigger, status, {due}, outcome, run, error, {created}, {started}, {finished} \
             FROM {job} WHERE sync = $1 AND id = $2",
            due = moment("due_at"),
            created = moment("created_at"),
            started = moment("started_at"),
            finished = moment("finished_at"),
            job = self.table("job"),
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&sync, Type::TEXT), (&id, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "reading a job"))?;
        Ok(rows.first().map(times))
    }
}

fn times(row: &Row) -> JobTimes {
    JobTimes {
        job: job_row(row),
        created_us: row.get(8),
        started_us: row.get(9),
        finished_us: row.get(10),
    }
}
