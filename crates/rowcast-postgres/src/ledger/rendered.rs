//! Records' JSON text, straight from the fields of a tuple.
//!
//! For mappings that only name columns. It must write what the mapping would have made of the
//! row's values, byte for byte, and leaves to it whatever is not plain.

use std::sync::Arc;

use rowcast_core::json::push_value;
use rowcast_core::key::identity_value;
use rowcast_core::mapping::Plain;
use rowcast_core::record::RecordJson;
use rowcast_core::{Change, Kind, Name, Schema};

use super::decode::{Cursor, Malformed, push_json, value};
use super::forms::Decode;

/// What stands before a member's value, and the position of its column.
type Member = (Box<str>, usize);

/// How the records of a run are written, and the room to do so.
#[derive(Debug)]
pub(super) struct Rendering {
    identity: Vec<Member>,
    fields: Vec<Member>,
    /// The records of the present chunk, behind each other.
    text: String,
    /// Where each of them starts, has its fields and ends.
    records: Vec<[usize; 3]>,
    /// Where the columns of the present tuple are.
    columns: Vec<Option<(usize, usize)>>,
}

impl Rendering {
    /// For rows of a schema; `None` when it lacks a column.
    pub(super) fn new(plain: &Plain, schema: &Schema) -> Option<Self> {
        let members = |named: &[(Box<str>, Name)]| -> Option<Vec<Member>> {
            let members = named.iter().enumerate();
            members
                .map(|(i, (label, column))| {
                    let comma = if i > 0 { "," } else { "" };
                    let before = format!("{comma}{label}").into();
                    Some((before, schema.position(column)?))
                })
                .collect()
        };
        Some(Self {
            identity: members(&plain.identity)?,
            fields: members(&plain.fields)?,
            text: String::new(),
            records: Vec::new(),
            columns: Vec::with_capacity(schema.columns.len()),
        })
    }

    /// Writes the record of a row whose columns the cursor is before; `false` when its identity has
    /// a null.
    ///
    /// # Errors
    /// The tuple is damaged.
    pub(super) fn write(
        &mut self,
        mut cursor: Cursor<'_>,
        decoders: &[Decode],
    ) -> Result<bool, Malformed> {
        let all = cursor.0;
        self.columns.clear();
        for _ in decoders {
            let field = cursor.field()?.map(<[u8]>::len);
            let end = all.len() - cursor.0.len();
            self.columns.push(field.map(|length| (end - length, end)));
        }
        let columns = &self.columns;
        let column = |at: usize| -> Result<Option<(Decode, &[u8])>, Malformed> {
            let decode = *decoders.get(at).ok_or(Malformed)?;
            let place = columns.get(at).ok_or(Malformed)?;
            Ok(place.map(|(start, end)| (decode, &all[start..end])))
        };
        let text = &mut self.text;
        let start = text.len();
        text.push('{');
        for (before, at) in &self.identity {
            text.push_str(before);
            let Some((decode, bytes)) = column(*at)? else {
                text.truncate(start);
                return Ok(false);
            };
            push_value(text, &identity_value(value(decode, bytes)?));
        }
        text.push('}');
        let fields_at = text.len();
        text.push('{');
        for (before, at) in &self.fields {
            text.push_str(before);
            match column(*at)? {
                Some((decode, bytes)) => push_json(text, decode, bytes)?,
                None => text.push_str("null"),
            }
        }
        text.push('}');
        self.records.push([start, fields_at, text.len()]);
        Ok(true)
    }

    /// Gives the changes that came without a row what was written for them, in their order.
    pub(super) fn hand_out(&mut self, changes: &mut [Change]) {
        // The next chunk will be about as long: a text that outgrew its room would take twice of it.
        let length = self.text.len();
        let room = String::with_capacity(length + length / 8);
        let mut text = std::mem::replace(&mut self.text, room);
        text.shrink_to_fit();
        let text = Arc::new(text);
        let written = changes
            .iter_mut()
            .filter(|change| change.row.is_none() && change.kind != Kind::Removed);
        for (change, [start, fields, end]) in written.zip(self.records.drain(..)) {
            change.json = Some(RecordJson::within(&text, start, fields, end));
        }
    }
}
