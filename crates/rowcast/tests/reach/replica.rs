//! A hot standby as the source, with state in another server.

use std::process::Stdio;

use rowcast_testkit::postgres::{Cluster, Options};

use crate::change;
use crate::shop::Shop;

/// A project whose source is a standby and whose state is on the shared cluster.
fn open(name: &str, lines: &[&str]) -> (Shop, &'static Cluster, Cluster) {
    let primary: &'static Cluster = Box::leak(Box::new(Cluster::start(&Options::default())));
    let shop = Shop::open_on(primary, name);
    let state = Cluster::shared().database(&format!("{name}_ops"));
    shop.write(
        "sources/ops.yml",
        &format!("source: ops\nurl: {}\nsslmode: disable\n", state.url()),
    );
    let standby = primary.standby(lines);
    read_from(&shop, &standby);
    (shop, primary, standby)
}

/// Points the source at a server.
fn read_from(shop: &Shop, server: &Cluster) {
    let source = shop.source("sslmode: disable\nstate: { source: ops }\n");
    let (from, to) = (
        format!("port: {}", shop.database.port),
        format!("port: {}", server.port),
    );
    shop.write("sources/shop.yml", &source.replace(&from, &to));
}

#[test]
fn rule_23_a_standby_is_read_and_its_changes_arrive() {
    let (shop, primary, standby) = open("reach_standby", &[]);
    let check = shop.run("check shop", 0);
    assert!(
        check.stdout.contains("replica; state is kept elsewhere"),
        "{}",
        check.stdout
    );
    shop.run("plan", 0);
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
    for _ in 0..2 {
        change(&shop);
        standby.catch_up(primary);
        shop.run("run", 0);
        assert_eq!(shop.delivered(), shop.rows());
    }
    let quiet = shop.api.requests();
    shop.run("run", 0);
    assert_eq!(
        shop.api.requests(),
        quiet,
        "nothing changed, nothing is sent"
    );
}

#[test]
fn rule_20_a_promoted_standby_holds_the_run_and_says_why() {
    let (shop, primary, standby) = open("reach_promoted", &[]);
    shop.run("run", 0);
    // The old primary lives on and takes writes that the new one will never have.
    change(&shop);
    standby.catch_up(primary);
    shop.run("run", 0);
    standby.promote();
    let requests = shop.api.requests();
    let held = shop.run("run", 4);
    let said = format!("{}{}", held.stdout, held.stderr);
    assert!(
        said.contains("E0404") && said.contains("timeline changed"),
        "{said}"
    );
    assert_eq!(
        shop.api.requests(),
        requests,
        "held before the first request"
    );
    shop.run("run --override moved-back", 0);
    shop.run("run", 0);
}

#[test]
fn rule_20_a_standby_behind_the_last_run_holds_the_run() {
    let (shop, primary, standby) = open("reach_behind", &[]);
    standby.psql("postgres", "SELECT pg_wal_replay_pause()");
    read_from(&shop, primary);
    change(&shop);
    shop.run("run", 0);
    let before = shop.delivered();
    // The name now leads to a standby that has not replayed what was sent.
    read_from(&shop, &standby);
    let held = shop.run("run", 4);
    let said = format!("{}{}", held.stdout, held.stderr);
    assert!(
        said.contains("E0404") && said.contains("write-ahead log"),
        "{said}"
    );
    assert_eq!(shop.delivered(), before, "no older value was sent");
    // Once it has caught up, it is a source like any other.
    standby.psql("postgres", "SELECT pg_wal_replay_resume()");
    standby.catch_up(primary);
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
}

#[test]
fn a_conflict_with_recovery_is_named_and_the_next_run_heals() {
    let (shop, primary, standby) = open(
        "reach_conflict",
        &[
            "max_standby_streaming_delay = 0",
            "hot_standby_feedback = off",
        ],
    );
    shop.sql(
        "CREATE TABLE pause (seconds int); INSERT INTO pause VALUES (0);
         CREATE VIEW slow AS SELECT c.*, (SELECT pg_sleep(seconds) FROM pause) IS NULL AS waited
           FROM customers c;
         GRANT SELECT ON slow TO ROLE_OF_ROWCAST;",
    );
    shop.write(
        "models/customers.yml",
        "model: customers\nsource: shop\nprimary_key: [id]\nsql: \"select id, email, plan from slow where not waited\"\n",
    );
    standby.catch_up(primary);
    shop.run("run", 0);
    change(&shop);
    shop.sql("UPDATE pause SET seconds = 60");
    standby.catch_up(primary);
    let child = shop
        .terminal
        .command(".", &["run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start rowcast");
    let reading = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while standby.psql("postgres", reading).trim() == "0" {}
    // Replaying this needs a lock that the reader holds.
    shop.sql("UPDATE pause SET seconds = 0; ALTER TABLE customers ADD COLUMN note text");
    let failed = shop
        .terminal
        .ran(&child.wait_with_output().expect("it ends"));
    assert_eq!(failed.code, 1, "{}\n{}", failed.stdout, failed.stderr);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert!(
        said.contains("conflict with recovery") && said.contains("max_standby_streaming_delay"),
        "{said}"
    );
    standby.catch_up(primary);
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
}
