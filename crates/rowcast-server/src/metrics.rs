//! Figures for Prometheus, in its text format. Names end in their unit, as Prometheus asks for.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use rowcast_app::health::{Activity, Health};
use rowcast_app::serve::LiveRun;
use rowcast_app::view::{RunSummary, SyncStatus};

use crate::App;
use crate::answer::Answered;

pub(crate) async fn metrics(State(app): State<App>) -> Answered {
    let status = app.service.status(&[]).await?;
    let live = app.service.live().runs();
    let mut text = text(&status, &live, app.service.problems().len());
    // Figures of alerts must not be in the way of the others.
    if let Ok(alerts) = app.service.alerts().await {
        crate::handlers::alerts::figures(&alerts, &mut text);
    }
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Labels and value of one line.
type Line = (String, String);

fn text(status: &[SyncStatus], live: &[LiveRun], problems: usize) -> String {
    let mut text = String::new();
    let mut figure = |name: &str, help: &str, lines: Vec<Line>| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (labels, value) in lines {
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    };
    let one = |value: usize| vec![(String::new(), value.to_string())];
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    figure(
        "rowcast_info",
        "This server.",
        vec![(version, "1".to_owned())],
    );
    figure(
        "rowcast_live_runs",
        "Runs that this server carries out.",
        one(live.len()),
    );
    figure(
        "rowcast_project_problems",
        "Problems of files that were changed; the project from before is served.",
        one(problems),
    );
    figure(
        "rowcast_sync_health",
        "1 for what the sync's last run left, 0 for what it did not.",
        words(status, "health", &Health::ALL.map(Health::as_str), |sync| {
            sync.health.as_str()
        }),
    );
    let activities = Activity::ALL.map(Activity::as_str);
    figure(
        "rowcast_sync_activity",
        "1 for what the sync does now, 0 for what it does not.",
        words(status, "activity", &activities, |sync| {
            sync.activity.as_str()
        }),
    );
    figure(
        "rowcast_sync_rows",
        "Rows that the sync keeps in step.",
        each(status, |sync| Some(sync.rows_in_state.to_string())),
    );
    figure(
        "rowcast_sync_rejected_rows",
        "Rows that the destination rejects.",
        each(status, |sync| Some(sync.rejects.to_string())),
    );
    figure(
        "rowcast_sync_next_run_timestamp_seconds",
        "When the sync is due next.",
        each(status, |sync| {
            let next = sync.due.next_runs.first()?;
            seconds(&next.at)
        }),
    );
    for (name, help, value) in LAST {
        figure(
            name,
            help,
            each(status, |sync| value(sync.last_run.as_ref()?)),
        );
    }
    text
}

/// A figure of the last run: its name, what it is, where it comes from.
type OfRun = (
    &'static str,
    &'static str,
    fn(&RunSummary) -> Option<String>,
);

const LAST: [OfRun; 9] = [
    (
        "rowcast_sync_last_run_timestamp_seconds",
        "When its last run began.",
        |run| seconds(&run.started_at),
    ),
    (
        "rowcast_sync_last_run_duration_seconds",
        "How long its last run took.",
        |run| Some(thousandths(run.duration_ms)),
    ),
    (
        "rowcast_sync_last_run_read_rows",
        "Rows of the model in its last run.",
        |run| Some(run.read.to_string()),
    ),
    (
        "rowcast_sync_last_run_changed_rows",
        "Rows added, updated and removed in its last run.",
        |run| Some((run.added + run.updated + run.removed).to_string()),
    ),
    (
        "rowcast_sync_last_run_delivered_rows",
        "Changes that the destination accepted in its last run.",
        |run| Some(run.delivered.to_string()),
    ),
    (
        "rowcast_sync_last_run_rejected_rows",
        "Changes rejected or invalid in its last run.",
        |run| Some((run.rejected + run.invalid).to_string()),
    ),
    (
        "rowcast_sync_last_run_pending_rows",
        "Changes that its last run left to the next.",
        |run| Some(run.pending.to_string()),
    ),
    (
        "rowcast_sync_last_run_database_seconds",
        "How long its last run waited for the database.",
        |run| Some(thousandths(run.cost.as_ref()?.database_ms)),
    ),
    (
        "rowcast_sync_last_run_database_read_rows",
        "Rows of model and state that its last run read.",
        |run| Some(run.cost.as_ref()?.rows_read.to_string()),
    ),
];

/// One line for each sync that has the figure.
fn each(status: &[SyncStatus], value: impl Fn(&SyncStatus) -> Option<String>) -> Vec<Line> {
    let line = |sync: &SyncStatus| {
        let labels = format!("{{sync=\"{}\"}}", escaped(&sync.sync));
        Some((labels, value(sync)?))
    };
    status.iter().filter_map(line).collect()
}

/// One line for each sync and each word, so that a change of words leaves no line behind.
fn words(
    status: &[SyncStatus],
    label: &str,
    all: &[&str],
    of: impl Fn(&SyncStatus) -> &'static str,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for sync in status {
        for word in all {
            let labels = format!("{{sync=\"{}\",{label}=\"{word}\"}}", escaped(&sync.sync));
            lines.push((labels, u8::from(*word == of(sync)).to_string()));
        }
    }
    lines
}

/// An instant as seconds since 1970.
fn seconds(instant: &str) -> Option<String> {
    rowcast_app::seconds_of(instant).map(|seconds| seconds.to_string())
}

fn thousandths(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

pub(crate) fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_help_and_labels_are_escaped() {
        let text = text(&[], &[LiveRun::default()], 0);
        assert!(text.contains("\nrowcast_live_runs 1\n"), "{text}");
        assert_eq!(
            text.matches("# HELP").count(),
            text.matches("# TYPE").count()
        );
        assert_eq!(escaped("a\"b\\c"), "a\\\"b\\\\c");
        assert_eq!(thousandths(12_034), "12.034");
    }
}
