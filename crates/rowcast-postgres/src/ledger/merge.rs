//! State in another place than the source (semantics 23): both sides in byte order of the key,
//! merged on the worker.
//!
//! The checksum is computed by the same SQL in the source. A key out of order or a stream without
//! its end marker fails the run before any request: a merge over disorder would invent removals.

use std::cmp::Ordering;

use bytes::Bytes;
use rowcast_core::{Code, Key, KeyPart, Reason};
use tokio_postgres::Client;

use super::copy::Tuples;
use super::decode::{Cursor, Malformed, int8};
use super::extract::{Extracted, Extraction, state_facts};
use super::model;
use super::shape::Shape;
use super::sink::Sink;
use crate::connect::db_error;

/// One row of the model's side.
struct SourceRow {
    key: Option<Key>,
    /// Length of the key columns at the start of `tuple`.
    key_bytes: usize,
    checksum: Option<i64>,
    /// Where the mapped columns start.
    data: usize,
    tuple: Bytes,
}

/// One row of the state's side.
struct StateRow {
    key: Key,
    key_bytes: usize,
    checksum: Option<i64>,
    tombstone: bool,
    /// Attempted, never acknowledged.
    attempted: bool,
    in_state: bool,
    reject: Option<Reject>,
    doubt: Option<(u8, Bytes)>,
    sent: Option<Bytes>,
    tuple: Bytes,
}

struct Reject {
    attempts: Bytes,
    checksum: Option<i64>,
    due: bool,
    first_run: Bytes,
}

/// Compares keys in the order both streams were asked for.
fn compare(a: &Key, b: &Key) -> Ordering {
    for (a, b) in a.0.iter().zip(b.0.iter()) {
        let order = match (a, b) {
            (KeyPart::Int(a), KeyPart::Int(b)) => a.cmp(b),
            (KeyPart::Decimal(a), KeyPart::Decimal(b)) => trimmed(a).cmp(trimmed(b)),
            (a, b) => a.to_string().as_bytes().cmp(b.to_string().as_bytes()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// The text of a numeric as PostgreSQL's `trim_scale` leaves it: 1.0 and 1.00 are one key.
fn trimmed(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

/// A stream of rows in ascending order of their keys.
struct Ordered {
    tuples: Tuples,
    last: Option<Key>,
    side: &'static str,
}

impl Ordered {
    fn check(&mut self, key: &Key, strict: bool) -> Result<(), Reason> {
        if let Some(last) = &self.last {
            let order = compare(last, key);
            if order == Ordering::Greater || (strict && order == Ordering::Equal) {
                return Err(Reason::new(
                    Code::StreamOutOfOrder,
                    format!("the rows of {} did not come in the order of their keys", self.side),
                )
                .detail(format!("key {key} came after {last}"))
                .hint("nothing was sent; two servers may sort by different rules: keep state in the source, or report this"));
            }
        }
        self.last = Some(key.clone());
        Ok(())
    }
}

async fn source_row(side: &mut Ordered, shape: &Shape) -> Result<Option<SourceRow>, Reason> {
    let Some(tuple) = side.tuples.next().await? else {
        return Ok(None);
    };
    let mut cursor = Cursor(&tuple);
    let read = (|| {
        let key = shape.read_key(&mut cursor)?;
        let key_bytes = tuple.len() - cursor.0.len();
        let checksum = cursor.field()?.map(int8).transpose()?;
        Ok((key, key_bytes, checksum, tuple.len() - cursor.0.len()))
    })();
    let (key, key_bytes, checksum, data) = read.map_err(unreadable)?;
    if let Some(key) = &key {
        side.check(key, false)?;
    }
    Ok(Some(SourceRow {
        key,
        key_bytes,
        checksum,
        data,
        tuple,
    }))
}

fn unreadable(_: Malformed) -> Reason {
    Reason::new(
        Code::StreamTruncated,
        "the rows of the comparison can't be read",
    )
    .hint("something between Rowcast and the server changed the answer; nothing was sent")
}

async fn state_row(
    side: &mut Ordered,
    shape: &Shape,
    keep: bool,
) -> Result<Option<StateRow>, Reason> {
    let Some(tuple) = side.tuples.next().await? else {
        return Ok(None);
    };
    let mut cursor = Cursor(&tuple);
    let mut read = || -> Result<StateRow, Malformed> {
        let key = shape.read_key(&mut cursor)?.ok_or(Malformed)?;
        let key_bytes = tuple.len() - cursor.0.len();
        let checksum = cursor.field()?.map(int8).transpose()?;
        let mark = cursor.field()?;
        let (tombstone, attempted) = (mark == Some(b"t"), mark == Some(b"n"));
        let in_state = cursor.field()? == Some(&[1]);
        let own = |field: Option<&[u8]>| field.map(|bytes| tuple.slice_ref(bytes));
        let attempts = own(cursor.field()?);
        let rejected = cursor.field()?.map(int8).transpose()?;
        let due = cursor.field()? == Some(&[1]);
        let first_run = own(cursor.field()?);
        let operation = cursor.field()?.and_then(|bytes| bytes.first().copied());
        let run = own(cursor.field()?);
        let sent = if keep { own(cursor.field()?) } else { None };
        Ok(StateRow {
            key,
            key_bytes,
            checksum,
            tombstone,
            attempted,
            in_state,
            reject: attempts.zip(first_run).map(|(attempts, first_run)| Reject {
                attempts,
                checksum: rejected,
                due,
                first_run,
            }),
            doubt: operation.zip(run),
            sent,
            tuple: tuple.clone(),
        })
    };
    let row = read().map_err(unreadable)?;
    side.check(&row.key, true)?;
    Ok(Some(row))
}

/// A tuple in the layout of the wide form.
fn tuple(letter: u8, source: Option<&SourceRow>, state: Option<&StateRow>, keep: bool) -> Bytes {
    let mut out = Vec::with_capacity(64 + source.map_or(0, |row| row.tuple.len()));
    let field = |out: &mut Vec<u8>, bytes: Option<&[u8]>| match bytes {
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(bytes) => {
            out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            out.extend_from_slice(bytes);
        }
    };
    field(&mut out, Some(&[letter]));
    field(
        &mut out,
        Some(&[u8::from(state.is_some_and(|row| row.in_state))]),
    );
    field(
        &mut out,
        Some(&[u8::from(state.is_some_and(|row| row.tombstone))]),
    );
    match (source, state) {
        (Some(row), _) => out.extend_from_slice(&row.tuple[..row.key_bytes]),
        (None, Some(row)) => out.extend_from_slice(&row.tuple[..row.key_bytes]),
        (None, None) => {}
    }
    let checksum = source.and_then(|row| row.checksum);
    field(
        &mut out,
        checksum
            .map(i64::to_be_bytes)
            .as_ref()
            .map(<[u8; 8]>::as_slice),
    );
    let reject = state.and_then(|row| row.reject.as_ref());
    let due = reject.map(|reject| [u8::from(reject.due || reject.checksum != checksum)]);
    field(&mut out, reject.map(|reject| &reject.attempts[..]));
    field(&mut out, due.as_ref().map(<[u8; 1]>::as_slice));
    field(&mut out, reject.map(|reject| &reject.first_run[..]));
    let doubt = state.and_then(|row| row.doubt.as_ref());
    field(
        &mut out,
        doubt.map(|(letter, _)| std::slice::from_ref(letter)),
    );
    field(&mut out, doubt.map(|(_, run)| &run[..]));
    if keep {
        field(&mut out, state.and_then(|row| row.sent.as_deref()));
    }
    if let Some(row) = source {
        out.extend_from_slice(&row.tuple[row.data..]);
    }
    Bytes::from(out)
}

impl Extraction<'_> {
    /// The merge on the worker: model from one connection, state from another.
    ///
    /// # Errors
    /// See the module.
    pub(super) async fn merge(&self, source: &Client, state: &Client) -> Result<Extracted, Reason> {
        if self.config.sync.match_columns.is_some() {
            return Err(Reason::new(
                Code::IdentityChanged,
                format!(
                    "sync {:?} can't delete by match_on with state in another source",
                    self.config.sync.name
                ),
            )
            .detail("the claims of all rows would have to be compared outside the source")
            .hint("keep state in the source, or match on the primary key"));
        }
        let spec = &self.config.model;
        let what = format!("reading state of sync {:?}", self.config.sync.name);
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}; LOCK TABLE {} IN ACCESS SHARE MODE",
            model::local_settings(spec),
            self.shape.read_together()
        );
        state
            .batch_execute(&begin)
            .await
            .map_err(|error| db_error(&error, &what))?;
        self.shape.look_for_unfolded(state).await?;
        let facts = state_facts(state, self.shape, self.config.sync.mode).await?;
        if let Some(fence) = self.fence
            && (facts.epoch, facts.generation) != fence
        {
            return Err(super::commit::lease_lost());
        }
        model::begin(source, spec, None).await?;
        let model = self.model(source).await?;
        let frozen = facts.frozen.clone();
        let mut diff = self.diff(&model, &facts, &[]);
        diff.has_retries = true;
        let mut sink = Sink::new(self, &model, &diff, false);
        let mut left = Ordered {
            tuples: Tuples::start(
                source,
                &diff.ordered_model(),
                &format!("reading model {:?}", spec.name),
            )
            .await?,
            last: None,
            side: "the model",
        };
        let mut right = Ordered {
            tuples: Tuples::start(state, &diff.ordered_state(), &what).await?,
            last: None,
            side: "state",
        };
        let merged = self.walk(&mut left, &mut right, &mut sink).await?;
        drop((left, right));
        for (client, what) in [(source, "reading the model"), (state, "reading state")] {
            client
                .batch_execute("COMMIT")
                .await
                .map_err(|error| db_error(&error, what))?;
        }
        let frozen_rows: i64 = merged.duplicates.iter().map(|(_, rows)| rows).sum();
        let mut extracted = sink.finish(&facts, true, 0, frozen_rows as u64)?;
        // A narrowed run did not look at the rows of all rejects.
        if self.request.keys.is_empty() && self.request.limit.is_none() {
            extracted.obsolete = merged.obsolete;
        }
        extracted.checked = !merged.duplicates.is_empty() || !frozen.is_empty();
        extracted.duplicates = merged.duplicates;
        // Equal keys meet in a merge: every run proves uniqueness by itself.
        extracted.unique = true;
        extracted.model_digest = model.digest;
        extracted.full = self.request.keys.is_empty() && self.request.limit.is_none();
        Ok(extracted)
    }

    async fn walk(
        &self,
        left: &mut Ordered,
        right: &mut Ordered,
        sink: &mut Sink<'_>,
    ) -> Result<Merged, Reason> {
        let keep = self.config.sync.keep_rows;
        let mut merged = Merged::default();
        let mut source = source_row(left, self.shape).await?;
        let mut state = state_row(right, self.shape, keep).await?;
        loop {
            // Null keys sort last and match nothing.
            if let Some(row) = &source
                && row.key.is_none()
            {
                sink.take(&tuple(b'N', source.as_ref(), None, keep))?;
                source = source_row(left, self.shape).await?;
                continue;
            }
            let order = match (source.as_ref().and_then(|row| row.key.as_ref()), &state) {
                (None, None) => return Ok(merged),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(key), Some(row)) => compare(key, &row.key),
            };
            if order == Ordering::Greater {
                if let Some(row) = &state {
                    if !row.in_state {
                        merged.obsolete.push(row.key.clone());
                    } else if !row.tombstone {
                        sink.take(&tuple(b'D', None, state.as_ref(), keep))?;
                    }
                }
                state = state_row(right, self.shape, keep).await?;
                continue;
            }
            let matched = (order == Ordering::Equal).then(|| state.take()).flatten();
            let present = source.take();
            source = source_row(left, self.shape).await?;
            let mut rows = 1;
            while let (Some(row), Some(first)) = (&source, &present)
                && let (Some(key), Some(same)) = (&row.key, &first.key)
                && compare(key, same) == Ordering::Equal
            {
                rows += 1;
                source = source_row(left, self.shape).await?;
            }
            if let Some(first) = &present {
                if rows > 1 {
                    merged.freeze(first, rows, &self.config.model.name)?;
                } else {
                    let letter = letter(first, matched.as_ref());
                    if letter == b'='
                        && let Some(row) = &matched
                        && row.reject.is_some()
                    {
                        merged.obsolete.push(row.key.clone());
                    }
                    sink.take(&tuple(letter, Some(first), matched.as_ref(), keep))?;
                }
            }
            if matched.is_some() {
                state = state_row(right, self.shape, keep).await?;
            }
        }
    }
}

fn letter(source: &SourceRow, state: Option<&StateRow>) -> u8 {
    match state {
        Some(row) if row.in_state && !row.attempted => {
            if row.checksum != source.checksum || row.checksum.is_none() || row.tombstone {
                b'U'
            } else {
                b'='
            }
        }
        _ => b'A',
    }
}

/// What a merge found besides changes.
#[derive(Debug, Default)]
struct Merged {
    duplicates: Vec<(Key, i64)>,
    obsolete: Vec<Key>,
}

impl Merged {
    fn freeze(&mut self, row: &SourceRow, rows: i64, model: &str) -> Result<(), Reason> {
        if let Some(key) = &row.key {
            self.duplicates.push((key.clone(), rows));
        }
        if self.duplicates.len() > super::extract::FROZEN_MAX {
            return Err(Reason::new(
                Code::DuplicateKeys,
                format!("model {model:?} returns too many keys more than once"),
            )
            .hint("name the columns that identify a row in primary_key"));
        }
        Ok(())
    }
}
