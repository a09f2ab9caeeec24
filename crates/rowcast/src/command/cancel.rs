//! `rowcast cancel`: stop a sync that runs somewhere.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;

/// Asks the process that runs a sync to stop. It finishes what is on its way, keeps what was
/// delivered, and ends within seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast cancel customers_to_crm")]
pub(crate) struct Args {
    sync: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let done = rowcast_app::state::cancel(&project, &args.sync).await?;
    context.output.answer(&done, |_| {
        if done.running {
            format!(
                "Run of {} was asked to stop; what it delivered is kept.",
                done.sync
            )
        } else {
            format!("{} is not running.", done.sync)
        }
    });
    Ok(Exit::Succeeded)
}
