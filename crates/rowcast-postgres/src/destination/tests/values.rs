//! Values survive: the destination's text of a column equals the source's.

use rowcast_core::time::DAY_US;
use rowcast_core::{Destination as _, Mode, Operation, Outcome, Value};

use super::*;

/// Type, value, and the text that the column must show afterwards.
fn samples() -> Vec<(&'static str, Value, &'static str)> {
    let list = |items: &[Value]| Value::List(items.to_vec());
    let exact = "-12345678901234567890.123456789012345678900";
    vec![
        ("smallint", Value::Int(-32768), "-32768"),
        ("bigint", Value::Int(i64::MIN), "-9223372036854775808"),
        ("bigint", "9007199254740993".into(), "9007199254740993"),
        ("boolean", Value::Bool(true), "true"),
        ("numeric", Value::Decimal(exact.into()), exact),
        ("numeric", Value::Decimal("NaN".into()), "NaN"),
        ("numeric", Value::Decimal("-Infinity".into()), "-Infinity"),
        ("numeric(10,2)", Value::Decimal("5.10".into()), "5.10"),
        ("double precision", Value::float(0.1), "0.1"),
        ("double precision", Value::float(1e300), "1e+300"),
        ("double precision", Value::float(f64::NAN), "NaN"),
        (
            "double precision",
            Value::float(f64::NEG_INFINITY),
            "-Infinity",
        ),
        (
            "real",
            Value::Float {
                value: f64::from(0.1_f32),
                single: true,
            },
            "0.1",
        ),
        (
            "text",
            "tab\tnewline\nbackslash\\ \"quote\" 'x' {a,b} \\N ü 🦀".into(),
            "tab\tnewline\nbackslash\\ \"quote\" 'x' {a,b} \\N ü 🦀",
        ),
        ("text", "".into(), ""),
        ("varchar(3)", "abc".into(), "abc"),
        ("char(3)", "ab".into(), "ab"),
        ("bytea", Value::Bytes(Box::from([0, 92, 255])), "\\x005cff"),
        ("bytea", Value::Bytes(Box::from([])), "\\x"),
        ("date", Value::Date(i32::MAX), "infinity"),
        ("date", Value::Date(-735_160), "0044-03-15 BC"),
        ("date", Value::Date(19_782), "2024-02-29"),
        ("time", Value::Time(DAY_US), "24:00:00"),
        ("timestamp", Value::Timestamp(i64::MIN), "-infinity"),
        (
            "timestamp",
            Value::Timestamp(-735_160 * DAY_US + 1),
            "0044-03-15 00:00:00.000001 BC",
        ),
        (
            "timestamp",
            Value::Timestamp(i64::MAX - 1),
            "294247-01-10 04:00:54.775806",
        ),
        (
            "timestamptz",
            Value::TimestampTz(1_709_209_800_500_000),
            "2024-02-29 12:30:00.5+00",
        ),
        (
            "timestamptz",
            Value::TimestampTz(-735_160 * DAY_US),
            "0044-03-15 00:00:00+00 BC",
        ),
        ("timestamptz", Value::TimestampTz(i64::MAX), "infinity"),
        // Without a zone it is taken as UTC, whatever the server's own zone is.
        ("timestamptz", Value::Timestamp(0), "1970-01-01 00:00:00+00"),
        ("timetz", "13:37:00+05:30".into(), "13:37:00+05:30"),
        (
            "interval",
            "1 mon -2 days +03:00:00".into(),
            "1 mon -2 days +03:00:00",
        ),
        (
            "uuid",
            Value::Uuid([0xab; 16]),
            "abababab-abab-abab-abab-abababababab",
        ),
        (
            "jsonb",
            Value::Json("{\"n\": 12345678901234567890.10}".into()),
            "{\"n\": 12345678901234567890.10}",
        ),
        (
            "json",
            Value::Json("{\"b\":1,  \"a\":2}".into()),
            "{\"b\":1,  \"a\":2}",
        ),
        (
            "jsonb",
            list(&[Value::Int(1), Value::Null, "x".into()]),
            "[1, null, \"x\"]",
        ),
        (
            "jsonb",
            Value::Object(object(&[("a", Value::Decimal("1.50".into()))])),
            "{\"a\": 1.50}",
        ),
        ("jsonb", Value::Bool(false), "false"),
        (
            "text[]",
            list(&[
                "a,b".into(),
                Value::Null,
                "NULL".into(),
                "q\"\\".into(),
                "".into(),
            ]),
            "{\"a,b\",NULL,\"NULL\",\"q\\\"\\\\\",\"\"}",
        ),
        (
            "int[]",
            list(&[
                list(&[Value::Int(1), Value::Int(2)]),
                list(&[Value::Int(3), Value::Int(4)]),
            ]),
            "{{1,2},{3,4}}",
        ),
        ("int[]", list(&[]), "{}"),
        ("int[]", "[2:3]={7,8}".into(), "[2:3]={7,8}"),
        (
            "timestamptz[]",
            list(&[Value::TimestampTz(0)]),
            "{\"1970-01-01 00:00:00+00\"}",
        ),
        (
            "bytea[]",
            list(&[Value::Bytes(Box::from([1]))]),
            "{\"\\\\x01\"}",
        ),
        (
            "jsonb[]",
            list(&[Value::Json("{\"a\":1}".into()), list(&[Value::Int(1)])]),
            "{\"{\\\"a\\\": 1}\",[1]}",
        ),
        ("box[]", list(&["(1,1),(0,0)".into()]), "{(1,1),(0,0)}"),
        ("mood", "so so".into(), "so so"),
        ("mood[]", list(&["so so".into()]), "{\"so so\"}"),
        ("short", "abc".into(), "abc"),
        ("pair", "(1,\"x y\")".into(), "(1,\"x y\")"),
        ("int4range", "[1,5)".into(), "[1,5)"),
        ("inet", "10.0.0.0/8".into(), "10.0.0.0/8"),
        ("bit(3)", "101".into(), "101"),
        ("bit varying", "10101".into(), "10101"),
        ("\"char\"", "x".into(), "x"),
        ("money", "$1,234.50".into(), "$1,234.50"),
        ("xml", "<a>1</a>".into(), "<a>1</a>"),
        ("tsvector", "'a':1 'b':2".into(), "'a':1 'b':2"),
        ("point", "(1,2)".into(), "(1,2)"),
        ("text", Value::TimestampTz(0), "1970-01-01T00:00:00Z"),
        ("text", list(&[Value::Int(1)]), "[1]"),
        ("text", Value::Int(7), "7"),
    ]
}

#[tokio::test]
async fn every_type_survives() {
    let mut ddl = String::from(
        "CREATE TYPE mood AS ENUM ('ok', 'so so'); CREATE TYPE pair AS (a int, b text);
         CREATE DOMAIN short AS varchar(3) CHECK (VALUE <> 'bad');",
    );
    let samples = samples();
    let columns: Vec<String> = samples
        .iter()
        .enumerate()
        .map(|(n, (kind, _, _))| format!("c{n} {kind}"))
        .collect();
    ddl.push_str(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, {})",
        columns.join(", ")
    ));
    let bench = Bench::new("types", &ddl).await;
    let zone = format!(
        "ALTER DATABASE {} SET TimeZone = 'Asia/Tokyo'",
        bench.database.name
    );
    bench.client.batch_execute(&zone).await.unwrap();
    let names: Vec<String> = (0..samples.len()).map(|n| format!("c{n}")).collect();
    let fields: Vec<(&str, Value)> = names
        .iter()
        .zip(&samples)
        .map(|(name, (_, value, _))| (name.as_str(), value.clone()))
        .collect();
    for (intent, mode, operation) in [
        (1, Mode::Upsert, Operation::Upsert),
        (2, Mode::Update, Operation::Update),
    ] {
        let destination = bench.open("t", mode, &["id"]).await;
        let record = record(operation, object(&[("id", Value::Int(1))]), object(&fields));
        let outcomes = destination
            .write(&of(intent, operation, vec![record]))
            .await
            .unwrap();
        assert_eq!(outcomes, [Outcome::Delivered]);
        bench
            .client
            .batch_execute("SET TimeZone = 'UTC'; SET lc_monetary = 'C'")
            .await
            .unwrap();
        for (n, (kind, _, expected)) in samples.iter().enumerate() {
            let shown = bench.text(&format!("SELECT c{n}::text FROM t")).await;
            assert_eq!(shown, *expected, "{kind} by {operation}");
        }
        let clear: Vec<String> = names.iter().map(|name| format!("{name} = NULL")).collect();
        bench
            .client
            .batch_execute(&format!("UPDATE t SET {}", clear.join(", ")))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_is_too_long_is_rejected_and_never_cut() {
    let bench = Bench::new(
        "too_long",
        "CREATE DOMAIN short AS varchar(3); CREATE TABLE t (id int PRIMARY KEY, a varchar(3), b char(3), c bit(3), d short)",
    )
    .await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let batch = batch(
        1,
        Operation::Upsert,
        &[
            (1, "a", "abcd".into()),
            (2, "b", "abcd".into()),
            (3, "c", "1111".into()),
            (4, "d", "abcd".into()),
        ],
    );
    let outcomes = destination.write(&batch).await.unwrap();
    for outcome in &outcomes {
        assert_eq!(
            rejected(outcome).code,
            rowcast_core::Code::DestinationRejected
        );
    }
    assert_eq!(bench.text("SELECT count(*)::text FROM t").await, "0");
}
