//! The table as the server describes it: its columns, its unique indexes, its engine.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};
use rowcast_core::{Code, Name, Reason};

use super::name::{TableName, ident};

/// What matters of a column's type for the form of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `binary`, `varbinary`, the blobs: bytes as they are.
    Binary,
    /// `datetime`, `timestamp`.
    Moment,
    Other,
}

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As the server writes it: `varchar(40)`.
    pub(super) type_name: String,
    pub(super) family: Family,
    /// A row can't be made without a value for it.
    pub(super) required: bool,
    pub(super) generated: bool,
}

/// The table.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) columns: Vec<Column>,
    /// The columns of each unique index over whole columns.
    pub(super) unique: Vec<Vec<String>>,
    /// Indexes that are unique over more or other than whole columns.
    odd_unique: bool,
    engine: String,
    /// Most bytes of one statement.
    pub(super) packet_max: usize,
}

impl Target {
    /// Reads the table; `None` when there is none that the user may see.
    pub(super) async fn read(conn: &mut Conn, table: &TableName) -> Result<Option<Self>, Error> {
        let names = (table.database.clone(), table.table.clone());
        let engine: Option<Option<String>> = conn
            .exec_first(
                "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
                names.clone(),
            )
            .await?;
        let Some(engine) = engine else {
            return Ok(None);
        };
        let rows: Vec<(String, String, String, String, Option<String>, String)> = conn
            .exec(
                "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA \
                 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
                 ORDER BY ORDINAL_POSITION",
                names.clone(),
            )
            .await?;
        let indexed: Vec<(String, Option<String>, Option<u64>)> = conn
            .exec(
                "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 \
                 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
                names,
            )
            .await?;
        let packet: Option<u64> = conn.query_first("SELECT @@max_allowed_packet").await?;
        let (unique, odd_unique) = indexes(indexed);
        Ok(Some(Self {
            columns: rows.into_iter().map(column).collect(),
            unique,
            odd_unique,
            engine: engine.unwrap_or_default(),
            packet_max: packet
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(1 << 20),
        }))
    }

    /// The column of a field: names of columns have no case here.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        let mut columns = self.columns.iter();
        columns.find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether a unique index covers exactly these columns.
    pub(super) fn unique_over(&self, names: &[Name]) -> bool {
        self.unique.iter().any(|index| same(index, names))
    }

    /// Whether another unique index could make an upsert meet a row that is not its own.
    pub(super) fn other_unique(&self, names: &[Name]) -> bool {
        self.odd_unique || self.unique.iter().any(|index| !same(index, names))
    }

    /// Why the table is not fit, whatever the records.
    pub(super) fn unfit(
        &self,
        table: &TableName,
        match_fields: &[Name],
        needs_unique: bool,
    ) -> Option<Reason> {
        if !self.engine.eq_ignore_ascii_case("InnoDB") {
            return Some(
                Reason::new(
                    Code::DestinationObject,
                    format!("{table} can't be written to with the care that is promised"),
                )
                .detail(format!(
                    "its engine is {}, which has no transactions",
                    self.engine
                ))
                .hint(format!("ALTER TABLE {table} ENGINE = InnoDB;")),
            );
        }
        for name in match_fields {
            if self.column(name).is_none() {
                return Some(no_column(table, name));
            }
        }
        if needs_unique && !self.unique_over(match_fields) {
            let columns: Vec<String> = match_fields.iter().map(|name| ident(name)).collect();
            let columns = columns.join(", ");
            return Some(
                Reason::new(
                    Code::DestinationObject,
                    format!("{table} has no unique index over exactly {columns}"),
                )
                .hint(format!("ALTER TABLE {table} ADD UNIQUE INDEX ({columns});")),
            );
        }
        None
    }
}

/// The table does not exist, or the user may not see it.
pub(super) fn table_missing(table: &TableName) -> Reason {
    Reason::new(
        Code::DestinationObject,
        format!("there is no table {table} that the user may see"),
    )
    .hint(format!(
        "create it, or GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO the user"
    ))
}

/// A field without a column.
pub(super) fn no_column(table: &TableName, name: &str) -> Reason {
    Reason::new(
        Code::DestinationObject,
        format!("{table} has no column {}", ident(name)),
    )
    .hint("add the column, or correct the name in the sync's `fields` or `match_on`")
}

fn same(index: &[String], names: &[Name]) -> bool {
    index.len() == names.len()
        && index
            .iter()
            .all(|column| names.iter().any(|name| column.eq_ignore_ascii_case(name)))
}

fn column(
    (name, kind, type_name, nullable, default, extra): (
        String,
        String,
        String,
        String,
        Option<String>,
        String,
    ),
) -> Column {
    let extra = extra.to_ascii_lowercase();
    // DEFAULT_GENERATED only says that the default is an expression.
    let generated = extra.contains("virtual generated")
        || extra.contains("stored generated")
        || extra.contains("persistent");
    let family = match kind.to_ascii_lowercase().as_str() {
        "binary" | "varbinary" | "blob" | "tinyblob" | "mediumblob" | "longblob" => Family::Binary,
        "datetime" | "timestamp" => Family::Moment,
        _ => Family::Other,
    };
    Column {
        name,
        type_name,
        family,
        required: nullable == "NO"
            && default.is_none()
            && !generated
            && !extra.contains("auto_increment"),
        generated,
    }
}

/// Indexes over whole columns, and whether there are others.
fn indexes(rows: Vec<(String, Option<String>, Option<u64>)>) -> (Vec<Vec<String>>, bool) {
    let mut found: Vec<(String, Option<Vec<String>>)> = Vec::new();
    for (index, column, part) in rows {
        if found.last().is_none_or(|(name, _)| *name != index) {
            found.push((index, Some(Vec::new())));
        }
        if let Some((_, columns)) = found.last_mut() {
            match (column, part, &mut *columns) {
                (Some(column), None, Some(columns)) => columns.push(column),
                _ => *columns = None,
            }
        }
    }
    let odd = found.iter().any(|(_, columns)| columns.is_none());
    (
        found
            .into_iter()
            .filter_map(|(_, columns)| columns)
            .collect(),
        odd,
    )
}
