//! A group of records by COPY: straight into a table that was empty when the run began, else into
//! a temporary table from which one statement merges them.
//!
//! Both happen under a savepoint inside the batch's transaction, and the outcomes are those of the
//! arrays: what is refused here is searched for by `write.rs`. The driver needs a named prepared
//! statement for a COPY; it is closed before the statement that follows, and the temporary table
//! is dropped by the commit, so nothing outlives the transaction (a pooler may then give the
//! server's session to somebody else).

use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use futures::SinkExt as _;
use futures::future::BoxFuture;
use rowcast_core::{Batch, Fault, Operation, Outcome};
use tokio_postgres::{Client, Error};

use super::ask::{self, Param};
use super::encode::{Encoded, encode};
use super::merge::{Source, numbered, statement};
use super::raw::damaged;
use super::refusal::Refusal;
use super::rows::Group;
use super::target::Column;
use super::write::{Answer, Writer};
use crate::ledger::decode::Malformed;
use crate::sql::ident;

/// Groups of at least this many records are copied. Below, a temporary table costs more than the
/// arrays do.
pub(super) const COPY_RECORDS_MIN: usize = 250;

/// Bytes of one message of a COPY: each is copied once on its way to the socket.
const MESSAGE_BYTES: usize = 256 << 10;

/// Whether records of a run go straight into the table.
#[derive(Debug, Default)]
pub(super) struct Straight(AtomicU8);

impl Straight {
    const UNKNOWN: u8 = 0;
    const YES: u8 = 1;
    const NO: u8 = 2;

    /// Forgets what an earlier run found.
    pub(super) fn reset(&self) {
        self.0.store(Self::UNKNOWN, Ordering::Relaxed);
    }

    fn refuse(&self) {
        self.0.store(Self::NO, Ordering::Relaxed);
    }

    /// Whether the table was empty when the run's first records came, and has taken all since.
    async fn holds(&self, client: &Client, table: u32) -> Result<bool, Error> {
        if self.0.load(Ordering::Relaxed) == Self::UNKNOWN {
            // By its size: counting would read a table whose rows were all deleted.
            let sql = "SELECT pg_catalog.pg_relation_size($1::pg_catalog.oid) = 0";
            let row = ask::row(client, sql, vec![Param::Oid(table)]).await?;
            let empty: Option<bool> = row.get(0);
            let found = if empty == Some(true) {
                Self::YES
            } else {
                Self::NO
            };
            let _ =
                self.0
                    .compare_exchange(Self::UNKNOWN, found, Ordering::Relaxed, Ordering::Relaxed);
        }
        Ok(self.0.load(Ordering::Relaxed) == Self::YES)
    }
}

/// What became of a group.
pub(super) enum Load {
    Done,
    /// A record is refused: search for it.
    Refused,
    /// This way is closed: send arrays.
    Unable,
}

/// How records went straight into the table.
enum Copied {
    Done,
    Refused,
    /// The table holds one of them already.
    Conflict,
}

impl Writer<'_> {
    /// Writes a whole group by COPY. `name` is unique within the transaction. Counts the
    /// statements that wrote records.
    pub(super) fn load<'a>(
        &'a self,
        batch: &'a Batch,
        group: &'a Group,
        name: usize,
        outcomes: &'a mut [Outcome],
        statements: &'a mut usize,
    ) -> BoxFuture<'a, Result<Load, Fault>> {
        Box::pin(async move {
            let operation = batch.operation;
            let fault = |error: Error| self.speaker.fault(&error);
            let straight = matches!(operation, Operation::Insert | Operation::Upsert)
                && self.target.plain
                && self.target.unique_over(&group.shape.matches)
                && self
                    .straight
                    .holds(self.client, self.target.oid)
                    .await
                    .map_err(fault)?;
            if !straight && !self.target.temporary {
                return Ok(Load::Unable);
            }
            let numbers = numbered(operation);
            let mut encoded = encode(batch, group, self.target, numbers && !straight)
                .map_err(|Malformed| Fault::fatal(damaged()))?;
            for (position, reason) in std::mem::take(&mut encoded.refused) {
                outcomes[position] = Outcome::Rejected(reason);
            }
            if encoded.positions.is_empty() {
                return Ok(Load::Done);
            }
            if straight {
                if !encoded.texts.contains(&true) {
                    *statements += 1;
                    match self.copy_straight(operation, group, &encoded).await? {
                        Copied::Done => return Ok(Load::Done),
                        Copied::Refused => return Ok(Load::Refused),
                        Copied::Conflict => {
                            *statements -= 1;
                            self.straight.refuse();
                        }
                    }
                }
                if !self.target.temporary {
                    return Ok(Load::Unable);
                }
                if numbers {
                    encoded = encode(batch, group, self.target, true)
                        .map_err(|Malformed| Fault::fatal(damaged()))?;
                }
            }
            *statements += 1;
            self.copy_and_merge(operation, group, &encoded, name, outcomes)
                .await
        })
    }

    /// Savepoint, COPY into the table, release; undone when refused.
    async fn copy_straight(
        &self,
        operation: Operation,
        group: &Group,
        encoded: &Encoded,
    ) -> Result<Copied, Fault> {
        let columns: Vec<String> = self
            .columns(group)
            .map(|column| ident(&column.name))
            .collect();
        let sql = format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.table,
            columns.join(", ")
        );
        self.run("SAVEPOINT part").await?;
        let error = match self.copy(&sql, &encoded.data).await {
            // A trigger may leave an inserted row out; which, is found by halving.
            Ok(count)
                if operation == Operation::Insert && count < encoded.positions.len() as u64 =>
            {
                self.back().await?;
                return Ok(Copied::Refused);
            }
            Ok(_) => {
                self.run("RELEASE SAVEPOINT part").await?;
                return Ok(Copied::Done);
            }
            Err(error) => error,
        };
        let conflict = error.as_db_error().is_some_and(|db| {
            let mut indexes = self.target.unique_indexes(&group.shape.matches);
            db.code().code() == "23505"
                && indexes.any(|index| Some(index.name.as_str()) == db.constraint())
        });
        match self.speaker.judge(&error) {
            Refusal::Whole(fault) => Err(*fault),
            Refusal::Record(_) => {
                self.back().await?;
                Ok(if conflict {
                    Copied::Conflict
                } else {
                    Copied::Refused
                })
            }
        }
    }

    /// Savepoint, temporary table, COPY, the merging statement, release; undone when refused.
    async fn copy_and_merge(
        &self,
        operation: Operation,
        group: &Group,
        encoded: &Encoded,
        name: usize,
        outcomes: &mut [Outcome],
    ) -> Result<Load, Fault> {
        let name = format!("rowcast_batch_{name}");
        let mut columns = Vec::new();
        if numbered(operation) {
            columns.push("n pg_catalog.int8".to_owned());
        }
        for (n, (column, text)) in self.columns(group).zip(&encoded.texts).enumerate() {
            let kind = if *text {
                "pg_catalog.text"
            } else {
                &column.cast
            };
            columns.push(format!("c{n} {kind}"));
        }
        self.run(&format!(
            "SAVEPOINT part; CREATE TEMPORARY TABLE {name} ({}) ON COMMIT DROP",
            columns.join(", ")
        ))
        .await?;
        let name = format!("pg_temp.{name}");
        let sql = format!("COPY {name} FROM STDIN (FORMAT binary)");
        let answer = match self.copy(&sql, &encoded.data).await {
            Ok(_) => {
                let source = Source::Table {
                    name: &name,
                    texts: &encoded.texts,
                };
                let sql = statement(operation, self.table, self.target, &group.shape, source);
                ask::rows(self.client, &sql, Vec::new()).await
            }
            Err(error) => Err(error),
        };
        let but = match answer.map(|rows| self.answer(operation, rows, encoded.positions.len())) {
            Ok(Answer::Done(but)) => but,
            Ok(Answer::Refused(_)) => {
                self.back().await?;
                return Ok(Load::Refused);
            }
            Err(error) => match self.speaker.judge(&error) {
                Refusal::Whole(fault) => return Err(*fault),
                Refusal::Record(_) => {
                    self.back().await?;
                    return Ok(Load::Refused);
                }
            },
        };
        self.run("RELEASE SAVEPOINT part").await?;
        for (row, reason) in but {
            outcomes[encoded.positions[row]] = Outcome::Rejected(reason);
        }
        Ok(Load::Done)
    }

    fn columns(&self, group: &Group) -> impl Iterator<Item = &Column> {
        group.shape.all().map(|at| &self.target.columns[at])
    }

    /// How many records the COPY took.
    async fn copy(&self, sql: &str, data: &Bytes) -> Result<u64, Error> {
        let sink = self.client.copy_in::<_, Bytes>(sql).await?;
        let mut sink = Box::pin(sink);
        let mut data = data.clone();
        while !data.is_empty() {
            let message = data.split_to(data.len().min(MESSAGE_BYTES));
            sink.send(message).await?;
        }
        sink.as_mut().finish().await
    }

    /// Undoes what was done since the savepoint.
    pub(super) async fn back(&self) -> Result<(), Fault> {
        self.run("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
            .await
    }
}
