//! The state schema: exists, usable, and writable by trying it in a transaction that is undone.

use rowcast_core::{Code, Reason};
use tokio_postgres::types::Type;

use crate::connect::{Connection, db_error};
use crate::sql::{ident, qualified};

const WHAT: &str = "looking at the state schema";

struct Found {
    exists: bool,
    usage: bool,
    create: bool,
    /// May make schemas in the database.
    create_schema: bool,
}

/// Says whether Rowcast can keep its state in this schema, and which grant is missing if not.
///
/// # Errors
/// `E0301` the schema is missing or can't be used, `E0302` it can't be written.
pub async fn check_state_schema(connection: &Connection, schema: &str) -> Result<String, Reason> {
    let server = &connection.server;
    let (role, database) = (ident(&server.user), ident(&server.database));
    let quoted = ident(schema);
    let found = look(connection, schema).await?;
    if !found.exists && !found.create_schema {
        return Err(Reason::new(
            Code::StateSchemaMissing,
            format!("the state schema \"{schema}\" does not exist in the database \"{}\"", server.database),
        )
        .detail(format!("the role \"{}\" may not make it", server.user))
        .hint(format!(
            "as its owner: CREATE SCHEMA {quoted}; GRANT USAGE, CREATE ON SCHEMA {quoted} TO {role};\n\
             or let rowcast make it: GRANT CREATE ON DATABASE {database} TO {role};"
        )));
    }
    if found.exists && !(found.usage && found.create) {
        let (code, privileges) = match (found.usage, found.create) {
            (false, false) => (Code::StateSchemaMissing, "USAGE, CREATE"),
            (false, true) => (Code::StateSchemaMissing, "USAGE"),
            _ => (Code::StateNotWritable, "CREATE"),
        };
        return Err(Reason::new(
            code,
            format!(
                "the role \"{}\" lacks {privileges} on the state schema \"{schema}\"",
                server.user
            ),
        )
        .hint(format!("GRANT {privileges} ON SCHEMA {quoted} TO {role};")));
    }
    try_writing(connection, schema, found.exists).await?;
    Ok(if found.exists {
        format!("\"{schema}\" is usable and writable")
    } else {
        format!("\"{schema}\" does not exist yet; the first run makes it")
    })
}

async fn look(connection: &Connection, schema: &str) -> Result<Found, Reason> {
    connection
        .client
        .query_typed_one(
            "SELECT n.oid IS NOT NULL,
                    coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false),
                    coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false),
                    pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
             FROM (VALUES ($1::text)) AS asked(name)
             LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = asked.name",
            &[(&schema, Type::TEXT)],
        )
        .await
        .and_then(|row| {
            Ok(Found {
                exists: row.try_get(0)?,
                usage: row.try_get(1)?,
                create: row.try_get(2)?,
                create_schema: row.try_get(3)?,
            })
        })
        .map_err(|error| db_error(&error, WHAT))
}

async fn try_writing(connection: &Connection, schema: &str, exists: bool) -> Result<(), Reason> {
    let probe = qualified(schema, &format!("probe_{}", uuid::Uuid::new_v4().simple()));
    let mut sql = String::from("BEGIN; ");
    if !exists {
        sql.push_str(&format!("CREATE SCHEMA {}; ", ident(schema)));
    }
    sql.push_str(&format!(
        "CREATE TABLE {probe} (id bigint PRIMARY KEY); INSERT INTO {probe} VALUES (1)"
    ));
    let result = connection.client.batch_execute(&sql).await;
    connection
        .client
        .batch_execute("ROLLBACK")
        .await
        .map_err(|error| db_error(&error, WHAT))?;
    let Err(error) = result else {
        return Ok(());
    };
    let read_only = error.code().is_some_and(|code| code.code() == "25006");
    let reason = db_error(&error, "writing to the state schema");
    if !read_only {
        return Err(Reason {
            code: Code::StateNotWritable,
            ..reason
        });
    }
    let hint = if connection.server.in_recovery {
        "a replica can't hold state; keep it in another source: state: { source: NAME }".to_owned()
    } else {
        format!(
            "transactions are read-only by default here: ALTER ROLE {} RESET default_transaction_read_only; or keep the state in another source: state: {{ source: NAME }}",
            ident(&connection.server.user)
        )
    };
    Err(Reason {
        code: Code::StateNotWritable,
        ..reason
    }
    .hint(hint))
}
