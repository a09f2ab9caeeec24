//! `rowcast explain`: an error code's page, the same text as in the documentation.

use rowcast_app::Answer;
use rowcast_core::{Code, Reason};
use serde::Serialize;

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

#[derive(Serialize)]
struct Entry {
    code: &'static str,
    title: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'static str>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Answer<Exit> {
    let Some(word) = &args.code else {
        let pages: Vec<Entry> = Code::ALL
            .iter()
            .map(|code| Entry {
                code: code.as_str(),
                title: code.title(),
                page: None,
            })
            .collect();
        context.output.answer(&pages, |style| {
            table(
                style,
                &[("code", Align::Left), ("meaning", Align::Left)],
                pages
                    .iter()
                    .map(|page| vec![page.code.to_owned(), page.title.to_owned()]),
            )
        });
        return Ok(Exit::Succeeded);
    };
    let code = Code::parse(word).ok_or_else(|| {
        Reason::new(Code::Usage, format!("can't explain the code \"{word}\""))
            .detail("there is no such code")
            .hint("`rowcast explain` lists all codes")
    })?;
    let page = Entry {
        code: code.as_str(),
        title: code.title(),
        page: Some(code.page()),
    };
    context.output.answer(&page, |_| code.page().to_owned());
    Ok(Exit::Succeeded)
}
