//! The raw HTTP load client: what this machine can deliver when the bodies are already there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::sink;

/// Connections that send at the same time.
const CONNECTIONS: usize = 8;

/// Sends every body stored in `folder` once, one a request; says the seconds it took on standard
/// output. A process of its own, so that its CPU can be told apart.
pub(crate) fn process(folder: &Path, port: u16) -> Result<(), String> {
    let mut requests: Vec<Vec<u8>> = Vec::new();
    sink::bodies(folder, |body| {
        let head = format!(
            "POST /raw HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        requests.push([head.as_bytes(), body].concat());
        Ok(())
    })?;
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let outcomes: Vec<std::io::Result<()>> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| send(&requests, &next, port)))
            .collect();
        let joined = senders.into_iter().map(|sender| match sender.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(std::io::Error::other("a sender panicked")),
        });
        joined.collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    for outcome in outcomes {
        outcome.map_err(|error| format!("sending failed: {error}"))?;
    }
    crate::terminal::say(&format!("{seconds}"));
    Ok(())
}

fn send(requests: &[Vec<u8>], next: &AtomicUsize, port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut answer = [0; 1024];
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        stream.write_all(request)?;
        // The sink's answers come in one piece.
        if stream.read(&mut answer)? == 0 || !answer.starts_with(b"HTTP/1.1 200") {
            return Err(std::io::Error::other("the sink did not answer well"));
        }
    }
    Ok(())
}
