//! The server is asked: for fixed values, and for rows of every type that is hashed here.

use std::collections::BTreeMap;

use rowcast_core::{Mode, Selection};
use rowcast_testkit::postgres::{Cluster, Database};

use super::super::copy::Tuples;
use super::super::decode::Cursor;
use super::super::forms::TypeFacts;
use super::*;

#[test]
fn hashes_are_those_of_the_server() {
    // As PostgreSQL 15 answers: hashtextextended, hashint4extended, hashfloat8extended.
    let texts = [
        ("", 0, -6_939_563_903_564_495_251),
        ("abc", 0, -6_747_756_470_228_489_321),
        ("more than twelve bytes", -5, -7_470_332_939_670_252_165),
    ];
    for (text, seed, hash) in texts {
        let seed: i64 = seed;
        assert_eq!(
            hash_bytes(text.as_bytes(), seed as u64) as i64,
            hash,
            "{text}"
        );
    }
    assert_eq!(
        hash_u32(-7_i32 as u32, 42) as i64,
        -7_260_134_608_902_199_406
    );
    assert_eq!(hash_float(1.5, 42) as i64, -5_832_320_990_282_095_783);
    // hash_record_extended(ROW(1, NULL::text), 7)
    let checksum = Checksum {
        seed: 7,
        columns: vec![(0, Hashed::Whole), (1, Hashed::Bytes)],
    };
    let places = [Some((0, 4)), None];
    assert_eq!(
        checksum.of(&places, &[0, 0, 0, 1]),
        Ok(-566_405_936_210_741_215)
    );
}

/// Types, what the catalog says of them, and an expression over the number `i` that gives values.
const TYPES: &[(&str, &str, char, &str)] = &[
    ("bool", "bool", 'b', "i % 2 = 0"),
    ("int2", "int2", 'b', "(i * 331 - 32768) % 32768"),
    ("int4", "int4", 'b', "hashint4(i)"),
    ("int8", "int8", 'b', "hashint8extended(i, 3)"),
    (
        "float4",
        "float4",
        'b',
        "(ARRAY['0', '-0', 'NaN', 'Infinity', '-Infinity', '1e-45', '0.1'])[1 + i % 7]",
    ),
    (
        "float8",
        "float8",
        'b',
        "(ARRAY['0', '-0', 'NaN', 'Infinity', '-Infinity', '5e-324', i / 7.0])[1 + i % 7]",
    ),
    (
        "numeric",
        "numeric",
        'b',
        "(ARRAY['NaN', 'Infinity', '0', '1.00', '-0.00001', i || '.50'])[1 + i % 6]",
    ),
    (
        "date",
        "date",
        'b',
        "(ARRAY['infinity', '-infinity', '4713-01-01 BC', '5874897-12-31'])[1 + i % 4]",
    ),
    ("time", "time", 'b', "make_time(i % 24, 1, i / 7.0)"),
    (
        "timestamp",
        "timestamp",
        'b',
        "(ARRAY['infinity', '294276-12-31 23:59:59.999999', '2024-02-29'])[1 + i % 3]",
    ),
    (
        "timestamptz",
        "timestamptz",
        'b',
        "to_timestamp(i * 1e6 + i / 7.0)",
    ),
    ("uuid", "uuid", 'b', "md5(i::text)"),
    (
        "bytea",
        "bytea",
        'b',
        "substr(int8send(i * 12345678901), 1 + i % 9)",
    ),
    ("text", "text", 'b', "repeat('aé🦀', i % 11) || i"),
    (
        "varchar(9)",
        "varchar",
        'b',
        "left(repeat('ß', i % 10) || i, 9)",
    ),
    ("char(9)", "bpchar", 'b', "left(md5(i::text), i % 10)"),
    ("name", "name", 'b', "md5(i::text)"),
    ("json", "json", 'b', "'{\"a\":   ' || i || '}'"),
    (
        "jsonb",
        "jsonb",
        'b',
        "jsonb_build_object('é', i, 'b', jsonb_build_array(i / 7.0, NULL))",
    ),
    (
        "interval",
        "interval",
        'b',
        "make_interval(0, i, 0, 30, 0, 0, i)",
    ),
    ("money", "money", 'b', "i / 7.0"),
    (
        "mood",
        "public.mood",
        'e',
        "(ARRAY['so so', 'ü'])[1 + i % 2]",
    ),
    ("int4range", "int4range", 'r', "int4range(i % 7, NULL)"),
];

async fn database(ddl: &str) -> (Database, Client) {
    let database = Cluster::shared().database("hashes");
    let client = database.client().await;
    client.batch_execute(ddl).await.unwrap();
    (database, client)
}

#[tokio::test]
async fn rule_5_checksums_of_the_worker_are_those_of_the_server() {
    let (_database, client) = database("CREATE TYPE mood AS ENUM ('so so', 'ü')").await;
    let mut columns = Vec::new();
    let mut made = vec!["i".to_owned()];
    for (n, (declared, base, kind, values)) in TYPES.iter().enumerate() {
        made.push(format!(
            "CASE WHEN i % 5 <> {n} % 5 THEN ({values})::text::{declared} END AS v{n}"
        ));
        let facts = TypeFacts {
            type_name: (*declared).to_owned(),
            base: (*base).to_owned(),
            element: None,
            kind: *kind,
            ordered: true,
        };
        columns.push((format!("v{n}"), facts));
    }
    let sql = format!(
        "CREATE TABLE t AS SELECT {} FROM generate_series(1, 200) i",
        made.join(", ")
    );
    client.batch_execute(&sql).await.unwrap();
    let digests = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    // The plan's own order is by name, so v10 comes before v2.
    let (mode, on) = (Mode::Upsert, Selection::default());
    let plan = HashPlan::new(&columns, &digests, "UTC", 7, 0, mode, on);
    let data: Vec<DataColumn> = columns
        .into_iter()
        .rev()
        .map(|(name, facts)| DataColumn { name, facts })
        .collect();
    let checksum = Checksum::new(&plan, &data).unwrap();
    assert!(checksum.agrees(&client).await.unwrap());
    let reads = data.iter().map(|column| {
        let (read, _) = column.facts.read_form(&format!("m.{}", column.name));
        read
    });
    let reads: Vec<String> = reads.collect();
    let query = format!(
        "SELECT {}, {} FROM t m",
        plan.checksum_sql(),
        reads.join(", ")
    );
    let mut tuples = Tuples::start(&client, &query, "reading t").await.unwrap();
    let mut rows = 0;
    while let Some(tuple) = tuples.next().await.unwrap() {
        let mut cursor = Cursor(&tuple);
        let theirs = cursor.field().unwrap().unwrap();
        let bytes = cursor.0;
        let places: Vec<_> = data
            .iter()
            .map(|_| {
                let length = cursor.field().unwrap().map(<[u8]>::len);
                let end = bytes.len() - cursor.0.len();
                length.map(|length| (end - length, end))
            })
            .collect();
        let ours = checksum.of(&places, bytes).unwrap();
        assert_eq!(theirs, ours.to_be_bytes());
        rows += 1;
    }
    assert_eq!(rows, 200);
}

#[tokio::test]
async fn rule_5_a_server_that_stores_text_otherwise_is_left_its_checksums() {
    let cluster = Cluster::shared();
    let like = cluster.database("hashes");
    cluster.psql(
        "postgres",
        "CREATE DATABASE hashes_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    let latin = Database {
        name: "hashes_latin".into(),
        host: like.host.clone(),
        port: like.port,
    };
    let checksum = Checksum {
        seed: 7,
        columns: vec![(0, Hashed::Bytes)],
    };
    assert!(checksum.agrees(&like.client().await).await.unwrap());
    assert!(!checksum.agrees(&latin.client().await).await.unwrap());
}

#[test]
fn rule_5_what_is_read_in_another_form_than_it_is_hashed_in_is_left_to_the_server() {
    for (base, element) in [
        ("inet", None),
        ("timetz", None),
        ("oid", None),
        ("_int4", Some("int4")),
    ] {
        let facts = TypeFacts {
            type_name: base.to_owned(),
            base: base.to_owned(),
            element: element.map(str::to_owned),
            kind: 'b',
            ordered: true,
        };
        assert_eq!(hashed(&facts), None, "{base}");
    }
}
