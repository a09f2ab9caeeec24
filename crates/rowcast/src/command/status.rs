//! `rowcast status`: how every sync stands, and when it is due.

use rowcast_app::Answer;
use rowcast_app::health::{Activity, Health};
use rowcast_app::view::SyncStatus;

use super::Context;
use crate::exit::Exit;
use crate::output::number::{grouped, since, until};
use crate::output::table::{Align, table};
use crate::output::{Mark, Style};

/// Shows each sync's health, its last run, when it is due next, the rows it keeps in step and those
/// that were rejected. With names, also the next five times of each.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast status\n  rowcast status customers_to_crm     # with the next five times by its schedule"
)]
pub(crate) struct Args {
    /// Syncs; all without a name
    #[arg(value_name = "SYNC")]
    syncs: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let found = rowcast_app::state::status(&project, &args.syncs).await?;
    context.output.answer(&found, |style| {
        let columns = [
            ("", Align::Left),
            ("sync", Align::Left),
            ("model → destination", Align::Left),
            ("last run", Align::Left),
            ("next run", Align::Left),
            ("rows in state", Align::Right),
            ("rejected", Align::Right),
        ];
        let rows = found.iter().map(|status| {
            let last = status.last_run.as_ref().map_or_else(
                || "never".to_owned(),
                |run| format!("{}, {}", run.status, since(&run.started_at)),
            );
            vec![
                format!("{} {}", mark(status, style), word(status)),
                status.sync.clone(),
                format!("{} → {}", status.model, status.destination),
                if status.running {
                    "running now".to_owned()
                } else {
                    last
                },
                next(status),
                grouped(status.rows_in_state),
                grouped(status.rejects),
            ]
        });
        let mut text = table(style, &columns, rows);
        if !args.syncs.is_empty() {
            for status in &found {
                text.push_str(&times(status));
            }
        }
        text
    });
    Ok(Exit::Succeeded)
}

/// What the sync waits for, in a few words.
fn next(status: &SyncStatus) -> String {
    let due = &status.due;
    let clock = due.next_runs.first().map(|next| until(&next.at));
    let after = (!due.after.is_empty()).then(|| format!("after {}", due.after.join(", ")));
    let jobs =
        (!due.dbt_jobs.is_empty()).then(|| format!("after dbt job {}", due.dbt_jobs.join(", ")));
    let all: Vec<String> = [clock, after, jobs].into_iter().flatten().collect();
    if all.is_empty() {
        "by hand".to_owned()
    } else {
        all.join("; ")
    }
}

/// The next times of a sync by the clock, one a line.
fn times(status: &SyncStatus) -> String {
    if status.due.next_runs.is_empty() {
        return String::new();
    }
    let mut text = format!("\nnext runs of {} by its schedule:\n", status.sync);
    for next in &status.due.next_runs {
        text.push_str("  ");
        text.push_str(&next.local);
        if let Some(note) = &next.note {
            text.push_str(&format!("  ({note})"));
        }
        text.push('\n');
    }
    text
}

/// Its health, and what it does now if that is anything.
fn word(status: &SyncStatus) -> String {
    let health = status.health.as_str();
    match status.activity {
        Activity::Pending => health.to_owned(),
        activity => format!("{health}, {}", activity.as_str()),
    }
}

fn mark(status: &SyncStatus, style: Style) -> &'static str {
    style.plain_mark(match status.health {
        _ if status.activity == Activity::Paused => Mark::Paused,
        Health::Healthy => Mark::Healthy,
        Health::Incomplete | Health::Delayed => Mark::Warning,
        Health::Failed => Mark::Failing,
        Health::Pending => Mark::New,
    })
}
