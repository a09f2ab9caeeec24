//! What Segment and RudderStack left in the source: their state tables, found by name and read as
//! keys and checksums of ours.
//!
//! Their layouts are known from their documentation, so columns are looked up, never assumed, and
//! whatever is ambiguous is an error that asks. Only reads, in the caller's transaction.

mod rudder;
mod segment;

use rowcast_core::{Code, Reason};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::adopt::{AdoptRequest, OldTool};
use super::model::Model;
use super::plan::HashPlan;
use super::shape::Shape;
use crate::connect::db_error;
use crate::sql::qualified;

/// Old state as a query.
pub(super) struct OldState {
    /// Its tables, for people.
    pub tables: Vec<String>,
    /// Gives `k1…`, `p` (true), `h`, `m`, `failed`; each key once.
    pub query: String,
    /// Whether its checksums can be compared with the model's.
    pub comparable: bool,
    /// Rows that are none of the query's.
    pub left_out: u64,
    pub notes: Vec<String>,
}

/// A table of the old tool.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    schema: String,
    name: String,
    columns: Vec<String>,
}

impl Table {
    fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// A column by its name in any case: unquoted names were folded, quoted ones were not.
    fn column(&self, name: &str) -> Option<&str> {
        let exact = self.columns.iter().find(|column| *column == name);
        exact
            .or_else(|| {
                self.columns
                    .iter()
                    .find(|column| column.eq_ignore_ascii_case(name))
            })
            .map(String::as_str)
    }

    /// What follows a prefix in the table's name, in any case.
    fn after(&self, prefix: &str) -> Option<&str> {
        let start = self.name.get(..prefix.len())?;
        start
            .eq_ignore_ascii_case(prefix)
            .then(|| &self.name[prefix.len()..])
    }
}

/// Finds the old state that a request means.
///
/// # Errors
/// It is missing, ambiguous, or does not fit the model.
pub(super) async fn find(
    client: &Client,
    request: &AdoptRequest,
    shape: &Shape,
    plan: &HashPlan,
    model: &Model,
) -> Result<OldState, Reason> {
    match request.tool {
        OldTool::Segment => segment::find(client, request, shape, model).await,
        OldTool::Rudder => rudder::find(client, request, shape, plan, model).await,
    }
}

/// The tables of a schema of any of these names, in any case, oldest first.
async fn tables(
    client: &Client,
    request: &AdoptRequest,
    usual: &[&str],
) -> Result<Vec<Table>, Reason> {
    let names: Vec<String> = match &request.schema {
        Some(schema) => vec![schema.to_lowercase()],
        None => usual.iter().map(|name| (*name).to_owned()).collect(),
    };
    let rows = client
        .query_typed(
            "SELECT n.nspname::text, c.relname::text, \
             ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a \
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE lower(n.nspname) = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY c.oid",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| {
            db_error(
                &error,
                &format!("looking for {}'s state", request.tool.as_str()),
            )
        })?;
    Ok(rows
        .iter()
        .map(|row| Table {
            schema: row.get(0),
            name: row.get(1),
            columns: row.get(2),
        })
        .collect())
}

/// One number from a query that people can't influence but through names.
async fn number(client: &Client, sql: &str, what: &str) -> Result<u64, Reason> {
    let rows = client
        .query_typed(sql, &[])
        .await
        .map_err(|error| db_error(&error, what))?;
    Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0)) as u64)
}

fn missing(request: &AdoptRequest, detail: String) -> Reason {
    let tool = request.tool.as_str();
    Reason::new(
        Code::OldStateMissing,
        format!("{tool}'s state was not found in the source"),
    )
    .detail(detail)
    .hint(
        "name its schema with `--schema`, or its mapping or connection with `--id`; without old state, \
         `rowcast baseline` accepts the present rows and a first run sends them",
    )
}

fn unfit(request: &AdoptRequest, detail: impl Into<String>, hint: impl Into<String>) -> Reason {
    let tool = request.tool.as_str();
    Reason::new(
        Code::OldStateUnfit,
        format!("{tool}'s state does not fit the sync"),
    )
    .detail(detail)
    .hint(hint)
}
