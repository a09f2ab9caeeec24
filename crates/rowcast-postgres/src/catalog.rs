//! What the source holds and the role can see: schemas, tables, views, columns, keys, owners.
//!
//! Reads catalogs only, never a row of a user's table.

use rowcast_core::Reason;
use tokio_postgres::types::{Oid, Type};
use tokio_postgres::{Client, Row};

use crate::connect::db_error;

/// What kind of relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
}

impl RelationKind {
    /// As people say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::PartitionedTable => "partitioned table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::ForeignTable => "foreign table",
        }
    }

    fn of(relkind: &str) -> Self {
        match relkind {
            "p" => Self::PartitionedTable,
            "v" => Self::View,
            "m" => Self::MaterializedView,
            "f" => Self::ForeignTable,
            _ => Self::Table,
        }
    }
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogColumn {
    pub name: String,
    /// As PostgreSQL prints it: `numeric(10,2)`.
    pub type_name: String,
    pub not_null: bool,
    /// The role may SELECT it.
    pub readable: bool,
}

/// A table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    pub owner: String,
    /// The planner's estimate; `None` when it never looked.
    pub estimated_rows: Option<u64>,
    /// The primary key's columns in the key's order; empty without one.
    pub primary_key: Vec<String>,
    pub columns: Vec<CatalogColumn>,
}

/// Schemas that are not PostgreSQL's own, and whether the role may use them.
///
/// # Errors
/// The catalog can't be read.
pub async fn schemas(client: &Client) -> Result<Vec<(String, bool)>, Reason> {
    const WHAT: &str = "listing the schemas";
    client
        .query_typed(
            "SELECT nspname::text, pg_catalog.has_schema_privilege(oid, 'USAGE')
             FROM pg_catalog.pg_namespace
             WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' ORDER BY nspname",
            &[],
        )
        .await
        .and_then(|rows| {
            rows.iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect()
        })
        .map_err(|error| db_error(&error, WHAT))
}

const RELATIONS: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
           pg_catalog.pg_get_userbyid(c.relowner)::text, c.reltuples::float8,
           ARRAY(SELECT a.attname::text
                 FROM pg_catalog.pg_index i,
                      LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
                 JOIN pg_catalog.pg_attribute a ON a.attnum = k.attnum
                 WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid
                   AND k.n <= i.indnkeyatts ORDER BY k.n),
           a.names, a.types, a.not_null, a.readable
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') AS names,
               coalesce(array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum), '{}') AS types,
               coalesce(array_agg(a.attnotnull ORDER BY a.attnum), '{}') AS not_null,
               coalesce(array_agg(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY a.attnum), '{}') AS readable
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) a
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'";

fn relation(row: &Row) -> Result<Relation, tokio_postgres::Error> {
    let kind: String = row.try_get(3)?;
    let estimate: f64 = row.try_get(5)?;
    let names: Vec<String> = row.try_get(7)?;
    let types: Vec<String> = row.try_get(8)?;
    let not_null: Vec<bool> = row.try_get(9)?;
    let readable: Vec<bool> = row.try_get(10)?;
    let columns = names
        .into_iter()
        .zip(types)
        .zip(not_null.into_iter().zip(readable))
        .map(|((name, type_name), (not_null, readable))| CatalogColumn {
            name,
            type_name,
            not_null,
            readable,
        })
        .collect();
    Ok(Relation {
        oid: row.try_get(0)?,
        schema: row.try_get(1)?,
        name: row.try_get(2)?,
        kind: RelationKind::of(&kind),
        owner: row.try_get(4)?,
        // Before the first ANALYZE the estimate is -1; a view has none.
        estimated_rows: (estimate > 0.0).then_some(estimate as u64),
        primary_key: row.try_get(6)?,
        columns,
    })
}

/// Every table and view that the role can read at least one column of, by schema and name.
///
/// # Errors
/// The catalog can't be read.
pub async fn tables(client: &Client) -> Result<Vec<Relation>, Reason> {
    let sql = format!(
        "{RELATIONS} AND NOT c.relispartition AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
         AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT') ORDER BY n.nspname, c.relname"
    );
    client
        .query_typed(&sql, &[])
        .await
        .and_then(|rows| rows.iter().map(relation).collect())
        .map_err(|error| db_error(&error, "listing the tables"))
}

/// One table or view by its exact name; without a schema the first on the search path.
/// Finds also what the role may not read.
///
/// # Errors
/// The catalog can't be read.
pub async fn find(
    client: &Client,
    schema: Option<&str>,
    name: &str,
) -> Result<Option<Relation>, Reason> {
    let sql = format!(
        "{RELATIONS} AND c.relname = $2 AND CASE WHEN $1::text IS NULL
             THEN n.nspname = ANY (pg_catalog.current_schemas(false)) ELSE n.nspname = $1 END
         ORDER BY array_position(pg_catalog.current_schemas(false), n.nspname) LIMIT 1"
    );
    client
        .query_typed_opt(&sql, &[(&schema, Type::TEXT), (&name, Type::TEXT)])
        .await
        .and_then(|row| row.as_ref().map(relation).transpose())
        .map_err(|error| db_error(&error, &format!("looking up the table \"{name}\"")))
}

/// Whether these columns are proven unique and not null together (semantics 19): by a valid,
/// complete, non-deferrable unique index over NOT NULL columns, all of which are among them.
///
/// # Errors
/// The catalog can't be read.
pub async fn key_is_proven(
    client: &Client,
    relation: Oid,
    columns: &[String],
) -> Result<bool, Reason> {
    client
        .query_typed_one(
            "SELECT EXISTS (
                 SELECT FROM pg_catalog.pg_index i
                 JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
                 -- An index of an inheritance parent says nothing about its children.
                 WHERE i.indrelid = $1 AND NOT (c.relkind = 'r' AND c.relhassubclass)
                   AND i.indisunique AND i.indisvalid AND i.indisready
                   AND i.indislive AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                   AND NOT EXISTS (
                       SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
                       LEFT JOIN pg_catalog.pg_attribute a
                         ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                        AND a.attnotnull AND a.attname::text = ANY ($2)
                       WHERE k.n <= i.indnkeyatts AND a.attnum IS NULL))",
            &[(&relation, Type::OID), (&columns, Type::TEXT_ARRAY)],
        )
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| db_error(&error, "looking up the key's unique index"))
}
