//! Secrets are never printed, logged or stored: every credential is a marker, and no marker is found
//! in anything that the program leaves behind.

use std::collections::BTreeSet;

use rowcast_testkit::api::{Act, Answer, Script};
use rowcast_testkit::postgres::{Cluster, free_port};
use rowcast_testkit::sshd::{Sshd, key_pair};

mod search;
#[path = "../support/shop.rs"]
mod shop;
#[path = "../terminal/mod.rs"]
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod terminal;

use search::Search;
use shop::Shop;

/// Every credential there is, and its marker. Long, so that nothing holds one by chance.
const MARKERS: [(&str, &str); 23] = [
    ("SOURCE_PASSWORD", "canary-4f1c-source-password"),
    ("WAREHOUSE_PASSWORD", "canary-a720-warehouse-password"),
    ("HOOK_PATH", "canary-55d1-hook-path"),
    ("BEARER", "canary-91be-bearer"),
    ("BASIC_USER", "canary-0c3d-basic-user"),
    ("BASIC_PASSWORD", "canary-7e44-basic-password"),
    ("HEADER", "canary-b2a9-header"),
    ("QUERY", "canary-e6f0-query"),
    ("HMAC", "canary-13c8-hmac"),
    ("TENANT", "canary-d9d7-tenant"),
    ("REQUEST_HEADER", "canary-68ab-request-header"),
    ("FAR_PASSWORD", "canary-2e95-command-output"),
    ("PARTED_PASSWORD", "canary-c317-source-password-alone"),
    ("TARGET_PASSWORD", "canary-84de-target-password-alone"),
    ("TUNNEL_PASSPHRASE", "canary-f06b-tunnel-passphrase"),
    ("TARGET_PASSPHRASE", "canary-3a52-target-passphrase"),
    ("SLACK_PATH", "canary-b8e1-slack-path"),
    ("ALERT_PATH", "canary-9c70-alert-path"),
    ("ALERT_SECRET", "canary-41d8-alert-secret"),
    ("PAGERDUTY_KEY", "canary-7d05-pagerduty-key"),
    ("SMTP_PASSWORD", "canary-ee12-smtp-password"),
    ("DBT_SECRET", "canary-5a3b-dbt-secret"),
    ("TRIGGER_SECRET", "canary-0f96-trigger-secret"),
];

/// Every key of a project's files that takes a credential, and what stands for it there. A new
/// one belongs here, and its marker into `MARKERS`.
const FIELDS: [(&str, &str); 25] = [
    ("alerts.slack", "${env:SLACK_URL}"),
    ("alerts.webhook", "${env:ALERT_URL}"),
    ("alerts.webhook.secret", "${env:ALERT_SECRET}"),
    ("alerts.pagerduty", "${env:PAGERDUTY_KEY}"),
    ("smtp.password", "${env:SMTP_PASSWORD}"),
    ("hooks.dbt.secret", "${env:DBT_SECRET}"),
    ("hooks.trigger.secret", "${env:TRIGGER_SECRET}"),
    ("source.url", "${env:SOURCE_URL}"),
    ("source.password", "${env:PARTED_PASSWORD}"),
    ("source.password.command", "printenv FAR_PASSWORD"),
    ("source.ssh.key", "${env:TUNNEL_KEY}"),
    ("source.ssh.passphrase", "${env:TUNNEL_PASSPHRASE}"),
    ("postgres.url", "${env:WAREHOUSE_URL}"),
    ("postgres.password", "${env:TARGET_PASSWORD}"),
    ("postgres.ssh.key", "${env:TARGET_KEY}"),
    ("postgres.ssh.passphrase", "${env:TARGET_PASSPHRASE}"),
    ("http.url", "${env:HOOK_URL}"),
    ("http.auth.bearer", "${env:BEARER}"),
    ("http.auth.basic.user", "${env:BASIC_USER}"),
    ("http.auth.basic.password", "${env:BASIC_PASSWORD}"),
    ("http.auth.header.value", "${env:HEADER}"),
    ("http.auth.query.value", "${env:QUERY}"),
    ("http.auth.hmac", "${env:HMAC}"),
    ("http.headers", "${env:TENANT}"),
    ("request.headers", "${env:REQUEST_HEADER}"),
];

/// The base64 of `user:password`, as it stands in a header.
const BASIC: &str = "Y2FuYXJ5LTBjM2QtYmFzaWMtdXNlcjpjYW5hcnktN2U0NC1iYXNpYy1wYXNzd29yZA==";

/// One destination for each way to prove who sends.
const AUTHS: [(&str, &str); 7] = [
    ("path", "none"),
    ("bearer", "{ bearer: \"${env:BEARER}\" }"),
    (
        "basic",
        "{ basic: { user: \"${env:BASIC_USER}\", password: \"${env:BASIC_PASSWORD}\" } }",
    ),
    (
        "header",
        "{ header: { name: X-Api-Key, value: \"${env:HEADER}\" } }",
    ),
    (
        "query",
        "{ query: { name: token, value: \"${env:QUERY}\" } }",
    ),
    ("hmac", "{ hmac: \"${env:HMAC}\" }"),
    ("tenant", "none"),
];

/// A project that has a credential in every key that takes one, and the SSH servers behind it.
fn open(name: &str) -> (Shop, [Tunnel; 2]) {
    let mut shop = Shop::open(name);
    for (variable, marker) in MARKERS {
        shop.environment.push((variable.into(), marker.into()));
    }
    let database = (&shop.database.name, shop.database.port);
    let url = |role: &str, password: &str| {
        format!(
            "postgresql://{role}:{password}@127.0.0.1:{}/{}?sslmode=disable",
            database.1, database.0
        )
    };
    let environment = [
        (
            "SOURCE_URL".to_owned(),
            url(shop.role(), "canary-4f1c-source-password"),
        ),
        (
            "WAREHOUSE_URL".to_owned(),
            url("postgres", "canary-a720-warehouse-password"),
        ),
        (
            "HOOK_URL".to_owned(),
            shop.api.url("/canary-55d1-hook-path/in"),
        ),
    ];
    shop.environment.extend(environment);
    shop.write(
        "sources/shop.yml",
        "source: shop\nurl: ${env:SOURCE_URL}\nsslmode: disable\n",
    );
    shop.remove("syncs/customers_to_crm.yml");
    shop.remove("destinations/crm.yml");
    for (name, auth) in AUTHS {
        let url = match name {
            "path" => "${env:HOOK_URL}".to_owned(),
            _ => shop.api.url(&format!("/{name}")),
        };
        let headers = match name {
            "tenant" => "  headers: { X-Tenant: \"${env:TENANT}\" }\n",
            _ => "",
        };
        shop.write(
            &format!("destinations/{name}.yml"),
            &format!(
                "destination: {name}\nconnector: http\nsettings:\n  url: {url}\n  auth: {auth}\n{headers}\
                 allow_addresses: [127.0.0.0/8]\nbatch: {{ max_records: 20 }}\n"
            ),
        );
    }
    shop.write(
        "destinations/warehouse.yml",
        "destination: warehouse\nconnector: postgres\nsettings: { url: \"${env:WAREHOUSE_URL}\", create: true }\n",
    );
    for name in AUTHS.map(|(name, _)| name).into_iter().chain(["warehouse"]) {
        shop.write(
            &format!("syncs/to_{name}.yml"),
            &format!(
                "sync: to_{name}\nmodel: customers\ndestination: {name}\nobject: public.contacts\nlog: all\n\
                 mode: mirror\nfields: {{ email: email, plan: plan }}\n"
            ),
        );
    }
    let tunnels = open_more(&mut shop);
    (shop, tunnels)
}

/// An SSH server, and the one key that opens it.
struct Tunnel {
    server: Sshd,
    host_key: String,
    private: String,
}

impl Tunnel {
    fn open(passphrase: &str) -> Self {
        let (host, user) = (key_pair("ed25519", ""), key_pair("ed25519", passphrase));
        Self {
            server: Sshd::start(&[&user], &[&host], &[]),
            host_key: host.fingerprint,
            private: user.private,
        }
    }

    /// The `ssh:` of a file, indented by so much.
    fn ssh(&self, indent: &str, name: &str) -> String {
        format!(
            "{indent}ssh:\n{indent}  host: 127.0.0.1\n{indent}  port: {}\n{indent}  user: {}\n\
             {indent}  key: ${{env:{name}_KEY}}\n{indent}  passphrase: ${{env:{name}_PASSPHRASE}}\n\
             {indent}  host_key: {}\n",
            self.server.port, self.server.user, self.host_key
        )
    }
}

/// Two more sources and destinations: with a password apart, with one from a command, behind SSH,
/// with headers of a single request. And channels for alerts.
fn open_more(shop: &mut Shop) -> [Tunnel; 2] {
    let tunnel = Tunnel::open("canary-f06b-tunnel-passphrase");
    let target = Tunnel::open("canary-3a52-target-passphrase");
    for (variable, value) in [
        ("TUNNEL_KEY", tunnel.private.clone()),
        ("TARGET_KEY", target.private.clone()),
        (
            "SLACK_URL",
            "https://hooks.example.com/canary-b8e1-slack-path".to_owned(),
        ),
        (
            "ALERT_URL",
            "https://hooks.example.com/canary-9c70-alert-path".to_owned(),
        ),
    ] {
        shop.environment.push((variable.to_owned(), value));
    }
    shop.write(
        "rowcast.yml",
        "project: shop\nversion: 1\nalerts:\n  ops: { slack: \"${env:SLACK_URL}\" }\n  \
         hook: { webhook: { url: \"${env:ALERT_URL}\", secret: \"${env:ALERT_SECRET}\" } }\n  \
         oncall: { pagerduty: \"${env:PAGERDUTY_KEY}\" }\n  mail: { email: [ops@example.com] }\n\
         smtp: { host: smtp.example.com, user: rowcast, password: \"${env:SMTP_PASSWORD}\", from: rowcast@example.com }\n\
         hooks:\n  dbt: { dbt: { secret: \"${env:DBT_SECRET}\" } }\n  \
         nightly: { trigger: { secret: \"${env:TRIGGER_SECRET}\", syncs: [] } }\n",
    );
    let source = |name: &str, more: &str| {
        let text = shop.source(&format!("sslmode: disable\n{more}"));
        shop.write(
            &format!("sources/{name}.yml"),
            &text.replace("source: shop", &format!("source: {name}")),
        );
        shop.write(
            &format!("models/customers_{name}.yml"),
            &format!(
                "model: customers_{name}\nsource: {name}\ntable: customers\nprimary_key: [id]\n"
            ),
        );
    };
    source("parted", "password: ${env:PARTED_PASSWORD}\n");
    let command = "password: { command: [sh, -c, \"touch was_asked; printenv FAR_PASSWORD\"] }\n";
    source("far", &format!("{command}{}", tunnel.ssh("", "TUNNEL")));
    shop.write(
        "destinations/target.yml",
        &format!(
            "destination: target\nconnector: postgres\nsettings:\n  host: 127.0.0.1\n  port: {}\n  \
             database: {}\n  user: postgres\n  password: ${{env:TARGET_PASSWORD}}\n  sslmode: disable\n  \
             create: true\n{}",
            shop.database.port,
            shop.database.name,
            target.ssh("  ", "TARGET")
        ),
    );
    shop.write(
        "destinations/requested.yml",
        &format!(
            "destination: requested\nconnector: http\nsettings:\n  base_url: {}\n\
             allow_addresses: [127.0.0.0/8]\n",
            shop.api.url("/requested")
        ),
    );
    let sync = |name: &str, destination: &str, more: &str| {
        shop.write(
            &format!("syncs/to_{name}.yml"),
            &format!(
                "sync: to_{name}\nmodel: customers_{name}\ndestination: {destination}\n\
                 object: public.contacts_{name}\nlog: all\nfields: {{ email: email, plan: plan }}\n{more}"
            ),
        );
    };
    sync("far", "target", "");
    sync(
        "parted",
        "requested",
        "request: { upsert: { post: /in, headers: { X-Inner: \"${env:REQUEST_HEADER}\" } } }\n",
    );
    [tunnel, target]
}

/// A field that is not in the project would be covered in name only.
#[test]
fn every_field_that_takes_a_credential_holds_one() {
    let (shop, _tunnels) = open("canary_fields");
    let mut files = String::new();
    for folder in [".", "sources", "destinations", "syncs"] {
        let entries = std::fs::read_dir(shop.terminal.dir.join(folder)).expect("read the folder");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_file() {
                files.push_str(&std::fs::read_to_string(path).expect("read the file"));
            }
        }
    }
    for (field, text) in FIELDS {
        assert!(files.contains(text), "{field} is not in the project");
    }
    let names: BTreeSet<&str> = FIELDS.into_iter().map(|(field, _)| field).collect();
    assert_eq!(names.len(), 25);
    shop.run("validate", 0);
}

#[test]
fn no_secret_is_printed_or_kept_when_all_goes_well() {
    let mut search = Search::open("canary_well");
    for line in ["validate", "check", "tables", "setup-sql --all-tables"] {
        search.command(line);
    }
    search.command("preview customers");
    search.command("plan --limit 5 --out plan.json");
    search.command("run --dry-run");
    search.command("run --limit 5");
    search.command("run");
    for line in [
        "status",
        "runs",
        "why to_bearer 1",
        "why to_warehouse 1",
        "why to_far 1",
        "rejects to_basic",
        "cancel to_bearer",
        "reset to_bearer --yes",
        "baseline to_bearer --yes",
    ] {
        search.command(line);
    }
    search.kept();

    // Each marker was truly in use: the service saw it.
    let seen = search
        .shop
        .api
        .log()
        .iter()
        .map(|seen| format!("{} {:?}", seen.target, seen.headers))
        .collect::<Vec<_>>()
        .join("\n");
    for marker in [
        "canary-55d1-hook-path",
        "canary-91be-bearer",
        BASIC,
        "canary-b2a9-header",
        "canary-e6f0-query",
        "webhook-signature",
        "canary-d9d7-tenant",
        "canary-68ab-request-header",
    ] {
        assert!(seen.contains(marker), "{marker} was not sent");
    }
    assert_eq!(
        search.shop.sql("SELECT count(*) FROM contacts").trim(),
        shop::ROWS.to_string()
    );
    // Through both tunnels, with the password that the command printed.
    let far = search.shop.sql("SELECT count(*) FROM contacts_far");
    assert_eq!(far.trim(), shop::ROWS.to_string());
    assert!(search.shop.terminal.dir.join("was_asked").exists());
    search.end();
}

/// A service that repeats the secret of a destination, as debugging pages do.
fn echo(status: u16, path: &'static str, secrets: &[&str]) -> Script {
    let text = format!("this was wrong: {}", secrets.join(" or "));
    let answer = Answer::json(status, &serde_json::json!({ "error": { "message": text } }));
    Script::when(
        move |seen| seen.path().starts_with(path),
        Act::Answer(answer.header("x-echo", &text)),
    )
}

/// What each destination knows.
const KNOWN: [(&str, &[&str]); 8] = [
    ("/canary-55d1-hook-path", &["canary-55d1-hook-path"]),
    ("/bearer", &["canary-91be-bearer"]),
    (
        "/basic",
        &[
            "canary-0c3d-basic-user",
            "canary-7e44-basic-password",
            BASIC,
        ],
    ),
    ("/header", &["canary-b2a9-header"]),
    ("/query", &["canary-e6f0-query"]),
    ("/hmac", &["canary-13c8-hmac"]),
    ("/tenant", &["canary-d9d7-tenant"]),
    ("/requested", &["canary-68ab-request-header"]),
];

#[test]
fn no_secret_is_printed_or_kept_when_the_service_repeats_it() {
    for status in [401, 422] {
        let mut search = Search::open("canary_echo");
        for (path, secrets) in KNOWN {
            search.shop.api.script(echo(status, path, secrets));
        }
        for name in AUTHS.map(|(name, _)| name).into_iter().chain(["parted"]) {
            search.command(&format!("run to_{name} --limit 3"));
            search.command(&format!("rejects to_{name}"));
            search.command(&format!("why to_{name} 1"));
        }
        search.command("runs");
        search.command("status");
        search.kept();
        search.end();
    }
}

#[test]
fn no_secret_is_printed_when_nothing_can_be_reached() {
    let mut search = Search::open("canary_down");
    search.shop.run("run to_bearer", 0);
    let closed = free_port();
    let down = |variable: &str, url: String| (variable.to_owned(), url);
    let password = "canary-4f1c-source-password";
    for url in [
        format!("postgresql://rowcast:{password}@127.0.0.1:{closed}/shop?sslmode=disable"),
        format!("postgresql://rowcast:{password}@no-such-host.invalid/shop"),
        format!("postgresql://rowcast:{password}@127.0.0.1:port/shop"),
        format!("postgresql://rowcast:{password}@/shop?nonsense=1"),
        format!("postgres//rowcast:{password}"),
        format!("mysql://rowcast:{password}@127.0.0.1/shop"),
        password.to_owned(),
    ] {
        let kept = search.shop.environment.len();
        search
            .shop
            .environment
            .push(down("SOURCE_URL", url.clone()));
        for line in ["validate", "check shop", "run to_bearer", "status"] {
            search.command(line);
        }
        search.shop.environment.truncate(kept);
        let url = url.replace(password, "canary-a720-warehouse-password");
        search.shop.environment.push(down("WAREHOUSE_URL", url));
        for line in ["check warehouse", "plan to_warehouse"] {
            search.command(line);
        }
        search.shop.environment.truncate(kept);
    }
    for url in [
        format!("http://127.0.0.1:{closed}/canary-55d1-hook-path"),
        "http://user:canary-7e44-basic-password@127.0.0.1/in".to_owned(),
        "ftp://127.0.0.1/canary-55d1-hook-path".to_owned(),
        "http://canary-55d1-hook-path.invalid/in".to_owned(),
        "canary-55d1-hook-path".to_owned(),
    ] {
        let kept = search.shop.environment.len();
        search.shop.environment.push(down("HOOK_URL", url));
        for line in ["validate", "check path", "plan to_path"] {
            search.command(line);
        }
        search.shop.environment.truncate(kept);
    }
    search.kept();
    search.end();
}

#[test]
fn a_password_that_is_refused_is_not_printed() {
    let cluster = Cluster::start(&rowcast_testkit::postgres::Options {
        hba: Some("local all all trust\nhost all all all scram-sha-256\n".into()),
        ..Default::default()
    });
    let mut search = Search::open("canary_refused");
    let url = format!(
        "postgresql://postgres:canary-4f1c-source-password@127.0.0.1:{}/postgres?sslmode=disable",
        cluster.port
    );
    search.shop.environment.push(("SOURCE_URL".into(), url));
    let port = format!("port: {}", search.shop.database.port);
    let elsewhere = format!("port: {}", cluster.port);
    for source in ["sources/parted.yml", "sources/far.yml"] {
        search.shop.edit(source, &port, &elsewhere);
        search.shop.edit(source, "user: ", "user: nobody_");
    }
    for line in ["check", "plan", "run"] {
        search.command(line);
    }
    // A command that prints the password and fails all the same.
    search
        .shop
        .edit("sources/far.yml", "FAR_PASSWORD", "FAR_PASSWORD; exit 7");
    for line in ["check far", "run to_far"] {
        search.command(line);
    }
    search.end();
}

#[test]
fn no_secret_is_printed_when_a_tunnel_does_not_open() {
    let mut search = Search::open("canary_tunnel");
    let whole = search.tunnels[0].private.clone();
    let cut: String = whole.lines().take(3).collect::<Vec<_>>().join("\n");
    for (variable, value) in [
        (
            "TUNNEL_PASSPHRASE",
            "canary-3a52-target-passphrase".to_owned(),
        ),
        ("TUNNEL_KEY", "canary-f06b-tunnel-passphrase".to_owned()),
        ("TUNNEL_KEY", cut),
        ("TUNNEL_KEY", search.tunnels[1].private.clone()),
        (
            "TARGET_PASSPHRASE",
            "canary-f06b-tunnel-passphrase".to_owned(),
        ),
        ("TARGET_KEY", whole),
    ] {
        let kept = search.shop.environment.len();
        search.shop.environment.push((variable.to_owned(), value));
        let (line, code) = if variable.starts_with("TUNNEL") {
            ("check far", 3)
        } else {
            ("check target", 1)
        };
        let refused = search.shop.run(line, code);
        assert!(refused.stdout.contains('✗'), "{}", refused.stdout);
        for line in [line, "run to_far"] {
            search.command(line);
        }
        search.shop.environment.truncate(kept);
    }
    search.end();
}
