//! `rowcast connectors`: what there is, a new one, the proof of one, one record for real.

mod custom;

use std::time::Duration;

use clap::Subcommand;
use rowcast_app::Answer;
use rowcast_app::connectors::{self, ExamineRequest, TryRequest};
use rowcast_core::settings::parse_duration;
use rowcast_core::{Operation, Reason};

use super::Context;
use crate::exit::Exit;
use crate::output::table::{Align, table};
use crate::output::{Mark, Role};

/// Lists connectors and shows one, writes a new one for a service of your own, runs fixtures, and
/// sends one record to a destination.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast connectors list\n  rowcast connectors new in_house && rowcast connectors test in_house"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists all connectors, the project's own included
    #[command(after_help = "Example:\n  rowcast connectors list")]
    List,
    /// Shows the settings, objects, fields and limits of one
    #[command(
        after_help = "Example:\n  rowcast connectors show hubspot\n  rowcast connectors show hubspot --manifest"
    )]
    Show {
        /// The connector
        name: String,
        /// Prints its manifest in place of its page
        #[arg(long)]
        manifest: bool,
    },
    /// Installs the program that runs Segment's destinations; needs Node and npm
    #[command(after_help = "Example:\n  rowcast connectors install segment")]
    Install {
        /// What to install
        #[arg(value_parser = ["segment"])]
        what: String,
    },
    /// Asks a service of Segment's catalogue which values a field can take
    #[command(
        after_help = "Example:\n  rowcast connectors choices crm --object upsertObject object_details.object_type"
    )]
    Choices {
        /// The destination
        destination: String,
        /// The field; members of objects after a dot
        field: String,
        /// The object
        #[arg(long, value_name = "NAME", default_value = "")]
        object: String,
        /// Other fields as JSON, where the choice depends on them
        #[arg(long, value_name = "JSON", default_value = "{}")]
        fields: String,
    },
    /// Writes a manifest and its fixtures into the project's connectors/
    #[command(after_help = "Example:\n  rowcast connectors new in_house")]
    New {
        /// Lower case letters, digits and _
        name: String,
    },
    /// Tests connectors: manifests by their fixtures, custom connectors by calling them
    ///
    /// A manifest's fixtures run against a server on this machine; nothing leaves it. A custom connector
    /// (a URL, a destination of the project, or a command after --) is called with every method of the
    /// protocol; made-up records are written to it, and deleted where it can delete.
    #[command(
        after_help = "Example:\n  rowcast connectors test in_house\n  rowcast connectors test http://localhost:8000/\n  rowcast connectors test --read-only -- python3 connector.py --stdio"
    )]
    Test {
        /// Connectors or files of manifests, all without a word; or one URL or destination
        names: Vec<String>,
        /// The object that made-up records are written to; the first one listed
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
        /// Writes nothing to a custom connector
        #[arg(long)]
        read_only: bool,
        /// How long each answer of a custom connector may take
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        timeout: Option<Duration>,
        /// Shows what was sent and what came back for every check, not for failed ones alone
        #[arg(long)]
        exchanges: bool,
        /// The program of a custom connector
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Sends one record to a destination of the project, without any state
    #[command(
        after_help = "Example:\n  rowcast connectors try crm --object contacts --match email=ada@example.com --field firstname=Ada --dry-run"
    )]
    Try {
        /// The destination
        destination: String,
        /// The object
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
        /// insert, update, upsert or delete
        #[arg(long, value_name = "WORD", default_value = "upsert", value_parser = operation)]
        operation: Operation,
        /// What the record is found by: NAME=VALUE
        #[arg(long = "match", value_name = "NAME=VALUE")]
        matching: Vec<String>,
        /// A field; a value that is JSON is taken as such
        #[arg(long = "field", value_name = "NAME=VALUE")]
        fields: Vec<String>,
        /// Prints the requests and sends nothing
        #[arg(long)]
        dry_run: bool,
    },
}

fn operation(word: &str) -> Result<Operation, String> {
    Operation::ALL
        .into_iter()
        .find(|operation| operation.as_str() == word)
        .ok_or_else(|| "write insert, update, upsert or delete".to_owned())
}

fn duration(word: &str) -> Result<Duration, String> {
    parse_duration(word).ok_or_else(|| "write a duration such as 30s or 10m".to_owned())
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    match args.what {
        What::List => list(context),
        What::Show { name, manifest } => show(context, &name, manifest),
        What::Install { .. } => install(context).await,
        What::Choices {
            destination,
            field,
            object,
            fields,
        } => choices(context, &destination, &object, &field, &fields).await,
        What::New { name } => new(context, &name),
        What::Test {
            names,
            object,
            read_only,
            timeout,
            exchanges,
            command,
        } => {
            let request = ExamineRequest {
                object,
                read_only,
                timeout,
            };
            match custom::subject(context, &names, command)? {
                Some(subject) => custom::examine(context, &subject, &request, exchanges).await,
                None => test(context, &names).await,
            }
        }
        What::Try {
            destination,
            object,
            operation,
            matching,
            fields,
            dry_run,
        } => {
            let request = TryRequest {
                destination,
                object,
                operation,
                matching,
                fields,
                dry_run,
            };
            try_record(context, &request).await
        }
    }
}

fn list(context: &Context) -> Answer<Exit> {
    let project = context.project_if_any()?;
    let rows = connectors::list(project.as_ref());
    context.output.answer(&rows, |style| {
        let columns = [
            ("connector", Align::Left),
            ("kind", Align::Left),
            ("status", Align::Left),
            ("objects", Align::Left),
            ("operations", Align::Left),
        ];
        let cells = rows.iter().map(|row| {
            vec![
                row.name.clone(),
                row.kind.clone(),
                row.status.clone(),
                objects(&row.objects),
                row.operations.join(", "),
            ]
        });
        table(style, &columns, cells)
    });
    Ok(Exit::Succeeded)
}

/// Most names of objects on one line.
const OBJECTS_MAX: usize = 4;

fn objects(names: &[String]) -> String {
    match names.get(..OBJECTS_MAX) {
        Some(first) if names.len() > OBJECTS_MAX => {
            format!(
                "{} and {} more",
                first.join(", "),
                names.len() - OBJECTS_MAX
            )
        }
        _ => names.join(", "),
    }
}

async fn install(context: &Context) -> Answer<Exit> {
    let installed = tokio::task::spawn_blocking(connectors::install).await;
    let installed =
        installed.unwrap_or_else(|_| Err(Reason::defect("the installation ended early").into()))?;
    context.output.answer(&installed, |style| {
        let what = if installed.changed {
            "installed"
        } else {
            "is installed already"
        };
        format!(
            "{} {} {what} in {}\n",
            style.mark(Mark::Passed),
            installed.package,
            installed.folder
        )
    });
    Ok(Exit::Succeeded)
}

async fn choices(
    context: &Context,
    destination: &str,
    object: &str,
    field: &str,
    fields: &str,
) -> Answer<Exit> {
    let project = context.project()?;
    let found = connectors::choices(&project, destination, object, field, fields).await?;
    context.output.answer(&found, |style| {
        let columns = [("value", Align::Left), ("label", Align::Left)];
        let cells = found
            .iter()
            .map(|choice| vec![choice.value.clone(), choice.label.clone()]);
        table(style, &columns, cells)
    });
    Ok(Exit::Succeeded)
}

fn show(context: &Context, name: &str, manifest: bool) -> Answer<Exit> {
    let view = match (context.project_if_any(), connectors::show(None, name)) {
        (Ok(project), _) => connectors::show(project.as_ref(), name)?,
        // Who has a mistake in a project looks here for how it should be.
        (Err(_), Ok(view)) => view,
        (Err(failure), Err(_)) => return Err(failure),
    };
    context
        .output
        .answer(&view, |_| match (&view.manifest, manifest) {
            (Some(text), true) => text.clone(),
            _ => view.page.clone(),
        });
    Ok(Exit::Succeeded)
}

fn new(context: &Context, name: &str) -> Answer<Exit> {
    let project = context.project_without_secrets()?;
    let made = connectors::make(&project, name)?;
    context.output.answer(&made, |style| {
        let mut out = String::new();
        for file in &made.files {
            out.push_str(&format!("{} {file}\n", style.mark(Mark::Passed)));
        }
        out.push_str(&format!(
            "\nChange them into your service's, then: rowcast connectors test {}\n",
            made.name
        ));
        out
    });
    Ok(Exit::Succeeded)
}

async fn test(context: &Context, names: &[String]) -> Answer<Exit> {
    let project = context.project_if_any()?;
    let results = connectors::test(project.as_ref(), names).await?;
    let failed = results.iter().filter(|result| !result.passed).count();
    context.output.answer(&results, |style| {
        let mut out = String::new();
        let mut connector = "";
        for result in &results {
            if connector != result.connector {
                connector = &result.connector;
                out.push_str(&format!("{}\n", style.paint(Role::Strong, connector)));
            }
            let mark = if result.passed {
                Mark::Passed
            } else {
                Mark::Failed
            };
            out.push_str(&format!("  {} {}\n", style.mark(mark), result.why));
            for wrong in &result.wrong {
                out.push_str(&format!("      {}: {wrong}\n", result.fixture));
            }
        }
        out.push_str(&format!(
            "\n{} of {} passed\n",
            results.len() - failed,
            results.len()
        ));
        out
    });
    Ok(if failed == 0 {
        Exit::Succeeded
    } else {
        Exit::Failed
    })
}

async fn try_record(context: &Context, request: &TryRequest) -> Answer<Exit> {
    let project = if request.dry_run {
        context.project_without_secrets()?
    } else {
        context.project()?
    };
    let view = connectors::try_record(&project, request).await?;
    context.output.answer(&view, |style| {
        let mut out = String::new();
        for request in &view.requests {
            out.push_str(&format!("{request}\n"));
        }
        let mark = match view.outcome.as_str() {
            "delivered" | "accepted" => Mark::Passed,
            "not sent" => Mark::Skipped,
            _ => Mark::Failed,
        };
        out.push_str(&format!("{} {}\n", style.mark(mark), view.outcome));
        if let Some(error) = &view.error {
            out.push_str(&format!("  {}\n", error.reason));
            if let Some(hint) = &error.reason.hint {
                out.push_str(&format!("  hint: {hint}\n"));
            }
        }
        out
    });
    Ok(match view.outcome.as_str() {
        "delivered" | "accepted" | "not sent" => Exit::Succeeded,
        _ => Exit::Failed,
    })
}
