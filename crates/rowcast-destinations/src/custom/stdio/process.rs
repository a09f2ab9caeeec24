//! One process of a connector, from its start to its end.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rowcast_core::{Code, Fault, Reason};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{Notify, oneshot};

use super::super::protocol::Request;
use super::Command;
use crate::http::service::Service;

/// Longest line that is read as an answer.
const LINE_MAX: u64 = 16 << 20;

/// Longest line of standard error that is looked at.
const ERROR_LINE_MAX: usize = 500;

/// Lines of standard error that are kept for the message about an early end.
const ERROR_LINES_MAX: usize = 5;

/// How long the last lines of a process that has ended are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Variables of ours that a program can't do without. None of them holds a secret.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SYSTEMROOT",
    "PYENV_ROOT",
];

/// A running process.
pub(super) struct Running {
    pub(super) id: u32,
    shared: Arc<Shared>,
    /// Nothing once it has been closed.
    input: tokio::sync::Mutex<Option<ChildStdin>>,
}

struct Shared {
    /// What is ended with it; nothing after its end, because its number may be another's then.
    group: Mutex<Option<Pid>>,
    waiting: Mutex<Waiting>,
    /// It has been sent rows, and may repeat them on its standard error.
    saw_rows: AtomicBool,
    /// It has been killed, and takes a moment to end.
    doomed: AtomicBool,
    last_errors: Mutex<Vec<String>>,
    /// Lines on standard output that answer nothing.
    strays: AtomicU64,
    ended: Notify,
}

/// Who waits for which answer.
enum Waiting {
    Open(HashMap<String, oneshot::Sender<Result<String, Reason>>>),
    /// Why no answer will come any more.
    Ended(Reason),
}

impl Running {
    /// Starts a process.
    pub(super) fn start(command: &Command) -> Result<Self, Reason> {
        let program = &command.words[0];
        // A path with a folder is one of the project's; a bare name is looked up.
        let path = if program.contains('/') {
            command.dir.join(program)
        } else {
            program.into()
        };
        let mut builder = tokio::process::Command::new(path);
        builder
            .args(&command.words[1..])
            .current_dir(&command.dir)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // A group of its own: it ends with what it has started, and Ctrl-C is for us to handle.
            .process_group(0);
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                builder.env(name, value);
            }
        }
        for (name, value) in &command.variables {
            builder.env(name, value.reveal());
        }
        let failed = |detail: String| {
            Reason::new(
                Code::DestinationUnreachable,
                format!("{program} can't be started"),
            )
            .detail(detail)
            .hint("command: names a program on the PATH, or a file of the project's folder with its path: ./connector.py")
        };
        let mut child = builder.spawn().map_err(|error| failed(error.to_string()))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(failed("it has no pipes".to_owned()));
        };
        let id = child.id().unwrap_or_default();
        let shared = Arc::new(Shared {
            group: Mutex::new(i32::try_from(id).ok().and_then(Pid::from_raw)),
            waiting: Mutex::new(Waiting::Open(HashMap::new())),
            saw_rows: AtomicBool::new(false),
            doomed: AtomicBool::new(false),
            last_errors: Mutex::new(Vec::new()),
            strays: AtomicU64::new(0),
            ended: Notify::new(),
        });
        let service = Arc::clone(&command.service);
        let log_errors = command.log_errors;
        let listened = Arc::clone(&shared);
        let heard = Arc::clone(&service);
        let reading = tokio::spawn(async move {
            let mut lines = BufReader::new(errors);
            listened.listen(&mut lines, &heard, log_errors).await;
        });
        let answered = Arc::clone(&shared);
        tokio::spawn(async move {
            answered.read(output, &service).await;
            answered.end(child, reading, &service).await;
        });
        Ok(Self {
            id,
            shared,
            input: tokio::sync::Mutex::new(Some(input)),
        })
    }

    /// Whether it can't be asked any more: it has ended, or is about to.
    pub(super) fn has_ended(&self) -> bool {
        let doomed = self.shared.doomed.load(Ordering::Acquire);
        doomed || matches!(*self.shared.waiting(), Waiting::Ended(_))
    }

    /// Lines on standard output that answered nothing.
    pub(super) fn strays(&self) -> u64 {
        self.shared.strays.load(Ordering::Relaxed)
    }

    /// Closes its input and waits for its end.
    pub(super) async fn closed(&self) {
        let ended = self.shared.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        *self.input.lock().await = None;
        let over = matches!(*self.shared.waiting(), Waiting::Ended(_));
        if !over {
            ended.await;
        }
    }

    /// Ends it, and everything it has started, at once.
    pub(super) fn kill(&self) {
        self.shared.kill();
    }

    /// Sends a request and waits for the line with its answer. Given up, it ends the process: one that
    /// does not answer can't be trusted with more.
    pub(super) async fn ask(&self, request: &Request) -> Result<String, Fault> {
        let (sender, receiver) = oneshot::channel();
        match &mut *self.shared.waiting() {
            Waiting::Open(waiting) => waiting.insert(request.id.clone(), sender),
            Waiting::Ended(reason) => return Err(Fault::refused(reason.clone())),
        };
        if request.method == "sync_batch" {
            self.shared.saw_rows.store(true, Ordering::Release);
        }
        let mut asked = Asked {
            shared: &self.shared,
            id: &request.id,
            answered: false,
        };
        let line = format!("{}\n", request.text);
        let written = {
            let mut input = self.input.lock().await;
            match input.as_mut() {
                Some(input) => input.write_all(line.as_bytes()).await.is_ok(),
                None => false,
            }
        };
        // When it could not be written, the reader soon says why; the process may have read it all
        // the same.
        if !written {
            self.shared.kill();
        }
        let answer = receiver.await;
        asked.answered = true;
        match answer {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(reason)) => Err(Fault::lost(reason)),
            Err(_) => Err(Fault::lost(Reason::defect("nobody waits for an answer"))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A question that may be given up.
struct Asked<'a> {
    shared: &'a Shared,
    id: &'a str,
    answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        if let Waiting::Open(waiting) = &mut *self.shared.waiting() {
            waiting.remove(self.id);
        }
        self.shared.kill();
    }
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        self.doomed.store(true, Ordering::Release);
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = *group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Hands answers to those who wait for them, until the output ends.
    async fn read(&self, output: ChildStdout, service: &Service) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = (&mut output).take(LINE_MAX);
            match limited.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(read) if read as u64 == LINE_MAX => {
                    tracing::debug!(connector = %service.host, "a line longer than 16 MiB");
                    return;
                }
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            let id = rowcast_core::json::from_json(text.trim())
                .ok()
                .and_then(|answer| answer.get("id")?.as_text().map(str::to_owned));
            let waits = match (&mut *self.waiting(), id) {
                (Waiting::Open(waiting), Some(id)) => waiting.remove(&id),
                _ => None,
            };
            match waits {
                Some(sender) => {
                    let _ = sender.send(Ok(text));
                }
                // Its content may be a row's.
                None => {
                    self.strays.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(
                        connector = %service.host,
                        bytes = text.len(),
                        "a line on standard output that answers nothing"
                    );
                }
            }
        }
    }

    /// Logs standard error until it ends.
    async fn listen(
        &self,
        errors: &mut BufReader<tokio::process::ChildStderr>,
        service: &Service,
        log_errors: bool,
    ) {
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut *errors)
                .take(LINE_MAX)
                .read_until(b'\n', &mut line)
                .await
            {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if self.saw_rows.load(Ordering::Acquire) && !log_errors {
                tracing::debug!(
                    connector = %service.host,
                    bytes = line.len(),
                    "a line on standard error, not shown: it may hold values of rows"
                );
                continue;
            }
            line.truncate(ERROR_LINE_MAX);
            let text = service.tidy(&String::from_utf8_lossy(&line));
            tracing::debug!(connector = %service.host, line = %text, "standard error");
            let mut last = self
                .last_errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if last.len() == ERROR_LINES_MAX {
                last.remove(0);
            }
            last.push(text);
        }
    }

    /// Tells everyone who waits that the process has ended, and how.
    async fn end(&self, mut child: Child, reading: tokio::task::JoinHandle<()>, service: &Service) {
        // A process that is ending gets the time to say with which code. Nothing more can be answered,
        // so whatever still runs after that, or was started by it, is of no use.
        let ended = tokio::time::timeout(LAST_WORDS, child.wait()).await;
        self.kill();
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let ended = match ended {
            Ok(ended) => ended,
            Err(_) => child.wait().await,
        };
        // Something that left the group may still hold the pipe.
        let _ = tokio::time::timeout(LAST_WORDS, reading).await;
        let how = match ended {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let last = self
            .last_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let detail = if last.is_empty() {
            how
        } else {
            format!("{how}; it wrote: {}", last.join(" | "))
        };
        let reason = Reason::new(
            Code::DestinationUnreachable,
            format!("{} ended before it answered", service.host),
        )
        .detail(detail)
        .hint("whether the records arrived is not known; they are sent again. `rowcast connectors test` runs the connector by itself");
        let before = std::mem::replace(&mut *self.waiting(), Waiting::Ended(reason.clone()));
        if let Waiting::Open(waiting) = before {
            for sender in waiting.into_values() {
                let _ = sender.send(Err(reason.clone()));
            }
        }
        self.ended.notify_waiters();
    }
}
