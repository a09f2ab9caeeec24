//! The actions host as a process: one program on a pipe, several requests in flight.
//!
//! Started when it is needed, with nothing in its environment and no file of ours but its script;
//! killed with its whole group when it hangs, says nonsense, or is not needed any more. Whatever
//! ends it ends the requests in flight, and each says whether anything can have been written.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rowcast_core::{Code, Reason, Secret};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::exchange::{Asked, Became, Exchange, refusal};
use super::install::Installation;

/// How long Node may take to start on a loaded machine.
const START: Duration = Duration::from_secs(60);
/// Longest line the host may write: more than any batch makes.
const LINE_MAX: u64 = 64 << 20;
/// Lines that wait for the pipe, at most.
const LINES: usize = 64;
/// How much of the host's last words is read, to see whether memory ran out.
const WORDS_MAX: u64 = 64 << 10;

/// What the HTTP requests made for one of our requests came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Doings {
    /// Requests that may have arrived.
    pub(super) reached: usize,
    /// Requests that were answered.
    pub(super) answered: usize,
    /// A request that may have arrived got no answer.
    pub(super) lost: bool,
    /// Why a person must act.
    pub(super) fatal: Option<Reason>,
    /// The first connection that failed.
    pub(super) failure: Option<Reason>,
    /// The longest wait that an answer asked for.
    pub(super) wait: Option<Duration>,
    /// Requests without an answer yet.
    pub(super) open: usize,
}

/// How a request to the host ended.
#[derive(Debug)]
pub(super) enum End {
    Answered(Value),
    /// The host's code refused: with the HTTP status that stands for it, 0 for a broken connection.
    Refused {
        message: String,
        status: u16,
    },
    /// The host is gone, and how.
    Gone(String),
}

/// A running host.
pub(super) struct Host {
    shared: Arc<Shared>,
    lines: mpsc::Sender<Secret<String>>,
}

struct Shared {
    state: Mutex<State>,
    exchange: Arc<Exchange>,
    child: Mutex<Child>,
}

#[derive(Default)]
struct State {
    next: u64,
    calls: HashMap<u64, Call>,
    /// Set once the host is gone.
    gone: Option<String>,
}

struct Call {
    end: oneshot::Sender<(End, Doings)>,
    doings: Doings,
    requests: Vec<AbortHandle>,
}

#[derive(Deserialize)]
struct Reply {
    id: u64,
    #[serde(default)]
    result: Value,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
    #[serde(default)]
    status: u16,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // No id any more once it was waited for: the number may be somebody else's.
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Ends every request in flight.
    fn end(&self, how: &str) {
        let mut state = self.state();
        state.gone.get_or_insert_with(|| how.to_owned());
        let calls = std::mem::take(&mut state.calls);
        drop(state);
        for (_, call) in calls {
            call.finish(End::Gone(how.to_owned()));
        }
    }
}

impl Call {
    /// What is still on its way is given up, and may have arrived.
    fn finish(mut self, end: End) {
        for request in &self.requests {
            request.abort();
        }
        self.doings.close();
        let _ = self.end.send((end, self.doings));
    }
}

impl Doings {
    fn close(&mut self) {
        self.lost |= self.open > 0;
        self.reached += std::mem::take(&mut self.open);
    }

    fn note(&mut self, became: Became) {
        self.open -= 1;
        match became {
            Became::Answered(wait) => {
                self.reached += 1;
                self.answered += 1;
                self.wait = self.wait.max(wait);
            }
            Became::Refused(reason) => {
                self.failure.get_or_insert(reason);
            }
            Became::Lost(reason) => {
                self.reached += 1;
                self.lost = true;
                self.failure.get_or_insert(reason);
            }
            Became::Forbidden(reason) => {
                self.fatal.get_or_insert(reason);
            }
        }
    }

    /// Joins what a second request came to.
    pub(super) fn join(&mut self, later: Self) {
        self.reached += later.reached;
        self.answered += later.answered;
        self.lost |= later.lost;
        self.fatal = self.fatal.take().or(later.fatal);
        self.failure = self.failure.take().or(later.failure);
        self.wait = self.wait.max(later.wait);
    }
}

impl Host {
    /// Starts a host and waits until it listens.
    ///
    /// # Errors
    /// It can't be started.
    pub(super) async fn start(
        installation: &Installation,
        exchange: Arc<Exchange>,
        memory_mb: u64,
    ) -> Result<Self, Reason> {
        let node = installation.node();
        let node = node.as_deref().unwrap_or(Path::new("node"));
        let failed = |detail: String| {
            Reason::new(Code::ActionsHostFailed, "the actions host did not start").detail(detail)
        };
        let mut child = Command::new(node)
            .arg(format!("--max-old-space-size={memory_mb}"))
            .arg(installation.script())
            .current_dir(installation.folder())
            .env_clear()
            .env("NODE_ENV", "production")
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Reason::defect("a process was started without its pipes"));
        };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            exchange,
            child: Mutex::new(child),
        });
        let (lines, waiting) = mpsc::channel(LINES);
        let (ready, started) = oneshot::channel();
        tokio::spawn(write(stdin, waiting));
        tokio::spawn(read(
            stdout,
            stderr,
            Arc::clone(&shared),
            lines.downgrade(),
            ready,
        ));
        let host = Self { shared, lines };
        match tokio::time::timeout(START, started).await {
            Ok(Ok(())) => Ok(host),
            Ok(Err(_)) => {
                let how = host.shared.state().gone.clone();
                Err(failed(how.unwrap_or_else(|| "it ended at once".to_owned())))
            }
            Err(_) => Err(failed(format!("it said nothing for {} s", START.as_secs()))),
        }
    }

    /// Whether it can still be asked.
    pub(super) fn is_alive(&self) -> bool {
        self.shared.state().gone.is_none()
    }

    /// Asks the host, and kills it when it does not answer in time. When the answer is not waited
    /// for any more, no further HTTP request is made for it.
    pub(super) async fn call(
        &self,
        method: &str,
        params: &Secret<String>,
        deadline: Duration,
    ) -> (End, Doings) {
        let (end, answer) = oneshot::channel();
        let id = {
            let mut state = self.shared.state();
            if let Some(how) = &state.gone {
                return (End::Gone(how.clone()), Doings::default());
            }
            state.next += 1;
            let id = state.next;
            let call = Call {
                end,
                doings: Doings::default(),
                requests: Vec::new(),
            };
            state.calls.insert(id, call);
            id
        };
        let _waiting = Waiting {
            shared: &self.shared,
            id,
        };
        let line = format!(
            "{{\"id\":{id},\"method\":\"{method}\",\"params\":{}}}\n",
            params.reveal()
        );
        let exchange = async {
            // A closed pipe shows in the answer: everything in flight is ended.
            let _ = self.lines.send(Secret::new(line)).await;
            answer.await
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => (End::Gone("it ended".to_owned()), Doings::default()),
            Err(_) => {
                let how = format!("it did not answer within {} s", deadline.as_secs_f32());
                let call = self.shared.state().calls.remove(&id);
                let mut doings = call.map_or_else(Doings::default, |call| {
                    call.requests.iter().for_each(AbortHandle::abort);
                    call.doings
                });
                doings.close();
                self.shared.kill();
                self.shared.end(&how);
                (End::Gone(how), doings)
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.kill();
        self.shared.end("it is not needed any more");
    }
}

/// A request that somebody waits for.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let call = self.shared.state().calls.remove(&self.id);
        if let Some(call) = call {
            call.finish(End::Gone("it is not waited for".to_owned()));
        }
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Secret<String>>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(line.reveal().as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads what the host says until it ends, and then says how it ended.
async fn read(
    stdout: ChildStdout,
    stderr: ChildStderr,
    shared: Arc<Shared>,
    lines: mpsc::WeakSender<Secret<String>>,
    ready: oneshot::Sender<()>,
) {
    let mut words = Vec::new();
    let mut stderr = stderr.take(WORDS_MAX);
    let saying = stderr.read_to_end(&mut words);
    let reading = async {
        let end = listen(stdout, &shared, &lines, ready).await;
        shared.kill();
        end
    };
    let (_, end) = tokio::join!(saying, reading);
    // Its words may hold rows: they are looked at and never shown.
    let words = String::from_utf8_lossy(&words);
    let how = if words.contains("heap out of memory") || words.contains("Allocation failed") {
        "it ran out of its memory (settings.memory)"
    } else {
        end
    };
    shared.end(how);
}

async fn listen(
    stdout: ChildStdout,
    shared: &Arc<Shared>,
    lines: &mpsc::WeakSender<Secret<String>>,
    ready: oneshot::Sender<()>,
) -> &'static str {
    let mut reader = BufReader::new(stdout);
    let mut ready = Some(ready);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .await;
        if !matches!(read, Ok(bytes) if bytes > 0) {
            return "it ended";
        }
        if line.last() != Some(&b'\n') {
            return "it wrote a line without an end";
        }
        if let Ok(reply) = serde_json::from_slice::<Reply>(&line) {
            let call = shared.state().calls.remove(&reply.id);
            if let Some(call) = call {
                call.finish(match reply.error {
                    Some(Refusal { message, status }) => End::Refused { message, status },
                    None => End::Answered(reply.result),
                });
            }
        } else if let Ok(asked) = serde_json::from_slice::<Asked>(&line) {
            make_request(asked, shared, lines);
        } else if let Some(ready) = ready.take() {
            let _ = ready.send(());
        } else {
            return "it wrote something that is no message";
        }
    }
}

/// Makes an HTTP request for the host, if somebody waits for what it belongs to.
fn make_request(asked: Asked, shared: &Arc<Shared>, lines: &mpsc::WeakSender<Secret<String>>) {
    let call = asked.call;
    let mut state = shared.state();
    let Some(waiting) = state.calls.get_mut(&call) else {
        let reason = Reason::new(Code::ActionsHostFailed, "nobody waits for this request");
        let line = refusal(asked.fetch, &reason);
        let lines = lines.clone();
        drop(state);
        tokio::spawn(async move { answer(&lines, line).await });
        return;
    };
    waiting.doings.open += 1;
    let shared = Arc::clone(shared);
    let lines = lines.clone();
    let request = tokio::spawn(async move {
        let (line, became) = shared.exchange.perform(asked).await;
        if let Some(call) = shared.state().calls.get_mut(&call) {
            call.doings.note(became);
        }
        answer(&lines, line).await;
    });
    waiting.requests.push(request.abort_handle());
}

async fn answer(lines: &mpsc::WeakSender<Secret<String>>, mut line: String) {
    line.push('\n');
    if let Some(lines) = lines.upgrade() {
        let _ = lines.send(Secret::new(line)).await;
    }
}

#[cfg(test)]
mod tests;
