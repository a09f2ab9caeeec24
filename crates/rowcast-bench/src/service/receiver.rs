//! A receiver in this process: it takes every request at once, tells when it came, and remembers the
//! newest value of each record.

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::sink::read_request;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// A request that came.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The name of the sync.
    pub(crate) sync: String,
    /// Microseconds since 1970.
    pub(crate) at_us: i64,
}

/// What a sync has delivered: the visits of each person.
type Delivered = BTreeMap<i64, i64>;

#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) port: u16,
    pub(crate) arrivals: Receiver<Arrival>,
    delivered: Arc<Mutex<BTreeMap<String, Delivered>>>,
}

impl Inbox {
    /// Listens.
    pub(crate) fn open() -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the receiver failed: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let delivered: Arc<Mutex<BTreeMap<String, Delivered>>> = Arc::default();
        let (sender, arrivals) = channel();
        let shared = delivered.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, shared) = (sender.clone(), shared.clone());
                std::thread::spawn(move || {
                    // A client that goes away is no failure of the measurement.
                    let _ = serve(stream, &sender, &shared);
                });
            }
        });
        Ok(Self {
            port,
            arrivals,
            delivered,
        })
    }

    /// What a sync has delivered so far.
    pub(crate) fn of(&self, sync: &str) -> Delivered {
        let delivered = self.delivered.lock();
        let delivered = delivered.unwrap_or_else(PoisonError::into_inner);
        delivered.get(sync).cloned().unwrap_or_default()
    }
}

fn serve(
    stream: TcpStream,
    sender: &Sender<Arrival>,
    delivered: &Mutex<BTreeMap<String, Delivered>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, || Ok(()))? {
        let at_us = now_us();
        let sync = request.path.trim_start_matches('/').to_owned();
        let body: serde_json::Value = serde_json::from_slice(&request.body)?;
        let records = match body {
            serde_json::Value::Array(records) => records,
            one => vec![one],
        };
        {
            let mut all = delivered.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = all.entry(sync.clone()).or_default();
            for record in &records {
                if let (Some(id), Some(visits)) = (record["id"].as_i64(), record["visits"].as_i64())
                {
                    mine.insert(id, visits);
                }
            }
        }
        out.write_all(ANSWER)?;
        // Whoever measures may have ended.
        let _ = sender.send(Arrival { sync, at_us });
    }
    Ok(())
}

/// Microseconds since 1970: to be compared with the database's clock on the same machine.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is the distance to a time of the database's clock"
)]
pub(crate) fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}
