//! Privileges that the role should not have: a warning, because a model runs as this role.

use rowcast_core::{Check, Code, Reason};
use tokio_postgres::types::Type;

use super::{CheckRequest, StatePlace};
use crate::connect::{Connection, db_error};
use crate::sql::{ident, qualified};

/// At most so many tables are named; the rest is counted.
const TABLES_NAMED_MAX: usize = 5;

pub(super) async fn check(connection: &Connection, request: &CheckRequest, name: &str) -> Check {
    match find(connection, request).await {
        Err(reason) => Check::failed(name, reason),
        Ok(found) if found.is_empty() => Check::passed(name, "none"),
        Ok(found) => {
            let (facts, mut cures): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            cures.dedup();
            let reason = Reason::new(
                Code::ExcessPrivilege,
                format!(
                    "the role \"{}\" has more privileges than it needs",
                    connection.server.user
                ),
            )
            .detail(facts.join("; "))
            .hint(cures.join("\n"));
            Check::warned(name, reason)
        }
    }
}

/// See [`super::writes_in_spite`].
pub(super) async fn writes_in_spite(connection: &Connection) -> Result<Option<Reason>, Reason> {
    let found: bool = connection
        .client
        .query_typed_one(
            "SELECT rolsuper OR pg_catalog.pg_has_role('pg_write_server_files', 'USAGE')
                    OR pg_catalog.pg_has_role('pg_execute_server_program', 'USAGE')
             FROM pg_catalog.pg_roles WHERE rolname = current_user",
            &[],
        )
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| db_error(&error, "looking up the role's privileges"))?;
    Ok(found.then(|| {
        Reason::new(
            Code::ExcessPrivilege,
            format!(
                "the server does not run models as the role \"{}\"",
                connection.server.user
            ),
        )
        .detail("it could write files or run programs on the database server from within a query")
    }))
}

/// Facts and cures.
async fn find(
    connection: &Connection,
    request: &CheckRequest,
) -> Result<Vec<(String, String)>, Reason> {
    const WHAT: &str = "looking up the role's privileges";
    let failed = |error| db_error(&error, WHAT);
    let client = &connection.client;
    let role = ident(&connection.server.user);
    let row = client
        .query_typed_one(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
                    pg_catalog.pg_has_role('pg_write_server_files', 'USAGE'),
                    pg_catalog.pg_has_role('pg_execute_server_program', 'USAGE')
             FROM pg_catalog.pg_roles WHERE rolname = current_user",
            &[],
        )
        .await
        .map_err(failed)?;
    let mut has = [false; 7];
    for (i, has) in has.iter_mut().enumerate() {
        *has = row.try_get(i).map_err(failed)?;
    }
    if has[0] {
        // The others follow from this one.
        return Ok(vec![(
            "it is a superuser: a model could write files and run programs on the server"
                .to_owned(),
            format!("ALTER ROLE {role} NOSUPERUSER;  -- or a role of its own: rowcast setup-sql"),
        )]);
    }
    let mut found = Vec::new();
    for (has, attribute) in
        has[1..5]
            .iter()
            .zip(["CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS"])
    {
        if *has {
            found.push((
                format!("it has {attribute}"),
                format!("ALTER ROLE {role} NO{attribute};"),
            ));
        }
    }
    for (has, group) in has[5..]
        .iter()
        .zip(["pg_write_server_files", "pg_execute_server_program"])
    {
        if *has {
            found.push((
                format!("it is a member of {group}"),
                format!("REVOKE {group} FROM {role};"),
            ));
        }
    }
    let state = match &request.state {
        StatePlace::Here { schema } => schema.as_str(),
        StatePlace::Elsewhere { .. } => "",
    };
    let rows = client
        .query_typed(
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_has_role(c.relowner, 'USAGE')
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND n.nspname <> $1
               AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
               AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
               AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
             ORDER BY 1, 2",
            &[(&state, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    for row in rows.iter().take(TABLES_NAMED_MAX) {
        let read = || -> Result<(String, String, bool), tokio_postgres::Error> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        };
        let (schema, table, owns) = read().map_err(failed)?;
        let table = qualified(&schema, &table);
        if owns {
            found.push((
                format!("it owns {table}"),
                "use a role of its own: rowcast setup-sql".to_owned(),
            ));
        } else {
            found.push((
                format!("it can write to {table}"),
                format!("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {table} FROM {role};"),
            ));
        }
    }
    if rows.len() > TABLES_NAMED_MAX {
        found.push((
            format!(
                "it can write to {} more tables",
                rows.len() - TABLES_NAMED_MAX
            ),
            "use a role of its own: rowcast setup-sql".to_owned(),
        ));
    }
    Ok(found)
}
