//! `rowcast runs`: what ran, and how it ended.

use rowcast_app::Answer;
use rowcast_app::view::RunSummary;

use super::Context;
use crate::exit::Exit;
use crate::output::Style;
use crate::output::number::{bytes, duration, grouped, since};
use crate::output::table::{Align, table};

/// Lists the latest runs, newest first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast runs customers_to_crm --limit 5\n  rowcast runs --cost        # how long each step took, and what it cost the database"
)]
pub(crate) struct Args {
    /// Syncs; all without a name
    #[arg(value_name = "SYNC")]
    syncs: Vec<String>,
    /// Runs of each sync
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Show the steps with their durations and what the run cost the database, in place of its counts
    #[arg(long)]
    cost: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let found = rowcast_app::state::runs(&project, &args.syncs, args.limit).await?;
    if args.cost {
        context.output.answer(&found, |style| costs(&found, style));
        return Ok(Exit::Succeeded);
    }
    context.output.answer(&found, |style| {
        let columns = [
            ("sync", Align::Left),
            ("run", Align::Right),
            ("status", Align::Left),
            ("started", Align::Left),
            ("took", Align::Right),
            ("read", Align::Right),
            ("added", Align::Right),
            ("updated", Align::Right),
            ("removed", Align::Right),
            ("delivered", Align::Right),
            ("rejected", Align::Right),
        ];
        let rows = found.iter().map(|run| {
            vec![
                run.sync.clone(),
                run.run.to_string(),
                run.status.clone(),
                since(&run.started_at),
                duration(run.duration_ms),
                grouped(run.read),
                grouped(run.added),
                grouped(run.updated),
                grouped(run.removed),
                grouped(run.delivered),
                grouped(run.rejected),
            ]
        });
        table(style, &columns, rows)
    });
    Ok(Exit::Succeeded)
}

/// The steps that have columns; what is not in a run took no time in it.
const STEPS: [&str; 5] = ["open", "diff", "guard", "deliver", "publish"];

fn costs(found: &[RunSummary], style: Style) -> String {
    let mut columns = vec![
        ("sync", Align::Left),
        ("run", Align::Right),
        ("status", Align::Left),
        ("took", Align::Right),
    ];
    columns.extend(STEPS.map(|step| (step, Align::Right)));
    columns.extend([
        ("in database", Align::Right),
        ("rows read", Align::Right),
        ("WAL", Align::Right),
    ]);
    let rows = found.iter().map(|run| {
        let mut cells = vec![
            run.sync.clone(),
            run.run.to_string(),
            run.status.clone(),
            duration(run.duration_ms),
        ];
        cells.extend(STEPS.map(|step| {
            let found = run.steps.iter().find(|found| found.step == step);
            found.map_or_else(String::new, |found| duration(found.duration_ms))
        }));
        match &run.cost {
            None => cells.extend([String::new(), String::new(), String::new()]),
            Some(cost) => cells.extend([
                duration(cost.database_ms),
                grouped(cost.rows_read),
                match (cost.wal_bytes, cost.wal_of.as_deref()) {
                    (Some(wal), Some("run")) => bytes(wal),
                    // The whole server's: the run wrote no more than that.
                    (Some(wal), _) => format!("≤ {}", bytes(wal)),
                    (None, _) => String::new(),
                },
            ]),
        }
        cells
    });
    let mut text = table(style, &columns, rows);
    let of_server = |run: &RunSummary| {
        let of = run.cost.as_ref().and_then(|cost| cost.wal_of.as_deref());
        of == Some("server")
    };
    if found.iter().any(of_server) {
        text.push_str(
            "\n≤: what the whole server wrote meanwhile; PostgreSQL 18 and later tell what the run wrote.\n",
        );
    }
    text
}
