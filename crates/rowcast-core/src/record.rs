//! Records: what a destination receives.

use std::fmt;
use std::sync::Arc;

use crate::change::Kind;
use crate::json::{HEX, push_ascii, push_object};
use crate::key::Key;
use crate::value::{Name, Object, Value};

/// What the destination is asked to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Insert,
    Update,
    Upsert,
    Delete,
}

impl Operation {
    /// All operations, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Upsert, Self::Delete];

    /// The word used in YAML, bodies, logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }

    /// One letter for state tables: `i`, `u`, `p` (upsert), `d`.
    pub fn letter(self) -> char {
        match self {
            Self::Insert => 'i',
            Self::Update => 'u',
            Self::Upsert => 'p',
            Self::Delete => 'd',
        }
    }

    /// The kind of change that usually causes it: what a record made by hand stands for.
    pub fn usual_kind(self) -> Kind {
        match self {
            Self::Insert | Self::Upsert => Kind::Added,
            Self::Update => Kind::Updated,
            Self::Delete => Kind::Removed,
        }
    }

    /// The operation of a letter.
    pub fn from_letter(letter: char) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.letter() == letter)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change after mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub key: Key,
    pub operation: Operation,
    /// What happened to the row, for services that tell an insert from an update although both are
    /// sent alike.
    pub kind: Kind,
    /// The identity at the destination: the `match_on` fields, else the primary key's columns.
    pub match_on: Object,
    /// The mapped fields. Empty for deletes, unless the sync keeps rows.
    pub fields: Object,
    /// `match_on` and `fields` as JSON text, in their place: for destinations that say
    /// [`takes_json`](crate::Destination::takes_json). Both objects are empty then.
    pub json: Option<RecordJson>,
    /// The same in the source's own bytes: for destinations that say
    /// [`takes_raw`](crate::Destination::takes_raw). Both objects are empty then.
    pub raw: Option<RawRecord>,
    /// Stable over retries of the same value, different when a value returns (semantics 9).
    pub idempotency_key: String,
    /// The checksum that state takes over when the record is delivered.
    pub checksum: Option<i64>,
    /// An earlier attempt of this key has an unknown outcome: the destination may already have it.
    pub doubtful: bool,
}

impl Record {
    /// Appends the identity as a JSON object.
    pub fn push_match(&self, out: &mut String) {
        match &self.json {
            Some(json) => out.push_str(json.match_on()),
            None => push_object(out, &self.match_on),
        }
    }

    /// Appends the fields as a JSON object.
    pub fn push_fields(&self, out: &mut String) {
        match &self.json {
            Some(json) => out.push_str(json.fields()),
            None => push_object(out, &self.fields),
        }
    }
}

/// Identity and fields of a record as JSON text: a part of a text that may hold many records.
#[derive(Clone)]
pub struct RecordJson {
    text: Arc<String>,
    start: usize,
    fields_at: usize,
    end: usize,
}

impl RecordJson {
    /// From the identity's JSON object, directly followed by that of the fields at `fields_at`.
    pub fn new(text: &str, fields_at: usize) -> Self {
        Self::within(&Arc::new(text.to_owned()), 0, fields_at, text.len())
    }

    /// The same from `start` to `end` of a text: one allocation for many records.
    pub fn within(text: &Arc<String>, start: usize, fields_at: usize, end: usize) -> Self {
        Self {
            text: text.clone(),
            start,
            fields_at,
            end,
        }
    }

    /// The identity.
    pub fn match_on(&self) -> &str {
        let identity = self.text.get(self.start..self.fields_at);
        identity.unwrap_or_default()
    }

    /// The fields.
    pub fn fields(&self) -> &str {
        let fields = self.text.get(self.fields_at..self.end);
        fields.unwrap_or_default()
    }
}

impl PartialEq for RecordJson {
    fn eq(&self, other: &Self) -> bool {
        (self.match_on(), self.fields()) == (other.match_on(), other.fields())
    }
}

impl Eq for RecordJson {}

impl fmt::Debug for RecordJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordJson({} {})", self.match_on(), self.fields())
    }
}

/// How the columns of undecoded rows become records: the same for all rows of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawForm {
    /// Names of the identity's fields, each with the position of its column.
    pub identity: Vec<(Name, usize)>,
    /// The same for the mapped fields, in the mapping's order.
    pub fields: Vec<(Name, usize)>,
    /// PostgreSQL's number of the built-in type in whose binary form each column is.
    pub types: Vec<u32>,
}

/// Undecoded rows behind each other.
pub struct RawRows {
    pub form: Arc<RawForm>,
    pub bytes: Vec<u8>,
}

/// Identity and fields of a record as the columns of a row that nobody decoded: each its length in
/// four bytes, most significant first and -1 for null, then as many bytes. No column of the
/// identity is null.
#[derive(Clone)]
pub struct RawRecord {
    rows: Arc<RawRows>,
    start: usize,
    end: usize,
}

impl RawRecord {
    /// The columns from `start` to `end` of bytes that may hold many rows.
    pub fn within(rows: &Arc<RawRows>, start: usize, end: usize) -> Self {
        Self {
            rows: rows.clone(),
            start,
            end,
        }
    }

    /// How to read the columns.
    pub fn form(&self) -> &Arc<RawForm> {
        &self.rows.form
    }

    /// The columns.
    pub fn columns(&self) -> &[u8] {
        let columns = self.rows.bytes.get(self.start..self.end);
        columns.unwrap_or_default()
    }
}

impl PartialEq for RawRecord {
    fn eq(&self, other: &Self) -> bool {
        self.form() == other.form() && self.columns() == other.columns()
    }
}

impl Eq for RawRecord {}

impl fmt::Debug for RawRecord {
    // The bytes are a row's values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawRecord({} bytes)", self.columns().len())
    }
}

/// What all records of one run share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunContext {
    /// The sync's name in the project.
    pub sync: Name,
    /// The sync's own identity, kept over renames.
    pub sync_id: String,
    pub run: i64,
    /// Rises with every lease; a destination with progress of its own refuses older ones.
    pub epoch: i64,
    /// Rises with every reset.
    pub generation: i64,
    pub object: Name,
    /// Names of the primary key columns.
    pub key_columns: Vec<Name>,
    /// When the run started, microseconds since 1970 in UTC: the only clock mapping may see.
    pub started_at: i64,
}

/// Records for one request: one operation, distinct identities.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The intent this batch was announced under; unique within the epoch. A destination with
    /// exactly-once progress stores it with the data.
    pub intent: i64,
    pub operation: Operation,
    pub records: Vec<Record>,
    pub context: Arc<RunContext>,
}

impl Batch {
    /// A batch's idempotency key: a hash over its records' keys in order.
    pub fn idempotency_key(&self) -> String {
        if let [record] = self.records.as_slice() {
            return record.idempotency_key.clone();
        }
        let mut hasher = blake3::Hasher::new();
        for record in &self.records {
            hasher.update(record.idempotency_key.as_bytes());
            hasher.update(b"\n");
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// What a delete has in the place of a checksum, where its identity lies outside the primary key.
pub fn identity_digest(match_on: &Object) -> i64 {
    let mut text = String::new();
    push_object(&mut text, match_on);
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    i64::from_le_bytes(first)
}

/// The idempotency key of a record: H(sync, generation, primary key, operation, checksum, run of
/// the first attempt). 32 hexadecimal digits. `key`: the primary key's canonical text.
pub fn idempotency_key(
    context: &RunContext,
    key: &str,
    operation: Operation,
    checksum: Option<i64>,
    first_run: i64,
) -> String {
    let parts: [&[u8]; 6] = [
        context.sync_id.as_bytes(),
        &context.generation.to_le_bytes(),
        key.as_bytes(),
        &[operation.letter() as u8],
        &checksum.unwrap_or(0).to_le_bytes(),
        &first_run.to_le_bytes(),
    ];
    // Hashed at once: a short input needs no hasher of two kilobytes to be set up, and no memory.
    let mut short = [0; 256];
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let hash = match short.get_mut(..length) {
        Some(input) => {
            let mut rest = &mut *input;
            for part in parts {
                let (place, after) = rest.split_at_mut(part.len());
                place.copy_from_slice(part);
                rest = after;
            }
            blake3::hash(input)
        }
        None => blake3::hash(&parts.concat()),
    };
    let mut hex = [0; 32];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(hash.as_bytes()) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    let mut text = String::with_capacity(hex.len());
    push_ascii(&mut text, &hex);
    text
}

/// The identity at the destination, for order and for finding collisions.
pub fn identity(match_on: &Object) -> Vec<Value> {
    match_on.iter().map(|(_, value)| value.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyPart;

    fn context() -> RunContext {
        RunContext {
            sync: "s".into(),
            sync_id: "id".into(),
            run: 1,
            epoch: 1,
            generation: 1,
            object: "o".into(),
            key_columns: vec!["id".into()],
            started_at: 0,
        }
    }

    #[test]
    fn rule_9_the_idempotency_key_is_the_one_of_earlier_versions() {
        let key = Key::from([KeyPart::Int(-7), KeyPart::Text("a\"b".into())]);
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"id");
        hasher.update(&1_i64.to_le_bytes());
        hasher.update(b"[-7,\"a\\\"b\"]");
        hasher.update(b"p");
        hasher.update(&9_i64.to_le_bytes());
        hasher.update(&3_i64.to_le_bytes());
        assert_eq!(
            idempotency_key(&context(), &key.canonical(), Operation::Upsert, Some(9), 3),
            hasher.finalize().to_hex()[..32]
        );
    }

    #[test]
    fn rule_9_the_idempotency_key_is_stable_over_retries_and_new_when_a_value_returns() {
        let key = Key::int(7).canonical();
        let at = |checksum, run| {
            idempotency_key(&context(), &key, Operation::Upsert, Some(checksum), run)
        };
        assert_eq!(at(1, 1), at(1, 1));
        assert_ne!(at(1, 1), at(2, 1));
        assert_ne!(
            at(1, 1),
            at(1, 3),
            "A -> B -> A must not be taken for a repetition"
        );
    }
}
