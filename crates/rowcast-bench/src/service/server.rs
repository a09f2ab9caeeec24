//! The process `rowcast serve`, its first token, and what Linux says of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A server that does not serve within this never will.
const START: Duration = Duration::from_secs(60);
/// What the product promises is ten seconds.
const STOP: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) token: String,
    /// Lines of its log that are warnings or errors.
    pub(crate) complaints: Receiver<String>,
}

impl Server {
    /// Starts the server and waits until it serves. Its log goes to `serve.log` beside the project.
    pub(crate) fn start(rowcast: &Path, folder: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("could not start the server: {error}");
        let mut log = std::fs::File::create(folder.join("serve.log")).map_err(failed)?;
        let mut child = Command::new(rowcast)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--requests",
                "4294967295",
            ])
            .arg("--project")
            .arg(folder.join("project"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let out = child.stderr.take().ok_or("the server has no log")?;
        let (heads, head) = channel();
        let (complainer, complaints) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = writeln!(log, "{line}");
                if line.starts_with("note:") {
                    let _ = heads.send(line);
                } else if line.contains("WARN") || line.contains("ERROR") {
                    let _ = complainer.send(line);
                }
            }
        });
        let (mut address, mut token) = (None, None);
        let until = Instant::now() + START;
        while address.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            let line = head.recv_timeout(left).map_err(|_| {
                let _ = child.kill();
                "the server did not start".to_owned()
            })?;
            if let Some((_, found)) = line.rsplit_once("shown again: ") {
                token = Some(found.trim().to_owned());
            } else if let Some((_, rest)) = line.split_once("http://") {
                address = rest.split(';').next().map(|found| found.trim().to_owned());
            }
        }
        Ok(Self {
            child,
            address: address.unwrap_or_default(),
            token: token.unwrap_or_default(),
            complaints,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that is resident now, in bytes.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        parse_memory(&status)
    }

    /// Descriptors that are open now.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Asks it to stop, and gives how long that took.
    pub(crate) fn stop(mut self) -> Result<Duration, String> {
        let asked = Instant::now();
        let pid = i32::try_from(self.pid()).map_err(|error| error.to_string())?;
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| format!("could not stop the server: {error}"))?;
        }
        while asked.elapsed() < STOP {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(asked.elapsed()),
                Ok(Some(status)) => return Err(format!("the server ended with {status}")),
                Ok(None) => std::thread::park_timeout(Duration::from_millis(10)),
                Err(error) => return Err(format!("could not wait for the server: {error}")),
            }
        }
        Err(format!("the server did not stop within {STOP:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line `VmRSS` of `/proc/<pid>/status`, in bytes.
fn parse_memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(parse_memory(status), Some(1_048_576));
        assert_eq!(parse_memory("Name:\tx\n"), None);
    }
}
