//! The benchmark behind `cargo xtask bench`: Rowcast against what the machine can do and against
//! its peers, on the same rows, in turns, with everything that arrived compared to the source.
//!
//! It uses the release program as a user would, through its command line and a project folder, and
//! must never reach into the product's crates. Nothing depends on it. It needs Linux: CPU and
//! memory are read from `/proc`.

mod bench;
mod cluster;
mod data;
mod goals;
mod load;
mod machine;
mod measure;
mod options;
mod page;
mod peers;
mod proc;
mod project;
mod proxy;
mod results;
mod scenario;
mod service;
mod sink;
mod stats;
mod svg;
mod terminal;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use bench::Bench;
use options::Options;
use peers::Peers;
use results::{FORMAT, Results};
use terminal::{complain, heading, judged, say};

/// Where results are kept, and the reasons for missed bars by the key of the check.
const RESULTS: &str = "bench/results";
const NOTES: &str = "bench/notes.json";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["sink", folder] => sink::process(Path::new(folder)),
        ["load", folder, port] => match port.parse() {
            Ok(port) => load::process(Path::new(folder), port),
            Err(_) => Err("that is no port".to_owned()),
        },
        ["soak" | "service", "--help" | "-h"] => {
            say(service::HELP);
            Ok(())
        }
        ["soak", ..] => service::Options::read(&words[1..]).and_then(|o| service::soak::run(&o)),
        ["service", ..] => {
            service::Options::read(&words[1..]).and_then(|o| service::speed::run(&o))
        }
        ["--help" | "-h" | "help"] => {
            say(options::HELP);
            Ok(())
        }
        _ => Options::read(&words).and_then(|options| {
            if options.render {
                render(&options)
            } else {
                run(options)
            }
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures, prints, and writes the results.
fn run(options: Options) -> Result<(), String> {
    let cache = options.target.join("bench");
    let folder = options.dir.clone().unwrap_or_else(|| cache.clone());
    remove_leftovers(&folder);
    let folder = folder.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let began = std::time::Instant::now();
    let measured = measure_all(options.clone(), &cache, &folder);
    say(&format!("\nmeasured for {} s", began.elapsed().as_secs()));
    // Gigabytes, whatever happened.
    let removed = std::fs::remove_dir_all(&folder);
    let measured = measured?;
    removed.map_err(|e| format!("could not remove {}: {e}", folder.display()))?;
    show(&measured);
    let file = options
        .root
        .join(RESULTS)
        .join(format!("{}.json", options.name));
    let results = if options.only.is_empty() {
        measured
    } else if options.update {
        let mut old = Results::read(&read(&file)?)?;
        old.replace(&measured);
        old
    } else {
        let file = cache.join(format!("{}.json", options.name));
        write(&file, &measured.text()?)?;
        say(&format!(
            "\nwritten to {}; --update would put it into the results",
            file.display()
        ));
        return Ok(());
    };
    write(&file, &results.text()?)?;
    say(&format!("\nwritten to {}", file.display()));
    render(&options)
}

/// Removes what killed runs have left: their data may be gigabytes.
fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("run-").and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid: u32| proc::stat(pid).is_none()) {
            // One that can't be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn measure_all(options: Options, cache: &Path, folder: &Path) -> Result<Results, String> {
    let needed = [5, 6].iter().any(|goal| options.wants(*goal));
    let peers = Peers::install(cache, folder, options.no_peers || !needed);
    let mut bench = Bench::start(options, folder, peers)?;
    scenario::run(&mut bench);
    bench.measures.sort_by_key(|measure| measure.goal);
    Ok(Results {
        format: FORMAT,
        name: bench.options.name.clone(),
        date: bench.date().to_owned(),
        product: env!("CARGO_PKG_VERSION").to_owned(),
        machine: machine::describe(),
        server: bench.cluster.version()?,
        settings: bench.cluster.settings()?.into_iter().collect(),
        peers: bench.peers.list.clone(),
        rows: bench.options.rows,
        rows_big: bench.options.rows_big,
        measures: std::mem::take(&mut bench.measures),
    })
}

/// The goals that were measured, as a table.
fn show(results: &Results) {
    heading("goals");
    let measured: Vec<u8> = results.measures.iter().map(|m| m.goal).collect();
    for check in goals::checks(results) {
        if measured.contains(&check.goal) {
            let (figure, word) = page::verdict(&check);
            let bar = page::bar(check.bar, check.unit);
            let word = judged(word, check.met() == Some(true));
            say(&format!(
                "{:<4} {:<46} {figure:>10}  {bar:<10} {word}",
                check.key, check.what
            ));
        }
    }
}

/// Writes the page of the documentation: from the full results, or while there are none from the
/// quick ones.
fn render(options: &Options) -> Result<(), String> {
    let folder = options.root.join(RESULTS);
    let names = ["full.json", "quick.json"];
    let Some(file) = names
        .map(|name| folder.join(name))
        .into_iter()
        .find(|f| f.is_file())
    else {
        return Err(format!("there are no results in {RESULTS} yet"));
    };
    let results = Results::read(&read(&file)?)?;
    let notes = read(&options.root.join(NOTES))?;
    let why: BTreeMap<String, String> =
        serde_json::from_str(&notes).map_err(|error| format!("{NOTES} can't be read: {error}"))?;
    for (path, text) in page::files(&results, &why) {
        let root = options.into.as_ref().unwrap_or(&options.root);
        write(&root.join(&path), &text)?;
    }
    if options.into.is_some() {
        return Ok(());
    }
    say(&format!("the page {} follows {}", page::PAGE, results.name));
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("could not write {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}
