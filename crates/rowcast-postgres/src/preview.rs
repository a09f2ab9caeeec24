//! A look at a model: its types, first rows, whether its key holds, and columns that never rest.
//!
//! Reads only, in transactions that are rolled back; every value comes as PostgreSQL's own text.

use rowcast_core::{Code, Reason, Value};
use tokio_postgres::{Client, Row};

use crate::connect::{Connection, db_error};
use crate::model_text::{
    ColumnType, ReadSettings, guard_statements, model_error, validate, wrapped,
};
use crate::sql::ident;

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewRequest {
    /// The model's text.
    pub sql: String,
    /// The model's primary key; empty skips the verdict.
    pub key: Vec<String>,
    /// Rows to show. Product default 10.
    pub limit: u32,
    pub settings: ReadSettings,
}

/// Whether the key identifies rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyVerdict {
    /// All rows of the model.
    pub rows: u64,
    /// Different keys without a null part.
    pub keys: u64,
    /// Rows whose key has a null part.
    pub nulls: u64,
    /// Rows that share their key with another one.
    pub duplicates: u64,
}

impl KeyVerdict {
    /// Every row has a key of its own.
    pub fn holds(&self) -> bool {
        self.nulls == 0 && self.duplicates == 0
    }
}

/// `key is unique: 1,204,331 of 1,204,331; 0 null`.
impl std::fmt::Display for KeyVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unique = if self.duplicates == 0 {
            "unique"
        } else {
            "not unique"
        };
        write!(
            f,
            "key is {unique}: {} of {}; {} null",
            grouped(self.keys),
            grouped(self.rows),
            grouped(self.nulls)
        )
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub columns: Vec<ColumnType>,
    /// Text or null, in the columns' order.
    pub rows: Vec<Vec<Value>>,
    pub key: Option<KeyVerdict>,
    /// Columns whose values differed between two reads of the same rows: `now()`, `random()`.
    /// Such a column makes every row look updated in every run.
    pub volatile: Vec<String>,
}

const WHAT: &str = "reading the model";

/// Looks at a model.
///
/// # Errors
/// As `model_text::validate`; `E0210` a key column does not exist, `E0211` it has no order, `E0215`
/// the statement timeout passed.
pub async fn preview(connection: &Connection, request: &PreviewRequest) -> Result<Preview, Reason> {
    let client = &connection.client;
    let cancel = connection.cancel_handle();
    let limit = request.settings.statement_timeout;
    let first = cancel
        .within(limit, WHAT, first_read(client, request))
        .await;
    rollback(client).await?;
    let (columns, rows) = first?;
    // A new transaction: now() stands still within one.
    let second = cancel
        .within(limit, WHAT, second_read(client, request, &columns))
        .await;
    rollback(client).await?;
    let (again, key) = second?;
    let volatile = volatile(&columns, &request.key, &rows, &again);
    Ok(Preview {
        columns,
        rows,
        key,
        volatile,
    })
}

async fn rollback(client: &Client) -> Result<(), Reason> {
    client
        .batch_execute("ROLLBACK")
        .await
        .map_err(|error| db_error(&error, WHAT))
}

async fn begin(client: &Client, settings: &ReadSettings) -> Result<(), Reason> {
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}",
            guard_statements(settings)
        ))
        .await
        .map_err(|error| db_error(&error, WHAT))
}

async fn first_read(
    client: &Client,
    request: &PreviewRequest,
) -> Result<(Vec<ColumnType>, Vec<Vec<Value>>), Reason> {
    begin(client, &request.settings).await?;
    let columns = validate(client, &request.sql).await?;
    check_key(&columns, &request.key)?;
    let rows = read(client, request, &columns).await?;
    Ok((columns, rows))
}

async fn second_read(
    client: &Client,
    request: &PreviewRequest,
    columns: &[ColumnType],
) -> Result<(Vec<Vec<Value>>, Option<KeyVerdict>), Reason> {
    begin(client, &request.settings).await?;
    let rows = read(client, request, columns).await?;
    let verdict = if request.key.is_empty() {
        None
    } else {
        Some(verdict(client, request).await?)
    };
    Ok((rows, verdict))
}

/// Whether the key's columns exist and can be compared.
///
/// # Errors
/// `E0210`, `E0211`.
pub fn check_key(columns: &[ColumnType], key: &[String]) -> Result<(), Reason> {
    for name in key {
        let Some(column) = columns.iter().find(|column| &column.name == name) else {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Reason::new(
                Code::KeyMissing,
                format!("the primary key column \"{name}\" is not in the model"),
            )
            .detail(format!("the model returns {}", names.join(", ")))
            .hint("add the column to the model, or name another one in primary_key; names are case-sensitive"));
        };
        if !column.orderable {
            return Err(Reason::new(
                Code::KeyTypeUnsupported,
                format!("the column \"{name}\" can't be a primary key"),
            )
            .detail(format!(
                "its type {} has no equality or order",
                column.type_name
            ))
            .hint("cast it in the model, for example to text, or choose another key"));
        }
    }
    Ok(())
}

async fn read(
    client: &Client,
    request: &PreviewRequest,
    columns: &[ColumnType],
) -> Result<Vec<Vec<Value>>, Reason> {
    let texts: Vec<String> = columns
        .iter()
        .map(|column| format!("m.{}::text", ident(&column.name)))
        .collect();
    let sql = format!(
        "SELECT {} FROM {} LIMIT {}",
        texts.join(", "),
        wrapped(&request.sql),
        request.limit
    );
    client
        .query_typed(&sql, &[])
        .await
        .and_then(|rows| {
            rows.iter()
                .map(|row| (0..columns.len()).map(|i| text(row, i)).collect())
                .collect()
        })
        .map_err(|error| model_error(&error, WHAT))
}

fn text(row: &Row, i: usize) -> Result<Value, tokio_postgres::Error> {
    let text: Option<String> = row.try_get(i)?;
    Ok(text.map_or(Value::Null, Value::from))
}

async fn verdict(client: &Client, request: &PreviewRequest) -> Result<KeyVerdict, Reason> {
    let names: Vec<String> = request
        .key
        .iter()
        .map(|name| format!("m.{}", ident(name)))
        .collect();
    let null = names
        .iter()
        .map(|name| format!("{name} IS NULL"))
        .collect::<Vec<_>>()
        .join(" OR ");
    let sql = format!(
        "SELECT coalesce(sum(n), 0)::int8, count(*) FILTER (WHERE NOT absent),
                coalesce(sum(n) FILTER (WHERE absent), 0)::int8,
                coalesce(sum(n) FILTER (WHERE n > 1 AND NOT absent), 0)::int8
         FROM (SELECT count(*) AS n, ({null}) AS absent FROM {} GROUP BY {}) AS grouped",
        wrapped(&request.sql),
        names.join(", ")
    );
    client
        .query_typed_one(&sql, &[])
        .await
        .and_then(|row| {
            let count = |i| row.try_get::<_, i64>(i).map(i64::unsigned_abs);
            Ok(KeyVerdict {
                rows: count(0)?,
                keys: count(1)?,
                nulls: count(2)?,
                duplicates: count(3)?,
            })
        })
        .map_err(|error| model_error(&error, "counting the model's keys"))
}

/// The columns that differ between two reads of rows with the same key; without a key, of rows at
/// the same place.
fn volatile(
    columns: &[ColumnType],
    key: &[String],
    first: &[Vec<Value>],
    second: &[Vec<Value>],
) -> Vec<String> {
    let position = |name: &String| columns.iter().position(|column| &column.name == name);
    let key: Vec<usize> = key.iter().filter_map(position).collect();
    let key_of = |row: &Vec<Value>| key.iter().map(|i| row[*i].clone()).collect::<Vec<_>>();
    let mut differs = vec![false; columns.len()];
    for (place, row) in first.iter().enumerate() {
        let twin = if key.is_empty() {
            second.get(place)
        } else {
            second.iter().find(|other| key_of(other) == key_of(row))
        };
        for (i, other) in twin.into_iter().flatten().enumerate() {
            differs[i] |= *other != row[i];
        }
    }
    // A key that is different in every read finds no twin at all.
    if !first.is_empty() && first.len() == second.len() && !key.is_empty() {
        let keys: Vec<_> = first.iter().map(key_of).collect();
        if second.iter().all(|row| !keys.contains(&key_of(row))) {
            for i in key {
                differs[i] = true;
            }
        }
    }
    columns
        .iter()
        .zip(differs)
        .filter(|(_, differs)| *differs)
        .map(|(column, _)| column.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let grouped: Vec<String> = [0, 999, 1_000, 1_204_331].map(grouped).to_vec();
        assert_eq!(grouped, ["0", "999", "1,000", "1,204,331"]);
    }
}
