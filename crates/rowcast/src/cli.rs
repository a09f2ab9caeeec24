//! The command line: global options and the list of commands. Each command's own arguments live in
//! its file under `command/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command;
use crate::output::ColorChoice;

/// Delivers the rows of PostgreSQL models to business tools, APIs, databases and files, and only
/// those that changed since they were last acknowledged.
#[derive(Debug, Parser)]
#[command(
    name = "rowcast",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = FIRST_STEPS,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  rowcast demo                                            see it work, with nothing prepared
  rowcast init shop --url postgresql://… --table customers
  cd shop && rowcast check && rowcast plan && rowcast run

Exit codes: 0 succeeded, 1 failed, 2 invalid usage or configuration, 3 cannot connect,
4 held by a guard, 5 rejected or invalid rows (with --fail-on-rejected), 130 interrupted.";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Prints one JSON document on stdout instead of text, errors included
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// The project's folder; by default the nearest one upwards that has a rowcast.yml
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(crate) project: Option<PathBuf>,
    /// The environment, from environments/NAME.yml
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "ROWCAST_ENV",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) env: Option<String>,
    /// When to colour the output
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Global options"
    )]
    pub(crate) color: ColorChoice,
    /// How the log on stderr looks: lines for people, or one JSON object a line
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true,
        env = "ROWCAST_LOG_FORMAT",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) log_format: LogFormat,
    /// Says more on stderr; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    // For people.
    Text,
    // One object a line, for programs that collect logs.
    Json,
}

/// The commands, in the order of a first day.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows Rowcast at work on a throwaway database, with nothing prepared
    Demo(command::demo::Args),
    /// Writes a small project that runs
    Init(command::init::Args),
    /// Writes project files from what Segment or RudderStack were configured with
    Import(command::import::Args),
    /// Reads the whole project and reports every problem at once
    Validate(command::validate::Args),
    /// Checks connections and privileges, each with its cure
    Check(command::check::Args),
    /// Lists schemas, tables and columns of a source
    Tables(command::tables::Args),
    /// Prints the SQL that gives Rowcast's role what it needs
    SetupSql(command::setup_sql::Args),
    /// Shows the first rows of a model, its types and whether its key is unique
    Preview(command::preview::Args),
    /// Proposes columns for the fields of a sync's object
    Suggest(command::suggest::Args),
    /// Shows what a run would send, without sending
    Plan(command::plan::Args),
    /// Delivers what changed
    Run(command::run::Args),
    /// Stops a running sync; what was delivered is kept
    Cancel(command::cancel::Args),
    /// Shows how every sync stands
    Status(command::status::Args),
    /// Lists runs
    Runs(command::runs::Args),
    /// Lists rows that the destination rejected, with its own words
    Rejects(command::rejects::Args),
    /// Makes rejected rows due in the next run
    Retry(command::retry::Args),
    /// Accepts the present rows as sent, without sending
    Baseline(command::baseline::Args),
    /// Takes over what Segment or RudderStack had delivered
    Adopt(command::adopt::Args),
    /// Forgets what was delivered; the next run sends every row
    Reset(command::reset::Args),
    /// Stops a sync from running until it is resumed
    Pause(command::pause::Args),
    /// Lets a paused sync run again
    Resume(command::resume::Args),
    /// Keeps the project's schedules, as a service
    Serve(command::serve::Args),
    /// Shows open alerts, mutes syncs, tries channels
    Alerts(command::alerts::Args),
    /// Tells the story of one row
    Why(command::why::Args),
    /// Runs the project's tests: given rows, expected records
    Test(command::test::Args),
    /// Maps JSON lines from stdin to records on stdout
    Map(command::map::Args),
    /// Lists connectors, writes a new one, proves it, sends one record
    Connectors(command::connectors::Args),
    /// Prints the JSON Schema of the project's files, for editors
    Schema(command::schema::Args),
    /// Explains an error code
    Explain(command::explain::Args),
    /// Writes the generated reference pages
    #[command(hide = true)]
    DocsReference(command::docs_reference::Args),
}
