//! The reserved keys of a mapping: they steer the sync and are no fields of a record.

use super::path;
use super::validate::{Problem, member};
use crate::mode::Mode;
use crate::value::{Name, Object, Value};

const SYNC_MODE: &str = "__segment_internal_sync_mode";
const MATCHING_KEY: &str = "__segment_internal_matching_key";
const ENABLE_BATCHING: &str = "enable_batching";
const BATCH_SIZE: &str = "batch_size";
const BATCH_BYTES: &str = "batch_bytes";
const BATCH_KEYS: &str = "batch_keys";
/// What Segment stored when the mapping was saved there; it means nothing here.
const SAVED: [&str; 2] = ["onMappingSave", "retlOnMappingSave"];

/// Records of one request where a mapping asks for batches and nothing says how large.
pub const BATCH_SIZE_DEFAULT: usize = 1_000;

/// How a mapping wants its records sent together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batching {
    /// `enable_batching`.
    pub enabled: Option<bool>,
    /// `batch_size`: most records of one request.
    pub records_max: Option<usize>,
    /// `batch_bytes`: most bytes of one request.
    pub bytes_max: Option<usize>,
    /// `batch_keys`: records that differ in one of these fields are not sent together.
    pub keys: Vec<Name>,
}

impl Batching {
    /// What the connector is told about the records of one request, given the destination's
    /// `batch:`. `None` leaves it to the connector.
    pub fn configured(&self, records: Option<usize>) -> Option<usize> {
        match self.enabled {
            Some(false) => None,
            Some(true) => {
                let records = records.unwrap_or(BATCH_SIZE_DEFAULT);
                Some(records.min(self.most_records()))
            }
            None => records.map(|records| records.min(self.most_records())),
        }
    }

    /// The most records of one request, whatever the connector could take.
    pub fn most_records(&self) -> usize {
        match (self.enabled, self.records_max) {
            (Some(false), _) => 1,
            (_, Some(max)) => max,
            (_, None) => usize::MAX,
        }
    }
}

/// What the reserved keys of a mapping say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controls {
    pub mode: Option<Mode>,
    /// The field that matches records at the destination, and the column that it is mapped from.
    pub match_on: Option<(Name, Name)>,
    pub batching: Batching,
}

/// Takes the reserved keys out of a mapping.
///
/// # Errors
/// Each of them that can't be understood, with its path.
pub fn split(mapping: Value) -> Result<(Controls, Value), Vec<Problem>> {
    let Value::Object(members) = mapping else {
        return Ok((Controls::default(), mapping));
    };
    let mut reader = Reader::default();
    let controls = reader.controls(&members);
    if !reader.0.is_empty() {
        return Err(reader.0);
    }
    let fields: Object = members
        .into_iter()
        .filter(|(name, _)| !is_reserved(name))
        .collect();
    Ok((controls, Value::Object(fields)))
}

/// The path of the key that sets the sync's mode.
pub fn mode_path() -> String {
    format!("/{SYNC_MODE}")
}

/// The path of the key that sets the sync's `match_on`.
pub fn match_path() -> String {
    format!("/{MATCHING_KEY}")
}

fn is_reserved(name: &str) -> bool {
    [
        SYNC_MODE,
        MATCHING_KEY,
        ENABLE_BATCHING,
        BATCH_SIZE,
        BATCH_BYTES,
        BATCH_KEYS,
    ]
    .contains(&name)
        || SAVED.contains(&name)
}

#[derive(Default)]
struct Reader(Vec<Problem>);

impl Reader {
    fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.0.push(Problem {
            path: format!("/{name}"),
            message: message.into(),
        });
    }

    fn controls(&mut self, members: &Object) -> Controls {
        Controls {
            mode: self.mode(members),
            match_on: self.match_on(members),
            batching: Batching {
                enabled: self.enabled(members),
                records_max: self.number(members, BATCH_SIZE),
                bytes_max: self.number(members, BATCH_BYTES),
                keys: self.keys(members),
            },
        }
    }

    fn mode(&mut self, members: &Object) -> Option<Mode> {
        match stated(members, SYNC_MODE)? {
            Value::Text(word) => {
                let mode = match &**word {
                    "add" => Some(Mode::Insert),
                    "insert" => None,
                    word => Mode::parse(word),
                };
                if mode.is_none() {
                    self.problem(
                        SYNC_MODE,
                        format!(
                            "must be add, update, upsert, delete or mirror, and it is {word:?}"
                        ),
                    );
                }
                mode
            }
            _ => {
                self.problem(
                    SYNC_MODE,
                    "must be one of the words add, update, upsert, delete and mirror",
                );
                None
            }
        }
    }

    fn match_on(&mut self, members: &Object) -> Option<(Name, Name)> {
        let field = match stated(members, MATCHING_KEY)? {
            Value::Text(field) if !field.is_empty() => field,
            Value::Text(_) => return None,
            _ => {
                self.problem(MATCHING_KEY, "must be the name of a field of the mapping");
                return None;
            }
        };
        let Some(rule) = member(members, field) else {
            let message = format!("names the field {field:?}, which the mapping does not have");
            self.problem(MATCHING_KEY, message);
            return None;
        };
        let column = column_of(rule);
        if column.is_none() {
            self.problem(
                MATCHING_KEY,
                format!(
                    "names the field {field:?}, which is not simply a column; compute its value in \
                     the model and map it as {{\"@path\": \"$.properties.COLUMN\"}}"
                ),
            );
        }
        column.map(|column| ((&**field).into(), column))
    }

    fn enabled(&mut self, members: &Object) -> Option<bool> {
        match stated(members, ENABLE_BATCHING)? {
            Value::Bool(enabled) => Some(*enabled),
            _ => {
                self.problem(ENABLE_BATCHING, "must be true or false, for all rows alike");
                None
            }
        }
    }

    fn number(&mut self, members: &Object, name: &str) -> Option<usize> {
        let number = match stated(members, name)? {
            Value::Int(number) => usize::try_from(*number).ok(),
            Value::Text(digits) => digits.parse().ok(),
            _ => None,
        }
        .filter(|number| *number > 0);
        if number.is_none() {
            self.problem(name, "must be a whole number from 1, for all rows alike");
        }
        number
    }

    fn keys(&mut self, members: &Object) -> Vec<Name> {
        let Some(stated) = stated(members, BATCH_KEYS) else {
            return Vec::new();
        };
        let names = match stated {
            Value::List(items) => items
                .iter()
                .map(|item| item.as_text().map(Name::from))
                .collect::<Option<Vec<Name>>>(),
            _ => None,
        };
        if names.is_none() {
            self.problem(BATCH_KEYS, "must be a list of names of fields");
        }
        names.unwrap_or_default()
    }
}

/// The value of a key, which may stand inside `@literal`; null is as good as nothing.
fn stated<'a>(members: &'a Object, name: &str) -> Option<&'a Value> {
    let value = member(members, name)?;
    let value = match value {
        Value::Object(inner) => match inner.as_slice() {
            [(directive, value)] if &**directive == "@literal" => value,
            _ => value,
        },
        value => value,
    };
    (!value.is_null()).then_some(value)
}

/// The column of a rule that is one column and nothing else.
fn column_of(rule: &Value) -> Option<Name> {
    let Value::Object(members) = rule else {
        return None;
    };
    let mut directives = members.iter().filter(|(name, _)| &**name != "_metadata");
    let (Some((name, Value::Text(text))), None) = (directives.next(), directives.next()) else {
        return None;
    };
    if &**name != "@path" {
        return None;
    }
    match path::pieces(&path::without_root(text)).as_slice() {
        [root, column] if root == "properties" => Some(column.as_str().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{from_json, to_json};

    fn read(mapping: &str) -> Result<(Controls, String), String> {
        match split(from_json(mapping).unwrap()) {
            Ok((controls, fields)) => Ok((controls, to_json(&fields))),
            Err(problems) => Err(problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")),
        }
    }

    #[test]
    fn reserved_keys_steer_the_sync_and_are_no_fields() {
        let (controls, fields) = read(
            r#"{"email":{"@path":"$.properties.mail"},"__segment_internal_sync_mode":"add",
                "__segment_internal_matching_key":"email","enable_batching":{"@literal":true},
                "batch_size":"50","batch_bytes":4000,"batch_keys":["url","method"],"onMappingSave":{"x":1}}"#,
        )
        .unwrap();
        assert_eq!(fields, r#"{"email":{"@path":"$.properties.mail"}}"#);
        assert_eq!(controls.mode, Some(Mode::Insert));
        assert_eq!(controls.match_on, Some(("email".into(), "mail".into())));
        assert_eq!(
            controls.batching,
            Batching {
                enabled: Some(true),
                records_max: Some(50),
                bytes_max: Some(4000),
                keys: vec!["url".into(), "method".into()],
            }
        );
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let problems = read(
            r#"{"email":{"@case":{"operator":"lower","value":"x"}},"__segment_internal_sync_mode":"insert",
                "__segment_internal_matching_key":"email","enable_batching":"yes","batch_size":0,"batch_keys":"url"}"#,
        )
        .unwrap_err();
        for part in [
            "/__segment_internal_sync_mode must be add",
            "/__segment_internal_matching_key names the field \"email\", which is not simply a column",
            "/enable_batching must be true or false",
            "/batch_size must be a whole number",
            "/batch_keys must be a list",
        ] {
            assert!(problems.contains(part), "{part} in {problems}");
        }
        assert!(
            read(r#"{"__segment_internal_matching_key":"id"}"#)
                .unwrap_err()
                .contains("does not have")
        );
    }

    #[test]
    fn batches_are_as_large_as_mapping_and_destination_allow() {
        let batching = |enabled, records_max| Batching {
            enabled,
            records_max,
            ..Batching::default()
        };
        for (enabled, records_max, configured, expected) in [
            (None, None, None, None),
            (None, Some(5), None, None),
            (None, Some(5), Some(100), Some(5)),
            (Some(false), Some(5), Some(100), None),
            (Some(true), None, None, Some(BATCH_SIZE_DEFAULT)),
            (Some(true), Some(5), None, Some(5)),
            (Some(true), Some(500), Some(100), Some(100)),
        ] {
            assert_eq!(
                batching(enabled, records_max).configured(configured),
                expected
            );
        }
        assert_eq!(batching(Some(false), Some(5)).most_records(), 1);
        assert_eq!(batching(None, Some(5)).most_records(), 5);
    }
}
