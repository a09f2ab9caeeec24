//! Generated mappings and triggers give the same here and in Segment's own packages.
//!
//! A test of development, in the layer `parity`: it installs the packages from the npm registry
//! into the folder of this crate's test files and needs `npm` and `node`.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "segment_parity/generate.rs"]
mod generate;

use std::path::Path;
use std::process::Command;

use generate::Seeded;
use rowcast_core::Value;
use rowcast_core::json::{from_json, to_json};
use rowcast_core::segment::{Mapping, Trigger};

/// Pairs of mapping and payload, and of trigger and event.
const CASES: u64 = 2_000;

/// What the packages answer, a line for a case.
fn peer(name: &str, cases: &[String]) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("segment-parity");
    std::fs::create_dir_all(&folder).unwrap();
    if !folder.join("node_modules/@segment/actions-core").exists() {
        let installed = Command::new("npm")
            .args(["install", "--ignore-scripts", "--no-save", "--prefix"])
            .arg(&folder)
            .args(["@segment/actions-core@3.170.0", "liquidjs@10.27.0"])
            .status()
            .expect("npm runs: install Node.js 20 with npm");
        assert!(installed.success(), "npm could not install the packages");
    }
    let (script, file) = (
        folder.join("peer.cjs"),
        folder.join(format!("{name}.jsonl")),
    );
    std::fs::write(&script, include_str!("segment_parity/peer.cjs")).unwrap();
    std::fs::write(&file, cases.join("\n")).unwrap();
    let output = Command::new("node")
        .arg(&script)
        .arg(&file)
        .env("TZ", "UTC")
        .output()
        .expect("node runs: install Node.js 20");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| from_json(line).unwrap())
        .collect();
    assert_eq!(answers.len(), cases.len());
    answers
}

/// JSON with members in order of their names and numbers as doubles.
fn plain(value: &Value) -> String {
    match value {
        Value::Int(value) => format!("{:?}", *value as f64),
        Value::Decimal(digits) => format!("{:?}", digits.parse::<f64>().unwrap()),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, v)| format!("{name}:{}", plain(v)))
                .collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        other => to_json(other),
    }
}

fn judge(cases: &[String], ours: impl Fn(&Value) -> String, answers: &[Value]) {
    let mut different = Vec::new();
    let mut errors = 0;
    for (case, answer) in cases.iter().zip(answers) {
        let theirs = match (answer.get("value"), answer.get("absent")) {
            (Some(value), _) => plain(value),
            (None, Some(_)) => "absent".into(),
            (None, None) => "error".into(),
        };
        errors += usize::from(theirs == "error");
        let ours = ours(&from_json(case).unwrap());
        if ours != theirs {
            different.push(format!("{case}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    let shown = different
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        different.is_empty(),
        "{} of {} differ:\n{shown}",
        different.len(),
        cases.len()
    );
    // Cases that mostly fail would prove nothing.
    assert!(
        errors * 2 < cases.len(),
        "{errors} of {} are errors",
        cases.len()
    );
}

#[test]
fn mappings_give_the_same_as_segments_package() {
    let cases: Vec<String> = (0..CASES)
        .map(|seed| {
            let mut seeded = Seeded::new(seed + 1);
            let mapping = seeded.root();
            format!("{{\"mapping\":{mapping},\"payload\":{}}}", seeded.object(3))
        })
        .collect();
    let ours = |case: &Value| {
        let result = Mapping::new(case.get("mapping").unwrap().clone())
            .map_err(|problems| format!("{problems:?}"))
            .and_then(|mapping| mapping.transform(case.get("payload").unwrap(), 0));
        match result {
            Ok(Some(value)) => plain(&value),
            Ok(None) => "absent".into(),
            Err(_) => "error".into(),
        }
    };
    judge(&cases, ours, &peer("mappings", &cases));
}

#[test]
fn triggers_decide_the_same_as_segments_package() {
    let cases: Vec<String> = (0..CASES)
        .map(|seed| {
            let mut seeded = Seeded::new(seed + 1);
            let fql = to_json(&Value::text(seeded.trigger()));
            format!("{{\"fql\":{fql},\"event\":{}}}", seeded.event())
        })
        .collect();
    let ours = |case: &Value| match Trigger::parse(case.get("fql").unwrap().as_text().unwrap()) {
        Ok(trigger) => trigger.matches(case.get("event").unwrap()).to_string(),
        Err(_) => "error".into(),
    };
    judge(&cases, ours, &peer("triggers", &cases));
}
