//! Finding PostgreSQL's server programs, or installing them where that is one command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rowcast_core::{Code, Reason};

use crate::output::Output;

/// What the demo needs; they live side by side in every packaging.
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "psql"];

/// Folders that Homebrew uses for versioned formulas.
const HOMEBREW: [&str; 2] = ["/opt/homebrew/opt", "/usr/local/opt"];

/// The folder with the server programs, installed first if need be.
///
/// # Errors
/// They are missing and can't be installed from here; says the one line that does.
pub(crate) fn ensure(output: Output) -> Result<PathBuf, Reason> {
    if let Some(folder) = find() {
        return Ok(folder);
    }
    let Some(words) = install_command() else {
        return Err(missing(advice()));
    };
    output.say("No PostgreSQL server programs were found. Installing them:");
    output.say(&format!("  {}", words.join(" ")));
    let status = Command::new(words[0])
        .args(&words[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match (status, find()) {
        (_, Some(folder)) => Ok(folder),
        (Ok(status), None) => {
            let reason = missing("apt-get update && apt-get install -y postgresql".into());
            Err(reason.detail(format!("the installation ended with {status}")))
        }
        (Err(error), None) => Err(missing(advice()).detail(error.to_string())),
    }
}

fn missing(line: String) -> Reason {
    Reason::new(
        Code::PostgresNotFound,
        "can't start a throwaway PostgreSQL server",
    )
    .detail("initdb, postgres and psql are in none of the usual places")
    .hint(format!(
        "install the server:  {line}\nor point PGBIN at the folder that holds initdb"
    ))
}

/// The newest folder that holds all programs.
fn find() -> Option<PathBuf> {
    candidates()
        .into_iter()
        .find(|folder| PROGRAMS.iter().all(|program| folder.join(program).exists()))
}

fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PGBIN")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    folders.extend(newest_first(Path::new("/usr/lib/postgresql"), "").map(|p| p.join("bin")));
    folders.extend(newest_first(Path::new("/usr"), "pgsql-").map(|p| p.join("bin")));
    for base in HOMEBREW {
        folders.extend(newest_first(Path::new(base), "postgresql@").map(|p| p.join("bin")));
    }
    folders.extend(
        newest_first(
            Path::new("/Applications/Postgres.app/Contents/Versions"),
            "",
        )
        .map(|p| p.join("bin")),
    );
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    folders
}

/// Subfolders named `prefix` + version, newest first.
fn newest_first(folder: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?;
            let major: String = version.chars().take_while(char::is_ascii_digit).collect();
            Some((major.parse().ok()?, entry.path()))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, path)| path)
}

/// The command that installs the server without asking, where there is one: Debian and Ubuntu, as
/// root or with a sudo that needs no password.
fn install_command() -> Option<Vec<&'static str>> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return None;
    }
    let shell = [
        "sh",
        "-c",
        "apt-get update -q && apt-get install -q -y postgresql",
    ];
    if rustix::process::geteuid().is_root() {
        return Some(shell.to_vec());
    }
    let passwordless = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    passwordless.then(|| ["sudo", "-n"].into_iter().chain(shell).collect())
}

/// The line for this system, for a person to type.
fn advice() -> String {
    let has = |path: &str| Path::new(path).exists();
    if has("/usr/bin/apt-get") {
        "sudo apt-get install -y postgresql"
    } else if has("/usr/bin/dnf") {
        "sudo dnf install -y postgresql-server"
    } else if has("/sbin/apk") {
        "sudo apk add postgresql"
    } else if has("/usr/bin/pacman") {
        "sudo pacman -S postgresql"
    } else if cfg!(target_os = "macos") {
        "brew install postgresql@17"
    } else {
        "see https://www.postgresql.org/download/"
    }
    .to_owned()
}
