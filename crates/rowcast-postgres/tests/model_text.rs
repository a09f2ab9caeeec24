//! Models are proven to be one reading statement; their columns are found without reading rows.

#![allow(clippy::print_stdout, reason = "it says how many cases ran")]

use rowcast_core::{Code, Reason};
use rowcast_postgres::model_text::{
    ColumnType, ReadSettings, RowSecurity, TypeKind, body, guard_statements, model_error, validate,
    wrapped,
};
use rowcast_testkit::postgres::{Cluster, Database};

/// Validates in a guarded transaction and then reads every row, as a run does.
async fn read(database: &Database, role: &str, text: &str) -> Result<Vec<ColumnType>, Reason> {
    let client = database.client_as(role).await;
    let begin = format!(
        "BEGIN READ ONLY; {}",
        guard_statements(&ReadSettings::default())
    );
    client.batch_execute(&begin).await.expect("begin");
    let columns = validate(&client, text).await?;
    let casts: Vec<String> = columns
        .iter()
        .map(|column| format!("m.\"{}\"::text", column.name.replace('"', "\"\"")))
        .collect();
    let sql = format!("SELECT {} FROM {}", casts.join(", "), wrapped(text));
    client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| model_error(&error, "reading the model"))?;
    Ok(columns)
}

fn fresh(name: &str) -> Database {
    let cluster = Cluster::shared();
    let database = cluster.database(name);
    cluster.psql(
        &database.name,
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b');
         CREATE SEQUENCE seq;
         CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
           $$ BEGIN DELETE FROM t; RETURN 1; END $$;
         CREATE FUNCTION reopen() RETURNS int LANGUAGE plpgsql AS
           $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM t; RETURN 1; END $$;",
    );
    database
}

#[tokio::test]
async fn guarantee_6_and_rule_22_a_model_cannot_write() {
    use Code::{ModelInvalid, ModelNotOneStatement, ModelWrites, SourceQueryFailed};
    let cluster = Cluster::shared();
    let database = fresh("rule_22");
    let corpus: &[(&str, &[Code])] = &[
        ("DELETE FROM t", &[ModelWrites]),
        ("delete from t returning *", &[ModelWrites]),
        ("INSERT INTO t VALUES (3, 'c') RETURNING id", &[ModelWrites]),
        ("UPDATE t SET v = 'x'", &[ModelWrites]),
        (
            "MERGE INTO t USING t s ON false WHEN NOT MATCHED THEN DO NOTHING",
            &[ModelWrites],
        ),
        ("TRUNCATE t", &[ModelWrites]),
        ("DROP TABLE t", &[ModelWrites]),
        ("CREATE TABLE x AS SELECT 1", &[ModelWrites]),
        ("CREATE TEMP TABLE x AS SELECT 1", &[ModelWrites]),
        ("COPY t TO PROGRAM 'true'", &[ModelWrites]),
        ("COPY t FROM '/etc/passwd'", &[ModelWrites]),
        ("DO $$ BEGIN DELETE FROM t; END $$", &[ModelWrites]),
        ("CALL x()", &[ModelWrites]),
        ("SET TRANSACTION READ WRITE", &[ModelWrites]),
        ("COMMIT", &[ModelWrites]),
        ("GRANT ALL ON t TO PUBLIC", &[ModelWrites]),
        ("EXPLAIN ANALYZE DELETE FROM t", &[ModelWrites]),
        ("PREPARE p AS DELETE FROM t", &[ModelWrites]),
        ("EXECUTE p", &[ModelWrites]),
        ("REFRESH MATERIALIZED VIEW t", &[ModelWrites]),
        ("LOCK TABLE t", &[ModelWrites]),
        ("/* x */ -- y\n DROP TABLE t", &[ModelWrites]),
        ("SELECT * INTO x FROM t", &[ModelWrites]),
        ("SELECT * FROM t FOR UPDATE", &[ModelWrites]),
        (
            "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
            &[ModelWrites],
        ),
        (
            "WITH d AS (INSERT INTO t VALUES (9, 'z') RETURNING *) SELECT 1 AS a",
            &[ModelWrites],
        ),
        (
            "SELECT * FROM (DELETE FROM t RETURNING *) x",
            &[ModelInvalid],
        ),
        ("SELECT sneaky()", &[ModelWrites]),
        ("SELECT reopen()", &[ModelWrites, SourceQueryFailed]),
        ("SELECT nextval('seq')", &[ModelWrites]),
        ("SELECT setval('seq', 7)", &[ModelWrites]),
        (
            "SELECT set_config('transaction_read_only', 'off', true), sneaky()",
            &[ModelWrites, SourceQueryFailed],
        ),
        (
            "SELECT query_to_xml('DELETE FROM t', true, false, '')::text AS a",
            &[ModelInvalid],
        ),
        ("SELECT 1; DELETE FROM t", &[ModelNotOneStatement]),
        ("SELECT 1; COMMIT; DELETE FROM t", &[ModelNotOneStatement]),
        ("SELECT 1;; SELECT 2", &[ModelNotOneStatement]),
        (
            "SELECT 1) AS m; COMMIT; DELETE FROM t; SELECT * FROM (SELECT 1",
            &[ModelInvalid],
        ),
        ("SELECT 1) AS m; DELETE FROM t; --", &[ModelInvalid]),
        ("SELECT 1) AS m) --", &[ModelInvalid]),
        ("SELECT 'a", &[ModelInvalid]),
        ("SELECT $$a", &[ModelInvalid]),
        ("ANALYZE SELECT 1", &[ModelWrites]),
        ("VERBOSE SELECT 1", &[ModelInvalid]),
        ("", &[ModelInvalid]),
        ("; -- nothing", &[ModelInvalid]),
        ("SELECT", &[ModelInvalid]),
        ("SELECT $1 AS a", &[ModelInvalid]),
        ("SELECT $1::int AS a", &[ModelInvalid]),
        ("SELECT id, id FROM t", &[ModelInvalid]),
        ("SELECT * FROM nowhere", &[ModelInvalid]),
        ("SELECT nothing FROM t", &[ModelInvalid]),
    ];
    assert!(corpus.len() >= 30, "{} attempts to escape", corpus.len());
    for (text, codes) in corpus {
        // As the owner: nothing but the transaction protects the table.
        let reason = read(&database, "postgres", text).await.expect_err(text);
        assert!(codes.contains(&reason.code), "{text}: {reason:?}");
    }
    // Only servers from 16 on refuse this one; the end of the transaction undoes it.
    let _ = read(&database, "postgres", "SELECT lo_create(7)").await;
    let left = cluster.psql(
        &database.name,
        "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace), (SELECT is_called FROM seq), (SELECT count(*) FROM pg_largeobject_metadata)",
    );
    assert_eq!(left.trim(), "2|1|f|0");
    println!("rule_22: {} attempts to write, none did", corpus.len() + 1);
}

#[tokio::test]
async fn models_end_as_people_write_them() {
    let database = fresh("endings");
    for text in [
        "SELECT id, v FROM t",
        "SELECT id, v FROM t;",
        "SELECT id, v FROM t ; ;\n\n-- the end",
        "SELECT id, v FROM t -- no newline; here",
        "-- head; with semicolon\nSELECT id, v FROM t /* tail ; */ ;",
        "WITH x AS (SELECT * FROM t) SELECT id, v FROM x ORDER BY id LIMIT 1;",
        "(SELECT id, v FROM t) UNION ALL (SELECT 3, ';')",
        "TABLE t;",
    ] {
        let columns = read(&database, "postgres", text).await.expect(text);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "v"], "{text}");
    }
    assert_eq!(body("VALUES (1, ';') ; "), "VALUES (1, ';')");
}

#[tokio::test]
async fn columns_keep_their_types_and_names() {
    let cluster = Cluster::shared();
    let database = cluster.database("types");
    cluster.psql(
        &database.name,
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN email AS varchar(80); CREATE DOMAIN work AS email;
         CREATE TYPE pair AS (a int, b text);",
    );
    let columns = read(
        &database,
        "postgres",
        "SELECT 1::bigint AS \"Weird \"\"Name\", 1.5::numeric(10,2) AS n, now() AS t",
    )
    .await
    .unwrap();
    let types: Vec<&str> = columns
        .iter()
        .map(|column| column.type_name.as_str())
        .collect();
    assert_eq!(
        types,
        ["bigint", "numeric(10,2)", "timestamp with time zone"]
    );
    assert_eq!(columns[0].name, "Weird \"Name");

    let columns = read(
        &database,
        "postgres",
        "SELECT 'ok'::mood AS e, 'x'::work AS d, ROW(1, 'b')::pair AS c, ARRAY['ok']::mood[] AS a, \
         '[1,2)'::int4range AS r, '{}'::json AS j, point(1, 2) AS p, 'v'::varchar(3) AS v, NULL AS nothing",
    )
    .await
    .unwrap();
    let seen: Vec<(&str, &str, TypeKind, bool)> = columns
        .iter()
        .map(|c| {
            (
                c.type_name.as_str(),
                c.base_name.as_str(),
                c.kind,
                c.orderable,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("mood", "mood", TypeKind::Enum, true),
            ("work", "varchar", TypeKind::Base, true),
            ("pair", "pair", TypeKind::Composite, false),
            ("mood[]", "_mood", TypeKind::Array, true),
            ("int4range", "int4range", TypeKind::Range, true),
            ("json", "json", TypeKind::Base, false),
            ("point", "point", TypeKind::Base, false),
            ("character varying", "varchar", TypeKind::Base, true),
            ("text", "text", TypeKind::Base, true),
        ]
    );
    // Nothing named stays behind for a pooler to lose.
    let client = database.client().await;
    client
        .batch_execute("BEGIN READ ONLY; SELECT 1")
        .await
        .unwrap();
    validate(&client, "SELECT 'ok'::mood AS e").await.unwrap();
    let messages = client
        .simple_query("SELECT name FROM pg_prepared_statements")
        .await
        .unwrap();
    assert!(
        !messages
            .iter()
            .any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)))
    );
}

#[tokio::test]
async fn rule_21_row_security_is_an_error_unless_allowed() {
    let cluster = Cluster::shared();
    let database = fresh("rule_21");
    cluster.psql(
        &database.name,
        "CREATE ROLE rule_21; GRANT SELECT ON t TO rule_21; ALTER ROLE rule_21 LOGIN;
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON t USING (id = 1);",
    );
    let reason = read(&database, "rule_21", "SELECT * FROM t")
        .await
        .unwrap_err();
    assert_eq!(reason.code, Code::RowSecurity);
    assert!(reason.hint.unwrap().contains("row_security: allow"));

    let client = database.client_as("rule_21").await;
    let allowed = ReadSettings {
        row_security: RowSecurity::Allow,
        ..ReadSettings::default()
    };
    let sql = format!("BEGIN READ ONLY; {}", guard_statements(&allowed));
    client.batch_execute(&sql).await.unwrap();
    validate(&client, "SELECT * FROM t").await.unwrap();
}

#[tokio::test]
async fn a_transaction_is_pinned_and_leaves_nothing_behind() {
    let database = fresh("pins");
    let client = database.client().await;
    let settings = ReadSettings {
        search_path: vec!["Odd\"Schema".to_owned(), "public".to_owned()],
        statement_timeout: Some(std::time::Duration::from_secs(7)),
        time_zone: "Asia/Tokyo".to_owned(),
        row_security: RowSecurity::Error,
    };
    let show = "SELECT current_setting('search_path'), current_setting('statement_timeout'), current_setting('TimeZone'), current_setting('row_security')";
    let read = async || {
        let row = client.query_typed_one(show, &[]).await.unwrap();
        (0..4).map(|i| row.get::<_, String>(i)).collect::<Vec<_>>()
    };
    let before = read().await;
    let sql = format!("BEGIN READ ONLY; {}", guard_statements(&settings));
    client.batch_execute(&sql).await.unwrap();
    assert_eq!(
        read().await,
        ["\"Odd\"\"Schema\", public", "7s", "Asia/Tokyo", "off"]
    );
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(read().await, before);
}
