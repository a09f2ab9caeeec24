//! CSV: stable columns, quoting after RFC 4180, and cells that no spreadsheet will run.
//!
//! Records are kept as JSON lines of cells until the run finishes, because only then are all
//! columns known: a mapping may leave fields out, and a delete has none.

use std::io::{BufRead as _, BufReader};

use rowcast_core::json::{from_json, is_json_number, push_object, to_text};
use rowcast_core::record::{Batch, Record};
use rowcast_core::{Code, Name, Reason, Value};

use super::publish::Draft;

/// What the columns of a file are.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Whether the operation is the first column.
    pub(super) operation: bool,
    /// Names of the key's columns, which come next.
    pub(super) key: Vec<String>,
    /// The fields that follow, when the destination lists them.
    pub(super) listed: Option<Vec<String>>,
    pub(super) neutralize: bool,
}

impl Columns {
    /// Appends a record's cells as one JSON object without a line break.
    ///
    /// # Errors
    /// A field that is not among the listed columns.
    pub(super) fn push_cells(
        &self,
        out: &mut String,
        record: &Record,
        batch: &Batch,
    ) -> Result<(), Reason> {
        if let Some(listed) = &self.listed
            && let Some((name, _)) = record
                .fields
                .iter()
                .find(|(name, _)| listed.iter().all(|column| **column != **name))
        {
            return Err(Reason::new(
                Code::DestinationObject,
                format!("the field {name} is not among the file's columns"),
            )
            .hint("add it to columns: of the destination, or remove it from the sync's fields"));
        }
        let mut cells: Vec<(Name, Value)> = Vec::with_capacity(record.fields.len() + 2);
        if self.operation {
            cells.push(("operation".into(), record.operation.as_str().into()));
        }
        let key = record.key.to_object(&batch.context.key_columns);
        for (column, (_, value)) in self.key.iter().zip(&key) {
            cells.push((column.as_str().into(), self.cell(value)));
        }
        for (name, value) in &record.fields {
            // A field of the mapping may be called like a column of ours.
            let taken = cells.iter().any(|(column, _)| column == name);
            let column = if taken {
                format!("fields.{name}").into()
            } else {
                name.clone()
            };
            cells.push((column, self.cell(value)));
        }
        push_object(out, &cells);
        Ok(())
    }

    fn cell(&self, value: &Value) -> Value {
        let text = to_text(value);
        let number = matches!(
            value,
            Value::Int(_) | Value::Float { .. } | Value::Decimal(_)
        );
        Value::from(if self.neutralize && !number {
            neutral(text)
        } else {
            text
        })
    }

    /// Turns lines of cells into CSV.
    ///
    /// # Errors
    /// The draft can't be read back or written.
    pub(super) fn convert(&self, mut draft: Draft) -> Result<Draft, Reason> {
        let columns = self.all_columns(&mut draft)?;
        let mut csv = draft.sibling()?;
        let mut writer = ::csv::WriterBuilder::new()
            .terminator(::csv::Terminator::CRLF)
            .from_writer(csv.writer());
        let header = columns
            .iter()
            .map(|name| self.cell(&Value::from(name.as_str())));
        let mut result = writer.write_record(header.map(|cell| to_text(&cell)));
        for cells in rows(&mut draft)? {
            let cells = cells?;
            if result.is_err() {
                break;
            }
            result = writer.write_record(columns.iter().map(|column| {
                cells
                    .get(column)
                    .and_then(Value::as_text)
                    .unwrap_or_default()
            }));
        }
        let flushed = result
            .map_err(std::io::Error::from)
            .and_then(|()| writer.flush());
        drop(writer);
        flushed.map_err(|err| csv.failed(&err))?;
        Ok(csv)
    }

    /// Ours, then those listed, else all that appear.
    fn all_columns(&self, draft: &mut Draft) -> Result<Vec<String>, Reason> {
        let mut columns = Vec::new();
        if self.operation {
            columns.push("operation".to_owned());
        }
        columns.extend(self.key.iter().cloned());
        if let Some(listed) = &self.listed {
            let own = columns.len();
            for name in listed {
                let taken = columns[..own].contains(name);
                columns.push(if taken {
                    format!("fields.{name}")
                } else {
                    name.clone()
                });
            }
            return Ok(columns);
        }
        for cells in rows(draft)? {
            if let Value::Object(cells) = cells? {
                for (name, _) in cells {
                    if columns.iter().all(|column| **column != *name) {
                        columns.push(name.to_string());
                    }
                }
            }
        }
        Ok(columns)
    }
}

/// The lines of cells of a draft.
fn rows(draft: &mut Draft) -> Result<impl Iterator<Item = Result<Value, Reason>> + use<>, Reason> {
    let lines = BufReader::new(draft.reread()?).lines();
    Ok(lines.map(|line| {
        let line = line.map_err(|err| {
            Reason::new(Code::FileUnwritable, "the file can't be read back").detail(err.to_string())
        })?;
        from_json(&line).map_err(|_| Reason::defect("a line of cells is not JSON"))
    }))
}

/// Text that a spreadsheet would run gets an apostrophe in front, by which it is shown as text.
/// What is only a number with a sign is harmless and stays: `-12.50`, `+491701234567`.
fn neutral(text: String) -> String {
    let runs = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let digits = unsigned.starts_with(|c: char| c.is_ascii_digit());
    let number =
        digits && (is_json_number(unsigned) || unsigned.bytes().all(|byte| byte.is_ascii_digit()));
    if runs && !number {
        format!("'{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_a_spreadsheet_would_run_are_text() {
        for text in [
            "=1+1",
            "+1+1",
            "-1+1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "-2-3",
            "=cmd|'/c calc'!A0",
            "+A1",
            "-",
            "+",
        ] {
            assert_eq!(neutral(text.into()), format!("'{text}"));
        }
        for text in [
            "-12.50",
            "+491701234567",
            "-007",
            "1e5",
            "-1e5",
            "a=1",
            "",
            "'quoted",
            "Ünal",
        ] {
            assert_eq!(neutral(text.into()), text);
        }
    }
}
