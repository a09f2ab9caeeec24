//! `rowcast tables`: what there is to read in a source.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::Role;
use crate::output::table::{Align, table};

/// Lists the tables and views that the source's role can see, with their columns and types.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast tables shop --schema public")]
pub(crate) struct Args {
    /// The source; may be left out when there is one
    source: Option<String>,
    /// Only this schema
    #[arg(long, value_name = "S")]
    schema: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let found =
        rowcast_app::tables::tables(&project, args.source.as_deref(), args.schema.as_deref())
            .await?;
    context.output.answer(&found, |style| {
        if found.is_empty() {
            return "The role sees no tables or views. `rowcast setup-sql` prints the grants."
                .to_owned();
        }
        let mut out = String::new();
        for relation in &found {
            if !out.is_empty() {
                out.push('\n');
            }
            let name = format!("{}.{}", relation.schema, relation.name);
            out.push_str(&format!(
                "{}  {}\n",
                style.paint(Role::Strong, &name),
                style.paint(Role::Muted, &relation.kind)
            ));
            let rows = relation.columns.iter().map(|column| {
                let key = relation.primary_key.contains(&column.name);
                vec![
                    format!("  {}", column.name),
                    column.type_name.clone(),
                    if key { "primary key" } else { "" }.to_owned(),
                ]
            });
            out.push_str(&table(
                style,
                &[("", Align::Left), ("", Align::Left), ("", Align::Left)],
                rows,
            ));
        }
        out
    });
    Ok(Exit::Succeeded)
}
