//! Settings, checks, grants, and tables made on request.

use rowcast_core::{
    CheckStatus, Code, Destination as _, Mode, Operation, Outcome, SettingValue, Value,
};

use super::*;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text)";

async fn refused(config: DestinationConfig) -> rowcast_core::Reason {
    let destination = Postgres::new(config).unwrap();
    let fault = destination.open(&context(1)).await.unwrap_err();
    assert!(
        matches!(fault, rowcast_core::Fault::Fatal { .. }),
        "{fault:?}"
    );
    fault.reason().clone()
}

#[tokio::test]
async fn an_upsert_without_a_unique_index_names_the_statement_that_makes_it() {
    let bench = Bench::new(
        "no_index",
        "CREATE TABLE t (id int, mail text, name text); CREATE UNIQUE INDEX part ON t (mail) WHERE id > 3;
         ALTER TABLE t ADD UNIQUE (id) DEFERRABLE; CREATE UNIQUE INDEX wide ON t (mail, name)",
    )
    .await;
    for field in ["mail", "id"] {
        let reason = refused(bench.config("t", Mode::Upsert, &[field])).await;
        assert_eq!(reason.code, Code::DestinationObject);
        let cure = reason.hint.unwrap();
        assert_eq!(
            cure,
            format!("CREATE UNIQUE INDEX ON \"public\".\"t\" (\"{field}\");")
        );
        bench.client.batch_execute(&cure).await.unwrap();
        bench.open("t", Mode::Upsert, &[field]).await;
    }
    // In any order of the columns.
    bench.open("t", Mode::Upsert, &["name", "mail"]).await;
}

#[tokio::test]
async fn a_missing_table_or_match_column_says_so_at_open() {
    let bench = Bench::new("missing", TABLE).await;
    let reason = refused(bench.config("nowhere", Mode::Upsert, &["id"])).await;
    assert_eq!(reason.code, Code::DestinationObject);
    assert!(
        reason
            .hint
            .unwrap()
            .starts_with("CREATE TABLE \"public\".\"nowhere\"")
    );
    let reason = refused(bench.config("t", Mode::Upsert, &["nane"])).await;
    assert_eq!(reason.hint.as_deref(), Some("did you mean \"name\"?"));
}

#[tokio::test]
async fn the_grants_that_are_named_are_enough() {
    let bench = Bench::new("grants", TABLE).await;
    // Roles belong to the whole cluster.
    let role = format!("Writer {}", bench.database.name);
    let setup = format!(
        "CREATE ROLE \"{role}\" LOGIN; CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, name text)"
    );
    bench.client.batch_execute(&setup).await.unwrap();
    let config = bench.config_as(&role, "s.t", Mode::Mirror, &["id"], &[]);
    let checks = Postgres::new(config.clone()).unwrap().check().await;
    let failed: Vec<&str> = checks
        .iter()
        .filter(|check| check.status == CheckStatus::Failed)
        .map(|check| check.name.as_str())
        .collect();
    assert_eq!(failed, ["privileges", "progress schema"]);
    for _ in 0..2 {
        let cure = refused(config.clone()).await.hint.unwrap();
        let cure = cure.split(" or ").next().unwrap();
        bench.client.batch_execute(cure).await.unwrap();
    }
    let destination = opened(config).await;
    let checks = destination.check().await;
    assert!(
        checks
            .iter()
            .all(|check| check.status == CheckStatus::Passed),
        "{checks:?}"
    );
    for (intent, operation) in [(1, Operation::Upsert), (2, Operation::Delete)] {
        let batch = batch(intent, operation, &[(1, "name", "one".into())]);
        assert_eq!(
            destination.write(&batch).await.unwrap(),
            [Outcome::Delivered]
        );
    }
    destination.finish().await.unwrap();
}

#[tokio::test]
async fn checks_change_nothing_and_name_the_cure() {
    let bench = Bench::new("checks", "CREATE TABLE t (id int, name text)").await;
    let checks = Postgres::new(bench.config("t", Mode::Upsert, &["id"]))
        .unwrap()
        .check()
        .await;
    let shown: Vec<(&str, CheckStatus)> =
        checks.iter().map(|c| (c.name.as_str(), c.status)).collect();
    assert_eq!(
        shown,
        [
            ("connect", CheckStatus::Passed),
            ("table", CheckStatus::Passed),
            ("privileges", CheckStatus::Passed),
            ("unique index", CheckStatus::Failed),
            ("temporary tables", CheckStatus::Passed),
            ("progress schema", CheckStatus::Passed),
        ]
    );
    assert_eq!(
        bench.text("SELECT to_regnamespace('_rowcast')::text").await,
        ""
    );
    let mut nowhere = bench.config("t", Mode::Upsert, &["id"]);
    nowhere.settings = SettingValue::Map(vec![
        ("host".into(), SettingValue::Text("/nowhere".into())),
        ("database".into(), SettingValue::Text("d".into())),
        ("user".into(), SettingValue::Text("u".into())),
    ]);
    let checks = Postgres::new(nowhere).unwrap().check().await;
    assert_eq!(
        checks[0].reason.as_ref().unwrap().code,
        Code::DestinationUnreachable
    );
    assert!(
        checks[1..]
            .iter()
            .all(|check| check.status == CheckStatus::Skipped)
    );
}

#[tokio::test]
async fn a_table_is_made_on_request_and_columns_are_added() {
    let bench = Bench::new("create", "SELECT 1").await;
    let create = [("create", SettingValue::Bool(true))];
    let destination =
        opened(bench.config_as("postgres", "made", Mode::Upsert, &["id"], &create)).await;
    let record = |id: i64, fields: &[(&str, Value)]| {
        record(
            Operation::Upsert,
            object(&[("id", Value::Int(id))]),
            object(fields),
        )
    };
    let first = of(
        1,
        Operation::Upsert,
        vec![
            record(
                1,
                &[
                    ("price", Value::Decimal("1.50".into())),
                    ("tags", Value::Json("[1]".into())),
                ],
            ),
            record(2, &[("price", Value::Null), ("at", Value::TimestampTz(0))]),
        ],
    );
    assert_eq!(
        destination.write(&first).await.unwrap(),
        vec![Outcome::Delivered; 2]
    );
    let second = of(
        2,
        Operation::Upsert,
        vec![record(2, &[("new", Value::Bool(true))])],
    );
    assert_eq!(
        destination.write(&second).await.unwrap(),
        [Outcome::Delivered]
    );
    assert_eq!(
        bench
            .text("SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'made'::regclass AND attnum > 0")
            .await,
        "id bigint, price numeric, tags jsonb, at timestamp with time zone, new boolean"
    );
    assert_eq!(
        bench
            .text("SELECT string_agg(made::text, ' ' ORDER BY id) FROM made")
            .await
            .matches('(')
            .count(),
        2
    );
}

#[tokio::test]
async fn tables_and_columns_are_discovered() {
    let bench = Bench::new(
        "discover",
        "CREATE TABLE t (id int PRIMARY KEY, \"a.b\" numeric(10,2), made text GENERATED ALWAYS AS ('x') STORED);
         CREATE SCHEMA crm; CREATE TABLE crm.\"x.y\" (id int)",
    )
    .await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let objects = destination.discover().await.unwrap();
    let t = objects.iter().find(|object| &*object.name == "t").unwrap();
    let fields: Vec<(&str, &str, bool)> = t
        .fields
        .iter()
        .map(|f| (&*f.name, f.type_name.as_str(), f.required))
        .collect();
    assert_eq!(
        fields,
        [("id", "integer", true), ("a.b", "numeric(10,2)", false)]
    );
    assert!(
        objects.iter().any(|object| &*object.name == "crm.\"x.y\""),
        "{objects:?}"
    );
}

#[test]
fn settings_report_every_problem_and_never_show_the_url() {
    let config = |settings: &[(&str, SettingValue)], object: &str| DestinationConfig {
        object: object.into(),
        mode: Mode::Upsert,
        match_fields: vec!["id".into()],
        key_columns: vec!["id".into()],
        project_dir: "/".into(),
        ..DestinationConfig::new(
            "warehouse",
            SettingValue::Map(
                settings
                    .iter()
                    .map(|(n, v)| ((*n).to_owned(), v.clone()))
                    .collect(),
            ),
        )
    };
    let text = |text: &str| SettingValue::Text(text.to_owned());
    let names = |settings: &[(&str, SettingValue)], object: &str| -> Vec<String> {
        let problems = super::super::build(config(settings, object)).err().unwrap();
        assert!(!format!("{problems:?}").contains("hunter2"));
        problems.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&[], ""), ["object", "host", "database", "user"]);
    assert_eq!(
        names(
            &[
                ("host", text("h")),
                ("database", text("d")),
                ("user", text("u")),
                ("port", SettingValue::Number("99999".into())),
                ("creat", SettingValue::Bool(true)),
                ("schema", text("")),
            ],
            "a.b.c"
        ),
        ["creat", "schema", "object", "port"]
    );
    let url = SettingValue::Secret("mysql://u:hunter2@h/d".to_owned().into());
    assert_eq!(
        names(&[("url", url), ("host", text("h"))], "t"),
        ["host", "url"]
    );
}
