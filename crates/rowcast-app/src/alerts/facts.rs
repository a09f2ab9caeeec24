//! From the history of a sync, and ends of its jobs, to what alerts look at.

use rowcast_config::{Refresh, Sync};
use rowcast_core::RunStatus;
use rowcast_core::alert::{Counts, Ended, Event, RUNS_MAX, Rules, Watch};
use rowcast_postgres::control::EndedJob;
use rowcast_postgres::ledger::RunRow;

use crate::serve::Ask;

/// Runs that are read: enough for the longest mean, and some more that are new.
pub(crate) const RUNS_READ: u32 = RUNS_MAX + 100;

/// Runs of a sync, the newest first, without what is no delivery.
pub(crate) fn deliveries(mut runs: Vec<RunRow>) -> Vec<RunRow> {
    runs.retain(|run| !matches!(run.trigger.as_str(), "baseline" | "adopt"));
    runs
}

fn status(word: &str) -> Option<RunStatus> {
    [
        RunStatus::Succeeded,
        RunStatus::Partial,
        RunStatus::Failed,
        RunStatus::Cancelled,
        RunStatus::Held,
    ]
    .into_iter()
    .find(|status| status.as_str() == word)
}

fn went_well(run: &RunRow) -> bool {
    matches!(run.status.as_str(), "succeeded" | "partial")
}

/// When a run ended; `None` while it goes on.
pub(crate) fn finished_us(run: &RunRow) -> Option<i64> {
    status(&run.status)?;
    crate::instant_us(run.finished_at.as_ref()?)
}

/// The watch of a sync that nobody looked at before: what ended before `opened_us` is past.
pub(crate) fn begin(runs: &[RunRow], opened_us: i64) -> Watch {
    let past: Vec<(&RunRow, i64)> = runs
        .iter()
        .filter_map(|run| Some((run, finished_us(run)?)))
        .filter(|(_, at)| *at < opened_us)
        .collect();
    let success = past.iter().find(|(run, _)| went_well(run));
    Watch::new(
        opened_us,
        success.map(|(_, at)| *at),
        past.first().map_or(0, |(run, _)| run.run),
    )
}

/// Takes note of every run and every job that was not looked at, in their order. `runs` are the
/// newest first, `jobs` the oldest first.
pub(crate) fn observe(
    watch: &mut Watch,
    rules: &Rules,
    sync: &Sync,
    runs: &[RunRow],
    jobs: &[EndedJob],
) {
    let mut new: Vec<usize> = (0..runs.len())
        .rev()
        .filter(|index| runs[*index].run > watch.seen_run && finished_us(&runs[*index]).is_some())
        .collect();
    for job in jobs {
        match job.run {
            Some(number) => {
                // Runs of the command line came between.
                while let Some(index) = new.first().copied().filter(|i| runs[*i].run <= number) {
                    new.remove(0);
                    let asked = (runs[index].run == number).then_some(job);
                    run_ended(watch, rules, sync, runs, index, asked);
                }
                // One that was looked at already, or is forgotten, has nothing more to say.
            }
            None => {
                if let Some(ended) = unbegun(job) {
                    watch.observe(rules, Event::Ended(&ended, &[]));
                }
            }
        }
    }
    for index in new {
        run_ended(watch, rules, sync, runs, index, None);
    }
}

fn run_ended(
    watch: &mut Watch,
    rules: &Rules,
    sync: &Sync,
    runs: &[RunRow],
    index: usize,
    job: Option<&EndedJob>,
) {
    let earlier = &runs[index + 1..];
    let Some(ended) = ended(&runs[index], earlier, sync, job) else {
        return;
    };
    let before: Vec<u64> = match rules.deviation {
        None => Vec::new(),
        Some(deviation) => earlier
            .iter()
            .filter(|run| went_well(run))
            .map(|run| deviation.of.of(&counts(run)))
            .collect(),
    };
    watch.observe(rules, Event::Ended(&ended, &before));
}

fn counts(run: &RunRow) -> Counts {
    let count = |count: Option<i64>| count.unwrap_or(0).unsigned_abs();
    Counts {
        read: count(run.read),
        added: count(run.added),
        updated: count(run.updated),
        removed: count(run.removed),
        delivered: count(run.delivered),
        rejected: count(run.rejected),
        invalid: count(run.invalid),
    }
}

fn ended(run: &RunRow, earlier: &[RunRow], sync: &Sync, job: Option<&EndedJob>) -> Option<Ended> {
    Some(Ended {
        run: Some(run.run),
        status: status(&run.status)?,
        finished_us: finished_us(run)?,
        duration_us: run.duration_us,
        counts: run.read.is_some().then(|| counts(run)),
        code: run.error_code.clone(),
        message: run.error_message.clone(),
        full: full(run, earlier, sync, job),
    })
}

/// Why a run sent every row, if it did and it is known why.
fn full(run: &RunRow, earlier: &[RunRow], sync: &Sync, job: Option<&EndedJob>) -> Option<String> {
    let counts = counts(run);
    if sync.refresh == Refresh::Full
        || counts.read == 0
        || run.unchanged.unwrap_or(0) > 0
        || counts.added + counts.updated < counts.read
    {
        return None;
    }
    if let Some(note) = run
        .notes
        .iter()
        .find(|note| note.starts_with("the mapping changed"))
    {
        return Some(note.clone());
    }
    if job.is_some_and(|job| asked_for_all(&job.request)) {
        return Some("it was asked for with `full`".to_owned());
    }
    if counts.added < counts.read {
        return None;
    }
    Some(if earlier.iter().any(went_well) {
        "no row was known any more: state was reset, or the model was empty before".to_owned()
    } else {
        "it was the first run".to_owned()
    })
}

fn asked_for_all(request: &str) -> bool {
    serde_json::from_str::<Ask>(request).is_ok_and(|ask| ask.full)
}

/// A job that ended without a run; `None` when that is no news: it was left out on purpose.
fn unbegun(job: &EndedJob) -> Option<Ended> {
    let status = match job.outcome.as_str() {
        "failed" => RunStatus::Failed,
        _ => return None,
    };
    let problems: serde_json::Value = job
        .error
        .as_ref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let word = |name: &str| {
        let text = problems[0][name].as_str();
        text.map(str::to_owned)
    };
    Some(Ended {
        run: None,
        status,
        finished_us: job.finished_us,
        duration_us: None,
        counts: None,
        code: word("code"),
        message: word("message"),
        full: None,
    })
}
