//! AMQP 0-9-1 on the wire: frames, and the pieces their contents are made of.
//!
//! Frames are bounded by what both sides agreed on; a server that sends more than that speaks
//! something else.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What opens a connection.
pub(super) const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";
/// Bytes of a frame around its content: type, channel, size, end.
pub(super) const AROUND: usize = 8;
/// Largest frame we agree to.
pub(super) const FRAME_MAX: u32 = 128 << 10;

const END: u8 = 0xce;

/// A frame's type, and of methods their class and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Method(u16, u16),
    Header,
    Body,
    Heartbeat,
}

/// A frame from the server.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Of a method, what follows class and number.
    pub(super) content: Vec<u8>,
}

/// Reads one frame.
pub(super) async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Frame> {
    let mut head = [0; 7];
    reader.read_exact(&mut head).await?;
    // A server that speaks another version answers with its own hello.
    if head.starts_with(b"AMQP") {
        return Err(garbled("the server speaks another version of AMQP"));
    }
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    if size > FRAME_MAX {
        return Err(garbled("a frame is larger than agreed"));
    }
    let mut content = vec![0; size as usize + 1];
    reader.read_exact(&mut content).await?;
    if content.pop() != Some(END) {
        return Err(garbled("a frame does not end where it should"));
    }
    let kind = match head[0] {
        1 => {
            let mut read = Read(&content);
            let (class, method) = (read.short()?, read.short()?);
            content.drain(..4);
            Kind::Method(class, method)
        }
        2 => Kind::Header,
        3 => Kind::Body,
        8 => Kind::Heartbeat,
        _ => return Err(garbled("a frame has an unknown type")),
    };
    Ok(Frame { kind, content })
}

pub(super) fn garbled(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// Appends a frame.
pub(super) fn push_frame(out: &mut Vec<u8>, kind: u8, channel: u16, content: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(content.len() as u32).to_be_bytes());
    out.extend_from_slice(content);
    out.push(END);
}

/// A method's content as it is made.
pub(super) struct Write(pub(super) Vec<u8>);

impl Write {
    pub(super) fn method(class: u16, method: u16) -> Self {
        Self(Vec::new()).short(class).short(method)
    }

    pub(super) fn octet(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn short(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn longlong(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Up to 255 bytes; callers look at the length where it is not theirs.
    pub(super) fn text(mut self, text: &str) -> Self {
        let bytes = &text.as_bytes()[..text.len().min(255)];
        self.0.push(bytes.len() as u8);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut out = self.long(bytes.len() as u32);
        out.0.extend_from_slice(bytes);
        out
    }

    /// A table of texts.
    pub(super) fn table(self, members: &[(&str, &str)]) -> Self {
        let inner = members
            .iter()
            .fold(Self(Vec::new()), |inner, (name, text)| {
                inner.text(name).octet(b'S').bytes(text.as_bytes())
            });
        self.bytes(&inner.0)
    }

    /// As one frame of a channel.
    pub(super) fn frame(self, channel: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + AROUND);
        push_frame(&mut out, 1, channel, &self.0);
        out
    }
}

/// A content as it is read; ends are errors.
pub(super) struct Read<'a>(pub(super) &'a [u8]);

impl<'a> Read<'a> {
    pub(super) fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| garbled("a frame is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn octet(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn short(&mut self) -> io::Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn long(&mut self) -> io::Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn longlong(&mut self) -> io::Result<u64> {
        Ok(u64::from(self.long()?) << 32 | u64::from(self.long()?))
    }

    pub(super) fn text(&mut self) -> io::Result<String> {
        let length = self.octet()?.into();
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    pub(super) fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = self.long()? as usize;
        self.take(length)
    }

    /// The text of a name in a table of the server's; nothing when it is not there or no text.
    pub(super) fn text_in_table(&mut self, name: &str) -> io::Result<Option<String>> {
        let table = self.bytes()?;
        // Tables hold other types, whose lengths do not matter for one text: it is looked for.
        let mut wanted = vec![name.len() as u8];
        wanted.extend_from_slice(name.as_bytes());
        wanted.push(b'S');
        let found = table
            .windows(wanted.len())
            .position(|window| window == wanted);
        Ok(found.and_then(|at| {
            let text = Read(&table[at + wanted.len()..]).bytes().ok()?;
            String::from_utf8(text.to_vec()).ok()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_is_read_as_it_was_written_and_a_cut_one_is_an_error() {
        let out = Write::method(60, 80).longlong(7).octet(1).frame(1);
        let frame = read(&mut &out[..]).await.unwrap();
        assert_eq!(frame.kind, Kind::Method(60, 80));
        let mut content = Read(&frame.content);
        assert_eq!(content.longlong().unwrap(), 7);
        assert_eq!(content.octet().unwrap(), 1);
        assert!(content.octet().is_err());
        for end in 0..out.len() {
            assert!(read(&mut &out[..end]).await.is_err(), "{end} bytes");
        }
        let mut huge = out.clone();
        huge[3] = 0xff;
        assert!(read(&mut &huge[..]).await.is_err());
    }

    #[test]
    fn a_text_is_found_in_a_table() {
        let table = Write(Vec::new()).table(&[("product", "RabbitMQ"), ("version", "3.10.8")]);
        let found = Read(&table.0).text_in_table("version").unwrap();
        assert_eq!(found.as_deref(), Some("3.10.8"));
        assert_eq!(Read(&table.0).text_in_table("missing").unwrap(), None);
    }
}
