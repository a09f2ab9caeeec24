//! `rowcast map`: JSON lines in, records out.

use std::io::BufRead as _;
use std::path::PathBuf;

use rowcast_app::map::Map;
use rowcast_app::{Answer, Failure};
use rowcast_core::{Code, Reason};

use super::Context;
use crate::exit::Exit;

/// Maps rows, one JSON object a line on stdin, to records, one a line on stdout. A row that can't be
/// mapped gives {"error": "…"} on its line. An invalid mapping ends with exit code 2 before any row.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast map --sync customers_to_crm < rows.jsonl\n  echo '{\"email\":\"ADA@EXAMPLE.COM\"}' | rowcast map --mapping mapping.json"
)]
pub(crate) struct Args {
    /// Uses the fields of this sync
    #[arg(long, value_name = "NAME", conflicts_with = "mapping")]
    sync: Option<String>,
    /// Uses the fields in this JSON file
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Only rows that pass this Segment trigger
    #[arg(long, value_name = "FQL")]
    trigger: Option<String>,
    /// The mapping's language
    #[arg(long, value_enum, default_value = "rowcast")]
    dialect: Dialect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Dialect {
    Rowcast,
    Segment,
}

pub(crate) fn run(args: &Args, context: &Context) -> Answer<Exit> {
    if args.dialect == Dialect::Segment || args.trigger.is_some() {
        return Err(Failure::from(
            Reason::new(
                Code::Usage,
                "can't map rows with Segment's mapping language",
            )
            .detail("this version reads Rowcast's own `fields:` only")
            .hint("leave out --dialect segment and --trigger"),
        ));
    }
    let map = match (&args.sync, &args.mapping) {
        (Some(sync), _) => Map::of_sync(&context.project_without_secrets()?, sync)?,
        (None, Some(path)) => Map::of_file(path)?,
        (None, None) => Map::identity(),
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| {
            Reason::new(Code::Usage, "can't read rows from stdin").detail(error.to_string())
        })?;
        if !line.trim().is_empty() && !context.output.json(&map.line(&line)) {
            break;
        }
    }
    Ok(Exit::Succeeded)
}
