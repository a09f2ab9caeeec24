//! Pages that come from code: generated, checked in, and compared in every test run.
//!
//! The binary writes what it knows of itself (`rowcast docs-reference FOLDER`: command line, YAML
//! keys, mapping functions, connectors, error codes, modes). The page of rules and their tests is
//! made here, because it is read from the source text; so are the lines of the table of contents
//! for errors and reference, whose pages come and go with the code. The page of the benchmark is
//! made by the benchmark from its results file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::pending;
use crate::process;
use crate::terminal::say;
use crate::tidy::{pages, rules};
use crate::tree::{Tree, root};
use crate::workspace;

/// Where generated pages live. Nothing in this folder is written by hand.
const FOLDER: &str = "docs/src/reference/";

/// Charts of the benchmark; nothing else is in this folder.
const CHARTS: &str = "docs/src/benchmark/";

/// A page by hand that shows the first table of a generated one.
const SHOWS_TABLE: (&str, &str) = ("docs/src/concepts/modes.md", "docs/src/reference/modes.md");

/// Whether to write the pages or to compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Do {
    Write,
    Compare,
}

/// Writes or compares the generated pages.
///
/// # Errors
/// The binary could not write them, or pages differ: the message names them.
pub(crate) fn run(what: Do) -> Outcome {
    let tree = Tree::read(&root())?;
    let wanted = wanted(&tree)?;
    let mut differing: Vec<&str> = wanted
        .iter()
        .filter(|(path, text)| tree.get(path) != Some(text.as_str()))
        .map(|(path, _)| path.as_str())
        .collect();
    differing.extend(
        tree.files()
            .map(|(path, _)| path)
            .filter(|path| path.starts_with(FOLDER) || path.starts_with(CHARTS))
            .filter(|path| !wanted.contains_key(*path)),
    );
    if differing.is_empty() {
        say(&format!("{} generated pages are up to date", wanted.len()));
        return Ok(());
    }
    if what == Do::Compare {
        return Err(format!(
            "generated pages are out of date: {}; run `cargo xtask generate`",
            differing.join(", ")
        ));
    }
    for path in differing {
        let file = root().join(path);
        let failed = |error: std::io::Error| format!("could not write {path}: {error}");
        match wanted.get(path) {
            Some(text) => {
                if let Some(folder) = file.parent() {
                    std::fs::create_dir_all(folder).map_err(failed)?;
                }
                std::fs::write(file, text).map_err(failed)?;
                say(&format!("wrote {path}"));
            }
            None => {
                std::fs::remove_file(file).map_err(failed)?;
                say(&format!("removed {path}"));
            }
        }
    }
    Ok(())
}

/// The pages as they should be, by path.
fn wanted(tree: &Tree) -> Result<BTreeMap<String, String>, String> {
    let mut wanted = BTreeMap::new();
    if pending::is_pending("generate", "") {
        say("pending: the binary does not write its reference yet");
    } else {
        for (name, text) in from_binary()? {
            wanted.insert(format!("{FOLDER}{name}"), text);
        }
    }
    for (path, text) in from_benchmark()? {
        wanted.insert(path, text);
    }
    let (page, of) = SHOWS_TABLE;
    if let Some(from) = wanted.get(of) {
        let text = pages::with_table_of(tree.get(page).unwrap_or_default(), from)
            .ok_or_else(|| format!("{page} has no place for a table, or {of} has no table"))?;
        wanted.insert(page.to_owned(), text);
    }
    wanted.insert(format!("{FOLDER}rules.md"), rules::page(tree));
    let reference: Vec<(String, String)> = wanted
        .iter()
        .filter(|(path, _)| {
            path.starts_with(FOLDER)
                && Path::new(path)
                    .extension()
                    .is_some_and(|ending| ending == "md")
        })
        .map(|(path, text)| {
            let path = path.trim_start_matches("docs/src/").to_owned();
            (path, pages::title(text).to_owned())
        })
        .collect();
    let summary = pages::summary(tree, &reference);
    wanted.insert(pages::SUMMARY.to_owned(), summary);
    Ok(wanted)
}

/// An empty folder below Cargo's target folder.
fn empty_folder(name: &str) -> Result<PathBuf, String> {
    let folder = workspace::target_folder()?.join(name);
    let failed = |error: std::io::Error| format!("could not use {}: {error}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(failed)?;
    }
    std::fs::create_dir_all(&folder).map_err(failed)?;
    Ok(folder)
}

/// What the benchmark makes of its results: the page and the charts, by path.
fn from_benchmark() -> Result<BTreeMap<String, String>, String> {
    let folder = empty_folder("docs-benchmark")?;
    let program = workspace::target_folder()?.join("debug/rowcast-bench");
    let mut command = Command::new(program);
    command.arg("--render").arg("--root").arg(root());
    process::run(command.arg("--into").arg(&folder))?;
    let page = read_folder(&folder.join("docs/src"))?;
    let charts = read_folder(&folder.join(CHARTS))?;
    let page = page
        .into_iter()
        .map(|(name, text)| (format!("docs/src/{name}"), text));
    let charts = charts
        .into_iter()
        .map(|(name, text)| (format!("{CHARTS}{name}"), text));
    Ok(page.chain(charts).collect())
}

/// What the binary writes of itself.
fn from_binary() -> Result<BTreeMap<String, String>, String> {
    // The same selection of packages and targets as the tests, so that nothing is built twice.
    workspace::build()?;
    let target = workspace::target_folder()?;
    let folder = empty_folder("docs-reference")?;
    let program = target.join("debug/rowcast");
    process::run(Command::new(program).arg("docs-reference").arg(&folder))?;
    read_folder(&folder)
}

fn read_folder(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut pages = BTreeMap::new();
    let failed = |error: std::io::Error| format!("could not read {}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).map_err(failed)?;
        pages.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Ok(pages)
}
