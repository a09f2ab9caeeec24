//! One batch, one transaction: fence, claim, records, rejected ones noted, commit.
//!
//! Large groups of records go by COPY (`load.rs`), others as arrays. A record that the table refuses
//! is found by halving under savepoints inside the same transaction; the others are kept. Must never say *not applied* once COMMIT was sent, and never
//! let a batch take effect twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rowcast_core::{Batch, Code, Fault, Operation, Outcome, Reason, killpoint};
use tokio_postgres::{Client, Error};

use super::ask::{self, Param};
use super::load::{COPY_RECORDS_MIN, Load, Straight};
use super::merge::{Source, statement};
use super::name::TableName;
use super::progress::{Claim, Progress};
use super::refusal::{Refusal, Speaker};
use super::rows::{Group, Row, groups};
use super::target::Target;

/// What a batch became.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) outcomes: Vec<Outcome>,
    /// Statements that wrote records: one for each group without a bad record.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests count what a bad record costs")
    )]
    pub(super) statements: usize,
}

/// One batch on one connection.
pub(super) struct Writer<'a> {
    pub(super) client: &'a Client,
    pub(super) speaker: Speaker<'a>,
    pub(super) progress: &'a Progress,
    pub(super) table: &'a TableName,
    pub(super) target: &'a Target,
    pub(super) straight: &'a Straight,
    pub(super) timeout: Duration,
    /// Set just before COMMIT is sent: from then on the outcome is unknown until confirmed.
    pub(super) committing: &'a AtomicBool,
}

/// Reasons of records, by their place in a statement.
pub(super) type But = Vec<(usize, Reason)>;

/// What one statement did.
pub(super) enum Answer {
    /// Done, but for these rows of the part.
    Done(But),
    Refused(Reason),
}

impl Writer<'_> {
    /// Writes the batch and commits.
    pub(super) async fn write(&self, batch: &Batch) -> Result<Written, Fault> {
        let mut outcomes = vec![Outcome::Delivered; batch.records.len()];
        let groups = groups(batch, self.table, self.target, &mut outcomes).map_err(Fault::fatal)?;
        self.run(&begin(self.timeout)).await?;
        match self.progress.claim(self.client, batch).await {
            Err(error) => return Err(self.speaker.fault(&error)),
            Ok(Claim::Fenced) => return Err(Fault::fatal(fenced(self.speaker, batch))),
            Ok(Claim::Present) => {
                let outcomes = self.progress.outcomes(self.client, batch).await;
                let outcomes = outcomes.map_err(|error| self.speaker.fault(&error))?;
                self.run("ROLLBACK").await?;
                return Ok(Written {
                    outcomes,
                    statements: 0,
                });
            }
            Ok(Claim::New) => {}
        }
        let mut statements = 0;
        for (name, group) in groups.iter().enumerate() {
            statements += self.merge(batch, group, name, &mut outcomes).await?;
        }
        self.progress
            .note(self.client, batch, &outcomes)
            .await
            .map_err(|error| self.speaker.fault(&error))?;
        killpoint::reach("postgres-destination-written");
        self.committing.store(true, Ordering::SeqCst);
        self.client
            .batch_execute("COMMIT")
            .await
            .map_err(|error| self.speaker.commit_unconfirmed(&error))?;
        killpoint::reach("postgres-destination-committed");
        Ok(Written {
            outcomes,
            statements,
        })
    }

    pub(super) async fn run(&self, sql: &str) -> Result<(), Fault> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|error| self.speaker.fault(&error))
    }

    /// Writes a group, halving where a record is refused. With one bad record among 1,000 that is
    /// 1 + 2 × 10 statements at most.
    async fn merge(
        &self,
        batch: &Batch,
        group: &Group,
        name: usize,
        outcomes: &mut [Outcome],
    ) -> Result<usize, Fault> {
        let operation = batch.operation;
        let mut statements = 0;
        let mut refused = false;
        if group.rows.len() >= COPY_RECORDS_MIN {
            let load = self.load(batch, group, name, outcomes, &mut statements);
            match load.await? {
                Load::Done => return Ok(statements),
                Load::Refused => refused = true,
                Load::Unable => {}
            }
        }
        let all = group.texts(batch, self.target, outcomes);
        let all = all.map_err(Fault::fatal)?;
        let sql = statement(
            operation,
            self.table,
            self.target,
            &group.shape,
            Source::Arrays,
        );
        let mut parts = Vec::new();
        match all.len() {
            0 => {}
            // The COPY was the attempt with all of them.
            count if refused && count > 1 => parts.extend([(count / 2, count), (0, count / 2)]),
            count => parts.push((0, count)),
        }
        while let Some((start, end)) = parts.pop() {
            statements += 1;
            let rows = &all[start..end];
            match self.attempt(operation, &sql, rows).await? {
                Answer::Done(but) => {
                    self.run("RELEASE SAVEPOINT part").await?;
                    for (row, reason) in but {
                        outcomes[rows[row].position] = Outcome::Rejected(reason);
                    }
                }
                Answer::Refused(reason) => {
                    self.back().await?;
                    if let [row] = rows {
                        outcomes[row.position] = Outcome::Rejected(reason);
                    } else {
                        let middle = start + rows.len() / 2;
                        parts.push((middle, end));
                        parts.push((start, middle));
                    }
                }
            }
        }
        Ok(statements)
    }

    async fn attempt(
        &self,
        operation: Operation,
        sql: &str,
        rows: &[Row],
    ) -> Result<Answer, Fault> {
        let params = (0..rows[0].cells.len())
            .map(|column| {
                let texts = rows.iter().map(|row| row.cells[column].as_deref());
                Param::Texts(texts.collect())
            })
            .collect();
        // Sent together: a savepoint that fails makes the statement fail, too.
        let (savepoint, answer) = futures::join!(
            self.client.batch_execute("SAVEPOINT part"),
            ask::rows(self.client, sql, params)
        );
        savepoint.map_err(|error| self.speaker.fault(&error))?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.refused(&error),
        };
        Ok(self.answer(operation, answer, rows.len()))
    }

    /// Reads the answer of a statement with `count` records.
    pub(super) fn answer(
        &self,
        operation: Operation,
        answer: Vec<tokio_postgres::Row>,
        count: usize,
    ) -> Answer {
        let Some(answer) = answer.first() else {
            return Answer::Done(Vec::new());
        };
        let ordinals: Vec<i64> = answer.get(0);
        let done: i64 = answer.get(1);
        let but = |reason: &dyn Fn() -> Reason| {
            ordinals
                .iter()
                .map(|ordinal| (*ordinal as usize - 1, reason()))
                .collect::<But>()
        };
        match operation {
            Operation::Update => Answer::Done(but(&|| self.missing())),
            // Rows that were neither there nor written: another session was quicker, and halving
            // finds which they are.
            _ if (done as usize) + ordinals.len() < count => Answer::Refused(self.exists()),
            _ => Answer::Done(but(&|| self.exists())),
        }
    }

    fn refused(&self, error: &Error) -> Result<Answer, Fault> {
        match self.speaker.judge(error) {
            Refusal::Record(reason) => Ok(Answer::Refused(reason)),
            Refusal::Whole(fault) => Err(*fault),
        }
    }

    fn missing(&self) -> Reason {
        Reason::new(
            Code::NotFound,
            format!("table {} holds no such record", self.table),
        )
        .hint("mode `upsert` makes records that are missing")
    }

    fn exists(&self) -> Reason {
        Reason::new(
            Code::AlreadyExists,
            format!("table {} holds such a record already", self.table),
        )
        .hint("mode `upsert` changes records that exist")
    }
}

/// A newer run of the sync has been at the destination.
pub(super) fn fenced(speaker: Speaker<'_>, batch: &Batch) -> Reason {
    newer(speaker, &batch.context)
}

/// As `fenced`, without a batch.
pub(super) fn newer(speaker: Speaker<'_>, context: &rowcast_core::RunContext) -> Reason {
    Reason::new(
        Code::DestinationFenced,
        format!(
            "destination `{}` has seen a newer run of sync `{}`",
            speaker.destination, context.sync
        ),
    )
    .detail(format!("this run has epoch {}", context.epoch))
    .hint(
        "another worker has taken the sync over; if state was restored from a backup, see \
         `rowcast explain E0612`",
    )
}

/// What the transaction pins: how texts are read, how long the server works for us after we are
/// gone, that deferred constraints speak while their record can still be found, and that a commit
/// is durable even where the role's default says otherwise.
fn begin(timeout: Duration) -> String {
    let ms = timeout.as_millis().clamp(1, i32::MAX as u128);
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
         SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; \
         SET LOCAL IntervalStyle = 'postgres'; SET LOCAL lc_monetary = 'C'; \
         SET LOCAL statement_timeout = {ms}; SET LOCAL idle_in_transaction_session_timeout = {ms}; \
         SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
         WHERE pg_catalog.current_setting('synchronous_commit') = 'off'; \
         SET CONSTRAINTS ALL IMMEDIATE"
    )
}
