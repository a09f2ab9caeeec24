//! Hostile values through the `http` and `file` connectors: a value is a value, in a path, a query,
//! a header, a body, a cell and a file's name.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use rowcast_core::record::Operation;
use rowcast_core::{Outcome, Value};
use rowcast_testkit::api::Api;
use serde_json::{Value as Json, json};
use support::{batch, build, config, context, problems, record, settings};

/// Values that would become something else if they were pasted.
const VALUES: [&str; 30] = [
    "../admin",
    "..",
    ".",
    "%2e%2e",
    "..%2fadmin",
    "a/b",
    "a\\b",
    "a%2fb",
    "a%00b",
    "a\0b",
    "?admin=true",
    "&admin=true",
    "#fragment",
    ";v=1",
    "a@evil.example",
    "//evil.example/",
    "https://evil.example/",
    "javascript:alert(1)",
    "a\r\nX-Admin: 1",
    "a\nX-Admin: 1",
    "a\r\n\r\n{\"admin\":true}",
    "a\u{2028}b",
    "\",\"admin\":true,\"x\":\"",
    "\"}],\"admin\":[{\"x\":\"",
    "\\\",\"admin\":true,\"x\":\"",
    "\\u0022,\"admin\":true",
    "{{ record.key.id }}",
    "${env:HOME}",
    "<script>alert(1)</script>",
    "\u{1b}[2J\u{202e}",
];

#[tokio::test]
async fn injection_values_stay_in_their_segment_parameter_header_and_member() {
    let api = Api::start();
    let mut config = config(&json!({ "base_url": api.url("/v1") }));
    config.request = settings(&json!({ "upsert": {
        "put": "/c/{{ record.fields.a }}/end?q={{ record.fields.a }}&fixed=1",
        "headers": { "X-Name": "{{ record.fields.h }}" },
        "body": { "a": "{{ record.fields.a }}", "text": "<{{ record.fields.a }}>", "sibling": 7 },
    } }));
    let destination = build("http", config);
    let mut cases = 0;
    for value in VALUES {
        let before = api.requests();
        let fields = vec![("a", Value::from(value)), ("h", Value::from("plain"))];
        let outcome = destination
            .write(&batch(vec![record(Operation::Upsert, 1, fields)]))
            .await;
        cases += 1;
        if value == "." || value == ".." {
            assert!(
                matches!(outcome.as_deref(), Ok([Outcome::Rejected(_)])),
                "{value:?}: {outcome:?}"
            );
            assert_eq!(api.requests(), before, "{value:?} was sent");
            continue;
        }
        assert!(outcome.is_ok(), "{value:?}: {outcome:?}");
        let seen = api.log().pop().unwrap();
        let (path, query) = seen.target.split_once('?').unwrap();
        let segments: Vec<&str> = path.split('/').collect();
        assert!(
            matches!(segments.as_slice(), ["", "v1", "c", _, "end"]),
            "{value:?}: {}",
            seen.target
        );
        assert_eq!(decoded(segments[3]), value, "{}", seen.target);
        let parameters: Vec<&str> = query.split('&').collect();
        assert!(
            matches!(parameters.as_slice(), [_, "fixed=1"]),
            "{value:?}: {query}"
        );
        assert_eq!(decoded(&parameters[0][2..]), value);
        assert_eq!(seen.header("x-admin"), None, "{value:?}");
        let body: Json = serde_json::from_slice(&seen.body).unwrap();
        let wanted = json!({ "a": value, "text": format!("<{value}>"), "sibling": 7 });
        assert_eq!(body, wanted, "{value:?}");
    }
    // In a header a line break is refused, everything else stays in its line.
    for value in VALUES {
        let before = api.requests();
        let fields = vec![("a", Value::from("a")), ("h", Value::from(value))];
        let outcome = destination
            .write(&batch(vec![record(Operation::Upsert, 1, fields)]))
            .await;
        cases += 1;
        if value.contains(['\r', '\n', '\0', '\u{1b}']) {
            assert!(
                matches!(outcome.as_deref(), Ok([Outcome::Rejected(_)])),
                "{value:?}: {outcome:?}"
            );
            assert_eq!(api.requests(), before, "{value:?} was sent");
        } else if api.requests() > before {
            let seen = api.log().pop().unwrap();
            assert_eq!(seen.header("x-admin"), None, "{value:?}");
            let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert!(!names.contains(&"x-admin"), "{names:?}");
        }
    }
    // The record form of the body, in which nothing is a template.
    let destination = build("http", support::config(&json!({ "url": api.url("/hook") })));
    for value in VALUES {
        let fields = vec![("a", Value::from(value)), ("sibling", Value::Int(7))];
        let records = batch(vec![record(Operation::Upsert, 1, fields)]);
        destination.write(&records).await.unwrap();
        let body: Json = serde_json::from_slice(&api.log().pop().unwrap().body).unwrap();
        assert_eq!(body["fields"], json!({ "a": value, "sibling": 7 }));
        cases += 1;
    }
    assert!(cases >= 90, "{cases}");
}

/// Percent-encoding undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: Vec<u8> = rest.by_ref().take(2).collect();
            let hex = String::from_utf8(hex).unwrap();
            bytes.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn injection_cells_of_csv_are_text_to_a_spreadsheet() {
    let cells = [
        "=1+1",
        "=HYPERLINK(\"https://evil.example\",\"x\")",
        "=cmd|' /C calc'!A0",
        "+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "\"=1+1\"",
        "a\",\"=1+1",
        "a\r\n=1+1,b",
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&json!({ "path": "out-{{ run }}.csv", "format": "csv" }));
    folder.path().clone_into(&mut config.project_dir);
    let destination = build("file", config);
    destination.open(&context(12)).await.unwrap();
    for (id, cell) in cells.into_iter().enumerate() {
        let fields = vec![("a", Value::from(cell)), ("end", Value::from("end"))];
        let records = batch(vec![record(Operation::Upsert, id as i64, fields)]);
        destination.write(&records).await.unwrap();
    }
    destination.finish().await.unwrap();
    let text = std::fs::read_to_string(folder.path().join("out-12.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), cells.len(), "{text}");
    for (row, cell) in rows.iter().zip(cells) {
        assert_eq!(row.get(row.len() - 1), Some("end"), "{text}");
        let found = row.get(row.len() - 2).unwrap();
        assert!(
            !found.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']),
            "{found:?}"
        );
        assert_eq!(found.trim_start_matches('\''), cell);
    }
}

#[tokio::test]
async fn injection_names_do_not_lead_out_of_the_folder() {
    let objects = [
        "..",
        "../x",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        ".hidden",
        "",
        "\u{1b}[2J",
    ];
    let folder = tempfile::tempdir().unwrap();
    for object in objects {
        let mut config = config(&json!({ "path": "in/{{ object }}-{{ run }}" }));
        folder.path().clone_into(&mut config.project_dir);
        let destination = build("file", config);
        let mut context = (*context(1)).clone();
        context.object = object.into();
        let opened = destination.open(&std::sync::Arc::new(context)).await;
        assert!(opened.is_err(), "{object:?}");
    }
    let inside = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(inside, 0, "something was written");
    for path in ["{{ record.key.id }}", "{{ record.fields.a }}", "out/", ""] {
        let problems = problems("file", config(&json!({ "path": path })));
        assert!(!problems.is_empty(), "{path:?}");
    }
}
