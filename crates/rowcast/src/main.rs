//! The command line of Rowcast: parse, dispatch, exit code. Use cases live in `rowcast-app`.

mod cli;
mod command;
mod demo;
mod exit;
mod killpoint;
mod output;
mod reference;
mod routes;
mod signal;
mod systemd;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;
use rowcast_app::Failure;
use rowcast_core::{Code, Reason};
use tokio_util::sync::CancellationToken;

use crate::cli::Cli;
use crate::command::Context;
use crate::exit::Exit;
use crate::output::{ColorChoice, Output};
use crate::telemetry::Telemetry;

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => start(cli),
        Err(error) => usage(&error),
    };
    ExitCode::from(exit.code())
}

fn start(cli: Cli) -> Exit {
    let output = Output::new(cli.global.json, cli.global.color);
    let telemetry = Telemetry::start(&cli, output);
    killpoint::arm();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return defect(output, "start the async runtime", &error),
    };
    let exit = runtime.block_on(async {
        let exit = carry_out(cli, output).await;
        rowcast_app::settled().await;
        exit
    });
    // Nothing else is waited for: what must be kept was committed before the command returned.
    runtime.shutdown_background();
    telemetry.end();
    exit
}

async fn carry_out(cli: Cli, output: Output) -> Exit {
    let cancel = CancellationToken::new();
    if let Err(error) = signal::listen(cancel.clone(), output) {
        return defect(output, "listen for signals", &error);
    }
    let context = Context {
        global: cli.global,
        output,
        cancel,
    };
    match command::dispatch(cli.command, &context).await {
        Ok(exit) => exit,
        Err(failure) => {
            output.failure(&failure);
            if context.cancel.is_cancelled() {
                Exit::Interrupted
            } else {
                failure.exit().into()
            }
        }
    }
}

fn defect(output: Output, doing: &str, error: &std::io::Error) -> Exit {
    let reason = Reason::defect(format!("can't {doing}")).detail(error.to_string());
    output.failure(&Failure::from(reason));
    Exit::Failed
}

/// Help and version go to stdout and succeed; wrong usage is an error like any other.
fn usage(error: &clap::Error) -> Exit {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Succeeded;
    }
    let output = Output::new(json, ColorChoice::Auto);
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output.say(&error.render().to_string());
        return Exit::Invalid;
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    if json {
        let (message, hint) = text.split_once("\n\n").unwrap_or((text, ""));
        let reason = Reason::new(Code::Usage, message.trim()).hint(hint.trim());
        output.failure(&Failure::from(reason));
    } else {
        output.say(&format!("error[{}]: {text}", Code::Usage));
    }
    Exit::Invalid
}
