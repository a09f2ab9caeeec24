//! `rowcast adopt` as people use it, and what a crash in its middle leaves.

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod terminal;

#[path = "support/shop.rs"]
mod shop;

use serde_json::Value;
use shop::{ROWS, Shop};

/// A shop whose customers RudderStack had delivered but for the last one; 7 has changed since, 9
/// failed, and 99 is gone.
fn shop(name: &str) -> Shop {
    let shop = Shop::open(name);
    shop.sql(
        r#"CREATE SCHEMA _rudderstack;
           CREATE TABLE _rudderstack."SNAPSHOT_2aB_r1" AS
             SELECT id AS "ID", email AS "EMAIL", plan AS "PLAN", 'unchanged'::text AS "RUDDER_OPERATION_TYPE"
             FROM customers WHERE id < 40;
           INSERT INTO _rudderstack."SNAPSHOT_2aB_r1" VALUES (99, 'gone@example.com', 'free', 'unchanged');
           CREATE TABLE _rudderstack."FAILED_KEYS_2aB_r1" ("ID" text, "RUDDER_OPERATION" text);
           INSERT INTO _rudderstack."FAILED_KEYS_2aB_r1" VALUES ('9', 'update');
           UPDATE customers SET plan = 'pro' WHERE id = 7;
           GRANT USAGE ON SCHEMA _rudderstack TO ROLE_OF_ROWCAST;
           GRANT SELECT ON ALL TABLES IN SCHEMA _rudderstack TO ROLE_OF_ROWCAST"#,
    );
    shop
}

fn sent(shop: &Shop) -> Vec<String> {
    let mut sent: Vec<String> = shop
        .api
        .log()
        .iter()
        .flat_map(|request| {
            let body: Value = serde_json::from_str(&request.text()).expect("JSON");
            body.as_array().cloned().unwrap_or_default()
        })
        .map(|record| {
            format!(
                "{} {}",
                record["operation"].as_str().unwrap_or_default(),
                record["key"]["id"]
            )
        })
        .collect();
    sent.sort();
    sent
}

#[test]
fn adopting_shows_the_counts_first_and_then_only_differences_are_sent() {
    let shop = shop("adopt_cli");
    for line in [
        "adopt customers_to_crm --from rudder",
        "adopt customers_to_crm --from rudder --dry-run",
    ] {
        let shown = shop.run(line, 0);
        insta::assert_snapshot!("adopt_dry_run", shown.stdout);
    }
    assert_eq!(shop.state(), "", "nothing was written");
    let done = shop.run("adopt customers_to_crm --from rudder --yes --json", 0);
    let done: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(
        (&done["trusted"], &done["done"]),
        (&37.into(), &true.into())
    );
    assert!(sent(&shop).is_empty());
    // One of 40 is gone: too few for the guard.
    shop.run("run customers_to_crm", 0);
    assert_eq!(
        sent(&shop),
        ["delete 99", "upsert 40", "upsert 7", "upsert 9"]
    );
    shop.run("run customers_to_crm", 0);
    assert_eq!(sent(&shop).len(), 4);
    let again = shop.run("adopt customers_to_crm --from rudder --yes", 1);
    assert!(again.stderr.contains("E0315"), "{}", again.stderr);
}

#[test]
fn adopting_says_that_the_next_run_will_be_held() {
    let shop = shop("adopt_held");
    shop.sql(
        r#"INSERT INTO _rudderstack."SNAPSHOT_2aB_r1"
           SELECT n, 'gone@example.com', 'free', 'unchanged' FROM generate_series(100, 120) n"#,
    );
    let shown = shop.run("adopt customers_to_crm --from rudder --yes", 0);
    assert!(
        shown
            .stdout
            .contains("will hold the next run, because 22 of 61 rows are gone"),
        "{}",
        shown.stdout
    );
    shop.run("run customers_to_crm", 4);
    assert!(sent(&shop).is_empty());
    shop.run("run customers_to_crm --override removed", 0);
    assert_eq!(sent(&shop).len(), 25);
}

#[test]
fn a_crash_while_adopting_leaves_all_or_nothing() {
    let mut shop = shop("adopt_crash");
    let adopt = "adopt customers_to_crm --from rudder --yes";
    for (place, adopted) in [
        ("ledger-leased:1", false),
        ("ledger-plan-stored:1", false),
        ("ledger-finish-written:1", false),
        ("ledger-finished:1", true),
    ] {
        shop.environment = vec![("ROWCAST_KILL_AT".into(), place.into())];
        let killed = shop.raw(adopt);
        assert_eq!(killed.status.code(), None, "killed at {place}");
        shop.environment.clear();
        let rows = shop
            .sql("SELECT rows FROM _rowcast.progress")
            .trim()
            .to_owned();
        let expected = if adopted {
            ROWS.to_string()
        } else {
            "0".to_owned()
        };
        assert_eq!(rows, expected, "{place}");
        assert_eq!(
            shop.sql("SELECT count(*) FROM _rowcast.state_1").trim(),
            expected,
            "{place}"
        );
    }
    shop.run("run customers_to_crm", 0);
    assert_eq!(
        sent(&shop),
        ["delete 99", "upsert 40", "upsert 7", "upsert 9"]
    );
}
