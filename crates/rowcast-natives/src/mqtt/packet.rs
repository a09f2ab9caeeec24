//! MQTT 5, as far as publishing needs it: login, messages and their acknowledgements.
//!
//! Packets that are read are bounded; a server that sends larger ones speaks something else.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest packet that is read: acknowledgements hold a reason in words at most.
const PACKET_MAX: usize = 1 << 20;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
/// With quality of service 1.
const PUBLISH: u8 = 0x32;
const RETAIN: u8 = 0x01;
const PUBACK: u8 = 0x40;
const DISCONNECT: u8 = 0xE0;

/// Properties' numbers in the protocol.
const PAYLOAD_IS_TEXT: u8 = 0x01;
const CONTENT_TYPE: u8 = 0x03;
const REASON_TEXT: u8 = 0x1F;
const RECEIVE_MAXIMUM: u8 = 0x21;
const MAXIMUM_QOS: u8 = 0x24;
const RETAIN_AVAILABLE: u8 = 0x25;
const USER_PROPERTY: u8 = 0x26;
const MAXIMUM_PACKET: u8 = 0x27;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// The answer to a login: 0, or why not.
    Welcome(Answer, Limits),
    /// The answer to a message.
    Taken(u16, Answer),
    /// It ends the connection.
    Goodbye(Answer),
}

/// A reason code, with words when the server has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: u8,
    /// Empty without words.
    pub(super) text: String,
}

/// What a server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// Messages in flight together.
    pub(super) messages: u16,
    /// Bytes of a packet.
    pub(super) bytes: usize,
    /// Messages that are acknowledged.
    pub(super) acknowledges: bool,
    pub(super) retains: bool,
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    // Longer texts are cut where they come from: topics and keys are checked, settings are short.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&text[..usize::from(length)]);
}

fn push_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = (length & 0x7F) as u8;
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
}

fn push_packet(out: &mut Vec<u8>, head: u8, body: &[u8]) {
    out.push(head);
    push_length(out, body.len());
    out.extend_from_slice(body);
}

/// A login without a session and without pings: a connection lives as long as there is work.
pub(super) fn connect(user: Option<&str>, password: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, b"MQTT");
    let clean = 0x02;
    let flags =
        clean | if user.is_some() { 0x80 } else { 0 } | if password.is_some() { 0x40 } else { 0 };
    body.extend_from_slice(&[5, flags, 0, 0, 0]);
    push_text(&mut body, b"");
    for text in [user, password].into_iter().flatten() {
        push_text(&mut body, text.as_bytes());
    }
    let mut out = Vec::new();
    push_packet(&mut out, CONNECT, &body);
    out
}

/// Appends a message.
pub(super) fn push_publish(
    out: &mut Vec<u8>,
    id: u16,
    topic: &str,
    retain: bool,
    properties: &[(&str, &str)],
    payload: &[u8],
) {
    let mut told = vec![PAYLOAD_IS_TEXT, 1, CONTENT_TYPE];
    push_text(&mut told, b"application/json");
    for (name, value) in properties {
        told.push(USER_PROPERTY);
        push_text(&mut told, name.as_bytes());
        push_text(&mut told, value.as_bytes());
    }
    let mut body = Vec::with_capacity(topic.len() + told.len() + payload.len() + 16);
    push_text(&mut body, topic.as_bytes());
    body.extend_from_slice(&id.to_be_bytes());
    push_length(&mut body, told.len());
    body.extend_from_slice(&told);
    body.extend_from_slice(payload);
    push_packet(out, PUBLISH | if retain { RETAIN } else { 0 }, &body);
}

/// Reads one packet.
pub(super) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Said> {
    let head = reader.read_u8().await?;
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        let byte = reader.read_u8().await?;
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if length > PACKET_MAX {
        return Err(garbled());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    parse(head & 0xF0, &body).ok_or_else(garbled)
}

fn parse(kind: u8, body: &[u8]) -> Option<Said> {
    match kind {
        CONNACK => {
            let (code, rest) = (*body.get(1)?, body.get(2..)?);
            let mut limits = Limits {
                messages: u16::MAX,
                bytes: usize::MAX,
                acknowledges: true,
                retains: true,
            };
            let text = properties(rest, &mut limits)?;
            Some(Said::Welcome(Answer { code, text }, limits))
        }
        PUBACK => {
            let id = u16::from_be_bytes([*body.first()?, *body.get(1)?]);
            Some(Said::Taken(id, answer(&body[2..])?))
        }
        DISCONNECT => Some(Said::Goodbye(answer(body)?)),
        _ => None,
    }
}

/// A reason and its properties, both of which may be left out.
fn answer(body: &[u8]) -> Option<Answer> {
    let code = body.first().copied().unwrap_or(0);
    let mut ignored = Limits {
        messages: 0,
        bytes: 0,
        acknowledges: true,
        retains: true,
    };
    let text = match body.get(1..) {
        None | Some([]) => String::new(),
        Some(rest) => properties(rest, &mut ignored)?,
    };
    Some(Answer { code, text })
}

/// Reads properties as far as they mean something here, and returns the reason in words, which is
/// empty when there is none.
fn properties(body: &[u8], limits: &mut Limits) -> Option<String> {
    let mut reader = Bytes(body);
    let length = reader.length()?;
    let mut reader = Bytes(reader.0.get(..length)?);
    let mut text = String::new();
    while let Some(number) = reader.byte() {
        match number {
            RECEIVE_MAXIMUM => limits.messages = reader.short()?.max(1),
            MAXIMUM_PACKET => limits.bytes = reader.long()? as usize,
            MAXIMUM_QOS => limits.acknowledges = reader.byte()? > 0,
            RETAIN_AVAILABLE => limits.retains = reader.byte()? > 0,
            REASON_TEXT => text = String::from_utf8_lossy(reader.text()?).into_owned(),
            USER_PROPERTY => {
                reader.text()?;
                reader.text()?;
            }
            // Of one byte, two, four, or text.
            0x28..=0x2A => {
                reader.byte()?;
            }
            0x13 | 0x22 => {
                reader.short()?;
            }
            0x11 => {
                reader.long()?;
            }
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C => {
                reader.text()?;
            }
            _ => return None,
        }
    }
    Some(text)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.take(usize::from(length))
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(length);
            }
        }
        None
    }
}

fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "this is no answer of an MQTT 5 server",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_seven_bits_a_byte() {
        for (length, bytes) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0x80, 1]),
            (16_384, vec![0x80, 0x80, 1]),
        ] {
            let mut out = Vec::new();
            push_length(&mut out, length);
            assert_eq!(out, bytes);
            assert_eq!(Bytes(&out).length(), Some(length));
        }
    }

    #[test]
    fn a_welcome_says_what_the_server_takes() {
        let body = [0, 0, 8, 0x21, 0, 20, 0x27, 0, 1, 0, 0];
        let Some(Said::Welcome(answer, limits)) = parse(CONNACK, &body) else {
            panic!("no welcome");
        };
        assert_eq!(answer.code, 0);
        assert_eq!((limits.messages, limits.bytes), (20, 65_536));
    }

    #[test]
    fn answers_may_be_short_and_may_have_words() {
        let taken = |body: &[u8]| parse(PUBACK, body);
        let plain = |code| Answer {
            code,
            text: String::new(),
        };
        assert_eq!(taken(&[1, 2]), Some(Said::Taken(258, plain(0))));
        assert_eq!(taken(&[0, 1, 0x87]), Some(Said::Taken(1, plain(0x87))));
        let words = Answer {
            code: 0x87,
            text: "no".into(),
        };
        assert_eq!(
            taken(&[0, 1, 0x87, 5, 0x1F, 0, 2, b'n', b'o']),
            Some(Said::Taken(1, words))
        );
        assert_eq!(taken(&[0]), None);
        assert_eq!(taken(&[0, 1, 0x87, 9, 0x1F]), None);
    }
}
