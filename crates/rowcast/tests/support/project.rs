//! A project folder that ends with the test.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::process::Command;

use rowcast_testkit::api::Api;
use rowcast_testkit::postgres::Database;
use serde_json::Value;

use crate::command::{self, Ended};

pub(crate) struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    /// A project with one source, `source`, over the unix socket of a test's database.
    pub(crate) fn new(source: &Database) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rowcast-project")
            .tempdir()
            .expect("a temporary folder");
        let project = Self { dir };
        project.file("rowcast.yml", "project: test\nversion: 1\n");
        project.file(
            "sources/source.yml",
            &format!("source: source\nurl: {}\nsslmode: disable\n", source.url()),
        );
        project
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, in the place of one that is there.
    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        std::fs::write(path, text).expect("write a file");
    }

    /// A model over a table, or over a query when it holds a space.
    pub(crate) fn model(&self, name: &str, from: &str) {
        let from = if from.contains(' ') {
            format!("sql: \"{from}\"")
        } else {
            format!("table: {from}")
        };
        self.file(
            &format!("models/{name}.yml"),
            &format!("model: {name}\nsource: source\n{from}\nprimary_key: [id]\n"),
        );
    }

    /// An `http` destination at a test's service. `settings` are lines under `settings:`, `more`
    /// are lines at the top.
    pub(crate) fn http(&self, name: &str, api: &Api, settings: &str, more: &str) {
        let url = api.url(&format!("/{name}"));
        let settings = settings.replace('\n', "\n  ");
        self.file(
            &format!("destinations/{name}.yml"),
            &format!(
                "destination: {name}\nconnector: http\nallow_addresses: [127.0.0.1/32]\n{more}\n\
                 settings:\n  url: {url}\n  {settings}\n"
            ),
        );
    }

    /// A `postgres` destination.
    pub(crate) fn postgres(&self, name: &str, target: &Database, more: &str) {
        self.file(
            &format!("destinations/{name}.yml"),
            &format!(
                "destination: {name}\nconnector: postgres\n{more}\nsettings:\n  url: {}\n  \
                 sslmode: disable\n",
                target.url()
            ),
        );
    }

    /// A sync of a model to a destination, both of which have their own files.
    pub(crate) fn sync(&self, name: &str, model: &str, destination: &str, more: &str) {
        self.file(
            &format!("syncs/{name}.yml"),
            &format!("sync: {name}\nmodel: {model}\ndestination: {destination}\n{more}"),
        );
    }

    /// `rowcast` with these words, not yet started.
    pub(crate) fn rowcast(&self, words: &[&str]) -> Command {
        command::rowcast(self.dir.path(), words)
    }

    /// Runs `rowcast` to its end.
    pub(crate) fn ran(&self, words: &[&str]) -> Ended {
        command::run(self.rowcast(words))
    }

    /// Runs one sync, which must end with the code, and gives its report.
    pub(crate) fn run(&self, sync: &str, more: &[&str], code: i32) -> Value {
        let words = [&["run", sync, "--json"], more].concat();
        let ended = self.ran(&words);
        assert_eq!(ended.code, Some(code), "{words:?}: {}", ended.words());
        report(&ended)
    }
}

/// The report of the only run in a command's answer; its sums are right.
pub(crate) fn report(ended: &Ended) -> Value {
    let document = ended.json();
    let report = document["runs"][0].clone();
    assert!(report.is_object(), "no run: {}", ended.words());
    balance(&report);
    report
}

/// The two laws of semantics 25.
pub(crate) fn balance(report: &Value) {
    let sum = |names: &[&str]| -> u64 {
        let number = |name: &&str| report[*name].as_u64().expect("a count");
        names.iter().map(number).sum()
    };
    assert_eq!(
        sum(&["read"]),
        sum(&[
            "unchanged",
            "added",
            "updated",
            "retried_present",
            "invalid_keys"
        ]),
        "{report:#}"
    );
    assert_eq!(
        sum(&["added", "updated", "removed", "retried"]),
        sum(&[
            "delivered",
            "skipped",
            "invalid",
            "rejected",
            "held",
            "pending"
        ]),
        "{report:#}"
    );
}
