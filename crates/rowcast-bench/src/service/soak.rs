//! The soak: many syncs for a long time. Memory must not rise, descriptors and connections must stay
//! where they are, no run may be stuck, and what was delivered must equal the table at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::receiver::Inbox;
use super::server::Server;
use super::{Options, measured, people, project, sync};
use crate::cluster::Cluster;
use crate::stats::{median, rounded};
use crate::terminal::{heading, judged, say};

const PEOPLE: u64 = 1_000;
/// Rows that change between two samples, a tenth of the table.
const CHANGED: u64 = PEOPLE / 10;
const SAMPLE: Duration = Duration::from_secs(10);
/// How far apart the runs of one sync are.
const EVERY_S: i64 = 30;
/// A run that is going on for longer than this is stuck: it has some hundred rows to send.
const STUCK_S: i64 = 120;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Bars of the issue: memory per ten minutes, and what counts as flat.
const MEMORY_MB: f64 = 1.0;
const FLAT: f64 = 2.0;

/// What one look at the server saw.
#[derive(Debug, Clone, Copy, Serialize)]
struct Sample {
    minute: f64,
    memory_mb: f64,
    descriptors: f64,
    connections: f64,
    stuck: f64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Soak {
    minutes: u64,
    warm_up_minutes: f64,
    syncs: usize,
    every_s: i64,
    runs: u64,
    /// Runs that did not succeed.
    runs_not_succeeded: u64,
    records: u64,
    memory_mb: f64,
    memory_slope_mb_per_10_min: f64,
    descriptors_first_third: f64,
    descriptors_last_third: f64,
    connections_first_third: f64,
    connections_last_third: f64,
    stuck_runs: f64,
    /// From the time that a run was due to its start.
    start_delay_ms_median: f64,
    start_delay_ms_p99: f64,
    /// Records whose last delivered value is not the table's.
    differences: u64,
    complaints: u64,
    stopped_in_s: f64,
    samples: Vec<Sample>,
}

impl Soak {
    /// Each bar with whether it is met.
    fn verdicts(&self) -> Vec<(String, bool)> {
        let flat = |first: f64, last: f64| last - first <= FLAT;
        vec![
            (
                format!(
                    "memory rises by {:.2} MB in 10 minutes, at most {MEMORY_MB}",
                    self.memory_slope_mb_per_10_min
                ),
                self.memory_slope_mb_per_10_min <= MEMORY_MB,
            ),
            (
                format!(
                    "descriptors: {} in the first third, {} in the last",
                    self.descriptors_first_third, self.descriptors_last_third
                ),
                flat(self.descriptors_first_third, self.descriptors_last_third),
            ),
            (
                format!(
                    "connections: {} in the first third, {} in the last",
                    self.connections_first_third, self.connections_last_third
                ),
                flat(self.connections_first_third, self.connections_last_third),
            ),
            (
                format!("{} stuck runs", self.stuck_runs),
                self.stuck_runs < 1.0,
            ),
            (
                format!("{} runs that did not succeed", self.runs_not_succeeded),
                self.runs_not_succeeded == 0,
            ),
            (
                format!("{} records differ from the table", self.differences),
                self.differences == 0,
            ),
            (
                format!("stopped in {:.1} s, at most 10", self.stopped_in_s),
                self.stopped_in_s <= 10.0,
            ),
        ]
    }
}

/// Soaks, prints the table, writes `soak.json`.
///
/// # Errors
/// Something could not be measured, or a bar is missed.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let soak = measured(options, "soak.json", |cluster, folder| {
        soak(options, cluster, folder)
    })?;
    heading("soak");
    let mut missed = 0;
    for (what, met) in soak.verdicts() {
        let word = judged(if met { "met" } else { "missed" }, met);
        say(&format!("{word:<8} {what}"));
        missed += usize::from(!met);
    }
    say(&format!(
        "         {} runs, {} records, start delay median {} ms, p99 {} ms",
        soak.runs, soak.records, soak.start_delay_ms_median, soak.start_delay_ms_p99
    ));
    if missed > 0 {
        return Err(format!("{missed} bars are missed"));
    }
    Ok(())
}

fn soak(options: &Options, cluster: &Cluster, folder: &Path) -> Result<Soak, String> {
    let inbox = Inbox::open()?;
    people(cluster, PEOPLE)?;
    let files = project(cluster.port, inbox.port, options.syncs, |_| {
        format!("schedule: {{ every: {EVERY_S}s, jitter: 25s }}\n")
    });
    crate::project::write(&folder.join("project"), &files)?;
    let server = Server::start(&options.rowcast, folder)?;
    let whole = Duration::from_secs(options.minutes * 60);
    // Five minutes, or a third of a shorter soak: pools fill, allocators settle.
    let warm_up = Duration::from_secs(300).min(whole / 3);
    let began = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    let mut round: u64 = 0;
    heading("minute  memory MB  descriptors  connections  stuck");
    while began.elapsed() < whole {
        // The last changes have time to be delivered.
        if began.elapsed() + Duration::from_secs(3 * EVERY_S.unsigned_abs()) < whole {
            let parts = PEOPLE / CHANGED;
            let sql = format!(
                "UPDATE people SET visits = visits + 1 WHERE id % {parts} = {}",
                round % parts
            );
            cluster.psql("shop", &sql)?;
        }
        let sample = look(&server, cluster, began.elapsed())?;
        if round.is_multiple_of(6) {
            say(&format!(
                "{:>6.1} {:>10.1} {:>12} {:>12} {:>6}",
                sample.minute,
                sample.memory_mb,
                sample.descriptors,
                sample.connections,
                sample.stuck
            ));
        }
        samples.push(sample);
        round += 1;
        let next = began + SAMPLE * u32::try_from(round).unwrap_or(u32::MAX);
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
    }
    let complaints: Vec<String> = server.complaints.try_iter().collect();
    for line in complaints.iter().take(20) {
        say(line);
    }
    let stopped_in = server.stop()?;
    let warm = warm_up.as_secs_f64() / 60.0;
    let steady: Vec<Sample> = samples
        .iter()
        .filter(|sample| sample.minute >= warm)
        .copied()
        .collect();
    let thirds = |of: fn(&Sample) -> f64| thirds(&steady, of);
    let (descriptors, connections) = (thirds(|s| s.descriptors), thirds(|s| s.connections));
    let left = "SELECT count(*) FROM _rowcast.run_history WHERE status = 'running'";
    let stuck = samples.iter().map(|s| s.stuck).fold(0.0, f64::max);
    let history = "SELECT count(*), count(*) FILTER (WHERE status NOT IN ('succeeded', 'cancelled')), \
                   coalesce(sum(delivered), 0) FROM _rowcast.run_history";
    let history = numbers(cluster, history)?;
    let delays = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d), percentile_cont(0.99) WITHIN GROUP (ORDER BY d) \
                  FROM (SELECT extract(epoch FROM started_at - due_at) * 1000 AS d FROM _rowcast.control_job \
                  WHERE started_at IS NOT NULL) x";
    let delays = numbers(cluster, delays)?;
    Ok(Soak {
        minutes: options.minutes,
        warm_up_minutes: rounded(warm, 1),
        syncs: options.syncs,
        every_s: EVERY_S,
        runs: history[0] as u64,
        runs_not_succeeded: history[1] as u64,
        records: history[2] as u64,
        memory_mb: steady.last().map_or(0.0, |sample| sample.memory_mb),
        memory_slope_mb_per_10_min: rounded(slope(&steady) * 10.0, 2),
        descriptors_first_third: descriptors.0,
        descriptors_last_third: descriptors.1,
        connections_first_third: connections.0,
        connections_last_third: connections.1,
        stuck_runs: stuck + cluster.number("shop", left)?,
        start_delay_ms_median: rounded(delays[0], 0),
        start_delay_ms_p99: rounded(delays[1], 0),
        differences: differences(cluster, &inbox, options.syncs)?,
        complaints: complaints.len() as u64,
        stopped_in_s: rounded(stopped_in.as_secs_f64(), 1),
        samples,
    })
}

fn look(server: &Server, cluster: &Cluster, since: Duration) -> Result<Sample, String> {
    let sql = format!(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE usename = 'rowcast'), \
         (SELECT count(*) FROM _rowcast.control_job WHERE status <> 'done' \
          AND started_at < clock_timestamp() - interval '{STUCK_S} seconds')"
    );
    let found = numbers(cluster, &sql)?;
    let memory = server.memory().ok_or("the server is gone")?;
    Ok(Sample {
        minute: rounded(since.as_secs_f64() / 60.0, 2),
        memory_mb: rounded(memory as f64 / MEBIBYTE, 2),
        descriptors: server.descriptors() as f64,
        connections: found[0],
        stuck: found[1],
    })
}

/// The numbers of one row.
fn numbers(cluster: &Cluster, sql: &str) -> Result<Vec<f64>, String> {
    let text = cluster.psql("shop", sql)?;
    text.split('|')
        .map(|word| {
            let number = word.trim().parse();
            number.map_err(|_| format!("`{word}` is no number (running {sql})"))
        })
        .collect()
}

/// Medians of the first and of the last third: what rises and falls with the runs that are going on
/// is the same in both.
fn thirds(samples: &[Sample], of: fn(&Sample) -> f64) -> (f64, f64) {
    let third = samples.len() / 3;
    let middle = |part: &[Sample]| {
        let values: Vec<f64> = part.iter().map(of).collect();
        median(&values).unwrap_or(0.0)
    };
    (
        middle(&samples[..third]),
        middle(&samples[samples.len() - third..]),
    )
}

/// Megabytes a minute, by least squares.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|s| s.minute), mean(|s| s.memory_mb));
    let (mut covariance, mut variance) = (0.0, 0.0);
    for sample in samples {
        covariance += (sample.minute - x) * (sample.memory_mb - y);
        variance += (sample.minute - x).powi(2);
    }
    if variance > 0.0 {
        covariance / variance
    } else {
        0.0
    }
}

/// Records whose newest delivered value is not the table's, over all syncs.
fn differences(cluster: &Cluster, inbox: &Inbox, syncs: usize) -> Result<u64, String> {
    let rows = cluster.psql("shop", "SELECT id, visits FROM people")?;
    let mut table = BTreeMap::new();
    for line in rows.lines() {
        let cells = line.split_once('|');
        let cells = cells.and_then(|(id, visits)| Some((id.parse().ok()?, visits.parse().ok()?)));
        let (id, visits): (i64, i64) = cells.ok_or("the table can't be read")?;
        table.insert(id, visits);
    }
    let differing = |number: usize| {
        let delivered = inbox.of(&sync(number));
        let wrong = table
            .iter()
            .filter(|(id, visits)| delivered.get(id) != Some(visits));
        wrong.count() as u64
    };
    Ok((0..syncs).map(differing).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(minute: f64, memory_mb: f64, descriptors: f64) -> Sample {
        Sample {
            minute,
            memory_mb,
            descriptors,
            connections: 0.0,
            stuck: 0.0,
        }
    }

    #[test]
    fn the_slope_is_that_of_the_line_and_thirds_see_what_rises() {
        let line: Vec<Sample> = (0..30_u8)
            .map(|n| sample(f64::from(n), 50.0 + 0.2 * f64::from(n), f64::from(n)))
            .collect();
        assert!((slope(&line) - 0.2).abs() < 1e-9);
        let (first, last) = thirds(&line, |s| s.descriptors);
        assert!(last - first > FLAT);
        assert!(slope(&[]).abs() < 1e-9);
    }
}
