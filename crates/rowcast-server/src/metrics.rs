//! Figures for Prometheus, in its text format.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use rowcast_app::view::SyncStatus;

use crate::App;
use crate::answer::Answered;

pub(crate) async fn metrics(State(app): State<App>) -> Answered {
    let project = app.service.project();
    let status = rowcast_app::state::status(&project, &[]).await?;
    let live = app.service.live().runs().len();
    let text = text(&status, live, app.service.problems().len());
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn text(status: &[SyncStatus], live: usize, problems: usize) -> String {
    let mut text = String::new();
    let mut figure = |name: &str, help: &str, values: Vec<(String, String)>| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (labels, value) in values {
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    };
    let one = |value: usize| vec![(String::new(), value.to_string())];
    figure(
        "rowcast_live_runs",
        "Runs that this server carries out.",
        one(live),
    );
    figure(
        "rowcast_project_problems",
        "Problems of files that were changed; the project from before is served.",
        one(problems),
    );
    let each = |value: &dyn Fn(&SyncStatus) -> Option<u64>| {
        status
            .iter()
            .filter_map(|sync| {
                let label = format!("{{sync=\"{}\"}}", escaped(&sync.sync));
                Some((label, value(sync)?.to_string()))
            })
            .collect()
    };
    figure(
        "rowcast_sync_running",
        "Whether the sync is running, anywhere.",
        each(&|sync| Some(sync.running.into())),
    );
    figure(
        "rowcast_sync_rows",
        "Rows that the sync keeps in step.",
        each(&|sync| Some(sync.rows_in_state)),
    );
    figure(
        "rowcast_sync_rejects",
        "Rows that the destination rejected.",
        each(&|sync| Some(sync.rejects)),
    );
    let health = |sync: &SyncStatus| {
        let labels = format!(
            "{{sync=\"{}\",health=\"{}\"}}",
            escaped(&sync.sync),
            sync.health
        );
        (labels, "1".to_owned())
    };
    figure(
        "rowcast_sync_health",
        "One word for the sync: healthy, warning, failing, paused, new.",
        status.iter().map(health).collect(),
    );
    figure(
        "rowcast_sync_last_run_seconds",
        "How long its last run took.",
        each(&|sync| sync.last_run.as_ref().map(|run| run.duration_ms / 1_000)),
    );
    figure(
        "rowcast_sync_last_run_age_seconds",
        "How long ago its last run began.",
        each(&|sync| rowcast_app::seconds_since(&sync.last_run.as_ref()?.started_at)),
    );
    text
}

fn escaped(label: &str) -> String {
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
        let text = text(&[], 2, 0);
        assert!(text.contains("\nrowcast_live_runs 2\n"), "{text}");
        assert_eq!(
            text.matches("# HELP").count(),
            text.matches("# TYPE").count()
        );
        assert_eq!(escaped("a\"b\\c"), "a\\\"b\\\\c");
    }
}
