//! Running a program and measuring it from outside: time, CPU, memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::proc;

/// How often the memory of a program is looked at. Its peak is kept by the kernel, so only growth
/// in the very last moment can be missed.
const LOOK: Duration = Duration::from_millis(10);

/// What a program cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    pub(crate) wall: f64,
    /// CPU seconds, user and system, of the program and the children it waited for.
    pub(crate) cpu: f64,
    /// Peak memory in bytes, summed over the program and its children.
    pub(crate) memory: u64,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The last lines of what it said.
    pub(crate) fn words(&self) -> String {
        let all = format!("{}\n{}", self.stdout.trim(), self.stderr.trim());
        let lines: Vec<&str> = all.lines().filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// An error unless it ended well.
    pub(crate) fn succeeded(self, what: &str) -> Result<Self, String> {
        if self.code == Some(0) {
            Ok(self)
        } else {
            Err(format!(
                "{what} ended with {:?}: {}",
                self.code,
                self.words()
            ))
        }
    }
}

/// Runs a program to its end. Its output goes to files in `folder`, which costs it least.
pub(crate) fn run(command: &mut Command, folder: &Path) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: &dyn std::fmt::Display| format!("could not run {name}: {error}");
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out).map_err(|e| failed(&e))?)
        .stderr(File::create(&err).map_err(|e| failed(&e))?);
    let began = Instant::now();
    let mut child = command.spawn().map_err(|e| failed(&e))?;
    let pid = child.id();
    let over = AtomicBool::new(false);
    let peaks = Mutex::new(BTreeMap::new());
    let (wall, cpu) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Ok(mut peaks) = peaks.lock() {
                    for pid in proc::family(pid) {
                        if let Some(peak) = proc::peak(pid) {
                            peaks.insert(pid, peak);
                        }
                    }
                }
                std::thread::park_timeout(LOOK);
            }
        });
        // The dead child is left in place until its account has been read.
        let waited = Pid::from_raw(pid as i32).map(|pid| {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(
                waitid(WaitId::Pid(pid), options),
                Err(rustix::io::Errno::INTR)
            ) {}
        });
        let wall = began.elapsed().as_secs_f64();
        let cpu = waited
            .and_then(|()| proc::stat(pid))
            .map_or(0.0, proc::Stat::seconds);
        over.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        (wall, cpu)
    });
    let status = child.wait().map_err(|e| failed(&e))?;
    let read = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let memory = peaks.into_inner().unwrap_or_default().into_values().sum();
    Ok(Ended {
        wall,
        cpu,
        memory,
        code: status.code(),
        stdout: read(&out),
        stderr: read(&err),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_measured_and_its_failure_is_told_in_its_words() {
        let folder = std::env::temp_dir().join(format!("rowcast-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo no >&2; exit 3",
        ]);
        let ended = run(&mut command, &folder).unwrap();
        assert!(ended.wall > 0.0 && ended.cpu > 0.0 && ended.memory > 0);
        assert_eq!(ended.code, Some(3));
        assert!(ended.succeeded("counting").unwrap_err().contains("no"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
