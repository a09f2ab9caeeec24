//! `rowcast alerts`: what is open, who is not told, whether channels work.

use clap::Subcommand;
use rowcast_app::Answer;
use rowcast_app::alerts::{self, AlertsView, MuteRequest, Tried};
use rowcast_core::Secret;

use super::Context;
use crate::exit::Exit;
use crate::output::number::{grouped, since};
use crate::output::table::{Align, table};
use crate::output::{Mark, Style};

/// Shows which alerts are open and how their channels stand, mutes syncs, and tries channels. A
/// server (`rowcast serve`) watches and tells; runs from the command line tell nobody.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast alerts list\n  rowcast alerts mute customers_to_crm --for 2h\n  rowcast alerts test ops"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows what is open, what is muted, and how the channels stand
    #[command(after_help = "Example:\n  rowcast alerts list")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Tells nobody about a sync until a time, or until it is unmuted
    #[command(
        after_help = "Example:\n  rowcast alerts mute customers_to_crm --for 2h\n  rowcast alerts mute customers_to_crm --until 2030-01-31T08:00:00Z"
    )]
    Mute {
        sync: String,
        /// For how long
        #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
        lasts: Option<String>,
        /// Until when, with its zone
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Tells about a sync again: what is open and was not told, at once
    #[command(after_help = "Example:\n  rowcast alerts unmute customers_to_crm")]
    Unmute {
        sync: String,
        #[command(flatten)]
        place: Place,
    },
    /// Sends a message to a channel, or to all; no server is needed
    #[command(after_help = "Example:\n  rowcast alerts test\n  rowcast alerts test ops")]
    Test { channel: Option<String> },
}

/// Where the server keeps its tables.
#[derive(Debug, clap::Args)]
struct Place {
    /// Where the server keeps its own tables; by default beside the state, when that is in one place
    #[arg(
        long,
        value_name = "URL",
        env = "ROWCAST_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,
}

impl Place {
    fn secret(self) -> Option<Secret<String>> {
        self.database.map(Secret::new)
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    match args.command {
        Command::List { place } => {
            let control = alerts::control(&project, place.secret().as_ref()).await?;
            let view = alerts::list(&project, &control).await?;
            context.output.answer(&view, |style| listed(&view, style));
        }
        Command::Mute {
            sync,
            lasts,
            until,
            place,
        } => {
            let control = alerts::control(&project, place.secret().as_ref()).await?;
            let request = MuteRequest { lasts, until };
            let done = alerts::mute(&project, &control, &sync, &request).await?;
            context.output.answer(&done, |_| {
                let end = match &done.until {
                    Some(until) => format!("until {until}"),
                    None => "until it is unmuted".to_owned(),
                };
                format!(
                    "Nobody is told about {sync} {end}. `rowcast alerts unmute {sync}` ends it."
                )
            });
        }
        Command::Unmute { sync, place } => {
            let control = alerts::control(&project, place.secret().as_ref()).await?;
            let done = alerts::unmute(&project, &control, &sync).await?;
            context
                .output
                .answer(&done, |_| format!("{sync} is told about again."));
        }
        Command::Test { channel } => {
            let tried = alerts::test(&project, channel.as_deref()).await?;
            context.output.answer(&tried, |style| shown(&tried, style));
            if tried.iter().any(|one| !one.delivered) {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Succeeded)
}

fn shown(tried: &[Tried], style: Style) -> String {
    let mut text = String::new();
    for one in tried {
        let mark = style.plain_mark(if one.delivered {
            Mark::Healthy
        } else {
            Mark::Failing
        });
        match &one.error {
            None => text.push_str(&format!("{mark} {}: a message was taken\n", one.channel)),
            Some(problem) => {
                text.push_str(&format!(
                    "{mark} {}\n{}\n",
                    one.channel,
                    problem.render(false)
                ));
            }
        }
    }
    text
}

fn listed(view: &AlertsView, style: Style) -> String {
    let mut text = String::new();
    if view.alerts.is_empty() {
        text.push_str("Nothing is open.\n");
    } else {
        let columns = [
            ("sync", Align::Left),
            ("alert", Align::Left),
            ("since", Align::Left),
            ("what happened", Align::Left),
        ];
        let rows = view.alerts.iter().map(|alert| {
            let told = if alert.told { "" } else { " (not told)" };
            vec![
                alert.sync.clone(),
                format!("{}{told}", alert.condition),
                since(&alert.since),
                alert.text.clone(),
            ]
        });
        text.push_str(&table(style, &columns, rows));
    }
    for muted in &view.muted {
        let end = muted.until.as_deref().unwrap_or("it is unmuted");
        text.push_str(&format!("\n{} is muted until {end}\n", muted.sync));
    }
    if view.channels.is_empty() {
        text.push_str(
            "\nThe project has no alert channel: add one to rowcast.yml, such as\nalerts: { ops: { slack: \"${env:SLACK_URL}\" } }\n",
        );
        return text;
    }
    let columns = [
        ("channel", Align::Left),
        ("kind", Align::Left),
        ("delivered", Align::Right),
        ("waiting", Align::Right),
        ("given up", Align::Right),
        ("last failure", Align::Left),
    ];
    let rows = view.channels.iter().map(|channel| {
        vec![
            channel.channel.clone(),
            channel.kind.to_owned(),
            grouped(channel.delivered),
            grouped(channel.waiting),
            grouped(channel.given_up),
            channel.error.clone().unwrap_or_default(),
        ]
    });
    text.push('\n');
    text.push_str(&table(style, &columns, rows));
    text
}
