//! `rowcast serve` as a process whose log is read.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::shop::Shop;

/// What is waited for happens within this, or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// The line about a run that ended well.
pub(crate) const ENDED: [&str; 2] = ["ended", "outcome=\"succeeded\""];

pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Server {
    /// Starts a server and waits until it serves.
    pub(crate) fn start(shop: &Shop, environment: &[(&str, &str)]) -> Self {
        let mut child = shop
            .terminal
            .command(".", &["serve", "--listen", "127.0.0.1:0"])
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the server");
        let log = BufReader::new(child.stderr.take().expect("its log"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut server = Self {
            child,
            lines,
            seen: Vec::new(),
        };
        server.wait_for(&["serving"]);
        server
    }

    /// What stands behind these words in a line that was printed when the server started.
    pub(crate) fn said(&self, words: &str) -> String {
        let line = self.seen.iter().find_map(|line| line.split_once(words));
        let (_, rest) = line.unwrap_or_else(|| panic!("no {words:?} in {:?}", self.seen));
        let word = rest.split([';', ' ']).next().unwrap_or_default();
        word.to_owned()
    }

    /// Waits for a line of the log that has all these parts.
    pub(crate) fn wait_for(&mut self, parts: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {parts:?} in:\n{}", self.seen.join("\n"));
            };
            let found = parts.iter().all(|part| line.contains(part));
            self.seen.push(line);
            if found {
                return;
            }
        }
    }

    /// Waits for the end of a server that ends by itself.
    pub(crate) fn dead(mut self) {
        let status = self.child.wait().expect("wait for the server");
        assert_eq!(
            status.code(),
            None,
            "it ended in order:\n{}",
            self.seen.join("\n")
        );
    }

    /// Asks it to stop, waits for its end, and gives how long that took.
    pub(crate) fn stop(mut self) -> Duration {
        let pid = self.child.id().to_string();
        let asked = Instant::now();
        std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("send the signal");
        let status = self.child.wait().expect("wait for the server");
        assert_eq!(status.code(), Some(0), "{}", self.seen.join("\n"));
        asked.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a run as the API does.
pub(crate) fn ask(shop: &Shop) {
    shop.sql(
        "INSERT INTO _rowcast.control_job (sync, source, trigger, due_at, request, status)
         VALUES ('customers_to_crm', 'shop', 'api', now(), '{}', 'queued')",
    );
}

/// Waits until so many jobs have ended, whichever server carried them out.
pub(crate) fn ended_jobs(shop: &Shop, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    let sql = "SELECT count(*) FROM _rowcast.control_job WHERE status = 'done'";
    while shop.sql(sql).trim() != count.to_string() {
        assert!(Instant::now() < deadline, "{count} jobs have not ended");
    }
}
