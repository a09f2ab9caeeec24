//! What was measured, as `bench/results/*.json` holds it. No names of machines or people, no paths,
//! no time finer than a day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::{median, rounded};

/// The form of the file; raised when a reader must know.
pub(crate) const FORMAT: u32 = 1;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Whose work was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Ours,
    Limit,
    Peer,
}

/// One program, doing one thing several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    /// The goal whose run it belongs to; ratios are made within one.
    pub(crate) goal: u8,
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) kind: Kind,
    /// Rows of the model.
    pub(crate) rows: u64,
    /// Repetitions that count.
    pub(crate) runs: usize,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) void: Option<String>,
    /// Medians, by name: `wall_s`, `cpu_worker_s`, `cpu_server_s`, `cpu_sink_s`, `memory_mb`,
    /// `wal_mb`, `temp_mb` and what a scenario adds; `wall_min_s` and `wall_max_s` beside them.
    pub(crate) figures: BTreeMap<String, f64>,
    /// The day it was measured.
    pub(crate) date: String,
}

impl Measure {
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        if self.void.is_some() {
            return None;
        }
        self.figures.get(name).copied()
    }

    pub(crate) fn rows_per_second(&self) -> Option<f64> {
        self.figure("wall_s").map(|wall| self.rows as f64 / wall)
    }
}

/// One repetition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) figures: BTreeMap<String, f64>,
    pub(crate) void: Option<String>,
    /// What the program said.
    pub(crate) stdout: String,
    /// The ends of the write-ahead log before and after, in bytes from its start.
    pub(crate) log: (f64, f64),
}

impl Sample {
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    pub(crate) fn set_bytes(&mut self, name: &str, bytes: f64) {
        self.set(name, bytes / MEBIBYTE);
    }

    /// Void if there is a reason.
    pub(crate) fn judge(mut self, reason: Option<String>) -> Self {
        self.void = self.void.or(reason);
        self
    }
}

/// Medians of repetitions, void if one of them is.
pub(crate) fn summary(samples: &[Sample]) -> (BTreeMap<String, f64>, Option<String>) {
    let mut columns: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        for (name, value) in &sample.figures {
            columns.entry(name).or_default().push(*value);
        }
    }
    let mut figures = BTreeMap::new();
    for (name, values) in columns {
        if let Some(middle) = median(&values) {
            figures.insert(name.to_owned(), rounded(middle, 4));
        }
        if name == "wall_s" {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            figures.insert("wall_min_s".to_owned(), rounded(least, 4));
            figures.insert("wall_max_s".to_owned(), rounded(most, 4));
        }
        if name == "memory_mb" {
            // A limit of memory is a limit of every run.
            let most = values.iter().copied().fold(0.0, f64::max);
            figures.insert(name.to_owned(), rounded(most, 1));
        }
    }
    let void = samples.iter().find_map(|sample| sample.void.clone());
    (figures, void)
}

/// The machine, as far as it explains figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
}

/// A peer as it took part, or why it did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) absent: Option<String>,
}

/// A whole results file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) format: u32,
    /// `full`, `quick` or a name that was given.
    pub(crate) name: String,
    pub(crate) date: String,
    pub(crate) product: String,
    pub(crate) machine: Machine,
    pub(crate) server: String,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) peers: Vec<Peer>,
    /// Rows of the usual table and of the big one.
    pub(crate) rows: u64,
    pub(crate) rows_big: u64,
    pub(crate) measures: Vec<Measure>,
}

impl Results {
    pub(crate) fn find(&self, goal: u8, id: &str) -> Option<&Measure> {
        let mut measures = self.measures.iter();
        measures.find(|measure| measure.goal == goal && measure.id == id)
    }

    /// Puts the goals that `newer` has measured in the place of these.
    pub(crate) fn replace(&mut self, newer: &Self) {
        let renewed: Vec<u8> = newer.measures.iter().map(|m| m.goal).collect();
        self.measures.retain(|m| !renewed.contains(&m.goal));
        self.measures.extend(newer.measures.iter().cloned());
        self.measures.sort_by_key(|m| m.goal);
    }

    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let results: Self = serde_json::from_str(text)
            .map_err(|error| format!("the results can't be read: {error}"))?;
        if results.format != FORMAT {
            return Err(format!(
                "results of format {} are not known",
                results.format
            ));
        }
        Ok(results)
    }

    pub(crate) fn text(&self) -> Result<String, String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn measure(goal: u8, id: &str, kind: Kind, figures: &[(&str, f64)]) -> Measure {
        Measure {
            goal,
            id: id.to_owned(),
            label: format!("the {id}"),
            kind,
            rows: 1000,
            runs: 5,
            void: None,
            figures: figures.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(),
            date: "2026-01-01".to_owned(),
        }
    }

    pub(crate) fn results(measures: Vec<Measure>) -> Results {
        Results {
            format: FORMAT,
            name: "full".to_owned(),
            date: "2026-01-01".to_owned(),
            product: "0.1.0".to_owned(),
            machine: Machine::default(),
            server: "15.1".to_owned(),
            settings: BTreeMap::new(),
            peers: Vec::new(),
            rows: 1000,
            rows_big: 10000,
            measures,
        }
    }

    fn sample(wall: f64, memory: f64) -> Sample {
        let mut sample = Sample::default();
        sample.set("wall_s", wall);
        sample.set("memory_mb", memory);
        sample
    }

    #[test]
    fn time_is_a_median_and_memory_the_most() {
        let samples = [sample(1.0, 20.0), sample(9.0, 50.0), sample(2.0, 30.0)];
        let (figures, void) = summary(&samples);
        assert_eq!(void, None);
        for (name, value) in [
            ("wall_s", 2.0),
            ("wall_min_s", 1.0),
            ("wall_max_s", 9.0),
            ("memory_mb", 50.0),
        ] {
            assert!((figures[name] - value).abs() < 1e-9, "{name}");
        }
    }

    #[test]
    fn one_void_run_makes_the_measure_void_and_its_figures_unusable() {
        let bad = sample(1.0, 1.0).judge(Some("a record is missing".to_owned()));
        let (_, void) = summary(&[sample(1.0, 1.0), bad]);
        let mut measure = measure(1, "a", Kind::Ours, &[("wall_s", 1.0)]);
        assert_eq!(measure.rows_per_second(), Some(1000.0));
        measure.void = void;
        assert_eq!(measure.figure("wall_s"), None);
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_goals_are_replaced_whole() {
        let old = |id| measure(4, id, Kind::Ours, &[("wall_s", 1.0)]);
        let mut results = results(vec![old("a"), old("b")]);
        assert_eq!(Results::read(&results.text().unwrap()).unwrap(), results);
        let newer = Results {
            measures: vec![
                measure(4, "c", Kind::Ours, &[]),
                measure(1, "d", Kind::Limit, &[]),
            ],
            ..results.clone()
        };
        results.replace(&newer);
        let ids: Vec<&str> = results.measures.iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids, ["d", "c"]);
    }
}
