//! `rowcast schema`: JSON Schema of the project's files, for editors.

use std::path::PathBuf;

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;

/// Prints the JSON Schema of the project's files, so that editors complete and check them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast schema sync > sync.schema.json\n  rowcast schema --out .schemas       # then: # yaml-language-server: $schema=../.schemas/sync.json"
)]
pub(crate) struct Args {
    /// project, source, model, destination, sync, environment, test, connector or fixture; all without a word
    kind: Option<String>,
    /// Writes one file for each kind into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Answer<Exit> {
    let schemas = rowcast_app::schema::schemas(args.kind.as_deref())?;
    match &args.out {
        Some(folder) => {
            for path in rowcast_app::schema::write(&schemas, folder)? {
                context.output.note(&format!("wrote {}", path.display()));
            }
        }
        None => match (schemas.len(), schemas.values().next()) {
            (1, Some(schema)) => context.output.document(schema),
            _ => context.output.document(&schemas),
        },
    }
    Ok(Exit::Succeeded)
}
