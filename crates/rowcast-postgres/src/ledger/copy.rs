//! A binary COPY as a sequence of tuples: the header, whole tuples, the end marker.
//!
//! A stream that stops without its end marker is an error: it must never look like a complete
//! answer with fewer rows.

use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use rowcast_core::{Code, Reason};
use tokio_postgres::{Client, CopyOutStream};

use crate::connect::db_error;

/// The start of a binary COPY without extensions: signature, flags and extension length.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const SIGNATURE_BYTES: usize = 11;

/// Tuples of one COPY.
pub(super) struct Tuples {
    stream: Pin<Box<CopyOutStream>>,
    buffer: BytesMut,
    started: bool,
    ended: bool,
    what: String,
}

impl Tuples {
    /// Starts `COPY (query) TO STDOUT (FORMAT binary)`. The statement is closed before the caller's
    /// transaction ends, so that a transaction-mode pooler sees nothing of it.
    ///
    /// # Errors
    /// The server refuses the query.
    pub(super) async fn start(client: &Client, query: &str, what: &str) -> Result<Self, Reason> {
        let sql = format!("COPY (\n{query}\n) TO STDOUT (FORMAT binary)");
        let statement = client
            .prepare(&sql)
            .await
            .map_err(|error| db_error(&error, what))?;
        let stream = client
            .copy_out(&statement)
            .await
            .map_err(|error| db_error(&error, what))?;
        Ok(Self {
            stream: Box::pin(stream),
            buffer: BytesMut::new(),
            started: false,
            ended: false,
            what: what.to_owned(),
        })
    }

    /// The fields of the next tuple (lengths and bytes, without the count), or `None` after the
    /// end marker.
    ///
    /// # Errors
    /// The query failed, the connection was lost, or the answer ended early.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Reason> {
        loop {
            if self.ended {
                // Whatever follows the marker must be the end of the stream, or the server's error.
                return match self.stream.next().await {
                    None => Ok(None),
                    Some(Ok(_)) => Err(self.truncated("bytes follow the end marker")),
                    Some(Err(error)) => Err(db_error(&error, &self.what)),
                };
            }
            if let Some(tuple) = self.take()? {
                return Ok(Some(tuple));
            }
            if self.ended {
                continue;
            }
            match self.stream.next().await {
                // The server sends each row in a message of its own: nothing has to be copied.
                Some(Ok(chunk)) if self.started && self.buffer.is_empty() => {
                    match measure(&chunk) {
                        Measured::Tuple(end) if end == chunk.len() => {
                            return Ok(Some(chunk.slice(2..)));
                        }
                        _ => self.buffer.extend_from_slice(&chunk),
                    }
                }
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(db_error(&error, &self.what)),
                None => return Err(self.truncated("the end marker is missing")),
            }
        }
    }

    fn truncated(&self, detail: &str) -> Reason {
        Reason::new(Code::StreamTruncated, format!("{} ended early", self.what))
            .detail(detail)
            .hint("something between Rowcast and the server cut the answer; nothing was sent, run again")
    }

    /// A whole tuple from the buffer, if there is one.
    fn take(&mut self) -> Result<Option<Bytes>, Reason> {
        if !self.started {
            if self.buffer.len() < HEADER.len() {
                return Ok(None);
            }
            if !self.buffer.starts_with(&HEADER[..SIGNATURE_BYTES]) {
                return Err(self.truncated("the answer is not a binary COPY"));
            }
            self.buffer.advance(HEADER.len());
            self.started = true;
        }
        match measure(&self.buffer) {
            Measured::Cut => Ok(None),
            Measured::End => {
                self.buffer.advance(2);
                self.ended = true;
                Ok(None)
            }
            Measured::Tuple(end) => {
                let mut tuple = self.buffer.split_to(end).freeze();
                tuple.advance(2);
                Ok(Some(tuple))
            }
        }
    }
}

/// What bytes begin with.
enum Measured {
    /// A tuple of so many bytes, its field count included.
    Tuple(usize),
    /// The end marker.
    End,
    /// Less than a whole tuple.
    Cut,
}

fn measure(bytes: &[u8]) -> Measured {
    let Some(count) = bytes.first_chunk::<2>() else {
        return Measured::Cut;
    };
    let count = i16::from_be_bytes(*count);
    if count < 0 {
        return Measured::End;
    }
    let mut rest = &bytes[2..];
    for _ in 0..count {
        let Some((length, fields)) = rest.split_first_chunk::<4>() else {
            return Measured::Cut;
        };
        let length = usize::try_from(i32::from_be_bytes(*length).max(0)).unwrap_or(0);
        let Some(after) = fields.get(length..) else {
            return Measured::Cut;
        };
        rest = after;
    }
    Measured::Tuple(bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_is_measured_and_a_cut_one_is_not() {
        let tuple = [0, 2, 0, 0, 0, 1, 7, 255, 255, 255, 255];
        assert!(matches!(measure(&tuple), Measured::Tuple(11)));
        for cut in 0..tuple.len() {
            assert!(matches!(measure(&tuple[..cut]), Measured::Cut), "{cut}");
        }
        assert!(matches!(measure(&[255, 255, 0]), Measured::End));
    }
}
