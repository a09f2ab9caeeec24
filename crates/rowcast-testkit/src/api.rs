//! A fake HTTP service: a log of every request, a keyed store, and a script of misbehaviour.
//!
//! It speaks HTTP/1.1 itself on a loopback port, on threads of its own, so that it can do what a
//! framework would not let it: apply a write and cut the connection, send half an answer, hold one
//! until the test lets go. It lives in the test's process, so its log outlives a killed client. It
//! must never sleep: what waits, waits for the test.

mod crowd;
mod script;
mod store;
mod wire;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

pub use crowd::{Counts, Crowd, Gathering};
pub use script::{Act, Answer, BadRecords, Script};
pub use store::{Applied, Store};
pub use wire::Request;

/// Longest a test waits for something that should happen at once; only a broken test gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request, as it was seen. The log only grows.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Order of arrival, from 0.
    pub number: usize,
    pub method: String,
    /// Path and query, as on the wire.
    pub target: String,
    /// In order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// The records in the body: the items of a list, a wrapped list or JSON lines, else the body.
    pub records: Vec<Value>,
    /// When it arrived and when its answer was sent, on one clock that counts events.
    pub began: u64,
    pub ended: Option<u64>,
    /// The status sent; `None` while it is held, or when the connection was cut.
    pub status: Option<u16>,
}

impl Seen {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What a service of its own kind answers; called for one request at a time.
pub type Judge = Box<dyn FnMut(&Seen) -> Answer + Send>;

#[derive(Default)]
struct Inner {
    clock: u64,
    log: Vec<Seen>,
    store: Store,
    scripts: Vec<Script>,
    bad: Option<BadRecords>,
    /// In place of the store, for emulators.
    judge: Option<Judge>,
    crowd: Option<Arc<Crowd>>,
    /// Rises with every `release`; a held request waits for the number it was given.
    released: u64,
    holds: u64,
    closed: bool,
}

struct Shared {
    inner: Mutex<Inner>,
    /// Rung whenever anything in `inner` changes.
    bell: Condvar,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panicking test must not hide its message behind a poisoned lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.bell.notify_all();
        self.changed.send_modify(|count| *count += 1);
    }
}

/// The running service. Dropping it closes the port.
pub struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Api {
    /// Starts a service that takes every record.
    ///
    /// # Panics
    /// When no loopback port is free.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let shared = Arc::new(Shared {
            inner: Mutex::default(),
            bell: Condvar::new(),
            changed: tokio::sync::watch::Sender::new(0),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.lock().closed {
                    break;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// Starts a service that answers as `judge` says, unless a script says otherwise.
    pub fn judged(judge: Judge) -> Self {
        let api = Self::start();
        api.shared.lock().judge = Some(judge);
        api
    }

    /// Takes only so many requests at once from now on.
    pub fn crowd(&self, crowd: &Arc<Crowd>) {
        self.shared.lock().crowd = Some(Arc::clone(crowd));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it; `path` begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Adds a script. For each request the oldest script that applies decides.
    pub fn script(&self, script: Script) {
        self.shared.lock().scripts.push(script);
    }

    /// Forgets all scripts and bad records, as if the service had been mended.
    pub fn behave(&self) {
        let mut inner = self.shared.lock();
        inner.scripts.clear();
        inner.bad = None;
    }

    /// Says which records the service refuses, and how.
    pub fn refuse(&self, bad: BadRecords) {
        self.shared.lock().bad = Some(bad);
    }

    /// Lets every request go on that is held now.
    pub fn release(&self) {
        let mut inner = self.shared.lock();
        inner.released = inner.holds;
        drop(inner);
        self.shared.ring();
    }

    /// A copy of the log.
    pub fn log(&self) -> Vec<Seen> {
        self.shared.lock().log.clone()
    }

    /// How many requests have arrived.
    pub fn requests(&self) -> usize {
        self.shared.lock().log.len()
    }

    /// A copy of what the service holds.
    pub fn store(&self) -> Store {
        self.shared.lock().store.clone()
    }

    /// Waits, blocking, until `done` says so of the log.
    ///
    /// # Panics
    /// After a minute: what was waited for does not happen.
    pub fn wait(&self, done: impl Fn(&[Seen]) -> bool) {
        let guard = self.shared.lock();
        let (guard, timeout) = self
            .shared
            .bell
            .wait_timeout_while(guard, PATIENCE, |inner| !done(&inner.log))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "waited in vain; {} requests arrived",
            guard.log.len()
        );
    }

    /// Waits, in async code, until `done` says so of the log.
    ///
    /// # Panics
    /// After a minute: what was waited for does not happen.
    pub async fn wait_async(&self, done: impl Fn(&[Seen]) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let waiting = changes.wait_for(|_| done(&self.shared.lock().log));
        let ended = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(
            ended,
            "waited in vain; {} requests arrived",
            self.requests()
        );
    }

    /// Pairs of requests that were in flight together and hold the same key: there should be none.
    pub fn overlaps(&self) -> Vec<String> {
        let log = self.log();
        let mut found = Vec::new();
        for (i, a) in log.iter().enumerate() {
            for b in &log[i + 1..] {
                if a.ended.is_some_and(|ended| ended < b.began) {
                    continue;
                }
                let shared = a
                    .records
                    .iter()
                    .filter_map(|record| record.get("key"))
                    .find(|key| b.records.iter().any(|other| other.get("key") == Some(key)));
                if let Some(key) = shared {
                    found.push(format!("{key} in requests {} and {}", a.number, b.number));
                }
            }
        }
        found
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.closed = true;
        inner.released = u64::MAX;
        drop(inner);
        self.shared.ring();
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// Serves one connection until it ends.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Ok(Some(request)) = wire::read(&mut stream, &mut buffer) {
        let Arrived {
            number,
            act,
            ticket,
            crowd,
        } = arrive(shared, request);
        let (crowd, act) = match crowd {
            Some(crowd) if !crowd.enter() => (None, Act::Answer(Answer::status(429))),
            crowd => (crowd, act),
        };
        let answer = match act {
            Act::Hold => {
                hold(shared, ticket);
                Some(shared.lock().take(number))
            }
            Act::Normal => Some(shared.lock().take(number)),
            Act::Answer(answer) => Some(answer),
            Act::TakeAndAnswer(answer) => {
                shared.lock().take(number);
                Some(answer)
            }
            Act::Cut => None,
            Act::TakeAndCut => {
                shared.lock().take(number);
                None
            }
            Act::TakeAndTruncate => {
                let mut answer = shared.lock().take(number);
                answer.truncated = true;
                Some(answer)
            }
        };
        if let Some(crowd) = crowd {
            crowd.leave();
        }
        let status = answer.as_ref().map(|answer| answer.status);
        // The end is noted before the answer is sent: a client that goes on after an answer is
        // never seen to overlap with the request that was answered.
        {
            let mut inner = shared.lock();
            inner.clock += 1;
            let clock = inner.clock;
            inner.log[number].ended = Some(clock);
            inner.log[number].status = status;
        }
        let goes_on = answer.is_some_and(|answer| wire::write(&mut stream, &answer).is_ok());
        shared.ring();
        if !goes_on {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// What is known of a request from the moment it is in the log.
struct Arrived {
    number: usize,
    act: Act,
    /// The `release` it waits for, when it is held: whoever has seen it arrive can let it go.
    ticket: u64,
    crowd: Option<Arc<Crowd>>,
}

fn arrive(shared: &Shared, request: Request) -> Arrived {
    let mut inner = shared.lock();
    inner.clock += 1;
    let number = inner.log.len();
    let seen = Seen {
        number,
        records: store::records(&request),
        method: request.method,
        target: request.target,
        headers: request.headers,
        body: request.body,
        began: inner.clock,
        ended: None,
        status: None,
    };
    let act = script::choose(&mut inner.scripts, &seen);
    inner.log.push(seen);
    inner.holds += u64::from(matches!(act, Act::Hold));
    let arrived = Arrived {
        number,
        act,
        ticket: inner.holds,
        crowd: inner.crowd.clone(),
    };
    drop(inner);
    shared.ring();
    arrived
}

fn hold(shared: &Shared, ticket: u64) {
    let inner = shared.lock();
    let _released = shared
        .bell
        .wait_while(inner, |inner| inner.released < ticket)
        .unwrap_or_else(PoisonError::into_inner);
}

impl Inner {
    /// Takes the records of a request, unless some are bad, and answers.
    fn take(&mut self, number: usize) -> Answer {
        let seen = self.log[number].clone();
        match &mut self.judge {
            Some(judge) => judge(&seen),
            None => self.store.take(&seen, self.bad.as_ref()),
        }
    }
}
