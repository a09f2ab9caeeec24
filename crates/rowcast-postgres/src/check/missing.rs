//! Which privilege a model lacks exactly: on which table or schema, and whose.
//!
//! The server only names a table without its schema, in its own language. So the relations that
//! the text mentions are looked up in the catalog, through views to the tables below, each asked
//! for the role that PostgreSQL would ask: the reader's, or the view owner's.

use rowcast_core::{Code, Reason};
use tokio_postgres::types::{Oid, Type};
use tokio_postgres::{Client, Row};

use crate::connect::db_error;
use crate::model_text::mentions;
use crate::sql::{ident, qualified};

/// What is missing, as sentences and as statements.
pub(super) struct Missing {
    facts: Vec<String>,
    grants: Vec<String>,
}

impl Missing {
    pub(super) fn into_reason(self, what: &str, original: &Reason) -> Reason {
        let mut detail = self.facts.join("; ");
        if let Some(words) = &original.detail {
            detail.push_str(&format!(" (the server says: {words})"));
        }
        Reason::new(
            Code::PermissionMissing,
            format!("{what} needs privileges that are missing"),
        )
        .detail(detail)
        .hint(self.grants.join("\n"))
    }

    fn add(&mut self, fact: String, grant: String) {
        if !self.grants.contains(&grant) {
            self.facts.push(fact);
            self.grants.push(grant);
        }
    }
}

/// A relation that the text names, and what the reader may do with it.
struct Mentioned {
    oid: Oid,
    schema: String,
    name: String,
    role: String,
    usage: bool,
    select: bool,
    /// SELECT on at least one column.
    some: bool,
}

impl Mentioned {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            oid: row.try_get(0)?,
            schema: row.try_get(1)?,
            name: row.try_get(2)?,
            role: row.try_get(3)?,
            usage: row.try_get(4)?,
            select: row.try_get(5)?,
            some: row.try_get(6)?,
        })
    }
}

const WHAT: &str = "looking for the missing privilege";

/// Looks at everything that `sql` mentions. `None` when nothing is missing that can be found so.
pub(super) async fn find(
    client: &Client,
    sql: &str,
    search_path: &[String],
) -> Result<Option<Missing>, Reason> {
    let mut missing = Missing {
        facts: Vec::new(),
        grants: Vec::new(),
    };
    let direct = direct(client, sql, search_path, &mut missing).await?;
    through_views(client, &direct, &mut missing).await?;
    Ok((!missing.grants.is_empty()).then_some(missing))
}

/// The relations named in the text; notes what the reader lacks on them.
async fn direct(
    client: &Client,
    sql: &str,
    search_path: &[String],
    missing: &mut Missing,
) -> Result<Vec<Oid>, Reason> {
    let mentioned = mentions(sql);
    let schemas: Vec<&str> = mentioned
        .iter()
        .map(|m| m.schema.as_deref().unwrap_or(""))
        .collect();
    let names: Vec<&str> = mentioned.iter().map(|m| m.name.as_str()).collect();
    // Without a configured path the session's, as text: current_schemas() leaves out those that
    // may not be used, which are just those looked for.
    let rows = client
        .query_typed(
            "WITH path AS (
                 SELECT unnest(CASE WHEN cardinality($3::text[]) > 0 THEN $3::text[]
                     ELSE ARRAY(SELECT CASE trim(both ' \"' FROM p) WHEN '$user' THEN current_user::text
                                       ELSE trim(both ' \"' FROM p) END
                                FROM pg_catalog.regexp_split_to_table(pg_catalog.current_setting('search_path'), ',') AS p) END) AS schema
             )
             SELECT DISTINCT c.oid, n.nspname::text, c.relname::text, current_user::text,
                    pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
                    pg_catalog.has_table_privilege(c.oid, 'SELECT'),
                    pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
             FROM unnest($1::text[], $2::text[]) AS m(schema, name)
             JOIN pg_catalog.pg_class c ON c.relname = m.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = m.schema
                OR (m.schema = '' AND n.nspname IN (SELECT schema FROM path))
             ORDER BY 2, 3",
            &[
                (&schemas, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&search_path, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(|error| db_error(&error, WHAT))?;
    let mut oids = Vec::new();
    for row in rows {
        let Mentioned {
            oid,
            schema,
            name,
            role,
            usage,
            select,
            some,
        } = Mentioned::read(&row).map_err(|error| db_error(&error, WHAT))?;
        oids.push(oid);
        if !usage {
            missing.add(
                format!("the role \"{role}\" lacks USAGE on the schema \"{schema}\""),
                format!(
                    "GRANT USAGE ON SCHEMA {} TO {};",
                    ident(&schema),
                    ident(&role)
                ),
            );
        }
        if !select {
            let table = qualified(&schema, &name);
            let fact = if some {
                format!("the role \"{role}\" may SELECT only some columns of {table}")
            } else {
                format!("the role \"{role}\" lacks SELECT on {table}")
            };
            missing.add(
                fact,
                format!("GRANT SELECT ON {table} TO {};", ident(&role)),
            );
        }
    }
    Ok(oids)
}

/// What the owners of views lack on the tables below (or the reader, where the view says so).
async fn through_views(
    client: &Client,
    direct: &[Oid],
    missing: &mut Missing,
) -> Result<(), Reason> {
    let rows = client
        .query_typed(
            "WITH RECURSIVE reach(relation, checked, via) AS (
                 SELECT r, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user), NULL::oid
                 FROM unnest($1::oid[]) AS r
                 UNION
                 SELECT d.refobjid,
                        CASE WHEN c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1', 'security_invoker=yes']
                             THEN reach.checked ELSE c.relowner END,
                        c.oid
                 FROM reach
                 JOIN pg_catalog.pg_class c ON c.oid = reach.relation AND c.relkind = 'v'
                 JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid
                 JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass
                  AND d.objid = w.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
                  AND d.refobjid <> c.oid
             )
             SELECT pg_catalog.pg_get_userbyid(reach.checked)::text, bn.nspname::text, b.relname::text,
                    vn.nspname::text, v.relname::text
             FROM reach
             JOIN pg_catalog.pg_class b ON b.oid = reach.relation AND b.relkind IN ('r', 'p', 'v', 'm', 'f')
             JOIN pg_catalog.pg_namespace bn ON bn.oid = b.relnamespace
             JOIN pg_catalog.pg_class v ON v.oid = reach.via
             JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
             WHERE NOT pg_catalog.has_table_privilege(reach.checked, b.oid, 'SELECT')
             ORDER BY 2, 3",
            &[(&direct, Type::OID_ARRAY)],
        )
        .await
        .map_err(|error| db_error(&error, WHAT))?;
    for row in rows {
        let read = || -> Result<[String; 5], tokio_postgres::Error> {
            Ok([
                row.try_get(0)?,
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
                row.try_get(4)?,
            ])
        };
        let [role, schema, table, view_schema, view] =
            read().map_err(|error| db_error(&error, WHAT))?;
        let table = qualified(&schema, &table);
        missing.add(
            format!(
                "the view {} reads {table} as the role \"{role}\", which lacks SELECT on it",
                qualified(&view_schema, &view)
            ),
            format!("GRANT SELECT ON {table} TO {};", ident(&role)),
        );
    }
    Ok(())
}
