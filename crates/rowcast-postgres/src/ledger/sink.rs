//! Counts and spools the tuples of a change set, wherever they come from (semantics 25).

use std::collections::HashSet;
use std::sync::Arc;

use rowcast_core::ledger::DiffCounts;
use rowcast_core::{Code, Key, Reason};

use super::decode::{Cursor, Malformed};
use super::diff::DiffSql;
use super::extract::{Extracted, Extraction, REJECTS_TRACKED, StateFacts};
use super::forms::Decode;
use super::hash::{Checksum, hash_bytes};
use super::model::Model;
use super::spool::{PARTS, Part, Spool};
use super::tuple::{Brief, Layout};

/// Counts and spools the tuples of a change set, wherever they come from.
pub(super) struct Sink<'a> {
    layout: Layout,
    spool: Spool,
    max: u64,
    limit: bool,
    counts: DiffCounts,
    spooled: [u64; PARTS],
    changes: u64,
    in_state: u64,
    tombstones: u64,
    unchanged: u64,
    null_keys: u64,
    pub rejects: HashSet<Key>,
    digest: u128,
    scratch: Vec<u8>,
    /// Tuples come without their head.
    completion: Option<Completion>,
    pub(super) watermark: Option<String>,
    what: &'a str,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        extraction: &Extraction<'a>,
        model: &Model,
        diff: &DiffSql<'_>,
        has_cursor: bool,
    ) -> Self {
        let request = extraction.request;
        let max = [request.limit, request.spool_records_max]
            .into_iter()
            .flatten()
            .min();
        Self {
            layout: Layout {
                shape: extraction.shape.clone(),
                schema: Arc::clone(&model.schema),
                decoders: if extraction.bare {
                    Vec::new()
                } else {
                    model.decoders.clone()
                },
                has_retries: diff.has_retries,
                matching: model.matching.clone(),
                keep_rows: diff.keep_rows,
                has_cursor,
            },
            spool: Spool::new(extraction.config.spool.clone()),
            max: max.unwrap_or(u64::MAX),
            limit: request.limit.is_some(),
            counts: DiffCounts::default(),
            spooled: [0; PARTS],
            changes: 0,
            in_state: 0,
            tombstones: 0,
            unchanged: 0,
            null_keys: 0,
            rejects: HashSet::new(),
            digest: 0,
            scratch: Vec::new(),
            completion: None,
            watermark: None,
            what: &extraction.config.model.name,
        }
    }

    /// The mapped columns come in other forms than the model's own.
    pub(super) fn read_as(&mut self, decoders: Vec<Decode>) {
        self.layout.decoders = decoders;
    }

    /// From now on tuples hold keys and mapped columns alone: all are additions to an empty state.
    /// `mapped_keys`: those that are read of the mapped columns.
    pub(super) fn complete(&mut self, checksum: Checksum, mapped_keys: Vec<Option<usize>>) {
        self.completion = Some(Completion {
            checksum,
            mapped_keys,
            columns: Vec::new(),
            head: Vec::new(),
            key_end: 0,
            sum: 0,
        });
    }

    /// Takes one tuple.
    ///
    /// # Errors
    /// The tuple can't be read, or the spool is full.
    pub(super) fn take(&mut self, tuple: &[u8]) -> Result<(), Reason> {
        self.take_from(tuple, Part::New)
    }

    /// As `take`, of the upper half of the keys.
    ///
    /// # Errors
    /// As `take`.
    pub(super) fn take_above(&mut self, tuple: &[u8]) -> Result<(), Reason> {
        self.take_from(tuple, Part::NewAbove)
    }

    fn take_from(&mut self, tuple: &[u8], new: Part) -> Result<(), Reason> {
        let Some(mut completion) = self.completion.take() else {
            return self.count(tuple, new);
        };
        let taken = match completion.complete(tuple, &self.layout) {
            Ok(data) => self.decide(&completion.brief(), [&completion.head, data], new),
            Err(Malformed) => Err(self.unreadable()),
        };
        self.completion = Some(completion);
        taken
    }

    fn unreadable(&self) -> Reason {
        Reason::new(
            Code::StreamTruncated,
            format!("the rows of model {:?} can't be read", self.what),
        )
        .hint("something between Rowcast and the server changed the answer; nothing was sent")
    }

    fn count(&mut self, tuple: &[u8], new: Part) -> Result<(), Reason> {
        let brief = self.layout.brief(tuple);
        let brief = brief.map_err(|Malformed| self.unreadable())?;
        if let Some(value) = brief.cursor {
            self.watermark = super::cursor::later(self.watermark.take(), Some(value.to_owned()));
        }
        self.decide(&brief, [tuple, &[]], new)
    }

    /// Counts a tuple, which comes in two pieces, and spools it if it is a change.
    fn decide(&mut self, brief: &Brief<'_>, tuple: [&[u8]; 2], new: Part) -> Result<(), Reason> {
        match brief.letter {
            b'N' => self.null_keys += 1,
            b'=' => self.unchanged += 1,
            b'D' if self.limit => self.in_state += u64::from(brief.in_state),
            _ => self.change(brief, tuple, new)?,
        }
        Ok(())
    }

    fn change(&mut self, brief: &Brief<'_>, tuple: [&[u8]; 2], new: Part) -> Result<(), Reason> {
        let retried = brief.reject || brief.doubt;
        let part = match brief.letter {
            b'D' => Part::Removed,
            b'A' if !retried => new,
            _ => Part::Known,
        };
        if retried {
            self.counts.retried += 1;
            self.counts.retried_present += u64::from(part != Part::Removed);
            if brief.reject
                && self.rejects.len() < REJECTS_TRACKED
                && let Ok(Some(key)) = self.layout.shape.read_key(&mut Cursor(brief.key))
            {
                self.rejects.insert(key);
            }
        } else {
            match part {
                Part::Removed => self.counts.removed += 1,
                Part::Known => self.counts.updated += 1,
                Part::New | Part::NewAbove => self.counts.added += 1,
            }
        }
        self.in_state += u64::from(brief.in_state);
        self.tombstones += u64::from(brief.tombstone);
        self.changes += 1;
        self.digest = self.digest.wrapping_add(digest(&mut self.scratch, brief));
        if self.spooled[part as usize] < self.max {
            self.spooled[part as usize] += 1;
            self.spool.push(part, tuple)?;
        }
        Ok(())
    }

    /// The counts, by the laws of semantics 25.
    ///
    /// # Errors
    /// The spool can't be read.
    pub(super) fn finish(
        self,
        facts: &StateFacts,
        streams_unchanged: bool,
        frozen_in_state: i64,
        frozen_rows: u64,
    ) -> Result<Extracted, Reason> {
        let mut counts = self.counts;
        let rows = facts.rows.max(0) as u64;
        counts.state_rows = rows - (facts.tombstones.max(0) as u64).min(rows);
        counts.removed_24h = facts.removed_24h.max(0) as u64;
        counts.invalid_keys = self.null_keys + frozen_rows;
        counts.unchanged = if streams_unchanged {
            self.unchanged
        } else {
            // Every row of state is unchanged, in the change set, buried or frozen.
            let buried = (facts.tombstones.max(0) as u64).saturating_sub(self.tombstones);
            rows.saturating_sub(buried + self.in_state + frozen_in_state.max(0) as u64)
        };
        counts.read = counts.unchanged
            + counts.added
            + counts.updated
            + counts.retried_present
            + counts.invalid_keys;
        let spooled: u64 = self.spooled.iter().sum();
        counts.beyond_limit = self.changes - spooled.min(self.max).min(self.changes);
        counts.digest = self.digest;
        counts.spool_bytes = self.spool.bytes();
        let mut notes = Vec::new();
        if self.null_keys > 0 {
            notes.push(format!(
                "{} rows have a null primary key and were left out",
                self.null_keys
            ));
        }
        let reader = self.spool.into_reader(self.max)?;
        Ok(Extracted {
            counts,
            layout: self.layout,
            reader,
            notes,
            duplicates: Vec::new(),
            checked: false,
            obsolete: Vec::new(),
            watermark: self.watermark,
            full: true,
            unique: false,
            model_digest: String::new(),
        })
    }
}

/// What the worker adds to the rows of an empty state's comparison.
struct Completion {
    checksum: Checksum,
    /// For each key column, where it stands among the mapped ones, if it has no field of its own.
    mapped_keys: Vec<Option<usize>>,
    /// Where the mapped columns of the present tuple are.
    columns: Vec<Option<(usize, usize)>>,
    /// What the present tuple has before its mapped columns.
    head: Vec<u8>,
    /// Where in it the key ends.
    key_end: usize,
    sum: i64,
}

impl Completion {
    /// What the server would have sent before the mapped columns of this tuple becomes `head`. Gives
    /// the mapped columns.
    fn complete<'t>(&mut self, tuple: &'t [u8], layout: &Layout) -> Result<&'t [u8], Malformed> {
        let mut cursor = Cursor(tuple);
        let columns = &mut self.columns;
        columns.clear();
        let own = self.mapped_keys.iter().filter(|mapped| mapped.is_none());
        for _ in own {
            cursor.field()?;
        }
        let (mut keys, data) = tuple.split_at(tuple.len() - cursor.0.len());
        for _ in &layout.decoders {
            let length = cursor.field()?.map(<[u8]>::len);
            let end = data.len() - cursor.0.len();
            columns.push(length.map(|length| (end - length, end)));
        }
        self.sum = self.checksum.of(columns, data)?;
        let mut letter = b'A';
        let head = &mut self.head;
        head.clear();
        // The operation; in state and a tombstone: neither.
        head.extend_from_slice(&[0, 0, 0, 1, b'A', 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);
        for mapped in &self.mapped_keys {
            let field = match mapped {
                Some(at) => columns
                    .get(*at)
                    .ok_or(Malformed)?
                    .map(|(start, end)| &data[start..end]),
                None => {
                    let mut cursor = Cursor(keys);
                    let field = cursor.field()?;
                    keys = cursor.0;
                    field
                }
            };
            let length = field.map_or(-1, |field| field.len() as i32);
            head.extend_from_slice(&length.to_be_bytes());
            match field {
                Some(field) => head.extend_from_slice(field),
                None => letter = b'N',
            }
        }
        head[LETTER_AT] = letter;
        self.key_end = head.len();
        head.extend_from_slice(&8_i32.to_be_bytes());
        head.extend_from_slice(&self.sum.to_be_bytes());
        if layout.keep_rows {
            head.extend_from_slice(&(-1_i32).to_be_bytes());
        }
        Ok(data)
    }

    /// What counting needs to know of the present tuple.
    fn brief(&self) -> Brief<'_> {
        Brief {
            letter: self.head[LETTER_AT],
            in_state: false,
            tombstone: false,
            key: &self.head[KEY_AT..self.key_end],
            checksum: Some(self.sum),
            reject: false,
            doubt: false,
            cursor: None,
        }
    }
}

/// Where a tuple's letter stands, and where its key begins.
const LETTER_AT: usize = 4;
const KEY_AT: usize = 15;

/// One change's share of the order-independent digest of the change set (semantics 28): its kind,
/// its key as it comes from the server, which is the same in every form, and its checksum.
fn digest(scratch: &mut Vec<u8>, brief: &Brief<'_>) -> u128 {
    scratch.clear();
    scratch.push(brief.letter);
    scratch.extend_from_slice(&brief.checksum.unwrap_or(0).to_le_bytes());
    scratch.extend_from_slice(brief.key);
    // As strong as the checksums it is made of, and made for every change.
    let half = |seed| u128::from(hash_bytes(scratch, seed));
    half(0) << 64 | half(1)
}
