//! What servers know about alerts: how each sync's watch stands, ends of runs that nobody has looked
//! at yet, who is not to be told, and messages on their way.
//!
//! A watch moves forward together with the messages that follow from it, in one statement that only
//! one server can win: a restart repeats nothing and loses nothing, and two servers tell once.

use std::time::Duration;

use rowcast_core::Reason;
use tokio_postgres::types::Type;

use super::Control;
use super::jobs::{instant, moment};
use crate::connect::db_error;

/// What there is to know about a sync before it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRow {
    pub sync: String,
    /// 0 when it was never looked at.
    pub version: i64,
    pub state: Option<String>,
    /// Microseconds since 1970, as all instants here; the greatest for ever.
    pub muted_until_us: Option<i64>,
    /// Since when a run is going on.
    pub running_since_us: Option<i64>,
    /// Whether there are ends of jobs that were not looked at.
    pub news: bool,
}

/// A job that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedJob {
    pub id: i64,
    pub request: String,
    pub outcome: String,
    pub run: Option<i64>,
    pub error: Option<String>,
    pub finished_us: i64,
}

/// A message to be sent to a channel.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    /// With the channel: unique.
    pub id: &'a str,
    pub channel: &'a str,
    /// Messages about one thing go out in order.
    pub subject: &'a str,
    pub body: &'a str,
}

/// A watch that was moved forward.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    pub project: &'a str,
    pub sync: &'a str,
    /// That it was moved from.
    pub version: i64,
    pub state: &'a str,
    /// Jobs whose ends were looked at.
    pub jobs: &'a [i64],
    pub messages: &'a [NewMessage<'a>],
}

/// A message that is this server's to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedMessage {
    pub id: i64,
    pub channel: String,
    pub body: String,
    pub attempt: i32,
    pub created_us: i64,
}

/// How the messages to a channel stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    pub channel: String,
    pub waiting: i64,
    pub delivered: i64,
    pub given_up: i64,
    pub delivered_us: Option<i64>,
    /// Why the newest message that failed last was not taken.
    pub error: Option<String>,
}

impl Control {
    /// What there is to know about syncs before they are looked at.
    ///
    /// # Errors
    /// The database fails.
    pub async fn watches(&self, syncs: &[String]) -> Result<Vec<WatchRow>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT n.sync, coalesce(w.version, 0), w.state, \
               CASE WHEN m.until = 'infinity' THEN 9223372036854775807 ELSE {until} END, \
               (SELECT {started} FROM {job} j WHERE j.sync = n.sync AND j.status = 'running'), \
               EXISTS (SELECT 1 FROM {job} j WHERE j.sync = n.sync AND j.status = 'done' AND NOT j.told) \
             FROM unnest($1::text[]) AS n (sync) \
             LEFT JOIN {watch} w ON w.sync = n.sync \
             LEFT JOIN {mute} m ON m.sync = n.sync",
            until = moment("m.until"),
            started = moment("j.started_at"),
            job = self.table("job"),
            watch = self.table("watch"),
            mute = self.table("mute"),
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&syncs, Type::TEXT_ARRAY)])
            .await
            .map_err(|error| db_error(&error, "reading how alerts stand"))?;
        Ok(rows
            .iter()
            .map(|row| WatchRow {
                sync: row.get(0),
                version: row.get(1),
                state: row.get(2),
                muted_until_us: row.get(3),
                running_since_us: row.get(4),
                news: row.get(5),
            })
            .collect())
    }

    /// Ends of a sync's jobs that were not looked at, the oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ended_jobs(&self, sync: &str) -> Result<Vec<EndedJob>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT id, request, outcome, run, error, {} FROM {} \
             WHERE sync = $1 AND status = 'done' AND NOT told ORDER BY finished_at, id LIMIT 100",
            moment("finished_at"),
            self.table("job"),
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&sync, Type::TEXT)])
            .await
            .map_err(|error| db_error(&error, "reading how jobs ended"))?;
        Ok(rows
            .iter()
            .map(|row| EndedJob {
                id: row.get(0),
                request: row.get(1),
                outcome: row.get(2),
                run: row.get(3),
                error: row.get(4),
                finished_us: row.get(5),
            })
            .collect())
    }

    /// Takes ends of jobs as looked at, of syncs about which nobody is told.
    ///
    /// # Errors
    /// The database fails.
    pub async fn pass_over(&self, syncs: &[String]) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "UPDATE {} SET told = true WHERE sync = ANY ($1) AND status = 'done' AND NOT told",
            self.table("job")
        );
        connection
            .client
            .query_typed(&sql, &[(&syncs, Type::TEXT_ARRAY)])
            .await
            .map_err(|error| db_error(&error, "passing over ends of jobs"))?;
        Ok(())
    }

    /// Moves a watch forward and makes its messages. `false` when another server was first: nothing
    /// is done then.
    ///
    /// # Errors
    /// The database fails.
    pub async fn move_watch(&self, moved: &Moved<'_>) -> Result<bool, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "WITH won AS (INSERT INTO {watch} AS w (sync, version, state) VALUES ($1, $2 + 1, $3) \
               ON CONFLICT (sync) DO UPDATE SET version = w.version + 1, state = excluded.state, \
                 changed_at = clock_timestamp() WHERE w.version = $2 RETURNING 1), \
             seen AS (UPDATE {job} SET told = true WHERE id = ANY ($4) AND EXISTS (SELECT 1 FROM won)), \
             made AS (INSERT INTO {message} (project, message_id, channel, subject, body) \
               SELECT $5, m.id, m.channel, m.subject, m.body \
               FROM unnest($6::text[], $7::text[], $8::text[], $9::text[]) AS m (id, channel, subject, body) \
               WHERE EXISTS (SELECT 1 FROM won) ON CONFLICT (message_id, channel) DO NOTHING) \
             SELECT count(*) FROM won",
            watch = self.table("watch"),
            job = self.table("job"),
            message = self.table("message"),
        );
        let messages = moved.messages;
        let ids: Vec<&str> = messages.iter().map(|m| m.id).collect();
        let channels: Vec<&str> = messages.iter().map(|m| m.channel).collect();
        let subjects: Vec<&str> = messages.iter().map(|m| m.subject).collect();
        let bodies: Vec<&str> = messages.iter().map(|m| m.body).collect();
        let row = connection
            .client
            .query_typed_one(
                &sql,
                &[
                    (&moved.sync, Type::TEXT),
                    (&moved.version, Type::INT8),
                    (&moved.state, Type::TEXT),
                    (&moved.jobs, Type::INT8_ARRAY),
                    (&moved.project, Type::TEXT),
                    (&ids, Type::TEXT_ARRAY),
                    (&channels, Type::TEXT_ARRAY),
                    (&subjects, Type::TEXT_ARRAY),
                    (&bodies, Type::TEXT_ARRAY),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "noting how alerts stand"))?;
        Ok(row.get::<_, i64>(0) == 1)
    }

    /// Takes the oldest message of a project that is due, to a channel that is not busy. One about
    /// the same thing that waits before it goes first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim_message(
        &self,
        project: &str,
        busy: &[String],
        lease: Duration,
    ) -> Result<Option<ClaimedMessage>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "UPDATE {message} SET attempt = attempt + 1, \
               due_at = clock_timestamp() + $3::bigint * interval '1 millisecond' \
             WHERE id = (SELECT m.id FROM {message} m WHERE m.project = $1 AND m.status = 'waiting' \
               AND m.due_at <= clock_timestamp() AND m.channel <> ALL ($2) \
               AND NOT EXISTS (SELECT 1 FROM {message} e WHERE e.status = 'waiting' \
                 AND e.project = m.project AND e.channel = m.channel AND e.subject = m.subject AND e.id < m.id) \
               ORDER BY m.id LIMIT 1 FOR UPDATE SKIP LOCKED) \
             RETURNING id, channel, body, attempt, {created}",
            message = self.table("message"),
            created = moment("created_at"),
        );
        let lease = lease.as_millis() as i64;
        let rows = connection
            .client
            .query_typed(
                &sql,
                &[
                    (&project, Type::TEXT),
                    (&busy, Type::TEXT_ARRAY),
                    (&lease, Type::INT8),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "claiming a message"))?;
        Ok(rows.first().map(|row| ClaimedMessage {
            id: row.get(0),
            channel: row.get(1),
            body: row.get(2),
            attempt: row.get(3),
            created_us: row.get(4),
        }))
    }

    /// Notes what became of an attempt: delivered; to be tried again after a while; or given up.
    ///
    /// # Errors
    /// The database fails.
    pub async fn settle_message(
        &self,
        message: &ClaimedMessage,
        error: Option<&str>,
        again: Option<Duration>,
    ) -> Result<(), Reason> {
        let connection = self.open().await?;
        let status = match (error, again) {
            (None, _) => "delivered",
            (Some(_), Some(_)) => "waiting",
            (Some(_), None) => "given up",
        };
        let again = again.unwrap_or_default().as_millis() as i64;
        let sql = format!(
            "UPDATE {} SET status = $3, error = $4, \
               due_at = clock_timestamp() + $5::bigint * interval '1 millisecond', \
               ended_at = CASE WHEN $3 = 'waiting' THEN NULL ELSE clock_timestamp() END \
             WHERE id = $1 AND attempt = $2 AND status = 'waiting'",
            self.table("message")
        );
        connection
            .client
            .query_typed(
                &sql,
                &[
                    (&message.id, Type::INT8),
                    (&message.attempt, Type::INT4),
                    (&status, Type::TEXT),
                    (&error, Type::TEXT),
                    (&again, Type::INT8),
                ],
            )
            .await
            .map_err(|error| db_error(&error, "noting what became of a message"))?;
        Ok(())
    }

    /// How a project's messages stand, channel by channel.
    ///
    /// # Errors
    /// The database fails.
    pub async fn channels(&self, project: &str) -> Result<Vec<ChannelRow>, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "SELECT channel, count(*) FILTER (WHERE status = 'waiting'), \
               count(*) FILTER (WHERE status = 'delivered'), count(*) FILTER (WHERE status = 'given up'), \
               max({ended}) FILTER (WHERE status = 'delivered'), \
               (array_agg(error ORDER BY id DESC) FILTER (WHERE status <> 'delivered' AND error IS NOT NULL))[1] \
             FROM {message} WHERE project = $1 GROUP BY channel ORDER BY channel",
            ended = moment("ended_at"),
            message = self.table("message"),
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&project, Type::TEXT)])
            .await
            .map_err(|error| db_error(&error, "reading how messages stand"))?;
        Ok(rows
            .iter()
            .map(|row| ChannelRow {
                channel: row.get(0),
                waiting: row.get(1),
                delivered: row.get(2),
                given_up: row.get(3),
                delivered_us: row.get(4),
                error: row.get(5),
            })
            .collect())
    }

    /// Forgets messages that ended longer ago than this.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_messages(&self, older: Duration) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "DELETE FROM {} WHERE ended_at < clock_timestamp() - $1::bigint * interval '1 second'",
            self.table("message")
        );
        let seconds = older.as_secs() as i64;
        connection
            .client
            .query_typed(&sql, &[(&seconds, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "forgetting old messages"))?;
        Ok(())
    }

    /// Tells nobody about a sync until then, or until it is unmuted.
    ///
    /// # Errors
    /// The database fails.
    pub async fn mute(&self, sync: &str, until_us: Option<i64>) -> Result<(), Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "INSERT INTO {} (sync, until) VALUES ($1, CASE WHEN $2::bigint IS NULL THEN 'infinity' ELSE {} END) \
             ON CONFLICT (sync) DO UPDATE SET until = excluded.until",
            self.table("mute"),
            instant("$2"),
        );
        connection
            .client
            .query_typed(&sql, &[(&sync, Type::TEXT), (&until_us, Type::INT8)])
            .await
            .map_err(|error| db_error(&error, "muting a sync"))?;
        Ok(())
    }

    /// Tells about a sync again. `false` when it was not muted.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unmute(&self, sync: &str) -> Result<bool, Reason> {
        let connection = self.open().await?;
        let sql = format!(
            "DELETE FROM {} WHERE sync = $1 RETURNING until > clock_timestamp()",
            self.table("mute")
        );
        let rows = connection
            .client
            .query_typed(&sql, &[(&sync, Type::TEXT)])
            .await
            .map_err(|error| db_error(&error, "unmuting a sync"))?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }
}
