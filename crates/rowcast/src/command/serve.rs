//! `rowcast serve`: the project as a service.

use std::net::SocketAddr;

use rowcast_app::Answer;
use rowcast_app::serve::{ServeOptions, Service};
use rowcast_core::Secret;
use rowcast_server::{LISTEN, Rate, Server};

use super::Context;
use crate::exit::Exit;
use crate::output::number::counted;
use crate::systemd;

/// Keeps the project's schedules and answers its HTTP API until it is stopped: starts each sync when
/// it is due, carries on what an earlier server left, and reads the files again when they change.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  rowcast serve\n  rowcast serve --database postgresql://rowcast@ops.internal/rowcast"
)]
pub(crate) struct Args {
    /// Where the API listens; only from this machine unless another address is given
    #[arg(long, value_name = "HOST:PORT", default_value = LISTEN)]
    listen: SocketAddr,
    /// Where the server keeps its own tables; by default beside the state, when that is in one place
    #[arg(
        long,
        value_name = "URL",
        env = "ROWCAST_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,
    /// Syncs that run at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// A name under which the API is asked, besides addresses and localhost; may be given several times
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Requests of one token to the API in ten seconds
    #[arg(long, value_name = "N", default_value_t = Rate::default().requests, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Makes a Git commit of each change of a file over the API
    #[arg(long)]
    git: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let service = Service::open(ServeOptions {
        dir: context.project()?.dir().to_owned(),
        env: context.global.env.clone(),
        database: args.database.map(Secret::new),
        jobs: usize::from(args.jobs),
        git: args.git,
    })
    .await?;
    let mut server = Server::bind(service.clone(), args.listen, &context.cancel)
        .await?
        .with_rate(Rate {
            requests: args.requests,
            ..Rate::default()
        });
    if !args.host.is_empty() {
        server = server.with_names(&args.host);
    }
    if let Some(token) = service.first_token().await? {
        context.output.note(&format!(
            "the API's first token, which permits everything and is not shown again: {}",
            token.reveal()
        ));
    }
    let address = server.address().unwrap_or(args.listen);
    let syncs = service.project().sync_names().len();
    context.output.note(&format!(
        "serving {} on http://{address}; stop with SIGTERM or Ctrl-C, and the next start carries on",
        counted(syncs as u64, "sync")
    ));
    systemd::notify("READY=1");
    tokio::join!(service.run(&context.cancel), server.serve(), async {
        context.cancel.cancelled().await;
        systemd::notify("STOPPING=1");
    });
    Ok(Exit::Succeeded)
}
