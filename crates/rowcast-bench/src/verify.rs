//! Whether what arrived is what the source holds: how many records, which ids, and for our own
//! records every value. The order of arrival does not matter.
//!
//! A run that fails this is void, however fast it was.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Sums over records that don't depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records that say what a row is now.
    pub(crate) present: u64,
    pub(crate) present_ids: u64,
    /// Over every value of those records.
    pub(crate) values: u64,
    /// Records that say a row is gone.
    pub(crate) deleted: u64,
    pub(crate) deleted_ids: u64,
}

/// A 64-bit mix (FNV-1a, then an avalanche), so that sums of it tell sets apart.
fn mixed(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// The parts of our own records; a peer's record is the row alone.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    operation: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
    #[serde(borrow)]
    rows: Option<Vec<&'a RawValue>>,
}

type Row<'a> = BTreeMap<&'a str, &'a RawValue>;

impl Tally {
    /// Adds the records of one body: a record, a list, a list under `rows`, or JSON lines.
    pub(crate) fn add_body(&mut self, body: &[u8]) -> Result<(), String> {
        let unclear = |error: serde_json::Error| format!("a body is not understood: {error}");
        if body.trim_ascii_start().first() == Some(&b'[') {
            let list: Vec<&RawValue> = serde_json::from_slice(body).map_err(unclear)?;
            return list.into_iter().try_for_each(|record| self.add(record));
        }
        let values = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
        for value in values {
            self.add(value.map_err(unclear)?)?;
        }
        Ok(())
    }

    fn add(&mut self, record: &RawValue) -> Result<(), String> {
        let unclear = |error: serde_json::Error| format!("a record is not understood: {error}");
        let envelope: Envelope = serde_json::from_str(record.get()).map_err(unclear)?;
        if let Some(rows) = envelope.rows {
            return rows.into_iter().try_for_each(|row| self.add(row));
        }
        let (fields, key) = match (envelope.fields, envelope.key) {
            (Some(fields), Some(key)) => (fields, key),
            _ => (record, record),
        };
        let key: Row = serde_json::from_str(key.get()).map_err(unclear)?;
        let id = key.get("id").ok_or("a record has no id")?;
        let id = mixed(id.get().trim_matches('"').as_bytes());
        if envelope.operation.is_some_and(|o| o.get() == "\"delete\"") {
            self.deleted += 1;
            self.deleted_ids = self.deleted_ids.wrapping_add(id);
        } else {
            let row: Row = serde_json::from_str(fields.get()).map_err(unclear)?;
            self.present += 1;
            self.present_ids = self.present_ids.wrapping_add(id);
            self.values = self.values.wrapping_add(values(&row)?);
        }
        Ok(())
    }

    /// Why this is not what was expected; `None` when it is. `values`: compare every value too.
    pub(crate) fn differs(&self, expected: &Self, values: bool) -> Option<String> {
        let same = (self.present, self.deleted) == (expected.present, expected.deleted);
        if !same {
            return Some(format!(
                "{} records and {} deletes arrived, {} and {} were expected",
                self.present, self.deleted, expected.present, expected.deleted
            ));
        }
        let ids = |tally: &Self| (tally.present_ids, tally.deleted_ids);
        if ids(self) != ids(expected) {
            return Some("other ids arrived than expected".to_owned());
        }
        (values && self.values != expected.values)
            .then(|| "other values arrived than expected".to_owned())
    }
}

/// A row's values by name, whatever their order and spacing.
fn values(row: &Row) -> Result<u64, String> {
    let mut text = Vec::new();
    for (name, value) in row {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        let raw = value.get();
        if raw.contains([' ', '\\', '\n']) {
            // Written anew, so that spacing and escapes don't count.
            let value: serde_json::Value =
                serde_json::from_str(raw).map_err(|error| error.to_string())?;
            text.extend_from_slice(value.to_string().as_bytes());
        } else {
            text.extend_from_slice(raw.as_bytes());
        }
        text.push(b'\n');
    }
    Ok(mixed(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(body: &str) -> Tally {
        let mut tally = Tally::default();
        tally.add_body(body.as_bytes()).unwrap();
        tally
    }

    #[test]
    fn every_form_of_body_is_understood() {
        let single = tally(r#"{"id": 1, "name": "a b"}"#);
        assert_eq!((single.present, single.deleted), (1, 0));
        let ours = r#"{"operation":"upsert","key":{"id":1},"fields":{"name":"a b","id":1}}"#;
        assert_eq!(tally(ours), single, "the order of names does not matter");
        let two = tally("{\"id\":1,\"name\":\"a b\"}\n{\"id\":2,\"name\":\"c\"}\n");
        assert_eq!(tally(r#"[{"id":2,"name":"c"},{"name":"a b","id":1}]"#), two);
        assert_eq!(
            tally(r#"{"rows": [{"id":2,"name":"c"},{"id":1,"name":"a b"}]}"#),
            two
        );
        let gone = tally(r#"{"operation":"delete","key":{"id":"7"},"fields":{}}"#);
        assert_eq!((gone.present, gone.deleted), (0, 1));
    }

    #[test]
    fn a_missing_a_doubled_and_a_changed_record_are_found() {
        let expected = tally(r#"[{"id":1,"n":1},{"id":2,"n":2}]"#);
        let differs = |body: &str, values| tally(body).differs(&expected, values);
        assert_eq!(differs(r#"[{"id":2,"n":2},{"id":1,"n":1}]"#, true), None);
        assert!(differs(r#"[{"id":1,"n":1}]"#, true).is_some());
        assert!(differs(r#"[{"id":1,"n":1},{"id":1,"n":1}]"#, true).is_some());
        let changed = r#"[{"id":1,"n":1},{"id":2,"n":3}]"#;
        assert!(differs(changed, true).is_some());
        assert_eq!(differs(changed, false), None);
    }

    #[test]
    fn documents_are_compared_without_their_spacing() {
        assert_eq!(
            tally(r#"{"id":1,"a":{"x": 1, "y": [1, 2]}}"#),
            tally(r#"{"id":1,"a":{"x":1,"y":[1,2]}}"#)
        );
    }
}
