//! One tuple of a change set: from the fields on the wire to a `Change`.
//!
//! Layout: operation, in state, tombstone, keys…, checksum, [reject: attempts, due, first run;
//! doubt: operation, run], [match: delivered, present, other claimant, taken over, held elsewhere],
//! `[values sent]`, `[cursor]`, mapped columns….

use std::sync::Arc;

use rowcast_core::change::Conflict;
use rowcast_core::{Change, Key, Kind, Operation, Reason, Retried, Row, Schema, Value, json};

use super::change_set::Given;
use super::decode::{self, Cursor, Malformed, int8, text};
use super::forms::Decode;
use super::matching::{self, MatchColumn};
use super::shape::Shape;

/// How to read the tuples of one run.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub shape: Shape,
    pub schema: Arc<Schema>,
    pub decoders: Vec<Decode>,
    pub has_retries: bool,
    pub matching: Option<Vec<MatchColumn>>,
    pub keep_rows: bool,
    pub has_cursor: bool,
}

/// What the counting needs to know of a tuple: nothing is copied, whatever the row holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brief<'a> {
    /// `A`, `U`, `D`, `N` (null key), `=` (unchanged).
    pub letter: u8,
    pub in_state: bool,
    pub tombstone: bool,
    /// The key's fields as they came, lengths included: the same bytes in every form.
    pub key: &'a [u8],
    pub checksum: Option<i64>,
    pub reject: bool,
    pub doubt: bool,
    pub cursor: Option<&'a str>,
}

/// What a change needs to know of a tuple before its mapped columns.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// `A`, `U`, `D`, `N` (null key), `=` (unchanged).
    pub letter: u8,
    pub key: Option<Key>,
    pub checksum: Option<i64>,
    pub reject: Option<(u32, bool, i64)>,
    pub doubt: Option<(Operation, i64)>,
    delivered: Option<String>,
    present: Option<String>,
    claimed_by: Option<String>,
    taken_over: bool,
    held_elsewhere: bool,
    sent: Option<String>,
}

fn flag(field: Option<&[u8]>) -> bool {
    field.is_some_and(|bytes| bytes.first() == Some(&1))
}

fn int4(bytes: &[u8]) -> Result<i32, Malformed> {
    Cursor(bytes).i32()
}

fn owned(field: Option<&[u8]>) -> Result<Option<String>, Malformed> {
    field
        .map(|bytes| text(bytes).map(str::to_owned))
        .transpose()
}

impl Layout {
    /// Reads what counting needs.
    ///
    /// # Errors
    /// The tuple is cut.
    pub(super) fn brief<'a>(&self, tuple: &'a [u8]) -> Result<Brief<'a>, Malformed> {
        let mut cursor = Cursor(tuple);
        let letter = cursor
            .field()?
            .and_then(|bytes| bytes.first().copied())
            .ok_or(Malformed)?;
        let in_state = flag(cursor.field()?);
        let tombstone = flag(cursor.field()?);
        let start = cursor.0;
        for _ in &self.shape.keys {
            cursor.field()?;
        }
        let key = &start[..start.len() - cursor.0.len()];
        let checksum = cursor.field()?.map(int8).transpose()?;
        let (mut reject, mut doubt) = (false, false);
        if self.has_retries {
            reject = cursor.field()?.is_some();
            cursor.field()?;
            cursor.field()?;
            doubt = cursor
                .field()?
                .and_then(|bytes| bytes.first().copied())
                .is_some_and(|letter| Operation::from_letter(char::from(letter)).is_some());
            cursor.field()?;
        }
        let mut value = None;
        if self.has_cursor {
            let between = if self.matching.is_some() { 5 } else { 0 } + usize::from(self.keep_rows);
            for _ in 0..between {
                cursor.field()?;
            }
            value = cursor.field()?.map(text).transpose()?;
        }
        Ok(Brief {
            letter,
            in_state,
            tombstone,
            key,
            checksum,
            reject,
            doubt,
            cursor: value,
        })
    }

    /// Reads everything but the mapped columns, and leaves the cursor before them.
    ///
    /// # Errors
    /// The tuple is cut.
    pub(super) fn head(&self, cursor: &mut Cursor<'_>) -> Result<Head, Malformed> {
        let letter = cursor
            .field()?
            .and_then(|bytes| bytes.first().copied())
            .ok_or(Malformed)?;
        cursor.field()?;
        cursor.field()?;
        let key = self.shape.read_key(cursor)?;
        let checksum = cursor.field()?.map(int8).transpose()?;
        let (mut reject, mut doubt) = (None, None);
        if self.has_retries {
            let attempts = cursor.field()?.map(int4).transpose()?;
            let due = flag(cursor.field()?);
            let first = cursor.field()?.map(int4).transpose()?;
            reject = attempts.map(|n| (n as u32, due, i64::from(first.unwrap_or(0))));
            let operation = cursor.field()?.and_then(|bytes| bytes.first().copied());
            let run = cursor.field()?.map(int4).transpose()?;
            doubt = operation
                .and_then(|letter| Operation::from_letter(char::from(letter)))
                .map(|operation| (operation, i64::from(run.unwrap_or(0))));
        }
        let mut head = Head {
            letter,
            key,
            checksum,
            reject,
            doubt,
            delivered: None,
            present: None,
            claimed_by: None,
            taken_over: false,
            held_elsewhere: false,
            sent: None,
        };
        if self.matching.is_some() {
            head.delivered = owned(cursor.field()?)?;
            head.present = owned(cursor.field()?)?;
            head.claimed_by = owned(cursor.field()?)?;
            head.taken_over = flag(cursor.field()?);
            head.held_elsewhere = flag(cursor.field()?);
        }
        if self.keep_rows {
            head.sent = owned(cursor.field()?)?;
        }
        if self.has_cursor {
            cursor.field()?;
        }
        Ok(head)
    }

    /// The change of a spooled tuple.
    ///
    /// # Errors
    /// The tuple is damaged: a defect, or a server that speaks another protocol.
    pub(super) fn change(&self, tuple: &[u8], given: &mut Given) -> Result<Change, Reason> {
        self.read(tuple, given)
            .map_err(|Malformed| Reason::defect("a tuple of the change set can't be read"))
    }

    fn read(&self, tuple: &[u8], given: &mut Given) -> Result<Change, Malformed> {
        let mut cursor = Cursor(tuple);
        let mut head = self.head(&mut cursor)?;
        let key = head.key.take().ok_or(Malformed)?;
        let kind = head.kind();
        let written = match given {
            _ if kind == Kind::Removed => false,
            Given::Rows => false,
            Given::Text(rendering) => rendering.write(cursor, &self.decoders)?,
            Given::Raw(carrying) => carrying.take(cursor)?,
        };
        let row = if kind == Kind::Removed {
            head.sent.as_deref().map(sent_row)
        } else if written {
            None
        } else {
            let mut values = Vec::with_capacity(self.decoders.len());
            for decode in &self.decoders {
                values.push(match cursor.field()? {
                    None => Value::Null,
                    Some(bytes) => decode::value(*decode, bytes)?,
                });
            }
            Some(Row {
                schema: Arc::clone(&self.schema),
                values,
            })
        };
        Ok(Change {
            kind,
            checksum: if kind == Kind::Removed {
                None
            } else {
                head.checksum
            },
            row,
            json: None,
            raw: None,
            retried: head.retried(),
            delivered_match: self.delivered_match(&head, kind),
            conflict: self.conflict(&head, kind),
            key,
        })
    }

    fn delivered_match(&self, head: &Head, kind: Kind) -> Option<Vec<Value>> {
        let columns = self.matching.as_ref()?;
        // What another row claims and already holds is that row's record now.
        if kind != Kind::Removed && head.taken_over && head.held_elsewhere {
            return None;
        }
        matching::parse(head.delivered.as_deref()?, columns)
    }

    fn conflict(&self, head: &Head, kind: Kind) -> Option<Conflict> {
        if kind == Kind::Removed {
            return head.taken_over.then_some(Conflict::TakenOver {
                settled: head.held_elsewhere,
            });
        }
        let other = head.claimed_by.as_deref()?;
        let Ok(Value::List(parts)) = json::from_json(other) else {
            return None;
        };
        let parts: Vec<String> = parts.iter().map(json::to_text).collect();
        self.shape
            .parse_key(&parts)
            .ok()
            .map(|by| Conflict::Claimed { by })
    }
}

/// The values sent, as a row of one JSON column per field.
fn sent_row(sent: &str) -> Row {
    let Ok(Value::Object(members)) = json::from_json(sent) else {
        return Row {
            schema: Arc::default(),
            values: Vec::new(),
        };
    };
    let (columns, values) = members
        .into_iter()
        .map(|(name, value)| {
            (
                rowcast_core::Column {
                    name,
                    type_name: "sent".into(),
                },
                value,
            )
        })
        .unzip();
    Row {
        schema: Arc::new(Schema { columns }),
        values,
    }
}

impl Head {
    /// The kind of change: what the destination has decides, not why the row is here again.
    pub(super) fn kind(&self) -> Kind {
        match self.letter {
            b'D' => Kind::Removed,
            b'A' => Kind::Added,
            // A doubtful insert may not have arrived: it is still an addition.
            _ if matches!(self.doubt, Some((Operation::Insert | Operation::Delete, _))) => {
                Kind::Added
            }
            _ => Kind::Updated,
        }
    }

    /// Why the row is here again, if it is a doubt or a reject. A reject that is not due is held,
    /// whatever else is known of it.
    pub(super) fn retried(&self) -> Option<Retried> {
        match (self.reject, self.doubt) {
            (Some((attempts, false, run)), _) => Some(Retried::Reject {
                attempts,
                due: false,
                run,
            }),
            (_, Some((operation, run))) => Some(Retried::Doubt { operation, run }),
            (Some((attempts, due, run)), None) => Some(Retried::Reject { attempts, due, run }),
            (None, None) => None,
        }
    }
}
