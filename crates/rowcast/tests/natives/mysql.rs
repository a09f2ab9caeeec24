//! From PostgreSQL to MariaDB.

use std::process::Child;

use rowcast_testkit::postgres::{Cluster, Database};
use rowcast_testkit::servers::MariaDb;
use serde_json::Value;

use crate::command;
use crate::customers::killed;
use crate::project::Project;

/// Every version of a row that was written is in `history`, once for each time it was written.
const TABLE: &str = "CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(40), \
     paid DECIMAL(12,2), seen DATETIME(6)); \
     CREATE TABLE history (id BIGINT, name VARCHAR(40)); \
     CREATE TRIGGER added AFTER INSERT ON customers FOR EACH ROW \
     INSERT INTO history VALUES (NEW.id, NEW.name); \
     CREATE TRIGGER changed AFTER UPDATE ON customers FOR EACH ROW \
     INSERT INTO history VALUES (NEW.id, NEW.name)";

async fn source(name: &str, rows: u32) -> Database {
    let source = Cluster::shared().database(name);
    let client = source.client().await;
    client
        .batch_execute(&format!(
            "CREATE TABLE customers (id bigint PRIMARY KEY, name text, paid numeric, seen timestamptz); \
             INSERT INTO customers SELECT n, 'first', n * 1.25, timestamptz '2024-02-29 12:00+00' + \
             n * interval '1 minute' FROM generate_series(1, {rows}) n"
        ))
        .await
        .expect("the source's rows");
    source
}

fn project(source: &Database, server: &MariaDb, more: &str) -> Project {
    let project = Project::new(source);
    project.model("customers", "customers");
    project.file(
        "destinations/shop.yml",
        &format!(
            "destination: shop\nconnector: mysql\nallow_addresses: [127.0.0.1/32]\n{more}\n\
             settings:\n  host: 127.0.0.1\n  port: {}\n  tls: false\n  user: rowcast\n  \
             password: {}\n  database: shop\n",
            server.port, server.password
        ),
    );
    project.sync(
        "customers_to_shop",
        "customers",
        "shop",
        "object: customers\nmode: mirror\nguards: { removed: 100% }\n\
         fields: { name: name, paid: paid, seen: seen }\n",
    );
    project
}

async fn rows(source: &Database) -> Vec<String> {
    let client = source.client().await;
    let rows = client
        .query(
            "SELECT concat_ws(E'\\t', id, name, paid::numeric(12,2), \
             to_char(seen AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')) \
             FROM customers ORDER BY id",
            &[],
        )
        .await
        .expect("the source's rows");
    rows.iter().map(|row| row.get(0)).collect()
}

fn held(server: &MariaDb) -> Vec<String> {
    server.sql("SELECT id, name, paid, seen FROM customers ORDER BY id")
}

/// Ends when so many rows are there; the run that brings them must still go on.
fn wait_for_rows(server: &MariaDb, count: usize, run: &mut Child) {
    loop {
        let there = server.sql("SELECT COUNT(*) FROM customers");
        if there[0].parse::<usize>().expect("a count") >= count {
            return;
        }
        let ended = run.try_wait().expect("ask for the process");
        assert!(ended.is_none(), "the run ended too soon");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_14_a_killed_worker_loses_nothing_and_writes_nothing_twice_in_mariadb() {
    let server = MariaDb::start();
    server.sql(TABLE);
    let source = source("native_mysql_killed", 300).await;
    // A lease lasts three timeouts and at least 3 s.
    let project = project(&source, &server, "timeout: 1s\nbatch: { max_records: 50 }");
    let client = source.client().await;
    let mut versions = vec!["first".to_owned()];
    for place in [
        "mysql-destination-opened:1",
        "mysql-destination-written:3",
        "mysql-destination-committed:3",
        "acknowledge-before:2",
        "acknowledge-committed:2",
    ] {
        let version = format!("after {place}");
        client
            .execute("UPDATE customers SET name = $1", &[&version])
            .await
            .expect("a change");
        versions.push(version);
        killed(&project, "customers_to_shop", place);
        let again = project.ran(&["run", "customers_to_shop", "--wait"]);
        assert_eq!(again.code, Some(0), "{place}: {}", again.words());
        assert_eq!(held(&server), rows(&source).await, "{place}");
        let repeated = server
            .sql("SELECT id, name, COUNT(*) FROM history GROUP BY id, name HAVING COUNT(*) > 1");
        assert!(repeated.is_empty(), "{place}: written twice: {repeated:?}");
    }
    client
        .execute("DELETE FROM customers WHERE id > 200", &[])
        .await
        .expect("a change");
    project.run("customers_to_shop", &[], 0);
    assert_eq!(held(&server), rows(&source).await);
    assert_eq!(held(&server).len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_in_mid_run_ends_equal_to_the_source() {
    let mut server = MariaDb::start();
    server.sql(TABLE);
    let source = source("native_mysql_restarted", 400).await;
    let slow = "rate: { requests: 10, per: 1s }\nconcurrency: 1\nbatch: { max_records: 10 }";
    let project = project(&source, &server, slow);
    let mut run = project
        .rowcast(&["run", "customers_to_shop", "--json"])
        .spawn()
        .expect("start a run");
    wait_for_rows(&server, 50, &mut run);
    server.restart();
    let ended = command::wait(run);
    if ended.code != Some(0) {
        let report: Value = project.run("customers_to_shop", &["--wait"], 0);
        assert_eq!(report["rejected"], 0, "{report:#}");
    }
    assert_eq!(held(&server), rows(&source).await);
    let again = project.run("customers_to_shop", &[], 0);
    assert_eq!(again["delivered"], 0, "{again:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_a_missing_table_and_a_refused_row_is_rejected_with_the_servers_words() {
    let server = MariaDb::start();
    let source = source("native_mysql_check", 3).await;
    let project = project(&source, &server, "");
    let checked = project.ran(&["check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.words());
    assert!(
        checked
            .stdout
            .contains("there is no table `shop`.`customers`"),
        "{}",
        checked.words()
    );
    server.sql(TABLE);
    server.sql("ALTER TABLE customers ADD CONSTRAINT small CHECK (paid < 3)");
    let report = project.run("customers_to_shop", &[], 0);
    assert_eq!(
        (&report["delivered"], &report["rejected"]),
        (&2.into(), &1.into())
    );
    let rejects = project.ran(&["rejects", "customers_to_shop", "--json"]);
    assert!(rejects.stdout.contains("small"), "{}", rejects.words());
    assert!(!rejects.words().contains(server.password));
}
