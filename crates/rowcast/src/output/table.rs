//! Tables: aligned columns, muted headers, no boxes.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::{Mark, Role, Style};

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Lays out rows under headers. `Right` is for numbers.
pub(crate) fn table(
    style: Style,
    columns: &[(&str, Align)],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    let align = |align| match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    };
    let headed = columns.iter().any(|(name, _)| !name.is_empty());
    if headed {
        table.set_header(
            columns
                .iter()
                .map(|(name, side)| Cell::new(name).set_alignment(align(*side))),
        );
    }
    for row in rows {
        table.add_row(
            row.into_iter()
                .zip(columns)
                .map(|(text, (_, side))| Cell::new(text).set_alignment(align(*side))),
        );
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut out = String::new();
    for (i, line) in table.lines().enumerate() {
        let line = line.trim_end();
        if headed && i == 0 {
            out.push_str(&style.paint(Role::Muted, line));
        } else {
            out.push_str(&colour_marks(style, line));
        }
        out.push('\n');
    }
    out
}

/// Colours the status mark a line starts with: cells are measured without colour.
fn colour_marks(style: Style, line: &str) -> String {
    if style.colour {
        for mark in [
            Mark::Healthy,
            Mark::Warning,
            Mark::Failing,
            Mark::Paused,
            Mark::New,
            Mark::Passed,
            Mark::Failed,
            Mark::Skipped,
        ] {
            if let Some(rest) = line.strip_prefix(style.plain_mark(mark))
                && rest.starts_with(' ')
            {
                return format!("{}{rest}", style.mark(mark));
            }
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_right_aligned_and_there_are_no_boxes() {
        let rows = [
            vec!["customers".to_owned(), "98,412".to_owned()],
            vec!["orders".to_owned(), "7".to_owned()],
        ];
        let text = table(
            Style::PLAIN,
            &[("model", Align::Left), ("rows", Align::Right)],
            rows,
        );
        assert_eq!(
            text,
            "model        rows\ncustomers  98,412\norders          7\n"
        );
    }
}
