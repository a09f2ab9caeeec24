//! Where a run's files go, as a path with `/` between its parts: of a folder or of a bucket.
//!
//! Only the sync, its object, the run and its start enter a path, never a row's value; a name that
//! could climb out of the folder is refused.

use std::time::Duration;

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::{Operation, RunContext};
use rowcast_core::time::{DAY_US, civil, push_date};
use rowcast_core::{Capabilities, Code, DestinationConfig, Reason, SettingValue};

use super::Format;
use rowcast_core::connector::Problems;

/// Records handed over at once without `batch:`.
const RECORDS_MAX: usize = 1_000;
/// Bytes handed over at once without `batch:`.
const BYTES_MAX: usize = 8_000_000;
/// How long a write, and the publication of a million records, may take without `timeout:`.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Sync,
    Object,
    Run,
    Date,
    Year,
    Month,
    Day,
    Hour,
    Number,
}

/// The settings that say where the files go.
pub fn settings(path_help: &'static str, example: &'static str) -> Vec<Setting> {
    vec![
        Setting::required("path", SettingKind::Text, path_help).example(example),
        Setting::optional(
            "existing",
            SettingKind::Choice(&["refuse", "replace"]),
            "What happens when the file exists already. `replace` is for snapshots, in syncs with `refresh: full`; with change files it would lose the changes of earlier runs.",
        )
        .default("refuse"),
    ]
}

/// How long a write, or one request of it, may take.
pub fn timeout(config: &DestinationConfig) -> Duration {
    config.timeout.unwrap_or(TIMEOUT)
}

/// What a destination of files can do: everything, in order, and durable at the end of a run.
pub fn capabilities(config: &DestinationConfig) -> Capabilities {
    Capabilities {
        operations: Operation::ALL.to_vec(),
        batch_records_max: config.batch_records.unwrap_or(RECORDS_MAX),
        operation_limits: Vec::new(),
        batch_bytes_max: config.batch_bytes.unwrap_or(BYTES_MAX),
        // Lines have an order: that of the changes.
        concurrency_max: 1,
        rate: config.rate,
        timeout: timeout(config),
        exactly_once: false,
        publishes: true,
    }
}

/// Where the files of a destination go.
#[derive(Debug, Clone)]
pub struct Target {
    pub path: PathTemplate,
    /// An existing file is replaced.
    pub replaces: bool,
}

impl Target {
    /// Reads the settings of [`settings`], and whether they suit the format.
    pub fn read(
        config: &DestinationConfig,
        format: &Format,
        problems: &mut Problems,
    ) -> Option<Self> {
        let text = |name| config.settings.get(name).and_then(SettingValue::as_text);
        let path = match PathTemplate::parse(text("path").unwrap_or_default()) {
            Ok(path) => path,
            Err(message) => {
                problems.add(
                    "settings.path",
                    message,
                    "for example out/{{ sync }}-{{ run }}.jsonl",
                );
                return None;
            }
        };
        let replaces = text("existing") == Some("replace");
        if !replaces && !path.names_run() {
            problems.add(
                "settings.path",
                "every run would write to the same file",
                "put {{ run }} into the path; or, for snapshots with refresh: full, say existing: replace",
            );
        }
        if format.splits() != path.parts.contains(&Part::Number) {
            problems.add(
                "settings.path",
                "the parts of a run need names of their own",
                "split: and {{ part }} in the path belong together",
            );
        }
        if format.splits() && replaces {
            problems.add(
                "settings.existing",
                "a smaller snapshot would leave parts of a larger one behind",
                "put {{ run }} into the path, or take split: away",
            );
        }
        Some(Self { path, replaces })
    }
}

/// `out/{{ sync }}-{{ run }}.jsonl`, read once.
#[derive(Debug, Clone)]
pub struct PathTemplate {
    parts: Vec<Part>,
}

impl PathTemplate {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or("a {{ has no }}")?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(match name.trim() {
                "sync" => Part::Sync,
                "object" => Part::Object,
                "run" => Part::Run,
                "date" => Part::Date,
                "year" => Part::Year,
                "month" => Part::Month,
                "day" => Part::Day,
                "hour" => Part::Hour,
                "part" => Part::Number,
                other => {
                    return Err(format!(
                        "{{{{ {other} }}}} is not known here: a path knows sync, object, run, part, date, year, month, day and hour, never a row"
                    ));
                }
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        match parts.last() {
            None => Err("a path is needed".into()),
            Some(Part::Text(end)) if end.ends_with('/') => {
                Err("a path ends with a file's name, not a folder".into())
            }
            Some(_) => Ok(Self { parts }),
        }
    }

    /// Whether each run has a file of its own.
    pub fn names_run(&self) -> bool {
        self.parts.contains(&Part::Run)
    }

    /// The folder as far as it is the same for every run; empty for where paths start.
    pub fn folder(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => {
                text.rsplit_once('/').map_or(
                    "",
                    |(folder, _)| {
                        if folder.is_empty() { "/" } else { folder }
                    },
                )
            }
            _ => "",
        }
    }

    /// The path of a part of a run, counted from 1.
    ///
    /// # Errors
    /// A name that can't be part of a path.
    pub fn of(&self, context: &RunContext, number: usize) -> Result<String, Reason> {
        let mut path = String::new();
        let days = context.started_at.div_euclid(DAY_US);
        let (year, month, day) = civil(days);
        let hour = context.started_at.rem_euclid(DAY_US) / 3_600_000_000;
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Sync => path.push_str(safe(&context.sync)?),
                Part::Object => path.push_str(safe(&context.object)?),
                Part::Run => path.push_str(&context.run.to_string()),
                Part::Date => push_date(&mut path, days as i32),
                Part::Year => path.push_str(&format!("{year:04}")),
                Part::Month => path.push_str(&format!("{month:02}")),
                Part::Day => path.push_str(&format!("{day:02}")),
                Part::Hour => path.push_str(&format!("{hour:02}")),
                // Of one width, so that names sort as the parts do.
                Part::Number => path.push_str(&format!("{number:05}")),
            }
        }
        Ok(path)
    }
}

fn safe(name: &str) -> Result<&str, Reason> {
    let bad = name.is_empty()
        || name.starts_with('.')
        || name.contains(['/', '\\'])
        || name.chars().any(char::is_control);
    if bad {
        return Err(Reason::new(
            Code::FileUnwritable,
            format!("the name {name:?} can't be part of a file's path"),
        )
        .hint("write the path without it"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(object: &str) -> RunContext {
        RunContext {
            sync: "customers".into(),
            sync_id: "id".into(),
            run: 12,
            epoch: 1,
            generation: 1,
            object: object.into(),
            key_columns: Vec::new(),
            started_at: 1_709_209_800_500_000,
        }
    }

    #[test]
    fn a_path_knows_the_sync_the_run_its_start_and_its_part() {
        let path = "out/{{date}}/{{ sync }}-{{ run }}.{{ object }}";
        let template = PathTemplate::parse(path).unwrap();
        assert_eq!(
            template.of(&context("csv"), 1).unwrap(),
            "out/2024-02-29/customers-12.csv"
        );
        assert_eq!(template.folder(), "out");
        let path =
            "year={{ year }}/month={{ month }}/day={{ day }}/hour={{ hour }}/{{ run }}-{{ part }}";
        assert_eq!(
            PathTemplate::parse(path)
                .unwrap()
                .of(&context(""), 7)
                .unwrap(),
            "year=2024/month=02/day=29/hour=12/12-00007"
        );
    }

    #[test]
    fn a_path_refuses_rows_folders_and_names_that_climb() {
        for text in ["out/{{ record.key.id }}", "out/", "", "{{ run"] {
            assert!(PathTemplate::parse(text).is_err(), "{text}");
        }
        let template = PathTemplate::parse("out/{{ object }}").unwrap();
        for object in ["..", "../x", "a/b", "a\\b", "", "a\nb"] {
            assert!(template.of(&context(object), 1).is_err(), "{object:?}");
        }
    }
}
