//! The catalog as the role sees it.

use rowcast_postgres::catalog::{RelationKind, find, key_is_proven, schemas, tables};
use rowcast_testkit::postgres::Cluster;

#[tokio::test]
async fn tables_lists_what_the_role_can_read() {
    let cluster = Cluster::shared();
    let database = cluster.database("catalog");
    cluster.psql(
        &database.name,
        "CREATE ROLE lister LOGIN; CREATE SCHEMA app; CREATE SCHEMA hidden;
         CREATE TABLE app.t (b text, a numeric(10,2) NOT NULL, gone int, id bigint, PRIMARY KEY (id, a));
         ALTER TABLE app.t DROP COLUMN gone;
         CREATE VIEW app.v AS SELECT 1 AS x; CREATE MATERIALIZED VIEW app.m AS SELECT 1 AS x;
         CREATE TABLE app.p (id int) PARTITION BY LIST (id); CREATE TABLE app.p1 PARTITION OF app.p FOR VALUES IN (1);
         CREATE TABLE app.denied (id int); CREATE TABLE hidden.t (id int);
         CREATE TABLE app.part (id int, secret text);
         GRANT USAGE ON SCHEMA app TO lister; GRANT SELECT ON app.t, app.v, app.m, app.p, app.p1, hidden.t TO lister;
         GRANT SELECT (id) ON app.part TO lister; INSERT INTO app.t VALUES ('x', 1, 7); ANALYZE app.t;",
    );
    let client = database.client_as("lister").await;
    let found = tables(&client).await.unwrap();
    let seen: Vec<(&str, RelationKind)> = found.iter().map(|r| (r.name.as_str(), r.kind)).collect();
    assert_eq!(
        seen,
        [
            ("m", RelationKind::MaterializedView),
            ("p", RelationKind::PartitionedTable),
            ("part", RelationKind::Table),
            ("t", RelationKind::Table),
            ("v", RelationKind::View),
        ]
    );
    let t = &found[3];
    assert_eq!(t.primary_key, ["id", "a"]);
    assert_eq!((t.estimated_rows, t.owner.as_str()), (Some(1), "postgres"));
    let columns: Vec<(&str, &str, bool)> = t
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.type_name.as_str(), c.not_null))
        .collect();
    assert_eq!(
        columns,
        [
            ("b", "text", false),
            ("a", "numeric(10,2)", true),
            ("id", "bigint", true)
        ]
    );
    let readable: Vec<bool> = found[2].columns.iter().map(|c| c.readable).collect();
    assert_eq!(readable, [true, false]);
    assert!(found[0].primary_key.is_empty());

    let listed = schemas(&client).await.unwrap();
    assert!(listed.contains(&("app".to_owned(), true)));
    assert!(listed.contains(&("hidden".to_owned(), false)));
    assert!(
        find(&client, Some("app"), "denied")
            .await
            .unwrap()
            .is_some()
    );
    assert!(find(&client, None, "t").await.unwrap().is_none());
    assert!(find(&client, Some("app"), "T").await.unwrap().is_none());
}

#[tokio::test]
async fn rule_19_uniqueness_is_proven_only_by_a_complete_immediate_index() {
    let cluster = Cluster::shared();
    let database = cluster.database("rule_19");
    cluster.psql(
        &database.name,
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, c int, d int NOT NULL, e int NOT NULL, f text NOT NULL);
         CREATE UNIQUE INDEX ON t (a, b); CREATE UNIQUE INDEX ON t (c); CREATE UNIQUE INDEX ON t (d) WHERE d > 0;
         ALTER TABLE t ADD UNIQUE (e) DEFERRABLE; CREATE UNIQUE INDEX ON t (lower(f)); CREATE UNIQUE INDEX ON t (b) INCLUDE (c);
         CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
         CREATE VIEW v AS SELECT * FROM t;",
    );
    let client = database.client().await;
    let cases: &[(&str, &[&str], bool)] = &[
        ("t", &["id"], true),
        ("t", &["c", "id"], true),
        ("t", &["a", "b"], true),
        ("t", &["b"], true),
        ("t", &["a"], false),
        ("t", &["c"], false),
        ("t", &["d"], false),
        ("t", &["e"], false),
        ("t", &["f"], false),
        ("t", &[], false),
        ("parent", &["id"], false),
        ("v", &["id"], false),
    ];
    for (table, columns, proven) in cases {
        let relation = find(&client, None, table).await.unwrap().unwrap();
        let columns: Vec<String> = columns.iter().map(|&c| c.to_owned()).collect();
        let found = key_is_proven(&client, relation.oid, &columns)
            .await
            .unwrap();
        assert_eq!(found, *proven, "{table} {columns:?}");
    }
}
