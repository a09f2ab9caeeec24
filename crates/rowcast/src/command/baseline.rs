//! `rowcast baseline`: accept the present rows as sent.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::number::counted;

/// Records the model's present rows as delivered without sending them: for a destination that
/// already has them, or after a mapping edit that need not be sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast baseline customers_to_crm --yes")]
pub(crate) struct Args {
    sync: String,
    /// Does it; without this, only says what would be done
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let done = rowcast_app::state::baseline(&project, &args.sync, args.yes).await?;
    context.output.answer(&done, |_| {
        if done.done {
            format!(
                "The present rows of {} count as delivered, {} of them newly; nothing was sent.",
                done.sync,
                counted(done.rows, "row")
            )
        } else {
            format!(
                "Baseline of {}: the present {} would count as delivered without being sent, and rejected rows would be forgotten.\nDo it with `rowcast baseline {} --yes`.",
                done.sync,
                counted(done.rows, "row"),
                done.sync
            )
        }
    });
    Ok(Exit::Succeeded)
}
