//! The exit codes of the contract, and which one wins when several syncs end differently: the first
//! that applies of 130, 2, 3, 1, 4, 5.

use std::process::{Command, Stdio};

use rowcast_testkit::api::{Act, Script};
use rowcast_testkit::postgres::free_port;

#[path = "support/shop.rs"]
mod shop;
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod terminal;

use shop::Shop;

/// A project with one sync for each way to end.
fn open(name: &str) -> Shop {
    let shop = Shop::open(name);
    shop.remove("syncs/customers_to_crm.yml");
    let sync = |name: &str, model: &str, destination: &str| {
        shop.write(
            &format!("syncs/{name}.yml"),
            &format!(
                "sync: {name}\nmodel: {model}\ndestination: {destination}\nobject: {name}\n\
                 mode: mirror\nfields: {{ email: email }}\n"
            ),
        );
    };
    let model = |name: &str, source: &str, sql: &str| {
        shop.write(
            &format!("models/{name}.yml"),
            &format!("model: {name}\nsource: {source}\nprimary_key: [id]\nsql: {sql}\n"),
        );
    };

    sync("fine", "customers", "crm");

    let crm = shop.read("destinations/crm.yml");
    let locked = crm
        .replace("destination: crm", "destination: locked")
        .replace("allow_addresses: [127.0.0.0/8]\n", "");
    shop.write("destinations/locked.yml", &locked);
    sync("failing", "customers", "locked");

    model("misspelt", "shop", "SELECT * FROM custmers");
    sync("invalid", "misspelt", "crm");

    shop.write(
        "sources/away.yml",
        &format!(
            "source: away\nurl: postgresql://rowcast@127.0.0.1:{}/shop\n",
            free_port()
        ),
    );
    model("far", "away", "SELECT * FROM customers");
    sync("unreachable", "far", "crm");

    model("emptied", "shop", "SELECT * FROM customers WHERE id > 1000");
    sync("held", "emptied", "crm");

    model(
        "twins",
        "shop",
        "SELECT * FROM customers UNION ALL SELECT id, 'twin', plan FROM customers WHERE id = 7",
    );
    sync("doubtful", "twins", "crm");

    // State for what will look removed.
    shop.sql("UPDATE customers SET id = id + 2000 WHERE id = 1");
    shop.run("run held", 0);
    shop.sql("UPDATE customers SET id = id - 2000 WHERE id > 2000");
    shop
}

#[test]
fn each_end_has_its_code_and_the_first_that_applies_wins() {
    let shop = open("exit_codes");
    for (sync, code) in [
        ("fine", 0),
        ("failing", 1),
        ("invalid", 2),
        ("unreachable", 3),
        ("held", 4),
        ("doubtful", 5),
    ] {
        shop.run(&format!("run {sync} --fail-on-rejected"), code);
    }
    // Invalid rows are no failure unless that is asked for.
    shop.run("run doubtful", 0);

    let mut syncs = vec![
        "invalid",
        "unreachable",
        "failing",
        "held",
        "doubtful",
        "fine",
    ];
    for code in [2, 3, 1, 4, 5, 0] {
        shop.run(&format!("run {} --fail-on-rejected", syncs.join(" ")), code);
        syncs.remove(0);
    }
}

#[test]
fn an_interrupt_wins_over_everything() {
    let shop = open("exit_interrupt");
    shop.api.script(Script::once(Act::Hold));
    let before = shop.api.requests();
    let child = shop
        .terminal
        .command(".", &["run", "failing", "invalid", "fine", "--jobs", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start rowcast");
    shop.api.wait(|log| log.len() > before);
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("run kill");
    assert!(killed.success());
    shop.api.release();
    let ended = shop
        .terminal
        .ran(&child.wait_with_output().expect("its end"));
    assert_eq!(ended.code, 130, "{}\n{}", ended.stdout, ended.stderr);
}

#[test]
fn other_commands_use_the_same_codes() {
    let shop = open("exit_commands");
    for (line, code) in [
        ("validate", 0),
        ("check crm", 0),
        ("check away", 3),
        ("check", 3),
        ("plan fine", 0),
        ("plan held", 4),
        ("plan invalid", 2),
        ("plan unreachable", 3),
        ("preview twins", 1),
        ("preview customers", 0),
        ("status nowhere", 2),
        ("test", 2),
        ("--help", 0),
        ("--version", 0),
        ("", 2),
    ] {
        shop.run(line, code);
    }
    shop.write("rowcast.yml", "project: shop\nversion: one\n");
    shop.run("validate", 2);
}
