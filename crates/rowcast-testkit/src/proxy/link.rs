//! One connection through the proxy: two pumps, and what a fault makes of them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Shared;
use super::rule::{Fault, Side, Watch};

/// The two ends of a connection.
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    /// Nothing passes any more in either direction.
    dead: AtomicBool,
    /// Nothing passes down any more: an answer is about to be lost.
    mute: AtomicBool,
    latency_ms: AtomicU64,
    number: usize,
}

/// How one direction passes bytes, unless a fault of the whole link says otherwise.
#[derive(Clone, Copy)]
enum Manner {
    Whole,
    Segments,
    Drip(Duration),
    Stopped,
}

/// Whether the pump goes on.
enum Next {
    Pass(Manner),
    End,
}

pub(super) fn serve(shared: &Arc<Shared>, client: TcpStream, number: usize) {
    let Ok(server) = TcpStream::connect(shared.target) else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let link = Arc::new(Link {
        client,
        server,
        dead: AtomicBool::new(false),
        mute: AtomicBool::new(false),
        latency_ms: AtomicU64::new(0),
        number,
    });
    {
        let mut inner = shared.lock();
        if inner.closed {
            return;
        }
        inner.links.push(Arc::clone(&link));
    }
    let (there, back) = (Arc::clone(&link), Arc::clone(shared));
    std::thread::spawn(move || pump(&back, &there, Side::Down));
    pump(shared, &link, Side::Up);
}

impl Link {
    /// Ends both ends in order.
    pub(super) fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// The client gets a reset: what was not read yet is lost to it.
    fn reset(&self) {
        self.dead.store(true, Ordering::SeqCst);
        let _ = rustix::net::sockopt::set_socket_linger(&self.client, Some(Duration::ZERO));
        // Disconnecting a socket that lingers for no time sends RST at once, although the other
        // pump still holds the socket.
        if rustix::net::connect_unspec(&self.client).is_err() {
            let _ = self.client.shutdown(Shutdown::Both);
        }
        let _ = self.server.shutdown(Shutdown::Both);
    }

    fn ends(&self, side: Side) -> (&TcpStream, &TcpStream) {
        match side {
            Side::Up => (&self.client, &self.server),
            Side::Down => (&self.server, &self.client),
        }
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Whether bytes of this direction end here.
    fn is_muted(&self, side: Side) -> bool {
        self.is_dead() || side == Side::Down && self.mute.load(Ordering::SeqCst)
    }
}

fn pump(shared: &Shared, link: &Link, side: Side) {
    let (mut from, to) = link.ends(side);
    let mut watch = Watch::new(side, link.number);
    let mut manner = Manner::Whole;
    // A rule for the start applies before anything was read.
    let mut piece = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let fired = {
            let mut inner = shared.inner.lock().unwrap_or_else(PoisonError::into_inner);
            watch.look(&mut inner.rules, &piece)
        };
        let done = match fired {
            None => write(shared, link, side, manner, &piece),
            Some((at, rule)) => {
                let before = if rule.passes { piece.len() } else { at };
                if rule.passes && side == Side::Up {
                    link.mute.store(true, Ordering::SeqCst);
                }
                let passed = if rule.fault == Fault::Swallow {
                    last_words(shared, link, side, manner, &piece[..before])
                } else {
                    write(shared, link, side, manner, &piece[..before])
                };
                shared.fired(format!(
                    "{:?} on connection {}, {side:?}",
                    rule.fault, link.number
                ));
                let rest = &mut piece[before..];
                passed.and_then(
                    |()| match begin(shared, link, side, manner, rule.fault, rest) {
                        Next::Pass(next) => {
                            manner = next;
                            write(shared, link, side, manner, rest)
                        }
                        Next::End => Err(std::io::ErrorKind::Other.into()),
                    },
                )
            }
        };
        if done.is_err() {
            // The other pump sees it at its own socket; a link that is half-open tells nobody.
            return;
        }
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => {
                if !link.is_dead() && !matches!(manner, Manner::Stopped) {
                    let _ = to.shutdown(Shutdown::Write);
                }
                return;
            }
            Ok(read) => {
                piece.clear();
                piece.extend_from_slice(&buffer[..read]);
            }
        }
    }
}

/// Begins a fault; `rest` is what stands at its place and after it.
fn begin(
    shared: &Shared,
    link: &Link,
    side: Side,
    manner: Manner,
    fault: Fault,
    rest: &mut [u8],
) -> Next {
    let (_, to) = link.ends(side);
    match fault {
        Fault::Latency(wait) => {
            let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            link.latency_ms.store(wait, Ordering::SeqCst);
        }
        Fault::Drip(pause) => return Next::Pass(Manner::Drip(pause)),
        Fault::Segments => return Next::Pass(Manner::Segments),
        Fault::Reset => {
            link.reset();
            return Next::End;
        }
        Fault::Close => {
            link.dead.store(true, Ordering::SeqCst);
            link.close();
            return Next::End;
        }
        Fault::CloseOneWay => {
            let _ = to.shutdown(Shutdown::Write);
            return Next::Pass(Manner::Stopped);
        }
        Fault::Swallow => {
            link.dead.store(true, Ordering::SeqCst);
        }
        Fault::Stall => return Next::Pass(Manner::Stopped),
        Fault::WrongLength(by) => lie(rest, by),
        Fault::Flip(bytes) => {
            for byte in rest.iter_mut().take(bytes) {
                *byte = !*byte;
            }
        }
        Fault::Garbage(bytes) => {
            let _ = write(shared, link, side, manner, &bytes);
        }
        Fault::Duplicate => {
            let _ = write(shared, link, side, manner, rest);
        }
    }
    Next::Pass(manner)
}

/// Changes the length that stands in a head of HTTP, else in the first PostgreSQL message.
fn lie(bytes: &mut [u8], by: i32) {
    const NAME: &[u8] = b"content-length: ";
    let lower = bytes.to_ascii_lowercase();
    if let Some(at) = lower.windows(NAME.len()).position(|part| part == NAME) {
        let from = at + NAME.len();
        let digits = lower[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let text = String::from_utf8_lossy(&lower[from..from + digits]).into_owned();
        let length: i64 = text.parse().expect("a length is a number");
        let lie = (length + i64::from(by)).max(0).to_string();
        // The head keeps its size: a length may be written with zeros before it.
        let lie = format!("{lie:0>digits$}");
        assert_eq!(lie.len(), digits, "the wrong length has as many digits");
        bytes[from..from + digits].copy_from_slice(lie.as_bytes());
    } else if bytes.len() >= 5 {
        let length = i32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        bytes[1..5].copy_from_slice(&length.wrapping_add(by).to_be_bytes());
    }
}

/// Passes bytes on. `Err`: this direction is over.
fn write(
    shared: &Shared,
    link: &Link,
    side: Side,
    manner: Manner,
    bytes: &[u8],
) -> std::io::Result<()> {
    let latency = link.latency_ms.load(Ordering::SeqCst);
    if latency > 0 && !bytes.is_empty() {
        shared.linger(Duration::from_millis(latency));
    }
    if link.is_muted(side) {
        return Ok(());
    }
    send(shared, link, side, manner, bytes)
}

/// Passes the last bytes of a link that is half-open from then on. It is so before they arrive:
/// whoever reads them may answer at once.
fn last_words(
    shared: &Shared,
    link: &Link,
    side: Side,
    manner: Manner,
    bytes: &[u8],
) -> std::io::Result<()> {
    let muted = link.is_muted(side);
    link.dead.store(true, Ordering::SeqCst);
    if muted {
        return Ok(());
    }
    send(shared, link, side, manner, bytes)
}

fn send(
    shared: &Shared,
    link: &Link,
    side: Side,
    manner: Manner,
    bytes: &[u8],
) -> std::io::Result<()> {
    let (_, mut to) = link.ends(side);
    match manner {
        Manner::Whole => to.write_all(bytes),
        Manner::Segments => bytes
            .iter()
            .try_for_each(|byte| to.write_all(std::slice::from_ref(byte))),
        Manner::Drip(pause) => bytes.iter().try_for_each(|byte| {
            shared.linger(pause);
            if shared.lock().closed {
                return Err(std::io::ErrorKind::Other.into());
            }
            to.write_all(std::slice::from_ref(byte))
        }),
        Manner::Stopped => Ok(()),
    }
}
