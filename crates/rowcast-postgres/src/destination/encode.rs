//! Records as the bytes of one binary COPY.
//!
//! Values are written straight into the buffer. A column whose values have no exact binary form
//! in this batch travels as text, and the merging statement casts it, as it casts the arrays.

use bytes::{BufMut, Bytes, BytesMut};
use rowcast_core::{Batch, Reason, Value};

use super::binary::{Put, put, put_text};
use super::rows::{Group, unstorable};
use super::target::{Column, Target};
use super::text::NUL;

/// The start of a binary COPY: signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// First guess of a record's size.
const RECORD_BYTES: usize = 160;

/// A group of records, ready to be copied.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) data: Bytes,
    /// Places in the batch of the records in `data`, in their order.
    pub(super) positions: Vec<usize>,
    /// For each column of the shape, whether it travels as text.
    pub(super) texts: Vec<bool>,
    /// Records that PostgreSQL can't hold, by their place in the batch.
    pub(super) refused: Vec<(usize, Reason)>,
}

/// Encodes a group; `numbered` puts the ordinal from 1 before each record.
pub(super) fn encode(batch: &Batch, group: &Group, target: &Target, numbered: bool) -> Encoded {
    let columns: Vec<&Column> = group
        .shape
        .all()
        .map(|position| &target.columns[position])
        .collect();
    let mut encoder = Encoder {
        texts: columns
            .iter()
            .map(|column| column.native.is_none())
            .collect(),
        columns,
        numbered,
        out: BytesMut::with_capacity(HEADER.len() + group.rows.len() * RECORD_BYTES),
        scratch: String::new(),
    };
    // Again from the start when a column turns out to hold what needs the text form. Mostly the
    // first record shows it.
    loop {
        if let Some((positions, refused)) = encoder.records(batch, group) {
            return Encoded {
                data: encoder.out.freeze(),
                positions,
                texts: encoder.texts,
                refused,
            };
        }
    }
}

struct Encoder<'a> {
    columns: Vec<&'a Column>,
    texts: Vec<bool>,
    numbered: bool,
    out: BytesMut,
    scratch: String,
}

type Records = (Vec<usize>, Vec<(usize, Reason)>);

impl Encoder<'_> {
    /// `None` when a column has just been found to need the text form.
    fn records(&mut self, batch: &Batch, group: &Group) -> Option<Records> {
        self.out.clear();
        self.out.put_slice(HEADER);
        let mut positions = Vec::with_capacity(group.rows.len());
        let mut refused = Vec::new();
        let members = self.columns.len() + usize::from(self.numbered);
        for position in &group.rows {
            let record = &batch.records[*position];
            let start = self.out.len();
            self.out.put_i16(members as i16);
            if self.numbered {
                self.out.put_i32(8);
                self.out.put_i64(positions.len() as i64 + 1);
            }
            let mut good = true;
            for column in 0..self.columns.len() {
                match self.member(column, group.value(record, column)) {
                    Put::Done => {}
                    Put::AsText => {
                        self.texts[column] = true;
                        return None;
                    }
                    Put::Nul => {
                        refused.push((*position, unstorable(self.columns[column], NUL)));
                        self.out.truncate(start);
                        good = false;
                        break;
                    }
                }
            }
            if good {
                positions.push(*position);
            }
        }
        self.out.put_i16(-1);
        Some((positions, refused))
    }

    fn member(&mut self, column: usize, value: &Value) -> Put {
        let out = &mut self.out;
        if value.is_null() {
            out.put_i32(-1);
            return Put::Done;
        }
        let place = out.len();
        out.put_i32(0);
        let put = match self.columns[column].native {
            Some(native) if !self.texts[column] => put(out, &mut self.scratch, value, native),
            _ => put_text(out, &mut self.scratch, value, &self.columns[column].form),
        };
        let length = (out.len() - place - 4) as i32;
        out[place..place + 4].copy_from_slice(&length.to_be_bytes());
        put
    }
}
