//! A TCP proxy that breaks connections by script: what networks, firewalls and dying machines do.
//!
//! It listens on a loopback port and passes bytes on to a target. A [`Rule`] names a place (a
//! number of bytes, a pattern in the stream, the n-th message of a kind) and the [`Fault`] that
//! begins there, so that a test breaks the same byte every time. It runs on threads of its own in
//! the test's process. It must never wait for time to pass except where a fault is slowness.

mod frame;
mod link;
mod rule;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use rule::{Fault, Rule, Side, When};

use link::Link;
use rule::Armed;

/// Longest a test waits for something that should happen at once; only a broken test gets there.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Inner {
    rules: Vec<Armed>,
    /// Connections accepted since the proxy began.
    accepted: usize,
    /// Faults that began, in their order.
    fired: Vec<String>,
    links: Vec<Arc<Link>>,
    /// The accepting thread of this number goes on; others end.
    listening: u64,
    closed: bool,
}

struct Shared {
    target: SocketAddr,
    inner: Mutex<Inner>,
    /// Rung whenever anything in `inner` changes.
    bell: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panicking test must not hide its message behind a poisoned lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a fault that is slowness; ends early when the proxy does.
    fn linger(&self, how_long: Duration) {
        let inner = self.lock();
        let _slept = self
            .bell
            .wait_timeout_while(inner, how_long, |inner| !inner.closed)
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn fired(&self, what: String) {
        self.lock().fired.push(what);
        self.bell.notify_all();
    }
}

/// The running proxy. Dropping it closes the port and every connection.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy that passes everything on to `target`.
    ///
    /// # Panics
    /// When no loopback port is free.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let shared = Arc::new(Shared {
            target,
            inner: Mutex::default(),
            bell: Condvar::new(),
        });
        let proxy = Self { address, shared };
        proxy.accept(listener);
        proxy
    }

    /// Starts a proxy to a port of this machine.
    pub fn to_port(port: u16) -> Self {
        Self::to(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Adds a rule.
    pub fn inject(&self, rule: Rule) {
        self.shared.lock().rules.push(Armed::new(rule));
    }

    /// Forgets all rules and listens again: new connections are passed on whole. What broken
    /// connections left behind stays as it is, as it would in a network.
    pub fn heal(&self) {
        let listens = {
            let mut inner = self.shared.lock();
            inner.rules.clear();
            inner.listening % 2 == 1
        };
        if !listens {
            let listener = TcpListener::bind(self.address).expect("the port is still ours");
            self.accept(listener);
        }
    }

    /// Refuses connections until it is healed: nothing listens on the port.
    pub fn refuse(&self) {
        let mut inner = self.shared.lock();
        if inner.listening % 2 == 1 {
            inner.listening += 1;
            inner.fired.push("refused".to_owned());
            drop(inner);
            // Wakes the accepting thread, which ends and closes the port, then waits for that.
            let _ = TcpStream::connect(self.address);
            while TcpStream::connect(self.address).is_ok() {
                std::thread::yield_now();
            }
        }
    }

    /// Closes every connection there is, as a proxy that restarts does.
    pub fn hang_up(&self) {
        let links = std::mem::take(&mut self.shared.lock().links);
        for link in links {
            link.close();
        }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.lock().accepted
    }

    /// The faults that began, in their order.
    pub fn fired(&self) -> Vec<String> {
        self.shared.lock().fired.clone()
    }

    /// Waits until so many faults began.
    ///
    /// # Panics
    /// After a minute: the place was not reached.
    pub fn wait(&self, fired: usize) {
        let guard = self.shared.lock();
        let (guard, timeout) = self
            .shared
            .bell
            .wait_timeout_while(guard, PATIENCE, |inner| inner.fired.len() < fired)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "waited in vain for {fired} faults: {:?}",
            guard.fired
        );
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let turn = {
            let mut inner = shared.lock();
            inner.listening += 1;
            inner.listening
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = {
                    let mut inner = shared.lock();
                    if inner.closed || inner.listening != turn {
                        return;
                    }
                    inner.accepted += 1;
                    inner.accepted
                };
                shared.bell.notify_all();
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || link::serve(&shared, stream, number));
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.bell.notify_all();
        self.hang_up();
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}
