//! PostgreSQL's server programs, which the tests start as throwaway clusters, and what people put
//! in front of them: found, or installed through the system's package manager after saying so.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::terminal::say;

/// Where the server programs may be: `$PGBIN`, Debian's folders with the newest version first,
/// those of RPM packages and Homebrew, the path.
fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PGBIN")
        .into_iter()
        .map(Into::into)
        .collect();
    for base in ["/usr/lib/postgresql", "/usr/local/lib/postgresql"] {
        folders.extend(newest_first(Path::new(base)));
    }
    for major in (14..=19).rev() {
        folders.push(format!("/usr/pgsql-{major}/bin").into());
        folders.push(format!("/opt/homebrew/opt/postgresql@{major}/bin").into());
    }
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    folders
}

fn newest_first(base: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(base)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// The folder with `initdb` and `postgres`.
fn find() -> Option<PathBuf> {
    candidates().into_iter().find(|folder| {
        ["initdb", "postgres"]
            .iter()
            .all(|program| folder.join(program).is_file())
    })
}

/// Makes sure the server programs are there, and returns their folder.
///
/// # Errors
/// They are not and could not be installed; the message names what to install.
pub(crate) fn ensure() -> Result<PathBuf, String> {
    if let Some(folder) = find() {
        say(&format!("PostgreSQL server programs: {}", folder.display()));
        return Ok(folder);
    }
    say("The tests run against real PostgreSQL, whose server programs are not on this machine.");
    install("postgresql").map_err(|error| missing(&error))?;
    find().ok_or_else(|| missing("the package `postgresql` did not bring them"))
}

/// Programs that tests start besides PostgreSQL or that their build needs (librdkafka's, for a Kafka
/// cluster), with the packages that bring them.
const NEIGHBOURS: [(&str, &str); 10] = [
    ("make", "make"),
    ("g++", "g++"),
    ("aiosmtpd", "python3-aiosmtpd"),
    ("sshd", "openssh-server"),
    ("pgbouncer", "pgbouncer"),
    ("mariadbd", "mariadb-server"),
    ("mosquitto", "mosquitto"),
    ("redis-server", "redis-server"),
    ("nats-server", "nats-server"),
    ("rabbitmq-server", "rabbitmq-server"),
];

/// Makes sure that the servers which tests start are there. Without them the tests that need them
/// fail and say so; that is not decided here.
pub(crate) fn ensure_neighbours() {
    for (program, package) in NEIGHBOURS {
        let places = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
        if places
            .iter()
            .any(|place| Path::new(place).join(program).is_file())
        {
            continue;
        }
        say(&format!(
            "Some tests need {program}, which is not on this machine."
        ));
        if let Err(error) = install(package) {
            say(&format!("{package} was not installed: {error}"));
        }
    }
}

/// Installs a package of Debian or Ubuntu.
fn install(package: &str) -> Result<(), String> {
    if !process::exists("apt-get") {
        return Err("they can't be installed from here".to_owned());
    }
    let root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    if !root && !process::exists("sudo") {
        return Err("installing them needs root or sudo".to_owned());
    }
    let fresh = lists_are_empty();
    if fresh {
        apt(root, &["update"])?;
    }
    let install = ["install", "-y", "--no-install-recommends", package];
    match apt(root, &install) {
        Err(error) if fresh => Err(error),
        // The package lists name versions that the mirror no longer has.
        Err(_) => apt(root, &["update"]).and_then(|()| apt(root, &install)),
        Ok(()) => Ok(()),
    }
}

fn missing(why: &str) -> String {
    format!(
        "no PostgreSQL server programs (14 or later) were found, and {why}; install them \
         (Debian, Ubuntu: `apt-get install -y postgresql`; Fedora: `dnf install postgresql-server`; \
         macOS: `brew install postgresql@17`) or set PGBIN to the folder that holds initdb"
    )
}

/// Whether apt has never fetched its package lists, as in a fresh container.
fn lists_are_empty() -> bool {
    !std::fs::read_dir("/var/lib/apt/lists")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

fn apt(root: bool, arguments: &[&str]) -> Result<(), String> {
    let mut words: Vec<&str> = Vec::new();
    if !root {
        words.push("sudo");
    }
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    words.extend(arguments);
    say(&format!("Running: {}", words.join(" ")));
    process::run(Command::new(words[0]).args(&words[1..]))
}
