//! A custom connector that tests can make do wrong: a Python program over standard input and output, and
//! the folder in which it keeps what it was sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The program.
const PROGRAM: &str = include_str!("custom/connector.py");

/// A folder with the program; it ends with the value.
pub struct Connector {
    dir: tempfile::TempDir,
}

impl Connector {
    /// Writes the program into a new folder.
    ///
    /// # Panics
    /// The folder can't be written.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rowcast-connector")
            .tempdir()
            .expect("a temporary folder");
        std::fs::write(dir.path().join("connector.py"), PROGRAM).expect("write the program");
        Self { dir }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The command that starts it, doing wrong what the words name.
    pub fn command(&self, faults: &[&str]) -> Vec<String> {
        let program = self.dir.path().join("connector.py");
        let words = ["python3".to_owned(), program.display().to_string()];
        let faults = faults.iter().map(ToString::to_string);
        words.into_iter().chain(faults).collect()
    }

    /// The settings of a destination that is this connector; members of `environment` may be added.
    pub fn settings(&self, faults: &[&str]) -> Value {
        json!({
            "command": self.command(faults),
            "environment": { "DOUBLE_FOLDER": self.dir.path() },
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes trouble: once or from now on, as its name says.
    ///
    /// # Panics
    /// The folder can't be written.
    pub fn trouble(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("make trouble");
    }

    /// Ends trouble that lasts.
    pub fn calm(&self, name: &str) {
        let _ = std::fs::remove_file(self.path(name));
    }

    /// Whether trouble that happens once is still to come.
    pub fn is_due(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The records it holds, by identifier, as JSON text with every digit.
    ///
    /// # Panics
    /// The file is no such object.
    pub fn held_text(&self) -> String {
        std::fs::read_to_string(self.path("held.json")).unwrap_or_else(|_| "{}".to_owned())
    }

    /// The records it holds, by identifier.
    ///
    /// # Panics
    /// The file is no such object.
    pub fn held(&self) -> BTreeMap<i64, Value> {
        let held: BTreeMap<String, Value> =
            serde_json::from_str(&self.held_text()).expect("records");
        let number = |id: String| id.parse().expect("a number");
        held.into_iter()
            .map(|(id, value)| (number(id), value))
            .collect()
    }

    /// The calls it got, each with the process that got it as `pid`.
    ///
    /// # Panics
    /// A line is no call.
    pub fn asked(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("asked.jsonl")).unwrap_or_default();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a call"))
            .collect()
    }

    /// The calls of one method.
    pub fn calls(&self, method: &str) -> Vec<Value> {
        let all = self.asked().into_iter();
        all.filter(|call| call["method"] == method).collect()
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}
