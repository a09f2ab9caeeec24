//! Everything through PgBouncer in transaction mode, with two server connections that other
//! clients use too, so that two transactions of ours are seldom on the same one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_testkit::api::BadRecords;
use rowcast_testkit::pgbouncer::PgBouncer;
use rowcast_testkit::postgres::Cluster;

use crate::shop::Shop;
use crate::{change, start_held};

/// Another client of the same pool, who never pauses.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Neighbour {
    fn start(shop: &Shop, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, role) = (stop.clone(), shop.role().to_owned());
        let database = shop.database.name.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::Config::new()
                    .host("127.0.0.1")
                    .port(port)
                    .user(&role)
                    .dbname(&database)
                    .connect(tokio_postgres::NoTls)
                    .await
                    .expect("the neighbour connects");
                let driver = tokio::spawn(connection);
                let mut transactions = 0;
                while !told.load(Ordering::Relaxed) {
                    client
                        .batch_execute("BEGIN; SELECT pg_sleep(0.002); COMMIT")
                        .await
                        .expect("the neighbour is served");
                    transactions += 1;
                }
                driver.abort();
                transactions
            })
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("started once");
        thread.join().expect("the neighbour ends well")
    }
}

/// What our transactions left in the pool's server connections: settings, prepared statements,
/// temporary tables, advisory locks. Asked through the pool, of each connection several times.
async fn left_behind(shop: &Shop, port: u16) -> Vec<String> {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(port)
        .user(shop.role())
        .dbname(&shop.database.name)
        .connect(tokio_postgres::NoTls)
        .await
        .expect("connect to the pool");
    let driver = tokio::spawn(connection);
    // The pooler itself sets what clients may say at the start.
    let ask = "SELECT pg_backend_pid() || ': ' || concat_ws(', ',
          (SELECT string_agg(name || '=' || setting, ', ') FROM pg_settings WHERE source = 'session'
            AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone',
                             'standard_conforming_strings')),
          (SELECT string_agg('statement ' || name, ', ') FROM pg_prepared_statements),
          (SELECT string_agg('table ' || relname, ', ') FROM pg_class
            WHERE relpersistence = 't' AND relkind = 'r'),
          (SELECT string_agg('lock ' || objid, ', ') FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))";
    let mut found = Vec::new();
    for _ in 0..6 {
        let messages = client.simple_query(ask).await.expect("ask the pool");
        for message in messages {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                found.push(row.get(0).unwrap_or_default().to_owned());
            }
        }
    }
    driver.abort();
    found.sort();
    found.dedup();
    found
}

fn open(name: &str) -> (Shop, PgBouncer) {
    let shop = Shop::open(name);
    let pooler = PgBouncer::start(Cluster::shared(), &[shop.role()], 2);
    let direct = format!("port: {}", shop.database.port);
    let source = shop.source("sslmode: disable\n");
    shop.write(
        "sources/shop.yml",
        &source.replace(&direct, &format!("port: {}", pooler.port)),
    );
    (shop, pooler)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_through_a_pooler_and_leaves_nothing_in_it() {
    let (shop, pooler) = open("reach_pooler");
    let neighbour = Neighbour::start(&shop, pooler.port);
    shop.run("check shop", 0);
    shop.run("tables shop", 0);
    shop.run("setup-sql shop --style owned --table public.customers", 0);
    shop.run("preview customers", 0);
    shop.run("plan", 0);
    shop.api
        .refuse(BadRecords::refuse_whole(BadRecords::ids(&[7])).message("no such plan"));
    shop.run("run --fail-on-rejected", 5);
    let why = shop.run("why customers_to_crm 7", 0);
    assert!(why.stdout.contains("no such plan"), "{}", why.stdout);
    shop.api.behave();
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
    shop.run("run", 0);
    for _ in 0..3 {
        change(&shop);
        shop.run("run", 0);
        assert_eq!(shop.delivered(), shop.rows());
    }
    let transactions = neighbour.stop();
    assert!(
        transactions > 10,
        "the neighbour was starved: {transactions}"
    );
    let left = left_behind(&shop, pooler.port).await;
    assert_eq!(left.len(), 2, "two server connections: {left:?}");
    assert!(left.iter().all(|line| line.ends_with(": ")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_behind_a_pooler_ends_when_its_time_is_over() {
    let (shop, _pooler) = open("reach_pooler_late");
    let limit = "sslmode: disable\nlimits: { statement_timeout: 500ms }\n";
    shop.edit("sources/shop.yml", "sslmode: disable\n", limit);
    shop.run("run", 0);
    // A model that takes too long is ended by the server itself: the limit is set in the transaction.
    let table = shop.edit(
        "models/customers.yml",
        "table: customers",
        "sql: SELECT c.*, pg_sleep(60)::text AS slept FROM customers c",
    );
    let late = shop.run("preview customers", 1);
    assert!(late.stderr.contains("E0215"), "{}", late.stderr);
    let late = shop.run("run", 1);
    assert!(
        late.stdout.contains("E0215") && late.stdout.contains("statement timeout"),
        "{}\n{}",
        late.stdout,
        late.stderr
    );
    shop.write("models/customers.yml", &table);
    // A statement outside of such a transaction has no limit in the server: it is cancelled from here,
    // through the pooler.
    let mut holder = lock_state(&shop).await;
    let late = shop.run("status", 1);
    assert!(
        late.stderr.contains("E0215") && late.stderr.contains("user request"),
        "{}",
        late.stderr
    );
    let waiting = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND (wait_event_type = 'Lock' OR wait_event = 'PgSleep')";
    assert_eq!(shop.sql(waiting).trim(), "0");
    holder.unlock().await;
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
}

/// Somebody who holds the table of syncs.
struct Holder(tokio_postgres::Client);

impl Holder {
    async fn unlock(&mut self) {
        self.0.batch_execute("ROLLBACK").await.expect("let go");
    }
}

async fn lock_state(shop: &Shop) -> Holder {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(shop.database.port)
        .user("postgres")
        .dbname(&shop.database.name)
        .connect(tokio_postgres::NoTls)
        .await
        .expect("the holder connects");
    tokio::spawn(connection);
    client
        .batch_execute("BEGIN; LOCK TABLE _rowcast.sync IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("take the lock");
    Holder(client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_behind_a_pooler_is_cancelled_and_refused_while_it_runs() {
    let (shop, pooler) = open("reach_pooler_two");
    let crm = shop.read("destinations/crm.yml");
    shop.write("destinations/crm.yml", &format!("{crm}timeout: 1s\n"));
    let neighbour = Neighbour::start(&shop, pooler.port);
    let child = start_held(&shop, &["run"]);
    let refused = shop.run("run", 1);
    assert!(refused.stderr.contains("E0303"), "{}", refused.stderr);
    shop.run("cancel customers_to_crm", 0);
    let ended = shop
        .terminal
        .ran(&child.wait_with_output().expect("it ends"));
    shop.api.release();
    assert_eq!(ended.code, 130, "{}\n{}", ended.stdout, ended.stderr);
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
    neighbour.stop();
}

#[test]
fn a_postgres_destination_is_written_through_a_pooler() {
    let shop = Shop::open("reach_pooler_to");
    let pooler = PgBouncer::start(Cluster::shared(), &[shop.role()], 2);
    shop.sql("CREATE TABLE copy (id int PRIMARY KEY, email text, plan text)");
    shop.write(
        "destinations/crm.yml",
        &format!(
            "destination: crm\nconnector: postgres\nbatch: {{ max_records: 7 }}\nsettings:\n  \
             url: postgresql://postgres@127.0.0.1:{}/{}\n  sslmode: disable\n  progress_schema: noted\n",
            pooler.port, shop.database.name
        ),
    );
    shop.sql("CREATE SCHEMA noted");
    shop.edit(
        "syncs/customers_to_crm.yml",
        "object: customer",
        "object: copy\nmatch_on: { id: id }",
    );
    shop.run("check crm", 0);
    for _ in 0..3 {
        shop.run("run", 0);
        change(&shop);
    }
    shop.run("run", 0);
    let copied = shop.sql("SELECT id, email, plan FROM copy ORDER BY id");
    assert_eq!(copied, shop.rows());
}
