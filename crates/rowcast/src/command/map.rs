//! `rowcast map`: JSON lines in, records out.

use std::io::BufRead as _;
use std::path::PathBuf;

use rowcast_app::Answer;
use rowcast_app::map::Map;
use rowcast_core::{Code, Reason};

use super::Context;
use crate::exit::Exit;

/// Maps rows, one JSON object a line on stdin, to records, one a line on stdout. A row that can't be
/// mapped gives {"error": "…"} on its line; a row that the trigger does not pass gives none. Without a
/// mapping, rows are printed as they are. An invalid mapping or trigger ends with exit code 2 before
/// any row.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast map --sync customers_to_crm < rows.jsonl\n  echo '{\"email\":\"ADA@EXAMPLE.COM\"}' | rowcast map --mapping mapping.json\n  rowcast map --dialect segment --mapping mapping.json --trigger 'event = \"new\"' < events.jsonl"
)]
pub(crate) struct Args {
    /// Uses the fields of this sync
    #[arg(long, value_name = "NAME", conflicts_with_all = ["mapping", "dialect"])]
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
    /// Reads the mapping and the trigger, reports everything that is wrong, and no rows
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Dialect {
    Rowcast,
    Segment,
}

pub(crate) fn run(args: &Args, context: &Context) -> Answer<Exit> {
    let mut map = match (&args.sync, &args.mapping, args.dialect) {
        (Some(sync), ..) => Map::of_sync(&context.project_without_secrets()?, sync)?,
        (None, Some(path), Dialect::Rowcast) => Map::of_file(path)?,
        (None, Some(path), Dialect::Segment) => Map::of_segment_file(path)?,
        (None, None, _) => Map::identity(),
    };
    if let Some(trigger) = &args.trigger {
        map = map.with_trigger(trigger)?;
    }
    if args.check {
        context.output.note("valid");
        return Ok(Exit::Succeeded);
    }
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| {
            Reason::new(Code::Usage, "can't read rows from stdin").detail(error.to_string())
        })?;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(mapped) = map.line(&line)
            && !context.output.json(&mapped)
        {
            break;
        }
    }
    Ok(Exit::Succeeded)
}
