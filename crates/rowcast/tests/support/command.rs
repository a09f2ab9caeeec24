//! The program as a process: run it to its end, or to where a crash test kills it.

#![allow(dead_code, reason = "each test file uses its part")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Everything that was printed, for messages of assertions.
    pub(crate) fn words(&self) -> String {
        format!(
            "code {:?}, signal {:?}\n{}\n{}",
            self.code, self.signal, self.stdout, self.stderr
        )
    }

    /// The document printed with `--json`.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not a JSON document: {error}: {}", self.words()))
    }
}

/// `rowcast` with these words in a project's folder.
pub(crate) fn rowcast(dir: &Path, words: &[&str]) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_rowcast")), dir, words)
}

/// The same with another program file, such as a release build.
pub(crate) fn program(file: &Path, dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(file);
    command
        .current_dir(dir)
        .args(words)
        .env_remove("ROWCAST_KILL_AT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs to the end.
pub(crate) fn run(mut command: Command) -> Ended {
    Ended::of(&command.output().expect("run rowcast"))
}

/// Waits for the end of a process that was started.
pub(crate) fn wait(child: Child) -> Ended {
    Ended::of(&child.wait_with_output().expect("wait for rowcast"))
}

/// Sends a signal by its name: `INT`, `TERM`.
pub(crate) fn signal(child: &Child, name: &str) {
    let done = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .expect("run kill");
    assert!(done.success(), "the process is not there any more");
}
