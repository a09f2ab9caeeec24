//! What the `http` connector does with connections: uses them again, and never for an answer that
//! is not the request's. The service is a few bytes on a socket, so that it can be wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use flate2::Compression;
use flate2::write::GzEncoder;
use rowcast_core::{Code, Destination, Fault, Outcome};
use serde_json::{Value as Json, json};
use support::{batch, build, config, rejected, upsert, with};
use tokio::sync::mpsc as told;

/// What the service does with one request.
#[derive(Clone)]
enum Does {
    /// Sends these bytes, and waits for the next request on the same connection.
    Answer(Vec<u8>),
    /// Sends these bytes and closes.
    AnswerAndClose(Vec<u8>),
}

/// A service that does these things in turn; says for each request on which connection it came,
/// once it is done with it.
fn service(script: Vec<Does>) -> (SocketAddr, told::Receiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, seen) = told::channel(100);
    let (give, take) = mpsc::channel();
    for does in script {
        give.send(does).unwrap();
    }
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            serve(number, stream, &take, &tell);
        }
    });
    (address, seen)
}

fn serve(
    number: usize,
    mut stream: TcpStream,
    script: &mpsc::Receiver<Does>,
    tell: &told::Sender<(usize, String)>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(head) = request(&mut reader) {
        let Ok(does) = script.try_recv() else { return };
        let (bytes, close) = match does {
            Does::Answer(bytes) => (bytes, false),
            Does::AnswerAndClose(bytes) => (bytes, true),
        };
        stream.write_all(&bytes).unwrap();
        if close {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
        tell.blocking_send((number, head)).unwrap();
        if close {
            return;
        }
    }
}

/// Reads a request whose body has a length; its head.
fn request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some(head)
}

fn answer(more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{more}\r\n");
    [head.as_bytes(), body].concat()
}

fn fine() -> Vec<u8> {
    answer("", b"{}")
}

fn destination(address: SocketAddr, more: &Json) -> std::sync::Arc<dyn Destination> {
    let settings = json!({ "url": format!("http://{address}/hook") });
    build("http", config(&with(settings, more)))
}

async fn write(destination: &dyn Destination) -> Result<Outcome, Fault> {
    let mut outcomes = destination.write(&batch(vec![upsert(1)])).await?;
    assert_eq!(outcomes.len(), 1);
    Ok(outcomes.remove(0))
}

#[tokio::test]
async fn a_connection_is_used_again_and_not_after_the_service_closed_it() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let until_closed = b"HTTP/1.1 200 OK\r\n\r\n{}".to_vec();
    let (address, mut seen) = service(vec![
        Does::Answer(fine()),
        Does::Answer(chunked.to_vec()),
        Does::Answer([&early[..], &fine()].concat()),
        Does::Answer(answer("", b"")),
        Does::AnswerAndClose(fine()),
        Does::AnswerAndClose(answer("connection: close\r\n", b"{}")),
        Does::AnswerAndClose(until_closed),
        Does::Answer(fine()),
    ]);
    let destination = destination(address, &json!({}));
    let mut connections = Vec::new();
    for _ in 0..8 {
        assert_eq!(write(&*destination).await, Ok(Outcome::Delivered));
        connections.push(seen.recv().await.unwrap().0);
    }
    assert_eq!(connections, [0, 0, 0, 0, 0, 1, 2, 3]);
}

#[tokio::test]
async fn bytes_after_an_answer_are_never_taken_for_the_next_one() {
    let forged = b"HTTP/1.1 204 No Content\r\n\r\n";
    let refused = b"HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n";
    let (address, mut seen) = service(vec![
        Does::Answer([&fine()[..], forged].concat()),
        Does::Answer(refused.to_vec()),
    ]);
    let destination = destination(address, &json!({}));
    assert_eq!(write(&*destination).await, Ok(Outcome::Delivered));
    assert_eq!(seen.recv().await.unwrap().0, 0);
    // The first connection would deliver it.
    let outcome = write(&*destination).await.unwrap();
    assert_eq!(
        rejected(&outcome).detail.as_deref(),
        Some("status 422"),
        "{outcome:?}"
    );
    assert_eq!(seen.recv().await.unwrap().0, 1);
}

#[tokio::test]
async fn an_answer_cut_off_is_unknown_and_its_request_is_not_sent_again() {
    let cut = &fine()[..fine().len() - 1];
    let head = b"HTTP/1.1 200 OK\r\ncontent-le";
    for bytes in [cut, &head[..], b""] {
        let (address, mut seen) = service(vec![
            Does::Answer(fine()),
            Does::AnswerAndClose(bytes.to_vec()),
            Does::Answer(fine()),
        ]);
        let destination = destination(address, &json!({}));
        assert_eq!(write(&*destination).await, Ok(Outcome::Delivered));
        let fault = write(&*destination).await.unwrap_err();
        assert_eq!(fault.applied(), rowcast_core::Applied::Unknown);
        assert_eq!(fault.reason().code, Code::DestinationUnreachable);
        assert_eq!(seen.recv().await.unwrap().0, 0);
        assert_eq!(seen.recv().await.unwrap().0, 0);
        assert_eq!(write(&*destination).await, Ok(Outcome::Delivered));
        assert_eq!(seen.recv().await.unwrap().0, 1, "the third, not the second");
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_answers_are_read_within_the_same_bound() {
    let outcomes = json!({ "outcomes":
        { "at": "results", "rejected_when": { "path": "ok", "in": ["false"] }, "message": "why" } });
    let said = gzip(br#"{"results":[{"ok":false,"why":"late"}]}"#);
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let whole = |body: &[u8]| answer("content-encoding: gzip\r\n", body);
    let (address, mut seen) = service(vec![
        Does::Answer(whole(&said)),
        Does::Answer(whole(&bomb)),
        Does::Answer(whole(&said[..said.len() - 9])),
        Does::Answer(whole(b"no gzip")),
        Does::Answer(whole(b"")),
    ]);
    let destination = destination(address, &outcomes);
    let outcome = write(&*destination).await.unwrap();
    assert_eq!(rejected(&outcome).detail.as_deref(), Some("late"));
    let (_, head) = seen.recv().await.unwrap();
    assert!(head.contains("accept-encoding: gzip\r\n"), "{head}");
    assert!(head.contains("accept: */*\r\n"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")), "{head}");

    let too_large = write(&*destination).await.unwrap_err();
    assert_eq!(too_large.reason().code, Code::DestinationAnswer);
    assert!(too_large.reason().message.contains("larger than 1 MiB"));
    for _ in 0..2 {
        let fault = write(&*destination).await.unwrap_err();
        assert_eq!(fault.reason().code, Code::DestinationUnreachable);
        assert_eq!(fault.applied(), rowcast_core::Applied::Unknown);
    }
    // Nothing at all is an empty answer, compressed or not.
    let outcome = write(&*destination).await.unwrap();
    assert!(matches!(outcome, Outcome::Unknown(reason) if reason.code == Code::DestinationAnswer));
}
