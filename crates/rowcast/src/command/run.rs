//! `rowcast run`: deliver what changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use rowcast_app::plan::PlanRequest;
use rowcast_app::run::{RunRequest, Watch};
use rowcast_app::view::RunView;
use rowcast_app::{Answer, Observer};
use rowcast_core::RunStatus;
use rowcast_core::guard::Guard;
use rowcast_core::ledger::DiffCounts;

use super::{Context, plan};
use crate::exit::Exit;
use crate::output::Output;
use crate::output::progress::Progress;
use crate::output::report::report;

/// Delivers what was added, updated or removed since it was last acknowledged. Ends with a balance
/// in which every row is accounted for.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast run customers_to_crm --limit 10    # try a sync with ten rows\n  rowcast run                                # every sync of the project"
)]
pub(crate) struct Args {
    /// Syncs; all that are not paused without a name
    #[arg(value_name = "SYNC")]
    syncs: Vec<String>,
    /// Sends every row again
    #[arg(long)]
    full: bool,
    /// Only these primary keys: 1,2,3, or a JSON list for a key of several columns
    #[arg(long, value_name = "KEYS")]
    keys: Vec<String>,
    /// Sends only so many changes and ignores removals: the way to try a sync
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Shows what would be sent, as `plan` does
    #[arg(long, conflicts_with = "full")]
    dry_run: bool,
    /// Waits for another run of the same sync to end
    #[arg(long)]
    wait: bool,
    /// Ends with exit code 5 when rows were rejected or invalid
    #[arg(long)]
    fail_on_rejected: bool,
    /// Goes on although this guard would hold the run; recorded with it
    #[arg(long = "override", value_name = "GUARD", value_parser = guards())]
    overrides: Vec<Guard>,
    /// Sends exactly a sealed plan, or refuses because the source moved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["full", "keys", "limit", "dry_run"])]
    plan: Option<PathBuf>,
    /// Syncs that run at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
}

/// The guards by their names, which clap lists and corrects.
fn guards() -> impl TypedValueParser<Value = Guard> {
    PossibleValuesParser::new(Guard::ALL.map(Guard::as_str))
        .try_map(|word| Guard::parse(&word).ok_or_else(|| format!("{word} is no guard")))
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    if args.dry_run {
        let request = PlanRequest {
            limit: args.limit,
            keys: args.keys,
        };
        return plan::show(&project, &args.syncs, &request, None, context).await;
    }
    let request = RunRequest {
        full: args.full,
        keys: args.keys,
        limit: args.limit,
        wait: args.wait,
        overrides: args.overrides,
        sealed: args
            .plan
            .as_deref()
            .map(rowcast_app::plan::read)
            .transpose()?,
        trigger: "cli".to_owned(),
    };
    let output = context.output;
    let several = rowcast_app::run::run_all(
        &project,
        &args.syncs,
        &request,
        usize::from(args.jobs),
        &Watch {
            starts: &|sync| Watcher::new(output, sync).observer(),
            ended: &|ended| match ended {
                Ok(view) => output.answer_in_turn(view, report),
                Err(failure) => output.failure_in_turn(failure),
            },
        },
        &context.cancel,
    )
    .await?;
    for note in &several.notes {
        output.note(note);
    }
    if output.json {
        output.document(&several);
    }
    if context.cancel.is_cancelled() {
        return Ok(Exit::Interrupted);
    }
    Ok(Exit::worst(
        several
            .runs
            .iter()
            .map(|view| of_run(view, args.fail_on_rejected))
            .chain(several.failures().map(|failure| failure.exit().into())),
    ))
}

/// The exit code of one run.
fn of_run(view: &RunView, fail_on_rejected: bool) -> Exit {
    match view.ended {
        RunStatus::Held => Exit::Held,
        // Cancelled from elsewhere: this process was not interrupted.
        RunStatus::Cancelled => Exit::Interrupted,
        RunStatus::Failed | RunStatus::Running => match &view.failure {
            Some(problem) => problem.reason.code.exit().into(),
            None => Exit::Failed,
        },
        RunStatus::Succeeded | RunStatus::Partial => {
            if fail_on_rejected && view.rejected + view.invalid + view.invalid_keys > 0 {
                Exit::Rejected
            } else {
                Exit::Succeeded
            }
        }
    }
}

/// Turns what the engine tells into a progress bar or plain lines.
#[derive(Clone)]
pub(crate) struct Watcher(Arc<Mutex<Progress>>);

impl Watcher {
    pub(crate) fn new(output: Output, sync: &str) -> Self {
        Self(Arc::new(Mutex::new(Progress::start(output, sync))))
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.clone())
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.with(|progress| progress.end());
    }

    fn with(&self, act: impl FnOnce(&mut Progress)) {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Observer for Watcher {
    fn diffed(&self, counts: &DiffCounts) {
        let changes = counts.added + counts.updated + counts.removed + counts.retried;
        self.with(|progress| progress.total(changes));
    }

    fn progress(&self, now: &rowcast_app::Progress) {
        self.with(|progress| progress.settled(now));
    }

    fn retrying(&self, retrying: &rowcast_app::Retrying) {
        self.with(|progress| progress.retrying(retrying));
    }
}
