//! `rowcast docs-reference` (hidden): the generated reference pages.

use std::path::PathBuf;

use rowcast_app::Answer;

use super::Context;
use crate::exit::Exit;
use crate::reference;

/// Writes the generated reference pages into a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    dir: PathBuf,
}

pub(crate) fn run(args: &Args, _: &Context) -> Answer<Exit> {
    reference::write(&args.dir)?;
    Ok(Exit::Succeeded)
}
