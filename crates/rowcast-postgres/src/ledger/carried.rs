//! The columns of a tuple as the source sent them, for destinations that read them so.
//!
//! For mappings that only name columns of the server's own types. It must leave to the mapping
//! whatever it could not have made a record of.

use std::sync::Arc;

use rowcast_core::mapping::Plain;
use rowcast_core::record::{RawForm, RawRecord, RawRows};
use rowcast_core::{Change, Kind, Name, Schema};

use super::decode::{Cursor, Malformed};
use super::forms::Decode;

/// How the columns of a run's tuples are handed on.
pub(super) struct Carrying {
    form: Arc<RawForm>,
    /// Whether a column belongs to the identity.
    identity: Vec<bool>,
    /// The columns of the present chunk, behind each other, and where each tuple's start and end.
    bytes: Vec<u8>,
    records: Vec<(usize, usize)>,
}

impl Carrying {
    /// For rows of a schema; `None` when it lacks a column, or a type has no number for ever.
    pub(super) fn new(plain: &Plain, schema: &Schema, decoders: &[Decode]) -> Option<Self> {
        let position = |column: &Name| schema.position(column);
        let identity = plain.identity.iter();
        let identity = identity
            .map(|(_, column)| Some((column.clone(), position(column)?)))
            .collect::<Option<Vec<_>>>()?;
        let fields = plain.names.iter().zip(&plain.fields);
        let fields = fields
            .map(|(name, (_, column))| Some((name.clone(), position(column)?)))
            .collect::<Option<Vec<_>>>()?;
        let types = decoders.iter().map(|decode| decode.type_number());
        let types = types.collect::<Option<Vec<_>>>()?;
        let named = (0..types.len()).map(|at| identity.iter().any(|(_, of)| *of == at));
        let named: Vec<bool> = named.collect();
        Some(Self {
            form: Arc::new(RawForm {
                identity,
                fields,
                types,
            }),
            identity: named,
            bytes: Vec::new(),
            records: Vec::new(),
        })
    }

    /// Takes the columns of a tuple that the cursor is before; `false` when its identity has a null.
    ///
    /// # Errors
    /// The tuple is damaged.
    pub(super) fn take(&mut self, mut cursor: Cursor<'_>) -> Result<bool, Malformed> {
        let all = cursor.0;
        for identity in &self.identity {
            if cursor.field()?.is_none() && *identity {
                return Ok(false);
            }
        }
        let start = self.bytes.len();
        self.bytes
            .extend_from_slice(&all[..all.len() - cursor.0.len()]);
        self.records.push((start, self.bytes.len()));
        Ok(true)
    }

    /// Gives the changes that came without a row what was taken for them, in their order.
    pub(super) fn hand_out(&mut self, changes: &mut [Change]) {
        let rows = Arc::new(RawRows {
            form: self.form.clone(),
            bytes: std::mem::take(&mut self.bytes),
        });
        let taken = changes
            .iter_mut()
            .filter(|change| change.row.is_none() && change.kind != Kind::Removed);
        for (change, (start, end)) in taken.zip(self.records.drain(..)) {
            change.raw = Some(RawRecord::within(&rows, start, end));
        }
        self.bytes.reserve(rows.bytes.len());
    }
}
