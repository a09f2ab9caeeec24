//! One mistake at a time in a project that is otherwise good: the codes are listed here, the text
//! people read is in `snapshots/`.

use std::fmt::Write as _;

use crate::support::{Fixture, rendered};

/// What a case writes, and the codes of the problems it must cause.
type Case<'a> = (&'a str, &'a str, &'a [&'a str]);

fn golden(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

fn show(cases: &[Case<'_>]) -> String {
    let mut out = String::new();
    for (path, text, codes) in cases {
        let fixture = Fixture::good();
        fixture.write(path, text);
        let loaded = fixture.load();
        let found: Vec<&str> = loaded
            .problems
            .iter()
            .map(|problem| problem.reason.code.as_str())
            .collect();
        assert_eq!(&found, codes, "{text}\n{}", rendered(&loaded));
        let _ = writeln!(out, "{}", rendered(&loaded));
    }
    out
}

/// A sync that differs from the good one by these lines.
fn sync(lines: &str) -> String {
    format!(
        "sync: customers\nmodel: customers\ndestination: hook\nfields: {{ email: email }}\n{lines}"
    )
}

fn with_sync(cases: &[(&str, &[&str])]) -> String {
    let texts: Vec<String> = cases.iter().map(|(lines, _)| sync(lines)).collect();
    let cases: Vec<Case<'_>> = cases
        .iter()
        .zip(&texts)
        .map(|((_, codes), text)| ("syncs/customers.yml", text.as_str(), *codes))
        .collect();
    show(&cases)
}

#[test]
fn files_that_are_not_yaml() {
    let bomb = " a: &a [x, x]\n b: &b [*a, *a]\n c: [*b, *b]\n";
    golden(
        "files_that_are_not_yaml",
        &show(&[
            ("sources/more.yml", "source: more\n\thost: h\n", &["E0103"]),
            (
                "sources/more.yml",
                "source: more\nlimits:\n\tconnections: 4\n",
                &["E0103"],
            ),
            ("sources/more.yml", "source: \"more\nhost: h\n", &["E0103"]),
            ("sources/more.yml", "", &["E0103"]),
            (
                "syncs/customers.yml",
                &sync("mode: upsert\nmode: mirror\n"),
                &["E0103"],
            ),
            (
                "tests/bomb.yml",
                &format!("test: bomb\nsync: customers\nrows: []\nexpect: []\nx:\n{bomb}"),
                &["E0104", "E0103", "E0103", "E0103", "E0103"],
            ),
            (
                "sources/shop.yml",
                "source: shop\nhost: h\ndatabase: d\nuser: u\n---\nx: 1\n",
                &["E0103"],
            ),
            (
                "syncs/customers.yml",
                &sync("description: !!str 5\n"),
                &["E0103"],
            ),
            ("sources/more.yaml", "source: more\n", &["E0107"]),
            ("models/lonely.sql", "select 1", &["E0106"]),
        ]),
    );
    let fixture = Fixture::good();
    fixture.write("sources/more.yml", b"source: more\nhost: \xff\n");
    golden("a_file_that_is_not_text", &rendered(&fixture.load()));
}

#[test]
fn keys_and_values() {
    golden(
        "keys_and_values",
        &show(&[
            ("rowcast.yml", "project: shop\nversion: 2\n", &["E0105"]),
            ("rowcast.yml", "project: shop\n", &["E0106"]),
            ("rowcast.yml", "- a\n", &["E0105"]),
            (
                "rowcast.yml",
                "project: shop\nversion: 1\ndefaults: { syncs: { retry: { rnus: 3 } } }\n",
                &["E0104"],
            ),
            (
                "syncs/customers.yml",
                &sync("shedule: { every: 15m }\n"),
                &["E0104"],
            ),
            ("syncs/customers.yml", &sync("paused: yes\n"), &["E0105"]),
            (
                "sources/shop.yml",
                "source: shop\nhost: h\ndatabase: d\nuser: u\nssh:\n  host: bastion\n  user: tunnel\n  key: x\n  host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3a\n",
                &["E0105"],
            ),
            (
                "syncs/customers.yml",
                &sync("paused: [a\n  , b]\n"),
                &["E0105"],
            ),
            (
                "sources/wrong.yml",
                "source: right\nhost: h\ndatabase: d\nuser: u\n",
                &["E0107"],
            ),
            (
                "sources/a b.yml",
                "source: a b\nhost: h\ndatabase: d\nuser: u\n",
                &["E0107"],
            ),
        ]),
    );
}

#[test]
fn sources_and_models() {
    let source = |lines: &str| format!("source: shop\nhost: h\ndatabase: d\nuser: u\n{lines}");
    golden(
        "sources_and_models",
        &show(&[
            (
                "sources/shop.yml",
                "source: shop\nhost: h\n",
                &["E0106", "E0106"],
            ),
            (
                "sources/shop.yml",
                &source("url: x\n"),
                &["E0111", "E0111", "E0111"],
            ),
            (
                "sources/shop.yml",
                &source("password: ${env:SHOP_PASSWORD}\n"),
                &["E0109"],
            ),
            (
                "sources/shop.yml",
                &source("password: ${file:secrets/none}\n"),
                &["E0109"],
            ),
            (
                "sources/shop.yml",
                &source("state_schema: ${var:schema}\n"),
                &["E0109"],
            ),
            (
                "sources/shop.yml",
                &source("state_schema: ${evn:SCHEMA}\n"),
                &["E0105"],
            ),
            (
                "sources/shop.yml",
                &source("password: { command: [] }\n"),
                &["E0105"],
            ),
            (
                "sources/shop.yml",
                &source("port: 70000\nsslmode: verifyfull\n"),
                &["E0105", "E0105"],
            ),
            (
                "sources/shop.yml",
                &source("limits: { statement_timeout: 10 }\n"),
                &["E0105"],
            ),
            (
                "sources/shop.yml",
                &source("state: { source: shop }\n"),
                &["E0105"],
            ),
            (
                "models/customers.yml",
                "model: customers\nsource: shop\nprimary_key: [id]\n",
                &["E0106"],
            ),
            (
                "models/customers.yml",
                "model: customers\nsource: shop\nsql: select 1\n",
                &["E0106"],
            ),
            (
                "models/customers.yml",
                "model: customers\nsource: shop\nsql: select 1\ntable: t\nprimary_key: [id]\n",
                &["E0111"],
            ),
            ("models/customers.sql", "select 1", &["E0111"]),
            (
                "models/customers.yml",
                "model: customers\nsource: shp\ntable: select 1\n",
                &["E0108", "E0105"],
            ),
            (
                "models/customers.yml",
                "model: customers\nsource: shop\ndbt: { model: customers }\n",
                &["E0105"],
            ),
            (
                "models/customers.yml",
                "model: customers\nsource: shop\ntable: t\nprimary_key: [id, id]\ntime_zone: Europe/Pariss\n",
                &["E0105", "E0105"],
            ),
        ]),
    );
    let fixture = Fixture::good();
    fixture.write(
        "models/more.yml",
        "model: more\nsource: shop\nprimary_key: [id]\n",
    );
    fixture.write(
        "models/more.sql",
        "select id\nfrom ${var:tabel} where x = '${env:SECRET}'\n",
    );
    fixture.write(
        "rowcast.yml",
        "project: shop\nversion: 1\nvariables: { table: t }\n",
    );
    golden("placeholders_in_sql", &rendered(&fixture.load()));
}

#[test]
fn destinations_and_their_settings() {
    let hook =
        |settings: &str| format!("destination: hook\nconnector: http\nsettings:\n{settings}");
    golden(
        "destinations_and_their_settings",
        &show(&[
            (
                "destinations/hook.yml",
                "destination: hook\nconnector: htpp\n",
                &["E0113"],
            ),
            (
                "destinations/hook.yml",
                "destination: hook\nconnector: http\nurl: https://x\n",
                &["E0104"],
            ),
            (
                "destinations/hook.yml",
                &hook("  uri: https://x\n"),
                &["E0104"],
            ),
            (
                "destinations/hook.yml",
                &hook("  url: https://x\n  allow_addresses: [10.0.0.0/8]\n"),
                &["E0104"],
            ),
            (
                "destinations/hook.yml",
                &hook("  auth: { bearer: x, none: }\n"),
                &["E0111"],
            ),
            (
                "destinations/hook.yml",
                &hook("  auth: { basic: { user: u } }\n"),
                &["E0114"],
            ),
            (
                "destinations/hook.yml",
                &hook("  auth: bearer\n"),
                &["E0114"],
            ),
            (
                "destinations/hook.yml",
                &hook("  format: arary\n  retries: many\n"),
                &["E0114", "E0114"],
            ),
            (
                "destinations/hook.yml",
                &hook(
                    "  outcomes: { at: r, pair_by: key, rejected_when: { path: s, in: error } }\n",
                ),
                &["E0114"],
            ),
            (
                "destinations/db.yml",
                "destination: db\nconnector: postgres\n",
                &["E0114"],
            ),
            (
                "destinations/hook.yml",
                "destination: hook\nconnector: http\nrate: { requests: 0 }\nallow_addresses: [10.0.0.0/40, localhost]\nbatch: { max_bytes: 1 MB }\n",
                &["E0106", "E0105", "E0105", "E0105", "E0105"],
            ),
        ]),
    );
}

#[test]
fn segment_mappings() {
    let sync = |rest: &str| format!("sync: customers\nmodel: customers\ndestination: hook\n{rest}");
    let all_at_once = sync(
        r#"mapping:
  email: { "@path": $.properties.email }
  name:
    "@case": { operator: 7, value: { "@pth": $.properties.name } }
  a/b: { "@template": [x] }
  list: { "@arrayPath": [ 5, { x: { "@replace": { pattern: "", value: x } } } ] }
  both: { "@path": a, other: b }
  enable_batching: maybe
  batch_size: { "@path": $.properties.size }
  __segment_internal_sync_mode: insert
  __segment_internal_matching_key: name
"#,
    );
    let twice = sync(
        r#"mode: upsert
match_on: { email: email }
mapping:
  email: { "@path": $.properties.email }
  __segment_internal_sync_mode: mirror
  __segment_internal_matching_key: email
"#,
    );
    let empty = sync("mapping: { batch_size: 5 }\n");
    let consent = "model: customers\nsource: shop\ntable: customers\nprimary_key: [id]\nconsent: { marketing: ads_ok }\n";
    golden(
        "segment_mappings",
        &show(&[
            ("syncs/customers.yml", &all_at_once, &["E0508"; 10]),
            ("syncs/customers.yml", &twice, &["E0111", "E0111"]),
            ("syncs/customers.yml", &empty, &["E0106"]),
        ]),
    );
    let fixture = Fixture::good();
    fixture.write("models/customers.yml", consent);
    fixture.write(
        "destinations/hook.yml",
        "destination: hook\nconnector: http\nsettings: { url: https://example.com }\nconsent: [advertising]\n",
    );
    golden("consent", &rendered(&fixture.load()));
}

#[test]
fn syncs() {
    golden(
        "syncs",
        &with_sync(&[
            ("mode: miror\n", &["E0105"]),
            ("guards: { removed: 10 }\n", &["E0105"]),
            ("run: { max_duration: 0s }\n", &["E0105"]),
            ("on: [added, updted]\n", &["E0105"]),
            ("on: [removed]\n", &["E0111"]),
            ("on: type = 'track'\n", &["E0509"]),
            ("on: 'type = \"track\" and evnt = \"new\"'\n", &["E0509"]),
            ("on: \"event = \\\"new\\\" and\"\n", &["E0509"]),
            ("on: |\n  event = \"new\"\n  or\n", &["E0509"]),
            ("on: 'event = \"deleted\"'\n", &["E0111"]),
            ("on: type = \"identify\"\nmode: mirror\n", &["E0111"]),
            ("match_on: {}\n", &["E0105"]),
            ("mapping: { a: 1 }\n", &["E0111"]),
            ("alerts: { to: [ops] }\n", &["E0108"]),
            ("where: ${env:SECRET_CONDITION}\n", &["E0109", "E0105"]),
            ("request: { upsert: { puts: /x } }\n", &["E0104"]),
            ("was: customers\n", &["E0111"]),
            ("match_on: { email: }\n", &["E0105"]),
        ]),
    );
    golden(
        "syncs_and_others",
        &show(&[
            (
                "syncs/customers.yml",
                "sync: customers\nmodel: custmers\ndestination: crm\nfields: {}\n",
                &["E0108", "E0108", "E0106"],
            ),
            (
                "syncs/customers.yml",
                "sync: customers\nmodel: customers\ndestination: hook\n",
                &["E0106"],
            ),
            (
                "syncs/customers.yml",
                "sync: customers\nmodel: customers\ndestination: hook\nobject: track\nmode: mirror\nevent: { type: track }\n",
                &["E0111", "E0110"],
            ),
            (
                "tests/one.yml",
                "test: one\nsync: custmers\nrows: [{ id: 1 }]\nexpect: []\n",
                &["E0108", "E0105"],
            ),
            (
                "environments/prod.yml",
                "environment: prod\nsyncs: { customers: mirror }\n",
                &["E0105"],
            ),
        ]),
    );
}

#[test]
fn schedules() {
    golden(
        "schedules",
        &with_sync(&[
            ("schedule: { every: 5s }\n", &["E0112"]),
            ("schedule: { every: 15 }\n", &["E0112"]),
            ("schedule: { cron: \"0 25 * * *\" }\n", &["E0112"]),
            ("schedule: { cron: \"0 0 30 2 *\" }\n", &["E0112"]),
            ("schedule: { cron: \"@reboot\" }\n", &["E0112"]),
            ("schedule: { cron: \"0 0 L * *\" }\n", &["E0112"]),
            (
                "schedule: { cron: \"0,14 0 * * *\", jitter: 20m }\n",
                &["E0112"],
            ),
            (
                "schedule: { after: [orders], jitter: 1m }\n",
                &["E0108", "E0112"],
            ),
            (
                "schedule: { cron: \"0 6 * * *\", timezone: Mars/Base }\n",
                &["E0112"],
            ),
            (
                "schedule: { days: [mon, tues], at: \"09:00\" }\n",
                &["E0112"],
            ),
            ("schedule: { days: [mon] }\n", &["E0112"]),
            ("schedule: { every: 1h, cron: \"0 6 * * *\" }\n", &["E0111"]),
            ("schedule: { timezone: UTC }\n", &["E0112"]),
            ("schedule: { every: 1h, when: finished }\n", &["E0112"]),
            ("schedule: hourly\n", &["E0112"]),
            ("schedule: { after: [customers] }\n", &["E0112"]),
            ("schedule:\n  - { after: [orders] }\n", &["E0108"]),
        ]),
    );
}

#[test]
fn schedules_that_the_project_finds_too_frequent() {
    let fixture = Fixture::good();
    fixture
        .append("rowcast.yml", "schedule_gap_min: 15m\n")
        .append(
            "syncs/customers.yml",
            "schedule:\n  - { cron: \"0,14 0 * * *\" }\n  - { every: 15m }\n  - { every: 90s }\n",
        );
    golden(
        "schedules_that_the_project_finds_too_frequent",
        &rendered(&fixture.load()),
    );
}

#[test]
fn syncs_that_wait_for_each_other() {
    let fixture = Fixture::good();
    for (name, after) in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")] {
        fixture.write(
            &format!("syncs/{name}.yml"),
            format!("sync: {name}\nmodel: customers\ndestination: hook\nfields: {{ email: email }}\nschedule: {{ after: [{after}] }}\n"),
        );
    }
    golden("syncs_that_wait_for_each_other", &rendered(&fixture.load()));
}

#[test]
fn what_a_connector_can_not_do() {
    let fixture = Fixture::good();
    fixture.write(
        "destinations/out.yml",
        "destination: out\nconnector: file\nsettings: { path: out.csv }\n",
    );
    fixture.write(
        "destinations/db.yml",
        "destination: db\nconnector: postgres\nsettings: { url: x }\n",
    );
    for (name, lines) in [
        ("a", "destination: out\nmode: mirror\n"),
        ("b", "destination: db\n"),
        ("c", "destination: db\nobject: t\nrequest: { upsert: x }\n"),
        // Without removals a mirror is an upsert, and the file can do that.
        (
            "d",
            "destination: out\nmode: mirror\non: [added, updated]\n",
        ),
    ] {
        fixture.write(
            &format!("syncs/{name}.yml"),
            format!("sync: {name}\nmodel: customers\nfields: {{ email: email }}\n{lines}"),
        );
    }
    golden("what_a_connector_can_not_do", &rendered(&fixture.load()));
}

#[test]
fn rule_16_two_mirrors_on_one_object_are_refused() {
    let fixture = Fixture::good();
    fixture.write(
        "destinations/db.yml",
        "destination: db\nconnector: postgres\nsettings: { url: x }\n",
    );
    fixture.write(
        "destinations/logs.yml",
        "destination: logs\nconnector: log\n",
    );
    for (name, lines) in [
        ("a", "object: t\nmode: mirror\nmatch_on: { id: id }\n"),
        // The primary key is the same identity.
        ("b", "object: t\nmode: mirror\n"),
        ("c", "object: t\nmode: mirror\nmatch_on: { email: email }\n"),
        ("d", "object: u\nmode: mirror\n"),
        ("e", "object: t\nmode: upsert\n"),
        // Two logs of changes do not meet in one set of records.
        ("f", "destination: logs\nmode: mirror\n"),
        ("g", "destination: logs\nmode: mirror\n"),
    ] {
        let destination = if lines.contains("destination:") {
            ""
        } else {
            "destination: db\n"
        };
        fixture.write(
            &format!("syncs/{name}.yml"),
            format!(
                "sync: {name}\nmodel: customers\n{destination}fields: {{ email: email }}\n{lines}"
            ),
        );
    }
    golden(
        "rule_16_two_mirrors_on_one_object_are_refused",
        &rendered(&fixture.load()),
    );
}

#[test]
fn channels_and_hooks_that_can_not_work() {
    let fixture = Fixture::good();
    fixture.write(
        "rowcast.yml",
        "project: shop\nversion: 1\nalerts:\n  mail: { email: [ops@example.com] }\n  \
         two: { slack: x, webhook: y }\n  hook: { webhook: { secret: x } }\n\
         smpt: { host: a, from: b }\nhooks:\n  nightly: { trigger: { secret: x, syncs: [custmers] } }\n  \
         dbt: { dbt: { secret: \"\" } }\n",
    );
    golden("channels_and_hooks", &rendered(&fixture.load()));
}
