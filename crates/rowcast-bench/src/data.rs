//! The tables: how they are made, how they change, and what must arrive because of it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::cluster::Cluster;
use crate::project::COLUMNS;
use crate::verify::Tally;

/// In every changed row, so that payloads can be looked for in the log.
pub(crate) const MARKER: &str = "BENCHMARKPAYLOAD";

const USERS: &str = "
CREATE TABLE users (
  id bigint PRIMARY KEY,
  external_id uuid NOT NULL,
  email text NOT NULL,
  first_name text NOT NULL,
  last_name text NOT NULL,
  attributes jsonb NOT NULL,
  balance numeric(12,2) NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  active boolean NOT NULL,
  phone text,
  plan text NOT NULL,
  logins int NOT NULL);
";

/// The rows from one number to another, both included.
fn generated(from: &str, to: &str) -> String {
    format!(
        "INSERT INTO users SELECT i, md5('u' || i)::uuid,
  'user' || i || '@example' || i % 1000 || '.com',
  'First' || i % 5000, 'Last' || i % 20000,
  jsonb_build_object('tier', i % 7, 'tags', jsonb_build_array('a' || i % 13), 'city', 'City ' || i % 900, 'score', (i % 1000) / 10.0),
  (i % 100000) / 100.0,
  timestamptz '2020-01-01 00:00+00' + (i % 100000000) * interval '1 second',
  timestamptz '2024-01-01 00:00+00' + (i % 50000000) * interval '1 second',
  i % 3 <> 0, CASE WHEN i % 4 = 0 THEN NULL ELSE '+4930' || (1000000 + i % 8999999) END,
  (ARRAY['free','pro','team','enterprise'])[1 + i % 4], (i % 500)::int
FROM generate_series({from}::bigint, {to}::bigint) i"
    )
}

/// A database with the table `users`.
pub(crate) fn load(cluster: &Cluster, database: &str, rows: u64) -> Result<(), String> {
    cluster.psql("postgres", &format!("CREATE DATABASE {database}"))?;
    let insert = generated("1", &rows.to_string());
    let sql = format!(
        "{USERS}{insert};\nCREATE INDEX ON users (updated_at);\nCREATE SCHEMA bench;\n\
         CREATE TABLE bench.changed (id bigint);\nCREATE TABLE bench.deleted (id bigint);\n\
         VACUUM ANALYZE users;\nCHECKPOINT;"
    );
    cluster.psql(database, &sql).map(drop)
}

/// An empty table of the same shape in the database `target`, in the place of one that is there.
pub(crate) fn empty_target(cluster: &Cluster, table: &str) -> Result<(), String> {
    let create = USERS.replace("TABLE users", &format!("TABLE {table}"));
    let sql = format!("DROP TABLE IF EXISTS {table};\n{create}");
    cluster.psql("target", &sql).map(drop)
}

/// A smaller table with the first rows of `users`.
pub(crate) fn part(cluster: &Cluster, table: &str, rows: u64) -> Result<(), String> {
    let sql = format!(
        "CREATE TABLE {table} (LIKE users INCLUDING ALL);\n\
         INSERT INTO {table} SELECT * FROM users WHERE id <= {rows};\nVACUUM ANALYZE {table};"
    );
    cluster.psql("base", &sql).map(drop)
}

/// Four orders for each row of `users`.
pub(crate) fn orders(cluster: &Cluster, rows: u64) -> Result<(), String> {
    let count = rows * 4;
    let sql = format!(
        "CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, \
           amount numeric(10,2) NOT NULL, placed_at timestamptz NOT NULL);\n\
         INSERT INTO orders SELECT i, 1 + (i * 7919) % {rows}, (i % 50000) / 100.0, \
           timestamptz '2023-01-01 00:00+00' + i * interval '1 second' \
           FROM generate_series(1::bigint, {count}) i;\nVACUUM ANALYZE orders;"
    );
    cluster.psql("base", &sql).map(drop)
}

/// How many thousandths of the rows change: updated, added, removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) updated: u64,
    pub(crate) added: u64,
    pub(crate) removed: u64,
}

/// 1 %: 0.7 updated, 0.2 added, 0.1 removed.
pub(crate) const ONE: Share = Share {
    updated: 7,
    added: 2,
    removed: 1,
};
/// 10 % in the same proportion.
pub(crate) const TEN: Share = Share {
    updated: 70,
    added: 20,
    removed: 10,
};

/// Changes rows spread evenly over the table, the worst case for pages touched. `round` tells one
/// call from the next.
pub(crate) fn change(
    cluster: &Cluster,
    database: &str,
    share: Share,
    round: u64,
) -> Result<(), String> {
    let rows = cluster.number(
        database,
        "SELECT reltuples FROM pg_class WHERE relname = 'users'",
    )?;
    let added = (rows as u64 * share.added / 1000).max(1);
    // Residues of 1,000 in a scattered order, others each time.
    let from = (round * 100) % 1000;
    let (middle, to) = (from + share.updated, from + share.updated + share.removed);
    let insert = generated(
        "(SELECT max(id) + 1 FROM users)",
        &format!("(SELECT max(id) + {added} FROM users)"),
    );
    let sql = format!(
        "BEGIN;\nTRUNCATE bench.changed, bench.deleted;\n\
         WITH gone AS (DELETE FROM users WHERE (id * 7919 + {round}) % 1000 >= {middle} \
             AND (id * 7919 + {round}) % 1000 < {to} RETURNING id)\n\
           INSERT INTO bench.deleted SELECT id FROM gone;\n\
         WITH new AS (UPDATE users SET logins = logins + 1, balance = balance + 1, \
             last_name = '{MARKER}' || {round}, \
             updated_at = timestamptz '2026-01-01 00:00+00' + {round} * interval '1 day' \
             WHERE (id * 7919 + {round}) % 1000 >= {from} AND (id * 7919 + {round}) % 1000 < {middle} \
             RETURNING id)\n\
           INSERT INTO bench.changed SELECT id FROM new;\n\
         WITH new AS ({insert} RETURNING id) INSERT INTO bench.changed SELECT id FROM new;\n\
         UPDATE users SET last_name = '{MARKER}' || {round}, \
             updated_at = timestamptz '2026-01-01 00:00+00' + {round} * interval '1 day' \
           WHERE id > (SELECT max(id) - {added} FROM users);\n\
         COMMIT;\nVACUUM (ANALYZE) users;"
    );
    cluster.psql(database, &sql).map(drop)
}

/// The rows of a table as JSON, one a line, in the form in which Rowcast sends them.
fn rows_as_json(table: &str, condition: &str) -> String {
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|column| match *column {
            "created_at" | "updated_at" => format!(
                "to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS {column}"
            ),
            _ => (*column).to_owned(),
        })
        .collect();
    format!(
        "SELECT row_to_json(r) FROM (SELECT {} FROM {table} {condition}) r",
        columns.join(", ")
    )
}

/// Adds what a query returns, a record a line.
fn add(cluster: &Cluster, database: &str, query: &str, tally: &mut Tally) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("could not read the source: {error}");
    let mut child = cluster
        .psql_command(database)
        .arg("-c")
        .arg(format!("COPY ({query}) TO STDOUT"))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::with_capacity(1 << 20, out).lines() {
            let line = line.map_err(failed)?.replace("\\\\", "\\");
            tally.add_body(line.as_bytes())?;
        }
    }
    let status = child.wait().map_err(failed)?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| "reading the source failed".to_owned())
}

/// What a first sync of a table must deliver.
pub(crate) fn all(cluster: &Cluster, database: &str, table: &str) -> Result<Tally, String> {
    let mut tally = Tally::default();
    add(cluster, database, &rows_as_json(table, ""), &mut tally)?;
    Ok(tally)
}

/// What a run after the last [`change`] must deliver. `removals`: to a mirror.
pub(crate) fn changed(cluster: &Cluster, database: &str, removals: bool) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let condition = "WHERE id IN (SELECT id FROM bench.changed)";
    add(
        cluster,
        database,
        &rows_as_json("users", condition),
        &mut tally,
    )?;
    if removals {
        let gone = "SELECT json_build_object('operation', 'delete', 'key', \
                    json_build_object('id', id), 'fields', json_build_object()) FROM bench.deleted";
        add(cluster, database, gone, &mut tally)?;
    }
    Ok(tally)
}

/// Whether a table of the target holds exactly the rows of `users`; the reason if not. `values`:
/// every column is compared, which needs a table of the same shape.
pub(crate) fn target_differs(
    cluster: &Cluster,
    table: &str,
    rows: u64,
    values: bool,
) -> Result<Option<String>, String> {
    let sums = |table: &str, condition: &str| {
        let over = if values {
            format!("ROW({})::text", COLUMNS.join(", "))
        } else {
            "id::text".to_owned()
        };
        format!(
            "SELECT count(*), coalesce(sum(hashtextextended({over}, 0)::numeric), 0) \
             FROM {table} {condition}"
        )
    };
    let limit = format!("WHERE id <= {rows}");
    let wanted = cluster.psql("base", &sums("users", if values { "" } else { &limit }))?;
    let there = cluster.psql("target", &sums(table, ""))?;
    Ok((wanted != there).then(|| {
        let count = |line: &str| line.split('|').next().unwrap_or_default().to_owned();
        format!(
            "the target differs from the source: {} rows, {} expected",
            count(&there),
            count(&wanted)
        )
    }))
}
