//! COPY and arrays leave equal tables: any values, any columns, bit for bit.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rowcast_core::json::push_string;
use rowcast_core::{Destination as _, Mode, Operation, Value};

use super::*;

/// Batches that are tried; each has `RECORDS` records with a value for every column.
const BATCHES: i64 = 12;
const RECORDS: usize = 260;

fn text(chars: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let char = prop_oneof![
        3 => any::<char>().prop_filter("NUL is rejected", |c| *c != '\0'),
        1 => proptest::sample::select(vec!['\\', '\'', '"', '\t', '\n', '\r', ' ', '{', ',', 'N']),
    ];
    vec(char, chars).prop_map(|chars| chars.into_iter().collect())
}

fn number() -> impl Strategy<Value = Value> {
    let digits = "-?[0-9]{1,40}(\\.[0-9]{1,30})?".prop_map(|digits: String| digits.into());
    let special =
        proptest::sample::select(vec!["NaN", "Infinity", "-Infinity", "-0.000", "0010.0"])
            .prop_map(Box::<str>::from);
    prop_oneof![
        6 => digits.prop_map(Value::Decimal),
        1 => special.prop_map(Value::Decimal),
        1 => any::<i64>().prop_map(Value::Int),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let quoted = text(0..12).prop_map(|text| {
        let mut out = String::from("{\"b\": 1.50,  \"a\": ");
        push_string(&mut out, &text);
        out.push('}');
        Value::Json(out.into())
    });
    prop_oneof![
        quoted,
        text(0..5).prop_map(|text| Value::List(vec![text.into(), Value::Null, Value::Int(1)])),
        any::<bool>().prop_map(Value::Bool),
    ]
}

/// The column's type, values that fit its kind, and values that are of another kind.
fn columns() -> Vec<(&'static str, BoxedStrategy<Value>, BoxedStrategy<Value>)> {
    let us = prop_oneof![
        8 => -210_866_803_200_000_000_i64..i64::MAX,
        1 => Just(i64::MAX),
        1 => Just(i64::MIN),
    ];
    let days =
        prop_oneof![8 => -2_440_588..2_000_000_000_i32, 1 => Just(i32::MAX), 1 => Just(i32::MIN)];
    let float = any::<f64>().prop_map(Value::float).boxed();
    let single = any::<f32>()
        .prop_map(|value| Value::Float {
            value: f64::from(value),
            single: true,
        })
        .boxed();
    let ints = any::<i32>().prop_map(|n| Value::Int(n.into())).boxed();
    let words = text(0..5).prop_map(Value::from).boxed();
    let timestamp = us.clone().prop_map(Value::Timestamp).boxed();
    let instant = us.prop_map(Value::TimestampTz).boxed();
    let date = days.prop_map(Value::Date).boxed();
    let uuid = any::<[u8; 16]>().prop_map(Value::Uuid).boxed();
    let uuid_text = "[0-9a-f]{8}-([0-9a-fA-F]{4}-){3}[0-9a-f]{12}"
        .prop_map(Value::from)
        .boxed();
    let bytes = vec(any::<u8>(), 0..20)
        .prop_map(|bytes| Value::Bytes(bytes.into()))
        .boxed();
    let list = vec(any::<i32>(), 0..3)
        .prop_map(|items| Value::List(items.into_iter().map(|n| Value::Int(n.into())).collect()))
        .boxed();
    let digits = any::<i64>()
        .prop_map(|n| Value::from(n.to_string()))
        .boxed();
    let small = (-99_999..99_999_i64)
        .prop_map(|n| Value::Decimal(format!("{}.{:04}", n, n.abs() % 10_000).into()));
    let moods = proptest::sample::select(vec!["ok", "so so", "ü 'x'\\"]).prop_map(Value::from);
    vec![
        (
            "bool",
            any::<bool>().prop_map(Value::Bool).boxed(),
            Just("yes".into()).boxed(),
        ),
        (
            "int2",
            any::<i16>().prop_map(|n| Value::Int(n.into())).boxed(),
            Just(" 7 ".into()).boxed(),
        ),
        (
            "int4",
            ints.clone(),
            any::<i16>()
                .prop_map(|n| Value::from(n.to_string()))
                .boxed(),
        ),
        (
            "int8",
            any::<i64>().prop_map(Value::Int).boxed(),
            digits.clone(),
        ),
        (
            "oid",
            any::<u32>().prop_map(|n| Value::Int(n.into())).boxed(),
            Just("12".into()).boxed(),
        ),
        ("float4", single.clone(), ints.clone()),
        ("float8", float.clone(), single.clone()),
        (
            "float8",
            any::<i64>().prop_map(Value::Int).boxed(),
            float.clone(),
        ),
        ("numeric", number().boxed(), Just("1e-7".into()).boxed()),
        ("numeric(12,3)", small.boxed(), Just(Value::Int(-7)).boxed()),
        ("text", text(0..30).prop_map(Value::from).boxed(), float),
        ("text", instant.clone(), list.clone()),
        ("varchar(6)", words.clone(), Just(Value::Int(-5)).boxed()),
        ("char(6)", words.clone(), Just(Value::Bool(true)).boxed()),
        ("bytea", bytes.clone(), Just("\\x00fF".into()).boxed()),
        ("date", date.clone(), Just("epoch".into()).boxed()),
        (
            "time",
            (0..=86_400_000_000_i64).prop_map(Value::Time).boxed(),
            Just("4:05 PM".into()).boxed(),
        ),
        (
            "time(2)",
            (0..86_399_000_000_i64).prop_map(Value::Time).boxed(),
            Just("04:05:06.789".into()).boxed(),
        ),
        ("timestamp", timestamp.clone(), instant.clone()),
        ("timestamptz", instant, timestamp.clone()),
        (
            "timestamp(3)",
            (-1_000_000_000_000_000..4_000_000_000_000_000_i64)
                .prop_map(Value::Timestamp)
                .boxed(),
            Just("2024-02-29 1:2:3.4567".into()).boxed(),
        ),
        ("uuid", uuid, uuid_text),
        ("json", json().boxed(), ints.clone()),
        ("jsonb", json().boxed(), number().boxed()),
        ("int[]", list, Just("{1,NULL}".into()).boxed()),
        ("mood", moods.boxed(), Just("ok".into()).boxed()),
        ("short", words, Just(Value::Int(3)).boxed()),
        (
            "interval",
            Just("1 mon -2 days".into()).boxed(),
            Just("P1Y".into()).boxed(),
        ),
        (
            "inet",
            Just("10.0.0.0/8".into()).boxed(),
            Just("::1".into()).boxed(),
        ),
        (
            "name",
            words_of_name().boxed(),
            Just("x".repeat(70).into()).boxed(),
        ),
    ]
}

fn words_of_name() -> impl Strategy<Value = Value> {
    "[a-z]{1,20}".prop_map(Value::from)
}

#[tokio::test]
async fn copied_rows_equal_those_sent_as_arrays() {
    let columns = columns();
    let names: Vec<String> = (0..columns.len()).map(|n| format!("c{n}")).collect();
    let kinds: Vec<String> = names
        .iter()
        .zip(&columns)
        .map(|(name, (kind, _, _))| format!("{name} {kind}"))
        .collect();
    let mut ddl = String::from(
        "CREATE TYPE mood AS ENUM ('ok', 'so so', 'ü ''x''\\'); CREATE DOMAIN short AS varchar(5);",
    );
    for table in ["straight", "merged", "arrays"] {
        let kinds = kinds.join(", ");
        ddl.push_str(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, {kinds});"
        ));
    }
    ddl.push_str("INSERT INTO merged (id) VALUES (-1); INSERT INTO arrays (id) VALUES (-1)");
    let bench = Bench::new("same", &ddl).await;
    let mut destinations = Vec::new();
    for table in ["straight", "merged", "arrays"] {
        destinations.push(bench.open(table, Mode::Upsert, &["id"]).await);
    }
    let mut runner = TestRunner::deterministic();
    let mut draw =
        |strategy: &BoxedStrategy<Value>| strategy.new_tree(&mut runner).unwrap().current();
    for round in 0..BATCHES {
        let records: Vec<Record> = (0..RECORDS as i64)
            .map(|n| {
                let fields = names
                    .iter()
                    .zip(&columns)
                    .enumerate()
                    .map(|(at, (name, column))| {
                        // In half of the batches each column holds another kind of value, once.
                        let odd = round >= BATCHES / 2 && (round + at as i64) % (BATCHES / 2) == 0;
                        let value = match (n + at as i64) % 11 {
                            _ if odd && n == 150 => draw(&column.2),
                            0 => Value::Null,
                            _ => draw(&column.1),
                        };
                        (name.as_str().into(), value)
                    });
                let id = Value::Int(round * 1000 + n);
                record(Operation::Upsert, object(&[("id", id)]), fields.collect())
            })
            .collect();
        // Straight needs every column in its binary form: the arrays of integers, intervals,
        // addresses and names of this table have none, so they stay out of it.
        let plain: Vec<Record> = records
            .iter()
            .cloned()
            .map(|mut record| {
                let native = |name: &Name| {
                    let at: usize = name[1..].parse().unwrap();
                    !matches!(columns[at].0, "int[]" | "interval" | "inet" | "name")
                };
                record.fields.retain(|(name, _)| native(name));
                record
            })
            .collect();
        let intent = round * 10;
        let straight = destinations[0]
            .write(&of(intent + 1, Operation::Upsert, plain))
            .await
            .unwrap();
        let merged = destinations[1]
            .write(&of(intent + 2, Operation::Upsert, records.clone()))
            .await
            .unwrap();
        let mut arrays = Vec::new();
        for (part, records) in records.chunks(100).enumerate() {
            let batch = of(
                intent + 3 + part as i64,
                Operation::Upsert,
                records.to_vec(),
            );
            arrays.extend(destinations[2].write(&batch).await.unwrap());
        }
        for (way, outcomes) in [
            ("straight", straight),
            ("merged", merged),
            ("arrays", arrays),
        ] {
            for (record, outcome) in records.iter().zip(outcomes) {
                assert_eq!(outcome, Outcome::Delivered, "{way}: {record:?}");
            }
        }
    }
    for (table, but) in [("merged", ""), ("straight", "int[] interval inet name")] {
        for (name, (kind, _, _)) in names.iter().zip(&columns) {
            if but.split(' ').any(|other| other == *kind) {
                continue;
            }
            let differs = format!(
                "SELECT string_agg(concat(a.id, ': ', a.{name}, ' / ', b.{name}), chr(10)) FROM arrays AS a \
                 LEFT JOIN {table} AS b USING (id) WHERE a.id >= 0 AND (b.id IS NULL OR \
                 ROW(a.{name})::record *<> ROW(b.{name})::record)"
            );
            assert_eq!(bench.text(&differs).await, "", "{table}: {kind}");
        }
    }
}
