//! Secrets are never printed, logged or stored: every credential is a marker, and no marker is found
//! in anything that the program leaves behind.

use std::collections::BTreeSet;
use std::path::Path;

use rowcast_testkit::api::{Act, Answer, Script};
use rowcast_testkit::postgres::{Cluster, free_port};

#[path = "support/shop.rs"]
mod shop;
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod terminal;

use shop::Shop;

/// Every credential there is, and its marker. Long, so that nothing holds one by chance.
const MARKERS: [(&str, &str); 10] = [
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

fn open(name: &str) -> Shop {
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
    shop
}

/// Looks for markers in everything that was printed and is kept.
struct Search {
    shop: Shop,
    found: Vec<String>,
}

impl Search {
    fn look(&mut self, place: &str, text: &str) {
        for marker in MARKERS.map(|(_, marker)| marker).into_iter().chain([BASIC]) {
            if text.contains(marker) {
                let line = text.lines().find(|line| line.contains(marker));
                self.found.push(format!(
                    "{marker} in {place}: {}",
                    line.unwrap_or_default().trim()
                ));
            }
        }
    }

    /// Runs a command in each of its loudnesses; whether it succeeds does not matter here.
    fn command(&mut self, line: &str) {
        for more in ["", " -vv", " --json"] {
            let line = format!("{line}{more}");
            let done = self.shop.raw(&line);
            for text in [done.stdout, done.stderr] {
                self.look(&line, &String::from_utf8_lossy(&text));
            }
        }
    }

    /// Every row of every table and view of the state schemas, and every file of the project.
    fn kept(&mut self) {
        let relations = self.shop.sql(
            "SELECT format('SELECT %L, t::text FROM %s t;', c.oid::regclass, c.oid::regclass)
             FROM pg_class c WHERE relnamespace = '_rowcast'::regnamespace
               AND relkind IN ('r', 'v')",
        );
        assert!(relations.contains("row_log"), "{relations}");
        let rows = self.shop.sql(&relations);
        assert!(rows.contains("c1@example.com") || rows.contains("to_bearer"));
        self.look("the state schema", &rows);
        let folder = self.shop.terminal.dir.clone();
        self.files(&folder);
    }

    fn files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("read the folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.files(&path);
            } else {
                let bytes = std::fs::read(&path).expect("read the file");
                self.look(
                    &path.display().to_string(),
                    &String::from_utf8_lossy(&bytes),
                );
            }
        }
    }

    fn end(self) {
        let found: BTreeSet<String> = self.found.into_iter().collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn no_secret_is_printed_or_kept_when_all_goes_well() {
    let mut search = Search {
        shop: open("canary_well"),
        found: Vec::new(),
    };
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
    ] {
        assert!(seen.contains(marker), "{marker} was not sent");
    }
    assert_eq!(
        search.shop.sql("SELECT count(*) FROM contacts").trim(),
        shop::ROWS.to_string()
    );
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
const KNOWN: [(&str, &[&str]); 7] = [
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
];

#[test]
fn no_secret_is_printed_or_kept_when_the_service_repeats_it() {
    for status in [401, 422] {
        let mut search = Search {
            shop: open("canary_echo"),
            found: Vec::new(),
        };
        for (path, secrets) in KNOWN {
            search.shop.api.script(echo(status, path, secrets));
        }
        for (name, _) in AUTHS {
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
    let mut search = Search {
        shop: open("canary_down"),
        found: Vec::new(),
    };
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
    let mut search = Search {
        shop: open("canary_refused"),
        found: Vec::new(),
    };
    let url = format!(
        "postgresql://postgres:canary-4f1c-source-password@127.0.0.1:{}/postgres?sslmode=disable",
        cluster.port
    );
    search.shop.environment.push(("SOURCE_URL".into(), url));
    for line in ["check", "plan", "run"] {
        search.command(line);
    }
    search.end();
}
