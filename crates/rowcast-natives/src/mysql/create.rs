//! Making the table, or columns it lacks, from the first records (`create: true`).
//!
//! Only what is missing is made; nothing that exists is ever altered or dropped. The server commits
//! with each of these statements, so they come before a batch's transaction, never within one.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};
use rowcast_core::key::KeyPart;
use rowcast_core::{Batch, Code, Fault, Name, Reason, Record, Value};

use super::name::{NAME_MAX, TableName, ident};
use super::refusal::{Speaker, words};
use super::target::Target;

/// Longest wait for another session that makes the same table, in seconds.
const LOCK_SECONDS: u8 = 10;

/// What a new column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Integer,
    Float,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    Moment,
    Uuid,
    Json,
}

impl Kind {
    fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Boolean,
            Value::Int(_) => Self::Integer,
            Value::Float { .. } => Self::Float,
            Value::Decimal(_) => Self::Decimal,
            Value::Text(_) => Self::Text,
            Value::Bytes(_) => Self::Bytes,
            Value::Date(_) => Self::Date,
            Value::Time(_) => Self::Time,
            Value::Timestamp(_) | Value::TimestampTz(_) => Self::Moment,
            Value::Uuid(_) => Self::Uuid,
            Value::Json(_) | Value::List(_) | Value::Object(_) => Self::Json,
        })
    }

    /// The kind of all values: text when they are of several kinds, or all null.
    fn of_all<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let mut found = None;
        for kind in values.filter_map(Self::of) {
            found = match found {
                None => Some(kind),
                Some(known) if known == kind => Some(known),
                Some(Self::Integer | Self::Decimal)
                    if matches!(kind, Self::Integer | Self::Decimal) =>
                {
                    Some(Self::Decimal)
                }
                Some(_) => return Self::Text,
            };
        }
        found.unwrap_or(Self::Text)
    }

    /// The server's type. A column of an index needs a length, and identities are told apart by
    /// every letter's case and accent.
    fn sql(self, identity: bool) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Integer => "BIGINT",
            Self::Float => "DOUBLE",
            // The widest there is: 35 digits before the point and 30 after it.
            Self::Decimal => "DECIMAL(65,30)",
            Self::Text | Self::Json if identity => {
                "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            }
            Self::Bytes if identity => "VARBINARY(255)",
            Self::Text => "LONGTEXT",
            Self::Bytes => "LONGBLOB",
            Self::Date => "DATE",
            Self::Time => "TIME(6)",
            Self::Moment => "DATETIME(6)",
            Self::Uuid => "CHAR(36) CHARACTER SET ascii",
            Self::Json => "JSON",
        }
    }
}

fn members(record: &Record) -> impl Iterator<Item = &(Name, Value)> {
    record.match_on.iter().chain(&record.fields)
}

/// The names a batch asks for, in their order; names of columns have no case here.
fn names(batch: &Batch) -> Vec<&Name> {
    let mut names: Vec<&Name> = Vec::new();
    for (name, _) in batch.records.iter().flat_map(members) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name);
        }
    }
    names
}

/// Whether a batch needs a column that the table lacks.
pub(super) fn is_short(target: &Target, batch: &Batch) -> bool {
    let mut members = batch.records.iter().flat_map(members);
    members.any(|(name, _)| target.column(name).is_none())
}

/// Integers of a key travel as text beyond 2^53; the column is an integer all the same.
fn is_integer_key(batch: &Batch, name: &Name) -> bool {
    let mut keys = batch.context.key_columns.iter();
    let Some(at) = keys.position(|key| key == name) else {
        return false;
    };
    batch.records.iter().all(|record| {
        let matched = record.match_on.iter().any(|(other, _)| other == name);
        matched && matches!(record.key.0.get(at), Some(KeyPart::Int(_)))
    })
}

/// The statement that makes what a batch needs; `None` when nothing is missing.
///
/// # Errors
/// `E0608` when a field's name is longer than the server takes.
fn statement(
    batch: &Batch,
    table: &TableName,
    target: Option<&Target>,
    match_fields: &[Name],
) -> Result<Option<String>, Reason> {
    let mut columns = Vec::new();
    for name in names(batch) {
        if target.is_some_and(|target| target.column(name).is_some()) {
            continue;
        }
        if name.chars().count() > NAME_MAX {
            return Err(Reason::new(
                Code::DestinationObject,
                format!("a column can't be named {}", ident(name)),
            )
            .detail(format!("a name has at most {NAME_MAX} characters"))
            .hint("give the field a shorter name"));
        }
        let identity = match_fields
            .iter()
            .any(|field| field.eq_ignore_ascii_case(name));
        let values = batch.records.iter().flat_map(members);
        let values = values.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let kind = if is_integer_key(batch, name) {
            Kind::Integer
        } else {
            Kind::of_all(values.map(|(_, value)| value))
        };
        columns.push(format!("{} {}", ident(name), kind.sql(identity)));
    }
    if target.is_some() {
        let added: Vec<String> = columns
            .iter()
            .map(|column| format!("ADD COLUMN {column}"))
            .collect();
        return Ok((!added.is_empty()).then(|| format!("ALTER TABLE {table} {}", added.join(", "))));
    }
    let keys: Vec<String> = match_fields.iter().map(|name| ident(name)).collect();
    columns.push(format!("PRIMARY KEY ({})", keys.join(", ")));
    Ok(Some(format!(
        "CREATE TABLE {table} ({}) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4",
        columns.join(", ")
    )))
}

/// Makes the table, or the columns that a batch needs, if they are not there. Sessions that want the
/// same take turns.
///
/// # Errors
/// The user may not, or the server can't. The batch had no effect.
pub(super) async fn make(
    conn: &mut Conn,
    speaker: Speaker<'_>,
    table: &TableName,
    match_fields: &[Name],
    batch: &Batch,
) -> Result<(), Fault> {
    // A lock's name has at most 64 characters; two tables that share one wait for each other.
    let short: String = table.table.chars().take(40).collect();
    let lock = format!("rowcast create {short}");
    let fault = |error: Error| speaker.fault(&error);
    let taken: Option<Option<u8>> = conn
        .exec_first("SELECT GET_LOCK(?, ?)", (&lock, LOCK_SECONDS))
        .await
        .map_err(fault)?;
    if taken.flatten() != Some(1) {
        let reason = Reason::new(
            Code::DestinationBusy,
            format!("{table} could not be made: another session is at it"),
        );
        return Err(Fault::refused(reason.hint("it is tried again")));
    }
    let made = async {
        let target = Target::read(conn, table).await.map_err(fault)?;
        let sql = statement(batch, table, target.as_ref(), match_fields).map_err(Fault::fatal)?;
        match sql {
            Some(sql) => conn.query_drop(sql).await.map_err(|error| match error {
                Error::Server(said) if matches!(said.code, 1044 | 1142 | 1227) => {
                    Fault::fatal(not_allowed(table, &words(&said)))
                }
                Error::Server(said) => Fault::fatal(
                    Reason::new(Code::DestinationObject, format!("{table} can't be made"))
                        .detail(words(&said))
                        .hint("make it yourself, with the types that you want"),
                ),
                error => fault(error),
            }),
            None => Ok(()),
        }
    }
    .await;
    let freed = conn.exec_drop("SELECT RELEASE_LOCK(?)", (&lock,)).await;
    made.and_then(|()| freed.map_err(fault))
}

/// The user may not make what is missing.
fn not_allowed(table: &TableName, said: &str) -> Reason {
    Reason::new(
        Code::DestinationObject,
        format!("the user may not make {table} or columns of it"),
    )
    .detail(said)
    .hint(format!(
        "GRANT CREATE, ALTER ON {table} TO the user, or leave `create` out and make it yourself"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_takes_the_kind_of_its_values() {
        let sql = |values: &[Value]| Kind::of_all(values.iter()).sql(false);
        assert_eq!(sql(&[Value::Null, Value::Int(1)]), "BIGINT");
        assert_eq!(
            sql(&[Value::Int(1), Value::Decimal("1.5".into())]),
            "DECIMAL(65,30)"
        );
        assert_eq!(sql(&[Value::Int(1), Value::text("x")]), "LONGTEXT");
        assert_eq!(sql(&[Value::Null]), "LONGTEXT");
        assert_eq!(sql(&[Value::List(vec![])]), "JSON");
        assert!(Kind::Text.sql(true).contains("utf8mb4_bin"));
    }
}
