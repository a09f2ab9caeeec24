//! The fault proxy does what its faults say, seen from a plain socket on either side.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rowcast_testkit::proxy::{Fault, Proxy, Rule, When};

/// A server that answers every connection with what it got, and tells at the end what that was.
fn echo() -> (Proxy, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = Proxy::to(listener.local_addr().expect("an address"));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    all.extend_from_slice(&buffer[..read]);
                    if stream.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                let _ = tell.send(all);
            });
        }
    });
    (proxy, told)
}

fn client(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("connect");
    stream.set_nodelay(true).expect("set an option");
    let short = Some(Duration::from_millis(300));
    stream.set_read_timeout(short).expect("set an option");
    stream
}

/// Sends, says that nothing follows, and reads to the end.
fn asked(proxy: &Proxy, words: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
    let mut stream = client(proxy);
    let sent = stream.write_all(words);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    (answer, sent.err().or(read.err()).map(|error| error.kind()))
}

#[test]
fn without_a_rule_everything_passes_and_ends_in_order() {
    let (proxy, told) = echo();
    let long = vec![7; 300_000];
    assert_eq!(asked(&proxy, &long), (long.clone(), None));
    assert_eq!(told.recv().unwrap(), long);
    assert_eq!(proxy.accepted(), 1);
    assert!(proxy.fired().is_empty());
}

#[test]
fn a_refused_connection_is_refused_until_the_proxy_is_healed() {
    let (proxy, _told) = echo();
    proxy.refuse();
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.heal();
    assert_eq!(asked(&proxy, b"hello").0, b"hello");
}

#[test]
fn a_reset_is_a_reset_and_a_close_is_an_end() {
    let (proxy, _told) = echo();
    proxy.inject(Rule::up(When::Start, Fault::Reset));
    let mut stream = client(&proxy);
    proxy.wait(1);
    let error = stream.read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    proxy.inject(Rule::down(When::Bytes(3), Fault::Close));
    let mut stream = client(&proxy);
    stream.write_all(b"hello").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"hel", "the truncated body");
    assert_eq!(proxy.fired().len(), 2);
}

#[test]
fn a_half_open_connection_and_a_stalled_answer_are_silent() {
    let (proxy, told) = echo();
    for fault in [Fault::Swallow, Fault::Stall] {
        proxy.inject(Rule::down(When::text("llo"), fault.clone()));
        let mut stream = client(&proxy);
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 9];
        assert_eq!(stream.read(&mut answer).unwrap(), 2, "{fault:?}");
        stream.write_all(b"there").unwrap();
        let silent = stream.read(&mut answer).unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::WouldBlock, "{fault:?}");
    }
    drop(proxy);
    let mut heard = [told.recv().unwrap(), told.recv().unwrap()];
    heard.sort();
    assert_eq!(heard, [b"hello".to_vec(), b"hellothere".to_vec()]);
}

#[test]
fn one_direction_ends_alone() {
    let (proxy, told) = echo();
    proxy.inject(Rule::down(When::Bytes(2), Fault::CloseOneWay));
    let mut stream = client(&proxy);
    stream.write_all(b"hello").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"he");
    stream.write_all(b" again").unwrap();
    drop(stream);
    assert_eq!(told.recv().unwrap(), b"hello again");
}

#[test]
fn slowness_is_as_slow_as_asked() {
    let (proxy, _told) = echo();
    proxy.inject(Rule::down(
        When::Start,
        Fault::Drip(Duration::from_millis(20)),
    ));
    let began = Instant::now();
    assert_eq!(asked(&proxy, b"hello").0, b"hello");
    assert!(began.elapsed() >= Duration::from_millis(100));

    proxy.inject(Rule::up(
        When::Start,
        Fault::Latency(Duration::from_millis(30)),
    ));
    let began = Instant::now();
    assert_eq!(asked(&proxy, b"hello").0, b"hello");
    assert!(began.elapsed() >= Duration::from_millis(60), "both ways");
}

#[test]
fn bytes_are_changed_added_and_repeated() {
    let (proxy, _told) = echo();
    proxy.inject(Rule::down(When::text("l"), Fault::Flip(2)));
    assert_eq!(asked(&proxy, b"hello").0, b"he\x93\x93o");
    proxy.inject(Rule::down(When::Start, Fault::Garbage(b"??".to_vec())));
    assert_eq!(asked(&proxy, b"hello").0, b"??hello");
    proxy.inject(Rule::down(When::text("hello"), Fault::Duplicate));
    assert_eq!(asked(&proxy, b"hello").0, b"hellohello");
    proxy.inject(Rule::down(When::Start, Fault::Segments));
    assert_eq!(asked(&proxy, b"hello").0, b"hello");
    let wrong = |by| Rule::down(When::text("Content"), Fault::WrongLength(by));
    proxy.inject(wrong(-7));
    let head = b"HTTP/1.1 200\r\nContent-Length: 12\r\n\r\n";
    let answer = String::from_utf8(asked(&proxy, head).0).unwrap();
    assert!(answer.contains("Content-Length: 05\r\n"), "{answer}");
    proxy.inject(Rule::down(When::Message(b'Z'), Fault::WrongLength(3)));
    assert_eq!(
        asked(&proxy, b"T\0\0\0\x04Z\0\0\0\x05I").0,
        b"T\0\0\0\x04Z\0\0\0\x08I"
    );
    assert_eq!(proxy.fired().len(), 6);
}

#[test]
fn the_answer_to_something_that_arrived_is_lost() {
    let (proxy, told) = echo();
    proxy.inject(
        Rule::up(When::text("COMMIT"), Fault::Close)
            .nth(2)
            .passing(),
    );
    let mut stream = client(&proxy);
    stream.write_all(b"one COMMIT").unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    stream.write_all(b"two COMMIT").unwrap();
    let mut lost = Vec::new();
    stream.read_to_end(&mut lost).unwrap();
    assert!(lost.is_empty());
    assert_eq!(told.recv().unwrap(), b"one COMMITtwo COMMIT");
}
