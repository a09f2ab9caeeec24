//! `rowcast import`: another tool's configuration as project files.

use std::path::PathBuf;

use rowcast_app::Answer;
use rowcast_app::import::{From, Imported, Request};

use super::Context;
use crate::exit::Exit;
use crate::output::number::counted;

/// Writes the sources, models, destinations and syncs of Segment or RudderStack as project files,
/// and reports what was carried over, what differs and what was not carried over, with the reason.
/// No file is overwritten, and no secret is written: the report names the variables to set.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  terraform show -json > segment.json && rowcast import segment segment.json --dry-run\n  rowcast import rudder ./rudder --project imported"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    from: Tool,
}

#[derive(Debug, clap::Subcommand)]
enum Tool {
    /// From Terraform's JSON (state or plan), or answers of Segment's Public API
    #[command(after_help = "Example:\n  rowcast import segment segment.json --project imported")]
    Segment {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Shows what would be written
        #[arg(long)]
        dry_run: bool,
    },
    /// From a folder of Rudder CLI's YAML
    #[command(after_help = "Example:\n  rowcast import rudder ./rudder --project imported")]
    Rudder {
        dir: PathBuf,
        /// Shows what would be written
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) fn run(args: Args, context: &Context) -> Answer<Exit> {
    let (from, dry_run) = match args.from {
        Tool::Segment { files, dry_run } => (From::Segment(files), dry_run),
        Tool::Rudder { dir, dry_run } => (From::Rudder(dir), dry_run),
    };
    let imported = rowcast_app::import::import(&Request {
        from,
        project: context.global.project.clone(),
        dry_run,
    })?;
    context.output.answer(&imported, |_| told(&imported));
    Ok(Exit::Succeeded)
}

fn told(imported: &Imported) -> String {
    let mut out = String::new();
    if !imported.done {
        for file in &imported.files {
            out.push_str(&format!("# {}\n{}\n", file.path, file.text));
        }
    }
    out.push_str(&format!(
        "{} read: {} written, {} not carried over.\n",
        counted(imported.read, "object"),
        imported.written.len(),
        imported.not_carried.len()
    ));
    if !imported.written.is_empty() {
        out.push_str("\nWritten:\n");
        for object in &imported.written {
            out.push_str(&format!(
                "  {} {}: {}\n",
                object.kind,
                object.name,
                object.files.join(", ")
            ));
            for differs in &object.differs {
                out.push_str(&format!("    differs: {differs}\n"));
            }
        }
    }
    for added in &imported.added {
        out.push_str(&format!("  {}: {}\n", added.path, added.why));
    }
    if !imported.not_carried.is_empty() {
        out.push_str("\nNot carried over:\n");
        for object in &imported.not_carried {
            out.push_str(&format!(
                "  {} {}: {}\n",
                object.kind, object.name, object.reason
            ));
        }
    }
    if !imported.variables.is_empty() {
        out.push_str("\nSet these variables:\n");
        for variable in &imported.variables {
            out.push_str(&format!("  {}: {}\n", variable.name, variable.what));
        }
    }
    for note in &imported.notes {
        out.push_str(&format!("\nnote: {note}\n"));
    }
    out.push_str(&if imported.done {
        format!(
            "\nThe project is in {}. Next: rowcast validate, then rowcast check.",
            imported.dir
        )
    } else {
        "\nNothing was written; the same command without --dry-run writes.".to_owned()
    });
    out
}
