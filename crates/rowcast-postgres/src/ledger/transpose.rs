//! Arrays as rows: the columns of an intent become tuples of a binary COPY.
//!
//! An element looks the same in an array and in a COPY, so no type has to be known, and nothing is
//! decoded. It must never make rows of arrays that differ in length.

use bytes::{BufMut, Bytes, BytesMut};
use rowcast_core::Reason;
use smallvec::SmallVec;
use tokio_postgres::types::{FromSql, Type};

use super::copy::HEADER;
use super::decode::{Cursor, int8};

/// Bytes of one message of a COPY: as many as fit the buffers on the way, and few enough to be made
/// over and over in a processor's cache.
const MESSAGE_BYTES: usize = 64 * 1024;

const END: i16 = -1;

/// Dimensions, flags, the elements' type, and of the one dimension length and lower bound.
const ARRAY_HEADER_BYTES: usize = 20;

/// An array as the server sent it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Array<'a> {
    /// Elements that are left.
    left: usize,
    /// Each with its length before it.
    elements: &'a [u8],
}

impl<'a> Array<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let dimensions = i32::from_be_bytes(*bytes.first_chunk()?);
        if dimensions == 0 {
            return Some(Self {
                left: 0,
                elements: &[],
            });
        }
        let (header, elements) = bytes.split_at_checked(ARRAY_HEADER_BYTES)?;
        let left = i32::from_be_bytes(*header.get(12..)?.first_chunk()?);
        let left = usize::try_from(left).ok()?;
        (dimensions == 1).then_some(Self { left, elements })
    }

    /// The next element with its length before it.
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let all = self.elements;
        let mut cursor = Cursor(all);
        cursor.field().ok()?;
        self.elements = cursor.0;
        Some(&all[..all.len() - cursor.0.len()])
    }
}

impl<'a> FromSql<'a> for Array<'a> {
    fn from_sql(
        _: &Type,
        bytes: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Self::read(bytes).ok_or_else(|| "this is no list of values".into())
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// How the elements of one array are ordered by an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordered {
    /// Numbers of eight bytes.
    Int,
    /// Bytes, as text with the collation "C".
    Bytes,
}

/// Rows that become a binary COPY.
#[derive(Debug)]
pub(super) struct Rows {
    /// How the first arrays are ordered: the rows leave in this order.
    order: Vec<Ordered>,
    fields: i16,
    /// What each row ends with: a last column that is the same in all, or nothing.
    last: Vec<u8>,
    tuples: Vec<u8>,
    /// Where each tuple begins and ends.
    places: Vec<(usize, usize)>,
}

impl Rows {
    /// Rows of so many arrays, with `last` as a column after them.
    pub(super) fn new(arrays: usize, last: Option<i32>, order: Vec<Ordered>) -> Self {
        let mut tail = Vec::new();
        if let Some(last) = last {
            tail.put_i32(size_of::<i32>() as i32);
            tail.put_i32(last);
        }
        Self {
            order,
            fields: arrays as i16 + i16::from(last.is_some()),
            last: tail,
            tuples: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Adds the elements of arrays, as many rows as each has.
    ///
    /// # Errors
    /// They differ in length, or end early.
    pub(super) fn push(&mut self, arrays: &mut [Array<'_>]) -> Result<(), Reason> {
        let broken = || Reason::defect("the lists of an intent don't belong together");
        let rows = arrays.first().map_or(0, |array| array.left);
        if arrays.iter().any(|array| array.left != rows) {
            return Err(broken());
        }
        for _ in 0..rows {
            let start = self.tuples.len();
            self.tuples.put_i16(self.fields);
            for array in &mut *arrays {
                let element = array.next().ok_or_else(broken)?;
                self.tuples.extend_from_slice(element);
            }
            self.tuples.extend_from_slice(&self.last);
            self.places.push((start, self.tuples.len()));
        }
        Ok(())
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> u64 {
        self.places.len() as u64
    }

    /// A row that is out of its place costs the server a search in the index from its root.
    fn sort(&mut self) {
        let (order, tuples) = (&self.order, &self.tuples);
        self.places.sort_by_cached_key(|(start, end)| {
            let mut fields = Cursor(&tuples[start + size_of::<i16>()..*end]);
            let parts = order.iter().map_while(|ordered| {
                let field = fields.field().ok()??;
                match ordered {
                    Ordered::Int => int8(field).ok().map(Part::Int),
                    Ordered::Bytes => Some(Part::Bytes(field)),
                }
            });
            parts.collect::<SmallVec<[_; 1]>>()
        });
    }

    /// The messages of the whole COPY.
    pub(super) fn end(mut self) -> Vec<Bytes> {
        self.sort();
        let tuples = &self.tuples;
        let mut messages = Vec::with_capacity(tuples.len() / MESSAGE_BYTES + 1);
        let mut message = BytesMut::with_capacity(MESSAGE_BYTES);
        message.extend_from_slice(HEADER);
        for (start, end) in &self.places {
            let tuple = &tuples[*start..*end];
            if message.len() + tuple.len() > MESSAGE_BYTES {
                messages.push(message.split().freeze());
                message.reserve(MESSAGE_BYTES);
            }
            message.extend_from_slice(tuple);
        }
        message.put_i16(END);
        messages.push(message.freeze());
        messages
    }
}

/// An element, as its index compares it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(elements: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [1, 1, 20, elements.len() as i32, 1] {
            bytes.put_i32(number);
        }
        for element in elements {
            bytes.put_i32(element.map_or(-1, |element| element.len() as i32));
            bytes.extend_from_slice(element.unwrap_or_default());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Array<'_> {
        Array::read(bytes).expect("an array")
    }

    #[test]
    fn elements_become_rows_with_the_same_column_at_their_end() {
        let (keys, sums) = (array(&[Some(b"a"), Some(b"bc")]), array(&[None, Some(b"")]));
        let mut rows = Rows::new(2, Some(7), Vec::new());
        rows.push(&mut [read(&keys), read(&sums)]).expect("rows");
        rows.push(&mut [read(&[0; 12]), read(&[0; 12])])
            .expect("nothing");
        assert_eq!(rows.count(), 2);
        let mut expected = HEADER.to_vec();
        expected.extend([0, 3, 0, 0, 0, 1, b'a', 255, 255, 255, 255]);
        expected.extend([0, 0, 0, 4, 0, 0, 0, 7]);
        expected.extend([0, 3, 0, 0, 0, 2, b'b', b'c', 0, 0, 0, 0]);
        expected.extend([0, 0, 0, 4, 0, 0, 0, 7]);
        expected.extend([255, 255]);
        assert_eq!(rows.end().concat(), expected);
    }

    #[test]
    fn rows_leave_in_the_order_of_their_index() {
        let texts = [&b"b"[..], b"a", b"b", b"", b"ab"];
        let numbers = [7_i64, 300, -1, 5, 2].map(i64::to_be_bytes);
        let texts = array(&texts.map(Some));
        let numbers = array(&numbers.each_ref().map(|bytes| Some(&bytes[..])));
        let mut rows = Rows::new(2, None, vec![Ordered::Bytes, Ordered::Int]);
        rows.push(&mut [read(&texts), read(&numbers)])
            .expect("rows");
        let copy = rows.end().concat();
        let mut fields = Cursor(&copy[HEADER.len()..]);
        let mut found = Vec::new();
        while let Ok(2) = fields.i16() {
            let text = fields.field().expect("whole").expect("a text");
            let number = fields.field().expect("whole").expect("a number");
            let number = int8(number).expect("eight bytes");
            found.push(format!("{}{number}", String::from_utf8_lossy(text)));
        }
        assert_eq!(found, ["5", "a300", "ab2", "b-1", "b7"]);
    }

    #[test]
    fn arrays_of_different_lengths_make_no_rows() {
        let (one, two) = (array(&[None]), array(&[None, None]));
        let mut rows = Rows::new(2, None, Vec::new());
        assert!(rows.push(&mut [read(&one), read(&two)]).is_err());
        assert_eq!(rows.count(), 0);
    }

    #[test]
    fn an_array_that_was_cut_is_refused() {
        let whole = array(&[Some(b"abc")]);
        for cut in 0..whole.len() {
            let refused = Array::read(&whole[..cut]);
            let refused = refused
                .is_none_or(|array| Rows::new(1, None, Vec::new()).push(&mut [array]).is_err());
            assert!(refused, "{cut}");
        }
    }
}
