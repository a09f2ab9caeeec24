//! One batch, one transaction: fence, claim, records, rejected ones noted, commit.
//!
//! Rows go in statements of many; a statement that is refused changes nothing, and the record at
//! fault is found by halving inside the same transaction, so the others are kept. Must never say
//! *not applied* once COMMIT was sent, and never let a batch take effect twice.

use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Params, Value as Param};
use rowcast_core::{
    Batch, Code, Fault, Name, Operation, Outcome, Reason, Record, Value, killpoint, progress,
};

use super::name::TableName;
use super::progress::{Claim, Progress};
use super::refusal::{Refusal, Speaker, is_duplicate};
use super::statement::{Shape, statement};
use super::target::{Target, no_column};
use super::values::{param, size};

/// A prepared statement has at most 65,535 parameters.
const PARAMS_MAX: usize = 60_000;

/// One batch on one connection.
pub(super) struct Writer<'a> {
    pub(super) speaker: Speaker<'a>,
    pub(super) progress: &'a Progress,
    pub(super) table: &'a TableName,
    pub(super) target: &'a Target,
    /// Set just before COMMIT is sent: from then on the outcome is unknown until confirmed.
    pub(super) committing: &'a AtomicBool,
}

/// Records with the same columns.
struct Group {
    shape: Shape,
    rows: Vec<Row>,
}

/// A record's values: the identity first, then the other columns.
struct Row {
    position: usize,
    values: Vec<Param>,
    bytes: usize,
}

impl Writer<'_> {
    /// Writes the batch and commits.
    pub(super) async fn write(
        &self,
        conn: &mut Conn,
        batch: &Batch,
    ) -> Result<Vec<Outcome>, Fault> {
        let mut outcomes = vec![Outcome::Delivered; batch.records.len()];
        let groups = self.groups(batch, &mut outcomes).map_err(Fault::fatal)?;
        let fault = |error: Error| self.speaker.fault(&error);
        conn.query_drop("START TRANSACTION").await.map_err(fault)?;
        match self.progress.claim(conn, batch).await.map_err(fault)? {
            Claim::Fenced => {
                let destination = self.speaker.destination;
                let reason = progress::fenced(destination, &batch.context);
                return Err(Fault::fatal(reason));
            }
            Claim::Present => {
                let outcomes = self.progress.outcomes(conn, batch).await.map_err(fault)?;
                conn.query_drop("ROLLBACK").await.map_err(fault)?;
                return Ok(outcomes);
            }
            Claim::New => {}
        }
        for group in &groups {
            self.merge(conn, batch.operation, group, &mut outcomes)
                .await?;
        }
        let noted = self.progress.note(conn, batch, &outcomes).await;
        noted.map_err(fault)?;
        killpoint::reach("mysql-destination-written");
        self.committing.store(true, Ordering::SeqCst);
        conn.query_drop("COMMIT")
            .await
            .map_err(|error| self.speaker.commit_unconfirmed(&error))?;
        killpoint::reach("mysql-destination-committed");
        Ok(outcomes)
    }

    /// Writes a group, halving where a record is refused. With one bad record among 1,000 that is
    /// 1 + 2 × 10 statements at most.
    async fn merge(
        &self,
        conn: &mut Conn,
        operation: Operation,
        group: &Group,
        outcomes: &mut [Outcome],
    ) -> Result<(), Fault> {
        let guarded =
            operation == Operation::Upsert && self.target.other_unique(&group.shape.match_columns);
        let mut parts = self.parts(operation, group);
        parts.reverse();
        while let Some((start, end)) = parts.pop() {
            let rows = &group.rows[start..end];
            let sql = statement(operation, self.table, &group.shape, rows.len(), guarded);
            let error = match conn
                .exec_drop(sql, params(operation, &group.shape, rows))
                .await
            {
                Ok(()) => {
                    if operation == Operation::Update && conn.affected_rows() == 0 {
                        outcomes[rows[0].position] = Outcome::Rejected(self.missing());
                    }
                    continue;
                }
                Err(error) => error,
            };
            let reason = match self.speaker.judge(&error) {
                Refusal::Whole(fault) => return Err(*fault),
                Refusal::Record(reason) => reason,
            };
            if let [row] = rows {
                let reason = if operation == Operation::Insert && is_duplicate(&error) {
                    self.exists()
                } else {
                    reason
                };
                outcomes[row.position] = Outcome::Rejected(reason);
            } else {
                let middle = start + rows.len() / 2;
                parts.push((middle, end));
                parts.push((start, middle));
            }
        }
        Ok(())
    }

    /// The statements of a group, each within the server's limits. Updates go one by one: their
    /// number of changed rows tells which are missing.
    fn parts(&self, operation: Operation, group: &Group) -> Vec<(usize, usize)> {
        let most = match operation {
            Operation::Update => 1,
            _ => (PARAMS_MAX / group.shape.width(operation).max(1)).max(1),
        };
        let bytes_max = self.target.packet_max / 2;
        let mut parts = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (at, row) in group.rows.iter().enumerate() {
            if at > start && (at - start == most || bytes + row.bytes > bytes_max) {
                parts.push((start, at));
                (start, bytes) = (at, 0);
            }
            bytes += row.bytes;
        }
        if start < group.rows.len() {
            parts.push((start, group.rows.len()));
        }
        parts
    }

    /// Sorts a batch into groups. Records that can't be stored are rejected here.
    ///
    /// # Errors
    /// `E0608`: a field that is no column, or one that can't be written.
    fn groups(&self, batch: &Batch, outcomes: &mut [Outcome]) -> Result<Vec<Group>, Reason> {
        let mut groups: Vec<Group> = Vec::new();
        for (position, record) in batch.records.iter().enumerate() {
            let names = record.match_on.iter();
            let match_columns: Vec<Name> = names.map(|(name, _)| name.clone()).collect();
            let others: Vec<Name> = match batch.operation {
                Operation::Delete => Vec::new(),
                _ => self.others(record, &match_columns)?,
            };
            let unknown = |name: &&Name| self.target.column(name).is_none();
            if let Some(name) = match_columns.iter().find(unknown) {
                return Err(no_column(self.table, name));
            }
            let shape = Shape {
                match_columns,
                others,
            };
            match self.row(position, record, &shape) {
                Ok(row) => match groups.iter_mut().find(|group| group.shape == shape) {
                    Some(group) => group.rows.push(row),
                    None => groups.push(Group {
                        shape,
                        rows: vec![row],
                    }),
                },
                Err(reason) => outcomes[position] = Outcome::Rejected(reason),
            }
        }
        Ok(groups)
    }

    fn others(&self, record: &Record, match_columns: &[Name]) -> Result<Vec<Name>, Reason> {
        let mut others = Vec::with_capacity(record.fields.len());
        for (name, _) in &record.fields {
            if match_columns
                .iter()
                .any(|key| key.eq_ignore_ascii_case(name))
            {
                continue;
            }
            match self.target.column(name) {
                None => return Err(no_column(self.table, name)),
                Some(column) if column.generated => {
                    return Err(Reason::new(
                        Code::DestinationObject,
                        format!("column {} of {} is generated", column.name, self.table),
                    )
                    .hint("leave it out of the sync's `fields`"));
                }
                Some(_) => others.push(name.clone()),
            }
        }
        Ok(others)
    }

    fn row(&self, position: usize, record: &Record, shape: &Shape) -> Result<Row, Reason> {
        let mut values = Vec::with_capacity(shape.match_columns.len() + shape.others.len());
        for (name, value) in &record.match_on {
            if value.is_null() {
                return Err(Reason::new(
                    Code::MatchMissing,
                    format!("the record has no value for {name}, by which it is found"),
                ));
            }
            values.push(self.value(name, value)?);
        }
        for name in &shape.others {
            let field = record.fields.iter().find(|(field, _)| field == name);
            values.push(self.value(name, field.map_or(&Value::Null, |(_, value)| value))?);
        }
        let bytes = values.iter().map(size).sum();
        if bytes > self.target.packet_max / 2 {
            return Err(Reason::new(
                Code::RecordTooLarge,
                format!("a record of {bytes} bytes is too large for {}", self.table),
            )
            .detail(format!(
                "the server takes packets of {} bytes",
                self.target.packet_max
            ))
            .hint("raise the server's `max_allowed_packet` to more than twice the record"));
        }
        Ok(Row {
            position,
            values,
            bytes,
        })
    }

    fn value(&self, name: &Name, value: &Value) -> Result<Param, Reason> {
        let Some(column) = self.target.column(name) else {
            return Err(no_column(self.table, name));
        };
        param(value, column).map_err(|why| {
            Reason::new(
                Code::DestinationRejected,
                format!("a value for column {} can't be stored", column.name),
            )
            .detail(why)
        })
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

/// The values of a statement's rows, in the order of its parameters.
fn params(operation: Operation, shape: &Shape, rows: &[Row]) -> Params {
    let keys = shape.match_columns.len();
    let values: Vec<Param> = match operation {
        // The identity comes last.
        Operation::Update => rows
            .iter()
            .flat_map(|row| row.values[keys..].iter().chain(&row.values[..keys]))
            .cloned()
            .collect(),
        _ => rows
            .iter()
            .flat_map(|row| row.values.iter())
            .cloned()
            .collect(),
    };
    Params::Positional(values)
}
