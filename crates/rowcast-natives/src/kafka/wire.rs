//! Kafka's primitive types, requests and answers, in the form before its "flexible" versions.
//!
//! Lengths and counts from the other side are bounded by what is there; a server that sends others
//! speaks something else.

use std::collections::BTreeMap;
use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::connect::Stream;

/// Largest answer: the metadata of a cluster with some hundred thousand partitions.
const ANSWER_MAX: usize = 64 << 20;

/// Requests, by their number, with the versions that this crate speaks. All but one are older
/// than the flexible ones, none is older than Kafka 1.0, and Kafka 4 knows them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Api {
    pub(super) number: i16,
    pub(super) name: &'static str,
    versions: (i16, i16),
}

pub(super) const PRODUCE: Api = api(0, "Produce", 3, 8);
pub(super) const METADATA: Api = api(3, "Metadata", 4, 8);
pub(super) const SASL_HANDSHAKE: Api = api(17, "SaslHandshake", 1, 1);
const API_VERSIONS: Api = api(18, "ApiVersions", 0, 0);
pub(super) const INIT_PRODUCER_ID: Api = api(22, "InitProducerId", 0, 4);
pub(super) const SASL_AUTHENTICATE: Api = api(36, "SaslAuthenticate", 0, 1);

const fn api(number: i16, name: &'static str, from: i16, to: i16) -> Api {
    Api {
        number,
        name,
        versions: (from, to),
    }
}

/// Content of a request.
#[derive(Debug, Default)]
pub(super) struct Write(pub(super) Vec<u8>);

impl Write {
    pub(super) fn byte(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn short(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn int(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Text of at most 32,767 bytes.
    pub(super) fn text(mut self, text: &str) -> Self {
        self = self.short(text.len() as i16);
        self.0.extend(text.as_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self = self.int(bytes.len() as i32);
        self.0.extend(bytes);
        self
    }
}

/// Content of an answer that is still to be read.
pub(super) struct Read<'a>(pub(super) &'a [u8]);

impl<'a> Read<'a> {
    pub(super) fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length).ok_or_else(garbled)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| garbled())
    }

    pub(super) fn flag(&mut self) -> io::Result<bool> {
        Ok(self.array::<1>()? != [0])
    }

    pub(super) fn short(&mut self) -> io::Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn int(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> io::Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Text, or nothing.
    pub(super) fn text(&mut self) -> io::Result<Option<String>> {
        let length = self.short()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| garbled())?;
        let bytes = self.take(length)?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    pub(super) fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = self.int()?;
        if length == -1 {
            return Ok(&[]);
        }
        self.take(usize::try_from(length).map_err(|_| garbled())?)
    }

    /// How many elements follow, each of at least one byte.
    pub(super) fn count(&mut self) -> io::Result<usize> {
        match self.int()? {
            -1 => Ok(0),
            count => usize::try_from(count)
                .ok()
                .filter(|count| *count <= self.0.len())
                .ok_or_else(garbled),
        }
    }
}

pub(super) fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "this is no answer of a Kafka broker",
    )
}

/// A connection to one broker that has said which versions of which requests it knows.
pub(super) struct Wire {
    stream: BufReader<Stream>,
    correlation: i32,
    versions: BTreeMap<i16, (i16, i16)>,
}

impl Wire {
    /// Asks a broker what it knows.
    pub(super) async fn new(stream: Stream) -> io::Result<Self> {
        let mut wire = Self {
            stream: BufReader::new(stream),
            correlation: 0,
            versions: BTreeMap::from([(API_VERSIONS.number, API_VERSIONS.versions)]),
        };
        let answer = wire.ask(API_VERSIONS, |_| Write::default()).await?.1;
        let mut answer = Read(&answer);
        if answer.short()? != 0 {
            return Err(garbled());
        }
        for _ in 0..answer.count()? {
            let number = answer.short()?;
            let versions = (answer.short()?, answer.short()?);
            wire.versions.insert(number, versions);
        }
        Ok(wire)
    }

    /// The newest version of a request that both sides speak.
    pub(super) fn version(&self, api: Api) -> io::Result<i16> {
        let (from, to) = api.versions;
        let (theirs_from, theirs_to) = self.versions.get(&api.number).copied().unwrap_or((0, -1));
        let newest = to.min(theirs_to);
        if newest >= from.max(theirs_from) {
            Ok(newest)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the broker speaks versions {theirs_from} to {theirs_to} of {}, and {from} to {to} are known here: Kafka 1.0 or later is needed",
                    api.name
                ),
            ))
        }
    }

    /// Sends a request; its answer is read by its number. `content` is told the version.
    pub(super) async fn send(
        &mut self,
        api: Api,
        content: impl FnOnce(i16) -> Write,
    ) -> io::Result<(i16, i32)> {
        let version = self.version(api)?;
        self.correlation = self.correlation.wrapping_add(1);
        let content = content(version).0;
        let head = Write::default()
            .short(api.number)
            .short(version)
            .int(self.correlation)
            .text("rowcast");
        let length = head.0.len() + content.len();
        let length = i32::try_from(length).map_err(|_| garbled())?;
        let mut out = Write::default().int(length).0;
        out.extend(head.0);
        out.extend(content);
        self.stream.write_all(&out).await?;
        self.stream.flush().await?;
        Ok((version, self.correlation))
    }

    /// Reads the answer to the request of this number.
    pub(super) async fn receive(&mut self, correlation: i32) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if !(4..=ANSWER_MAX).contains(&length) {
            return Err(garbled());
        }
        if self.stream.read_i32().await? != correlation {
            return Err(garbled());
        }
        // Grows with what comes: a length alone must not take memory.
        let mut content = Vec::new();
        let expected = length - 4;
        let mut limited = (&mut self.stream).take(expected as u64);
        limited.read_to_end(&mut content).await?;
        if content.len() < expected {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(content)
    }

    /// Sends a request and reads its answer, with the version that was spoken.
    pub(super) async fn ask(
        &mut self,
        api: Api,
        content: impl FnOnce(i16) -> Write,
    ) -> io::Result<(i16, Vec<u8>)> {
        let (version, correlation) = self.send(api, content).await?;
        Ok((version, self.receive(correlation).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_counts_end_with_what_is_there() {
        assert!(Read(b"\0\0\0\x02ab").count().is_ok());
        assert!(Read(b"\0\0\0\x03ab").count().is_err());
        assert!(Read(b"\x7f\xff\xff\xffab").bytes().is_err());
        assert!(Read(b"\xff\xff\xff\xfeab").bytes().is_err());
        assert!(Read(b"\xff\xfeab").text().is_err());
        assert_eq!(Read(b"\xff\xff").text().unwrap(), None);
        assert_eq!(Read(b"\0\x02abc").text().unwrap().as_deref(), Some("ab"));
    }
}
