//! Which types can be keys, and that they keep their identity (semantics 3).

use rowcast_core::{Code, KeyPart, Kind, Mode};

use super::harness::{Ran, World, connector};
use super::{read_columns, samples, world};
use rowcast_testkit::postgres::Cluster;

/// Points the world's sync at a new table, under a name of its own.
fn read_table(world: &mut World, table: &str) {
    read_columns(world, table, 1);
    world.config.sync.name = format!("sync of {table}");
    world.config.sync.mode = Mode::Mirror;
    world.config.model.primary_key = vec!["k".into()];
}

fn kinds(ran: &Ran) -> (usize, usize, usize) {
    let count = |kind| ran.changes.iter().filter(|c| c.kind == kind).count();
    (
        count(Kind::Added),
        count(Kind::Updated),
        count(Kind::Removed),
    )
}

fn texts(ran: &Ran) -> Vec<String> {
    let mut texts: Vec<String> = ran.changes.iter().map(|c| c.key.to_string()).collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn rule_3_every_type_with_an_order_works_as_a_key() {
    let mut world = world("keys").await;
    let mut refused = Vec::new();
    for (i, sample) in samples::all().iter().enumerate() {
        let table = format!("k{i}");
        read_table(&mut world, &table);
        let sql = format!(
            "CREATE TABLE {table} (k {} PRIMARY KEY, v0 int)",
            sample.column
        );
        // What PostgreSQL can't index in order has no equality and order.
        if world.client.batch_execute(&sql).await.is_err() {
            world
                .sql(&format!(
                    "CREATE TABLE {table} (k {}, v0 int)",
                    sample.column
                ))
                .await;
            let reason = world.run_with(|_| None).await.unwrap_err();
            assert_eq!(reason.code, Code::KeyTypeUnsupported, "{}", sample.name);
            refused.push(sample.name);
            continue;
        }
        if sample.name == "place" {
            // A composite has the order of its columns; its identity is better cast in the model.
            let reason = world.run_with(|_| None).await.unwrap_err();
            assert_eq!(reason.code, Code::KeyTypeUnsupported);
            continue;
        }
        for literal in sample.literals() {
            // Some samples are equal to each other: one of them stays.
            world
                .sql(&format!(
                    "INSERT INTO {table} VALUES ({literal}, 1) ON CONFLICT DO NOTHING"
                ))
                .await;
        }
        let count = world.number(&format!("SELECT count(*) FROM {table}")).await as usize;
        let name = sample.name;
        assert_eq!(kinds(&world.run().await), (count, 0, 0), "{name}");
        let some = &sample.literals()[0];
        let this = format!("k::text = ({some})::text");
        world
            .sql(&format!("UPDATE {table} SET v0 = 2 WHERE {this}"))
            .await;
        let updated = world.run().await;
        assert_eq!(
            (kinds(&updated), updated.counts.unchanged),
            ((0, 1, 0), count as u64 - 1),
            "{name}"
        );
        world
            .sql(&format!("DELETE FROM {table} WHERE {this}"))
            .await;
        let removed = world.run().await;
        assert_eq!(
            (kinds(&removed), texts(&removed)),
            ((0, 0, 1), texts(&updated)),
            "{name}"
        );
        world
            .sql(&format!("INSERT INTO {table} VALUES ({some}, 3)"))
            .await;
        let added = world.run().await;
        assert_eq!(
            (kinds(&added), texts(&added)),
            ((1, 0, 0), texts(&updated)),
            "{name}"
        );
        assert_eq!(kinds(&world.run().await), (0, 0, 0), "{name}");
    }
    for name in ["json", "xml", "point"] {
        assert!(refused.contains(&name), "{name} has no order");
    }
}

#[tokio::test]
async fn rule_3_keys_keep_their_case_under_every_collation() {
    let mut world = world("keycase").await;
    world
        .sql("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
        .await;
    for (i, column) in [
        "citext",
        "text COLLATE \"en-x-icu\"",
        "text COLLATE loose",
        "varchar(10)",
        "label",
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("c{i}");
        read_table(&mut world, &table);
        world
            .sql(&format!(
                "CREATE TABLE {table} (k {column} PRIMARY KEY, v0 int); \
                 INSERT INTO {table} VALUES ('ann', 1), ('Bob', 2), ('änne', 3), ('zoë', 4), ('a b', 5), ('a-b', 6)"
            ))
            .await;
        assert_eq!(kinds(&world.run().await), (6, 0, 0), "{column}");
        assert_eq!(kinds(&world.run().await), (0, 0, 0), "{column}");
        world
            .sql(&format!("UPDATE {table} SET k = 'Ann' WHERE v0 = 1"))
            .await;
        let ran = world.run().await;
        assert_eq!(
            kinds(&ran),
            (1, 0, 1),
            "another case is another key: {column}"
        );
        assert_eq!(texts(&ran), ["Ann", "ann"]);
        assert_eq!(kinds(&world.run().await), (0, 0, 0), "{column}");
    }
}

#[tokio::test]
async fn rule_3_integer_keys_are_whole_numbers_of_any_width() {
    let mut world = world("keyints").await;
    read_table(&mut world, "w");
    world
        .sql("CREATE TABLE w (k int PRIMARY KEY, v0 int); INSERT INTO w VALUES (-1, 1), (2147483647, 2)")
        .await;
    let ran = world.run().await;
    assert_eq!(ran.changes[0].key.0[0], KeyPart::Int(-1));
    // A wider column is the same key; the type of the key column belongs to the identity of state.
    world
        .sql("ALTER TABLE w ALTER k TYPE bigint; INSERT INTO w VALUES (9223372036854775807, 3)")
        .await;
    let ran = world.run().await;
    assert_eq!(kinds(&ran), (1, 0, 0));
    assert_eq!(ran.changes[0].key.0[0], KeyPart::Int(i64::MAX));
}

#[tokio::test]
async fn rule_3_keys_of_every_type_come_in_the_same_order_from_two_databases() {
    let mut world = world("keysmerge").await;
    let place = Cluster::shared().database("keysmerge_state");
    world.config.state = Some(connector(&place, "postgres"));
    for (i, sample) in samples::all().iter().enumerate() {
        let table = format!("m{i}");
        read_table(&mut world, &table);
        let sql = format!(
            "CREATE TABLE {table} (k {} PRIMARY KEY, v0 int)",
            sample.column
        );
        if sample.name == "place" || world.client.batch_execute(&sql).await.is_err() {
            continue;
        }
        for literal in sample.literals() {
            world
                .sql(&format!(
                    "INSERT INTO {table} VALUES ({literal}, 1) ON CONFLICT DO NOTHING"
                ))
                .await;
        }
        let count = world.number(&format!("SELECT count(*) FROM {table}")).await as usize;
        let name = sample.name;
        assert_eq!(kinds(&world.run().await), (count, 0, 0), "{name}");
        world.sql(&format!("UPDATE {table} SET v0 = 2")).await;
        assert_eq!(kinds(&world.run().await), (0, count, 0), "{name}");
        if name == "numeric" {
            // 1.00 is the key 1.0 in other digits: neither removed nor added.
            world
                .sql(&format!("UPDATE {table} SET k = 1.00 WHERE k = 1.0"))
                .await;
            assert_eq!(kinds(&world.run().await), (0, 0, 0), "{name}");
        }
    }
}
