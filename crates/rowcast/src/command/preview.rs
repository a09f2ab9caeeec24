//! `rowcast preview`: the first rows of a model.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::table::{Align, table};
use crate::output::{Mark, Role};

/// Widest cell that is shown whole.
const CELL_MAX: usize = 40;

/// Shows the first rows of a model, its columns' types, whether the key is unique, and columns that
/// change by themselves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast preview customers")]
pub(crate) struct Args {
    /// The model
    model: String,
    /// Rows to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: u32,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let view = rowcast_app::preview::preview(&project, &args.model, args.limit).await?;
    context.output.answer(&view, |style| {
        let names: Vec<(&str, Align)> = view
            .columns
            .iter()
            .map(|column| (column.name.as_str(), Align::Left))
            .collect();
        let rows = view
            .rows
            .iter()
            .map(|row| row.iter().map(|value| cell(value.get())).collect());
        let mut out = table(style, &names, rows);
        out.push('\n');
        let types: Vec<String> = view
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.type_name))
            .collect();
        out.push_str(&format!(
            "{} {}\n",
            style.paint(Role::Muted, "types:"),
            types.join(", ")
        ));
        let mark = if view.key_valid {
            Mark::Passed
        } else {
            Mark::Failed
        };
        out.push_str(&format!("{} {}\n", style.mark(mark), view.key));
        for warning in &view.warnings {
            out.push_str(&format!("{} {warning}\n", style.mark(Mark::Warning)));
        }
        out
    });
    Ok(if view.key_valid {
        Exit::Succeeded
    } else {
        Exit::Failed
    })
}

/// A JSON value as a cell: text without quotes, one line, not too wide.
pub(crate) fn cell(json: &str) -> String {
    let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().count() > CELL_MAX {
        let mut short: String = text.chars().take(CELL_MAX - 1).collect();
        short.push('…');
        return short;
    }
    text
}
