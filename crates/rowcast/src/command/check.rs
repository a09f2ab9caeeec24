//! `rowcast check`: named checks of sources and destinations, each with its cure.

use rowcast_app::Answer;
use rowcast_app::view::{CheckGroup, CheckView};
use rowcast_core::Code;

use super::Context;
use crate::exit::Exit;
use crate::output::{Mark, Role, Style};

/// Checks that sources can be read, that state can be written and that destinations answer. Changes
/// nothing. Each failure names its cure, down to the GRANT.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast check\n  rowcast check shop crm")]
pub(crate) struct Args {
    /// Sources and destinations to check; all without a name
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Answer<Exit> {
    let project = context.project()?;
    let groups = rowcast_app::check::check(&project, &args.names).await?;
    context.output.answer(&groups, |style| {
        groups
            .iter()
            .map(|group| render(group, style))
            .collect::<Vec<_>>()
            .join("\n")
    });
    let failed = groups
        .iter()
        .flat_map(|group| &group.checks)
        .filter(|check| check.status == "failed");
    Ok(Exit::worst(failed.map(|check| {
        let code = check
            .problem
            .as_ref()
            .map_or(Code::CheckFailed, |problem| problem.reason.code);
        // Only a connection has a code of its own here; a missing grant is a failed check.
        match Exit::from(code.exit()) {
            Exit::Connect => Exit::Connect,
            _ => Exit::Failed,
        }
    })))
}

fn render(group: &CheckGroup, style: Style) -> String {
    let mut out = style.paint(Role::Strong, &format!("{} {}", group.kind, group.name));
    out.push('\n');
    let width = group
        .checks
        .iter()
        .map(|check| check.name.chars().count())
        .max()
        .unwrap_or(0);
    for check in &group.checks {
        out.push_str(&line(check, width, style));
    }
    out
}

fn line(check: &CheckView, width: usize, style: Style) -> String {
    let mark = match check.status {
        "passed" => Mark::Passed,
        "warned" => Mark::Warning,
        "failed" => Mark::Failed,
        _ => Mark::Skipped,
    };
    let mut out = format!(
        "  {} {:<width$}  {}\n",
        style.mark(mark),
        check.name,
        check.found
    );
    if let Some(problem) = &check.problem {
        let reason = &problem.reason;
        let parts = [("detail", &reason.detail), ("hint", &reason.hint)];
        for (name, text) in parts {
            if let Some(text) = text {
                let text = text
                    .trim_end()
                    .replace('\n', &format!("\n{}", " ".repeat(name.len() + 8)));
                out.push_str(&format!(
                    "      {} {text}\n",
                    style.paint(Role::Muted, &format!("{name}:"))
                ));
            }
        }
        let more = format!("rowcast explain {}", reason.code);
        out.push_str(&format!(
            "      {} {more}\n",
            style.paint(Role::Muted, "more:")
        ));
    }
    out
}
