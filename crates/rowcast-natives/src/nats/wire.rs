//! The protocol of NATS as far as publishing needs it: lines, messages with headers, PING and PONG.
//!
//! Answers are bounded; a server that sends more than that speaks something else.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// Longest line and longest message from the server.
const LINE_MAX: u64 = 1 << 20;
const MESSAGE_MAX: usize = 8 << 20;

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// What it says of itself, as JSON.
    Info(String),
    Ping,
    Pong,
    Fine,
    /// An error about the connection, without its apostrophes.
    Error(String),
    Message(Received),
}

/// A message to one of our subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) subject: String,
    /// The status of a message without a body: 503 when nobody listens.
    pub(super) status: Option<u16>,
    pub(super) body: Vec<u8>,
}

/// Reads what comes next.
pub(super) async fn next<R: AsyncRead + Unpin>(reader: &mut BufReader<R>) -> io::Result<Sent> {
    let line = line(reader).await?;
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
    match word.to_ascii_uppercase().as_str() {
        "INFO" => Ok(Sent::Info(rest.to_owned())),
        "PING" => Ok(Sent::Ping),
        "PONG" => Ok(Sent::Pong),
        "+OK" => Ok(Sent::Fine),
        "-ERR" => Ok(Sent::Error(rest.trim().trim_matches('\'').to_owned())),
        "MSG" => message(reader, rest, false).await,
        "HMSG" => message(reader, rest, true).await,
        _ => Err(garbled()),
    }
}

async fn message<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    rest: &str,
    with_headers: bool,
) -> io::Result<Sent> {
    let mut words: Vec<&str> = rest.split_whitespace().collect();
    let mut size = || words.pop().and_then(|word| word.parse::<usize>().ok());
    let total = size()
        .filter(|size| *size <= MESSAGE_MAX)
        .ok_or_else(garbled)?;
    let headers = if with_headers {
        size().filter(|size| *size <= total).ok_or_else(garbled)?
    } else {
        0
    };
    let subject = words.first().ok_or_else(garbled)?.to_string();
    let mut bytes = vec![0; total + 2];
    reader.read_exact(&mut bytes).await?;
    bytes.truncate(total);
    let body = bytes.split_off(headers);
    // NATS/1.0 503
    let status = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.lines().next()?.split_whitespace().nth(1)?.parse().ok());
    Ok(Sent::Message(Received {
        subject,
        status,
        body,
    }))
}

async fn line<R: AsyncRead + Unpin>(reader: &mut BufReader<R>) -> io::Result<String> {
    let mut bytes = Vec::new();
    (&mut *reader)
        .take(LINE_MAX)
        .read_until(b'\n', &mut bytes)
        .await?;
    if bytes.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = bytes.strip_suffix(b"\r\n").ok_or_else(garbled)?;
    String::from_utf8(text.to_vec()).map_err(|_| garbled())
}

/// Appends a message with headers.
pub(super) fn push_message(
    out: &mut Vec<u8>,
    subject: &str,
    reply: &str,
    headers: &[(&str, &str)],
    body: &str,
) {
    let mut head = String::from("NATS/1.0\r\n");
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        // A line break would begin another header.
        head.extend(
            value
                .chars()
                .map(|letter| if letter.is_control() { ' ' } else { letter }),
        );
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    out.extend_from_slice(
        format!(
            "HPUB {subject} {reply} {} {}\r\n",
            head.len(),
            head.len() + body.len()
        )
        .as_bytes(),
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A text as one token of a subject: dots, wildcards, blanks and what is not printable become
/// `%` and two digits, as in URLs.
pub(super) fn token(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '.' | '*' | '>' | '%') || letter.is_whitespace() || letter.is_control()
        {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(letter);
        }
    }
    if out.is_empty() {
        out.push('%');
    }
    out
}

fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "this is no answer of a NATS server",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_read_with_and_without_headers() {
        let said = b"MSG _INBOX.a.1 1 2\r\n{}\r\nHMSG _INBOX.a.2 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\nPING\r\n-ERR 'Authorization Violation'\r\nbad\r\n";
        let mut reader = BufReader::new(&said[..]);
        let Sent::Message(first) = next(&mut reader).await.unwrap() else {
            panic!();
        };
        assert_eq!((first.subject.as_str(), first.status), ("_INBOX.a.1", None));
        assert_eq!(first.body, b"{}");
        let Sent::Message(second) = next(&mut reader).await.unwrap() else {
            panic!();
        };
        assert_eq!(second.status, Some(503));
        assert_eq!(next(&mut reader).await.unwrap(), Sent::Ping);
        let error = Sent::Error("Authorization Violation".to_owned());
        assert_eq!(next(&mut reader).await.unwrap(), error);
        assert!(next(&mut reader).await.is_err());
    }

    #[test]
    fn keys_stay_one_token_and_values_one_header() {
        assert_eq!(token("a.b *>%é"), "a%2Eb%20%2A%3E%25é");
        assert_eq!(token(""), "%");
        let mut out = Vec::new();
        push_message(&mut out, "s.1", "r", &[("A", "x\r\nB: y")], "{}");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "HPUB s.1 r 24 26\r\nNATS/1.0\r\nA: x  B: y\r\n\r\n{}\r\n"
        );
    }
}
