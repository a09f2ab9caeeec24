//! `rowcast connectors test` for a custom connector: the conformance suite's findings.

use std::path::Path;

use rowcast_app::connectors::{self, ExamineRequest, FindingView, Subject};
use rowcast_app::{Answer, Project};
use rowcast_core::{Code, Reason};

use super::super::Context;
use crate::exit::Exit;
use crate::output::{Mark, Role, Style};

/// The custom connector that the words mean; `None` when they mean manifests.
///
/// # Errors
/// They mean both, or several.
pub(super) fn subject(
    context: &Context,
    names: &[String],
    command: Vec<String>,
) -> Answer<Option<Subject>> {
    let is_url = |word: &String| word.starts_with("http://") || word.starts_with("https://");
    let subject = match (names, command.is_empty()) {
        ([], false) => Some(Subject::Command(command)),
        ([url], true) if is_url(url) => Some(Subject::Url(url.clone())),
        ([name], true) => {
            let project = context.project_if_any()?;
            let is_ours = |project: &Project| connectors::is_custom_destination(project, name);
            let ours = project.as_ref().is_some_and(is_ours);
            ours.then(|| Subject::Destination(name.clone()))
        }
        (names, true) if !names.iter().any(is_url) => None,
        _ => {
            return Err(
                Reason::new(Code::Usage, "can't tell which connector is meant")
                    .hint("name manifests, or one URL, or one command after --")
                    .into(),
            );
        }
    };
    Ok(subject)
}

/// Runs the suite and prints what it found.
pub(super) async fn examine(
    context: &Context,
    subject: &Subject,
    request: &ExamineRequest,
    exchanges: bool,
) -> Answer<Exit> {
    // A destination comes with its credentials; what was typed needs no project.
    let project = match subject {
        Subject::Destination(_) => Some(context.project()?),
        Subject::Url(_) | Subject::Command(_) => None,
    };
    let findings = connectors::examine(project.as_ref(), Path::new("."), subject, request).await?;
    let of = |verdict: &str| findings.iter().filter(|f| f.verdict == verdict).count();
    let failed = of("failed");
    context.output.answer(&findings, |style| {
        let width = findings.iter().map(|f| f.check.len()).max().unwrap_or(0);
        let mut out = String::new();
        for finding in &findings {
            out.push_str(&line(style, finding, width, exchanges));
        }
        out.push_str(&format!(
            "\n{} passed, {failed} failed, {} skipped\n",
            of("passed"),
            of("skipped")
        ));
        out
    });
    Ok(match failed {
        0 => Exit::Succeeded,
        _ => Exit::Failed,
    })
}

fn line(style: Style, finding: &FindingView, width: usize, exchanges: bool) -> String {
    let mark = match finding.verdict {
        "passed" => Mark::Passed,
        "failed" => Mark::Failed,
        _ => Mark::Skipped,
    };
    let check = finding.check;
    let mut out = format!("{} {check:width$}  {}\n", style.mark(mark), finding.found);
    let failed = finding.verdict == "failed";
    let mut more = |name: &str, text: &str| {
        let name = style.paint(Role::Muted, &format!("{name:>8}"));
        out.push_str(&format!("  {name}  {text}\n"));
    };
    if failed {
        more("demanded", finding.demand);
    }
    if failed || exchanges {
        for (name, text) in [("sent", &finding.sent), ("got", &finding.got)] {
            if let Some(text) = text {
                more(name, text);
            }
        }
    }
    out
}
