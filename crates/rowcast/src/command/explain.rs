//! `rowcast explain`: an error code's page, the same text as in the documentation.

use rowcast_app::{Answer, explain};

use super::Context;
use crate::exit::Exit;
use crate::output::table::{Align, table};

/// Prints what an error code means, why it happens and how to fix it. Without a code, lists all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rowcast explain E0205")]
pub(crate) struct Args {
    /// The code, as printed in brackets after `error`
    code: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Answer<Exit> {
    let Some(word) = &args.code else {
        let codes = explain::codes();
        context.output.answer(&codes, |style| {
            table(
                style,
                &[("code", Align::Left), ("meaning", Align::Left)],
                codes
                    .iter()
                    .map(|code| vec![code.code.to_owned(), code.title.to_owned()]),
            )
        });
        return Ok(Exit::Succeeded);
    };
    let code = explain::code(word)?;
    context
        .output
        .answer(&code, |_| code.page.unwrap_or_default().to_owned());
    Ok(Exit::Succeeded)
}
