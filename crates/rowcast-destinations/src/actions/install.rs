//! Puts the actions host in place: its own files come with the program, the packages they need from
//! npm, exactly those of the lock file.
//!
//! A folder for each version of the files: an upgrade never runs beside packages of another one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rowcast_core::{Code, Reason};

/// The host's files, by name.
const FILES: [(&str, &str); 8] = [
    (
        "package.json",
        include_str!("../../../../actions-host/package.json"),
    ),
    (
        "package-lock.json",
        include_str!("../../../../actions-host/package-lock.json"),
    ),
    ("host.js", include_str!("../../../../actions-host/host.js")),
    ("pipe.js", include_str!("../../../../actions-host/pipe.js")),
    ("seal.js", include_str!("../../../../actions-host/seal.js")),
    (
        "fetch.js",
        include_str!("../../../../actions-host/fetch.js"),
    ),
    (
        "actions.js",
        include_str!("../../../../actions-host/actions.js"),
    ),
    (
        "catalogue.js",
        include_str!("../../../../actions-host/catalogue.js"),
    ),
];

/// Written last: the installation is whole, and of which version.
const MARK: &str = ".installed";

/// The oldest Node that runs the host.
pub const NODE_MIN: u32 = 20;

/// Where the actions host is, or would be.
#[derive(Debug, Clone)]
pub struct Installation {
    folder: PathBuf,
    path: Option<std::ffi::OsString>,
}

impl Installation {
    /// In a folder of its own below `data`, the user's folder for data of programs. `path`: the
    /// folders of programs, as the variable `PATH` lists them.
    pub fn below(data: &Path, path: Option<&OsStr>) -> Self {
        let folder = data.join("rowcast");
        Self::at(folder.join(format!("actions-host-{}", fingerprint())), path)
    }

    /// In this folder.
    pub fn at(folder: PathBuf, path: Option<&OsStr>) -> Self {
        Self {
            folder,
            path: path.map(OsStr::to_owned),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program that runs the host.
    pub(super) fn node(&self) -> Option<PathBuf> {
        self.program("node")
    }

    /// The host's own script.
    pub(super) fn script(&self) -> PathBuf {
        self.folder.join("host.js")
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(self.path.as_deref()?)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    }

    /// What keeps the host from running, without running anything.
    pub fn missing(&self) -> Option<Reason> {
        if self.node().is_none() {
            return Some(no_program("node"));
        }
        let mark = std::fs::read_to_string(self.folder.join(MARK)).unwrap_or_default();
        (mark.trim() != fingerprint()).then(|| {
            Reason::new(
                Code::ActionsHostMissing,
                "Segment's destinations are not installed",
            )
            .detail(format!(
                "{} does not hold this version",
                self.folder.display()
            ))
            .hint("rowcast connectors install segment")
        })
    }

    /// The version of Node.
    ///
    /// # Errors
    /// There is none, or it is too old.
    pub fn node_version(&self) -> Result<String, Reason> {
        let node = self.node().ok_or_else(|| no_program("node"))?;
        let output = Command::new(&node)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        let output = output.map_err(|error| no_program("node").detail(error.to_string()))?;
        let version = String::from_utf8_lossy(&output.stdout);
        let version = version.trim().trim_start_matches('v').to_owned();
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok());
        match major {
            Some(major) if major >= NODE_MIN => Ok(version),
            _ => Err(Reason::new(
                Code::ActionsHostMissing,
                format!("Segment's destinations need Node {NODE_MIN} or newer"),
            )
            .detail(format!("{} is {version}", node.display()))
            .hint(format!(
                "install Node {NODE_MIN} or newer and put it first on PATH"
            ))),
        }
    }

    /// Installs the host, unless it is there already. Says whether it had to.
    ///
    /// # Errors
    /// Node or npm is missing, npm failed, or a file can't be written.
    pub fn install(&self) -> Result<bool, Reason> {
        self.node_version()?;
        if self.missing().is_none() {
            return Ok(false);
        }
        let npm = self.program("npm").ok_or_else(|| no_program("npm"))?;
        let failed = |error: std::io::Error| {
            Reason::new(
                Code::FileUnwritable,
                format!("the folder {} can't be written", self.folder.display()),
            )
            .detail(error.to_string())
            .hint("set ROWCAST_ACTIONS_HOST to a folder that may be written")
        };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        for (name, text) in FILES {
            std::fs::write(self.folder.join(name), text).map_err(failed)?;
        }
        let output = Command::new(&npm)
            .args([
                "ci",
                "--omit=dev",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
            ])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| no_program("npm").detail(error.to_string()))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            let words: Vec<&str> = words
                .lines()
                .filter(|line| line.contains("error"))
                .collect();
            return Err(Reason::new(
                Code::ActionsHostMissing,
                "npm could not install Segment's destinations",
            )
            .detail(words.join("; "))
            .hint(format!(
                "look at what npm says: cd {} && npm ci --omit=dev --ignore-scripts",
                self.folder.display()
            )));
        }
        std::fs::write(self.folder.join(MARK), fingerprint()).map_err(failed)?;
        Ok(true)
    }
}

fn no_program(name: &str) -> Reason {
    Reason::new(
        Code::ActionsHostMissing,
        format!("the program {name} was not found on PATH"),
    )
    .hint(format!(
        "install Node {NODE_MIN} or newer with npm (on Debian 13 or Ubuntu 25.04: apt-get install nodejs npm), then: rowcast connectors install segment"
    ))
}

/// Changes with every file of the host.
fn fingerprint() -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, text) in FILES {
        hasher.update(name.as_bytes());
        hasher.update(&[0]);
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..12].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_names_exact_versions_and_no_server() {
        let lock = FILES[1].1;
        assert!(
            !lock.contains("\"resolved\""),
            "a lock file names no server"
        );
        assert!(!lock.contains("https://registry"));
        let package: serde_json::Value = serde_json::from_str(FILES[0].1).expect("JSON");
        let version = &package["dependencies"]["@segment/action-destinations"];
        assert_eq!(version, crate::actions::PACKAGE_VERSION);
        let lock: serde_json::Value = serde_json::from_str(lock).expect("JSON");
        let packages = lock["packages"].as_object().expect("packages");
        let fast_uri = &packages["node_modules/fast-uri"]["version"];
        assert_eq!(fast_uri, "3.1.0", "newer ones refuse names with spaces");
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(package["integrity"].is_string(), "{name} has no checksum");
        }
    }

    #[test]
    fn what_is_missing_comes_with_the_command() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = Installation::below(folder.path(), None);
        assert!(none.missing().expect("missing").message.contains("node"));
        let node = folder.path().join("node");
        std::fs::write(&node, "").expect("a file");
        let path = folder.path().as_os_str();
        let none = Installation::below(folder.path(), Some(path));
        let reason = none.missing().expect("missing");
        assert_eq!(
            reason.hint.as_deref(),
            Some("rowcast connectors install segment")
        );
        std::fs::create_dir_all(none.folder()).expect("a folder");
        std::fs::write(none.folder().join(MARK), "another").expect("a file");
        assert!(none.missing().is_some());
        std::fs::write(none.folder().join(MARK), fingerprint()).expect("a file");
        assert!(none.missing().is_none());
    }
}
