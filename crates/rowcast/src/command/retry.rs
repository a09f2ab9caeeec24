//! `rowcast retry`: make rejected rows due again.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::number::counted;

/// Makes rejected rows due in the next run, with their newest values, however often they failed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast retry customers_to_crm && rowcast run customers_to_crm"
)]
pub(crate) struct Args {
    sync: String,
    /// Only these primary keys: 1,2,3, or a JSON list for a key of several columns
    #[arg(long, value_name = "KEYS")]
    keys: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let done = rowcast_app::state::retry(&project, &args.sync, &args.keys).await?;
    context.output.answer(&done, |_| {
        format!(
            "{} of {} will be tried again in the next run.",
            counted(done.rows, "rejected row"),
            done.sync
        )
    });
    Ok(Exit::Succeeded)
}
