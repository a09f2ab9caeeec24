//! `cargo xtask bench`: builds the release program and the benchmark, and hands over to it. The
//! benchmark itself is the crate `rowcast-bench`, so that xtask stays small.

use std::process::Command;

use crate::process::{self, cargo};
use crate::tree::root;
use crate::{Outcome, postgres, workspace};

/// Runs the benchmark with these words.
///
/// # Errors
/// A build failed, there is no PostgreSQL, or the benchmark failed.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let target = workspace::target_folder()?;
    let help = words.iter().any(|word| ["--help", "-h"].contains(word));
    if help || words.contains(&"--render") {
        cargo(&["build", "--quiet", "--package", "rowcast-bench"])?;
        let mut command = Command::new(target.join("debug/rowcast-bench"));
        command.args(if help { &["--help"] } else { words });
        if !help {
            command.arg("--root").arg(root());
        }
        return process::run(&mut command);
    }
    measure(words)
}

/// Runs a measurement of the server with these words.
///
/// # Errors
/// A build failed, there is no PostgreSQL, or a bar is missed.
pub(crate) fn of_the_server(name: &str, words: &[&str]) -> Outcome {
    let mut all = vec![name];
    all.extend(words);
    if words.iter().any(|word| ["--help", "-h"].contains(word)) {
        cargo(&["build", "--quiet", "--package", "rowcast-bench"])?;
        let program = workspace::target_folder()?.join("debug/rowcast-bench");
        return process::run(Command::new(program).args(&all[..1]).arg("--help"));
    }
    measure(&all)
}

fn measure(words: &[&str]) -> Outcome {
    let target = workspace::target_folder()?;
    let programs = postgres::ensure()?;
    cargo(&[
        "build",
        "--release",
        "--package",
        "rowcast",
        "--package",
        "rowcast-bench",
    ])?;
    let mut command = Command::new(target.join("release/rowcast-bench"));
    command
        .args(words)
        .arg("--programs")
        .arg(programs)
        .arg("--rowcast")
        .arg(target.join("release/rowcast"))
        .arg("--root")
        .arg(root())
        .arg("--target")
        .arg(&target);
    process::run(&mut command)
}
