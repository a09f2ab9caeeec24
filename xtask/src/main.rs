//! `cargo xtask`: the project's own tools behind one door, with nothing else to install.
//!
//! It builds in seconds, because it is the first thing a new contributor types: no dependency but
//! a JSON reader. It must never be a dependency of anything, and never do what Cargo does itself.

mod bench;
mod generate;
mod layers;
mod packaged;
mod pending;
mod postgres;
mod process;
mod proofs;
mod stores;
mod terminal;
mod tidy;
mod tree;
mod workspace;

use std::process::ExitCode;

use process::cargo;
use terminal::{complain, heading, say};

const HELP: &str = "\
The project's own tools.

Usage: cargo xtask <COMMAND>

Commands:
  test [LAYER…]       Install what the tests need, build them once, run all layers or those named;
                      with --postgres 18 on that version, fetched as a package
  ci                  What must hold before a change lands: fmt --check, lint, tidy, test
  fmt [--check]       Format the Rust code
  lint                Clippy and rustdoc, with warnings as errors; cargo-deny where it is installed
  tidy                The rules a compiler does not know: floors, names, pages, rules and tests
  generate [--check]  Write the reference pages that come from code, or say which are out of date
  bench [OPTIONS]     Measure the release program; `cargo xtask bench --help` says how
  soak [--minutes N]  A hundred syncs for half an hour: memory, descriptors, connections, stuck runs
  service             How fast the API answers with long histories, and runs begin
  sim [--seed N] [--seeds N]
                      The engine's simulation: one seed with its trace, or so many seeds
  fuzz TARGET [--seconds N]
                      The fuzzer (cargo-fuzz must be installed), for 60 seconds or N
  docs                Build the book (with mdbook) and the crates' documentation

Layers of `test`:
";

/// A failure with its message for a person; the tools it ran have already spoken.
pub(crate) type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            say(&format!("{HELP}{}", layers::help()));
            Ok(())
        }
        ["ci"] => ci(),
        ["fmt"] => cargo(&["fmt", "--all"]),
        ["fmt", "--check"] => cargo(&["fmt", "--all", "--check"]),
        ["lint"] => lint(),
        ["tidy"] => tidy::run(),
        ["test", "--postgres", major, names @ ..] => layers::run(names, Some(major)),
        ["test", names @ ..] => layers::run(names, None),
        ["generate"] => generate::run(generate::Do::Write),
        ["generate", "--check"] => generate::run(generate::Do::Compare),
        ["bench", words @ ..] => bench::run(words),
        ["soak", words @ ..] => bench::of_the_server("soak", words),
        ["service", words @ ..] => bench::of_the_server("service", words),
        ["sim", options @ ..] => sim(options),
        ["fuzz", target] => fuzz(target, "60"),
        ["fuzz", target, "--seconds", seconds] => fuzz(target, seconds),
        ["docs"] => docs(),
        other => Err(format!(
            "`{}` is not a command of xtask; `cargo xtask help` lists them",
            other.join(" ")
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

/// The quick refusals first: a formatting slip should not cost a build.
fn ci() -> Outcome {
    heading("fmt", "the code is formatted");
    cargo(&["fmt", "--all", "--check"])?;
    lint()?;
    layers::run(&[], None)
}

fn lint() -> Outcome {
    heading(
        "clippy",
        "no warnings, and none of the calls that clippy.toml fences off",
    );
    cargo(&[
        "clippy",
        "--workspace",
        workspace::FEATURES,
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?;
    heading(
        "rustdoc",
        "every link in the documentation of the code resolves",
    );
    process::run(
        process::cargo_command(&[
            "doc",
            "--workspace",
            workspace::FEATURES,
            "--no-deps",
            "--document-private-items",
        ])
        .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    if process::exists("cargo-deny") {
        heading("deny", "licences, bans and sources of dependencies");
        // Advisories need a database from the network; they have their own scheduled job.
        cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"])?;
    } else {
        say("cargo-deny is not installed: licences and bans of dependencies were not checked");
    }
    Ok(())
}

/// The simulation by itself, for one seed or for more of them than a test run plays.
fn sim(options: &[&str]) -> Outcome {
    let arguments = ["test", "--workspace", "--test", "simulation", "--"];
    let mut command = process::cargo_command(&arguments);
    command.args(["--nocapture", "guarantee_2"]);
    match options {
        [] => {}
        ["--seed", seed] => {
            command.env("ROWCAST_SIM_SEED", seed);
        }
        ["--seeds", seeds] => {
            command.env("ROWCAST_SIM_SEEDS", seeds);
        }
        _ => return Err("usage: cargo xtask sim [--seed N | --seeds N]".into()),
    }
    process::run(&mut command)
}

/// The fuzzer. Without sanitizers the stable toolchain is enough: no code here is `unsafe`.
fn fuzz(target: &str, seconds: &str) -> Outcome {
    if !process::exists("cargo-fuzz") {
        return Err("cargo-fuzz is not installed: cargo install cargo-fuzz".into());
    }
    let seconds: u32 = seconds
        .parse()
        .map_err(|_| format!("`{seconds}` is not a number of seconds"))?;
    let time = format!("-max_total_time={seconds}");
    // The fuzzer adds what it finds to the first folder: the committed corpus is only read.
    let corpus = format!("fuzz/corpus/{target}");
    if !tree::root().join(&corpus).is_dir() {
        return Err(format!("there is no target `{target}` in fuzz/corpus"));
    }
    let found = format!("fuzz/found/{target}");
    std::fs::create_dir_all(tree::root().join(&found))
        .map_err(|error| format!("could not make {found}: {error}"))?;
    let arguments = [
        "fuzz",
        "run",
        "--sanitizer",
        "none",
        target,
        &found,
        &corpus,
        "--",
        &time,
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=1024",
    ];
    // The flags that count coverage are stable in all but name.
    process::run(process::cargo_command(&arguments).env("RUSTC_BOOTSTRAP", "1"))
}

fn docs() -> Outcome {
    cargo(&["doc", "--workspace", "--no-deps"])?;
    if process::exists("mdbook") {
        process::run(
            std::process::Command::new("mdbook")
                .arg("build")
                .arg(tree::root().join("docs")),
        )
    } else {
        say("mdbook is not installed: the book can be read as it is in docs/src, from SUMMARY.md");
        Ok(())
    }
}
