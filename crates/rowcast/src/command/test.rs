//! `rowcast test`: given rows, expected records.

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::output::number::counted;
use crate::output::{Mark, Role};

/// Maps the rows of tests/*.yml and compares the records with what the tests expect. Needs no
/// secrets, no database and no network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast test\n  rowcast test customers_are_mapped")]
pub(crate) struct Args {
    /// Tests; all without a name
    #[arg(value_name = "TEST")]
    tests: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Answer<Exit> {
    let project = context.project_without_secrets()?;
    let results = rowcast_app::test::run(&project, &args.tests)?;
    let failed = results.iter().filter(|result| !result.passed).count() as u64;
    context.output.answer(&results, |style| {
        let mut out = String::new();
        for result in &results {
            let mark = if result.passed {
                Mark::Passed
            } else {
                Mark::Failed
            };
            out.push_str(&format!(
                "{} {}  {}\n",
                style.mark(mark),
                result.test,
                style.paint(Role::Muted, &counted(result.rows as u64, "row"))
            ));
            for difference in &result.differences {
                out.push_str(&format!(
                    "    row {}: {}\n",
                    difference.row, difference.path
                ));
                out.push_str(&format!(
                    "      {} {}\n",
                    style.paint(Role::Good, "expected"),
                    difference.expected
                ));
                out.push_str(&format!(
                    "      {} {}\n",
                    style.paint(Role::Bad, "got     "),
                    difference.got
                ));
            }
        }
        let passed = results.len() as u64 - failed;
        out.push_str(&format!("\n{passed} passed, {failed} failed\n"));
        out
    });
    Ok(if failed > 0 {
        Exit::Failed
    } else {
        Exit::Succeeded
    })
}
