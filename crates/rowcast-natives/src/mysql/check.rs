//! `check` and `discover`: what the server, the table and the user's rights look like. Changes
//! nothing.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};
use rowcast_core::destination::{ObjectField, ObjectSchema};
use rowcast_core::{Check, CheckStatus, Code, Mode, Name, Operation, Reason};

use super::name::TableName;
use super::progress::Progress;
use super::refusal::{Speaker, words};
use super::statement::{Shape, statement};
use super::target::{Target, table_missing};

/// What the checks are about.
pub(super) struct Checker<'a> {
    pub(super) speaker: Speaker<'a>,
    /// `None` without a sync.
    pub(super) table: Option<&'a TableName>,
    pub(super) progress: &'a Progress,
    pub(super) mode: Mode,
    pub(super) match_fields: &'a [Name],
    /// Whether a table that is missing will be made.
    pub(super) create: bool,
}

impl Checker<'_> {
    /// The checks behind an open connection.
    pub(super) async fn run(&self, conn: &mut Conn) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Some(table) = self.table {
            let found = self.table(conn, table).await;
            let there = found.status == CheckStatus::Passed;
            checks.push(found);
            if there {
                checks.push(self.privileges(conn, table).await);
            }
        }
        checks.push(self.progress(conn).await);
        checks
    }

    async fn table(&self, conn: &mut Conn, table: &TableName) -> Check {
        let name = format!("table {table}");
        let target = match Target::read(conn, table).await {
            Ok(Some(target)) => target,
            Ok(None) if self.create => {
                return Check::passed(name, "will be made from the first records");
            }
            Ok(None) => return Check::failed(name, table_missing(table)),
            Err(error) => return self.failed(name, &error),
        };
        match target.unfit(table, self.match_fields, needs_unique(self.mode)) {
            Some(reason) => Check::failed(name, reason),
            None => Check::passed(name, format!("{} columns", target.columns.len())),
        }
    }

    /// Has the server prepare what a run would execute: it refuses then what the user may not do.
    async fn privileges(&self, conn: &mut Conn, table: &TableName) -> Check {
        let name = "privileges";
        let there = match Target::read(conn, table).await {
            Ok(target) => target.is_some(),
            Err(error) => return self.failed(name.to_owned(), &error),
        };
        let shape = Shape {
            match_columns: self.match_fields.to_vec(),
            others: Vec::new(),
        };
        let (wanted, statements) = if there {
            let operations = self.mode.operations();
            let statements: Vec<String> = operations
                .iter()
                .map(|operation| statement(*operation, table, &shape, 1, false))
                .collect();
            (needed(&operations), statements)
        } else {
            (
                "CREATE".to_owned(),
                vec![format!("CREATE TABLE {table} (id INTEGER)")],
            )
        };
        for sql in statements {
            match conn.prep(sql).await {
                Ok(prepared) => {
                    let _gone = conn.close(prepared).await;
                }
                Err(Error::Server(said)) if matches!(said.code, 1044 | 1142 | 1143 | 1227) => {
                    return Check::failed(
                        name,
                        Reason::new(
                            Code::DestinationObject,
                            format!("the user may not write to {table} as the sync's mode does"),
                        )
                        .detail(words(&said))
                        .hint(format!("GRANT {wanted} ON {table} TO the user")),
                    );
                }
                Err(error) => return self.failed(name.to_owned(), &error),
            }
        }
        Check::passed(name, wanted)
    }

    async fn progress(&self, conn: &mut Conn) -> Check {
        let name = "delivery progress";
        match self.progress.is_there(conn).await {
            Ok(true) => Check::passed(name, "its two tables are there"),
            Ok(false) => Check::passed(name, "its two tables will be made by the first run"),
            Err(error) => self.failed(name.to_owned(), &error),
        }
    }

    fn failed(&self, name: String, error: &Error) -> Check {
        Check::failed(name, self.speaker.fault(error).reason().clone())
    }
}

/// The privileges that operations need.
fn needed(operations: &[Operation]) -> String {
    let needs = |operation: &Operation| match operation {
        Operation::Insert => &["INSERT"][..],
        Operation::Upsert => &["INSERT", "UPDATE"],
        Operation::Update => &["SELECT", "UPDATE"],
        Operation::Delete => &["SELECT", "DELETE"],
    };
    let mut needed: Vec<&str> = operations.iter().flat_map(needs).copied().collect();
    needed.sort_unstable();
    needed.dedup();
    needed.join(", ")
}

/// Modes that find their records by a unique index.
pub(super) fn needs_unique(mode: Mode) -> bool {
    matches!(mode, Mode::Upsert | Mode::Mirror | Mode::Insert)
}

/// The tables of a database with their columns, in their order.
pub(super) async fn tables(conn: &mut Conn, database: &str) -> Result<Vec<ObjectSchema>, Error> {
    let names: Vec<String> = conn
        .exec(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND \
             TABLE_TYPE = 'BASE TABLE' AND TABLE_NAME NOT IN ('rowcast_fence', 'rowcast_delivery') \
             ORDER BY TABLE_NAME",
            (database,),
        )
        .await?;
    let mut found = Vec::with_capacity(names.len());
    for table in names {
        let name = TableName {
            database: database.to_owned(),
            table: table.clone(),
        };
        let Some(target) = Target::read(conn, &name).await? else {
            continue;
        };
        let keys = target.unique.first().cloned().unwrap_or_default();
        let fields = target
            .columns
            .into_iter()
            .filter(|column| !column.generated);
        let fields = fields.map(|column| ObjectField {
            help: keys
                .contains(&column.name)
                .then(|| "part of a unique index".to_owned()),
            name: column.name.as_str().into(),
            type_name: column.type_name,
            required: column.required,
        });
        found.push(ObjectSchema {
            name: table.as_str().into(),
            fields: fields.collect(),
        });
    }
    Ok(found)
}
