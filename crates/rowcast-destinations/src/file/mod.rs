//! `file`: the changes of a run as one file in a folder, whole or not at all.
//!
//! Records go to a hidden file beside the target, which gets its name when the run finishes. Until
//! then they are *accepted*, not delivered; a run that fails or is cancelled leaves no file and
//! acknowledges nothing. Values of rows never reach the path.

mod csv;
mod path;
mod publish;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::destination::Committed;
use rowcast_core::record::{Batch, Operation, RunContext};
use rowcast_core::{
    BoxFuture, Capabilities, Check, Descriptor, Destination, DestinationConfig, Fault, Outcome,
    Reason, SettingValue,
};

use self::csv::Columns;
use self::path::PathTemplate;
use self::publish::Draft;
use crate::settings::Problems;
use rowcast_core::envelope::push_record;

/// Records handed over at once without `batch:`.
const RECORDS_MAX: usize = 1_000;

/// What the connector says of itself.
pub fn descriptor() -> Descriptor {
    Descriptor {
        name: "file",
        title: "File",
        summary: "Writes each run's changes to one file, as JSON lines or CSV. The file appears \
                  whole when the run succeeds; a failed or cancelled run leaves none.",
        settings: vec![
            Setting::required(
                "path",
                SettingKind::Text,
                "Where the file goes, relative to the project's folder. `{{ sync }}`, `{{ object }}`, `{{ run }}` and `{{ date }}` (UTC, when the run started) are filled in.",
            )
            .example("\"out/{{ sync }}-{{ run }}.jsonl\""),
            Setting::optional("format", SettingKind::Choice(&["jsonl", "csv"]), "JSON lines or CSV (RFC 4180, UTF-8, with a header).")
                .default("jsonl"),
            Setting::optional(
                "body",
                SettingKind::Choice(&["record", "fields"]),
                "`record`: operation, key and fields, so that deletes can be told; in CSV the columns `operation` and `key.…` come first. `fields`: the mapped fields alone.",
            )
            .default("record"),
            Setting::optional(
                "columns",
                SettingKind::TextList,
                "CSV: the fields in their order. Without it, all fields of the file's records in order of appearance.",
            ),
            Setting::optional(
                "formulas",
                SettingKind::Choice(&["neutralize", "keep"]),
                "CSV: whether text that a spreadsheet would run as a formula gets a leading apostrophe. Numbers, negative ones too, stay as they are.",
            )
            .default("neutralize"),
            Setting::optional(
                "existing",
                SettingKind::Choice(&["refuse", "replace"]),
                "What happens when the file exists already. `replace` is for snapshots, in syncs with `refresh: full`; with change files it would lose the changes of earlier runs.",
            )
            .default("refuse"),
        ],
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: false,
        object_help: "a name for the path",
        objects: Vec::new(),
        logs_changes: true,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Record,
    Fields,
}

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let text = |name| config.settings.get(name).and_then(SettingValue::as_text);
    let path = match PathTemplate::parse(text("path").unwrap_or_default(), &config.project_dir) {
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
    let body = match text("body") {
        Some("fields") => Body::Fields,
        _ => Body::Record,
    };
    if body == Body::Fields && config.mode.operations().contains(&Operation::Delete) {
        problems.add(
            "settings.body",
            "with body: fields a delete can't be told from an upsert",
            "use body: record",
        );
    }
    let csv = text("format") == Some("csv");
    let listed: Option<Vec<String>> = config.settings.get("columns").map(|columns| {
        let names = columns.items().iter().filter_map(SettingValue::as_text);
        names.map(str::to_owned).collect()
    });
    if listed.is_some() && !csv {
        problems.add(
            "settings.columns",
            "only CSV has columns",
            "say format: csv, or remove columns",
        );
    }
    let key_columns: &[_] = if body == Body::Record {
        &config.key_columns
    } else {
        &[]
    };
    let columns = csv.then(|| Columns {
        operation: body == Body::Record,
        key: key_columns
            .iter()
            .map(|name| format!("key.{name}"))
            .collect(),
        listed,
        neutralize: text("formulas") != Some("keep"),
    });
    Some(Arc::new(FileDestination {
        path,
        body,
        columns,
        replaces,
        draft: Arc::default(),
        capabilities: Capabilities {
            operations: Operation::ALL.to_vec(),
            batch_records_max: config.batch_records.unwrap_or(RECORDS_MAX),
            operation_limits: Vec::new(),
            batch_bytes_max: config.batch_bytes.unwrap_or(8_000_000),
            // Lines have an order: that of the changes.
            concurrency_max: 1,
            rate: config.rate,
            timeout: config.timeout.unwrap_or(Duration::from_secs(60)),
            exactly_once: false,
            publishes: true,
        },
    }))
}

struct FileDestination {
    path: PathTemplate,
    body: Body,
    /// `None` for JSON lines.
    columns: Option<Columns>,
    replaces: bool,
    /// The file being written; none before the first record.
    draft: Arc<Mutex<Option<Draft>>>,
    capabilities: Capabilities,
}

impl FileDestination {
    /// A batch as lines of the draft, and what became of each record.
    fn lines(&self, batch: &Batch) -> (String, Vec<Outcome>) {
        let mut lines = String::new();
        let mut outcomes = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            let before = lines.len();
            let written = match (&self.columns, self.body) {
                (Some(columns), _) => columns.push_cells(&mut lines, record, batch),
                (None, Body::Record) => {
                    push_record(&mut lines, record, batch);
                    Ok(())
                }
                (None, Body::Fields) => {
                    record.push_fields(&mut lines);
                    Ok(())
                }
            };
            match written {
                Ok(()) => {
                    lines.push('\n');
                    outcomes.push(Outcome::Accepted);
                }
                Err(reason) => {
                    lines.truncate(before);
                    outcomes.push(Outcome::Rejected(reason));
                }
            }
        }
        (lines, outcomes)
    }
}

fn broken() -> Fault {
    Fault::fatal(Reason::defect("writing a file ended early"))
}

impl Destination for FileDestination {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn takes_json(&self) -> bool {
        self.columns.is_none()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let folder = self.path.folder();
            let checked = tokio::task::spawn_blocking(move || publish::check(&folder)).await;
            vec![match checked {
                Ok(Ok(found)) => Check::passed("write", found),
                Ok(Err(reason)) => Check::failed("write", reason),
                Err(_) => Check::failed("write", broken().reason().clone()),
            }]
        })
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(async move {
            let target = self.path.of(context).map_err(Fault::fatal)?;
            *self.draft.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let sync = context.sync.to_string();
            let replaces = self.replaces;
            tokio::task::spawn_blocking(move || {
                publish::sweep(&target, &sync);
                if !replaces && target.exists() {
                    return Err(Fault::fatal(publish::exists(&target)));
                }
                Ok(Vec::new())
            })
            .await
            .map_err(|_| broken())?
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            let target = self.path.of(&batch.context).map_err(Fault::fatal)?;
            let sync = batch.context.sync.to_string();
            let (lines, outcomes) = self.lines(batch);
            let draft = Arc::clone(&self.draft);
            tokio::task::spawn_blocking(move || {
                let mut draft = draft.lock().unwrap_or_else(PoisonError::into_inner);
                if draft.is_none() {
                    *draft = Some(Draft::new(&target, &sync)?);
                }
                draft.as_mut().map_or(Ok(()), |draft| draft.append(&lines))
            })
            .await
            .map_err(|_| broken())?
            .map_err(Fault::fatal)?;
            Ok(outcomes)
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            let draft = self
                .draft
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let Some(draft) = draft else { return Ok(()) };
            let columns = self.columns.clone();
            let replaces = self.replaces;
            tokio::task::spawn_blocking(move || {
                let draft = match &columns {
                    Some(columns) => columns.convert(draft).map_err(Fault::fatal)?,
                    None => draft,
                };
                draft.publish(replaces)
            })
            .await
            .map_err(|_| broken())?
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        let target = match self.path.of(&batch.context) {
            Ok(target) => target.display().to_string(),
            Err(reason) => return vec![format!("# {reason}")],
        };
        let (lines, _) = self.lines(batch);
        let mut shown = vec![format!("append to {target}:")];
        shown.extend(lines.lines().map(str::to_owned));
        shown
    }
}
