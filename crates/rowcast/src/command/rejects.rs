//! `rowcast rejects`: rows that the destination refused.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::number::grouped;
use crate::output::table::{Align, table};

/// Lists rejected rows with the destination's own words, and when they are tried again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast rejects customers_to_crm")]
pub(crate) struct Args {
    sync: String,
    /// Rows to list
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let found = rowcast_app::state::rejects(&project, &args.sync, args.limit).await?;
    context.output.answer(&found, |style| {
        if found.is_empty() {
            return format!("No row of {} is rejected.", args.sync);
        }
        let columns = [
            ("key", Align::Left),
            ("operation", Align::Left),
            ("code", Align::Left),
            ("reason", Align::Left),
            ("since run", Align::Right),
            ("attempts", Align::Right),
        ];
        let rows = found.iter().map(|reject| {
            vec![
                reject.key.clone(),
                reject.operation.clone(),
                reject.code.clone(),
                super::preview::cell(&reject.message),
                reject.first_run.to_string(),
                grouped(reject.attempts.into()),
            ]
        });
        let mut out = table(style, &columns, rows);
        out.push_str(&format!(
            "\nThey are tried again with their newest values as `retry:` in the sync says; `rowcast retry {}` makes all due now.\n",
            args.sync
        ));
        out
    });
    Ok(Exit::Succeeded)
}
