//! What a preview shows of a model.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::time::Duration;

use rowcast_core::{Code, Reason, Value};
use rowcast_postgres::connect::{ConnectConfig, Connection, Connector};
use rowcast_postgres::model_text::ReadSettings;
use rowcast_postgres::preview::{Preview, PreviewRequest, preview};
use rowcast_testkit::postgres::{Cluster, Database};

async fn connect(database: &Database) -> Connection {
    let config = ConnectConfig::from_url(&database.url()).unwrap();
    Connector::new(config).connect().await.unwrap()
}

async fn look(connection: &Connection, sql: &str, key: &[&str]) -> Result<Preview, Reason> {
    let request = PreviewRequest {
        sql: sql.to_owned(),
        key: key.iter().map(|&name| name.to_owned()).collect(),
        limit: 10,
        settings: ReadSettings::default(),
    };
    preview(connection, &request).await
}

#[tokio::test]
async fn the_first_rows_come_as_text_with_types_and_a_verdict() {
    let database = Cluster::shared().database("preview");
    let connection = connect(&database).await;
    let seen = look(
        &connection,
        "SELECT g AS id, CASE WHEN g > 1 THEN point(g, g) END AS place FROM generate_series(1, 1234) g -- all",
        &["id"],
    )
    .await
    .unwrap();
    assert_eq!(seen.rows.len(), 10);
    assert_eq!(seen.rows[0], [Value::from("1"), Value::Null]);
    assert_eq!(seen.rows[1], [Value::from("2"), Value::from("(2,2)")]);
    assert_eq!(seen.columns[1].type_name, "point");
    let key = seen.key.unwrap();
    assert!(key.holds());
    assert_eq!(key.to_string(), "key is unique: 1,234 of 1,234; 0 null");
    assert_eq!(seen.volatile, [""; 0]);
}

#[tokio::test]
async fn keys_that_repeat_or_are_null_are_counted() {
    let database = Cluster::shared().database("preview_keys");
    let connection = connect(&database).await;
    let seen = look(
        &connection,
        "SELECT * FROM (VALUES (1, 'a'), (1, 'a'), (1, 'b'), (2, NULL), (NULL, NULL)) AS v(x, y)",
        &["x", "y"],
    )
    .await
    .unwrap();
    let key = seen.key.unwrap();
    assert!(!key.holds());
    assert_eq!(key.duplicates, 2);
    assert_eq!(key.to_string(), "key is not unique: 2 of 5; 2 null");
    let empty = look(&connection, "SELECT 1 AS x WHERE false", &["x"])
        .await
        .unwrap();
    assert_eq!(
        empty.key.unwrap().to_string(),
        "key is unique: 0 of 0; 0 null"
    );
}

#[tokio::test]
async fn columns_that_differ_between_two_reads_are_named() {
    let database = Cluster::shared().database("preview_volatile");
    let connection = connect(&database).await;
    let sql =
        "SELECT g AS id, now() AS at, random() AS dice, 'x' AS steady FROM generate_series(1, 3) g";
    for key in [&["id"][..], &[]] {
        let seen = look(&connection, sql, key).await.unwrap();
        assert_eq!(seen.volatile, ["at", "dice"]);
    }
    let seen = look(
        &connection,
        "SELECT gen_random_uuid() AS id, 1 AS x",
        &["id"],
    )
    .await
    .unwrap();
    assert_eq!(seen.volatile, ["id"]);
}

#[tokio::test]
async fn keys_that_cant_be_keys_are_refused_and_the_connection_stays_usable() {
    let database = Cluster::shared().database("preview_refused");
    let connection = connect(&database).await;
    let sql = "SELECT 1 AS id, '{}'::json AS doc";
    for (key, code) in [("ID", Code::KeyMissing), ("doc", Code::KeyTypeUnsupported)] {
        assert_eq!(look(&connection, sql, &[key]).await.unwrap_err().code, code);
    }
    let reason = look(&connection, "DELETE FROM x", &[]).await.unwrap_err();
    assert_eq!(reason.code, Code::ModelWrites);
    look(&connection, sql, &["id"]).await.unwrap();
}

#[tokio::test]
async fn rule_22_the_deadline_holds_when_the_model_lifts_the_servers() {
    let database = Cluster::shared().database("preview_deadline");
    let connection = connect(&database).await;
    let request = PreviewRequest {
        sql: "SELECT set_config('statement_timeout', '0', true) AS a, pg_sleep(60)::text AS b"
            .to_owned(),
        key: Vec::new(),
        limit: 10,
        settings: ReadSettings {
            statement_timeout: Some(Duration::from_millis(100)),
            ..ReadSettings::default()
        },
    };
    let reason = preview(&connection, &request).await.unwrap_err();
    assert_eq!(reason.code, Code::Deadline);
    look(&connection, "SELECT 1 AS id", &["id"]).await.unwrap();
}
