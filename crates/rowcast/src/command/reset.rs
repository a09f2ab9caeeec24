//! `rowcast reset`: forget what was delivered.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::number::counted;

/// Forgets what was delivered: state, rejected rows and doubts. The next run sends every row, and
/// rows that left the model in the meantime stay at the destination.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast reset customers_to_crm --yes")]
pub(crate) struct Args {
    sync: String,
    /// Does it; without this, only says what would be done
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let done = rowcast_app::state::reset(&project, &args.sync, args.yes).await?;
    context.output.answer(&done, |_| {
        if done.done {
            format!(
                "State of {} is forgotten ({}); the next run sends every row.",
                done.sync,
                counted(done.rows, "row")
            )
        } else {
            format!(
                "Reset of {}: {} in state would be forgotten and sent again by the next run.\nDo it with `rowcast reset {} --yes`.",
                done.sync,
                counted(done.rows, "row"),
                done.sync
            )
        }
    });
    Ok(Exit::Succeeded)
}
