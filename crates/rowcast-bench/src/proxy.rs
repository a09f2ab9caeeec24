//! A proxy between a client and PostgreSQL that notes when the client's first query passes: how
//! long a program needs from its start until it asks something.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// Requests for encryption that may come before the start-up message.
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

/// Looks for the first message that asks something (simple query or parse) in what a client sends.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pending: Vec<u8>,
    started: bool,
    found: bool,
}

impl Watch {
    /// Takes the next bytes; true once, when a query begins in them.
    pub(crate) fn see(&mut self, bytes: &[u8]) -> bool {
        if self.found {
            return false;
        }
        self.pending.extend_from_slice(bytes);
        loop {
            // The first messages have no type.
            let typed = usize::from(self.started);
            if typed == 1 && matches!(self.pending.first(), Some(b'Q' | b'P')) {
                self.found = true;
                return true;
            }
            let word = |at: usize| {
                let bytes = self.pending.get(at..at + 4)?;
                Some(u32::from_be_bytes(bytes.try_into().ok()?))
            };
            let Some(length) = word(typed) else {
                return false;
            };
            let end = typed + length as usize;
            if self.pending.len() < end {
                return false;
            }
            if !self.started {
                self.started = !word(4).is_some_and(|code| ENCRYPTION.contains(&code));
            }
            self.pending.drain(..end);
        }
    }
}

/// The running proxy; it ends with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    queries: Receiver<Instant>,
}

impl Proxy {
    /// Listens, and passes everything on to the server at `port`.
    pub(crate) fn start(port: u16) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the proxy failed: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?.port();
        // At most one message for each connection.
        let (sender, queries) = channel();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || pass_on(client, port, &sender));
            }
        });
        Ok(Self { port: own, queries })
    }

    /// The first query since the last call; later ones are forgotten.
    pub(crate) fn first_query(&self) -> Option<Instant> {
        self.queries.try_iter().min()
    }
}

fn pass_on(mut client: TcpStream, port: u16, queries: &Sender<Instant>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut watch = Watch::default();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = client.read(&mut buffer)?;
        if count == 0 {
            return server.shutdown(Shutdown::Write);
        }
        if watch.see(&buffer[..count]) {
            let _ = queries.send(Instant::now());
        }
        server.write_all(&buffer[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &[u8], body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [kind, &length, body].concat()
    }

    #[test]
    fn the_first_query_is_found_after_encryption_start_up_and_password() {
        let before = [
            message(b"", &ENCRYPTION[0].to_be_bytes()),
            message(b"", &[0, 3, 0, 0, b'u', 0]),
            message(b"p", b"Qsecret\0"),
        ]
        .concat();
        let mut watch = Watch::default();
        for byte in &before {
            assert!(!watch.see(&[*byte]));
        }
        assert!(watch.see(&message(b"Q", b"select 1\0")));
        assert!(!watch.see(&message(b"Q", b"select 2\0")), "only the first");
    }
}
