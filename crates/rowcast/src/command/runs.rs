//! `rowcast runs`: what ran, and how it ended.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::number::{duration, grouped, since};
use crate::output::table::{Align, table};

/// Lists the latest runs, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast runs customers_to_crm --limit 5")]
pub(crate) struct Args {
    /// Syncs; all without a name
    #[arg(value_name = "SYNC")]
    syncs: Vec<String>,
    /// Runs of each sync
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let found = rowcast_app::state::runs(&project, &args.syncs, args.limit).await?;
    context.output.answer(&found, |style| {
        let columns = [
            ("sync", Align::Left),
            ("run", Align::Right),
            ("status", Align::Left),
            ("started", Align::Left),
            ("took", Align::Right),
            ("read", Align::Right),
            ("added", Align::Right),
            ("updated", Align::Right),
            ("removed", Align::Right),
            ("delivered", Align::Right),
            ("rejected", Align::Right),
        ];
        let rows = found.iter().map(|run| {
            vec![
                run.sync.clone(),
                run.run.to_string(),
                run.status.clone(),
                since(&run.started_at),
                duration(run.duration_ms),
                grouped(run.read),
                grouped(run.added),
                grouped(run.updated),
                grouped(run.removed),
                grouped(run.delivered),
                grouped(run.rejected),
            ]
        });
        table(style, &columns, rows)
    });
    Ok(Exit::Succeeded)
}
