//! The generated reference pages: the command line from clap, error codes, exit codes and modes from
//! core, the rest from the crates that own it. Everything here is checked in and compared.

use std::path::Path;

use clap::{Command, CommandFactory};
use rowcast_app::Failure;
use rowcast_core::mode::Mode;
use rowcast_core::{Code, Kind, Reason};

use crate::cli::Cli;
use crate::exit;

/// Writes every page into a folder.
///
/// # Errors
/// The folder can't be written.
pub(crate) fn write(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Reason::new(
            Code::FileUnreadable,
            format!("can't write {}", folder.display()),
        )
        .detail(error.to_string())
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut pages = rowcast_app::reference::pages();
    pages.push(("command-line.md".to_owned(), command_line()));
    pages.push(("error-codes.md".to_owned(), error_codes()));
    pages.push(("exit-codes.md".to_owned(), exit_codes()));
    pages.push((
        "http-api.md".to_owned(),
        rowcast_server::openapi::page() + &crate::routes::section(),
    ));
    pages.push((
        "openapi.json".to_owned(),
        format!("{:#}\n", rowcast_server::openapi::openapi()),
    ));
    pages.push(("modes.md".to_owned(), modes()));
    for (name, text) in pages {
        std::fs::write(folder.join(name), text).map_err(failed)?;
    }
    Ok(())
}

fn command_line() -> String {
    let mut cli = Cli::command()
        .term_width(100)
        .color(clap::ColorChoice::Never);
    cli.build();
    let mut out = String::from("# Command line\n\n");
    let about = cli.get_about().map(ToString::to_string).unwrap_or_default();
    out.push_str(&format!("{about}\n\n"));
    out.push_str("| command | what it does |\n|---|---|\n");
    let shown: Vec<Command> = cli
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .cloned()
        .collect();
    for command in &shown {
        let name = command.get_name();
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        out.push_str(&format!("| [`{name}`](#{name}) | {about} |\n"));
    }
    for mut command in shown {
        let help = command.render_long_help().to_string();
        out.push_str(&format!(
            "\n## {}\n\n```text\n{}\n```\n",
            command.get_name(),
            clean(&help)
        ));
    }
    out
}

/// Without trailing spaces, which differ with nothing.
fn clean(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn error_codes() -> String {
    let mut out = String::from(
        "# Error codes\n\nEvery error starts with its code. `rowcast explain E0205` prints the same page as here.\n\n\
         | code | meaning | exit code |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        let exit = exit::Exit::from(code.exit()).code();
        out.push_str(&format!(
            "| [{code}](../errors/{code}.md) | {} | {exit} |\n",
            code.title()
        ));
    }
    out
}

fn exit_codes() -> String {
    let mut out = String::from("# Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in exit::TABLE {
        out.push_str(&format!("| {} | {meaning} |\n", exit.code()));
    }
    out.push_str("\nSeveral syncs end with the first that applies of 130, 2, 3, 1, 4, 5.\n");
    out
}

fn modes() -> String {
    let mut out = String::from(
        "# Modes\n\nWhat a change of a row asks of the destination.\n\n\
         | mode | added | updated | removed |\n|---|---|---|---|\n",
    );
    for mode in Mode::ALL {
        let cells: Vec<&str> = [Kind::Added, Kind::Updated, Kind::Removed]
            .into_iter()
            .map(|kind| {
                mode.operation(kind)
                    .map_or("skip", |operation| operation.as_str())
            })
            .collect();
        let default = if mode == Mode::default() {
            " (default)"
        } else {
            ""
        };
        out.push_str(&format!("| {mode}{default} | {} |\n", cells.join(" | ")));
    }
    out.push_str("\n`on:` narrows a mode to some kinds of change.\n");
    out
}
