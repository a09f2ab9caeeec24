//! The bench: server, sink, project and peers, and the way contenders take turns on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Cluster;
use crate::data;
use crate::measure;
use crate::options::Options;
use crate::peers::Peers;
use crate::project;
use crate::results::{Kind, Measure, Sample, summary};
use crate::sink::{self, Sink};
use crate::stats::for_people;
use crate::terminal::{heading, say};
use crate::verify::Tally;

/// Bytes of a WAL position's low half; see [`Bench::marked`].
const SEGMENT: u64 = 16 * 1024 * 1024;

/// Everything a scenario needs.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) cluster: Cluster,
    pub(crate) sink: Sink,
    pub(crate) peers: Peers,
    /// The project's folder.
    pub(crate) project: PathBuf,
    /// The folder that the file destination writes to.
    pub(crate) files: PathBuf,
    /// Output of programs.
    pub(crate) scratch: PathBuf,
    pub(crate) measures: Vec<Measure>,
    date: String,
    loaded: BTreeSet<String>,
    round: u64,
}

/// One repetition of something; given its number, 0 for the warm-up.
pub(crate) type Attempt<'a> = Box<dyn FnMut(&mut Bench, usize) -> Result<Sample, String> + 'a>;

/// Somebody who takes part in a goal's run.
pub(crate) struct Contender<'a> {
    pub(crate) id: &'static str,
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) rows: u64,
    /// Repetitions, the warm-up not counted; slow ones have fewer.
    pub(crate) runs: usize,
    pub(crate) attempt: Attempt<'a>,
}

impl Bench {
    /// Starts everything in `folder`.
    pub(crate) fn start(options: Options, folder: &Path, peers: Peers) -> Result<Self, String> {
        let make = |name: &str| {
            let path = folder.join(name);
            let made = std::fs::create_dir_all(&path);
            made.map(|()| path).map_err(|error| error.to_string())
        };
        let (project, files) = (make("project")?, make("files")?);
        let (bodies, scratch) = (make("bodies")?, make("scratch")?);
        heading("starting a PostgreSQL server with default settings, and the sink");
        let cluster = Cluster::start(&options.programs, folder)?;
        let sink = Sink::start(&bodies)?;
        let places = project::Places {
            postgres: cluster.port,
            sink: sink.port,
            files: &files,
        };
        project::write(&project, &project::files(&places))?;
        let date = cluster.psql("postgres", "SELECT current_date")?;
        cluster.psql("postgres", "CREATE DATABASE target")?;
        Ok(Self {
            options,
            cluster,
            sink,
            peers,
            project,
            files,
            scratch,
            measures: Vec::new(),
            date,
            loaded: BTreeSet::new(),
            round: 0,
        })
    }

    pub(crate) fn date(&self) -> &str {
        &self.date
    }

    /// Whether this is the first call with that name.
    fn once(&mut self, name: &str) -> bool {
        self.loaded.insert(name.to_owned())
    }

    /// Makes the usual table, if it is not there yet.
    pub(crate) fn users(&mut self) -> Result<(), String> {
        if self.once("users") {
            let rows = self.options.rows;
            say(&format!("loading {rows} rows"));
            data::load(&self.cluster, "base", rows)?;
        }
        Ok(())
    }

    /// Makes the big table, in a database of its own.
    pub(crate) fn users_big(&mut self) -> Result<(), String> {
        if self.once("big") {
            let rows = self.options.rows_big;
            say(&format!("loading {rows} rows"));
            data::load(&self.cluster, "big", rows)?;
        }
        Ok(())
    }

    /// Makes a table with the first rows of `users`.
    pub(crate) fn part(&mut self, table: &str, rows: u64) -> Result<(), String> {
        self.users()?;
        if self.once(table) {
            data::part(&self.cluster, table, rows)?;
        }
        Ok(())
    }

    /// Makes the orders of the joined model.
    pub(crate) fn orders(&mut self) -> Result<(), String> {
        self.users()?;
        if self.once("orders") {
            say("loading the orders");
            data::orders(&self.cluster, self.options.rows)?;
        }
        Ok(())
    }

    /// `rowcast` in the project's folder.
    pub(crate) fn rowcast(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.options.rowcast);
        command.args(words).current_dir(&self.project);
        command
    }

    /// Runs a command that must succeed, unmeasured.
    pub(crate) fn quietly(&self, words: &[&str]) -> Result<String, String> {
        let what = format!("rowcast {}", words.join(" "));
        let ended = measure::run(&mut self.rowcast(words), &self.scratch)?;
        Ok(ended.succeeded(&what)?.stdout)
    }

    /// Delivers everything once, if this sync has not: what is measured comes after.
    pub(crate) fn first_sync(&mut self, sync: &str) -> Result<(), String> {
        if self.once(&format!("sync {sync}")) {
            say(&format!("first sync of {sync}"));
            self.quietly(&["run", sync, "--json"])?;
            self.sink.clear()?;
            self.has_synced(sync)?;
        }
        Ok(())
    }

    /// Puts the big table into the state of the sync that knows it by its uuid, without sending.
    pub(crate) fn baseline_by_uuid(&mut self) -> Result<(), String> {
        if self.once("uuid") {
            say("baseline by uuid");
            let index = "CREATE UNIQUE INDEX ON users (external_id)";
            self.cluster.psql("big", index)?;
            self.quietly(&["baseline", "changes_big_uuid", "--yes"])?;
            self.has_synced("changes_big_uuid")?;
        }
        Ok(())
    }

    /// Notes that a sync has delivered everything.
    pub(crate) fn has_synced(&mut self, sync: &str) -> Result<(), String> {
        self.once(&format!("sync {sync}"));
        let database = if sync.starts_with("changes_big") {
            "big"
        } else {
            "base"
        };
        self.cluster.psql(database, "VACUUM ANALYZE").map(drop)
    }

    /// Makes the next run of a sync the first again.
    pub(crate) fn reset(&self, database: &str, sync: &str) -> Result<(), String> {
        let there = "SELECT to_regclass('_rowcast.sync') IS NOT NULL";
        let known = format!("SELECT count(*) FROM _rowcast.sync WHERE name = '{sync}'");
        let is_known = self.cluster.psql(database, there)? == "t"
            && self.cluster.number(database, &known)? > 0.0;
        if is_known {
            self.quietly(&["reset", sync, "--yes"])?;
        }
        Ok(())
    }

    /// Changes rows, others each time.
    pub(crate) fn change(&mut self, database: &str, share: data::Share) -> Result<(), String> {
        self.round += 1;
        data::change(&self.cluster, database, share, self.round)
    }

    /// Runs and measures a program, from a server at rest that has written everything out.
    pub(crate) fn measured(&self, command: &mut Command, what: &str) -> Result<Sample, String> {
        self.cluster.psql("postgres", "CHECKPOINT")?;
        self.measured_as_it_is(command, what)
    }

    /// The same without a checkpoint before.
    pub(crate) fn measured_as_it_is(
        &self,
        command: &mut Command,
        what: &str,
    ) -> Result<Sample, String> {
        self.cluster.settle()?;
        let before = self.cluster.counters()?;
        let (server, sink) = (self.cluster.cpu(), self.sink.cpu());
        let ended = measure::run(command, &self.scratch)?;
        let (server, sink) = (self.cluster.cpu() - server, self.sink.cpu() - sink);
        let ended = ended.succeeded(what)?;
        self.cluster.settle()?;
        let after = self.cluster.counters()?;
        let mut sample = Sample {
            stdout: ended.stdout,
            log: (before.wal, after.wal),
            ..Sample::default()
        };
        sample.set("wall_s", ended.wall);
        sample.set("cpu_worker_s", ended.cpu);
        sample.set("cpu_server_s", server);
        sample.set("cpu_sink_s", sink);
        sample.set_bytes("memory_mb", ended.memory as f64);
        sample.set_bytes("wal_mb", after.wal - before.wal);
        sample.set_bytes("temp_mb", after.temporary - before.temporary);
        Ok(sample)
    }

    /// Runs and measures a sync.
    pub(crate) fn run_sync(&self, sync: &str) -> Result<Sample, String> {
        let words = ["run", sync, "--json"];
        self.measured(&mut self.rowcast(&words), &format!("rowcast run {sync}"))
    }

    /// Runs and measures a sync whose destination keeps nothing; its own report must say that so
    /// many rows were found changed, all were delivered, and the others were not.
    pub(crate) fn run_counted(&self, sync: &str, changed: u64) -> Result<Sample, String> {
        let sample = self.run_sync(sync)?;
        let differs = report_differs(&sample.stdout, changed);
        Ok(sample.judge(differs))
    }

    /// `COPY` of a query to a client that throws it away.
    pub(crate) fn copy(&self, database: &str, query: &str, binary: bool) -> Result<Sample, String> {
        let format = if binary { " (FORMAT binary)" } else { "" };
        let mut command = self.cluster.psql_command(database);
        command.arg("-c");
        command.arg(format!(
            "\\copy ({}) TO '/dev/null'{format}",
            query.replace('\n', " ")
        ));
        self.measured(&mut command, "psql COPY")
    }

    /// What the sink got since the last call.
    pub(crate) fn arrived(&self) -> Result<Tally, String> {
        let (tally, folder) = self.arrived_and_kept()?;
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
        Ok(tally)
    }

    /// The same, with the folder that still holds the bodies.
    pub(crate) fn arrived_and_kept(&self) -> Result<(Tally, PathBuf), String> {
        let folder = self.sink.take()?;
        let mut tally = Tally::default();
        sink::bodies(&folder, |body| tally.add_body(body))?;
        Ok((tally, folder))
    }

    /// The size of a sync's state with its indexes, and with what waits beside it, in bytes.
    pub(crate) fn state_size(&self, database: &str, sync: &str) -> Result<f64, String> {
        self.cluster.number(
            database,
            &format!(
                "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c \
                 JOIN pg_namespace n ON n.oid = c.relnamespace JOIN _rowcast.sync s \
                   ON c.relname IN ('state_' || s.id, 'recent_' || s.id) \
                 WHERE n.nspname = '_rowcast' AND c.relkind = 'r' AND s.name = '{sync}'"
            ),
        )
    }

    /// How often a text occurs in the log between two positions, given as bytes from its start.
    pub(crate) fn marked(&self, marker: &str, from: f64, to: f64) -> Result<usize, String> {
        let (from, to) = (from as u64, to as u64);
        let mut found = 0;
        for segment in from / SEGMENT..=to / SEGMENT {
            let per_id = 0x1_0000_0000 / SEGMENT;
            let name = format!("00000001{:08X}{:08X}", segment / per_id, segment % per_id);
            let path = self.cluster.data.join("pg_wal").join(name);
            let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let start = segment * SEGMENT;
            let first = from.saturating_sub(start) as usize;
            let last = (to.saturating_sub(start)).min(SEGMENT) as usize;
            let part = bytes.get(first..last).unwrap_or_default();
            let marker = marker.as_bytes();
            found += part.windows(marker.len()).filter(|w| *w == marker).count();
        }
        Ok(found)
    }

    /// Lets contenders take turns: a warm-up each, then the repetitions that count. One that fails
    /// is out, and its measure void.
    pub(crate) fn take_turns(&mut self, goal: u8, mut contenders: Vec<Contender<'_>>) {
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
        let mut failed: Vec<Option<String>> = vec![None; contenders.len()];
        let most = contenders.iter().map(|c| c.runs).max().unwrap_or(0);
        for repetition in 0..=most {
            for (index, contender) in contenders.iter_mut().enumerate() {
                if repetition > contender.runs || failed[index].is_some() {
                    continue;
                }
                let outcome = (contender.attempt)(self, repetition);
                let text = match &outcome {
                    Ok(sample) => {
                        let wall = sample.figures.get("wall_s").copied().unwrap_or_default();
                        let void = sample.void.as_ref().map(|v| format!("  VOID: {v}"));
                        format!("{} s{}", for_people(wall), void.unwrap_or_default())
                    }
                    Err(error) => format!("failed: {error}"),
                };
                let turn = if repetition == 0 {
                    "warm-up".to_owned()
                } else {
                    format!("{repetition}/{}", contender.runs)
                };
                say(&format!("  {turn:<8} {:<44} {text}", contender.label));
                match outcome {
                    // What is wrong in the warm-up is wrong.
                    Ok(sample) if repetition > 0 || sample.void.is_some() => {
                        samples[index].push(sample);
                    }
                    Ok(_) => {}
                    Err(error) => failed[index] = Some(error),
                }
            }
        }
        for ((contender, samples), failed) in contenders.iter().zip(samples).zip(failed) {
            let failed = failed.map(|error| format!("failed: {}", first_line(&error)));
            self.note(goal, contender, &samples, failed);
        }
    }

    /// Measures something that can be done only once.
    pub(crate) fn one_time(&mut self, goal: u8, mut contender: Contender<'_>) {
        let (samples, failed) = match (contender.attempt)(self, 1) {
            Ok(sample) => (vec![sample], None),
            Err(error) => {
                say(&format!("  {} failed: {error}", contender.label));
                (Vec::new(), Some(format!("failed: {}", first_line(&error))))
            }
        };
        self.note(goal, &contender, &samples, failed);
    }

    fn note(&mut self, goal: u8, of: &Contender<'_>, samples: &[Sample], failed: Option<String>) {
        let (figures, void) = summary(samples);
        self.measures.push(Measure {
            goal,
            id: of.id.to_owned(),
            label: of.label.clone(),
            kind: of.kind,
            rows: of.rows,
            runs: samples.len(),
            void: failed.or(void),
            figures,
            date: self.date.clone(),
        });
    }
}

/// Why a run's report is not that of a run which found `changed` rows; `None` when it is.
fn report_differs(stdout: &str, changed: u64) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(stdout).unwrap_or_default();
    let count = |name: &str| document["runs"][0][name].as_u64();
    let found = ["added", "updated", "removed"].map(count);
    let sum: Option<u64> = found.into_iter().sum();
    let removed = count("removed").unwrap_or_default();
    let good = sum == Some(changed)
        && count("delivered") == Some(changed)
        && count("unchanged").map(|n| n + changed - removed) == count("read")
        && count("read") > Some(0);
    (!good).then(|| format!("the report speaks of {sum:?} changes, {changed} were expected"))
}

/// Enough of an error for a results file: no paths of this machine.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let words = line.split(' ').map(|word| {
        if word.starts_with(['/', '"', '\'']) && word.contains('/') {
            "…"
        } else {
            word
        }
    });
    words
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_must_speak_of_the_changes_that_were_made() {
        let report = |unchanged: u64| {
            format!(
                r#"{{"runs":[{{"read":10,"unchanged":{unchanged},"added":1,"updated":2,"removed":3,"delivered":6}}]}}"#
            )
        };
        assert_eq!(report_differs(&report(7), 6), None);
        assert!(report_differs(&report(7), 5).is_some());
        assert!(report_differs(&report(8), 6).is_some());
        assert!(report_differs("", 0).is_some());
    }

    #[test]
    fn an_error_is_told_without_paths() {
        assert_eq!(
            first_line("could not open /opt/bench/x: no\nsecond"),
            "could not open … no"
        );
    }
}
