//! The `file` connector: a run's file appears whole or not at all.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use std::path::Path;

use rowcast_core::record::Operation;
use rowcast_core::{CheckStatus, Code, Destination, DestinationConfig, Mode, Outcome, Value};
use serde_json::{Value as Json, json};
use support::{batch, build, config, context, problems, record, upsert};

fn into(folder: &Path, settings: &Json) -> DestinationConfig {
    let mut config = config(settings);
    folder.clone_into(&mut config.project_dir);
    config
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| {
            let names = entries.flatten().map(|e| e.file_name());
            names.map(|n| n.to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

fn lines_config(folder: &Path) -> DestinationConfig {
    into(folder, &json!({ "path": "out/{{ sync }}-{{ run }}.jsonl" }))
}

#[tokio::test]
async fn rule_15_records_are_accepted_until_finish_publishes_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let destination = build("file", lines_config(folder.path()));
    assert!(destination.capabilities().publishes);
    destination.open(&context(12)).await.unwrap();
    let outcomes = destination
        .write(&batch(vec![upsert(1), upsert(2)]))
        .await
        .unwrap();
    assert_eq!(outcomes, vec![Outcome::Accepted; 2]);
    let before = names(&folder.path().join("out"));
    assert!(
        before.iter().all(|name| name.starts_with('.')),
        "{before:?}"
    );
    destination
        .write(&batch(vec![record(Operation::Delete, 3, vec![])]))
        .await
        .unwrap();
    destination.finish().await.unwrap();
    assert_eq!(
        names(&folder.path().join("out")),
        ["customers_to_crm-12.jsonl"]
    );
    let text =
        std::fs::read_to_string(folder.path().join("out/customers_to_crm-12.jsonl")).unwrap();
    let lines: Vec<Json> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["fields"]["email"], "c1@example.com");
    assert_eq!(
        (&lines[2]["operation"], &lines[2]["key"]),
        (&json!("delete"), &json!({ "id": 3 }))
    );
}

#[tokio::test]
async fn rule_15_a_run_that_does_not_finish_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let destination = build("file", lines_config(folder.path()));
    destination.open(&context(12)).await.unwrap();
    destination.write(&batch(vec![upsert(1)])).await.unwrap();
    drop(destination);
    assert!(names(&out).is_empty(), "a failed run leaves nothing");

    // A killed process can't clean up: its leftover is hidden, and the sync's next run removes it,
    // but not those of other syncs.
    std::fs::write(out.join(".rowcast.customers_to_crm.Ab12.part"), "half").unwrap();
    std::fs::write(out.join(".rowcast.customers_to_crm.x.Ab12.part"), "half").unwrap();
    let next = build("file", lines_config(folder.path()));
    next.open(&context(13)).await.unwrap();
    assert_eq!(names(&out), [".rowcast.customers_to_crm.x.Ab12.part"]);
    next.finish().await.unwrap();
    assert_eq!(names(&out).len(), 1, "a run without records makes no file");
}

#[tokio::test]
async fn an_existing_file_is_not_overwritten_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("all.jsonl");
    std::fs::write(&target, "earlier").unwrap();
    let found = problems("file", into(folder.path(), &json!({ "path": "all.jsonl" })));
    assert_eq!(found[0].path, "settings.path");

    let snapshot = json!({ "path": "all.jsonl", "existing": "replace", "body": "fields" });
    let destination = build("file", into(folder.path(), &snapshot));
    destination.open(&context(12)).await.unwrap();
    destination.write(&batch(vec![upsert(1)])).await.unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "earlier");
    destination.finish().await.unwrap();
    let text = std::fs::read_to_string(&target).unwrap();
    assert_eq!(text, "{\"email\":\"c1@example.com\"}\n");

    let run = into(folder.path(), &json!({ "path": "{{ run }}.jsonl" }));
    std::fs::write(folder.path().join("12.jsonl"), "earlier").unwrap();
    let fault = build("file", run).open(&context(12)).await.unwrap_err();
    assert_eq!(fault.reason().code, Code::FileUnwritable);
}

#[tokio::test]
async fn a_run_may_be_split_into_files_of_bounded_size() {
    for (format, header) in [("jsonl", 0), ("csv", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let settings = json!({
            "path": "day={{ day }}/{{ run }}-{{ part }}", "format": format, "split": "1MB",
        });
        let destination = build("file", into(folder.path(), &settings));
        destination.open(&context(12)).await.unwrap();
        let long = |id| {
            record(
                Operation::Upsert,
                id,
                vec![("t", "x".repeat(10_000).into())],
            )
        };
        for first in (0..250).step_by(50) {
            let records = (first..first + 50).map(long).collect();
            destination.write(&batch(records)).await.unwrap();
        }
        let out = folder.path().join("day=29");
        assert!(names(&out).iter().all(|name| name.starts_with('.')));
        destination.finish().await.unwrap();
        assert_eq!(names(&out), ["12-00001", "12-00002", "12-00003"]);
        let mut lines = 0;
        for name in names(&out) {
            let text = std::fs::read_to_string(out.join(name)).unwrap();
            assert!(text.len() < 1_050_000);
            lines += text.lines().count() - header;
        }
        assert_eq!(lines, 250, "{format}");
    }
}

async fn csv(settings: &Json, mode: Mode, records: Vec<Vec<rowcast_core::Record>>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings.clone();
    settings["path"] = json!("{{ run }}.csv");
    settings["format"] = json!("csv");
    let mut config = into(folder.path(), &settings);
    config.mode = mode;
    let destination = build("file", config);
    destination.open(&context(12)).await.unwrap();
    for records in records {
        destination.write(&batch(records)).await.unwrap();
    }
    destination.finish().await.unwrap();
    std::fs::read_to_string(folder.path().join("12.csv")).unwrap()
}

#[tokio::test]
async fn csv_columns_are_the_same_for_all_rows_of_a_file() {
    let with = |id, fields| record(Operation::Upsert, id, fields);
    let text = csv(
        &json!({}),
        Mode::Mirror,
        vec![
            vec![record(Operation::Delete, 9, vec![])],
            vec![
                with(1, vec![("name", Value::from("a,\"b\"\nc"))]),
                with(2, vec![("plan", Value::Null), ("name", Value::from("é"))]),
            ],
        ],
    )
    .await;
    assert_eq!(
        text,
        "operation,key.id,name,plan\r\ndelete,9,,\r\nupsert,1,\"a,\"\"b\"\"\nc\",\r\nupsert,2,é,\r\n"
    );
}

#[tokio::test]
async fn csv_cells_are_text_for_a_spreadsheet_and_numbers_stay_numbers() {
    let fields = || {
        vec![
            ("a", Value::from("=1+1")),
            ("b", Value::Int(-5)),
            ("c", Value::Decimal("-1.50".into())),
            ("d", Value::from("-1.50")),
            ("e", Value::from("@x")),
        ]
    };
    let rows = || vec![vec![record(Operation::Upsert, 1, fields())]];
    let text = csv(&json!({ "body": "fields" }), Mode::Upsert, rows()).await;
    assert_eq!(text, "a,b,c,d,e\r\n'=1+1,-5,-1.50,-1.50,'@x\r\n");
    let keep =
        json!({ "body": "fields", "formulas": "keep", "columns": ["e", "d", "c", "b", "a"] });
    let text = csv(&keep, Mode::Upsert, rows()).await;
    assert_eq!(text, "e,d,c,b,a\r\n@x,-1.50,-1.50,-5,=1+1\r\n");
}

#[tokio::test]
async fn a_field_that_is_no_listed_column_is_rejected_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let settings = json!({ "path": "{{ run }}.csv", "format": "csv", "columns": ["email"] });
    let destination = build("file", into(folder.path(), &settings));
    destination.open(&context(12)).await.unwrap();
    let other = record(Operation::Upsert, 2, vec![("phone", Value::from("1"))]);
    let outcomes = destination
        .write(&batch(vec![upsert(1), other]))
        .await
        .unwrap();
    assert_eq!(outcomes[0], Outcome::Accepted);
    assert!(matches!(&outcomes[1], Outcome::Rejected(r) if r.code == Code::DestinationObject));
    destination.finish().await.unwrap();
    let text = std::fs::read_to_string(folder.path().join("12.csv")).unwrap();
    assert_eq!(
        text,
        "operation,key.id,email\r\nupsert,1,c1@example.com\r\n"
    );
}

#[tokio::test]
async fn check_names_the_folder_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let checks = build("file", lines_config(folder.path())).check().await;
    assert_eq!(checks[0].status, CheckStatus::Passed);
    assert!(names(folder.path()).is_empty());
    let blocked = folder.path().join("out");
    std::fs::write(&blocked, "a file where a folder is needed").unwrap();
    let destination: std::sync::Arc<dyn Destination> = build("file", lines_config(folder.path()));
    destination.open(&context(12)).await.unwrap();
    let fault = destination
        .write(&batch(vec![upsert(1)]))
        .await
        .unwrap_err();
    assert_eq!(fault.reason().code, Code::FileUnwritable);
    assert_eq!(destination.check().await[0].status, CheckStatus::Failed);
}

#[test]
fn wrong_settings_are_named_by_their_path() {
    let folder = Path::new("/nowhere");
    let run = "{{ run }}.x";
    for (settings, mode, path) in [
        (json!({}), Mode::Upsert, "settings.path"),
        (
            json!({ "path": "{{ record.key.id }}" }),
            Mode::Upsert,
            "settings.path",
        ),
        (
            json!({ "path": run, "format": "xml" }),
            Mode::Upsert,
            "settings.format",
        ),
        (
            json!({ "path": run, "columns": ["a"] }),
            Mode::Upsert,
            "settings.columns",
        ),
        (
            json!({ "path": run, "body": "fields" }),
            Mode::Mirror,
            "settings.body",
        ),
    ] {
        let mut config = into(folder, &settings);
        config.mode = mode;
        let found = problems("file", config);
        assert_eq!(found.len(), 1, "{settings}: {found:?}");
        assert_eq!(found[0].path, path);
    }
}
