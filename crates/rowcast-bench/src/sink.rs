//! The receiver of HTTP requests, in a process of its own: it takes everything, keeps the bodies,
//! and judges nothing while the clock runs.
//!
//! HTTP/1.1 with keep-alive, `TCP_NODELAY`, and answers in one write: a receiver that sends its
//! answer in two pieces costs every serial client a delayed acknowledgement of 40 ms. A thread for
//! each connection appends bodies to a file of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::proc;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
/// A request for what was stored: its answer is the folder.
const TAKE: &str = "/bench/take";
/// The length of a stored body, before it.
const PREFIX: usize = 4;

#[derive(Debug, Default)]
struct Open {
    /// Connections that deliver, now.
    connections: usize,
    /// All connections so far: names the files.
    total: usize,
    /// Which folder is being filled.
    round: usize,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    open: Mutex<Open>,
    changed: Condvar,
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round(&self, round: usize) -> PathBuf {
        self.folder.join(format!("round-{round}"))
    }
}

/// One request: its path and body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// Reads a request; `None` when the client has gone.
pub(crate) fn read_request(
    reader: &mut impl BufRead,
    mut go_on: impl FnMut() -> std::io::Result<()>,
) -> std::io::Result<Option<Request>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let first = String::from_utf8_lossy(&line).into_owned();
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let (mut length, mut chunked) = (0_usize, false);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            break;
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&text[..colon], text[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            length = value.ok_or_else(|| std::io::Error::other("no content-length"))?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"expect") {
            go_on()?;
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
            let size = text.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| std::io::Error::other("a chunk without a size"))?;
            let at = body.len();
            body.resize(at + size, 0);
            reader.read_exact(&mut body[at..])?;
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            if size == 0 {
                break;
            }
        }
    } else {
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    }
    Ok(Some(Request { path, body }))
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    let mut store: Option<Store<'_>> = None;
    loop {
        let mut interim = out.try_clone()?;
        let go_on = || interim.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        let Some(request) = read_request(&mut reader, go_on)? else {
            break;
        };
        if request.path == TAKE {
            let folder = take(shared)?.display().to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                folder.len()
            );
            out.write_all(format!("{head}{folder}").as_bytes())?;
            continue;
        }
        let store = match &mut store {
            Some(store) => store,
            empty => empty.insert(Store::open(shared)?),
        };
        let length = u32::try_from(request.body.len()).map_err(std::io::Error::other)?;
        store.file.write_all(&length.to_le_bytes())?;
        store.file.write_all(&request.body)?;
        out.write_all(ANSWER)?;
    }
    match store {
        Some(mut store) => store.file.flush(),
        None => Ok(()),
    }
}

/// The file of one delivering connection, counted as long as it is open.
struct Store<'a> {
    file: BufWriter<File>,
    shared: &'a Shared,
}

impl<'a> Store<'a> {
    fn open(shared: &'a Shared) -> std::io::Result<Self> {
        let mut open = shared.open();
        let folder = shared.round(open.round);
        std::fs::create_dir_all(&folder)?;
        let file = File::create(folder.join(open.total.to_string()))?;
        open.connections += 1;
        open.total += 1;
        let file = BufWriter::with_capacity(1024 * 1024, file);
        Ok(Self { file, shared })
    }
}

impl Drop for Store<'_> {
    fn drop(&mut self) {
        let _ = self.file.flush();
        self.shared.open().connections -= 1;
        self.shared.changed.notify_all();
    }
}

/// Waits until all delivering connections are closed, and begins a new folder.
fn take(shared: &Shared) -> std::io::Result<PathBuf> {
    let mut open = shared.open();
    while open.connections > 0 {
        open = shared
            .changed
            .wait(open)
            .unwrap_or_else(PoisonError::into_inner);
    }
    let folder = shared.round(open.round);
    open.round += 1;
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The receiver's process: says its port on standard output and serves until its input closes.
pub(crate) fn process(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the sink failed: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    crate::terminal::say(&listener.local_addr().map_err(failed)?.port().to_string());
    let shared = Arc::new(Shared {
        folder: folder.to_path_buf(),
        open: Mutex::default(),
        changed: Condvar::new(),
    });
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                if let Err(error) = serve(stream, &shared) {
                    crate::terminal::complain(&format!("sink: {error}"));
                }
            });
        }
    });
    let mut nothing = Vec::new();
    std::io::stdin().read_to_end(&mut nothing).map_err(failed)?;
    Ok(())
}

/// The receiver as the benchmark holds it.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) port: u16,
    process: Child,
}

impl Sink {
    /// Starts the receiver's process.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("could not start the sink: {error}");
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("sink")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(failed)?;
        }
        let port = line.trim().parse().map_err(|_| "the sink said no port")?;
        Ok(Self { port, process })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        proc::stat(self.process.id()).map_or(0.0, proc::Stat::seconds)
    }

    /// The folder with what came since the last call, once every sender has gone.
    pub(crate) fn take(&self) -> Result<PathBuf, String> {
        let ask = || -> std::io::Result<PathBuf> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.write_all(format!("GET {TAKE} HTTP/1.1\r\nhost: sink\r\n\r\n").as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let folder = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
            Ok(PathBuf::from(folder))
        };
        ask().map_err(|error| format!("the sink did not answer: {error}"))
    }

    /// Forgets what came.
    pub(crate) fn clear(&self) -> Result<(), String> {
        let folder = self.take()?;
        std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Shows each stored body of a folder to `look`.
pub(crate) fn bodies(
    folder: &Path,
    mut look: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut body = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let file = File::open(entry.map_err(failed)?.path()).map_err(failed)?;
        let mut reader = BufReader::with_capacity(1024 * 1024, file);
        loop {
            let mut length = [0; PREFIX];
            match reader.read_exact(&mut length) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(failed(error)),
            }
            body.resize(u32::from_le_bytes(length) as usize, 0);
            reader.read_exact(&mut body).map_err(failed)?;
            look(&body)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Request> {
        read_request(&mut text.as_bytes(), || Ok(())).unwrap()
    }

    #[test]
    fn bodies_with_a_length_and_in_chunks_are_read() {
        let whole = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
        let chunks = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                      2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        for text in [whole, chunks] {
            let request = read(text).unwrap();
            assert_eq!((request.path.as_str(), &*request.body), ("/a", &b"abc"[..]));
        }
        assert_eq!(read(""), None);
    }

    #[test]
    fn what_was_sent_is_found_in_the_folder_once_the_senders_have_gone() {
        let folder = std::env::temp_dir().join(format!("rowcast-sink-{}", std::process::id()));
        let shared = Shared {
            folder: folder.clone(),
            open: Mutex::default(),
            changed: Condvar::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client
            .write_all(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi")
            .unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        serve(server, &shared).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, ANSWER);
        let mut found = Vec::new();
        bodies(&take(&shared).unwrap(), |body| {
            found.push(body.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [b"hi"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
