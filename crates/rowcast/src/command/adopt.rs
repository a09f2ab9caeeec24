//! `rowcast adopt`: take over what another tool had delivered.

use rowcast_app::Answer;
use rowcast_app::adopt::{Adoption, OldTool, Request};

use super::Context;
use crate::exit::Exit;
use crate::output::number::{counted, grouped};

/// Takes over what Segment or RudderStack had delivered, from the tables that they keep in the
/// source, so that the first run does not send every row. Their tables are only read. RudderStack
/// kept values: rows that are as it delivered them are not sent. Segment kept ids, noted before
/// delivery: present rows are sent again unless you say --trust. Without --yes it only shows.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast adopt customers_to_crm --from rudder\n  rowcast adopt customers_to_crm --from segment --id 5zAbc --trust --yes"
)]
pub(crate) struct Args {
    sync: String,
    /// The tool whose state it is
    #[arg(long, value_enum)]
    from: Tool,
    /// Counts present rows as delivered as they are now
    #[arg(long, conflicts_with = "resend")]
    trust: bool,
    /// Sends all present rows once more
    #[arg(long)]
    resend: bool,
    /// The tool's id of the mapping or connection, where it has several here
    #[arg(long)]
    id: Option<String>,
    /// RudderStack's id of its newest run, where that can't be told
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// The tool's schema, where it is not the usual one
    #[arg(long)]
    schema: Option<String>,
    /// Only shows what would be done, as without --yes
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Does it
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tool {
    Segment,
    Rudder,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let request = Request {
        tool: match args.from {
            Tool::Segment => OldTool::Segment,
            Tool::Rudder => OldTool::Rudder,
        },
        trust: args.trust,
        resend: args.resend,
        id: args.id,
        run: args.run,
        schema: args.schema,
        confirmed: args.yes,
    };
    let adoption = rowcast_app::adopt::adopt(&project, &args.sync, &request).await?;
    context.output.answer(&adoption, |_| told(&adoption));
    Ok(Exit::Succeeded)
}

fn told(adoption: &Adoption) -> String {
    let found = &adoption.adopted;
    let mut lines = vec![
        format!("read from {}", found.tables.join(", ")),
        String::new(),
    ];
    let rows = [
        (found.old_rows, "in the old state"),
        (found.present, "of them in the model"),
        (found.trusted, "    count as delivered, not sent"),
        (found.to_send, "    to send again"),
        (
            found.gone,
            if adoption.gone_are == "deleted" {
                "gone from the model, to delete"
            } else {
                "gone from the model, left there (the mode does not delete)"
            },
        ),
        (found.left_out, "left out"),
        (found.new, "in the model only, to send as added"),
    ];
    let width = rows
        .iter()
        .map(|(number, _)| grouped(*number).len())
        .max()
        .unwrap_or(0);
    for (number, what) in rows {
        lines.push(format!("{:>width$}  {what}", grouped(number)));
    }
    lines.push(String::new());
    for note in &found.notes {
        lines.push(format!("note: {note}"));
    }
    lines.push(if adoption.done {
        format!(
            "State of {} is taken over ({}); nothing was sent. Look at `rowcast plan {}`.",
            adoption.sync,
            counted(found.present + found.gone, "row"),
            adoption.sync
        )
    } else {
        "Nothing was written. Do it with the same command and --yes.".to_owned()
    });
    lines.join("\n")
}
