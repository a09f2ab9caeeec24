//! `rowcast setup-sql`: the grants, in order.

use rowcast_app::Answer;
use rowcast_app::setup::{SetupRequest, Style};
use serde::Serialize;

use super::Context;
use crate::exit::Exit;

/// Prints the SQL that an administrator runs once so that Rowcast's role can read the models and
/// keep its state.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast setup-sql shop --style managed --table public.customers | psql …"
)]
pub(crate) struct Args {
    /// The source; may be left out when there is one
    source: Option<String>,
    /// managed: the administrator makes the state schema; owned: Rowcast makes it
    #[arg(long, value_enum, default_value = "managed")]
    style: StyleWord,
    /// The state schema; by default the source's
    #[arg(long, value_name = "S")]
    schema: Option<String>,
    /// A table to read; may be given several times
    #[arg(long, value_name = "S.T")]
    table: Vec<String>,
    /// Reads every table of the source's search path
    #[arg(long)]
    all_tables: bool,
    /// Reads tables that this role will create, too
    #[arg(long, value_name = "ROLE")]
    future_tables: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StyleWord {
    Managed,
    Owned,
}

#[derive(Serialize)]
struct Document {
    sql: String,
}

pub(crate) fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let request = SetupRequest {
        style: match args.style {
            StyleWord::Managed => Style::Managed,
            StyleWord::Owned => Style::Owned,
        },
        schema: args.schema,
        tables: args.table,
        all_tables: args.all_tables,
        future_tables: args.future_tables,
    };
    let sql = rowcast_app::setup::setup_sql(&project, args.source.as_deref(), &request)?;
    let document = Document { sql };
    context.output.answer(&document, |_| document.sql.clone());
    Ok(Exit::Succeeded)
}
