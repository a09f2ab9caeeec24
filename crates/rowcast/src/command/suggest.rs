//! `rowcast suggest`: which column could fill which field.

use rowcast_app::suggest::{SuggestedField, Suggestion};
use rowcast_app::{Answer, Project};

use super::Context;
use crate::exit::Exit;
use crate::output::table::{Align, table};
use crate::output::{Mark, Role, Style};

/// Proposes columns of the model for the fields of a sync's object, by name and type, required fields
/// first. The sync needs no `fields:` yet. Nothing is written.
///
/// The score goes from 60 to 100: 100 is the same name, 97 the same but for capitals and separators, about
/// 86 another word for the same, and below that near names and parts of names. Types that don't fit cost
/// points.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast suggest customers_to_crm\n  rowcast suggest customers_to_crm --yaml >> syncs/customers_to_crm.yml"
)]
pub(crate) struct Args {
    /// The sync
    sync: String,
    /// Prints a `fields:` block to paste into the sync
    #[arg(long, conflicts_with = "json")]
    yaml: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let global = &context.global;
    let project =
        Project::load_to_complete(global.project.as_deref(), global.env.as_deref(), &args.sync)?;
    let found = rowcast_app::suggest::suggest(&project, &args.sync).await?;
    context.output.answer(&found, |style| {
        if args.yaml {
            found.yaml.clone()
        } else {
            text(style, &found)
        }
    });
    Ok(Exit::Succeeded)
}

fn text(style: Style, found: &Suggestion) -> String {
    let columns = [
        ("field", Align::Left),
        ("type", Align::Left),
        ("", Align::Left),
        ("column", Align::Left),
        ("score", Align::Right),
        ("why", Align::Left),
    ];
    let shown = |field: &&SuggestedField| field.column.is_some() || field.required || field.mapped;
    let rows = found.fields.iter().filter(shown).map(|field| {
        let why = match (field.mapped, &field.why) {
            (true, _) => "mapped already".to_owned(),
            (false, Some(why)) if field.sensitive => format!("{why}; sensitive in its model"),
            (false, Some(why)) => why.clone(),
            (false, None) => "no column fits".to_owned(),
        };
        vec![
            field.field.clone(),
            field.type_name.clone(),
            if field.required { "required" } else { "" }.to_owned(),
            field.column.clone().unwrap_or_default(),
            field
                .score
                .map_or_else(String::new, |score| score.to_string()),
            why,
        ]
    });
    let mut out = table(style, &columns, rows);
    let others = found.fields.iter().filter(|field| !shown(field)).count();
    if others > 0 {
        out.push_str(&format!(
            "\n{others} more fields of {} fit no column\n",
            found.object
        ));
    }
    if !found.unused.is_empty() {
        let label = style.paint(Role::Muted, "columns without a field:");
        out.push_str(&format!("\n{label} {}\n", found.unused.join(", ")));
    }
    let lacking: Vec<&str> = found
        .fields
        .iter()
        .filter(|field| field.required && !field.mapped && field.column.is_none())
        .map(|field| field.field.as_str())
        .collect();
    if !lacking.is_empty() {
        out.push_str(&format!(
            "\n{} required, and no column fits: {}\n",
            style.mark(Mark::Warning),
            lacking.join(", ")
        ));
    }
    if found.fields.iter().any(|field| field.sensitive) {
        out.push_str(&format!(
            "\n{} sensitive columns are left out of the block: whether they may leave is yours to decide\n",
            style.mark(Mark::Warning)
        ));
    }
    out.push_str(&format!(
        "\n`rowcast suggest {} --yaml` prints the block to paste\n",
        found.sync
    ));
    out
}
