//! The table as the server's catalog describes it: columns, types, unique indexes, privileges.
//!
//! Reads only. What is missing or unfit becomes a reason with the statement that mends it.

use rowcast_core::{Code, Mode, Name, Operation, Reason};
use tokio_postgres::{Client, Error};

use super::ask::{self, Param};
use super::binary::{Native, native};
use super::name::{NAME_BYTES_MAX, TableName, ident_list};
use super::text::Form;
use crate::sql::ident;

/// One column of the table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: Name,
    /// The type a text is cast to: the base type of a domain, without a modifier, quoted. The
    /// modifier and the domain's checks are applied by the assignment, which refuses what is too
    /// long where a cast would cut it.
    pub(super) cast: String,
    /// The type's own equality operator, for matching.
    pub(super) equals: String,
    pub(super) form: Form,
    /// The base type's binary form, when it is one that can be written.
    pub(super) native: Option<Native>,
    /// `GENERATED ALWAYS AS (…) STORED`: can't be written.
    pub(super) generated: bool,
    /// `GENERATED ALWAYS AS IDENTITY`: an insert must say that it overrides it, an update can't.
    pub(super) identity_always: bool,
    /// Values that are equal may still differ in their bytes (citext, numeric): a match is then
    /// no proof that the column holds the same.
    pub(super) loose: bool,
}

/// The table of a destination.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) oid: u32,
    pub(super) columns: Vec<Column>,
    /// Row-level security applies to the role.
    pub(super) row_security: bool,
    /// The role may make temporary tables.
    pub(super) temporary: bool,
    /// A plain table, in which a COPY does what an INSERT does: no rules, no row-level security.
    pub(super) plain: bool,
    /// Each index that `ON CONFLICT` may use.
    pub(super) unique: Vec<Unique>,
}

/// A unique index.
#[derive(Debug, Clone)]
pub(super) struct Unique {
    pub(super) name: String,
    /// Column positions.
    pub(super) columns: Vec<usize>,
}

const TABLE_SQL: &str = "
SELECT c.oid, pg_catalog.row_security_active(c.oid),
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'),
       c.relkind = 'r' AND NOT c.relhasrules
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'f')";

// A domain is followed down to its base type. The equality operator is named only when it lives
// outside pg_catalog (citext): elsewhere it is plain `=`.
const COLUMNS_SQL: &str = "
WITH RECURSIVE base(start, oid) AS (
    SELECT DISTINCT a.atttypid, a.atttypid FROM pg_catalog.pg_attribute AS a
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.start, t.typbasetype FROM base AS b
      JOIN pg_catalog.pg_type AS t ON t.oid = b.oid WHERE t.typtype = 'd')
SELECT a.attname::pg_catalog.text,
       pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.typname),
       t.typname::pg_catalog.text,
       e.typname::pg_catalog.text,
       e.typdelim::pg_catalog.text,
       a.attgenerated <> '',
       a.attidentity = 'a',
       eq.operator,
       t.typtype = 'e',
       a.attnum,
       t.oid
  FROM pg_catalog.pg_attribute AS a
  JOIN base AS b ON b.start = a.atttypid
  JOIN pg_catalog.pg_type AS t ON t.oid = b.oid AND t.typtype <> 'd'
  JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND e.typarray = t.oid
  LEFT JOIN LATERAL (
    SELECT pg_catalog.quote_ident(n.nspname) || '.' || o.oprname AS operator
      FROM pg_catalog.pg_opclass AS c
      JOIN pg_catalog.pg_am AS m ON m.oid = c.opcmethod AND m.amname = 'btree'
      JOIN pg_catalog.pg_amop AS p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3
                                  AND p.amoplefttype = t.oid AND p.amoprighttype = t.oid
      JOIN pg_catalog.pg_operator AS o ON o.oid = p.amopopr
      JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace AND n.nspname <> 'pg_catalog'
     WHERE c.opcintype = t.oid AND c.opcdefault
     LIMIT 1) AS eq ON true
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum";

// Only what ON CONFLICT can infer: complete, valid, checked at once, plain columns.
const UNIQUE_SQL: &str = "
SELECT (pg_catalog.string_to_array(i.indkey::pg_catalog.text, ' ')::pg_catalog.int4[])[1:i.indnkeyatts],
       c.relname::pg_catalog.text
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
 WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate
   AND i.indpred IS NULL AND i.indexprs IS NULL";

const PRIVILEGES_SQL: &str = "
SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
       pg_catalog.has_any_column_privilege(c.oid, 'SELECT'),
       pg_catalog.has_any_column_privilege(c.oid, 'INSERT'),
       pg_catalog.has_any_column_privilege(c.oid, 'UPDATE'),
       pg_catalog.has_table_privilege(c.oid, 'DELETE'),
       current_user::pg_catalog.text
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = $1";

impl Target {
    /// Reads the table, `None` when it does not exist.
    pub(super) async fn read(client: &Client, table: &TableName) -> Result<Option<Self>, Error> {
        let Some(row) = ask::first(
            client,
            TABLE_SQL,
            vec![Param::Text(&table.schema), Param::Text(&table.table)],
        )
        .await?
        else {
            return Ok(None);
        };
        let oid: u32 = row.get(0);
        let (columns, unique) = futures::try_join!(
            ask::rows(client, COLUMNS_SQL, vec![Param::Oid(oid)]),
            ask::rows(client, UNIQUE_SQL, vec![Param::Oid(oid)]),
        )?;
        let numbers: Vec<i16> = columns.iter().map(|row| row.get(9)).collect();
        let position = |number: &i32| numbers.iter().position(|n| i32::from(*n) == *number);
        Ok(Some(Self {
            oid,
            row_security: row.get(1),
            temporary: row.get(2),
            plain: row.get::<_, bool>(3) && !row.get::<_, bool>(1),
            unique: unique
                .iter()
                .filter_map(|row| {
                    let columns = row.get::<_, Vec<i32>>(0);
                    Some(Unique {
                        name: row.get(1),
                        columns: columns.iter().map(position).collect::<Option<_>>()?,
                    })
                })
                .collect(),
            columns: columns.iter().map(column).collect(),
        }))
    }

    /// The position of a column by its exact name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &*column.name == name)
    }

    /// The match fields as columns.
    pub(super) fn match_columns(
        &self,
        table: &TableName,
        fields: &[Name],
    ) -> Result<Vec<usize>, Reason> {
        fields
            .iter()
            .map(|field| {
                self.position(field)
                    .ok_or_else(|| self.unknown(table, field))
            })
            .collect()
    }

    /// Whether `ON CONFLICT` with exactly these columns has an index to use.
    pub(super) fn unique_over(&self, columns: &[usize]) -> bool {
        self.unique_indexes(columns).next().is_some()
    }

    /// The unique indexes over exactly these columns.
    pub(super) fn unique_indexes(&self, columns: &[usize]) -> impl Iterator<Item = &Unique> {
        self.unique.iter().filter(|index| {
            index.columns.len() == columns.len()
                && columns.iter().all(|column| index.columns.contains(column))
        })
    }

    /// A field has no column.
    pub(super) fn unknown(&self, table: &TableName, field: &str) -> Reason {
        let reason = Reason::new(
            Code::DestinationObject,
            format!("table {table} has no column {}", ident(field)),
        );
        if field.len() > NAME_BYTES_MAX {
            let mut end = NAME_BYTES_MAX;
            while !field.is_char_boundary(end) {
                end -= 1;
            }
            return reason
                .detail(format!(
                    "the name has {} bytes; PostgreSQL keeps {NAME_BYTES_MAX}",
                    field.len()
                ))
                .hint(format!("name the field {}", ident(&field[..end])));
        }
        let near = self
            .columns
            .iter()
            .filter(|column| near(&column.name, field))
            .map(|column| ident(&column.name))
            .next();
        match near {
            Some(near) => reason.hint(format!("did you mean {near}?")),
            None => reason.hint(format!(
                "it has {}; add the column, ALTER TABLE {table} ADD COLUMN {} text; or set \
                 `create: true`",
                ident_list(self.columns.iter().map(|column| &*column.name)),
                ident(field)
            )),
        }
    }

    /// No index lets an upsert find its record.
    pub(super) fn not_unique(table: &TableName, fields: &[Name]) -> Reason {
        let columns = ident_list(fields.iter().map(|field| &**field));
        Reason::new(
            Code::DestinationObject,
            format!("table {table} has no unique index over exactly ({columns})"),
        )
        .detail(
            "an upsert finds its record by such an index; it must be valid, not deferrable and \
             without WHERE",
        )
        .hint(format!("CREATE UNIQUE INDEX ON {table} ({columns});"))
    }

    /// What the role lacks for a mode, with the grant.
    pub(super) async fn missing_privileges(
        &self,
        client: &Client,
        table: &TableName,
        mode: Mode,
    ) -> Result<Option<Reason>, Error> {
        let Some(row) = ask::first(client, PRIVILEGES_SQL, vec![Param::Oid(self.oid)]).await?
        else {
            return Ok(None); // dropped a moment ago: the next statement says so
        };
        let role: String = row.get(5);
        let mut grants = Vec::new();
        if !row.get::<_, bool>(0) {
            grants.push(format!(
                "GRANT USAGE ON SCHEMA {} TO {};",
                ident(&table.schema),
                ident(&role)
            ));
        }
        let missing: Vec<&str> = privileges(mode)
            .into_iter()
            .filter(|privilege| {
                let at = match *privilege {
                    "SELECT" => 1,
                    "INSERT" => 2,
                    "UPDATE" => 3,
                    _ => 4,
                };
                !row.get::<_, bool>(at)
            })
            .collect();
        if !missing.is_empty() {
            grants.push(format!(
                "GRANT {} ON {table} TO {};",
                missing.join(", "),
                ident(&role)
            ));
        }
        Ok((!grants.is_empty()).then(|| {
            Reason::new(
                Code::DestinationObject,
                format!("role {} may not {mode} in table {table}", ident(&role)),
            )
            .hint(grants.join(" "))
        }))
    }
}

/// What a mode needs on the table, in the order of a GRANT.
pub(super) fn privileges(mode: Mode) -> Vec<&'static str> {
    let mut needed = vec!["SELECT"];
    for operation in mode.operations() {
        let more: &[&str] = match operation {
            Operation::Insert => &["INSERT"],
            Operation::Update => &["UPDATE"],
            Operation::Upsert => &["INSERT", "UPDATE"],
            Operation::Delete => &["DELETE"],
        };
        needed.extend(more);
    }
    needed
}

fn column(row: &tokio_postgres::Row) -> Column {
    let base: &str = row.get(2);
    let element: Option<&str> = row.get(3);
    let enumeration: bool = row.get(8);
    let scalar = |name: &str| match name {
        "json" | "jsonb" => Form::Json,
        _ => Form::Plain,
    };
    Column {
        name: row.get::<_, &str>(0).into(),
        cast: row.get(1),
        equals: format!(
            "OPERATOR({})",
            row.get::<_, Option<&str>>(7).unwrap_or("pg_catalog.=")
        ),
        form: match element {
            Some(element) => Form::Array {
                element: Box::new(scalar(element)),
                delimiter: row
                    .get::<_, Option<&str>>(4)
                    .and_then(|text| text.chars().next())
                    .unwrap_or(','),
            },
            None => scalar(base),
        },
        native: native(row.get(10), enumeration),
        generated: row.get(5),
        identity_always: row.get(6),
        loose: !(enumeration
            || matches!(
                base,
                "int2"
                    | "int4"
                    | "int8"
                    | "oid"
                    | "uuid"
                    | "text"
                    | "varchar"
                    | "bool"
                    | "bytea"
                    | "date"
                    | "timestamp"
                    | "timestamptz"
            )),
    }
}

/// Equal but for case and signs, or one slip apart.
fn near(a: &str, b: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let (a, b) = (plain(a), plain(b));
    a == b || (a.chars().count().min(b.chars().count()) > 2 && strsim::osa_distance(&a, &b) == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_near() {
        for (a, b) in [
            ("email", "e_mail"),
            ("email", "emial"),
            ("Email", "email"),
            ("emal", "email"),
        ] {
            assert!(near(a, b), "{a} {b}");
        }
        for (a, b) in [("email", "phone"), ("id", "no"), ("name", "names_of")] {
            assert!(!near(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_mode_needs_only_its_own_privileges() {
        assert_eq!(
            privileges(Mode::Mirror),
            ["SELECT", "INSERT", "UPDATE", "DELETE"]
        );
        assert_eq!(privileges(Mode::Insert), ["SELECT", "INSERT"]);
        assert_eq!(privileges(Mode::Delete), ["SELECT", "DELETE"]);
    }
}
