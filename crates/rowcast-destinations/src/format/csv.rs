//! CSV: stable columns, quoting after RFC 4180, and cells that no spreadsheet will run.
//!
//! Records are kept as JSON lines of cells until the run finishes, because only then are all
//! columns known: a mapping may leave fields out, and a delete has none.

use std::io::Write;

use rowcast_core::json::{from_json, is_json_number, push_object, to_text};
use rowcast_core::record::{Batch, Record};
use rowcast_core::{Name, Reason, Value};

use super::{Counted, Parts, Rows, not_listed, unwritten};

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
            return Err(not_listed(name));
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

    /// Turns lines of cells into files of CSV, each with its header.
    ///
    /// # Errors
    /// The draft can't be read back, or a file can't be written.
    pub(super) fn files<F: Write>(
        &self,
        rows: &mut dyn FnMut() -> Result<Rows, Reason>,
        parts: &mut Parts<'_, F>,
    ) -> Result<(), Reason> {
        let columns = self.all_columns(rows)?;
        let header: Vec<String> = columns
            .iter()
            .map(|name| to_text(&self.cell(&Value::from(name.as_str()))))
            .collect();
        let mut rows = rows()?;
        let mut line = String::new();
        let mut open: Option<::csv::Writer<Counted<F>>> = None;
        while rows.next(&mut line)? {
            let cells = cells(&line)?;
            if let Some(done) = open.take_if(|file| file.get_ref().bytes >= parts.split) {
                parts.files.push(finished(done)?);
            }
            let file = match &mut open {
                Some(file) => file,
                None => {
                    let mut file = ::csv::WriterBuilder::new()
                        .terminator(::csv::Terminator::CRLF)
                        .from_writer(Counted::new(parts.begin()?));
                    file.write_record(&header).map_err(unwritten_csv)?;
                    open.insert(file)
                }
            };
            let row = columns.iter().map(|column| {
                let cell = cells.get(column).and_then(Value::as_text);
                cell.unwrap_or_default()
            });
            file.write_record(row).map_err(unwritten_csv)?;
        }
        if let Some(last) = open {
            parts.files.push(finished(last)?);
        }
        Ok(())
    }

    /// Ours, then those listed, else all that appear.
    fn all_columns(
        &self,
        rows: &mut dyn FnMut() -> Result<Rows, Reason>,
    ) -> Result<Vec<String>, Reason> {
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
        let mut rows = rows()?;
        let mut line = String::new();
        while rows.next(&mut line)? {
            if let Value::Object(cells) = cells(&line)? {
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

/// The cells of a draft's line.
fn cells(line: &str) -> Result<Value, Reason> {
    from_json(line).map_err(|_| Reason::defect("a line of cells is not JSON"))
}

fn finished<F: Write>(file: ::csv::Writer<Counted<F>>) -> Result<F, Reason> {
    match file.into_inner() {
        Ok(mut counted) => {
            counted.flush().map_err(|err| unwritten(&err))?;
            Ok(counted.file)
        }
        Err(err) => Err(unwritten(err.error())),
    }
}

fn unwritten_csv(err: ::csv::Error) -> Reason {
    unwritten(&err.into())
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
