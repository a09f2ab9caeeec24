//! What the program tells while it works: spans that a collector receives, logs that programs read.
//! Neither holds a row's values or a secret.

#[path = "support/shop.rs"]
mod shop;
#[allow(dead_code, reason = "commands here are run through the shop")]
mod terminal;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rowcast_testkit::api::{Act, Answer, Script};
use serde_json::Value;
use shop::{ROWS, Shop};

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "canary-77aa-collector-key";

/// An OpenTelemetry collector, as far as a test needs one: it keeps what is posted.
struct Collector {
    endpoint: String,
    posts: Receiver<(String, Vec<u8>)>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
        let (sender, posts) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut out = stream.try_clone().expect("the other direction");
                let mut reader = BufReader::new(stream);
                loop {
                    let (mut head, mut line) = (String::new(), String::new());
                    while reader.read_line(&mut line).is_ok_and(|n| n > 0) && line.trim() != "" {
                        head.push_str(&line.to_ascii_lowercase());
                        line.clear();
                    }
                    let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
                    let Some(length) = length.and_then(|length| length.trim().parse().ok()) else {
                        break;
                    };
                    let mut body: Vec<u8> = vec![0; length];
                    reader.read_exact(&mut body).expect("the whole body");
                    if sender.send((head, body)).is_err() {
                        return;
                    }
                    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                    out.write_all(answer.as_bytes()).expect("answer");
                }
            }
        });
        Self { endpoint, posts }
    }
}

/// Protocol buffers without a schema: the fields of a message by number.
fn message(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(number(&mut bytes)),
            2 => {
                let length = usize::try_from(number(&mut bytes)).expect("a length");
                let (own, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(own)
            }
            kind @ (1 | 5) => {
                bytes = &bytes[if kind == 1 { 8 } else { 4 }..];
                Field::Number(0)
            }
            kind => panic!("no such kind of field: {kind}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The messages or texts in a field of a message.
fn all(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let fields = message(bytes).into_iter();
    let own = fields.filter(|(found, _)| *found == number);
    own.filter_map(|(_, field)| match field {
        Field::Bytes(bytes) => Some(bytes),
        Field::Number(_) => None,
    })
    .collect()
}

fn text(bytes: &[u8], number: u64) -> String {
    let first = all(bytes, number).first().copied().unwrap_or_default();
    String::from_utf8_lossy(first).into_owned()
}

#[derive(Debug)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    attributes: BTreeMap<String, String>,
}

fn attributes(bytes: &[u8], number: u64) -> BTreeMap<String, String> {
    let pairs = all(bytes, number).into_iter().map(|pair| {
        let value = all(pair, 2).first().copied().unwrap_or_default();
        let value = match message(value).first() {
            Some((_, Field::Bytes(text))) => String::from_utf8_lossy(text).into_owned(),
            Some((_, Field::Number(number))) => number.to_string(),
            None => String::new(),
        };
        (text(pair, 1), value)
    });
    pairs.collect()
}

fn spans(body: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in all(body, 1) {
        let about = attributes(all(resource, 1)[0], 1);
        assert_eq!(about["service.name"], "rowcast");
        assert_eq!(about["deployment.environment"], "test");
        for scope in all(resource, 2) {
            for span in all(scope, 2) {
                let bytes = |number| all(span, number).first().map_or(vec![], |id| id.to_vec());
                found.push(Span {
                    trace: bytes(1),
                    id: bytes(2),
                    parent: bytes(4),
                    name: text(span, 5),
                    attributes: attributes(span, 9),
                });
            }
        }
    }
    found
}

/// Whether bytes hold a text.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[test]
fn a_collector_receives_one_span_for_each_step_of_a_run() {
    let shop = Shop::open("telemetry_traces");
    let collector = Collector::start();
    let ran = |more: &[(&str, &str)]| {
        let mut command = shop
            .terminal
            .command(".", &["run", "customers_to_crm", "-vv"]);
        let out = command.envs(more.iter().copied()).output().expect("run");
        assert!(out.status.success(), "{out:?}");
    };
    let header = format!("x-api-key={SECRET}");
    let to: [(&str, &str); 3] = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", &header),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
    ];
    ran(&to);
    let mut found = Vec::new();
    for (head, body) in collector.posts.try_iter() {
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(head.contains(SECRET), "the collector is told who sends");
        for private in ["c7@example.com", "free", SECRET, shop.role()] {
            assert!(!holds(&body, private), "{private} is in a span");
        }
        found.extend(spans(&body));
    }
    let named = |name: &str| -> Vec<&Span> { found.iter().filter(|s| s.name == name).collect() };
    let [run] = named("run")[..] else {
        panic!("not one run: {found:#?}");
    };
    assert!(run.parent.is_empty());
    for (name, value) in [
        ("sync", "customers_to_crm"),
        ("trigger", "cli"),
        ("run", "1"),
        ("status", "succeeded"),
        ("delivered", "40"),
    ] {
        assert_eq!(
            run.attributes.get(name).map(String::as_str),
            Some(value),
            "{run:#?}"
        );
    }
    for step in ["open", "diff", "guard", "deliver", "publish", "finish"] {
        let [step] = named(step)[..] else {
            panic!("not one {step}: {found:#?}");
        };
        assert_eq!(step.parent, run.id, "{step:#?}");
    }
    let deliver = &named("deliver")[0].id;
    let requests = named("request");
    assert_eq!(requests.len(), ROWS / 20);
    assert!(!named("acknowledge").is_empty());
    for child in requests.iter().chain(&named("acknowledge")) {
        assert_eq!(&child.parent, deliver, "{child:#?}");
    }
    assert!(
        found
            .iter()
            .all(|span| span.trace == run.trace && !span.trace.is_empty())
    );
    let known = [
        "run",
        "open",
        "diff",
        "guard",
        "deliver",
        "publish",
        "finish",
        "request",
        "acknowledge",
    ];
    for span in &found {
        assert!(
            known.contains(&span.name.as_str()),
            "nothing of others: {span:#?}"
        );
    }

    // Nobody is told who did not ask.
    ran(&[]);
    let off = [to[0], ("OTEL_SDK_DISABLED", "true")];
    ran(&off);
    assert!(collector.posts.try_recv().is_err());
}

#[test]
fn a_collector_that_is_away_costs_a_run_nothing_but_a_warning() {
    let shop = Shop::open("telemetry_away");
    let port = rowcast_testkit::postgres::free_port();
    let out = shop
        .terminal
        .command(".", &["run", "customers_to_crm"])
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://127.0.0.1:{port}"),
        )
        .output()
        .expect("run");
    assert!(out.status.success(), "{out:?}");
    assert_eq!(shop.delivered().lines().count(), ROWS);
}

#[test]
fn json_logs_are_objects_without_row_values() {
    let shop = Shop::open("telemetry_json");
    shop.sql("UPDATE customers SET email = 'canary-31f0-' || id || '@example.com'");
    // The first attempt fails, so that more is told.
    let busy = Act::Answer(Answer::status(503));
    shop.api.script(Script::once(busy));
    let mut server = shop
        .terminal
        .command(
            ".",
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "-vv",
                "--log-format",
                "json",
            ],
        )
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the server");
    let mut out = BufReader::new(server.stderr.take().expect("its log")).lines();
    let mut log = String::new();
    let mut until = |member: &str, word: &str| loop {
        let line = out.next().expect("the server goes on").expect("text");
        log.push_str(&line);
        log.push('\n');
        // Notes for the person who started it are no log.
        if let Ok(entry) = serde_json::from_str::<Value>(&line)
            && entry[member] == word
        {
            break entry;
        }
        if line.contains(word) && !line.starts_with('{') {
            break Value::Null;
        }
    };
    until("", "serving");
    shop.sql(
        "INSERT INTO _rowcast.control_job (sync, source, trigger, due_at, request, status)
         VALUES ('customers_to_crm', 'shop', 'api', now(), '{}', 'queued')",
    );
    let begins = until("message", "begins");
    let ended = until("message", "ended");
    server.kill().expect("end the server");
    server.wait().expect("its end");
    for line in [&begins, &ended] {
        for member in ["timestamp", "level", "target"] {
            assert!(line[member].is_string(), "{member} of {line}");
        }
        assert_eq!(line["sync"], "customers_to_crm");
    }
    assert_eq!(ended["outcome"], "succeeded");
    assert!(!log.contains("canary-31f0"), "{log}");
    assert!(
        shop.delivered().contains("canary-31f0-7@"),
        "it was there to be logged"
    );
}

#[test]
fn a_service_tells_systemd_when_it_serves_and_when_it_stops() {
    let shop = Shop::open("telemetry_systemd");
    let path = shop.terminal.dir.join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut server = shop
        .terminal
        .command(".", &["serve", "--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the server");
    let told = || {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).expect("a word");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    let pid = server.id().to_string();
    let asked = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(asked.expect("send the signal").success());
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(server.wait().expect("its end").code(), Some(0));
}
