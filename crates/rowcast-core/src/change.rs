//! What happened to a row since the last acknowledged delivery.

use crate::key::Key;
use crate::record::{Operation, RawRecord, RecordJson};
use crate::row::Row;
use crate::value::Value;

/// The kind of difference between the model and the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Added,
    Updated,
    /// The row left the model's result, which need not mean a DELETE.
    Removed,
}

/// Why a row that may not have changed is in the change set again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// An earlier attempt ended with an unknown outcome; the destination may or may not have it.
    Doubt {
        /// What was attempted.
        operation: Operation,
        /// The run of the first attempt.
        run: i64,
    },
    /// An earlier run's record was rejected.
    Reject {
        /// Attempts so far with this value.
        attempts: u32,
        /// Whether this run may try it. A reject that is not due is *held*.
        due: bool,
        /// Run of the first attempt of the value that was rejected.
        run: i64,
    },
}

/// One change: at most one for each key in a change set.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub key: Key,
    pub kind: Kind,
    /// The checksum of the present row; `None` for removed rows.
    pub checksum: Option<i64>,
    /// The present row's mapped columns; for removed rows the last delivered values with `keep: rows`.
    pub row: Option<Row>,
    /// The record's identity and fields, in place of `row`, where the reader was asked for them
    /// ([`write_json`](crate::ChangeReader::write_json)).
    pub json: Option<RecordJson>,
    /// The same undecoded ([`give_raw`](crate::ChangeReader::give_raw)).
    pub raw: Option<RawRecord>,
    /// Set when the key is a doubt or a reject. Such a change counts as *retried* and nothing else.
    pub retried: Option<Retried>,
    /// The match values that were last delivered, for syncs whose state keeps them
    /// (semantics 12). For an update whose identity changed, these name the record to delete first;
    /// so they are `None` when a present row claims them and that row's own state holds them already.
    pub delivered_match: Option<Vec<Value>>,
    /// Why the row can't be sent although it was read: a null key, a frozen duplicate, an identity
    /// claimed twice. Such a change counts as *invalid*.
    pub conflict: Option<Conflict>,
}

/// Why a row of the model was set aside by the diff itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// A primary key column is null: the row has no identity. Counts as an *invalid key*.
    NullKey,
    /// Another row claims the same `match_on` values: both are invalid (semantics 12).
    Claimed { by: Key },
    /// A removed row whose identity a present row claims: nothing is deleted (semantics 12).
    /// `settled` once the other row's own state holds the identity.
    TakenOver { settled: bool },
}
