//! `rowcast pause`: no run of a sync until it is resumed.

use rowcast_app::Answer;
use rowcast_app::state::set_paused;

use super::Context;
use crate::exit::Exit;

/// Stops a sync from running, on every machine, until `rowcast resume`. Nothing is lost: the next
/// run finds every change.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast pause customers_to_crm")]
pub(crate) struct Args {
    sync: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let done = set_paused(&project, &args.sync, true).await?;
    context.output.answer(&done, |_| {
        format!(
            "{0} is paused, wherever it runs. `rowcast resume {0}` ends it.",
            done.sync
        )
    });
    Ok(Exit::Succeeded)
}
