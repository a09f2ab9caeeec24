//! The project as a service: schedules that were missed, servers that are killed, stopped or have
//! company, files that change meanwhile.

#[path = "support/server.rs"]
mod server;
#[path = "support/shop.rs"]
mod shop;
#[allow(dead_code, reason = "commands here are run through the shop")]
mod terminal;

use std::time::Duration;

use rowcast_testkit::api::{Act, Script};
use server::{ENDED, Server, ask};
use shop::{ROWS, Shop};

fn table(shop: &Shop) -> String {
    let rows = shop.sql("SELECT id, email, plan FROM customers ORDER BY id");
    if rows.is_empty() || rows.ends_with('\n') {
        rows
    } else {
        rows + "\n"
    }
}

/// Where the server is killed: every part of a run, one after the other, at moments that a seed
/// chose once among those that a run of two batches passes.
const KILLS: [(&str, u32); 10] = [
    ("ledger-leased", 1),
    ("run-recovered", 1),
    ("run-diffed", 1),
    ("window-before-intent", 1),
    ("request-before", 2),
    ("request-answered", 1),
    ("acknowledge-before", 1),
    ("ledger-step-committed", 2),
    ("run-before-finish", 1),
    ("ledger-finished", 1),
];

#[test]
fn a_server_killed_ten_times_in_mid_run_loses_nothing_and_the_next_carries_on() {
    let shop = Shop::open("serve_killed");
    // Values that only grow, as numbers: one that goes back is seen.
    shop.sql("ALTER TABLE customers ALTER plan TYPE int USING 0");
    // A run that died is taken over when its last request has certainly timed out.
    let crm = shop.read("destinations/crm.yml");
    shop.write("destinations/crm.yml", &format!("{crm}timeout: 1s\n"));
    for (round, (point, nth)) in KILLS.into_iter().enumerate() {
        let server = Server::start(&shop, &[("ROWCAST_KILL_AT", &format!("{point}:{nth}"))]);
        ask(&shop);
        server.dead();
        // What changes between is delivered with its newest value.
        shop.sql(&format!(
            "UPDATE customers SET plan = {} WHERE id % 3 = 0",
            2 * round + 1
        ));
        let mut next = Server::start(&shop, &[]);
        next.wait_for(&ENDED);
        assert_eq!(shop.delivered(), table(&shop), "after {point}");
        let jobs = shop.sql(
            "SELECT status, attempt, outcome FROM _rowcast.control_job ORDER BY id DESC LIMIT 1",
        );
        assert_eq!(jobs.trim(), "done|2|succeeded", "after {point}");
        let going_on = shop.sql("SELECT count(*) FROM _rowcast.runs WHERE status = 'running'");
        assert_eq!(going_on.trim(), "0", "after {point}");
        drop(next);
        shop.sql(&format!("UPDATE customers SET plan = {}", 2 * round + 2));
    }
    assert_eq!(shop.api.store().went_back("plan"), Vec::<String>::new());
    // Every run that ended adds up, those of killed servers included.
    let unbalanced = shop.sql(
        "SELECT run FROM _rowcast.runs WHERE read IS NOT NULL AND
           (read <> unchanged + added + updated + retried_present + invalid_keys OR
            added + updated + removed + retried <> delivered + skipped + invalid + rejected + held + pending)",
    );
    assert_eq!(unbalanced.trim(), "");
}

#[test]
fn times_that_were_missed_are_one_run_of_one_server() {
    let shop = Shop::open("serve_missed");
    let sync = "syncs/customers_to_crm.yml";
    let without = shop.read(sync);
    Server::start(&shop, &[]).stop();
    shop.write(sync, &format!("{without}schedule: {{ every: 1d }}\n"));
    shop.sql(
        "INSERT INTO _rowcast.control_schedule VALUES ('customers_to_crm', now() - interval '5 days')",
    );
    let mut first = Server::start(&shop, &[]);
    let second = Server::start(&shop, &[]);
    first.wait_for(&["ended", "outcome=\"succeeded\""]);
    assert_eq!(shop.delivered(), table(&shop));
    second.stop();
    first.stop();
    let jobs = shop.sql("SELECT count(*), min(trigger) FROM _rowcast.control_job");
    assert_eq!(jobs.trim(), "1|schedule");
    let runs = shop.sql("SELECT count(*), min(trigger) FROM _rowcast.runs");
    assert_eq!(runs.trim(), "1|schedule");
}

#[test]
fn a_server_stops_in_ten_seconds_and_what_it_left_is_carried_on() {
    let shop = Shop::open("serve_stopped");
    shop.api.script(Script::always(Act::Hold));
    let server = Server::start(&shop, &[]);
    ask(&shop);
    shop.api.wait(|log| !log.is_empty());
    let took = server.stop();
    assert!(took <= Duration::from_secs(10), "stopping took {took:?}");
    shop.api.behave();
    shop.api.release();
    let mut next = Server::start(&shop, &[]);
    next.wait_for(&ENDED);
    assert_eq!(shop.delivered(), table(&shop));
    assert_eq!(shop.delivered().lines().count(), ROWS);
}

#[test]
fn changed_files_are_read_and_broken_ones_are_told() {
    let shop = Shop::open("serve_changed");
    let mut server = Server::start(&shop, &[]);
    let sync = "syncs/customers_to_crm.yml";
    let good = shop.read(sync);
    shop.write(sync, &format!("{good}shedule: manual\n"));
    server.wait_for(&["E0104"]);
    // The project from before is served.
    ask(&shop);
    server.wait_for(&ENDED);
    shop.write(sync, &format!("{good}where: id <= 35\n"));
    server.wait_for(&["read again"]);
    ask(&shop);
    server.wait_for(&ENDED);
    assert_eq!(shop.delivered().lines().count(), 35);
}

#[test]
fn rule_22_a_server_refuses_roles_that_could_write_in_spite_of_everything() {
    let shop = Shop::open("serve_superuser");
    shop.sql("ALTER ROLE ROLE_OF_ROWCAST SUPERUSER");
    let mut server = Server::start(&shop, &[]);
    ask(&shop);
    server.wait_for(&["ended", "outcome=\"failed\""]);
    assert_eq!(shop.api.requests(), 0);
    let error = shop.sql("SELECT error FROM _rowcast.control_job");
    assert!(
        error.contains("E0213") && error.contains("allow_superuser"),
        "{error}"
    );
    let source = shop.source("sslmode: disable\nallow_superuser: true\n");
    shop.write("sources/shop.yml", &source);
    server.wait_for(&["read again"]);
    ask(&shop);
    server.wait_for(&ENDED);
}

#[test]
fn a_secret_that_was_exchanged_is_the_next_runs() {
    let shop = Shop::open("serve_exchanged");
    let crm = shop.read("destinations/crm.yml");
    let authorized = crm.replace(
        "batch:",
        "  auth: { bearer: \"${file:secrets/crm}\" }\nbatch:",
    );
    shop.write("destinations/crm.yml", &authorized);
    shop.write("secrets/crm", "first");
    let mut server = Server::start(&shop, &[]);
    ask(&shop);
    server.wait_for(&ENDED);
    shop.write("secrets/crm", "the second");
    shop.sql("UPDATE customers SET plan = 'other'");
    ask(&shop);
    server.wait_for(&ENDED);
    let log = shop.api.log();
    let sent: Vec<&str> = log
        .iter()
        .filter_map(|seen| seen.header("authorization"))
        .collect();
    assert_eq!(
        sent,
        [
            "Bearer first",
            "Bearer first",
            "Bearer the second",
            "Bearer the second"
        ]
    );
}
