//! Where a run's file goes.
//!
//! Only the sync, its object, the run and its date enter a path, never a row's value; a name that
//! could climb out of the folder is refused.

use std::path::{Path, PathBuf};

use rowcast_core::record::RunContext;
use rowcast_core::time::{DAY_US, push_date};
use rowcast_core::{Code, Reason};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Sync,
    Object,
    Run,
    Date,
}

/// `out/{{ sync }}-{{ run }}.jsonl`, read once.
#[derive(Debug, Clone)]
pub(super) struct PathTemplate {
    root: PathBuf,
    parts: Vec<Part>,
}

impl PathTemplate {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str, root: &Path) -> Result<Self, String> {
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
                other => {
                    return Err(format!(
                        "{{{{ {other} }}}} is not known here: a path knows sync, object, run and date, never a row"
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
            Some(_) => Ok(Self {
                root: root.to_owned(),
                parts,
            }),
        }
    }

    /// Whether each run has a file of its own.
    pub(super) fn names_run(&self) -> bool {
        self.parts.contains(&Part::Run)
    }

    /// The folder as far as it is the same for every run.
    pub(super) fn folder(&self) -> PathBuf {
        let fixed = match self.parts.first() {
            Some(Part::Text(text)) => {
                text.rsplit_once('/').map_or(
                    "",
                    |(folder, _)| {
                        if folder.is_empty() { "/" } else { folder }
                    },
                )
            }
            _ => "",
        };
        self.root.join(fixed)
    }

    /// The path of a run's file.
    ///
    /// # Errors
    /// A name that can't be part of a path.
    pub(super) fn of(&self, context: &RunContext) -> Result<PathBuf, Reason> {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Sync => path.push_str(safe(&context.sync)?),
                Part::Object => path.push_str(safe(&context.object)?),
                Part::Run => path.push_str(&context.run.to_string()),
                Part::Date => {
                    push_date(&mut path, context.started_at.div_euclid(DAY_US) as i32);
                }
            }
        }
        Ok(self.root.join(path))
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
    fn a_path_knows_sync_object_run_and_date() {
        let path = "out/{{date}}/{{ sync }}-{{ run }}.{{ object }}";
        let template = PathTemplate::parse(path, Path::new("/p")).unwrap();
        assert_eq!(
            template.of(&context("csv")).unwrap(),
            Path::new("/p/out/2024-02-29/customers-12.csv")
        );
        assert_eq!(template.folder(), Path::new("/p/out"));
    }

    #[test]
    fn a_path_refuses_rows_folders_and_names_that_climb() {
        let parse = |text| PathTemplate::parse(text, Path::new("/p"));
        for text in ["out/{{ record.key.id }}", "out/", "", "{{ run"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let template = parse("out/{{ object }}").unwrap();
        for object in ["..", "../x", "a/b", "a\\b", "", "a\nb"] {
            assert!(template.of(&context(object)).is_err(), "{object:?}");
        }
    }
}
