//! A model's SQL: proven to be one reading statement before it is ever wrapped, and its columns.
//!
//! The text comes from people and is run as the source's role, so it must never be able to write
//! (semantics 22): it is prepared alone through the extended protocol, which takes one statement
//! only, inside a READ ONLY transaction that has run a query before, after which PostgreSQL
//! refuses to make the transaction writable again.

mod lexer;

use std::time::Duration;

use rowcast_core::{Code, Reason};
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::{Oid, Type};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::connect::db_error;
use crate::sql::{ident, literal};

/// What to do about tables with row-level security.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowSecurity {
    /// PostgreSQL raises an error where a policy would hide rows (semantics 21).
    #[default]
    Error,
    /// The rows that the policies show are the model.
    Allow,
}

/// The settings of one reading transaction. Nothing outlives it: poolers share sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSettings {
    /// Empty keeps the role's own.
    pub search_path: Vec<String>,
    pub statement_timeout: Option<Duration>,
    /// What `created_at::date` means (semantics 24).
    pub time_zone: String,
    pub row_security: RowSecurity,
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self {
            search_path: Vec::new(),
            statement_timeout: None,
            time_zone: "UTC".to_owned(),
            row_security: RowSecurity::Error,
        }
    }
}

/// The SET LOCALs that pin what values look like as text (semantics 5), without a statement that
/// counts as a query: for transactions that still have to write before they become read-only.
pub fn pin_statements(settings: &ReadSettings) -> String {
    let mut sql = String::from(
        "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'iso_8601'; \
         SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; \
         SET LOCAL lc_monetary = 'C'; SET LOCAL xmloption = 'content'; \
         SET LOCAL standard_conforming_strings = on; ",
    );
    sql.push_str(&format!(
        "SET LOCAL TimeZone = {}; ",
        literal(&settings.time_zone)
    ));
    if settings.row_security == RowSecurity::Error {
        sql.push_str("SET LOCAL row_security = off; ");
    }
    if !settings.search_path.is_empty() {
        let path: Vec<String> = settings
            .search_path
            .iter()
            .map(|name| ident(name))
            .collect();
        sql.push_str(&format!("SET LOCAL search_path = {}; ", path.join(", ")));
    }
    if let Some(timeout) = settings.statement_timeout {
        sql.push_str(&format!(
            "SET LOCAL statement_timeout = {}; ",
            timeout.as_millis().clamp(1, i32::MAX as u128)
        ));
    }
    sql
}

/// The first statements of a reading transaction, to be run right after `BEGIN READ ONLY`. They
/// end in a harmless query, after which nothing makes the transaction writable. The transaction is
/// to end in ROLLBACK: older servers let a READ ONLY transaction make large objects.
pub fn guard_statements(settings: &ReadSettings) -> String {
    let mut sql = pin_statements(settings);
    sql.push_str("SELECT 1");
    sql
}

/// A model's text without trailing semicolons and comments, ready to be wrapped by `wrapped`.
pub fn body(text: &str) -> &str {
    lexer::body(text)
}

/// A name in a text that may be a relation's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

/// Every name in the text that could be a table's: `name` and `schema.name`, folded as PostgreSQL
/// folds them. Columns and functions are among them; the catalog tells them apart.
pub(crate) fn mentions(text: &str) -> Vec<Mention> {
    lexer::mentions(text)
}

/// The model as a table expression named `m`, on lines of its own, so that a comment at its end
/// can't swallow what follows. Only for text that `validate` accepted.
pub fn wrapped(text: &str) -> String {
    format!("(\n{}\n) AS m", body(text))
}

/// A column of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    pub name: String,
    pub oid: Oid,
    /// As PostgreSQL prints it: `timestamp with time zone`, `numeric(10,2)`, `shop.mood`.
    pub type_name: String,
    /// -1 without one; known for built-in types only.
    pub type_modifier: i32,
    pub kind: TypeKind,
    /// The type that a domain is over (through all domains); else the type itself.
    pub base_oid: Oid,
    /// The base type's name without schema: `int8`, `text`, `citext`.
    pub base_name: String,
    /// The type has equality and order: it can be a key.
    pub orderable: bool,
}

/// What sort of type the base type is (`pg_type.typtype`, and arrays apart).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeKind {
    Base,
    Array,
    Enum,
    Range,
    Multirange,
    Composite,
    Pseudo,
}

/// Proves that `text` is one reading statement and finds its columns, without reading rows.
///
/// Must be called inside a transaction that began READ ONLY and ran `guard_statements`. An error
/// leaves the transaction aborted. Nothing named is left behind on the connection.
///
/// # Errors
/// `E0208` not one statement, `E0207` not a plain SELECT or it writes, `E0205` a privilege is
/// missing, `E0209` row security, `E0206` anything else the server says about the text.
pub async fn validate(client: &Client, text: &str) -> Result<Vec<ColumnType>, Reason> {
    let whole = text;
    let text = body(text);
    let first = lexer::first_word(text);
    if text.is_empty() {
        return Err(Reason::new(Code::ModelInvalid, "the model is empty")
            .hint("write one SELECT that returns the rows to send"));
    }
    if first.as_deref().is_some_and(is_command) {
        // `SELECT 1; DROP …` is found by the server; here the text starts with the command.
        return Err(not_a_select(&format!(
            "the model starts with {}",
            first.unwrap_or_default().to_uppercase()
        )));
    }
    // One statement, and readable by this role. EXPLAIN runs nothing.
    client
        .query_typed(&format!("{EXPLAIN}{text}"), &[])
        .await
        .map_err(|error| unreadable(&error, whole, text))?;
    let names = column_names(client, text).await?;
    let oids = column_oids(client, text, &names).await?;
    let modifiers = modifiers(client, text, &oids).await?;
    describe(client, &names, &oids, &modifiers).await
}

const COMMANDS: &[&str] = &[
    "insert",
    "update",
    "delete",
    "merge",
    "create",
    "alter",
    "drop",
    "truncate",
    "copy",
    "call",
    "do",
    "set",
    "reset",
    "begin",
    "start",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "grant",
    "revoke",
    "lock",
    "vacuum",
    "analyze",
    "cluster",
    "reindex",
    "refresh",
    "prepare",
    "execute",
    "deallocate",
    "declare",
    "fetch",
    "move",
    "close",
    "listen",
    "notify",
    "unlisten",
    "load",
    "comment",
    "explain",
    "show",
    "discard",
    "checkpoint",
    "import",
    "security",
    "reassign",
];

fn is_command(word: &str) -> bool {
    COMMANDS.contains(&word)
}

fn not_a_select(detail: &str) -> Reason {
    Reason::new(Code::ModelWrites, "the model is not a plain SELECT")
        .detail(detail)
        .hint("a model only reads: write one SELECT (WITH, VALUES and TABLE are fine)")
}

/// A server's error about a model's text.
pub fn model_error(error: &tokio_postgres::Error, what: &str) -> Reason {
    if let Some(db) = error.as_db_error() {
        let routine = db.routine().unwrap_or_default();
        // A placeholder: $1 in the text.
        if routine == "exec_bind_message" || db.code() == &SqlState::INDETERMINATE_DATATYPE {
            return Reason::new(Code::ModelInvalid, format!("{what} failed"))
                .detail("the model has a placeholder like $1")
                .hint("write the value into the model, or use ${var:NAME}");
        }
    }
    db_error(error, what)
}

/// What is sent before a model to have it planned.
const EXPLAIN: &str = "EXPLAIN (COSTS OFF)\n";

/// Why the server would not plan the text, which is a part of the whole that people wrote.
fn unreadable(error: &tokio_postgres::Error, whole: &str, text: &str) -> Reason {
    let mut reason = of_text(error);
    if let Some(db) = error.as_db_error()
        && let Some(ErrorPosition::Original(position)) = db.position()
        && let Some(before) = (*position as usize).checked_sub(EXPLAIN.len() + 1)
    {
        let start = whole.find(text).unwrap_or(0);
        let place = whole[..start].chars().count() + before;
        let before: String = whole.chars().take(place).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        reason = reason.detail(format!(
            "{}, at line {line}, column {column} of the query",
            db.message()
        ));
    }
    if reason.code == Code::ModelInvalid && reason.hint.is_none() {
        reason =
            reason.hint("mend the query; psql and `rowcast preview` show quickly whether it runs");
    }
    // The privilege to write is asked for before the server says that a subquery can't write.
    if reason.code == Code::PermissionMissing && writes_in_with(text) {
        return not_a_select("its WITH holds a statement that writes");
    }
    reason
}

/// Whether the text looks like a WITH that changes rows. Only chooses between two explanations.
fn writes_in_with(text: &str) -> bool {
    let words = mentions(text);
    let has = |word: &str| {
        words
            .iter()
            .any(|mention| mention.schema.is_none() && mention.name == word)
    };
    has("with") && ["insert", "update", "delete", "merge"].into_iter().any(has)
}

/// A server's error about a model's text, said of the model.
fn of_text(error: &tokio_postgres::Error) -> Reason {
    let mut reason = model_error(error, "");
    "the model can't be read".clone_into(&mut reason.message);
    reason
}

/// Valid alone but not as a subquery: SELECT INTO, a WITH that deletes.
fn wrap_error(error: &tokio_postgres::Error) -> Reason {
    match error.as_db_error() {
        Some(db)
            if [SqlState::SYNTAX_ERROR, SqlState::FEATURE_NOT_SUPPORTED].contains(db.code()) =>
        {
            not_a_select(db.message())
        }
        _ => of_text(error),
    }
}

async fn column_names(client: &Client, text: &str) -> Result<Vec<String>, Reason> {
    // The extended protocol would make the driver look up every unknown type with a *named*
    // statement, which poolers in transaction mode may lose. The simple protocol returns names
    // only. It takes several statements; but `text` was just proven to hold no `;` token, so
    // neither does this.
    let messages = client
        .simple_query(&format!("SELECT * FROM {} LIMIT 0", wrapped(text)))
        .await
        .map_err(|error| wrap_error(&error))?;
    let names: Vec<String> = messages
        .iter()
        .find_map(|message| match message {
            SimpleQueryMessage::RowDescription(columns) => Some(
                columns
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect(),
            ),
            _ => None,
        })
        .unwrap_or_default();
    if names.is_empty() {
        return Err(Reason::new(
            Code::ModelInvalid,
            "the model returns no columns",
        ));
    }
    for (position, name) in names.iter().enumerate() {
        if names[..position].contains(name) {
            return Err(Reason::new(
                Code::ModelInvalid,
                format!("the model returns two columns named \"{name}\""),
            )
            .hint("give one of them another name with AS"));
        }
    }
    Ok(names)
}

async fn column_oids(client: &Client, text: &str, names: &[String]) -> Result<Vec<Oid>, Reason> {
    let types: Vec<String> = names
        .iter()
        .map(|name| format!("pg_catalog.pg_typeof(m.{})::oid", ident(name)))
        .collect();
    // One row of NULLs that still have their types; the join on false reads nothing.
    let sql = format!(
        "SELECT ARRAY[{}] FROM (VALUES (1)) AS one LEFT JOIN {} ON false",
        types.join(", "),
        wrapped(text)
    );
    let row = client
        .query_typed_one(&sql, &[])
        .await
        .map_err(|error| wrap_error(&error))?;
    row.try_get(0)
        .map_err(|error| db_error(&error, "reading the model's types"))
}

/// Type modifiers, when every type is known to the driver.
async fn modifiers(client: &Client, text: &str, oids: &[Oid]) -> Result<Vec<i32>, Reason> {
    if !oids.iter().all(|oid| Type::from_oid(*oid).is_some()) {
        return Ok(vec![-1; oids.len()]);
    }
    // The one row of NULLs again: only a row tells the driver's user its columns.
    let sql = format!(
        "SELECT m.* FROM (VALUES (1)) AS one LEFT JOIN {} ON false",
        wrapped(text)
    );
    let row = client
        .query_typed_one(&sql, &[])
        .await
        .map_err(|error| wrap_error(&error))?;
    Ok(row
        .columns()
        .iter()
        .map(tokio_postgres::Column::type_modifier)
        .collect())
}

async fn describe(
    client: &Client,
    names: &[String],
    oids: &[Oid],
    modifiers: &[i32],
) -> Result<Vec<ColumnType>, Reason> {
    const SQL: &str = "
        WITH RECURSIVE asked AS (
            SELECT n, oid, modifier
            FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS a(oid, modifier, n)
        ), base(n, oid, kind, next) AS (
            SELECT a.n, t.oid, t.typtype, t.typbasetype
            FROM asked a JOIN pg_catalog.pg_type t ON t.oid = a.oid
            UNION ALL
            SELECT b.n, t.oid, t.typtype, t.typbasetype
            FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.next WHERE b.kind = 'd'
        )
        SELECT a.n, pg_catalog.format_type(a.oid, nullif(a.modifier, -1)), t.oid, t.typname::text,
               CASE WHEN t.typcategory = 'A' THEN 'A' ELSE t.typtype::text END,
               -- An array is ordered by its elements; enums and ranges by their own kind.
               x.typtype IN ('e', 'r', 'm') OR EXISTS (
                    SELECT FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
                    WHERE m.amname = 'btree' AND o.opcdefault AND (o.opcintype = x.oid OR EXISTS (
                        SELECT FROM pg_catalog.pg_cast k WHERE k.castsource = x.oid
                        AND k.casttarget = o.opcintype AND k.castmethod = 'b' AND k.castcontext = 'i')))
        FROM asked a JOIN base b ON b.n = a.n AND b.kind <> 'd'
        JOIN pg_catalog.pg_type t ON t.oid = b.oid
        JOIN pg_catalog.pg_type x
          ON x.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
        ORDER BY a.n";
    let rows = client
        .query_typed(
            SQL,
            &[(&oids, Type::OID_ARRAY), (&modifiers, Type::INT4_ARRAY)],
        )
        .await
        .map_err(|error| db_error(&error, "reading the model's types"))?;
    if rows.len() != names.len() {
        return Err(Reason::defect("a column's type is not in the catalog"));
    }
    let mut columns = Vec::with_capacity(names.len());
    for (i, row) in rows.iter().enumerate() {
        let read = || -> Result<ColumnType, tokio_postgres::Error> {
            let kind: String = row.try_get(4)?;
            Ok(ColumnType {
                name: names[i].clone(),
                oid: oids[i],
                type_name: row.try_get(1)?,
                type_modifier: modifiers[i],
                kind: match kind.as_str() {
                    "A" => TypeKind::Array,
                    "e" => TypeKind::Enum,
                    "r" => TypeKind::Range,
                    "m" => TypeKind::Multirange,
                    "c" => TypeKind::Composite,
                    "p" => TypeKind::Pseudo,
                    _ => TypeKind::Base,
                },
                base_oid: row.try_get(2)?,
                base_name: row.try_get(3)?,
                orderable: row.try_get(5)?,
            })
        };
        columns.push(read().map_err(|error| db_error(&error, "reading the model's types"))?);
    }
    Ok(columns)
}
