//! `rowcast validate`: every problem of the project at once.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::number::counted;
use crate::output::{Mark, Style};

/// Reads every file of the project and reports every problem at once, each with its line. Needs no
/// secrets, no database and no network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast validate --env prod")]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Answer<Exit> {
    let project = context.project_without_secrets()?;
    let found = rowcast_app::validate::summary(&project);
    context.output.answer(&found, |style: Style| {
        let counts = [
            (found.sources, "source"),
            (found.models, "model"),
            (found.destinations, "destination"),
            (found.syncs, "sync"),
            (found.tests, "test"),
        ];
        let counts: Vec<String> = counts
            .iter()
            .map(|(count, noun)| counted(*count, noun))
            .collect();
        format!(
            "{} project {} is valid: {}",
            style.mark(Mark::Passed),
            found.project,
            counts.join(", ")
        )
    });
    Ok(Exit::Succeeded)
}
