//! A relay before a cluster that knows its frames: it advertises itself in the brokers' place, asks
//! for a login, and loses answers.
//!
//! A proxy of bytes can't stand before Kafka, whose clients go where the cluster's metadata says.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Numbers of requests in the protocol.
const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;

#[derive(Default)]
struct State {
    /// What metadata says in place of a broker's port: host and port.
    advertised: HashMap<u16, (String, u16)>,
    /// The user and the password that a connection must give, by PLAIN.
    login: Option<(String, String)>,
    /// Answers to Produce requests that are lost from now on.
    losses: usize,
    /// The first batch of each Produce request, in their order.
    numbers: Vec<Numbers>,
    connections: Vec<TcpStream>,
}

/// By what a broker knows a batch again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub producer: i64,
    pub epoch: i16,
    pub sequence: i32,
    pub count: i32,
}

/// The running relay: one port for each broker.
pub struct Relay {
    ports: Vec<u16>,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panicking test must not hide its message behind a poisoned lock.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Stands before a cluster's brokers.
    ///
    /// # Panics
    /// No loopback port is free.
    pub fn before(kafka: &super::Kafka) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let mut ports = Vec::new();
        for broker in &kafka.ports {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
            let port = listener.local_addr().expect("a bound port").port();
            let own = ("127.0.0.1".to_owned(), port);
            lock(&state).advertised.insert(*broker, own);
            ports.push(port);
            let (broker, state) = (*broker, Arc::clone(&state));
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || serve(&client, broker, &state));
                }
            });
        }
        Self { ports, state }
    }

    /// The port before the first broker.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Metadata names this place for every broker.
    pub fn advertise(&self, host: &str, port: u16) {
        for place in lock(&self.state).advertised.values_mut() {
            *place = (host.to_owned(), port);
        }
    }

    /// Connections must log in with this user and password; those that stand are closed.
    pub fn demand_login(&self, user: &str, password: &str) {
        let mut state = lock(&self.state);
        state.login = Some((user.to_owned(), password.to_owned()));
        for connection in state.connections.drain(..) {
            let _gone = connection.shutdown(Shutdown::Both);
        }
    }

    /// The numbers of every Produce request that passed, of its first partition.
    pub fn numbers(&self) -> Vec<Numbers> {
        lock(&self.state).numbers.clone()
    }

    /// The next answers to Produce requests are lost with their connections; their effect stays.
    pub fn lose_answers(&self, count: usize) {
        lock(&self.state).losses = count;
    }
}

/// One frame without its length; `None` at the end.
fn frame(mut from: &TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn pass(mut to: &TcpStream, frame: &[u8]) -> Option<()> {
    let length = u32::try_from(frame.len()).expect("a frame of usual size");
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(frame);
    to.write_all(&out).ok()
}

fn serve(client: &TcpStream, broker: u16, state: &Mutex<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else {
        return;
    };
    lock(state)
        .connections
        .push(client.try_clone().expect("a second handle"));
    // What each request that waits for its answer is, by correlation.
    let asked: Mutex<HashMap<[u8; 4], i16>> = Mutex::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = up(client, &server, state, &asked);
            let _gone = server.shutdown(Shutdown::Both);
            let _gone = client.shutdown(Shutdown::Both);
        });
        let _ended = down(client, &server, state, &asked);
        let _gone = client.shutdown(Shutdown::Both);
        let _gone = server.shutdown(Shutdown::Both);
    });
}

/// Requests.
fn up(
    client: &TcpStream,
    server: &TcpStream,
    state: &Mutex<State>,
    asked: &Mutex<HashMap<[u8; 4], i16>>,
) -> Option<()> {
    let mut known = lock(state).login.is_none();
    loop {
        let frame = frame(client)?;
        let api = i16::from_be_bytes([frame[0], frame[1]]);
        let correlation = [frame[4], frame[5], frame[6], frame[7]];
        // The client's name, then the request's own content.
        let name = usize::from(u16::from_be_bytes([frame[8], frame[9]]));
        let content = &frame[10 + name..];
        let mut answer = correlation.to_vec();
        match api {
            SASL_HANDSHAKE => {
                let mechanism = &content[2..];
                let code: i16 = if mechanism == b"PLAIN" { 0 } else { 33 };
                answer.extend(code.to_be_bytes());
                answer.extend(b"\0\0\0\x01\0\x05PLAIN");
                pass(client, &answer)?;
            }
            SASL_AUTHENTICATE => {
                let login = lock(state).login.clone();
                known = login.is_none_or(|(user, password)| {
                    content[4..] == *format!("\0{user}\0{password}").as_bytes()
                });
                answer.extend(if known { 0_i16 } else { 58 }.to_be_bytes());
                let words = b"Authentication failed: Invalid username or password";
                answer.extend((words.len() as u16).to_be_bytes());
                answer.extend(words);
                answer.extend([0; 4]);
                // The second version also says how long the login holds: for ever.
                if frame[3] > 0 {
                    answer.extend([0; 8]);
                }
                pass(client, &answer)?;
            }
            _ if known || api == API_VERSIONS => {
                if api == PRODUCE {
                    lock(state).numbers.push(numbers(content));
                }
                asked
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(correlation, api);
                pass(server, &frame)?;
            }
            _ => return None,
        }
    }
}

/// Answers.
fn down(
    client: &TcpStream,
    server: &TcpStream,
    state: &Mutex<State>,
    asked: &Mutex<HashMap<[u8; 4], i16>>,
) -> Option<()> {
    loop {
        let mut frame = frame(server)?;
        let correlation = [frame[0], frame[1], frame[2], frame[3]];
        let api = asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&correlation);
        match api {
            Some(API_VERSIONS) => {
                // Two more requests are known here: those of logins.
                let count = u32::from_be_bytes([frame[6], frame[7], frame[8], frame[9]]) + 2;
                frame[6..10].copy_from_slice(&count.to_be_bytes());
                for api in [SASL_HANDSHAKE, SASL_AUTHENTICATE] {
                    frame.extend(api.to_be_bytes());
                    frame.extend([0, 0, 0, 1]);
                }
            }
            Some(METADATA) => frame = readdress(&frame, &lock(state).advertised),
            Some(PRODUCE) => {
                let mut state = lock(state);
                if state.losses > 0 {
                    state.losses -= 1;
                    return None;
                }
            }
            _ => {}
        }
        pass(client, &frame)?;
    }
}

/// Of a Produce request of one topic.
fn numbers(content: &[u8]) -> Numbers {
    // Transaction, acknowledgements, patience and the count of topics come before the topic's name;
    // the count of partitions, the partition and a length after it.
    let name = usize::from(u16::from_be_bytes([content[12], content[13]]));
    let batch = &content[14 + name + 12..];
    let take = |at: usize| batch[at..at + 4].try_into().expect("four bytes");
    Numbers {
        producer: i64::from_be_bytes(batch[43..51].try_into().expect("eight bytes")),
        epoch: i16::from_be_bytes([batch[51], batch[52]]),
        sequence: i32::from_be_bytes(take(53)),
        count: i32::from_be_bytes(take(57)),
    }
}

/// Metadata with other places for the brokers.
fn readdress(frame: &[u8], advertised: &HashMap<u16, (String, u16)>) -> Vec<u8> {
    const HOST: &[u8] = b"\0\x09127.0.0.1";
    let mut out = Vec::with_capacity(frame.len());
    let mut rest = frame;
    while let Some(byte) = rest.first() {
        let port = rest
            .strip_prefix(HOST)
            .and_then(|after| after.get(..4))
            .map(|port| u32::from_be_bytes([port[0], port[1], port[2], port[3]]));
        let place = port
            .and_then(|port| u16::try_from(port).ok())
            .and_then(|port| advertised.get(&port));
        if let Some((host, port)) = place {
            out.extend((host.len() as u16).to_be_bytes());
            out.extend(host.as_bytes());
            out.extend(u32::from(*port).to_be_bytes());
            rest = &rest[HOST.len() + 4..];
        } else {
            out.push(*byte);
            rest = &rest[1..];
        }
    }
    out
}
