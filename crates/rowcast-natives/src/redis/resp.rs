//! RESP, the protocol of Redis, as far as publishing needs it: commands out, replies in.
//!
//! Replies are bounded; a server that sends more than that speaks something else.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, ReadHalf};

use crate::connect::Stream;

/// Longest text in a reply, and most items in a list.
const TEXT_MAX: usize = 16 << 20;
const ITEMS_MAX: usize = 1 << 20;
/// Deepest list within a list.
const DEPTH_MAX: usize = 8;

/// The side that is read.
pub(super) type Reader = BufReader<ReadHalf<Stream>>;

/// What the server answers to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// A status, a number's digits or a text.
    Text(String),
    /// The server's error: a word in capitals, then prose.
    Error(String),
    Nothing,
    List(Vec<Reply>),
}

/// Appends a command.
pub(super) fn push_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads one reply.
pub(super) async fn reply(reader: &mut Reader) -> io::Result<Reply> {
    read(reader, 0).await
}

async fn read(reader: &mut Reader, depth: usize) -> io::Result<Reply> {
    let line = line(reader).await?;
    let Some((kind, rest)) = line.split_at_checked(1) else {
        return Err(garbled());
    };
    match kind {
        "+" | ":" => Ok(Reply::Text(rest.to_owned())),
        "-" => Ok(Reply::Error(rest.to_owned())),
        "$" => match length(rest, TEXT_MAX)? {
            None => Ok(Reply::Nothing),
            Some(length) => {
                let mut bytes = vec![0; length + 2];
                reader.read_exact(&mut bytes).await?;
                bytes.truncate(length);
                Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
            }
        },
        "*" if depth < DEPTH_MAX => match length(rest, ITEMS_MAX)? {
            None => Ok(Reply::Nothing),
            Some(count) => {
                let mut items = Vec::with_capacity(count.min(1_024));
                for _ in 0..count {
                    items.push(Box::pin(read(reader, depth + 1)).await?);
                }
                Ok(Reply::List(items))
            }
        },
        _ => Err(garbled()),
    }
}

async fn line(reader: &mut Reader) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut limited = reader.take(64 << 10);
    limited.read_until(b'\n', &mut bytes).await?;
    if bytes.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = bytes.strip_suffix(b"\r\n").ok_or_else(garbled)?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// `None` stands for −1: there is nothing.
fn length(text: &str, most: usize) -> io::Result<Option<usize>> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(length) => usize::try_from(length)
            .ok()
            .filter(|length| *length <= most)
            .map(Some)
            .ok_or_else(garbled),
        Err(_) => Err(garbled()),
    }
}

fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "this is no answer of a Redis server",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_counted_in_bytes() {
        let mut out = Vec::new();
        push_command(&mut out, &[b"XADD", "é".as_bytes()]);
        assert_eq!(out, "*2\r\n$4\r\nXADD\r\n$2\r\né\r\n".as_bytes());
    }

    #[test]
    fn lengths_have_a_limit() {
        assert_eq!(length("-1", 9).unwrap(), None);
        assert_eq!(length("9", 9).unwrap(), Some(9));
        assert!(length("10", 9).is_err());
        assert!(length("-2", 9).is_err());
    }
}
