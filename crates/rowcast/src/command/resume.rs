//! `rowcast resume`: the end of a pause.

use rowcast_app::Answer;
use rowcast_app::state::set_paused;

use super::Context;
use crate::exit::Exit;

/// Ends a pause. The next run delivers what changed meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast resume customers_to_crm")]
pub(crate) struct Args {
    sync: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let done = set_paused(&project, &args.sync, false).await?;
    context.output.answer(&done, |_| {
        if done.in_file {
            format!(
                "{0} is still paused by `paused: true` in syncs/{0}.yml; take it out.",
                done.sync
            )
        } else {
            format!("{} runs again.", done.sync)
        }
    });
    Ok(Exit::Succeeded)
}
