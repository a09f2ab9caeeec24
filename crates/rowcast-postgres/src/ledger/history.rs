//! The history row of a run: its report, written once at its end.

use rowcast_core::guard::Guard;
use rowcast_core::report::Cost;
use rowcast_core::{Reason, RunReport, json};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::Retention;
use super::shape::Shape;
use crate::connect::db_error;

/// A text column can't hold a null byte, and others' words may.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}

/// Writes a run's report into its history row, in the current transaction.
pub(super) async fn write_report(
    client: &Client,
    shape: &Shape,
    report: &RunReport,
    overrides: &[Guard],
    cost: Option<Cost>,
) -> Result<(), Reason> {
    let c = &report.counts;
    let counts: Vec<i64> = [
        c.read,
        c.unchanged,
        c.added,
        c.updated,
        c.removed,
        c.retried,
        c.retried_present,
        c.invalid_keys,
        report.delivered,
        report.skipped,
        report.invalid,
        report.rejected,
        report.held,
        report.pending,
        report.requests,
        report.retries,
        c.spool_bytes,
        c.state_rows,
    ]
    .iter()
    .map(|&count| i64::try_from(count).unwrap_or(i64::MAX))
    .collect();
    let failure = report
        .failure
        .as_ref()
        .or(report.guards.first().map(|held| &held.reason));
    let error: Vec<Option<String>> = vec![
        failure.map(|reason| reason.code.to_string()),
        failure.map(|reason| clean(&reason.message)),
        failure.and_then(|reason| reason.detail.as_deref().map(clean)),
        failure.and_then(|reason| reason.hint.as_deref().map(clean)),
    ];
    let guards: Vec<String> = report
        .guards
        .iter()
        .map(|held| held.guard.as_str().to_owned())
        .collect();
    let mut phases = String::from("[");
    for (i, (step, us)) in report.phases.iter().enumerate() {
        if i > 0 {
            phases.push(',');
        }
        phases.push_str("{\"step\":");
        json::push_string(&mut phases, step);
        phases.push_str(&format!(",\"duration_us\":{us}}}"));
    }
    phases.push(']');
    let overrides: Vec<String> = overrides
        .iter()
        .map(|guard| guard.as_str().to_owned())
        .collect();
    let notes: Vec<String> = report.notes.iter().map(|note| clean(note)).collect();
    let (status, reasons) = (report.status.as_str(), reasons_json(&report.reasons));
    let digest = format!("{:032x}", c.digest);
    let duration = report.duration_us as i64;
    let database = cost.map(|cost| cost.database_us as i64);
    let (wal, wal_of) = cost
        .and_then(|cost| cost.wal)
        .map(|(bytes, of)| (bytes as i64, of.as_str()))
        .unzip();
    let sql = format!(
        "UPDATE {} SET status = $2, finished_at = clock_timestamp(), duration_us = $3, \
         read = $4[1], unchanged = $4[2], added = $4[3], updated = $4[4], removed = $4[5], retried = $4[6], \
         retried_present = $4[7], invalid_keys = $4[8], delivered = $4[9], skipped = $4[10], invalid = $4[11], \
         rejected = $4[12], held = $4[13], pending = $4[14], requests = $4[15], retries = $4[16], spool_bytes = $4[17], \
         error_code = $5[1], error_message = $5[2], error_detail = $5[3], error_hint = $5[4], \
         reasons = $6::text::jsonb, guards = to_jsonb($7::text[]), overrides = $8, notes = $9, phases = $10::text::jsonb, \
         digest = $11, state_rows = $4[18], database_us = $12, wal_bytes = $13, wal_of = $14 WHERE run = $1",
        shape.shared("run_history")
    );
    client
        .query_typed(
            &sql,
            &[
                (&report.run, Type::INT8),
                (&status, Type::TEXT),
                (&duration, Type::INT8),
                (&counts, Type::INT8_ARRAY),
                (&error, Type::TEXT_ARRAY),
                (&reasons, Type::TEXT),
                (&guards, Type::TEXT_ARRAY),
                (&overrides, Type::TEXT_ARRAY),
                (&notes, Type::TEXT_ARRAY),
                (&phases, Type::TEXT),
                (&digest, Type::TEXT),
                (&database, Type::INT8),
                (&wal, Type::INT8),
                (&wal_of, Type::TEXT),
            ],
        )
        .await
        .map_err(|error| db_error(&error, "writing the run's report"))?;
    Ok(())
}

/// A JSON text of grouped reasons for the run's row.
pub(super) fn reasons_json(reasons: &std::collections::BTreeMap<(String, String), u64>) -> String {
    let mut out = String::from("[");
    for (i, ((code, message), count)) in reasons.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str("{\"code\":");
        json::push_string(&mut out, code);
        out.push_str(",\"message\":");
        json::push_string(&mut out, &message.replace('\0', ""));
        out.push_str(&format!(",\"count\":{count}}}"));
    }
    out.push(']');
    out
}

/// The guard on removals looks back a day, so runs are kept for longer than that.
const RUNS_KEPT_MIN_S: u64 = 2 * 24 * 3600;

/// Forgets old runs and rows. Best effort: what could not be forgotten is forgotten by a later run.
pub(super) async fn forget(client: &Client, shape: &Shape, retention: &Retention) {
    let runs = retention.runs.as_secs().max(RUNS_KEPT_MIN_S);
    let rows = retention.row_log.as_secs().min(runs);
    let (log, history) = (shape.shared("row_history"), shape.shared("run_history"));
    let sql = format!(
        "DELETE FROM {log} WHERE sync_id = {id} AND run IN (SELECT run FROM {history} WHERE sync_id = {id} \
         AND started_at < clock_timestamp() - interval '{rows} seconds'); \
         DELETE FROM {history} WHERE sync_id = {id} AND status <> 'running' \
         AND started_at < clock_timestamp() - interval '{runs} seconds'",
        id = shape.sync,
    );
    if let Err(error) = client.batch_execute(&sql).await {
        tracing::warn!(error = %error, "old runs and rows could not be forgotten");
    }
}
