//! Object stores that the tests start: moto for S3 and DuckDB as a reader of Parquet from PyPI,
//! azurite for Azure from npm. They live in the target folder and touch nothing else.

use std::path::Path;
use std::process::Command;

use crate::terminal::say;
use crate::{process, workspace};

/// The folder in the target folder; the test kit looks for it there.
const FOLDER: &str = "object-stores";

/// Packages of Python. A new version here makes the folder anew.
const PYTHON: [&str; 4] = [
    "moto[s3]==5.2.5",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "duckdb==2.0.0",
];

/// The package of Node.
const NODE: &str = "azurite@3.37.0";

/// Makes sure that the stores are there. Without them the tests that need them fail and say so;
/// that is not decided here.
pub(crate) fn ensure() {
    if let Err(error) = make() {
        say(&format!(
            "The object stores of the tests were not installed: {error}; they need npm, and \
             python3 with venv and pip (Debian, Ubuntu: apt-get install -y npm python3-venv)"
        ));
    }
}

fn make() -> Result<(), String> {
    let folder = workspace::target_folder()?.join(FOLDER);
    let wanted = format!("{} {NODE}", PYTHON.join(" "));
    // Written last.
    let made = folder.join("made");
    if std::fs::read_to_string(&made).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    say(&format!("Fetching object stores for tests: {wanted}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    python(&folder.join("python"))?;
    node(&folder.join("node"))?;
    std::fs::write(made, wanted).map_err(|error| error.to_string())
}

fn python(folder: &Path) -> Result<(), String> {
    process::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    process::run(
        Command::new(folder.join("bin/python3"))
            .args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            .args(PYTHON),
    )
}

fn node(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    process::run(
        Command::new("npm")
            .args(["install", "--silent", "--ignore-scripts"])
            .args(["--no-audit", "--no-fund", "--prefix"])
            .arg(folder)
            .arg(NODE),
    )
}
