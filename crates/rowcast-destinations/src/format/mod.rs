//! What is in a run's files, the same wherever they go: JSON lines, CSV or Parquet.
//!
//! While a run writes, its records are lines of a draft, because only at its end are all columns
//! known. Then the draft becomes the files. A record that does not fit is rejected when it is
//! written, never when the files are made: by then it counts as accepted.

mod csv;
pub mod draft;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
pub mod target;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::{Batch, Operation};
use rowcast_core::settings::parse_size;
use rowcast_core::{Code, DestinationConfig, Outcome, Reason, SettingValue};

use self::csv::Columns;
use rowcast_core::connector::Problems;
use rowcast_core::envelope::push_record;

/// Files are not made smaller than this: each costs a request or an entry of a folder.
const SPLIT_MIN: u64 = 1_000_000;

/// Whether this build writes Parquet.
pub const HAS_PARQUET: bool = cfg!(feature = "parquet");

/// The settings that say what is in the files.
pub fn settings() -> Vec<Setting> {
    vec![
        Setting::optional(
            "format",
            SettingKind::Choice(&["jsonl", "csv", "parquet"]),
            "JSON lines, CSV (RFC 4180, UTF-8, with a header), or Parquet (in builds with the feature `parquet`).",
        )
        .default("jsonl"),
        Setting::optional(
            "body",
            SettingKind::Choice(&["record", "fields"]),
            "`record`: operation, key and fields, so that deletes can be told; in CSV and Parquet the columns `operation` and `key.…` come first. `fields`: the mapped fields alone.",
        )
        .default("record"),
        Setting::optional(
            "columns",
            SettingKind::Either(vec![
                SettingKind::TextList,
                SettingKind::Map(Box::new(SettingKind::Text)),
            ]),
            "CSV and Parquet: the fields in their order. Without it, all fields of the run's records in order of appearance. For Parquet also as names to types: `{ id: bigint, total: \"decimal(12,2)\" }`; a column without a type has that of the run's first value.",
        ),
        Setting::optional(
            "formulas",
            SettingKind::Choice(&["neutralize", "keep"]),
            "CSV: whether text that a spreadsheet would run as a formula gets a leading apostrophe. Numbers, negative ones too, stay as they are.",
        )
        .default("neutralize"),
        Setting::optional(
            "split",
            SettingKind::Size,
            "About how large a file may grow before the next one begins; the path then holds `{{ part }}`. Without it, a run is one file.",
        ),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Record,
    Fields,
}

#[derive(Debug, Clone)]
enum Kind {
    Lines,
    Csv(Columns),
    #[cfg(feature = "parquet")]
    Parquet(parquet::Layout),
}

/// What is in the files of a destination.
#[derive(Debug, Clone)]
pub struct Format {
    body: Body,
    kind: Kind,
    split: Option<u64>,
}

/// What a run knows of its files so far.
#[derive(Debug, Default, Clone)]
pub struct Known {
    #[cfg(feature = "parquet")]
    table: parquet::Table,
}

impl Format {
    /// Reads the settings of [`settings`].
    pub fn read(config: &DestinationConfig, problems: &mut Problems) -> Self {
        let text = |name| config.settings.get(name).and_then(SettingValue::as_text);
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
        let columns = config.settings.get("columns");
        let operation = body == Body::Record;
        let keys: &[_] = if operation { &config.key_columns } else { &[] };
        let key: Vec<String> = keys.iter().map(|name| format!("key.{name}")).collect();
        let kind = match text("format") {
            Some("csv") => Kind::Csv(Columns {
                operation,
                key,
                listed: listed(columns, problems),
                neutralize: text("formulas") != Some("keep"),
            }),
            #[cfg(feature = "parquet")]
            Some("parquet") => {
                Kind::Parquet(parquet::Layout::read(operation, key, columns, problems))
            }
            #[cfg(not(feature = "parquet"))]
            Some("parquet") => {
                problems.add(
                    "settings.format",
                    "this build of rowcast does not write Parquet",
                    "install one that does: cargo install rowcast --features parquet",
                );
                Kind::Lines
            }
            _ => {
                if columns.is_some() {
                    problems.add(
                        "settings.columns",
                        "JSON lines have no columns",
                        "say format: csv or format: parquet, or remove columns",
                    );
                }
                Kind::Lines
            }
        };
        let split = text("split").and_then(parse_size);
        if split.is_some_and(|bytes| bytes < SPLIT_MIN) {
            problems.add(
                "settings.split",
                "files this small cost more than they hold",
                "1MB is the least",
            );
        }
        Self { body, kind, split }
    }

    /// Whether records are wanted as JSON text.
    pub fn takes_json(&self) -> bool {
        matches!(self.kind, Kind::Lines)
    }

    /// Whether a run may make several files.
    pub fn splits(&self) -> bool {
        self.split.is_some()
    }

    /// Whether a draft is a file as it is.
    pub fn is_final(&self) -> bool {
        matches!(self.kind, Kind::Lines) && self.split.is_none()
    }

    /// A batch as lines of a draft, and what became of each record.
    pub fn lines(&self, known: &mut Known, batch: &Batch) -> (String, Vec<Outcome>) {
        let Known {
            #[cfg(feature = "parquet")]
            table,
        } = known;
        let mut lines = String::new();
        let mut outcomes = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            let before = lines.len();
            let written = match (&self.kind, self.body) {
                (Kind::Csv(columns), _) => columns.push_cells(&mut lines, record, batch),
                #[cfg(feature = "parquet")]
                (Kind::Parquet(layout), _) => layout.push_row(&mut lines, table, record, batch),
                (Kind::Lines, Body::Record) => {
                    push_record(&mut lines, record, batch);
                    Ok(())
                }
                (Kind::Lines, Body::Fields) => {
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

    /// Makes the files of a draft's lines, in order. `draft` opens the draft from its beginning,
    /// `new` makes the file of a part, counted from 1. What comes back is flushed, not synced.
    ///
    /// # Errors
    /// The draft can't be read back, or a file can't be written.
    pub fn files<F: Write + Send>(
        &self,
        known: &Known,
        draft: &mut dyn FnMut() -> Result<File, Reason>,
        new: &mut dyn FnMut(usize) -> Result<F, Reason>,
    ) -> Result<Vec<F>, Reason> {
        let Known {
            #[cfg(feature = "parquet")]
            table,
        } = known;
        let mut rows = || draft().map(|file| Rows(BufReader::with_capacity(1 << 16, file)));
        let mut parts = Parts {
            new,
            files: Vec::new(),
            split: self.split.unwrap_or(u64::MAX),
        };
        match &self.kind {
            Kind::Lines => lines::files(rows()?, &mut parts),
            Kind::Csv(columns) => columns.files(&mut rows, &mut parts),
            #[cfg(feature = "parquet")]
            Kind::Parquet(_) => parquet::Layout::files(table, rows()?, &mut parts),
        }?;
        Ok(parts.files)
    }
}

/// The names under `columns:`, where only names make sense.
fn listed(columns: Option<&SettingValue>, problems: &mut Problems) -> Option<Vec<String>> {
    let columns = columns?;
    if matches!(columns, SettingValue::Map(_)) {
        problems.add(
            "settings.columns",
            "columns of CSV have no types",
            "write a list of names, or say format: parquet",
        );
    }
    let names = columns.items().iter().filter_map(SettingValue::as_text);
    Some(names.map(str::to_owned).collect())
}

/// Why a record with a field that `columns:` does not name is rejected.
fn not_listed(name: &str) -> Reason {
    Reason::new(
        Code::DestinationObject,
        format!("the field {name} is not among the file's columns"),
    )
    .hint("add it to columns: of the destination, or remove it from the sync's fields")
}

/// The lines of a draft, one after the other into the same memory.
struct Rows(BufReader<File>);

impl Rows {
    /// The next line without its end; false when there is none.
    fn next(&mut self, line: &mut String) -> Result<bool, Reason> {
        line.clear();
        let read = self.0.read_line(line).map_err(|err| {
            Reason::new(
                Code::FileUnwritable,
                "the draft of a file can't be read back",
            )
            .detail(err.to_string())
        })?;
        if line.ends_with('\n') {
            line.pop();
        }
        Ok(read > 0)
    }
}

/// The files of a run as they are made.
struct Parts<'a, F> {
    new: &'a mut dyn FnMut(usize) -> Result<F, Reason>,
    files: Vec<F>,
    /// A file that has grown to this is the last but one.
    split: u64,
}

impl<F> Parts<'_, F> {
    fn begin(&mut self) -> Result<F, Reason> {
        (self.new)(self.files.len() + 1)
    }
}

/// A writer that knows how much it wrote.
struct Counted<F> {
    file: F,
    bytes: u64,
}

impl<F> Counted<F> {
    fn new(file: F) -> Self {
        Self { file, bytes: 0 }
    }
}

impl<F: Write> Write for Counted<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file of a run could not be written.
fn unwritten(err: &io::Error) -> Reason {
    Reason::new(Code::FileUnwritable, "can't write a file of the run")
        .detail(err.to_string())
        .hint(if err.kind() == io::ErrorKind::StorageFull {
            "free space on this disk; nothing of this run was published"
        } else {
            "nothing of this run was published; look at the folder and the disk"
        })
}
