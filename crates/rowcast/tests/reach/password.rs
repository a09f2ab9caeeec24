//! Passwords that change while a run is under way.

use rowcast_testkit::postgres::{Cluster, Options};

use crate::shop::Shop;
use crate::start_held;

const HBA: &str = "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

#[test]
fn a_password_that_is_rotated_in_mid_run_is_taken_up_by_later_connections() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(&Options {
        hba: Some(HBA.to_owned()),
        ..Options::default()
    })));
    for (name, form) in [
        ("rotated_file", "password: ${file:secret}\n"),
        ("rotated_command", "password: { command: [cat, secret] }\n"),
    ] {
        let shop = Shop::open_on(cluster, name);
        let rotate = |password: &str| {
            shop.sql(&format!("ALTER ROLE ROLE_OF_ROWCAST PASSWORD '{password}'"));
            shop.write("secret", &format!("{password}\n"));
        };
        rotate("before");
        shop.write(
            "sources/shop.yml",
            &shop.source(&format!("sslmode: disable\n{form}")),
        );
        let child = start_held(&shop, &["run"]);
        rotate("after");
        // What is open stays open; a failover or a firewall ends it, and then the new one counts.
        let ended = shop.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE usename = 'ROLE_OF_ROWCAST'",
        );
        assert_ne!(ended.trim(), "0", "{name}: no connection was open");
        shop.api.release();
        let ran = shop
            .terminal
            .ran(&child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, 0, "{name}\n{}\n{}", ran.stdout, ran.stderr);
        assert_eq!(shop.delivered(), shop.rows(), "{name}");
        let secrets = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!secrets.contains("after"), "{name}");

        // A file that was forgotten says what to do, and never what was tried.
        shop.sql("ALTER ROLE ROLE_OF_ROWCAST PASSWORD 'later'");
        let refused = shop.run("run", 3);
        assert!(refused.stderr.contains("E0202"), "{}", refused.stderr);
        assert!(!refused.stderr.contains("after"), "{}", refused.stderr);
    }
}
