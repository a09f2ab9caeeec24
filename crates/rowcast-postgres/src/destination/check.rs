//! The named checks of the destination, each with the statement that mends what it found, and the
//! tables that a sync could write to.
//!
//! Changes nothing.

use rowcast_core::destination::{ObjectField, ObjectSchema};
use rowcast_core::{Check, Code, Mode, Name, Operation, Reason};
use tokio_postgres::{Client, Error};

use super::ask::{self, Param};
use super::create::table_missing;
use super::name::{TableName, ident_list};
use super::progress::Progress;
use super::refusal::said;
use super::settings::Settings;
use super::target::{Target, privileges};
use crate::connect::Connection;
use crate::sql::ident;

/// What the checks are about.
pub(super) struct Checker<'a> {
    pub(super) destination: &'a str,
    pub(super) settings: &'a Settings,
    pub(super) progress: &'a Progress,
    pub(super) mode: Mode,
    pub(super) match_fields: &'a [Name],
}

const NAMES: [&str; 5] = [
    "table",
    "privileges",
    "unique index",
    "temporary tables",
    "progress schema",
];

impl Checker<'_> {
    /// Every check, in order; those that a failure makes pointless are skipped.
    pub(super) async fn run(&self, connection: Result<Connection, Reason>) -> Vec<Check> {
        let connection = match connection {
            Ok(connection) => connection,
            Err(reason) => {
                let mut checks = vec![Check::failed("connect", reason)];
                checks.extend(NAMES.map(|name| Check::skipped(name, "no connection")));
                return checks;
            }
        };
        let mut checks = vec![self.connected(&connection)];
        match self.inspect(&connection.client).await {
            Ok(more) => checks.extend(more),
            Err(error) => checks.push(Check::failed("table", self.unread(&error))),
        }
        checks
    }

    fn unread(&self, error: &Error) -> Reason {
        Reason::new(
            Code::DestinationObject,
            format!(
                "can't read the catalog of destination `{}`",
                self.destination
            ),
        )
        .detail(error.as_db_error().map_or_else(|| error.to_string(), said))
    }

    fn connected(&self, connection: &Connection) -> Check {
        let server = &connection.server;
        if server.in_recovery || server.default_read_only {
            return Check::failed(
                "connect",
                Reason::new(
                    Code::DestinationObject,
                    format!(
                        "the server of destination `{}` is read-only",
                        self.destination
                    ),
                )
                .hint("connect to the primary"),
            );
        }
        let through = match &connection.config().ssh {
            Some(ssh) => format!(", through SSH host {}", ssh.place()),
            None => String::new(),
        };
        Check::passed(
            "connect",
            format!(
                "PostgreSQL {}, {}{through}",
                server.version,
                connection.tls.summary()
            ),
        )
    }

    async fn inspect(&self, client: &Client) -> Result<Vec<Check>, Error> {
        let table = &self.settings.table;
        let mut checks = Vec::new();
        match Target::read(client, table).await? {
            None if self.settings.create => {
                checks.push(Check::passed(
                    "table",
                    format!("{table} will be made from the first records"),
                ));
                checks.push(self.may_create(client).await?);
                checks.push(Check::skipped(
                    "unique index",
                    "the table does not exist yet",
                ));
            }
            None => {
                checks.push(Check::failed(
                    "table",
                    table_missing(table, self.match_fields),
                ));
                let skip = |name: &str| Check::skipped(name, "the table does not exist");
                checks.extend(["privileges", "unique index"].map(skip));
            }
            Some(target) => self.inspect_target(client, &target, &mut checks).await?,
        }
        checks.push(self.temporary(client).await?);
        let state = self.progress.state(client).await?;
        checks.push(if !state.usable {
            Check::failed("progress schema", self.progress.unusable(&state))
        } else if state.tables {
            Check::passed(
                "progress schema",
                format!("{} is in use", ident(self.progress.schema())),
            )
        } else {
            Check::passed(
                "progress schema",
                format!(
                    "{} will be made by the first run",
                    ident(self.progress.schema())
                ),
            )
        });
        Ok(checks)
    }

    async fn inspect_target(
        &self,
        client: &Client,
        target: &Target,
        checks: &mut Vec<Check>,
    ) -> Result<(), Error> {
        let table = &self.settings.table;
        let matches = target.match_columns(table, self.match_fields);
        checks.push(match &matches {
            Err(reason) if !self.settings.create => Check::failed("table", reason.clone()),
            _ => Check::passed(
                "table",
                format!("{table}, {} columns", target.columns.len()),
            ),
        });
        checks.push(
            match target.missing_privileges(client, table, self.mode).await? {
                Some(reason) => Check::failed("privileges", reason),
                None => Check::passed("privileges", privileges(self.mode).join(", ")),
            },
        );
        checks.push(match matches {
            Err(_) => Check::skipped("unique index", "a match field is no column"),
            Ok(_) if !needs_unique(self.mode) => {
                Check::passed("unique index", format!("mode `{}` needs none", self.mode))
            }
            Ok(columns) if target.unique_over(&columns) => Check::passed(
                "unique index",
                format!(
                    "({})",
                    ident_list(self.match_fields.iter().map(|field| &**field))
                ),
            ),
            Ok(_) => Check::failed("unique index", Target::not_unique(table, self.match_fields)),
        });
        Ok(())
    }

    /// Advice only: without them, large batches travel as arrays.
    async fn temporary(&self, client: &Client) -> Result<Check, Error> {
        let sql = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'), \
                   current_user::pg_catalog.text, pg_catalog.current_database()::pg_catalog.text";
        let row = ask::row(client, sql, Vec::new()).await?;
        if row.get(0) {
            return Ok(Check::passed(
                "temporary tables",
                "large batches go by COPY",
            ));
        }
        let (role, database) = (ident(row.get(1)), ident(row.get(2)));
        Ok(Check::warned(
            "temporary tables",
            Reason::new(
                Code::DestinationObject,
                format!("role {role} may not make temporary tables in database {database}"),
            )
            .detail("large batches are written several times slower without them")
            .hint(format!("GRANT TEMPORARY ON DATABASE {database} TO {role};")),
        ))
    }

    async fn may_create(&self, client: &Client) -> Result<Check, Error> {
        let TableName { schema, .. } = &self.settings.table;
        let row = ask::first(
            client,
            "SELECT pg_catalog.has_schema_privilege(oid, 'USAGE') AND \
                 pg_catalog.has_schema_privilege(oid, 'CREATE'), current_user::pg_catalog.text \
                 FROM pg_catalog.pg_namespace WHERE nspname = $1",
            vec![Param::Text(schema)],
        )
        .await?;
        Ok(match row {
            None => Check::failed(
                "privileges",
                Reason::new(
                    Code::DestinationObject,
                    format!("schema {} does not exist", ident(schema)),
                )
                .hint(format!("CREATE SCHEMA {};", ident(schema))),
            ),
            Some(row) if row.get::<_, bool>(0) => {
                Check::passed("privileges", format!("CREATE in schema {}", ident(schema)))
            }
            Some(row) => Check::failed(
                "privileges",
                Reason::new(
                    Code::DestinationObject,
                    format!("the role may not make tables in schema {}", ident(schema)),
                )
                .hint(format!(
                    "GRANT USAGE, CREATE ON SCHEMA {} TO {};",
                    ident(schema),
                    ident(row.get(1))
                )),
            ),
        })
    }
}

/// Whether a mode's operations find records by a unique index.
pub(super) fn needs_unique(mode: Mode) -> bool {
    mode.operations().contains(&Operation::Upsert)
}

/// Tables and columns the role may see, without the server's own schemas.
pub(super) async fn tables(
    client: &Client,
    default_schema: &str,
) -> Result<Vec<ObjectSchema>, Error> {
    let rows = ask::rows(client, "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text, \
             pg_catalog.format_type(a.atttypid, a.atttypmod), \
             a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', \
             pg_catalog.col_description(c.oid, a.attnum) \
             FROM pg_catalog.pg_class AS c \
             JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid \
             WHERE c.relkind IN ('r', 'p', 'v', 'f') AND a.attnum > 0 AND NOT a.attisdropped \
             AND a.attgenerated = '' AND n.nspname <> 'information_schema' \
             AND n.nspname NOT LIKE 'pg\\_%' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
             AND NOT c.relispartition \
             ORDER BY n.nspname <> $1, n.nspname, c.relname, a.attnum",
            vec![Param::Text(default_schema)],
        )
        .await?;
    let mut tables: Vec<(TableName, ObjectSchema)> = Vec::new();
    for row in &rows {
        let name = TableName {
            schema: row.get(0),
            table: row.get(1),
        };
        if tables.last().is_none_or(|(last, _)| *last != name) {
            let object = ObjectSchema {
                name: name.as_object(default_schema).into(),
                fields: Vec::new(),
            };
            tables.push((name, object));
        }
        if let Some((_, object)) = tables.last_mut() {
            object.fields.push(ObjectField {
                name: row.get::<_, &str>(2).into(),
                type_name: row.get(3),
                required: row.get(4),
                help: row.get(5),
            });
        }
    }
    Ok(tables.into_iter().map(|(_, object)| object).collect())
}
