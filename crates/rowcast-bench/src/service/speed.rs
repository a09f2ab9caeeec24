//! How fast the API answers with long histories stored, and how long after its time a run makes its
//! first request.
//!
//! The histories are written into the state tables directly: nothing else makes 100,000 runs in a
//! minute.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::api::Client;
use super::receiver::Inbox;
use super::server::Server;
use super::{Options, measured, people, project, sync};
use crate::cluster::Cluster;
use crate::stats::{median, rounded};
use crate::terminal::{heading, judged, say};

/// What is stored before the API is asked.
const RUNS: u64 = 100_000;
const LINES: u64 = 1_000_000;
/// Lines of the one run with the longest row log.
const LINES_BIG: u64 = 500_000;
const SYNCS: usize = 20;
/// Syncs by the clock, each every ten seconds.
const CLOCKS: usize = 10;
/// Requests of each kind, after a tenth as many that don't count.
const ASKED: usize = 300;
/// How long runs by the clock are watched.
const WATCHED: Duration = Duration::from_secs(60);

const P99_MS: f64 = 50.0;
const LATENCY_MS: f64 = 150.0;

#[derive(Debug, Serialize)]
struct Figures {
    requests: usize,
    median_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Speed {
    runs: u64,
    row_log: u64,
    /// Processes that want the machine's cores, per core, while it was measured.
    load_per_core: f64,
    api: BTreeMap<String, Figures>,
    api_p99_ms: f64,
    ticks: usize,
    due_to_first_request_ms: Figures,
}

/// Measures, prints the table, writes `service.json`.
///
/// # Errors
/// Something could not be measured, or a bar is missed.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let speed = measured(options, "service.json", |cluster, folder| {
        measure(options, cluster, folder)
    })?;
    heading("API                                        median     p99     max, ms");
    for (route, figures) in &speed.api {
        say(&format!(
            "{route:<42} {:>6} {:>7} {:>7}",
            figures.median_ms, figures.p99_ms, figures.max_ms
        ));
    }
    let latency = &speed.due_to_first_request_ms;
    let verdicts = [
        (
            format!(
                "p99 of all routes {} ms, at most {P99_MS}",
                speed.api_p99_ms
            ),
            speed.api_p99_ms <= P99_MS,
        ),
        (
            format!(
                "from due to the first request {} ms (median of {}; p99 {} ms), at most {LATENCY_MS}",
                latency.median_ms, latency.requests, latency.p99_ms
            ),
            latency.median_ms <= LATENCY_MS,
        ),
    ];
    say("");
    for (what, met) in &verdicts {
        let word = judged(if *met { "met" } else { "missed" }, *met);
        say(&format!("{word:<8} {what}"));
    }
    if verdicts.iter().all(|(_, met)| *met) {
        Ok(())
    } else {
        Err(format!(
            "a bar is missed; {} processes wanted each core meanwhile",
            speed.load_per_core
        ))
    }
}

fn measure(options: &Options, cluster: &Cluster, folder: &Path) -> Result<Speed, String> {
    let inbox = Inbox::open()?;
    people(cluster, 100)?;
    // The first ones by the clock, apart from each other; the others by hand.
    let files = project(cluster.port, inbox.port, SYNCS, |number| {
        if number < CLOCKS {
            "schedule: { every: 10s, jitter: 9s }\n".to_owned()
        } else {
            String::new()
        }
    });
    crate::project::write(&folder.join("project"), &files)?;
    for number in 0..SYNCS {
        first_run(options, folder, &sync(number))?;
    }
    let server = Server::start(&options.rowcast, folder)?;
    let latency = latency(cluster, &inbox)?;
    say(&format!("storing {RUNS} runs and {LINES} lines of row log"));
    store(cluster)?;
    let mut api = BTreeMap::new();
    let mut all = Vec::new();
    for (name, paths) in routes(cluster)? {
        let mut client = Client::connect(&server.address, &server.token)?;
        let mut times = Vec::new();
        for number in 0..ASKED + ASKED / 10 {
            let (_, took) = client.get(&paths[number % paths.len()])?;
            if number >= ASKED / 10 {
                times.push(took.as_secs_f64() * 1_000.0);
            }
        }
        all.extend_from_slice(&times);
        api.insert(name.to_owned(), figures(times));
    }
    server.stop()?;
    Ok(Speed {
        runs: RUNS,
        row_log: LINES,
        load_per_core: load(),
        api,
        api_p99_ms: figures(all).p99_ms,
        ticks: latency.len(),
        due_to_first_request_ms: figures(latency),
    })
}

/// Makes the tables of a sync, and delivers every row, so that what follows is a run with changes.
fn first_run(options: &Options, folder: &Path, sync: &str) -> Result<(), String> {
    let done = std::process::Command::new(&options.rowcast)
        .args(["run", sync, "--project"])
        .arg(folder.join("project"))
        .output()
        .map_err(|error| format!("could not run rowcast: {error}"))?;
    if done.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

/// Milliseconds from the time a run was due to its first request, for runs by the clock.
fn latency(cluster: &Cluster, inbox: &Inbox) -> Result<Vec<f64>, String> {
    while inbox.arrivals.try_recv().is_ok() {}
    let began = Instant::now();
    let mut first: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    cluster.psql("shop", "UPDATE people SET visits = visits + 1")?;
    while let Some(left) = WATCHED.checked_sub(began.elapsed()) {
        let Ok(arrival) = inbox.arrivals.recv_timeout(left) else {
            break;
        };
        first.entry(arrival.sync).or_default().push(arrival.at_us);
        // There is something to send in every run.
        cluster.psql("shop", "UPDATE people SET visits = visits + 1")?;
    }
    let jobs = cluster.psql(
        "shop",
        "SELECT sync, (extract(epoch FROM due_at) * 1000000)::bigint FROM _rowcast.control_job \
         WHERE trigger = 'schedule' ORDER BY due_at",
    )?;
    let mut found = Vec::new();
    for line in jobs.lines() {
        let (sync, due) = line.split_once('|').ok_or("jobs can't be read")?;
        let due: i64 = due.parse().map_err(|_| "jobs can't be read")?;
        // Its own requests come before the next time, ten seconds later.
        let arrivals = first.get(sync).map_or(&[][..], Vec::as_slice);
        let own = arrivals
            .iter()
            .find(|at| (due..due + 10_000_000).contains(*at));
        if let Some(at) = own {
            found.push((at - due) as f64 / 1_000.0);
        }
    }
    if found.len() < CLOCKS {
        return Err(format!("only {} runs by the clock were seen", found.len()));
    }
    Ok(found)
}

fn store(cluster: &Cluster) -> Result<(), String> {
    let sql = format!(
        "INSERT INTO _rowcast.run_history (sync_id, generation, epoch, trigger, status, started_at, finished_at,
           duration_us, read, unchanged, added, updated, removed, retried, retried_present, invalid_keys,
           delivered, skipped, invalid, rejected, held, pending, requests, retries, spool_bytes, reasons, phases)
         SELECT s.id, 1, n, 'schedule', 'succeeded', clock_timestamp() - n * interval '30 seconds',
           clock_timestamp() - n * interval '30 seconds' + interval '1 second', 1000000, 100, 0, 0, 100, 0, 0, 0, 0,
           100, 0, 0, 0, 0, 0, 1, 0, 10000, '[]', '[{{\"step\":\"open\",\"duration_us\":1000}}]'
         FROM _rowcast.sync s, generate_series(1, {each}) n;
         INSERT INTO _rowcast.row_history (run, sync_id, key, change, operation, outcome, code, message, at)
         SELECT r.run, r.sync_id, n::text, 'updated', 'upsert', 'rejected', 'E0501', 'the address is not valid', r.started_at
         FROM _rowcast.run_history r, generate_series(1, {lines}) n
         WHERE r.run % 20 = 0;
         INSERT INTO _rowcast.row_history (run, sync_id, key, change, operation, outcome, code, message, at)
         SELECT r.run, r.sync_id, n::text, 'updated', 'upsert', 'delivered', NULL, NULL, r.started_at
         FROM (SELECT * FROM _rowcast.run_history ORDER BY run DESC LIMIT 1) r, generate_series(1, {LINES_BIG}) n;
         VACUUM ANALYZE _rowcast.run_history; VACUUM ANALYZE _rowcast.row_history;",
        each = RUNS / SYNCS as u64,
        lines = (LINES - LINES_BIG) / (RUNS / 20),
    );
    cluster.psql("shop", &sql).map(|_| ())
}

/// What is asked: each kind with the paths that take turns.
fn routes(cluster: &Cluster) -> Result<Vec<(&'static str, Vec<String>)>, String> {
    let runs = cluster.psql(
        "shop",
        "SELECT s.name, min(r.run), max(r.run), (max(r.run) - min(r.run)) / 2 + min(r.run) \
         FROM _rowcast.run_history r JOIN _rowcast.sync s ON s.id = r.sync_id \
         WHERE r.run % 20 = 0 GROUP BY s.name ORDER BY s.name",
    )?;
    let big = cluster.psql(
        "shop",
        "SELECT s.name || '/runs/' || r.run FROM _rowcast.run_history r \
         JOIN _rowcast.sync s ON s.id = r.sync_id ORDER BY r.run DESC LIMIT 1",
    )?;
    let base = "/api/v1/syncs";
    let (mut lists, mut deep, mut one, mut log, mut key, mut why) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for line in runs.lines() {
        let cells: Vec<&str> = line.split('|').collect();
        let [sync, first, last, middle] = cells[..] else {
            return Err("runs can't be read".to_owned());
        };
        lists.push(format!("{base}/{sync}/runs"));
        deep.push(format!("{base}/{sync}/runs?before={middle}"));
        one.push(format!("{base}/{sync}/runs/{first}"));
        log.push(format!("{base}/{sync}/runs/{last}/log"));
        key.push(format!("{base}/{sync}/runs/{last}/log?key=7"));
        why.push(format!("{base}/{sync}/why?key=7"));
    }
    let deep_in_big = format!("{base}/{big}/log?after=0:400000");
    Ok(vec![
        ("status of all syncs", vec!["/api/v1/status".to_owned()]),
        (
            "status of one sync",
            vec![format!("{base}/{}/status", sync(3))],
        ),
        ("figures for Prometheus", vec!["/metrics".to_owned()]),
        ("runs, first page", lists),
        ("runs, a page in the middle", deep),
        ("one run", one),
        ("row log of a run", log),
        (
            "row log of 500,000 lines, first page",
            vec![format!("{base}/{big}/log")],
        ),
        ("row log of 500,000 lines, far on", vec![deep_in_big]),
        (
            "row log of 500,000 lines, one key",
            vec![format!("{base}/{big}/log?key=400000")],
        ),
        (
            "row log of 500,000 lines, one outcome",
            vec![format!("{base}/{big}/log?outcome=rejected")],
        ),
        ("row log by key", key),
        ("why a row", why),
        ("project", vec!["/api/v1/project".to_owned()]),
    ])
}

fn figures(mut times: Vec<f64>) -> Figures {
    times.sort_by(f64::total_cmp);
    let place = (times.len() * 99).div_ceil(100).saturating_sub(1);
    Figures {
        requests: times.len(),
        median_ms: rounded(median(&times).unwrap_or(0.0), 1),
        p99_ms: rounded(times.get(place).copied().unwrap_or(0.0), 1),
        max_ms: rounded(times.last().copied().unwrap_or(0.0), 1),
    }
}

/// The load of the last minute, for each core.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text
        .split(' ')
        .next()
        .and_then(|word| word.parse::<f64>().ok());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    rounded(load.unwrap_or(0.0) / cores as f64, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred_is_not_the_slowest() {
        let figures = figures((1..=100).map(f64::from).collect());
        assert!((figures.p99_ms - 99.0).abs() < 1e-9);
        assert!((figures.max_ms - 100.0).abs() < 1e-9);
        assert_eq!(figures.requests, 100);
    }
}
