//! `rowcast plan`: what a run would send, without sending.

use std::path::PathBuf;

use rowcast_app::Answer;
use rowcast_app::plan::PlanRequest;

use super::Context;
use crate::exit::Exit;
use crate::output::plan::render;

/// Compares the model with what was delivered and shows what a run would send: counts, sample rows,
/// the requests, and guards that would hold it. Sends nothing and writes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast plan customers_to_crm --limit 10\n  rowcast plan --out plan.json && rowcast run --plan plan.json"
)]
pub(crate) struct Args {
    /// Syncs; all without a name
    #[arg(value_name = "SYNC")]
    syncs: Vec<String>,
    /// Looks at a run of only so many changes, removals aside
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Looks only at these primary keys: 1,2,3, or a JSON list for a key of several columns
    #[arg(long, value_name = "KEYS")]
    pub(crate) keys: Vec<String>,
    /// Writes a sealed plan that `run --plan` sends exactly, or refuses
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let request = PlanRequest {
        limit: args.limit,
        keys: args.keys,
    };
    show(
        &project,
        &args.syncs,
        &request,
        args.out.as_deref(),
        context,
    )
    .await
}

/// Plans the syncs and shows them; `run --dry-run` is the same.
pub(crate) async fn show(
    project: &rowcast_app::Project,
    syncs: &[String],
    request: &PlanRequest,
    out: Option<&std::path::Path>,
    context: &Context,
) -> Answer<Exit> {
    let mut views = Vec::new();
    for sync in project.selected(syncs)? {
        views.push(rowcast_app::plan::plan(project, &sync, request).await?);
    }
    if let Some(path) = out {
        rowcast_app::plan::write(project, &views, path)?;
        context
            .output
            .note(&format!("the sealed plan is in {}", path.display()));
    }
    context.output.answer(&views, |style| {
        let mut texts: Vec<String> = views.iter().map(|view| render(view, style)).collect();
        let sends = views.iter().any(|view| !view.operations.is_empty());
        let end = if sends {
            "Nothing was sent. `rowcast run` sends it.\n"
        } else {
            "Nothing was sent, and nothing would be.\n"
        };
        texts.push(end.to_owned());
        texts.join("\n")
    });
    let held = views.iter().any(|view| !view.guards.is_empty());
    Ok(if held { Exit::Held } else { Exit::Succeeded })
}
