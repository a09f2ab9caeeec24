//! Checks name the missing grant, and what setup-sql prints makes them green.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::collections::BTreeMap;
use std::time::Duration;

use rowcast_core::ledger::{DiffRequest, Ledger, OpenRequest, Step};
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{
    Check, CheckStatus, Code, Mode, Operation, RunReport, RunStatus, Selection, Settled, Verdict,
};
use rowcast_postgres::check::{CheckRequest, ModelCheck, StatePlace, check};
use rowcast_postgres::connect::{ConnectConfig, Connector};
use rowcast_postgres::ledger::{
    LedgerConfig, LogLevel, ModelBody, ModelSpec, PgLedger, SpoolConfig, SyncSpec,
};
use rowcast_postgres::model_text::ReadSettings;
use rowcast_postgres::setup_sql::{SetupRequest, SetupStyle, setup_sql};
use rowcast_testkit::postgres::{Cluster, Database};

fn request(database: &Database, role: &str, state: &str, models: &[(&str, &str)]) -> CheckRequest {
    let config = ConnectConfig::from_url(&database.url_as(role)).expect("a URL of the cluster");
    CheckRequest {
        connector: Connector::new(config),
        models: models
            .iter()
            .map(|(name, sql)| ModelCheck {
                name: (*name).to_owned(),
                sql: (*sql).to_owned(),
                settings: ReadSettings::default(),
            })
            .collect(),
        state: StatePlace::Here {
            schema: state.to_owned(),
        },
    }
}

fn of<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no check {name}: {checks:?}"))
}

fn with_status(checks: &[Check], status: CheckStatus) -> Vec<&str> {
    checks
        .iter()
        .filter(|check| check.status == status)
        .map(|check| check.name.as_str())
        .collect()
}

fn hint(check: &Check) -> &str {
    check
        .reason
        .as_ref()
        .and_then(|reason| reason.hint.as_deref())
        .unwrap_or_else(|| panic!("no hint: {check:?}"))
}

const NAMES: [&str; 9] = [
    "connect",
    "version",
    "primary or replica",
    "read only",
    "list schemas",
    "read model orders",
    "temporary tables",
    "state schema",
    "excess privileges",
];

/// Which check notices that a grant is gone.
fn notices(grant: &str) -> &'static str {
    match grant {
        g if g.starts_with("GRANT CONNECT") => "connect",
        g if g.starts_with("GRANT TEMPORARY") => "temporary tables",
        g if g.starts_with("GRANT USAGE, CREATE ON SCHEMA") => "state schema",
        g if g.starts_with("GRANT CREATE ON DATABASE") => "state schema",
        _ => "read model orders",
    }
}

/// A ledger over the model `orders`, with nothing but what setup-sql granted.
fn orders_ledger(source: Connector) -> PgLedger {
    PgLedger::new(LedgerConfig {
        source,
        state: None,
        source_name: "shop".into(),
        state_schema: "_rowcast".into(),
        model: ModelSpec {
            name: "orders".into(),
            body: ModelBody::Sql("SELECT id FROM \"My App\".\"Orders\" -- all".into()),
            primary_key: vec!["id".into()],
            time_zone: "UTC".into(),
            search_path: vec![],
            filter: None,
            cursor: None,
            allow_row_security: false,
            statement_timeout: None,
        },
        sync: SyncSpec {
            name: "orders".into(),
            was: None,
            identity: BTreeMap::new(),
            mode: Mode::Upsert,
            on: Selection::default(),
            gate: String::new(),
            columns: vec!["id".into()],
            digests: BTreeMap::new(),
            match_columns: None,
            keep_rows: false,
            log: LogLevel::Default,
            retry: RetryPolicy::default(),
            overrides: vec![],
        },
        spool: SpoolConfig::default(),
    })
}

/// One run in which every change is delivered. Gives the number of changes.
async fn complete_a_run(source: &Connector) -> usize {
    let ledger = orders_ledger(source.clone());
    let open = OpenRequest {
        request_timeout: Duration::from_secs(1),
        ..OpenRequest::default()
    };
    let lease = ledger.open(&open).await.unwrap().lease;
    ledger.recover(&lease, &[]).await.unwrap();
    let found = ledger.changes(Some(&lease), &DiffRequest::default()).await;
    let mut found = found.unwrap();
    let changes = found.changes.next(100).await.unwrap();
    let settled = changes
        .iter()
        .map(|change| Settled {
            key: change.key.clone(),
            kind: change.kind,
            checksum: change.checksum,
            verdict: Verdict::Delivered(Operation::Upsert),
            retried: false,
            match_values: None,
            sent: None,
            idempotency_key: None,
            keep_state: false,
        })
        .collect();
    let step = Step {
        settled,
        ..Step::default()
    };
    ledger.commit(&lease, step).await.unwrap();
    let mut report = RunReport::new("orders".into(), lease.run, 0);
    report.counts = found.counts;
    report.delivered = changes.len() as u64;
    report.status = RunStatus::Succeeded;
    report.balance().unwrap();
    ledger.finish(&lease, &report).await.unwrap();
    changes.len()
}

async fn setup_makes_checks_green(style: SetupStyle, superuser: bool, all_tables: bool) {
    let cluster = Cluster::shared();
    let database = cluster.database("setup");
    let boss = format!("boss_{}", database.name);
    let attributes = if superuser { "SUPERUSER" } else { "CREATEROLE" };
    cluster.psql(
        &database.name,
        &format!(
            "CREATE ROLE {boss} LOGIN {attributes}; ALTER DATABASE {0} OWNER TO {boss};
             REVOKE ALL ON DATABASE {0} FROM PUBLIC;",
            database.name
        ),
    );
    cluster
        .psql_as(
            &boss,
            &database.name,
            "CREATE SCHEMA \"My App\"; CREATE TABLE \"My App\".\"Orders\" (id int PRIMARY KEY)",
        )
        .unwrap();
    // A name that needs quoting everywhere.
    let role = format!("Reader's \"{}\" $rowcast$", database.name);
    let setup = SetupRequest {
        style,
        role: role.clone(),
        database: database.name.clone(),
        state_schema: "_rowcast".to_owned(),
        schemas: if all_tables {
            vec!["My App".to_owned()]
        } else {
            vec![]
        },
        tables: if all_tables {
            vec![]
        } else {
            vec![("My App".to_owned(), "Orders".to_owned())]
        },
        all_tables,
        future_tables: all_tables.then(|| boss.clone()),
    };
    let sql = setup_sql(&setup);
    let paste = |sql: &str| cluster.psql_as(&boss, &database.name, sql).unwrap();
    paste(&sql);
    // It can be pasted again.
    paste(&sql);

    let mut config = ConnectConfig::from_url(&database.url()).unwrap();
    config.user.clone_from(&role);
    let request = CheckRequest {
        connector: Connector::new(config),
        ..request(
            &database,
            "postgres",
            "_rowcast",
            &[("orders", "SELECT id FROM \"My App\".\"Orders\" -- all")],
        )
    };
    let green = check(&request).await;
    assert_eq!(
        with_status(&green, CheckStatus::Passed),
        NAMES,
        "{green:#?}\n{sql}"
    );

    let grants: Vec<&str> = sql
        .lines()
        .filter(|line| line.starts_with("GRANT "))
        .collect();
    assert_eq!(grants.len(), 5, "{sql}");
    for grant in grants {
        let revoke =
            grant
                .replacen("GRANT ", "REVOKE ", 1)
                .replacen(" TO \"Reader", " FROM \"Reader", 1);
        paste(&revoke);
        let checks = check(&request).await;
        let expected = notices(grant);
        assert_eq!(
            with_status(&checks, CheckStatus::Failed),
            [expected],
            "{revoke}: {checks:#?}"
        );
        let named = grant.replace("ALL TABLES IN SCHEMA \"My App\"", "\"My App\".\"Orders\"");
        let cure = hint(of(&checks, expected));
        assert!(cure.contains(&named), "{revoke}: {cure}");
        if expected == "connect" {
            assert_eq!(with_status(&checks, CheckStatus::Skipped), NAMES[1..]);
        }
        // The cure alone makes it green again.
        paste(&named);
        let checks = check(&request).await;
        assert_eq!(
            with_status(&checks, CheckStatus::Passed),
            NAMES,
            "{named}: {checks:#?}"
        );
    }
    // The printed role completes a run, and the next finds nothing.
    paste("INSERT INTO \"My App\".\"Orders\" SELECT generate_series(1, 3)");
    assert_eq!(complete_a_run(&request.connector).await, 3);
    assert_eq!(complete_a_run(&request.connector).await, 0);
    if all_tables {
        paste("CREATE TABLE \"My App\".\"Later\" (id int)");
        let later = CheckRequest {
            models: vec![ModelCheck {
                name: "later".to_owned(),
                sql: "TABLE \"My App\".\"Later\"".to_owned(),
                settings: ReadSettings::default(),
            }],
            ..request
        };
        let checks = check(&later).await;
        assert_eq!(of(&checks, "read model later").status, CheckStatus::Passed);
    }
}

#[tokio::test]
async fn setup_sql_managed_as_superuser_makes_every_check_green_and_a_run_complete() {
    setup_makes_checks_green(SetupStyle::Managed, true, false).await;
}

#[tokio::test]
async fn setup_sql_managed_as_owner_with_createrole_makes_every_check_green_and_a_run_complete() {
    setup_makes_checks_green(SetupStyle::Managed, false, true).await;
}

#[tokio::test]
async fn setup_sql_owned_as_superuser_makes_every_check_green_and_a_run_complete() {
    setup_makes_checks_green(SetupStyle::Owned, true, true).await;
}

#[tokio::test]
async fn setup_sql_owned_as_owner_with_createrole_makes_every_check_green_and_a_run_complete() {
    setup_makes_checks_green(SetupStyle::Owned, false, false).await;
}

#[tokio::test]
async fn the_grants_others_products_asked_for_are_enough() {
    let cluster = Cluster::shared();
    let database = cluster.database("migrated");
    cluster.psql(
        &database.name,
        "CREATE SCHEMA app; CREATE TABLE app.t (id int);
         CREATE USER rudder WITH PASSWORD 'x'; CREATE SCHEMA \"_rudderstack\";
         GRANT ALL ON SCHEMA \"_rudderstack\" TO RUDDER;
         GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA \"_rudderstack\" TO RUDDER;
         GRANT USAGE ON SCHEMA app TO RUDDER; GRANT SELECT ON TABLE app.t TO RUDDER;
         CREATE ROLE segment LOGIN; GRANT USAGE ON SCHEMA app TO segment; GRANT SELECT ON app.t TO segment;",
    );
    cluster.psql(
        &database.name,
        &format!("GRANT CREATE ON DATABASE {} TO segment", database.name),
    );
    for (role, schema) in [
        ("rudder", "_rudderstack"),
        ("segment", "__segment_reverse_etl"),
    ] {
        let request = request(&database, role, schema, &[("t", "SELECT * FROM app.t")]);
        let checks = check(&request).await;
        assert_eq!(
            with_status(&checks, CheckStatus::Failed),
            [""; 0],
            "{checks:#?}"
        );
        assert_eq!(
            with_status(&checks, CheckStatus::Warned),
            [""; 0],
            "{checks:#?}"
        );
    }
}

#[tokio::test]
async fn a_view_whose_owner_lacks_a_grant_names_the_owner() {
    let cluster = Cluster::shared();
    let database = cluster.database("views");
    cluster.psql(
        &database.name,
        "CREATE ROLE view_owner; CREATE ROLE view_reader LOGIN;
         CREATE SCHEMA raw; CREATE TABLE raw.events (id int); CREATE TABLE raw.other (id int);
         CREATE SCHEMA app; GRANT USAGE, CREATE ON SCHEMA app TO view_owner; GRANT USAGE ON SCHEMA raw TO view_owner;
         GRANT SELECT ON raw.events TO view_owner;
         SET ROLE view_owner; CREATE VIEW app.inner_v AS SELECT id FROM raw.events;
         CREATE VIEW app.outer_v AS SELECT id FROM app.inner_v; RESET ROLE;
         GRANT USAGE ON SCHEMA app TO view_reader; GRANT SELECT ON app.outer_v TO view_reader;",
    );
    let request = request(
        &database,
        "view_reader",
        "_rowcast",
        &[(
            "events",
            "SELECT id FROM app.outer_v WHERE 'raw.other' <> ''",
        )],
    );
    let checks = check(&request).await;
    assert_eq!(of(&checks, "read model events").status, CheckStatus::Passed);
    cluster.psql(
        &database.name,
        "REVOKE SELECT ON raw.events FROM view_owner",
    );
    let checks = check(&request).await;
    let failed = of(&checks, "read model events");
    let reason = failed.reason.as_ref().unwrap();
    assert_eq!(reason.code, Code::PermissionMissing);
    assert_eq!(
        hint(failed),
        "GRANT SELECT ON \"raw\".\"events\" TO \"view_owner\";"
    );
    let detail = reason.detail.as_deref().unwrap();
    assert!(
        detail.contains("the view \"app\".\"inner_v\" reads"),
        "{detail}"
    );
}

#[tokio::test]
async fn everything_a_model_lacks_is_named_at_once() {
    let cluster = Cluster::shared();
    let database = cluster.database("several");
    cluster.psql(
        &database.name,
        "CREATE ROLE several LOGIN; CREATE SCHEMA one; CREATE SCHEMA two;
         CREATE TABLE one.a (id int, secret text); CREATE TABLE two.b (id int); GRANT USAGE ON SCHEMA one TO several;
         GRANT SELECT (id) ON one.a TO several;",
    );
    let mut request = request(
        &database,
        "several",
        "_rowcast",
        &[
            ("both", "SELECT * FROM one.a JOIN two.b USING (id)"),
            ("columns", "SELECT id FROM one.a"),
            ("path", "SELECT id FROM b"),
            ("typo", "SELECT id FROM nowhere"),
        ],
    );
    request.models[2].settings.search_path = vec!["two".to_owned()];
    let checks = check(&request).await;
    let cures = hint(of(&checks, "read model both"));
    assert_eq!(
        cures,
        "GRANT SELECT ON \"one\".\"a\" TO \"several\";\nGRANT USAGE ON SCHEMA \"two\" TO \"several\";\nGRANT SELECT ON \"two\".\"b\" TO \"several\";"
    );
    assert_eq!(
        of(&checks, "read model columns").status,
        CheckStatus::Passed
    );
    // Without USAGE the server only says that the table does not exist.
    let path = of(&checks, "read model path");
    assert!(
        hint(path).contains("GRANT USAGE ON SCHEMA \"two\""),
        "{path:?}"
    );
    let typo = of(&checks, "read model typo").reason.as_ref().unwrap();
    assert_eq!(typo.code, Code::ModelInvalid);
}

#[tokio::test]
async fn excess_privileges_are_warned_of() {
    let cluster = Cluster::shared();
    let database = cluster.database("excess");
    cluster.psql(
        &database.name,
        "CREATE ROLE mighty LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS; GRANT pg_write_server_files TO mighty;
         GRANT pg_execute_server_program TO mighty; CREATE TABLE t (id int); GRANT SELECT, UPDATE ON t TO mighty;",
    );
    let checks = check(&request(&database, "mighty", "_rowcast", &[])).await;
    let warned = of(&checks, "excess privileges");
    assert_eq!(warned.status, CheckStatus::Warned);
    let cures = hint(warned);
    for cure in [
        "NOCREATEDB",
        "NOCREATEROLE",
        "NOREPLICATION",
        "NOBYPASSRLS",
        "REVOKE pg_write_server_files",
        "REVOKE pg_execute_server_program",
        "ON \"public\".\"t\" FROM \"mighty\"",
    ] {
        assert!(cures.contains(cure), "{cures}");
    }
    let checks = check(&request(&database, "postgres", "_rowcast", &[])).await;
    assert!(hint(of(&checks, "excess privileges")).contains("NOSUPERUSER"));
}

#[tokio::test]
async fn state_that_cant_be_written_says_why() {
    let cluster = Cluster::shared();
    let database = cluster.database("readonly");
    cluster.psql(
        &database.name,
        "CREATE ROLE readonly_role LOGIN; ALTER ROLE readonly_role SET default_transaction_read_only = on;
         CREATE SCHEMA s; GRANT USAGE, CREATE ON SCHEMA s TO readonly_role;
         CREATE ROLE half LOGIN; GRANT USAGE ON SCHEMA s TO half;",
    );
    let checks = check(&request(&database, "readonly_role", "s", &[])).await;
    let failed = of(&checks, "state schema");
    assert_eq!(failed.reason.as_ref().unwrap().code, Code::StateNotWritable);
    assert!(hint(failed).contains("RESET default_transaction_read_only"));
    let checks = check(&request(&database, "half", "s", &[])).await;
    assert_eq!(
        hint(of(&checks, "state schema")),
        "GRANT CREATE ON SCHEMA \"s\" TO \"half\";"
    );
    // Kept elsewhere, the same source is green.
    let mut elsewhere = request(&database, "half", "s", &[]);
    elsewhere.state = StatePlace::Elsewhere {
        connector: Connector::new(ConnectConfig::from_url(&database.url()).unwrap()),
        schema: "s".to_owned(),
    };
    let checks = check(&elsewhere).await;
    assert_eq!(of(&checks, "state schema").status, CheckStatus::Passed);
    // Nothing of the probes is left.
    let left = cluster.psql(
        &database.name,
        "SELECT count(*) FROM pg_class WHERE relname LIKE 'probe%'",
    );
    assert_eq!(left.trim(), "0");
}
