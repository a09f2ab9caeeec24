//! Parquet in the `file` connector: types survive, and a value that does not fit harms only its
//! record.

#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use std::path::Path;

use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use rowcast_core::record::Operation;
use rowcast_core::{Code, DestinationConfig, Mode, Outcome, Record, Value};
use serde_json::{Value as Json, json};
use support::{batch, build, config, context, problems, record, rejected};

fn into(folder: &Path, more: &Json) -> DestinationConfig {
    let base = json!({ "path": "{{ run }}.parquet", "format": "parquet" });
    let mut config = config(&support::with(base, more));
    folder.clone_into(&mut config.project_dir);
    config
}

fn upsert(id: i64, fields: Vec<(&str, Value)>) -> Record {
    record(Operation::Upsert, id, fields)
}

fn decimal(text: &str) -> Value {
    Value::Decimal(text.into())
}

fn read(path: &Path) -> (Type, Vec<Row>) {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let schema = reader.metadata().file_metadata().schema().clone();
    let rows = reader.get_row_iter(None).unwrap();
    (schema, rows.map(Result::unwrap).collect())
}

/// Writes batches of records to one file and reads it.
async fn written(more: &Json, batches: Vec<Vec<Record>>) -> (Type, Vec<Row>, Vec<Outcome>) {
    let folder = tempfile::tempdir().unwrap();
    let destination = build("file", into(folder.path(), more));
    destination.open(&context(12)).await.unwrap();
    let mut outcomes = Vec::new();
    for records in batches {
        outcomes.extend(destination.write(&batch(records)).await.unwrap());
    }
    destination.finish().await.unwrap();
    let (schema, rows) = read(&folder.path().join("12.parquet"));
    (schema, rows, outcomes)
}

fn logical(schema: &Type, name: &str) -> Option<LogicalType> {
    let field = schema
        .get_fields()
        .iter()
        .find(|field| field.name() == name);
    field.unwrap().get_basic_info().logical_type_ref().cloned()
}

fn value<'a>(row: &'a Row, name: &str) -> &'a Field {
    row.get_column_iter()
        .find(|(column, _)| *column == name)
        .unwrap()
        .1
}

#[tokio::test]
async fn types_survive() {
    let uuid = [
        0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    let all = vec![
        ("yes", Value::Bool(true)),
        ("big", Value::Int(i64::MIN)),
        ("double", Value::float(0.1)),
        (
            "single",
            Value::Float {
                value: f64::from(0.1_f32),
                single: true,
            },
        ),
        ("exact", decimal("-12345678901234567890.1234567890")),
        ("price", decimal("12.50")),
        ("text", Value::from("a\"b\n漢\u{1}")),
        ("bytes", Value::Bytes(Box::from([0, 255, 10]))),
        ("day", Value::Date(-25_567)),
        ("time", Value::Time(86_399_999_999)),
        ("wall", Value::Timestamp(1_709_209_800_500_000)),
        ("instant", Value::TimestampTz(-1)),
        ("id", Value::Uuid(uuid)),
        ("json", Value::Json("{\"a\": 1.0}".into())),
        ("list", Value::List(vec![Value::Int(1), Value::Null])),
    ];
    let nothing = all.iter().map(|(name, _)| (*name, Value::Null)).collect();
    let (schema, rows, _) = written(
        &json!({ "body": "fields" }),
        vec![vec![upsert(1, nothing)], vec![upsert(2, all)]],
    )
    .await;
    assert_eq!(rows.len(), 2);
    assert!(
        rows[0]
            .get_column_iter()
            .all(|(_, field)| *field == Field::Null)
    );
    let row = &rows[1];
    assert_eq!(*value(row, "yes"), Field::Bool(true));
    assert_eq!(*value(row, "big"), Field::Long(i64::MIN));
    assert_eq!(*value(row, "double"), Field::Double(0.1));
    assert_eq!(
        *value(row, "single"),
        Field::Double(0.1),
        "the digits of the single"
    );
    assert_eq!(
        value(row, "exact").to_string(),
        "-12345678901234567890.1234567890"
    );
    assert_eq!(value(row, "price").to_string(), "12.50");
    assert_eq!(*value(row, "text"), Field::Str("a\"b\n漢\u{1}".into()));
    assert_eq!(*value(row, "bytes"), Field::Bytes(vec![0, 255, 10].into()));
    assert_eq!(*value(row, "day"), Field::Date(-25_567));
    assert_eq!(*value(row, "time"), Field::TimeMicros(86_399_999_999));
    assert_eq!(
        *value(row, "wall"),
        Field::TimestampMicros(1_709_209_800_500_000)
    );
    assert_eq!(*value(row, "instant"), Field::TimestampMicros(-1));
    assert_eq!(*value(row, "id"), Field::Bytes(uuid.to_vec().into()));
    assert_eq!(*value(row, "json"), Field::Str("{\"a\": 1.0}".into()));
    assert_eq!(*value(row, "list"), Field::Str("[1,null]".into()));
    let micros = |utc| Some(LogicalType::timestamp(utc, TimeUnit::MICROS));
    assert_eq!(logical(&schema, "instant"), micros(true));
    assert_eq!(logical(&schema, "wall"), micros(false));
    assert_eq!(logical(&schema, "id"), Some(LogicalType::Uuid));
    assert_eq!(logical(&schema, "price"), Some(LogicalType::decimal(2, 18)));
}

#[tokio::test]
async fn a_value_that_does_not_fit_rejects_its_record_and_the_file_is_good() {
    let (_, rows, outcomes) = written(
        &json!({}),
        vec![
            vec![
                upsert(1, vec![("n", Value::Int(1))]),
                upsert(2, vec![("new", Value::Int(1)), ("n", Value::from("one"))]),
            ],
            vec![
                upsert(3, vec![("n", Value::Int(3))]),
                record(Operation::Delete, 4, vec![]),
            ],
        ],
    )
    .await;
    let reason = rejected(&outcomes[1]);
    assert_eq!(reason.code, Code::DestinationRejected);
    assert!(
        reason.message.contains("column n of type bigint"),
        "{reason}"
    );
    assert_eq!(
        outcomes.iter().filter(|o| **o == Outcome::Accepted).count(),
        3
    );
    let shown: Vec<String> = rows.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "{operation: \"upsert\", key.id: 1, n: 1}",
            "{operation: \"upsert\", key.id: 3, n: 3}",
            "{operation: \"delete\", key.id: 4, n: null}",
        ],
        "nor does the rejected record leave a column behind"
    );
}

#[tokio::test]
async fn declared_columns_are_the_same_in_every_run() {
    let columns = json!({ "columns": { "total": "decimal(12,2)", "seen": "timestamptz" } });
    let (schema, rows, outcomes) = written(
        &columns,
        vec![vec![
            upsert(1, vec![("total", decimal("1.5"))]),
            upsert(2, vec![("total", decimal("1.005"))]),
            upsert(3, vec![("other", Value::Int(1))]),
        ]],
    )
    .await;
    assert_eq!(rows.len(), 1);
    assert_eq!(value(&rows[0], "total").to_string(), "1.50");
    assert_eq!(*value(&rows[0], "seen"), Field::Null);
    assert_eq!(logical(&schema, "total"), Some(LogicalType::decimal(2, 12)));
    assert_eq!(
        logical(&schema, "seen"),
        Some(LogicalType::timestamp(true, TimeUnit::MICROS))
    );
    assert_eq!(rejected(&outcomes[1]).code, Code::DestinationRejected);
    assert_eq!(rejected(&outcomes[2]).code, Code::DestinationObject);
}

#[tokio::test]
async fn a_run_is_split_between_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let more = json!({ "path": "{{ run }}/{{ part }}.parquet", "split": "1MB", "body": "fields" });
    let destination = build("file", into(folder.path(), &more));
    destination.open(&context(12)).await.unwrap();
    let noise = |id: i64| {
        let hash = |part: i64| {
            format!(
                "{:x}",
                (id * 1_000 + part).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)
            )
        };
        (0..100).map(hash).collect::<String>()
    };
    for first in (0..2_000).step_by(500) {
        let records = (first..first + 500).map(|id| {
            upsert(
                id,
                vec![("n", Value::Int(id)), ("text", Value::from(noise(id)))],
            )
        });
        destination.write(&batch(records.collect())).await.unwrap();
    }
    destination.finish().await.unwrap();
    let mut paths: Vec<_> = std::fs::read_dir(folder.path().join("12"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 1, "{paths:?}");
    assert!(paths[0].ends_with("00001.parquet"));
    let ids = paths.iter().flat_map(|path| read(path).1);
    let ids: Vec<i64> = ids
        .map(|row| match value(&row, "n") {
            Field::Long(id) => *id,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(ids, (0..2_000).collect::<Vec<_>>());
}

#[test]
fn wrong_columns_are_named() {
    let folder = Path::new("/nowhere");
    for (settings, path) in [
        (
            json!({ "columns": { "a": "varchar" } }),
            "settings.columns.a",
        ),
        (
            json!({ "columns": { "a": "decimal(39,2)" } }),
            "settings.columns.a",
        ),
        (
            json!({ "format": "csv", "columns": { "a": "text" } }),
            "settings.columns",
        ),
        (json!({ "split": "10MB" }), "settings.path"),
    ] {
        let mut config = into(folder, &settings);
        config.mode = Mode::Upsert;
        let found = problems("file", config);
        assert_eq!(found.len(), 1, "{settings}: {found:?}");
        assert_eq!(found[0].path, path);
    }
}
