//! Throwaway servers of brokers and databases that are not PostgreSQL.
//!
//! Each runs on a loopback port of its own in a temporary folder and ends with the process that
//! started it. A missing program is an error with the install line, never a skip.

#[cfg(feature = "kafka")]
mod kafka;
mod mariadb;
mod mosquitto;
mod nats;
mod rabbitmq;
mod redis;

#[cfg(feature = "kafka")]
pub use kafka::{Kafka, Numbers, Produced, Refusal, Relay};
pub use mariadb::MariaDb;
pub use mosquitto::Mosquitto;
pub use nats::{Nats, Stored};
pub use rabbitmq::RabbitMq;
pub use redis::{Answer, Redis};

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;

use crate::postgres::{as_server, give_to_server};

/// Longest a server may take to say that it is ready; only a broken one gets there.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Starts the command as a session of its own and kills all of it when the pipe on its input closes,
/// which the death of the test's process does as well.
const WATCH: &str =
    r#"setsid "$@" 2>&1 & p=$!; cat >/dev/null; kill -KILL -$p; wait $p 2>/dev/null"#;

/// The path of a server's program.
///
/// # Panics
/// It is not installed; the message says how to.
fn installed(program: &str, package: &str) -> PathBuf {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .map(|folder| Path::new(folder).join(program))
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            panic!("no {program} was found; install it: apt-get install -y {package}")
        })
}

/// A temporary folder that belongs to the user the servers run as.
fn folder(name: &str) -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix(&format!("rowcast-{name}"))
        .tempdir()
        .expect("temporary folder");
    give_to_server(dir.path());
    dir
}

/// A server's process: how it is started, and whether it runs.
#[derive(Debug)]
struct Process {
    command: Vec<String>,
    environment: Vec<(String, String)>,
    /// What it prints when it can be talked to.
    ready: &'static str,
    watcher: Option<Child>,
}

impl Process {
    fn start(
        command: Vec<String>,
        environment: Vec<(String, String)>,
        ready: &'static str,
    ) -> Self {
        let mut process = Self {
            command,
            environment,
            ready,
            watcher: None,
        };
        process.run();
        process
    }

    /// Starts it again as it was, and waits until it is ready.
    fn run(&mut self) {
        let mut watcher = as_server("sh")
            .args(["-c", WATCH, "sh"])
            .args(&self.command)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start a server");
        let output = watcher.stdout.take().expect("the output is piped");
        self.watcher = Some(watcher);
        let (tell, told) = mpsc::sync_channel(1);
        let ready = self.ready;
        // It goes on reading for as long as the server speaks: a full pipe would stop it.
        std::thread::spawn(move || {
            let mut said = String::new();
            let mut waiting = true;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if waiting && line.contains(ready) {
                    waiting = false;
                    let _ = tell.send(Ok(()));
                }
                if waiting {
                    said.push_str(&line);
                    said.push('\n');
                }
            }
            let _ = tell.try_send(Err(said));
        });
        match told.recv_timeout(PATIENCE) {
            Ok(Ok(())) => {}
            Ok(Err(said)) => panic!("{} did not start:\n{said}", self.command[0]),
            Err(silence) => panic!("{} did not become ready: {silence}", self.command[0]),
        }
    }

    /// Kills it, as a machine that loses power does.
    fn kill(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            let _ = watcher.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
