//! `rowcast demo`: see it work, with nothing prepared.

use std::path::PathBuf;

use rowcast_app::Answer;
use serde::Serialize;

use super::Context;
use crate::demo::story::{self, Act};
use crate::exit::Exit;
use crate::output::{Output, steps};

/// Starts a throwaway PostgreSQL server with a sample shop and a small CRM, delivers 100,000
/// customers, changes some and shows that only those are sent again. Takes less than a minute.
/// PostgreSQL's server programs are looked for in the usual places and in $PGBIN.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast demo\n  rowcast demo --keep      # then try commands on it from another terminal"
)]
pub(crate) struct Args {
    /// Keeps the server and the CRM running until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Where the project is written
    #[arg(long, value_name = "DIR", default_value = "rowcast-demo")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Document<'a> {
    project: String,
    acts: &'a [Act],
    contacts: u64,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let stage = story::play(&args.dir, context).await?;
    let output = context.output;
    let dir = args.dir.display().to_string();
    if output.json {
        output.document(&Document {
            project: dir.clone(),
            acts: &stage.acts,
            contacts: stage.crm.len(),
        });
    }
    if !args.keep {
        tell(
            output,
            &next(&[
                (
                    "rowcast demo --keep".to_owned(),
                    "play it again and keep it running to try things",
                ),
                (
                    format!("cat {dir}/syncs/customers_to_crm.yml"),
                    "the whole configuration of the sync",
                ),
                (
                    "rowcast init my-shop --url postgresql://… --table …".to_owned(),
                    "a project on your own database",
                ),
            ]),
        );
        return Ok(Exit::Succeeded);
    }
    tell(
        output,
        &next(&[
            (
                format!("rowcast plan --project {dir}"),
                "what the next run would send",
            ),
            (
                format!("rowcast run --project {dir} --keys 42"),
                "send one row again, if it changed",
            ),
            (
                format!("rowcast why customers_to_crm 42 --project {dir}"),
                "the story of one row",
            ),
        ]),
    );
    let psql = format!(
        "PGPASSWORD=$(cat {dir}/secrets/shop_password) psql -h 127.0.0.1 -p {} -U rowcast shop",
        stage.server.port
    );
    tell(
        output,
        &format!("Look into the shop with:\n  {psql}\nEverything stays until Ctrl-C."),
    );
    context.cancel.cancelled().await;
    Ok(Exit::Succeeded)
}

fn tell(output: Output, text: &str) {
    if !output.json {
        output.data(text);
    }
}

fn next(commands: &[(String, &str)]) -> String {
    let commands = commands
        .iter()
        .map(|(command, why)| (command.as_str(), *why));
    format!("\nTry next:\n{}", steps(commands))
}
