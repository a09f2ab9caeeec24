//! Whole runs against PostgreSQL as people have it: behind an SSH server, behind a pooler, as a
//! replica, with passwords that change.

mod password;
mod pooler;
mod replica;
#[path = "../support/shop.rs"]
mod shop;
#[path = "../terminal/mod.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod terminal;
mod tunnel;

use std::process::{Child, Stdio};

use rowcast_testkit::api::{Act, Script};
use shop::Shop;

/// Starts a command and waits until the service holds a request of it.
fn start_held(shop: &Shop, line: &[&str]) -> Child {
    shop.api.script(Script::once(Act::Hold));
    let before = shop.api.requests();
    let child = shop
        .terminal
        .command(".", line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start rowcast");
    shop.api.wait(|log| log.len() > before);
    child
}

/// Changes one row, adds one and removes one.
fn change(shop: &Shop) {
    shop.sql(
        "UPDATE customers SET plan = plan || '+' WHERE id = 3;
         DELETE FROM customers WHERE id = (SELECT max(id) FROM customers);
         INSERT INTO customers SELECT max(id) + 7, 'new@example.com', 'free' FROM customers;",
    );
}
