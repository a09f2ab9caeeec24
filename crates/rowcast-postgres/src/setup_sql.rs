//! The SQL an administrator pastes so that Rowcast can work: the fewest grants, in order.
//!
//! Pure text. Every statement can be run again, works as superuser and as a database owner with
//! CREATEROLE, and says what it is for. The output never holds a password.

use std::fmt::Write as _;

use crate::sql::{ident, literal, qualified};

/// Who makes the state schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupStyle {
    /// The administrator makes it; Rowcast only writes in it.
    Managed,
    /// Rowcast makes it, and needs CREATE on the database for that.
    Owned,
}

/// What to print grants for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupRequest {
    pub style: SetupStyle,
    pub role: String,
    pub database: String,
    pub state_schema: String,
    /// Schemas whose tables are to be read.
    pub schemas: Vec<String>,
    /// Tables and views to be read: schema and name.
    pub tables: Vec<(String, String)>,
    /// Read every table that `schemas` (and the schemas of `tables`) have today.
    pub all_tables: bool,
    /// Also read the tables that this role makes in those schemas later.
    pub future_tables: Option<String>,
}

/// Prints the statements.
pub fn setup_sql(request: &SetupRequest) -> String {
    let mut out = String::new();
    let role = ident(&request.role);
    let database = ident(&request.database);
    let state = ident(&request.state_schema);
    // A comment ends with its line, whatever quotes stand in it.
    let said = |name: &str| name.replace(['\n', '\r'], " ");
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!(
        "-- Grants for Rowcast. Run them in the database {} as its owner (with CREATEROLE) or as a superuser.",
        said(&database)
    ));
    line("-- Every statement can be run again.".to_owned());
    line(String::new());
    line("-- The role Rowcast logs in as. Put a strong password between the quotes; left empty, the role has no".to_owned());
    line(format!(
        "-- password and can't log in with one. To set it later without showing it: \\password {} in psql.",
        said(&role)
    ));
    line(create_role(&request.role));
    line(String::new());
    line("-- Log in to this database.".to_owned());
    line(format!("GRANT CONNECT ON DATABASE {database} TO {role};"));
    line("-- Temporary tables: where a run compares rows with the state.".to_owned());
    line(format!("GRANT TEMPORARY ON DATABASE {database} TO {role};"));
    line(String::new());
    match request.style {
        SetupStyle::Managed => {
            line("-- The schema that remembers what was delivered. Rowcast makes its tables in it and nothing elsewhere.".to_owned());
            line(format!("CREATE SCHEMA IF NOT EXISTS {state};"));
            line(format!("GRANT USAGE, CREATE ON SCHEMA {state} TO {role};"));
        }
        SetupStyle::Owned => {
            line(format!(
                "-- Rowcast makes the schema {} itself, in which it remembers what was delivered.",
                said(&state)
            ));
            line(format!("GRANT CREATE ON DATABASE {database} TO {role};"));
        }
    }
    let schemas = schemas(request);
    for schema in &schemas {
        let quoted = ident(schema);
        line(String::new());
        line(format!("-- Read from the schema {}.", said(&quoted)));
        line(format!("GRANT USAGE ON SCHEMA {quoted} TO {role};"));
        for (_, table) in request.tables.iter().filter(|(of, _)| of == schema) {
            line(format!(
                "GRANT SELECT ON {} TO {role};",
                qualified(schema, table)
            ));
        }
        if request.all_tables {
            line("-- All tables and views that the schema has today.".to_owned());
            line(format!(
                "GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO {role};"
            ));
        }
        if let Some(creator) = &request.future_tables {
            let creator = ident(creator);
            line(format!(
                "-- Tables and views that the role {} makes there later. Tables of other roles are not covered.",
                said(&creator)
            ));
            line(format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {creator} IN SCHEMA {quoted} GRANT SELECT ON TABLES TO {role};"
            ));
        }
    }
    if schemas.is_empty() {
        line(String::new());
        line(
            "-- Name what to read with --table SCHEMA.TABLE, or --schema SCHEMA --all-tables."
                .to_owned(),
        );
    }
    out
}

/// The schemas to read from, each once, in the order named.
fn schemas(request: &SetupRequest) -> Vec<String> {
    let mut schemas: Vec<String> = Vec::new();
    let of_tables = request.tables.iter().map(|(schema, _)| schema);
    for schema in request.schemas.iter().chain(of_tables) {
        if !schemas.contains(schema) {
            schemas.push(schema.clone());
        }
    }
    schemas
}

fn create_role(role: &str) -> String {
    // A tag that can't occur in the role's name, so that no name ends the block early.
    let mut tag = "rowcast".to_owned();
    while role.contains(&format!("${tag}$")) {
        tag.push('_');
    }
    format!(
        "DO ${tag}$ BEGIN\n  \
           IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN\n    \
             CREATE ROLE {} LOGIN PASSWORD '';\n  \
           END IF;\n\
         END ${tag}$;",
        literal(role),
        ident(role)
    )
}
