//! Segment's mapping language and triggers against the published cases.
//!
//! The cases lie beside the repository, in the folder `shared/conformance`, or in the one that
//! `ROWCAST_CONFORMANCE` names, and are never copied in. A clone without them leaves these tests
//! out and says so; where `CI` is set they must be there, all of them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rowcast_core::Value;
use rowcast_core::json::from_json;
use rowcast_core::segment::{Mapping, Trigger};

/// The cases of a file; `None` when the folder is not there and need not be.
fn cases(file: &str, count: usize) -> Option<Vec<Value>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let beside = repository.with_file_name("shared").join("conformance");
    let folder = std::env::var_os("ROWCAST_CONFORMANCE").map_or(beside, PathBuf::from);
    let path = folder.join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "the published cases are not at {}",
            path.display()
        );
        // Past the harness, which shows nothing of a test that passes; `cargo xtask test` repeats it.
        let said = writeln!(
            std::io::stdout(),
            "\nleft out: the published cases are not at {}",
            path.display()
        );
        said.unwrap();
        return None;
    };
    let cases: Vec<Value> = text.lines().map(|line| from_json(line).unwrap()).collect();
    assert_eq!(cases.len(), count, "cases in {}", path.display());
    Some(cases)
}

/// Numbers compare by value, members in any order.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Int(value) => Some(*value as f64),
        Value::Decimal(digits) => digits.parse::<f64>().ok(),
        _ => None,
    };
    match (a, b) {
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.iter().any(|(other, b)| name == other && same(a, b)))
        }
        _ => a == b || number(a).is_some() && number(a) == number(b),
    }
}

#[test]
fn mappings_give_what_segment_gives() {
    let Some(cases) = cases("mapping-kit/cases.jsonl", 205) else {
        return;
    };
    let mut failed = Vec::new();
    for case in &cases {
        let name = case.get("name").unwrap().as_text().unwrap();
        let result = Mapping::new(case.get("mapping").unwrap().clone())
            .map_err(|problems| format!("{problems:?}"))
            .and_then(|mapping| mapping.transform(case.get("payload").unwrap(), 0));
        let right = match (&result, case.get("expect")) {
            (Ok(value), Some(expected)) => value.as_ref().is_some_and(|v| same(v, expected)),
            (Err(_), None) => true,
            _ => false,
        };
        if !right {
            failed.push(format!("{name}: {result:?}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}

#[test]
fn triggers_decide_as_segment_does() {
    let Some(cases) = cases("triggers/cases.jsonl", 281) else {
        return;
    };
    let mut failed = Vec::new();
    for case in &cases {
        if case.get("quirk").is_some() {
            continue;
        }
        let text = case.get("fql").unwrap().as_text().unwrap();
        let trigger = Trigger::parse(text);
        let right = match (&trigger, case.get("expect")) {
            (Ok(trigger), Some(Value::Bool(expected))) => {
                trigger.matches(case.get("event").unwrap()) == *expected
            }
            (Err(_), None) => true,
            _ => false,
        };
        if !right {
            failed.push(format!("{text}: {trigger:?}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}
