//! Every type of the running server: what it is read as, and that no change of a value is missed.
//!
//! A type that is neither sampled nor listed as internal fails the test, so that a new version of
//! PostgreSQL is noticed.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

#[path = "column_types/carried.rs"]
mod carried;
#[path = "ledger/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the ledger")]
mod harness;
#[path = "column_types/keys.rs"]
mod keys;
#[path = "column_types/rendered.rs"]
mod rendered;
#[path = "column_types/samples.rs"]
mod samples;
#[path = "column_types/traps.rs"]
mod traps;

use std::collections::BTreeSet;

use harness::World;
use rowcast_core::{Key, KeyPart, Kind, Value, json};
use samples::{ACCEPTED, INTERNAL, Sample};

/// A table `t` of one column for each of `types`, read by the world's ledger.
async fn table(world: &mut World, types: &[String]) {
    let columns: Vec<String> = types
        .iter()
        .enumerate()
        .map(|(i, name)| format!("v{i} {name}"))
        .collect();
    world
        .sql(&format!(
            "CREATE TABLE t (id bigint PRIMARY KEY, {})",
            columns.join(", ")
        ))
        .await;
    read_columns(world, "t", types.len());
}

/// Points the world's sync at a table with the columns `v0`, `v1`, ….
fn read_columns(world: &mut World, table: &str, count: usize) {
    world.config.model.body = rowcast_postgres::ledger::ModelBody::Table {
        schema: None,
        name: table.into(),
    };
    let names: Vec<String> = (0..count).map(|i| format!("v{i}")).collect();
    world.config.sync.columns = names.iter().map(|name| name.as_str().into()).collect();
    world.config.sync.digests = names.iter().map(|n| (n.clone(), n.clone())).collect();
}

/// One change of one value.
struct Pair {
    column: usize,
    from: String,
    to: String,
    accepted: bool,
}

fn id(key: &Key) -> usize {
    match &key.0[0] {
        KeyPart::Int(id) => usize::try_from(*id).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Makes every change of `pairs` in a row of its own, and requires the diff to see exactly those
/// that are not accepted. Gives the values read before the change.
async fn prove(world: &World, types: &[String], pairs: &[Pair]) -> Vec<Value> {
    for (i, pair) in pairs.iter().enumerate() {
        let (column, from) = (pair.column, &pair.from);
        world
            .sql(&format!(
                "INSERT INTO t (id, v{column}) VALUES ({i}, {from})"
            ))
            .await;
    }
    let first = world.run().await;
    assert_eq!(first.changes.len(), pairs.len());
    let mut values = vec![Value::Null; pairs.len()];
    for change in &first.changes {
        let row = change.row.as_ref().unwrap();
        let i = id(&change.key);
        for (column, value) in row.values.iter().enumerate() {
            if column == pairs[i].column {
                values[i] = value.clone();
            } else {
                assert!(value.is_null());
            }
        }
    }
    assert!(
        world.run().await.changes.is_empty(),
        "nothing changed, so nothing is found"
    );
    for (i, pair) in pairs.iter().enumerate() {
        let (column, to) = (pair.column, &pair.to);
        world
            .sql(&format!("UPDATE t SET v{column} = {to} WHERE id = {i}"))
            .await;
    }
    let second = world.run().await;
    let found: BTreeSet<usize> = second
        .changes
        .iter()
        .map(|change| {
            assert_eq!(change.kind, Kind::Updated);
            id(&change.key)
        })
        .collect();
    for (i, pair) in pairs.iter().enumerate() {
        let name = &types[pair.column];
        assert_eq!(
            found.contains(&i),
            !pair.accepted,
            "{name}: {} -> {}",
            pair.from,
            pair.to
        );
    }
    values
}

fn all_pairs(column: usize, name: &str, literals: &[String]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, from) in literals.iter().enumerate() {
        for to in &literals[i + 1..] {
            let accepted = ACCEPTED.iter().any(|(t, a, b)| {
                *t == name
                    && from.starts_with(&format!("'{a}'"))
                    && to.starts_with(&format!("'{b}'"))
            });
            pairs.push(Pair {
                column,
                from: from.clone(),
                to: to.clone(),
                accepted,
            });
        }
    }
    pairs
}

/// The server's text of a literal, with the settings of a reading transaction.
async fn server_text(world: &World, literal: &str) -> String {
    let sql = format!("SELECT ({literal})::text");
    world.client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// The written rules of `rowcast_core::json` applied to the server's text.
async fn expected(world: &World, base: &str, literal: &str) -> String {
    let text = server_text(world, literal).await;
    match base {
        // ISO 8601 has a T between date and time …
        "timestamp" => text.replacen(' ', "T", 1),
        // … and a Z for UTC.
        "timestamptz" => text.replacen(' ', "T", 1).replacen("+00", "Z", 1),
        "bytea" => {
            let sql = format!("SELECT replace(encode({literal}, 'base64'), E'\\n', '')");
            world.client.query_one(&sql, &[]).await.unwrap().get(0)
        }
        // Vectors are arrays written with blanks; a domain over an array is one.
        "oidvector" | "int2vector" => format!("[{}]", text.replace(' ', ",")),
        "codes" => {
            let sql = format!("SELECT array_to_json(({literal})::int[])::text");
            world.client.query_one(&sql, &[]).await.unwrap().get(0)
        }
        _ => text,
    }
}

fn same_text(base: &str, ours: &str, theirs: &str) -> bool {
    match base {
        // The same number in another notation: 1e+20 is 1e20 in JSON.
        "float4" => {
            ours.parse::<f32>().unwrap().to_bits() == theirs.parse::<f32>().unwrap().to_bits()
        }
        "float8" => {
            ours.parse::<f64>().unwrap().to_bits() == theirs.parse::<f64>().unwrap().to_bits()
        }
        _ => ours == theirs,
    }
}

/// Types of the server that need samples: base types that are no arrays, enums, ranges and
/// multiranges; composites and domains are the test's own.
async fn server_types(world: &World) -> BTreeSet<String> {
    let sql = "SELECT typname::text FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace \
               WHERE typtype IN ('b', 'e', 'r', 'm') AND n.nspname IN ('pg_catalog', 'public') \
               AND NOT EXISTS (SELECT 1 FROM pg_type e WHERE e.typarray = t.oid)";
    let rows = world.client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn world(name: &str) -> World {
    let world = World::new(name).await;
    world.sql(samples::SETUP).await;
    world
        .sql(
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; \
             SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C'",
        )
        .await;
    world
}

#[tokio::test]
async fn rule_5_every_type_reads_back_as_its_text_and_no_change_of_a_value_is_missed() {
    let mut world = world("types").await;
    let samples = samples::all();
    let covered: BTreeSet<&str> = samples.iter().map(|sample| sample.name).collect();
    for name in server_types(&world).await {
        assert!(
            covered.contains(name.as_str()) != INTERNAL.iter().any(|(t, _)| *t == name),
            "type {name} needs samples, or a reason why no column has it"
        );
    }
    let types: Vec<String> = samples.iter().map(|s| s.column.to_owned()).collect();
    table(&mut world, &types).await;
    let mut pairs = Vec::new();
    for (column, sample) in samples.iter().enumerate() {
        let mut literals = sample.literals();
        literals.push("NULL".into());
        pairs.extend(all_pairs(column, sample.name, &literals));
    }
    let values = prove(&world, &types, &pairs).await;
    let mut checked = BTreeSet::new();
    for (pair, value) in pairs.iter().zip(&values) {
        let base = samples[pair.column].base();
        if !checked.insert((pair.column, &pair.from)) {
            continue;
        }
        let theirs = expected(&world, base, &pair.from).await;
        let ours = json::to_text(value);
        assert!(
            same_text(base, &ours, &theirs),
            "{} {}: {ours} is not {theirs}",
            types[pair.column],
            pair.from
        );
        let text = json::to_json(value);
        let again = json::from_json(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        // json and jsonb pass through; the others are the plain text again, quoted or not.
        // A whole number of JSON has no negative zero.
        if !matches!(value, Value::Json(_)) && ours != "-0" {
            assert_eq!(json::to_text(&again), ours, "{}", types[pair.column]);
        }
    }
}

#[tokio::test]
async fn rule_5_arrays_of_every_type_are_lists_of_its_values() {
    let mut world = world("arrays").await;
    let samples: Vec<Sample> = samples::all()
        .into_iter()
        .filter(|sample| sample.array && sample.values.len() > 1)
        .collect();
    let types: Vec<String> = samples.iter().map(|s| format!("{}[]", s.column)).collect();
    table(&mut world, &types).await;
    world.config.sync.columns.clear();
    world.config.sync.digests.clear();
    // The elements as columns of their own, to compare with.
    for (i, sample) in samples.iter().enumerate() {
        world
            .sql(&format!(
                "ALTER TABLE t ADD COLUMN e{i} {}, ADD COLUMN f{i} {}",
                sample.column, sample.column
            ))
            .await;
    }
    for prefix in ["v", "e", "f"] {
        for i in 0..samples.len() {
            let name = format!("{prefix}{i}");
            world.config.sync.columns.push(name.as_str().into());
            world.config.sync.digests.insert(name.clone(), name);
        }
    }
    type Shape = fn(&Value, &Value) -> Value;
    let shapes: [(&str, Shape); 8] = [
        ("ARRAY[e, f]", |e, f| {
            Value::List(vec![e.clone(), f.clone()])
        }),
        ("ARRAY[f, e]", |e, f| {
            Value::List(vec![f.clone(), e.clone()])
        }),
        ("ARRAY[[e, f]]", |e, f| {
            Value::List(vec![Value::List(vec![e.clone(), f.clone()])])
        }),
        ("ARRAY[[e], [f]]", |e, f| {
            Value::List(vec![
                Value::List(vec![e.clone()]),
                Value::List(vec![f.clone()]),
            ])
        }),
        ("ARRAY[e, NULL]", |e, _| {
            Value::List(vec![e.clone(), Value::Null])
        }),
        ("ARRAY[NULL, e]", |e, _| {
            Value::List(vec![Value::Null, e.clone()])
        }),
        ("'{}'", |_, _| Value::List(vec![])),
        ("NULL", |_, _| Value::Null),
    ];
    let count = shapes.len();
    let row = |i: usize, shape: &str| {
        shape
            .replace('e', &format!("e{i}"))
            .replace('f', &format!("f{i}"))
    };
    for (i, sample) in samples.iter().enumerate() {
        let literals = sample.literals();
        for k in 0..count {
            world
                .sql(&format!(
                    "INSERT INTO t (id, e{i}, f{i}) VALUES ({}, {}, {})",
                    i * count + k,
                    literals[0],
                    literals[1]
                ))
                .await;
        }
    }
    // Steps of 1, 2, … 7 between eight shapes: every shape is followed by every other one.
    let shape_at = |k: usize, step: usize| (k + step * (step + 1) / 2) % count;
    for step in 0..count {
        let mut updates = String::new();
        for i in 0..samples.len() {
            for k in 0..count {
                let shape = row(i, shapes[shape_at(k, step)].0);
                let id = i * count + k;
                updates.push_str(&format!("UPDATE t SET v{i} = {shape} WHERE id = {id};"));
            }
        }
        world.sql(&updates).await;
        let ran = world.run().await;
        assert_eq!(ran.changes.len(), samples.len() * count, "step {step}");
        for change in &ran.changes {
            let (i, k) = (id(&change.key) / count, id(&change.key) % count);
            let values = &change.row.as_ref().unwrap().values;
            let (e, f) = (&values[samples.len() + i], &values[2 * samples.len() + i]);
            let make = shapes[shape_at(k, step)].1;
            assert_eq!(
                json::to_json(&values[i]),
                json::to_json(&make(e, f)),
                "{}",
                types[i]
            );
        }
    }
}
