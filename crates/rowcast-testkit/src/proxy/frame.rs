//! Finds the beginnings of PostgreSQL's messages in a stream that is not encrypted.
//!
//! It only counts lengths; a stream of another protocol gives nonsense and no harm.

use super::Side;

/// The messages of one direction.
pub(super) struct Frames {
    /// The client's first message has no type byte.
    untyped: bool,
    header: Vec<u8>,
    /// Bytes of the current message's body that are still to come.
    body: usize,
}

/// Type and length.
const HEADER: usize = 5;

impl Frames {
    pub(super) fn new(side: Side) -> Self {
        Self {
            untyped: side == Side::Up,
            header: Vec::new(),
            body: 0,
        }
    }

    /// The messages whose header ends in this piece: type, and where the header began, at the
    /// earliest with the piece.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < piece.len() {
            if self.body > 0 {
                let skipped = self.body.min(piece.len() - at);
                self.body -= skipped;
                at += skipped;
                continue;
            }
            if self.untyped && self.header.is_empty() {
                self.header.push(0);
            }
            self.header.push(piece[at]);
            at += 1;
            if self.header.len() == HEADER {
                let length: [u8; 4] = self.header[1..].try_into().expect("four bytes");
                // The length counts itself.
                self.body = (u32::from_be_bytes(length) as usize).saturating_sub(4);
                let began = at.saturating_sub(if self.untyped { 4 } else { HEADER });
                found.push((self.header[0], began));
                self.header.clear();
                self.untyped = false;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_over_pieces() {
        let mut frames = Frames::new(Side::Up);
        let mut stream = vec![0, 0, 0, 8, 1, 2, 3, 4];
        stream.extend(b"Q\0\0\0\x06ab");
        stream.extend(b"X\0\0\0\x04");
        assert_eq!(frames.feed(&stream), [(0, 0), (b'Q', 8), (b'X', 15)]);
        let mut down = Frames::new(Side::Down);
        assert!(down.feed(b"Z\0\0").is_empty());
        assert_eq!(down.feed(b"\0\x05IT\0\0\0\x04"), [(b'Z', 0), (b'T', 3)]);
    }
}
