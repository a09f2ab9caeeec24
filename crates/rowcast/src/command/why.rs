//! `rowcast why`: the story of one row.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::Role;
use crate::output::table::{Align, table};

/// Tells when a row was seen, what was sent, what the destination answered, or why it was not sent.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast why customers_to_crm 42")]
pub(crate) struct Args {
    sync: String,
    /// The primary key; one value for each of its columns
    #[arg(required = true, allow_negative_numbers = true)]
    key: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let story = rowcast_app::why::why(&project, &args.sync, &args.key).await?;
    context.output.answer(&story, |style| {
        let mut out = format!("{}\n", style.paint(Role::Strong, &story.verdict));
        for fact in &story.facts {
            out.push_str(&format!("  {fact}\n"));
        }
        if !story.log.is_empty() {
            out.push('\n');
            let columns = [
                ("run", Align::Right),
                ("at", Align::Left),
                ("operation", Align::Left),
                ("outcome", Align::Left),
                ("answer", Align::Left),
            ];
            let rows = story.log.iter().map(|entry| {
                vec![
                    entry.run.to_string(),
                    entry.at.clone(),
                    entry.operation.clone(),
                    entry.outcome.clone(),
                    entry.answer.clone(),
                ]
            });
            out.push_str(&table(style, &columns, rows));
        }
        out
    });
    Ok(Exit::Succeeded)
}
