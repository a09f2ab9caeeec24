//! `test`: given rows, expected records. No database, no network, no secrets.

use rowcast_core::json::{to_json, to_text};
use rowcast_core::key::KeyPart;
use rowcast_core::segment::Occasion;
use rowcast_core::{Code, Key, Kind, Name, Object, Reason, Row, Value};
use schemars::JsonSchema;
use serde::Serialize;

use crate::map::{by_name, context, now_us, row};
use crate::project::unknown;
use crate::{Answer, Project, wire};

/// How one test ended.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TestResult {
    pub test: String,
    pub sync: String,
    pub rows: usize,
    pub passed: bool,
    pub differences: Vec<Difference>,
}

/// One value that is not what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// From 1.
    pub row: usize,
    /// Where in the record: `address.city`; empty for the record itself.
    pub path: String,
    /// As JSON, or `nothing`.
    pub expected: String,
    pub got: String,
}

/// Runs the named tests, or all.
///
/// # Errors
/// There is no such test, or the project has none.
pub fn run(project: &Project, names: &[String]) -> Answer<Vec<TestResult>> {
    let tests = &project.config.tests;
    if let Some(name) = names.iter().find(|name| !tests.contains_key(*name)) {
        return Err(unknown("test", name, tests.keys()));
    }
    if tests.is_empty() {
        return Err(
            Reason::new(Code::UnknownReference, "the project has no tests")
                .hint("write one in tests/NAME.yml: `test:`, `sync:`, `rows:` and `expect:`")
                .into(),
        );
    }
    tests
        .values()
        .filter(|test| names.is_empty() || names.contains(&test.name))
        .map(|test| one(project, test))
        .collect()
}

fn one(project: &Project, test: &rowcast_config::Test) -> Answer<TestResult> {
    let sync = project.sync(&test.sync)?;
    let model = project.model(&sync.model)?;
    let keys: Vec<Name> = model
        .primary_key
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    // The identity is no part of a test: only the key's text in a row event is.
    let mapper = wire::mapper(project, sync, Some(model), &[], None)?;
    let gate = wire::gate::of(project, sync, None)?;
    let started_at = test
        .now
        .map_or_else(now_us, jiff::Timestamp::as_microsecond);
    let context = context(&sync.name, started_at);
    let mut differences = Vec::new();
    for (i, (given, expected)) in test.rows.iter().zip(&test.expect).enumerate() {
        let columns = match given {
            Value::Object(columns) => columns.clone(),
            _ => Object::new(),
        };
        let row = row(&*mapper, columns);
        let key = key(&row, &keys);
        let kind = test.change.unwrap_or(Kind::Added);
        // Of a removed row there is nothing but its key, unless its values were kept.
        let known = kind != Kind::Removed || sync.keep_rows;
        let occasion = Occasion {
            kind,
            key: key.as_ref(),
            row: known.then_some(&row),
        };
        let got = if test.change.is_some() && !is_sent(sync, kind) {
            said("skipped", "mode".to_owned())
        } else {
            match gate.pass(&occasion, None, started_at) {
                Err(reason) if reason.code == Code::ConsentMissing => {
                    said("skipped", "consent".to_owned())
                }
                Err(_) => said("skipped", "trigger".to_owned()),
                Ok(_) => match mapper.fields_at(&occasion, &context) {
                    Ok(fields) => Value::Object(fields),
                    Err(reason) => said("error", reason.to_string()),
                },
            }
        };
        compare(i + 1, "", expected, &got, &mut differences);
    }
    if test.rows.len() != test.expect.len() {
        differences.push(Difference {
            row: test.rows.len().min(test.expect.len()) + 1,
            path: String::new(),
            expected: format!("{} records", test.expect.len()),
            got: format!("{} rows", test.rows.len()),
        });
    }
    Ok(TestResult {
        test: test.name.clone(),
        sync: sync.name.clone(),
        rows: test.rows.len(),
        passed: differences.is_empty(),
        differences,
    })
}

fn is_sent(sync: &rowcast_config::Sync, kind: Kind) -> bool {
    sync.on.includes(kind) && sync.mode.operation(kind).is_some()
}

fn said(name: &str, word: String) -> Value {
    Value::Object(vec![(name.into(), Value::from(word))])
}

/// The key of a given row, if it has all columns of it.
fn key(row: &Row, names: &[Name]) -> Option<Key> {
    let part = |name: &Name| match row.get(name)? {
        Value::Null => None,
        Value::Int(value) => Some(KeyPart::Int(*value)),
        Value::Decimal(digits) => Some(KeyPart::Decimal(digits.clone())),
        other => Some(KeyPart::Text(to_text(other).into())),
    };
    let parts: Vec<KeyPart> = names.iter().map(part).collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| Key(parts.into()))
}

/// Compares as JSON; objects without regard to order. An expected `error` needs only be contained in
/// the message.
fn compare(row: usize, path: &str, expected: &Value, got: &Value, out: &mut Vec<Difference>) {
    let differ = |expected: String, got: String, path: &str| Difference {
        row,
        path: path.to_owned(),
        expected,
        got,
    };
    match (expected, got) {
        (Value::Object(wanted), Value::Object(found)) => {
            let (wanted, found) = (by_name(wanted), by_name(found));
            let mut names: Vec<&str> = wanted.keys().chain(found.keys()).copied().collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let path = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                };
                match (wanted.get(name), found.get(name)) {
                    (Some(Value::Text(part)), Some(Value::Text(whole)))
                        if path == "error" && whole.contains(&**part) => {}
                    (Some(wanted), Some(found)) => compare(row, &path, wanted, found, out),
                    (Some(wanted), None) => {
                        out.push(differ(to_json(wanted), "nothing".into(), &path));
                    }
                    (None, Some(found)) => {
                        out.push(differ("nothing".into(), to_json(found), &path));
                    }
                    (None, None) => {}
                }
            }
        }
        (expected, got) if to_json(expected) == to_json(got) => {}
        (expected, got) => out.push(differ(to_json(expected), to_json(got), path)),
    }
}

#[cfg(test)]
mod tests {
    use rowcast_core::json::from_json;

    use super::*;

    fn differences(expected: &str, got: &str) -> Vec<String> {
        let mut out = Vec::new();
        compare(
            1,
            "",
            &from_json(expected).unwrap(),
            &from_json(got).unwrap(),
            &mut out,
        );
        out.into_iter()
            .map(|d| format!("{}: {} != {}", d.path, d.expected, d.got))
            .collect()
    }

    #[test]
    fn records_are_compared_by_field_and_a_message_by_its_part() {
        assert!(differences(r#"{"a":1,"b":{"c":2}}"#, r#"{"b":{"c":2},"a":1}"#).is_empty());
        assert_eq!(
            differences(r#"{"a":1,"b":{"c":2}}"#, r#"{"b":{"c":"2"},"d":null}"#),
            ["a: 1 != nothing", "b.c: 2 != \"2\"", "d: nothing != null"]
        );
        assert!(
            differences(
                r#"{"error":"not a number"}"#,
                r#"{"error":"cast: x is not a number"}"#
            )
            .is_empty()
        );
        assert_eq!(differences(r#"{"a":1}"#, r#"{"error":"x"}"#).len(), 2);
    }
}
