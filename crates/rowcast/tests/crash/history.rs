//! What the source held when each process ran, and whether what a receiver saw can be explained by it.
//!
//! Between two processes the source changes, while one runs it does not: so every record of a run
//! must be the row as it stood then, a run's records never come after a later run's, and a value
//! comes again only when its row had another value in between, or when a crash left its outcome open.

use std::collections::{BTreeMap, BTreeSet};

/// A record's fields: name, version, edition of the mapping.
pub(crate) type Fields = (String, i64, i64);

/// Records by key.
pub(crate) type Records = BTreeMap<i64, Fields>;

/// One thing that took effect at a receiver. `None`: the record was deleted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effect {
    pub(crate) key: i64,
    pub(crate) fields: Option<Fields>,
    /// The run that it came from, where the receiver is told.
    pub(crate) run: Option<i64>,
}

/// What one process could read.
#[derive(Debug)]
struct Process {
    /// The last run before it.
    after_run: i64,
    records: Records,
}

/// All processes of a test.
#[derive(Debug, Default)]
pub(crate) struct History {
    processes: Vec<Process>,
}

impl History {
    /// A process is about to start; its runs have numbers above `after_run`.
    pub(crate) fn process(&mut self, after_run: i64, records: Records) {
        self.processes.push(Process { after_run, records });
    }

    /// The values of a key in order, without repetitions, each with the first process that read it.
    fn values(&self, key: i64) -> Vec<(usize, Option<&Fields>)> {
        let mut values = vec![(0, None)];
        for (number, process) in self.processes.iter().enumerate() {
            let value = process.records.get(&key);
            if values.last().is_none_or(|(_, last)| *last != value) {
                values.push((number, value));
            }
        }
        values
    }

    fn process_of(&self, run: i64) -> usize {
        self.processes
            .partition_point(|process| process.after_run < run)
            .checked_sub(1)
            .expect("a run has a process")
    }

    /// Problems of effects whose runs are known. `open`: keys whose outcome a crash left open, by
    /// the number of the process that was killed.
    pub(crate) fn problems_by_run(
        &self,
        effects: &[Effect],
        open: &BTreeMap<usize, BTreeSet<i64>>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let mut last: BTreeMap<i64, i64> = BTreeMap::new();
        let mut told: BTreeMap<(i64, usize), usize> = BTreeMap::new();
        for effect in effects {
            let key = effect.key;
            let run = effect.run.expect("the run is known");
            let process = self.process_of(run);
            if self.processes[process].records.get(&key) != effect.fields.as_ref() {
                problems.push(format!("{effect:?} is not the row that run {run} read"));
            }
            let before = last.entry(key).or_insert(run);
            if run < *before {
                problems.push(format!("{effect:?} came after one of run {before}"));
            }
            *before = run.max(*before);
            let episode = self
                .values(key)
                .partition_point(|(first, _)| *first <= process);
            if let Some(earlier) = told.insert((key, episode), process) {
                let was_open = open
                    .range(earlier..process)
                    .any(|(_, keys)| keys.contains(&key));
                if !was_open {
                    problems.push(format!(
                        "{effect:?} was sent again, though the answer of process {earlier} was acknowledged"
                    ));
                }
            }
        }
        problems
    }

    /// Problems of effects that must have happened once each: for every key they are some of its
    /// values, in their order.
    pub(crate) fn problems_exactly_once(&self, effects: &[Effect]) -> Vec<String> {
        let mut by_key: BTreeMap<i64, Vec<Option<&Fields>>> = BTreeMap::new();
        for effect in effects {
            let sequence = by_key.entry(effect.key).or_default();
            sequence.push(effect.fields.as_ref());
        }
        let mut problems = Vec::new();
        for (key, sequence) in by_key {
            let values = self.values(key);
            let mut left = values.iter().map(|(_, value)| *value);
            if !sequence.iter().all(|seen| left.any(|value| value == *seen)) {
                problems.push(format!(
                    "key {key} had the values {values:?}, its effects were {sequence:?}"
                ));
            }
        }
        problems
    }

    /// The number of the newest process.
    pub(crate) fn newest(&self) -> usize {
        self.processes.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(version: i64) -> Fields {
        ("x".to_owned(), version, 1)
    }

    fn effect(run: i64, version: Option<i64>) -> Effect {
        Effect {
            key: 1,
            fields: version.map(fields),
            run: Some(run),
        }
    }

    /// Key 1 is 1, then 2 (killed), then 1 again, then gone.
    fn history() -> History {
        let mut history = History::default();
        for (after, version) in [(0, Some(1)), (1, Some(2)), (2, Some(1)), (3, None)] {
            let records = version.map(|v| (1, fields(v))).into_iter().collect();
            history.process(after, records);
        }
        history
    }

    #[test]
    fn the_judge_finds_wrong_values_wrong_order_and_repetitions() {
        let history = history();
        let none = BTreeMap::new();
        let right = [
            effect(1, Some(1)),
            effect(2, Some(2)),
            effect(3, Some(1)),
            effect(4, None),
        ];
        assert!(history.problems_by_run(&right, &none).is_empty());
        assert!(history.problems_exactly_once(&right).is_empty());

        let value = [effect(1, Some(2))];
        assert_eq!(history.problems_by_run(&value, &none).len(), 1);
        let order = [effect(3, Some(1)), effect(2, Some(2))];
        assert_eq!(history.problems_by_run(&order, &none).len(), 1);
        assert_eq!(
            history
                .problems_exactly_once(&[effect(1, Some(2)), effect(1, Some(2))])
                .len(),
            1
        );
        let twice = [effect(1, Some(1)), effect(1, Some(1))];
        assert_eq!(history.problems_by_run(&twice, &none).len(), 1);
        assert!(
            history.problems_exactly_once(&twice).is_empty(),
            "it had that value twice"
        );
    }

    #[test]
    fn the_judge_accepts_a_repetition_only_of_a_key_left_open_by_the_crash_in_between() {
        let mut history = History::default();
        for after in 0..3 {
            history.process(after, [(1, fields(1))].into());
        }
        let again = [effect(1, Some(1)), effect(2, Some(1))];
        let open = |process: usize, key: i64| BTreeMap::from([(process, BTreeSet::from([key]))]);
        assert!(history.problems_by_run(&again, &open(0, 1)).is_empty());
        assert_eq!(history.problems_by_run(&again, &open(0, 2)).len(), 1);
        assert_eq!(history.problems_by_run(&again, &open(1, 1)).len(), 1);
        assert_eq!(history.problems_exactly_once(&again).len(), 1);
    }
}
