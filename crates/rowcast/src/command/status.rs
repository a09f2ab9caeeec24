//! `rowcast status`: how every sync stands.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::number::{grouped, since};
use crate::output::table::{Align, table};
use crate::output::{Mark, Style};

/// Shows each sync's health, its last run, the rows it keeps in step and those that were rejected.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast status")]
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
            ("rows in state", Align::Right),
            ("rejected", Align::Right),
        ];
        let rows = found.iter().map(|status| {
            let last = status.last_run.as_ref().map_or_else(
                || "never".to_owned(),
                |run| format!("{}, {}", run.status, since(&run.started_at)),
            );
            vec![
                format!("{} {}", mark(status.health, style), status.health),
                status.sync.clone(),
                format!("{} → {}", status.model, status.destination),
                if status.running {
                    "running now".to_owned()
                } else {
                    last
                },
                grouped(status.rows_in_state),
                grouped(status.rejects),
            ]
        });
        table(style, &columns, rows)
    });
    Ok(Exit::Succeeded)
}

fn mark(health: &str, style: Style) -> &'static str {
    style.plain_mark(match health {
        "healthy" => Mark::Healthy,
        "warning" => Mark::Warning,
        "failing" => Mark::Failing,
        "paused" => Mark::Paused,
        _ => Mark::New,
    })
}
