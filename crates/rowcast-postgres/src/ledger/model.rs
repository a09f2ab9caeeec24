//! The model in the source: its columns and types, its key, whether the key is proven unique.
//!
//! Runs inside the read-only transaction of the caller and changes nothing.

use std::sync::Arc;

use rowcast_core::{Code, Column, Reason, Schema};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::builtin;
use super::config::{LedgerConfig, ModelBody, ModelSpec};
use super::diff::DataColumn;
use super::forms::{Decode, TypeFacts};
use super::matching::{self, MatchColumn};
use super::shape::KeyColumn;
use crate::connect::db_error;
use crate::model_text::{self, ReadSettings, RowSecurity, pin_statements};
use crate::sql::{ident, qualified};

/// The model, understood.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// The FROM item with the alias `m`.
    pub relation: String,
    /// The oid of a table; a query has none.
    pub table: Option<u32>,
    /// How many rows the server thinks the table has.
    pub rows_estimate: u64,
    pub keys: Vec<KeyColumn>,
    pub data: Vec<DataColumn>,
    pub decoders: Vec<Decode>,
    pub schema: Arc<Schema>,
    pub matching: Option<Vec<MatchColumn>>,
    /// The type of the cursor column, where the model has it.
    pub cursor: Option<TypeFacts>,
    /// A valid, complete, non-deferrable unique index over NOT NULL columns covers the key.
    pub unique: bool,
    /// Changes when the text or the `where:` changes: uniqueness is checked again.
    pub digest: String,
}

/// Begins the one transaction of a read: one snapshot, read-only, pinned settings, and a harmless
/// query so that the model can't make it writable again (semantics 22). `lock` is a table that must
/// not be truncated while the snapshot lives.
///
/// # Errors
/// The server refuses one of the settings.
pub(super) async fn begin(
    client: &Client,
    spec: &ModelSpec,
    lock: Option<&str>,
) -> Result<(), Reason> {
    let mut sql = String::from("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ");
    sql.push_str(&local_settings(spec));
    if let Some(table) = lock {
        sql.push_str(&format!("; LOCK TABLE {table} IN ACCESS SHARE MODE"));
    }
    sql.push_str("; SELECT 1");
    client
        .batch_execute(&sql)
        .await
        .map_err(|error| db_error(&error, &format!("starting to read model {:?}", spec.name)))
}

/// What every read sets for its transaction alone.
pub(super) fn local_settings(spec: &ModelSpec) -> String {
    let row_security = if spec.allow_row_security {
        RowSecurity::Allow
    } else {
        RowSecurity::Error
    };
    let settings = ReadSettings {
        search_path: spec.search_path.clone(),
        statement_timeout: spec.statement_timeout,
        time_zone: spec.time_zone.clone(),
        row_security,
    };
    format!("{}SET LOCAL jit = off", pin_statements(&settings))
}

/// Reads what there is to know of the model.
///
/// # Errors
/// The SQL can't be run, a column is missing, a key's type can't be a key.
pub(super) async fn describe(client: &Client, config: &LedgerConfig) -> Result<Model, Reason> {
    let spec = &config.model;
    let (relation, table_oid, rows_estimate) = match &spec.body {
        ModelBody::Sql(text) => (model_text::wrapped(text), None, 0),
        ModelBody::Table { schema, name } => {
            let table = match schema {
                Some(schema) => qualified(schema, name),
                None => ident(name),
            };
            let (oid, rows) = table_oid(client, spec, &table).await?;
            (format!("{table} AS m"), Some(oid), rows)
        }
    };
    let columns = model_columns(client, spec, &relation, table_oid);
    let declared = spec.primary_key.clone();
    // What does not depend on an answer is asked in the same breath.
    let (columns, primary_key, unique) = match (declared.is_empty(), table_oid) {
        (true, None) => {
            columns.await?;
            return Err(no_key(spec));
        }
        (false, None) => (columns.await?, declared, false),
        (true, Some(oid)) => {
            let (columns, key) = tokio::try_join!(columns, table_key(client, spec, oid))?;
            let unique = proven_unique(client, oid, &key).await?;
            (columns, key, unique)
        }
        (false, Some(oid)) => {
            let (columns, unique) =
                tokio::try_join!(columns, proven_unique(client, oid, &declared))?;
            (columns, declared, unique)
        }
    };
    let find = |name: &str| {
        columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| missing_column(spec, name, &columns))
    };
    let mut keys = Vec::new();
    for name in &primary_key {
        let column = find(name).map_err(|mut reason| {
            reason.code = Code::KeyMissing;
            reason
        })?;
        let form = column.facts.key_form(name)?;
        keys.push(KeyColumn {
            name: name.clone(),
            facts: column.facts.clone(),
            form,
        });
    }
    let mut data = Vec::new();
    for name in &config.sync.columns {
        data.push(find(name)?.clone());
    }
    let matching = match &config.sync.match_columns {
        None => None,
        Some(names) => Some(match_columns(names, &find)?),
    };
    let schema = Arc::new(Schema {
        columns: data
            .iter()
            .map(|column| Column {
                name: column.name.as_str().into(),
                type_name: column.facts.type_name.as_str().into(),
            })
            .collect(),
    });
    let decoders = data
        .iter()
        .map(|column| column.facts.read_form("x").1)
        .collect();
    let mut hasher = blake3::Hasher::new();
    hasher.update(relation.as_bytes());
    hasher.update(spec.filter.as_deref().unwrap_or_default().as_bytes());
    hasher.update(primary_key.join("\n").as_bytes());
    // A unique index that is dropped proves nothing any more.
    hasher.update(&[u8::from(unique)]);
    if let Some(cursor) = &spec.cursor {
        hasher.update(cursor.column.as_bytes());
    }
    let digest = hasher.finalize().to_hex()[..32].to_owned();
    let cursor = spec
        .cursor
        .as_ref()
        .and_then(|cursor| columns.iter().find(|column| column.name == cursor.column))
        .map(|column| column.facts.clone());
    Ok(Model {
        relation,
        table: table_oid,
        rows_estimate,
        keys,
        data,
        decoders,
        schema,
        matching,
        cursor,
        unique,
        digest,
    })
}

/// A `where` that the server does not take.
fn unusable_filter(error: &tokio_postgres::Error, spec: &ModelSpec) -> Reason {
    let reason = db_error(error, "");
    let detail = error
        .as_db_error()
        .map(|db| db.message().to_owned())
        .or(reason.detail);
    let unusable = Reason::new(
        reason.code,
        format!("the sync's `where` can't be used on model {:?}", spec.name),
    )
    .detail(detail.unwrap_or_default());
    match (reason.code, reason.hint) {
        (Code::ModelInvalid | Code::ModelNotOneStatement, _) | (_, None) => unusable
            .hint("write one SQL condition over the model's columns, such as: plan is not null"),
        (_, Some(hint)) => unusable.hint(hint),
    }
}

fn match_columns<'a>(
    names: &[String],
    find: &dyn Fn(&str) -> Result<&'a DataColumn, Reason>,
) -> Result<Vec<MatchColumn>, Reason> {
    let mut columns = Vec::new();
    for name in names {
        let column = find(name)?;
        if !matching::trackable(&column.facts) {
            return Err(Reason::new(
                Code::MatchMissing,
                format!("column {} of type {} can't be an identity that is deleted", ident(name), column.facts.type_name),
            )
            .detail("a mode that deletes keeps the last delivered match values in state; integers, text, uuid, numeric, boolean and enums can be kept")
            .hint(format!("cast it in the model: {}::text", ident(name))));
        }
        let (_, decode) = column.facts.read_form("x");
        columns.push(MatchColumn {
            name: name.as_str().into(),
            decode,
        });
    }
    Ok(columns)
}

fn what(spec: &ModelSpec) -> String {
    format!("reading the columns of model {:?}", spec.name)
}

async fn model_columns(
    client: &Client,
    spec: &ModelSpec,
    relation: &str,
    table: Option<u32>,
) -> Result<Vec<DataColumn>, Reason> {
    let columns: Vec<(String, u32)> = match (&spec.body, table) {
        (ModelBody::Sql(text), _) => model_text::validate(client, text)
            .await?
            .into_iter()
            .map(|column| (column.name, column.oid))
            .collect(),
        (ModelBody::Table { .. }, oid) => table_columns(client, spec, oid.unwrap_or(0)).await?,
    };
    if let Some(filter) = &spec.filter {
        // Through the extended protocol: one statement, whatever the predicate says. Alone it must
        // not close a bracket that it did not open; in brackets it must be nothing but a condition.
        for form in [format!("\n{filter}"), format!("(\n{filter}\n)")] {
            client
                .query_typed(
                    &format!("EXPLAIN (COSTS OFF) SELECT 1 FROM {relation}\nWHERE {form}"),
                    &[],
                )
                .await
                .map_err(|error| unusable_filter(&error, spec))?;
        }
    }
    let mut facts = std::collections::HashMap::new();
    let mut unknown: Vec<u32> = Vec::new();
    for (_, oid) in &columns {
        match builtin::facts(*oid) {
            Some(known) => _ = facts.insert(*oid, known),
            None => unknown.push(*oid),
        }
    }
    if !unknown.is_empty() {
        facts.extend(asked(client, &unknown, &what(spec)).await?);
    }
    let mut described = Vec::new();
    for (name, oid) in columns {
        let Some(facts) = facts.get(&oid) else {
            continue;
        };
        described.push(DataColumn {
            name,
            facts: facts.clone(),
        });
    }
    Ok(described)
}

/// What the catalog says of types.
///
/// # Errors
/// The catalog can't be read.
pub(super) async fn asked(
    client: &Client,
    oids: &[u32],
    what: &str,
) -> Result<Vec<(u32, TypeFacts)>, Reason> {
    let rows = client
        .query_typed(FACTS, &[(&oids, Type::OID_ARRAY)])
        .await
        .map_err(|error| db_error(&error, what))?;
    let name = |schema: Option<String>, name: Option<String>| match (schema, name) {
        (Some(schema), Some(name)) if schema == "pg_catalog" => Some(name),
        (Some(schema), Some(name)) => Some(format!("{schema}.{name}")),
        _ => None,
    };
    let facts = rows.iter().map(|row| {
        let facts = TypeFacts {
            type_name: row.get(1),
            base: name(row.get(2), row.get(3)).unwrap_or_default(),
            element: name(row.get(4), row.get(5)),
            kind: row.get::<_, String>(6).chars().next().unwrap_or('b'),
            ordered: row.get(7),
        };
        (row.get(0), facts)
    });
    Ok(facts.collect())
}

/// Types by oid, domains resolved: oid, printed name, base schema and name, element schema and
/// name, kind, whether it has an order: enums and ranges always, an array as its elements, others
/// by a default btree operator class of their own or of a type they are stored like.
const FACTS: &str = "\
WITH RECURSIVE resolved (given, oid) AS (
  SELECT o, o FROM unnest($1::oid[]) AS o
  UNION SELECT r.given, t.typbasetype FROM resolved r JOIN pg_catalog.pg_type t ON t.oid = r.oid WHERE t.typtype = 'd')
SELECT DISTINCT r.given, pg_catalog.format_type(r.given, NULL), n.nspname::text, t.typname::text,
  en.nspname::text, e.typname::text, t.typtype::text,
  coalesce(e.typtype, t.typtype) IN ('e', 'r', 'm') OR EXISTS (
    SELECT 1 FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_am a ON a.oid = c.opcmethod
    WHERE a.amname = 'btree' AND c.opcdefault AND (c.opcintype = coalesce(e.oid, t.oid) OR EXISTS (
      SELECT 1 FROM pg_catalog.pg_cast k WHERE k.castsource = coalesce(e.oid, t.oid) AND k.casttarget = c.opcintype
      AND k.castmethod = 'b' AND k.castcontext = 'i')))
FROM resolved r
JOIN pg_catalog.pg_type t ON t.oid = r.oid AND t.typtype <> 'd'
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN LATERAL (
  WITH RECURSIVE element (oid) AS (
    SELECT t.typelem UNION SELECT d.typbasetype FROM element x JOIN pg_catalog.pg_type d ON d.oid = x.oid WHERE d.typtype = 'd')
  SELECT b.oid, b.typname, b.typnamespace, b.typtype FROM element x JOIN pg_catalog.pg_type b ON b.oid = x.oid AND b.typtype <> 'd') e
  ON t.typcategory = 'A'
LEFT JOIN pg_catalog.pg_namespace en ON en.oid = e.typnamespace";

/// The table's oid and how many rows the server thinks it has.
async fn table_oid(client: &Client, spec: &ModelSpec, table: &str) -> Result<(u32, u64), Reason> {
    let rows = client
        .query_typed(
            "SELECT oid, greatest(reltuples, 0)::bigint FROM pg_catalog.pg_class WHERE oid = to_regclass($1)",
            &[(&table, Type::TEXT)],
        )
        .await
        .map_err(|error| db_error(&error, &what(spec)))?;
    rows.first()
        .map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()))
        .ok_or_else(|| {
            Reason::new(
                Code::ModelInvalid,
                format!("table {table} of model {:?} does not exist", spec.name),
            )
            .hint("see `rowcast tables` for the tables this role can see")
        })
}

/// The columns this role may read: a table's other columns do not exist for it.
async fn table_columns(
    client: &Client,
    spec: &ModelSpec,
    oid: u32,
) -> Result<Vec<(String, u32)>, Reason> {
    let rows = client
        .query_typed(
            "SELECT attname::text, atttypid FROM pg_catalog.pg_attribute WHERE attrelid = $1 \
             AND attnum > 0 AND NOT attisdropped AND has_column_privilege($1, attnum, 'SELECT') ORDER BY attnum",
            &[(&oid, Type::OID)],
        )
        .await
        .map_err(|error| db_error(&error, &what(spec)))?;
    if rows.is_empty() {
        return Err(Reason::new(
            Code::PermissionMissing,
            format!("the role may not read the table of model {:?}", spec.name),
        )
        .hint("see `rowcast check` for the GRANT that is missing"));
    }
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn table_key(client: &Client, spec: &ModelSpec, oid: u32) -> Result<Vec<String>, Reason> {
    let rows = client
        .query_typed(
            "SELECT a.attname::text FROM pg_catalog.pg_index i \
             CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position) \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
             WHERE i.indrelid = $1 AND i.indisprimary ORDER BY k.position",
            &[(&oid, Type::OID)],
        )
        .await
        .map_err(|error| db_error(&error, &what(spec)))?;
    if rows.is_empty() {
        return Err(no_key(spec));
    }
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn no_key(spec: &ModelSpec) -> Reason {
    Reason::new(
        Code::KeyMissing,
        format!("model {:?} has no primary key", spec.name),
    )
    .detail("a row's key tells it apart from run to run")
    .hint(format!(
        "add to models/{}.yml: primary_key: [id]",
        spec.name
    ))
}

fn missing_column(spec: &ModelSpec, name: &str, columns: &[DataColumn]) -> Reason {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    Reason::new(
        Code::UnknownColumn,
        format!("model {:?} has no column {}", spec.name, ident(name)),
    )
    .detail(format!("its columns are {}", names.join(", ")))
    .hint("column names are case-sensitive; compare with `rowcast preview`")
}

/// Whether a valid, complete, immediate unique index over NOT NULL columns lies within the key.
async fn proven_unique(client: &Client, oid: u32, key: &[String]) -> Result<bool, Reason> {
    let rows = client
        .query_typed(
            "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = $1 \
               AND i.indisunique AND i.indisvalid AND i.indimmediate \
               AND i.indpred IS NULL AND i.indexprs IS NULL \
               AND NOT EXISTS (SELECT 1 FROM unnest(i.indkey[0 : i.indnkeyatts - 1]) AS k (attnum) \
                 LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
                 WHERE a.attname IS NULL OR NOT a.attnotnull OR NOT (a.attname::text = ANY($2)))) \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhparent \
               WHERE h.inhparent = $1 AND c.relkind = 'r')",
            &[(&oid, Type::OID), (&key, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| db_error(&error, "reading the table's unique indexes"))?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
