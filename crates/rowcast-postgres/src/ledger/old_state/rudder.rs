//! RudderStack's state: `SNAPSHOT_<connection>_<run>` with the values of every row, the keys that
//! failed, and the log of what became of rows.
//!
//! The values are hashed with the sync's own checksum, so that only real differences are sent. A
//! row that failed is never believed.

use rowcast_core::Reason;
use tokio_postgres::Client;

use super::{OldState, Table, missing, number, tables, unfit};
use crate::connect::db_error;
use crate::ledger::adopt::{AdoptRequest, Belief};
use crate::ledger::forms::{TypeFacts, quote_type};
use crate::ledger::matching;
use crate::ledger::model::Model;
use crate::ledger::plan::HashPlan;
use crate::ledger::shape::Shape;
use crate::sql::{ident, literal};

const SCHEMA: &str = "_rudderstack";
const SNAPSHOT: &str = "snapshot_";
const FAILED: &str = "failed_keys_";
const CURSOR: &str = "cursor_";
const LOG: &str = "sync_log";
const OPERATION: &str = "rudder_operation_type";
/// The row's own id in a run, by which failed keys and snapshot may be joined.
const ROW_ID: &str = "_rudder_id";
/// Columns of the failed keys that are no keys.
const NO_KEYS: [&str; 2] = ["rudder_operation", "rudder_invalid"];

pub(super) async fn find(
    client: &Client,
    request: &AdoptRequest,
    shape: &Shape,
    plan: &HashPlan,
    model: &Model,
) -> Result<OldState, Reason> {
    let all = tables(client, request, &[SCHEMA]).await?;
    let log = all
        .iter()
        .find(|table| table.name.eq_ignore_ascii_case(LOG));
    let (snapshot, connection, run) = newest(client, request, &all, log).await?;
    let operation = snapshot.column(OPERATION).ok_or_else(|| {
        unfit(
            request,
            format!("table {} has no column {OPERATION}", snapshot.shown()),
            "name the right one with `--id` and `--run`",
        )
    })?;
    let mut notes = Vec::new();
    let mut tables = vec![snapshot.shown()];
    let mut columns = Vec::new();
    for key in &shape.keys {
        let column = snapshot.column(&key.name).ok_or_else(|| {
            unfit(
                request,
                format!(
                    "table {} has no column {}, which is in the model's primary key",
                    snapshot.shown(),
                    key.name
                ),
                "adopt with the key that RudderStack had, or `rowcast baseline`",
            )
        })?;
        columns.push(as_in_model(column, &key.name, &key.facts));
    }
    let identity = match &model.matching {
        None => "NULL::text".to_owned(),
        Some(match_on) => {
            for column in match_on {
                let lacks = || {
                    unfit(
                        request,
                        format!(
                            "table {} has no column {}, which is in `match_on`",
                            snapshot.shown(),
                            column.name
                        ),
                        "`rowcast baseline` accepts the present rows with their match values",
                    )
                };
                snapshot.column(&column.name).ok_or_else(lacks)?;
            }
            matching::sql(match_on)
        }
    };
    let mut lacking = Vec::new();
    for column in &model.data {
        if shape.keys.iter().any(|key| key.name == column.name) {
            continue;
        }
        match snapshot.column(&column.name) {
            Some(old) => columns.push(as_in_model(old, &column.name, &column.facts)),
            None => lacking.push(column.name.as_str()),
        }
    }
    let comparable = lacking.is_empty();
    if !comparable && request.belief == Belief::Compare {
        notes.push(format!(
            "the snapshot lacks what the mapping reads ({}), so no row can be compared: the next run sends every present row",
            lacking.join(", ")
        ));
    }
    let failed = failures(
        client,
        request,
        shape,
        &all,
        &snapshot,
        log,
        &connection,
        &run,
    )
    .await?;
    tables.extend(failed.tables);
    notes.extend(failed.notes);

    let operation = format!("upper(s.{}::text)", ident(operation));
    let is_failed = format!("coalesce({}, false)", failed.condition);
    // A delete that failed is still there; an insert that failed never was.
    let there = format!(
        "CASE WHEN {operation} = 'DELETE' THEN {is_failed} WHEN {operation} = 'INSERT' THEN NOT {is_failed} ELSE true END"
    );
    let what = format!("reading {}", snapshot.shown());
    let never = number(
        client,
        &format!(
            "SELECT count(*) FROM {} s WHERE {operation} = 'INSERT' AND {is_failed}",
            snapshot.sql()
        ),
        &what,
    )
    .await?;
    if never > 0 {
        notes.push(format!(
            "{never} rows were new and failed: they are not taken over, the next run finds them added"
        ));
    }
    let keys: Vec<String> = shape
        .keys
        .iter()
        .enumerate()
        .map(|(i, key)| {
            let column = key
                .form
                .join_form(&format!("m.{}", ident(&key.name)), &key.facts);
            format!("{} AS k{}", key.form.stored_as_key(&column), i + 1)
        })
        .collect();
    let checksum = if comparable {
        plan.checksum_sql()
    } else {
        "NULL::bigint".to_owned()
    };
    let names = shape.names("y.");
    let complete: Vec<String> = (1..=shape.keys.len())
        .map(|i| format!("y.k{i} IS NOT NULL"))
        .collect();
    Ok(OldState {
        tables,
        query: format!(
            "SELECT {names}, true AS p, CASE WHEN count(*) = 1 THEN min(y.h) END AS h, \
             CASE WHEN count(*) = 1 THEN min(y.m) END AS m, bool_or(y.failed) AS failed FROM \
             (SELECT {keys}, {checksum} AS h, {identity} AS m, m.{failed} AS failed FROM \
             (SELECT {columns}, {is_failed} AS {failed} FROM {table} s WHERE {there}) m) y \
             WHERE {complete} GROUP BY {names}",
            keys = keys.join(", "),
            columns = columns.join(", "),
            table = snapshot.sql(),
            failed = ident("rowcast failed"),
            complete = complete.join(" AND "),
        ),
        comparable,
        left_out: never,
        notes,
    })
}

/// A column of the snapshot in the model's type and under its name, so that the checksum's forms
/// read it as they read the model.
fn as_in_model(column: &str, name: &str, facts: &TypeFacts) -> String {
    format!(
        "s.{}::{} AS {}",
        ident(column),
        quote_type(&facts.base),
        ident(name)
    )
}

/// The newest snapshot: the table that was made last. Gives it with its connection and run.
async fn newest(
    client: &Client,
    request: &AdoptRequest,
    all: &[Table],
    log: Option<&Table>,
) -> Result<(Table, String, String), Reason> {
    let mut found: Vec<(Table, String, String)> = all
        .iter()
        .filter_map(|table| {
            let (connection, run) = table.after(SNAPSHOT)?.rsplit_once('_')?;
            Some((table.clone(), connection.to_owned(), run.to_owned()))
        })
        .collect();
    if let Some(id) = &request.id {
        found.retain(|(_, connection, _)| connection.eq_ignore_ascii_case(id));
    }
    if let Some(run) = &request.run {
        found.retain(|(_, _, own)| own.eq_ignore_ascii_case(run));
    }
    let mut connections: Vec<String> = found
        .iter()
        .map(|(_, connection, _)| connection.to_lowercase())
        .collect();
    connections.sort();
    connections.dedup();
    match connections.len() {
        0 => {
            let cursor = all.iter().any(|table| table.after(CURSOR).is_some());
            return Err(missing(
                request,
                if cursor {
                    "there is no snapshot: a connection with a cursor column keeps a checkpoint only".to_owned()
                } else {
                    format!("no table {SNAPSHOT}… in schema {SCHEMA} is the one that is meant")
                },
            ));
        }
        1 => {}
        _ => {
            return Err(missing(
                request,
                format!(
                    "it holds several connections, and no `--id` says which: {}",
                    connections.join(", ")
                ),
            ));
        }
    }
    // In the order in which they were made.
    let (table, connection, run) = found
        .last()
        .cloned()
        .ok_or_else(|| Reason::defect("a snapshot is missing"))?;
    if found.len() > 1
        && let Some(later) = later_in_log(client, log, &found, &run).await?
    {
        return Err(missing(
            request,
            format!(
                "table {} was made last, but the log says that run {later} started after it",
                table.shown()
            ),
        )
        .hint("say which run's snapshot is the newest with `--run`"));
    }
    Ok((table, connection, run))
}

/// A run with a snapshot that the log knows to have started after this one.
async fn later_in_log(
    client: &Client,
    log: Option<&Table>,
    found: &[(Table, String, String)],
    run: &str,
) -> Result<Option<String>, Reason> {
    let Some(log) = log else { return Ok(None) };
    let (Some(id), Some(started)) = (log.column("sync_run_id"), log.column("sync_started_at"))
    else {
        return Ok(None);
    };
    let runs: Vec<String> = found
        .iter()
        .map(|(_, _, run)| literal(&run.to_lowercase()))
        .collect();
    let (id, started) = (format!("lower({}::text)", ident(id)), ident(started));
    let rows = client
        .query_typed(
            &format!(
                "SELECT {id} FROM {table} WHERE {id} IN ({}) GROUP BY 1 HAVING max({started}) > \
                 (SELECT max({started}) FROM {table} WHERE {id} = {}) ORDER BY max({started}) DESC LIMIT 1",
                runs.join(", "),
                literal(&run.to_lowercase()),
                table = log.sql(),
            ),
            &[],
        )
        .await
        .map_err(|error| db_error(&error, &format!("reading {}", log.shown())))?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Which rows of the snapshot `s` did not arrive.
struct Failures {
    condition: String,
    tables: Vec<String>,
    notes: Vec<String>,
}

#[expect(
    clippy::too_many_arguments,
    reason = "one step of `find`, split out to be read alone"
)]
async fn failures(
    client: &Client,
    request: &AdoptRequest,
    shape: &Shape,
    all: &[Table],
    snapshot: &Table,
    log: Option<&Table>,
    connection: &str,
    run: &str,
) -> Result<Failures, Reason> {
    let mut failures = Failures {
        condition: String::new(),
        tables: Vec::new(),
        notes: Vec::new(),
    };
    let mut conditions = Vec::new();
    let own = format!("{connection}_{run}");
    let keys = all.iter().find(|table| {
        table
            .after(FAILED)
            .is_some_and(|rest| rest.eq_ignore_ascii_case(&own))
    });
    let logged = log.and_then(|log| last_failures(shape, snapshot, log, connection));
    if let Some(keys) = keys {
        failures.tables.push(keys.shown());
        let shared = shared_columns(shape, snapshot, keys);
        if !shared.is_empty() {
            let side = |alias: &str, column: fn(&(String, String)) -> &String| {
                let texts: Vec<String> = shared
                    .iter()
                    .map(|pair| format!("{alias}.{}::text", ident(column(pair))))
                    .collect();
                texts.join(", ")
            };
            conditions.push(format!(
                "({}) IN (SELECT {} FROM {} f)",
                side("s", |pair| &pair.0),
                side("f", |pair| &pair.1),
                keys.sql()
            ));
        } else if request.belief == Belief::Compare && logged.is_none() {
            let rows = number(
                client,
                &format!("SELECT count(*) FROM {}", keys.sql()),
                &format!("reading {}", keys.shown()),
            )
            .await?;
            if rows > 0 {
                return Err(unfit(
                    request,
                    format!(
                        "{rows} rows failed, and nothing tells which: {} shares no column with {}",
                        keys.shown(),
                        snapshot.shown()
                    ),
                    "`--resend` takes every present row for one that must be sent again",
                ));
            }
        }
    }
    if let Some(logged) = logged {
        failures.tables.extend(log.map(Table::shown));
        conditions.push(logged);
    }
    if conditions.is_empty() && keys.is_none() {
        failures.notes.push(
            "there is neither a table of failed keys for this run nor a log: no row is known to have failed".to_owned(),
        );
    }
    failures.condition = if conditions.is_empty() {
        "false".to_owned()
    } else {
        conditions.join(" OR ")
    };
    failures.condition = format!("({})", failures.condition);
    Ok(failures)
}

/// Pairs of columns by which failed keys name rows of the snapshot: the primary key, the row's id in
/// the run, or every column that both have.
fn shared_columns(shape: &Shape, snapshot: &Table, keys: &Table) -> Vec<(String, String)> {
    let pair = |name: &str| {
        let (old, failed) = (snapshot.column(name)?, keys.column(name)?);
        Some((old.to_owned(), failed.to_owned()))
    };
    let own: Option<Vec<_>> = shape.keys.iter().map(|key| pair(&key.name)).collect();
    own.or_else(|| pair(ROW_ID).map(|pair| vec![pair]))
        .unwrap_or_else(|| {
            keys.columns
                .iter()
                .filter(|name| !NO_KEYS.iter().any(|no| name.eq_ignore_ascii_case(no)))
                .filter_map(|name| pair(name))
                .collect()
        })
}

/// Rows whose last entry in the log is a failure: those of this run, and of earlier ones that were
/// not tried again.
fn last_failures(shape: &Shape, snapshot: &Table, log: &Table, connection: &str) -> Option<String> {
    let [key] = &shape.keys[..] else { return None };
    let key = snapshot.column(&key.name)?;
    let column = |name| log.column(name).map(ident);
    let (of, status) = (column("connection_id")?, column("status")?);
    let (row, started) = (column("primary_key")?, column("sync_started_at")?);
    Some(format!(
        "s.{}::text IN (SELECT l.k FROM (SELECT DISTINCT ON ({row}) {row}::text AS k, lower({status}::text) AS outcome \
         FROM {} WHERE lower({of}::text) = {} ORDER BY {row}, {started} DESC) l WHERE l.outcome = 'failed' AND l.k IS NOT NULL)",
        ident(key),
        log.sql(),
        literal(&connection.to_lowercase()),
    ))
}
