//! The server's own hash functions, and the checksum of a row made of them (semantics 5).
//!
//! `hash_bytes_extended` and its siblings are part of how hash-partitioned tables are stored, so no
//! version of PostgreSQL changes them; on a machine with the other byte order they give other
//! numbers. Whoever uses this asks the server first (`agrees`), and must not otherwise.

use rowcast_core::Reason;
use tokio_postgres::Client;

use super::decode::Malformed;
use super::diff::DataColumn;
use super::plan::HashPlan;
use crate::connect::db_error;

/// How a column's bytes in a binary COPY enter the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hashed {
    /// As they are: texts, and the `_send` forms.
    Bytes,
    /// jsonb: its text, which follows one byte.
    AfterVersion,
    /// Integers of up to four bytes, dates and booleans: as 32 bits.
    Whole,
    Float,
}

/// The checksum of rows, as `HashPlan::checksum_sql` has the server compute it.
#[derive(Debug, Clone)]
pub(super) struct Checksum {
    seed: u64,
    /// For each column of the plan, its place among the mapped columns.
    columns: Vec<(usize, Hashed)>,
}

impl Checksum {
    /// For these mapped columns as `TypeFacts::read_form` reads them; `None` when one of the plan's
    /// is not among them, or its checksum is not made of the same bytes.
    pub(super) fn new(plan: &HashPlan, data: &[DataColumn]) -> Option<Self> {
        let columns = plan.columns.iter().map(|planned| {
            let at = data.iter().position(|column| column.name == planned.name)?;
            let facts = &data[at].facts;
            let form = facts.checksum_form(&format!("m.{}", crate::sql::ident(&planned.name)));
            (form == planned.form).then_some((at, hashed(facts)?))
        });
        let columns: Vec<_> = columns.collect::<Option<_>>()?;
        (!columns.is_empty()).then_some(Self {
            seed: plan.seed as u64,
            columns,
        })
    }

    /// The checksum of a row, whose mapped columns are at these places of `bytes`.
    ///
    /// # Errors
    /// A column does not have the length of its type.
    pub(super) fn of(
        &self,
        columns: &[Option<(usize, usize)>],
        bytes: &[u8],
    ) -> Result<i64, Malformed> {
        let mut sum = 0_u64;
        for (at, how) in &self.columns {
            let hash = match *columns.get(*at).ok_or(Malformed)? {
                None => 0,
                Some((start, end)) => {
                    how.hash(bytes.get(start..end).ok_or(Malformed)?, self.seed)?
                }
            };
            sum = (sum << 5).wrapping_sub(sum).wrapping_add(hash);
        }
        Ok(sum as i64)
    }

    /// Whether this server hashes as this module does.
    ///
    /// # Errors
    /// The server can't be asked.
    pub(super) async fn agrees(&self, client: &Client) -> Result<bool, Reason> {
        // Texts are hashed in the encoding they are stored in, and sent as UTF-8.
        let sql = format!(
            "SELECT CASE WHEN current_setting('server_encoding') = 'UTF8' \
             THEN hash_record_extended({PROBE}, '{}'::bigint) END",
            self.seed as i64
        );
        let rows = client
            .query_typed(&sql, &[])
            .await
            .map_err(|error| db_error(&error, "asking for a checksum"))?;
        let probe = Self {
            seed: self.seed,
            columns: PROBED.iter().map(|(how, _)| *how).enumerate().collect(),
        };
        let (mut places, mut bytes) = (Vec::new(), Vec::new());
        for (_, value) in PROBED {
            let start = bytes.len();
            bytes.extend_from_slice(value.unwrap_or_default());
            places.push(value.map(|_| (start, bytes.len())));
        }
        let theirs: Option<i64> = rows.first().and_then(|row| row.get(0));
        Ok(theirs.is_some() && theirs == probe.of(&places, &bytes).ok())
    }
}

/// One value of each kind, among them texts of all lengths that are treated apart.
const PROBE: &str = "ROW(int8send(1234567890123456789), 'twelve bytes'::text COLLATE \"C\", \
    'more than twelve bytes'::text COLLATE \"C\", ''::text COLLATE \"C\", NULL::text COLLATE \"C\", 'a'::text COLLATE \"C\", \
    'abcd'::text COLLATE \"C\", 'abcdefghijk'::text COLLATE \"C\", (-7)::int2, 2147483647::int4, true, \
    '1999-12-31'::date, 1.5::float4, '-0'::float8, 'NaN'::float4, \
    '00112233-4455-6677-8899-aabbccddeeff'::uuid, '[1, {\"a\": 2}]'::jsonb::text COLLATE \"C\")";

/// The same in the bytes of a binary COPY.
const PROBED: [(Hashed, Option<&[u8]>); 17] = [
    (
        Hashed::Bytes,
        Some(&1_234_567_890_123_456_789_i64.to_be_bytes()),
    ),
    (Hashed::Bytes, Some(b"twelve bytes")),
    (Hashed::Bytes, Some(b"more than twelve bytes")),
    (Hashed::Bytes, Some(b"")),
    (Hashed::Bytes, None),
    (Hashed::Bytes, Some(b"a")),
    (Hashed::Bytes, Some(b"abcd")),
    (Hashed::Bytes, Some(b"abcdefghijk")),
    (Hashed::Whole, Some(&(-7_i16).to_be_bytes())),
    (Hashed::Whole, Some(&i32::MAX.to_be_bytes())),
    (Hashed::Whole, Some(&[1])),
    (Hashed::Whole, Some(&(-1_i32).to_be_bytes())),
    (Hashed::Float, Some(&1.5_f32.to_be_bytes())),
    (Hashed::Float, Some(&(-0.0_f64).to_be_bytes())),
    (Hashed::Float, Some(&f32::NAN.to_be_bytes())),
    (
        Hashed::Bytes,
        Some(&0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes()),
    ),
    (Hashed::AfterVersion, Some(b"\x01[1, {\"a\": 2}]")),
];

/// How a type's own bytes enter its hash, where what is read of a column is also what is hashed.
fn hashed(facts: &super::forms::TypeFacts) -> Option<Hashed> {
    if facts.element.is_some() {
        return None;
    }
    Some(match facts.base.as_str() {
        "int8" | "time" | "timestamp" | "timestamptz" | "numeric" | "text" | "varchar" | "uuid"
        | "bytea" | "json" => Hashed::Bytes,
        "int2" | "int4" | "date" | "bool" => Hashed::Whole,
        "float4" | "float8" => Hashed::Float,
        "jsonb" => Hashed::AfterVersion,
        // Read in one form and hashed in another.
        "timetz" | "inet" | "oid" => return None,
        // Read as text and hashed as text.
        _ => Hashed::Bytes,
    })
}

impl Hashed {
    fn hash(self, bytes: &[u8], seed: u64) -> Result<u64, Malformed> {
        Ok(match self {
            Self::Bytes => hash_bytes(bytes, seed),
            Self::AfterVersion => match bytes.split_first() {
                Some((1, text)) => hash_bytes(text, seed),
                _ => return Err(Malformed),
            },
            Self::Whole => hash_u32(whole(bytes)? as u32, seed),
            Self::Float => hash_float(float(bytes)?, seed),
        })
    }
}

fn whole(bytes: &[u8]) -> Result<i32, Malformed> {
    Ok(match *bytes {
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
        [a, b] => i16::from_be_bytes([a, b]).into(),
        [a] => i32::from(a != 0),
        _ => return Err(Malformed),
    })
}

fn float(bytes: &[u8]) -> Result<f64, Malformed> {
    if let Ok(bytes) = bytes.try_into() {
        return Ok(f32::from_be_bytes(bytes).into());
    }
    let bytes = bytes.try_into().map_err(|_| Malformed)?;
    Ok(f64::from_be_bytes(bytes))
}

/// `hashfloat8extended`: both zeros hash as the seed, every NaN as one.
fn hash_float(value: f64, seed: u64) -> u64 {
    if value == 0.0 {
        return seed;
    }
    let value = if value.is_nan() { f64::NAN } else { value };
    hash_bytes(&value.to_ne_bytes(), seed)
}

/// The state of Bob Jenkins' hash of 2006 (lookup3), as PostgreSQL has it.
struct Mixed {
    a: u32,
    b: u32,
    c: u32,
}

impl Mixed {
    fn new(length: u32, seed: u64) -> Self {
        let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
        let mut mixed = Self {
            a: start,
            b: start,
            c: start,
        };
        if seed != 0 {
            mixed.a = mixed.a.wrapping_add((seed >> 32) as u32);
            mixed.b = mixed.b.wrapping_add(seed as u32);
            mixed.mix();
        }
        mixed
    }

    fn mix(&mut self) {
        let Self {
            mut a,
            mut b,
            mut c,
        } = *self;
        a = a.wrapping_sub(c) ^ c.rotate_left(4);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(6);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(8);
        b = b.wrapping_add(a);
        a = a.wrapping_sub(c) ^ c.rotate_left(16);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(19);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(4);
        b = b.wrapping_add(a);
        *self = Self { a, b, c };
    }

    fn finish(self) -> u64 {
        let Self {
            mut a,
            mut b,
            mut c,
        } = self;
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        (u64::from(b) << 32) | u64::from(c)
    }
}

/// `hash_bytes_uint32_extended`.
fn hash_u32(value: u32, seed: u64) -> u64 {
    let mut mixed = Mixed::new(4, seed);
    mixed.a = mixed.a.wrapping_add(value);
    mixed.finish()
}

/// `hash_bytes_extended`, as a machine with the least significant byte first computes it.
pub(super) fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut mixed = Mixed::new(bytes.len() as u32, seed);
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        mixed.a = mixed.a.wrapping_add(word(&block[..4]));
        mixed.b = mixed.b.wrapping_add(word(&block[4..8]));
        mixed.c = mixed.c.wrapping_add(word(&block[8..]));
        mixed.mix();
    }
    let rest = blocks.remainder();
    let (first, rest) = rest.split_at(rest.len().min(4));
    let (second, third) = rest.split_at(rest.len().min(4));
    mixed.a = mixed.a.wrapping_add(word(first));
    mixed.b = mixed.b.wrapping_add(word(second));
    // The lowest byte of the third word is kept for the length.
    mixed.c = mixed.c.wrapping_add(word(third) << 8);
    mixed.finish()
}

/// Up to four bytes as a number, the least significant first.
fn word(bytes: &[u8]) -> u32 {
    match *bytes {
        [a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]),
        [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
        [a, b] => u32::from_le_bytes([a, b, 0, 0]),
        [a] => u32::from(a),
        [] => 0,
    }
}

#[cfg(test)]
mod tests;
