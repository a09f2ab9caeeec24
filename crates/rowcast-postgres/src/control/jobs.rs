//! Jobs: runs that are asked for, from the time that asks to the end of the run.
//!
//! A time of a schedule becomes at most one job, whoever notices it; a job is carried out by one
//! server at a time, and by another when that one is gone for longer than its lease.

use std::time::Duration;

use rowcast_core::Reason;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Control;
use crate::connect::db_error;
use crate::sql::literal;

/// Instants are microseconds since 1970, as everywhere.
const MOMENT: &str = "(extract(epoch FROM {}) * 1000000)::bigint";

pub(super) fn moment(column: &str) -> String {
    MOMENT.replace("{}", column)
}

pub(super) fn instant(parameter: &str) -> String {
    format!("to_timestamp(0) + {parameter}::bigint * interval '1 microsecond'")
}

/// A time at which a sync is due.
#[derive(Debug, Clone, Copy)]
pub struct Tick<'a> {
    pub sync: &'a str,
    pub source: &'a str,
    /// Microseconds since 1970.
    pub due_us: i64,
    /// What the run is asked to do, as the caller writes it.
    pub request: &'a str,
    /// Wait for a run that is going on, instead of leaving this time out.
    pub queue: bool,
}

/// A run that somebody asks for.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub sync: &'a str,
    pub source: &'a str,
    pub trigger: &'a str,
    pub request: &'a str,
}

/// What a server offers to carry out.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// Who asks: the same in every call of one server.
    pub owner: &'a str,
    pub lease: Duration,
    /// Syncs it knows, each with its source and how many runs may be going on there at once.
    pub syncs: &'a [(String, String, i32)],
}

/// A job that is now this server's to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub id: i64,
    pub sync: String,
    pub trigger: String,
    pub request: String,
    /// 1 for the first; later ones take over what another began.
    pub attempt: i32,
    /// See [`Control::began`].
    pub began: bool,
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    pub id: i64,
    pub sync: String,
    pub trigger: String,
    /// `queued`, `running`, `done`.
    pub status: String,
    pub due_us: i64,
    pub outcome: Option<String>,
    pub run: Option<i64>,
    pub error: Option<String>,
}

/// A sync that follows others.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The sync that follows.
    pub sync: &'a str,
    pub source: &'a str,
    /// All syncs that it follows.
    pub parents: &'a [String],
    /// Whether this end counts; one that does not takes an earlier one back.
    pub counts: bool,
    pub request: &'a str,
}

impl Control {
    /// Up to when the times of syncs are dealt with. A sync seen for the first time begins now:
    /// nothing before was missed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn schedules(
        &self,
        syncs: &[String],
        now_us: i64,
    ) -> Result<Vec<(String, i64)>, Reason> {
        let connection = self.open().await?;
        let table = self.table("schedule");
        let sql = format!(
            "WITH new AS (INSERT INTO {table} (sync, until) \
               SELECT unnest($1::text[]), {now} ON CONFLICT (sync) DO NOTHING RETURNING sync, until) \
             SELECT sync, {until} FROM new UNION ALL \
             SELECT sync, {until} FROM {table} WHERE sync = ANY ($1)",
            now = instant("$2"),
            until = moment("until"),
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&syncs, Type::TEXT_ARRAY), (&now_us, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "reading schedules"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Deals with a time: the first to say so makes the job, unless the sync is busy and the time is
    /// not to wait. Gives the job's id, or nothing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tick(&self, tick: &Tick<'_>) -> Result<Option<i64>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "WITH won AS (UPDATE {schedule} SET until = {due} WHERE sync = $1 AND until < {due} RETURNING sync) \
             INSERT INTO {job} (sync, source, trigger, due_at, request, status) \
             SELECT won.sync, $3, 'schedule', {due}, $4, 'queued' FROM won \
             WHERE $5 OR NOT EXISTS (SELECT 1 FROM {job} WHERE sync = $1 AND status <> 'done') \
             ON CONFLICT (sync) WHERE status = 'queued' DO NOTHING RETURNING id",
            schedule = self.table("schedule"),
            job = self.table("job"),
            due = instant("$2"),
        );
        let rows = connection
            .client
            .query_typed(
                &sql,
                &[
                    (&tick.sync, Type::TEXT),
                    (&tick.due_us, Type::INT8),
                    (&tick.source, Type::TEXT),
                    (&tick.request, Type::TEXT),
                    (&tick.queue, Type::BOOL),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "noting that a sync is due"))?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    /// Lets times pass without a run: of a paused sync, or of a server that was away.
    ///
    /// # Errors
    /// The database fails.
    pub async fn pass(&self, sync: &str, until_us: i64) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "UPDATE {} SET until = {until} WHERE sync = $1 AND until < {until}",
            self.table("schedule"),
            until = instant("$2"),
        );
        connection
            .client
            .query_typed(&sql, &[(&sync, Type::TEXT), (&until_us, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "passing over a time"))?;
        Ok(())
    }

    /// Asks for a run. `None` when one is already waiting or going on.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ask(&self, job: &Job<'_>) -> Result<Option<i64>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "INSERT INTO {job} (sync, source, trigger, due_at, request, status) \
             SELECT $1, $2, $3, clock_timestamp(), $4, 'queued' \
             WHERE NOT EXISTS (SELECT 1 FROM {job} WHERE sync = $1 AND status <> 'done') \
             ON CONFLICT (sync) WHERE status = 'queued' DO NOTHING RETURNING id",
            job = self.table("job"),
        );
        let rows = connection
            .client
            .query_typed(
                &sql,
                &[
                    (&job.sync, Type::TEXT),
                    (&job.source, Type::TEXT),
                    (&job.trigger, Type::TEXT),
                    (&job.request, Type::TEXT),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "asking for a run"))?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    /// Takes the job that has waited longest, if there is one that may begin.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim(&self, claim: &Claim<'_>) -> Result<Option<Claimed>, Reason> {
        let connection = self.open().await?;
        let client = &connection.client;
        let what = "claiming a job";
        // One claim at a time, over all servers: the counts below are then true.
        let lock = literal(&format!("rowcast claim {}", self.schema));
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended({lock}, 0))");
        client
            .batch_execute(&begin)
            .await
            .map_err(|error| db_error(&error, what))?;
        let sql = format!(
            "UPDATE {job} SET status = 'running', owner = $1, attempt = attempt + 1, \
               lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond', \
               started_at = coalesce(started_at, clock_timestamp()) \
             WHERE id = (SELECT j.id FROM {job} j \
               JOIN unnest($3::text[], $4::text[], $5::int[]) AS known (sync, source, most) ON known.sync = j.sync \
               WHERE (j.status = 'queued' OR j.status = 'running' AND j.lease_until <= clock_timestamp()) \
                 AND NOT EXISTS (SELECT 1 FROM {job} r WHERE r.sync = j.sync AND r.id <> j.id AND r.status = 'running') \
                 AND (SELECT count(*) FROM {job} r WHERE r.source = known.source AND r.id <> j.id \
                      AND r.status = 'running' AND r.lease_until > clock_timestamp()) < known.most \
               ORDER BY j.due_at, j.id LIMIT 1) \
             RETURNING id, sync, trigger, request, attempt, began",
            job = self.table("job"),
        );
        let lease = claim.lease.as_millis() as i64;
        let (mut syncs, mut sources, mut most) = (Vec::new(), Vec::new(), Vec::new());
        for (sync, source, runs) in claim.syncs {
            syncs.push(sync.as_str());
            sources.push(source.as_str());
            most.push(*runs);
        }
        let claimed = client
            .query_typed(
                &sql,
                &[
                    (&claim.owner, Type::TEXT),
                    (&lease, Type::INT8),
                    (&syncs, Type::TEXT_ARRAY),
                    (&sources, Type::TEXT_ARRAY),
                    (&most, Type::INT4_ARRAY),
                ],
            )
            .await;
        let end = if claimed.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        let ended = client.batch_execute(end).await;
        let rows = claimed.map_err(|error| db_error(&error, what))?;
        ended.map_err(|error| db_error(&error, what))?;
        Ok(rows.first().map(|row| Claimed {
            id: row.get(0),
            sync: row.get(1),
            trigger: row.get(2),
            request: row.get(3),
            attempt: row.get(4),
            began: row.get(5),
        }))
    }

    /// Lets go of jobs whose holder was a process of this machine that is gone, so that they need not
    /// outwait their leases.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_dead(&self) -> Result<u64, Reason> {
        let connection = self.open().await?;
        let what = "looking for jobs whose server is gone";
        let job = self.table("job");
        let sql = format!(
            "SELECT id, attempt, owner FROM {job} \
             WHERE status = 'running' AND lease_until > clock_timestamp()"
        );
        let held = connection
            .client
            .query_typed(&sql, &[])
            .await
            .map_err(|error| db_error(&error, what))?;
        let sql = format!(
            "UPDATE {job} SET lease_until = clock_timestamp() \
             WHERE id = $1 AND attempt = $2 AND status = 'running'"
        );
        let mut released = 0;
        for row in &held {
            let (id, attempt, owner): (i64, i32, String) = (row.get(0), row.get(1), row.get(2));
            if crate::ledger::lease::is_dead(&owner) {
                connection
                    .client
                    .query_typed(&sql, &[(&id, Type::INT8), (&attempt, Type::INT4)])
                    .await
                    .map_err(|error| db_error(&error, what))?;
                released += 1;
            }
        }
        Ok(released)
    }

    /// Keeps a job. `false` when another server has taken it over.
    ///
    /// # Errors
    /// The database fails.
    pub async fn renew(&self, job: &Claimed, lease: Duration) -> Result<bool, Reason> {
        let set = "lease_until = clock_timestamp() + $3::bigint * interval '1 millisecond'";
        let lease = lease.as_millis() as i64;
        self.update(job, set, &[(&lease, Type::INT8)]).await
    }

    /// Notes that the run's change set was made. `false` when another server has taken the job over.
    ///
    /// # Errors
    /// The database fails.
    pub async fn began(&self, job: &Claimed) -> Result<bool, Reason> {
        self.update(job, "began = true", &[]).await
    }

    /// Gives a job back to be carried on at once by whoever claims it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn give_back(&self, job: &Claimed) -> Result<bool, Reason> {
        self.update(job, "lease_until = clock_timestamp()", &[])
            .await
    }

    async fn update(
        &self,
        job: &Claimed,
        set: &str,
        more: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)],
    ) -> Result<bool, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "UPDATE {} SET {set} WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING 1",
            self.table("job")
        );
        let mut parameters: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> =
            vec![(&job.id, Type::INT8), (&job.attempt, Type::INT4)];
        parameters.extend_from_slice(more);
        let rows = connection
            .client
            .query_typed(&sql, &parameters)
            .await
            .map_err(|error| db_error(&error, "keeping a job"))?;
        Ok(!rows.is_empty())
    }

    /// Ends a job, and in the same transaction tells the syncs that follow; each whose parents have
    /// all ended gets a job of its own. `false` when another server has taken the job over, whose
    /// end counts.
    ///
    /// # Errors
    /// The database fails; nothing is ended then.
    pub async fn finish(
        &self,
        job: &Claimed,
        outcome: &str,
        run: Option<i64>,
        error: Option<&str>,
        followers: &[Arrival<'_>],
    ) -> Result<bool, Reason> {
        let connection = self.open().await?;
        let client = &connection.client;
        client
            .batch_execute("BEGIN")
            .await
            .map_err(|error| db_error(&error, "ending a job"))?;
        let done = self
            .finish_within(client, job, outcome, run, error, followers)
            .await;
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = client.batch_execute(end).await;
        let done = done.map_err(|error| db_error(&error, "ending a job"))?;
        ended.map_err(|error| db_error(&error, "ending a job"))?;
        Ok(done)
    }

    async fn finish_within(
        &self,
        client: &tokio_postgres::Client,
        job: &Claimed,
        outcome: &str,
        run: Option<i64>,
        error: Option<&str>,
        followers: &[Arrival<'_>],
    ) -> Result<bool, tokio_postgres::Error> {
        let sql = format!(
            "UPDATE {} SET status = 'done', outcome = $3, run = $4, error = $5, \
               finished_at = clock_timestamp(), lease_until = NULL \
             WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING 1",
            self.table("job")
        );
        let rows = client
            .query_typed(
                &sql,
                &[
                    (&job.id, Type::INT8),
                    (&job.attempt, Type::INT4),
                    (&outcome, Type::TEXT),
                    (&run, Type::INT8),
                    (&error, Type::TEXT),
                ],
            )
            .await?;
        if rows.is_empty() {
            return Ok(false);
        }
        for follower in followers {
            self.arrive(client, &job.sync, follower).await?;
        }
        Ok(true)
    }

    async fn arrive(
        &self,
        client: &tokio_postgres::Client,
        parent: &str,
        arrival: &Arrival<'_>,
    ) -> Result<(), tokio_postgres::Error> {
        let table = self.table("arrival");
        let both: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&arrival.sync, Type::TEXT), (&parent, Type::TEXT)];
        if !arrival.counts {
            let sql = format!("DELETE FROM {table} WHERE sync = $1 AND parent = $2");
            client.query_typed(&sql, &both).await?;
            return Ok(());
        }
        // Two parents may end at once on two servers: one after the other sees both.
        let lock = literal(&format!("rowcast arrival {} {}", self.schema, arrival.sync));
        let sql = format!("SELECT pg_advisory_xact_lock(hashtextextended({lock}, 0))");
        client.batch_execute(&sql).await?;
        let sql =
            format!("INSERT INTO {table} (sync, parent) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        client.query_typed(&sql, &both).await?;
        let sql = format!(
            "WITH complete AS (SELECT 1 FROM {table} WHERE sync = $1 AND parent = ANY ($2) \
               HAVING count(*) = cardinality($2::text[])), \
             gone AS (DELETE FROM {table} WHERE sync = $1 AND EXISTS (SELECT 1 FROM complete)) \
             INSERT INTO {job} (sync, source, trigger, due_at, request, status) \
             SELECT $1, $3, 'after', clock_timestamp(), $4, 'queued' FROM complete \
             ON CONFLICT (sync) WHERE status = 'queued' DO NOTHING",
            job = self.table("job"),
        );
        client
            .query_typed(
                &sql,
                &[
                    (&arrival.sync, Type::TEXT),
                    (&arrival.parents, Type::TEXT_ARRAY),
                    (&arrival.source, Type::TEXT),
                    (&arrival.request, Type::TEXT),
                ],
            )
            .await?;
        Ok(())
    }

    /// Withdraws a job that nobody has begun. `false` when there is none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn withdraw(&self, sync: &str) -> Result<bool, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "UPDATE {} SET status = 'done', outcome = 'cancelled', finished_at = clock_timestamp() \
             WHERE sync = $1 AND status = 'queued' RETURNING 1",
            self.table("job")
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&sync, Type::TEXT)])
            .await
            .map_err(|error| db_error(&error, "withdrawing a job"))?;
        Ok(!rows.is_empty())
    }

    /// Syncs with a job that nobody has begun.
    ///
    /// # Errors
    /// The database fails.
    pub async fn waiting(&self) -> Result<Vec<String>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT sync FROM {} WHERE status = 'queued'",
            self.table("job")
        );
        let rows = connection
            .client
            .query_typed(&sql, &[])
            .await
            .map_err(|error| db_error(&error, "looking for jobs that wait"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// A job.
    ///
    /// # Errors
    /// The database fails.
    pub async fn job(&self, id: i64) -> Result<Option<JobRow>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT id, sync, trigger, status, {due}, outcome, run, error FROM {} WHERE id = $1",
            self.table("job"),
            due = moment("due_at"),
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&id, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "reading a job"))?;
        Ok(rows.first().map(job_row))
    }

    /// Forgets jobs that ended longer ago than this.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget(&self, older: Duration) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "DELETE FROM {} WHERE status = 'done' \
             AND finished_at < clock_timestamp() - $1::bigint * interval '1 second'",
            self.table("job")
        );
        let seconds = older.as_secs() as i64;
        connection
            .client
            .query_typed(&sql, &[(&seconds, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "forgetting old jobs"))?;
        Ok(())
    }
}

pub(super) fn job_row(row: &Row) -> JobRow {
    JobRow {
        id: row.get(0),
        sync: row.get(1),
        trigger: row.get(2),
        status: row.get(3),
        due_us: row.get(4),
        outcome: row.get(5),
        run: row.get(6),
        error: row.get(7),
    }
}
