//! Runs through an SSH tunnel, of the source and of a Postgres destination.

use rowcast_testkit::sshd::{Sshd, key_pair};

use crate::shop::Shop;
use crate::{change, start_held};

#[test]
fn a_source_is_read_through_a_tunnel_and_a_cut_one_loses_nothing() {
    let shop = Shop::open("reach_tunnel");
    let (host, user) = (key_pair("ed25519", ""), key_pair("ed25519", ""));
    let server = Sshd::start(&[&user], &[&host], &[]);
    shop.write("tunnel_key", &user.private);
    let ssh = |host_key: &str| {
        shop.source(&format!(
            "sslmode: disable\nssh:\n  host: 127.0.0.1\n  port: {}\n  user: {}\n  \
             key: ${{file:tunnel_key}}\n{host_key}",
            server.port, server.user
        ))
    };
    // The way a person takes: the first check shows what to compare and to pin.
    shop.write("sources/shop.yml", &ssh(""));
    let unpinned = shop.run("check shop", 3);
    let said = format!("{}{}", unpinned.stdout, unpinned.stderr);
    assert!(
        said.contains("E0217") && said.contains(&host.fingerprint),
        "{said}"
    );
    shop.write(
        "sources/shop.yml",
        &ssh(&format!("  host_key: {}\n", host.fingerprint)),
    );
    let check = shop.run("check shop", 0);
    assert!(
        check.stdout.contains("through SSH host 127.0.0.1"),
        "{}",
        check.stdout
    );

    let child = start_held(&shop, &["run"]);
    server.cut_connections();
    shop.api.release();
    let ended = shop
        .terminal
        .ran(&child.wait_with_output().expect("it ends"));
    assert!(
        ended.code == 0 || ended.code == 3 || ended.code == 1,
        "{}",
        ended.stderr
    );
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
    change(&shop);
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
}

#[test]
fn a_postgres_destination_is_written_through_a_tunnel() {
    let shop = Shop::open("reach_tunnel_to");
    let (host, user) = (key_pair("ed25519", ""), key_pair("ed25519", "sesame"));
    let server = Sshd::start(&[&user], &[&host], &[]);
    shop.write("tunnel_key", &user.private);
    shop.sql("CREATE TABLE copy (id int PRIMARY KEY, email text, plan text)");
    shop.write(
        "destinations/crm.yml",
        &format!(
            "destination: crm\nconnector: postgres\nsettings:\n  host: localhost\n  port: {}\n  \
             database: {}\n  user: postgres\n  sslmode: disable\n  progress_schema: noted\n  ssh:\n    \
             host: 127.0.0.1\n    port: {}\n    user: {}\n    key: ${{file:tunnel_key}}\n    \
             passphrase: sesame\n    host_key: {}\n",
            shop.database.port, shop.database.name, server.port, server.user, host.public
        ),
    );
    shop.sql("CREATE SCHEMA noted");
    shop.edit(
        "syncs/customers_to_crm.yml",
        "object: customer",
        "object: copy\nmatch_on: { id: id }",
    );
    let check = shop.raw("check crm");
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(said.contains("through SSH host"), "{said}");
    shop.run("run", 0);
    change(&shop);
    shop.run("run", 0);
    let copied = shop.sql("SELECT id, email, plan FROM copy ORDER BY id");
    assert_eq!(copied, shop.rows());
}
