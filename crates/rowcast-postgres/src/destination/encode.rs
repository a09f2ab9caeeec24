//! Records as the bytes of one binary COPY.
//!
//! Values are written straight into the buffer. A column whose values have no exact binary form
//! in this batch travels as text, and the merging statement casts it, as it casts the arrays.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rowcast_core::key::identity_value;
use rowcast_core::record::{RawForm, RawRecord};
use rowcast_core::{Batch, Reason, Value};

use super::binary::{Put, put, put_text};
use super::raw::{Pass, decoded, pass, passed, split};
use super::rows::{Group, unstorable};
use super::target::{Column, Target};
use super::text::NUL;
use crate::ledger::copy::HEADER;
use crate::ledger::decode::Malformed;

/// First guess of a record's size.
const RECORD_BYTES: usize = 160;

/// What a record takes beside its columns: their count, and an ordinal.
const OVERHEAD_BYTES: usize = 14;

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
///
/// # Errors
/// The columns of an undecoded record are cut.
pub(super) fn encode(
    batch: &Batch,
    group: &Group,
    target: &Target,
    numbered: bool,
) -> Result<Encoded, Malformed> {
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
        out: BytesMut::with_capacity(HEADER.len() + size(batch, group)),
        scratch: String::new(),
    };
    // Again from the start when a column turns out to hold what needs the text form. Mostly the
    // first record shows it.
    loop {
        if let Some((positions, refused)) = encoder.records(batch, group)? {
            return Ok(Encoded {
                data: encoder.out.freeze(),
                positions,
                texts: encoder.texts,
                refused,
            });
        }
    }
}

/// About how many bytes a group takes.
fn size(batch: &Batch, group: &Group) -> usize {
    let records = group.rows.iter().map(|position| &batch.records[*position]);
    let bytes = records.map(|record| {
        let raw = record.raw.as_ref();
        raw.map_or(RECORD_BYTES, |raw| raw.columns().len() + OVERHEAD_BYTES)
    });
    bytes.sum()
}

/// How the undecoded columns of one form get into those of the table.
struct Ways {
    form: Arc<RawForm>,
    /// For each column of the shape, where it is and how it goes.
    each: Vec<(usize, Pass)>,
}

impl Ways {
    fn are_for(&self, raw: &RawRecord) -> bool {
        Arc::ptr_eq(&self.form, raw.form())
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
    fn records(&mut self, batch: &Batch, group: &Group) -> Result<Option<Records>, Malformed> {
        let mut ways: Option<Ways> = None;
        let mut columns = Vec::new();
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
            if let Some(raw) = &record.raw {
                split(raw, &mut columns)?;
                if !ways.as_ref().is_some_and(|ways| ways.are_for(raw)) {
                    ways = Some(self.ways(raw.form(), group));
                }
            }
            let mut good = true;
            for column in 0..self.columns.len() {
                let put = match (&record.raw, &ways) {
                    (Some(_), Some(ways)) => self.raw_member(column, ways, &columns, group)?,
                    _ => self.member(column, &*group.value(record, column)?),
                };
                match put {
                    Put::Done => {}
                    Put::AsText => {
                        self.texts[column] = true;
                        return Ok(None);
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
        Ok(Some((positions, refused)))
    }

    /// How undecoded columns get into those of the table.
    fn ways(&self, form: &Arc<RawForm>, group: &Group) -> Ways {
        let columns = self.columns.iter().enumerate();
        let each = columns.map(|(n, column)| {
            let at = group.raw_column(form, n);
            let native = column.native.filter(|_| !self.texts[n]);
            (at, pass(form.types[at], native, &column.form))
        });
        Ways {
            each: each.collect(),
            form: form.clone(),
        }
    }

    fn raw_member(
        &mut self,
        column: usize,
        ways: &Ways,
        columns: &[Option<&[u8]>],
        group: &Group,
    ) -> Result<Put, Malformed> {
        let (at, pass) = ways.each[column];
        let Some(bytes) = columns[at] else {
            self.out.put_i32(-1);
            return Ok(Put::Done);
        };
        if let Some((prefix, bytes)) = passed(pass, bytes) {
            if pass != Pass::AsIs && bytes.contains(&0) {
                return Ok(Put::Nul);
            }
            let length = bytes.len() + usize::from(prefix.is_some());
            self.out.put_i32(length as i32);
            self.out.extend(prefix);
            self.out.put_slice(bytes);
            return Ok(Put::Done);
        }
        let value = decoded(&ways.form, at, Some(bytes))?;
        Ok(if column < group.shape.matches.len() {
            self.member(column, &identity_value(value))
        } else {
            self.member(column, &value)
        })
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
