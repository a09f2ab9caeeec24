//! Messages as a partition stores them: a record batch (format 2) with its checksum.

use std::io::Write as _;

use flate2::write::GzEncoder;
use lz4_flex::frame::FrameEncoder;

/// How a batch's records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Lz4,
}

impl Compression {
    pub(super) fn named(name: Option<&str>) -> Self {
        match name {
            Some("gzip") => Self::Gzip,
            Some("lz4") => Self::Lz4,
            _ => Self::None,
        }
    }

    /// The number in a batch's attributes.
    fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Lz4 => 3,
        }
    }

    fn apply(self, records: Vec<u8>) -> Vec<u8> {
        const MEMORY: &str = "memory takes every write";
        match self {
            Self::None => records,
            Self::Gzip => {
                let mut out = GzEncoder::new(Vec::new(), flate2::Compression::default());
                out.write_all(&records).expect(MEMORY);
                out.finish().expect(MEMORY)
            }
            Self::Lz4 => {
                let mut out = FrameEncoder::new(Vec::new());
                out.write_all(&records).expect(MEMORY);
                out.finish().expect(MEMORY)
            }
        }
    }
}

/// Who writes a batch, and the number of its first message in the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) sequence: i32,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    /// `None` is a tombstone.
    pub(super) value: Option<&'a str>,
    pub(super) headers: [(&'static str, &'a str); 4],
}

impl Entry<'_> {
    /// About how many bytes it has in a batch.
    pub(super) fn size(&self) -> usize {
        const AROUND: usize = 24;
        let headers = self.headers.iter();
        let headers: usize = headers
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        AROUND + self.key.len() + self.value.map_or(0, str::len) + headers
    }

    fn push(&self, out: &mut Vec<u8>, place: i64) {
        let mut body = Vec::with_capacity(self.size());
        // Attributes, and the time since that of the batch.
        body.push(0);
        push_varint(&mut body, 0);
        push_varint(&mut body, place);
        push_text(&mut body, self.key);
        match self.value {
            Some(value) => push_text(&mut body, value),
            None => push_varint(&mut body, -1),
        }
        push_varint(&mut body, self.headers.len() as i64);
        for (name, value) in self.headers {
            push_text(&mut body, name);
            push_text(&mut body, value);
        }
        push_varint(out, body.len() as i64);
        out.extend(body);
    }
}

/// Messages of one partition as one batch, with the time in milliseconds since 1970.
pub(super) fn encode<'a>(
    entries: impl ExactSizeIterator<Item = Entry<'a>>,
    origin: Origin,
    time: i64,
    compression: Compression,
) -> Vec<u8> {
    let count = entries.len() as i32;
    let mut records = Vec::new();
    for (place, entry) in entries.enumerate() {
        entry.push(&mut records, place as i64);
    }
    let records = compression.apply(records);
    let mut tail = Vec::with_capacity(records.len() + 40);
    tail.extend(compression.number().to_be_bytes());
    tail.extend((count - 1).to_be_bytes());
    tail.extend(time.to_be_bytes());
    tail.extend(time.to_be_bytes());
    tail.extend(origin.producer.to_be_bytes());
    tail.extend(origin.epoch.to_be_bytes());
    tail.extend(origin.sequence.to_be_bytes());
    tail.extend(count.to_be_bytes());
    tail.extend(records);

    let mut out = Vec::with_capacity(tail.len() + 21);
    // The offset, which the broker gives.
    out.extend(0_i64.to_be_bytes());
    // What follows the length: the leader's epoch, the format, the checksum, the rest.
    out.extend((tail.len() as i32 + 9).to_be_bytes());
    out.extend((-1_i32).to_be_bytes());
    out.push(2);
    out.extend(crc32c(&tail).to_be_bytes());
    out.extend(tail);
    out
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_varint(out, text.len() as i64);
    out.extend(text.as_bytes());
}

/// A number in as few bytes as it needs, its sign in the lowest bit.
fn push_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// CRC-32C (Castagnoli), a byte at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 {
                    0x82f6_3b78 ^ value >> 1
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const ORIGIN: Origin = Origin {
        producer: 4_000,
        epoch: 2,
        sequence: 7,
    };

    fn entry(value: Option<&str>) -> Entry<'_> {
        let headers = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "é")];
        Entry {
            key: "17",
            value,
            headers,
        }
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4, and the check value of the algorithm's catalogue.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn numbers_take_as_few_bytes_as_they_need() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[126]),
            (-64, &[127]),
            (64, &[0x80, 1]),
            (300, &[0xd8, 4]),
        ] {
            let mut out = Vec::new();
            push_varint(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn a_batch_has_the_length_it_says_and_a_tombstone_is_no_empty_value() {
        let entries = [entry(Some("")), entry(None)];
        let bytes = encode(entries.into_iter(), ORIGIN, 9, Compression::None);
        assert_eq!(bytes[8..12], (bytes.len() as i32 - 12).to_be_bytes());
        // Producer, epoch, sequence, count.
        assert_eq!(
            bytes[43..61],
            b"\0\0\0\0\0\0\x0f\xa0\0\x02\0\0\0\x07\0\0\0\x02"[..]
        );
        let (first, second) = (&bytes[61..], &bytes[61 + 1 + usize::from(bytes[61] >> 1)..]);
        // Length, attributes, time, place, the key's length, the key, the value's length.
        assert_eq!(first[1..8], [0, 0, 0, 4, b'1', b'7', 0]);
        assert_eq!(second[1..8], [0, 0, 2, 4, b'1', b'7', 1]);
    }

    #[test]
    fn compressed_batches_hold_the_same_records() {
        let plain = encode([entry(Some("x"))].into_iter(), ORIGIN, 9, Compression::None);
        let gzip = encode([entry(Some("x"))].into_iter(), ORIGIN, 9, Compression::Gzip);
        assert_eq!(gzip[22], 1);
        let mut records = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(&gzip[61..]);
        reader.read_to_end(&mut records).unwrap();
        assert_eq!(records, plain[61..]);
        let lz4 = encode([entry(Some("x"))].into_iter(), ORIGIN, 9, Compression::Lz4);
        assert_eq!(lz4[22], 3);
        let mut records = Vec::new();
        let mut reader = lz4_flex::frame::FrameDecoder::new(&lz4[61..]);
        reader.read_to_end(&mut records).unwrap();
        assert_eq!(records, plain[61..]);
    }
}
