//! `rowcast init`: a small project that runs.

use std::path::PathBuf;

use rowcast_app::Answer;
use rowcast_app::init::InitRequest;

use super::Context;
use crate::exit::Exit;
use crate::output::{Mark, steps};

/// Writes a small, commented project: a source, a model, a destination that writes JSON lines to
/// out/, and a sync between them. With a database it looks up a table, its key and its columns, so
/// that the project runs as it is.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast init shop --url postgresql://rowcast@localhost/shop --table public.customers\n  DATABASE_URL=postgresql://… rowcast init"
)]
pub(crate) struct Args {
    /// The folder; made if need be, the working folder by default
    #[arg(default_value = ".", hide_default_value = true)]
    dir: PathBuf,
    /// The database; by default $DATABASE_URL. Kept in secrets/, which Git ignores
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The table or view to sync; by default the first table with a primary key
    #[arg(long, value_name = "S.T")]
    table: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let request = InitRequest {
        dir: args.dir,
        url: args.url,
        table: args.table,
    };
    let made = rowcast_app::init::init(&request).await?;
    context.output.answer(&made, |style| {
        let mut out = format!(
            "{} Project {} is in {}\n\n",
            style.mark(Mark::Passed),
            made.project,
            made.dir
        );
        let width = made
            .files
            .iter()
            .map(|file| file.path.len())
            .max()
            .unwrap_or(0);
        for file in &made.files {
            out.push_str(&format!("  {:<width$}  {}\n", file.path, file.what));
        }
        out.push_str(&format!("\n{}\n\nNext:\n", made.summary));
        out.push_str(&steps(
            made.next
                .iter()
                .map(|step| (step.command.as_str(), step.why.as_str())),
        ));
        out
    });
    Ok(Exit::Succeeded)
}
