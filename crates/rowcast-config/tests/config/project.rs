//! Whole projects: the documents of the contract, environments, defaults, secrets.

use std::time::Duration;

use crate::support::{Fixture, rendered};
use rowcast_config::{
    Channel, Credential, Hook, Query, Refresh, RowLog, Secrets, SmtpTls, SslMode, Trigger, find,
};
use rowcast_core::json::to_json;
use rowcast_core::schedule::Cron;
use rowcast_core::{Code, Mode, SettingValue};

fn contract() -> Fixture {
    let mut fixture = Fixture::empty();
    fixture.write(
        "rowcast.yml",
        r#"project: shop
version: 1
variables: { plan_table: plans }
defaults:
  syncs:
    retry: { runs: 3 }
    alerts: { to: [ops] }
  destinations:
    timeout: 20s
alerts:
  ops: { slack: "${env:SLACK_URL}" }
  mail: { email: [ops@example.com] }
retention: { runs: 10d, row_log: 5d }
spool: { dir: spool, max: 20GB }
smtp: { host: smtp.example.com, from: rowcast@example.com }
"#,
    );
    fixture.write(
        "sources/shop.yml",
        r"# sources/shop.yml
source: shop
description: The shop's main database
tags: [core]
owner: data
host: db.internal            # or url
port: 5432
database: shop
user: rowcast
password: ${env:SHOP_PASSWORD}
sslmode: verify-full
search_path: [public]
state_schema: _rowcast
state: { source: ops }
row_security: error
limits: { connections: 4, statement_timeout: 10m }
",
    );
    fixture.write(
        "sources/ops.yml",
        "source: ops\nurl: ${env:OPS_URL}\npassword: { command: [aws, rds, generate-db-auth-token] }\n",
    );
    fixture.write(
        "models/customers.yml",
        r"model: customers
source: shop
primary_key: [id]
cursor: { column: updated_at, overlap: 10m, full: daily }
sensitive: [email]
time_zone: UTC
",
    );
    fixture.write(
        "models/customers.sql",
        "select c.*, p.plan, $${\"a\":1}$$::jsonb as j\nfrom customers c join ${var:plan_table} p using (id)\n",
    );
    fixture.write(
        "models/orders.yml",
        "model: orders\nsource: shop\ntable: public.orders\n",
    );
    fixture.write(
        "destinations/crm.yml",
        "destination: crm\nconnector: postgres\nsettings: { url: \"${env:CRM_URL}\" }\n",
    );
    fixture.write(
        "destinations/hook.yml",
        r#"destination: hook
connector: http
settings:
  url: https://hooks.example.com/customers
  auth: { bearer: "${env:HOOK_TOKEN}" }
  body: record
  format: array
  outcomes: { at: results, pair_by: index, rejected_when: { path: status, in: [error] }, message: error }
batch: { max_records: 100, max_bytes: 1MB }
rate: { requests: 50, per: 1s }
concurrency: 8
timeout: 30s
allow_addresses: [10.0.0.0/8]
"#,
    );
    fixture.write(
        "syncs/customers_to_crm.yml",
        r#"sync: customers_to_crm
was: old_name
model: customers
destination: crm
object: contact
mode: upsert
on: [added, updated]
refresh: incremental
match_on: { email: email }
where: "plan is not null"
fields:
  firstname: first_name
  name: "{{ first_name }} {{ last_name }}"
  plan: { column: plan, default: free }
  source: { literal: rowcast }
  email_sha256: { sha256: { lower: email } }
  address: { object: { city: city, country: { upper: country } } }
  phones: { list: [mobile, home] }
  seen_at: { column: last_seen, as: unix, nulls: omit }
  score: 12345678901234567890.5
  answer: no
schedule: { every: 15m }
run: { max_duration: 1h, max_records: 50000 }
retry: { runs: 5, for: 14d }
guards: { removed: 10%, changed: 100%, calls: 100000 }
alerts: { failed: true, rejected: 5%, late: 1h, to: [ops] }
log: errors
keep: rows
"#,
    );
    fixture.write(
        "syncs/orders.yml",
        r#"sync: orders
model: orders
destination: hook
paused: true
request:
  upsert: { put: "/customers/{{ record.key.id }}" }
  delete: { delete: "/customers/{{ record.key.id }}", accept: [404] }
fields: { total: total }
schedule:
  - { every: 3h, at: "12:30", timezone: UTC, overlap: skip, catch_up: true }
  - { cron: "0 6 * * 1-5", timezone: Europe/Paris }
  - { days: [mon, thu], at: "09:00", timezone: Europe/Paris }
  - { after: [customers_to_crm], when: succeeded }
  - { dbt: { job: 1234 } }
"#,
    );
    fixture.write(
        "environments/prod.yml",
        r"environment: prod
variables: { plan_table: prod_plans }
sources:
  shop: { host: prod.internal, description: }
destinations:
  hook:
    settings: { url: 'https://prod.example.com', auth: { none: } }
    rate: { requests: 5, per: 1m }
syncs:
  orders: { schedule: manual, paused: false }
",
    );
    fixture.write(
        "tests/mapped.yml",
        "test: mapped\nsync: customers_to_crm\nnow: 2026-01-01T00:00:00Z\nrows:\n  - { id: 1, plan: null }\nexpect:\n  - { plan: free }\n",
    );
    fixture.write("connectors/in_house.yml", "connector: in_house\n");
    for (name, value) in [
        ("SHOP_PASSWORD", "canary-shop"),
        ("OPS_URL", "postgres://ops:canary-ops@ops/ops"),
        ("CRM_URL", "postgres://crm:canary-crm@crm/crm"),
        ("HOOK_TOKEN", "canary-token"),
        ("SLACK_URL", "https://slack.example/canary-slack"),
    ] {
        fixture.environment.insert(name.into(), value.into());
    }
    fixture
}

#[test]
fn the_documents_of_the_contract_load_without_problems() {
    let project = contract().project();

    let shop = &project.sources["shop"];
    assert_eq!(shop.host.as_ref().unwrap().reveal(), "db.internal");
    assert_eq!(shop.port, Some(5432));
    assert_eq!(shop.password, Some(Credential::Value("canary-shop".into())));
    assert_eq!(shop.sslmode, Some(SslMode::VerifyFull));
    assert_eq!(project.state_source(shop).name, "ops");
    assert_eq!(
        shop.about.description.as_deref(),
        Some("The shop's main database")
    );
    let Some(Credential::Command(words)) = &project.sources["ops"].password else {
        panic!("not a command");
    };
    assert_eq!(words[2].reveal(), "generate-db-auth-token");

    let customers = &project.models["customers"];
    let Query::Sql { text, file } = &customers.query else {
        panic!("not a query");
    };
    assert!(
        text.contains("join plans p") && text.contains("$${\"a\":1}$$"),
        "{text}"
    );
    assert_eq!(file.as_deref(), Some("models/customers.sql"));
    assert_eq!(
        customers.cursor.as_ref().unwrap().full,
        Duration::from_secs(86_400)
    );
    assert!(project.models["orders"].primary_key.is_empty());

    let hook = &project.destinations["hook"];
    assert_eq!(hook.batch_bytes, Some(1_000_000));
    assert_eq!(hook.timeout, Some(Duration::from_secs(30)));
    assert_eq!(
        project.destinations["crm"].timeout,
        Some(Duration::from_secs(20))
    );
    let auth = hook.settings.get("auth").unwrap();
    assert_eq!(
        auth.get("bearer"),
        Some(&SettingValue::Secret("canary-token".into()))
    );

    let sync = &project.syncs["customers_to_crm"];
    assert_eq!(
        (sync.mode, sync.refresh, sync.log),
        (Mode::Upsert, Refresh::Incremental, RowLog::Errors)
    );
    assert!(sync.on.added && sync.on.updated && !sync.on.removed && sync.keep_rows);
    assert_eq!(sync.match_on, [("email".into(), "email".into())]);
    assert_eq!(sync.guards.calls, Some(100_000));
    assert_eq!(sync.retry.runs, 5);
    assert_eq!(project.syncs["orders"].retry.runs, 3);
    assert_eq!(project.syncs["orders"].alerts.to, ["ops"]);
    assert_eq!(
        to_json(&sync.fields),
        concat!(
            r#"{"firstname":"first_name","name":"{{ first_name }} {{ last_name }}","#,
            r#""plan":{"column":"plan","default":"free"},"source":{"literal":"rowcast"},"#,
            r#""email_sha256":{"sha256":{"lower":"email"}},"#,
            r#""address":{"object":{"city":"city","country":{"upper":"country"}}},"#,
            r#""phones":{"list":["mobile","home"]},"#,
            r#""seen_at":{"column":"last_seen","as":"unix","nulls":"omit"},"#,
            r#""score":12345678901234567890.5,"answer":"no"}"#
        )
    );
    let schedules = &project.syncs["orders"].schedules;
    assert_eq!(schedules.len(), 5);
    assert_eq!(
        schedules[1].trigger,
        Trigger::Cron(Cron::parse("0 6 * * 1-5").unwrap())
    );
    assert_eq!(schedules[4].trigger, Trigger::Dbt { job: "1234".into() });

    assert_eq!(
        project.channels["ops"],
        Channel::Slack {
            url: "https://slack.example/canary-slack".into(),
            allow_addresses: Vec::new()
        }
    );
    assert_eq!(project.spool.dir, Some(project.dir.join("spool")));
    assert_eq!(project.spool.max, Some(20_000_000_000));
    assert_eq!(project.retention.row_log, Duration::from_secs(5 * 86_400));
    assert_eq!(project.tests["mapped"].rows.len(), 1);
    assert_eq!(project.environments, ["prod"]);
    assert!(project.connectors.contains_key("in_house"));
}

#[test]
fn an_environment_changes_what_it_names_and_nothing_else() {
    let mut fixture = contract();
    fixture.env = Some("prod".into());
    let project = fixture.project();
    let shop = &project.sources["shop"];
    assert_eq!(shop.host.as_ref().unwrap().reveal(), "prod.internal");
    assert_eq!(shop.database.as_ref().unwrap().reveal(), "shop");
    assert_eq!(
        shop.about.description, None,
        "a key with nothing after it removes"
    );
    let hook = &project.destinations["hook"];
    assert_eq!(
        hook.settings.get("url").and_then(SettingValue::as_text),
        Some("https://prod.example.com")
    );
    let auth = hook.settings.get("auth").unwrap();
    assert_eq!(
        auth.members(),
        [("none".to_owned(), SettingValue::Null)],
        "one choice replaces the other"
    );
    assert_eq!(
        hook.settings.get("format").and_then(SettingValue::as_text),
        Some("array")
    );
    assert_eq!(hook.rate.unwrap().requests, 5);
    assert!(project.syncs["orders"].schedules.is_empty());
    assert!(!project.syncs["orders"].about.paused);
    let Query::Sql { text, .. } = &project.models["customers"].query else {
        panic!("not a query");
    };
    assert!(text.contains("join prod_plans p"), "{text}");
}

#[test]
fn a_mistake_in_an_environment_is_pointed_at_in_its_file() {
    let mut fixture = Fixture::good();
    fixture.env = Some("prod".into());
    fixture.write(
        "environments/prod.yml",
        "environment: prod\nsyncs:\n  customers: { moed: mirror }\n  custmers: { mode: mirror }\n",
    );
    let text = rendered(&fixture.load());
    assert!(text.contains("--> environments/prod.yml:3:16"), "{text}");
    assert!(text.contains("did you mean `mode`?"), "{text}");
    assert!(text.contains("--> environments/prod.yml:4:3"), "{text}");
    assert!(text.contains("did you mean `customers`?"), "{text}");

    fixture.env = Some("prdo".into());
    let loaded = fixture.load();
    let unknown = loaded
        .problems
        .iter()
        .find(|p| p.reason.code == Code::UnknownEnvironment)
        .unwrap();
    assert_eq!(
        unknown.reason.hint.as_deref(),
        Some("did you mean --env prod?")
    );
}

#[test]
fn commands_that_need_no_secrets_ask_for_none() {
    let mut fixture = contract();
    fixture.environment.clear();
    assert_eq!(
        fixture
            .load()
            .problems
            .iter()
            .map(|p| p.reason.code)
            .collect::<Vec<_>>(),
        [Code::MissingSecret; 5]
    );
    fixture.secrets = Secrets::Lenient;
    let project = fixture.project();
    assert_eq!(
        project.sources["shop"].password,
        Some(Credential::Value("${env:SHOP_PASSWORD}".into()))
    );
}

#[test]
fn secrets_show_neither_in_debug_nor_in_problems() {
    let mut fixture = contract();
    let shown = format!("{:?}", fixture.load());
    assert!(!shown.contains("canary"), "{shown}");

    // Mistakes around secrets, and credentials written in clear.
    fixture
        .environment
        .insert("PORT".into(), "canary-port".into());
    fixture.write(
        "sources/shop.yml",
        "source: shop\nurl: postgres://u:canary-url@h/d\nhost: h\nport: ${env:PORT}\npassword: [canary-list]\nsslmode: ${env:PORT}\nstate_schema: ${env:PORT}\nstate: ${env:PORT}\nrow_security: { password: canary-clear, x: 1 }\nlimits: { password: canary-flow, connection: 4 }\n",
    );
    fixture.write(
        "sources/broken.yml",
        "source: broken\npassword: \"canary-open\n",
    );
    fixture.write(
        "destinations/crm.yml",
        "destination: crm\nconnector: postgres\nsettings: { url: canary-plain, typo: other }\n",
    );
    let loaded = fixture.load();
    assert!(loaded.problems.len() > 6);
    let shown = format!(
        "{}\n{:?}\n{}",
        rendered(&loaded),
        loaded,
        serde_json::to_string(&loaded.problems).unwrap()
    );
    let leaks: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("canary"))
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn a_secret_file_loses_its_last_line_break_and_is_read_again() {
    let fixture = Fixture::good();
    fixture.write("secrets/password", "first\n");
    fixture.write(
        "sources/shop.yml",
        "source: shop\nhost: h\ndatabase: d\nuser: u\npassword: ${file:secrets/password}\n",
    );
    let project = fixture.project();
    let password = project.sources["shop"].password.clone().unwrap();
    assert_eq!(password.read().unwrap().unwrap().reveal(), "first");
    fixture.write("secrets/password", "second\r\n");
    assert_eq!(password.read().unwrap().unwrap().reveal(), "second");
}

#[test]
fn placeholders_can_be_escaped() {
    let fixture = Fixture::good();
    fixture.write(
        "destinations/hook.yml",
        "destination: hook\nconnector: http\nsettings: { url: 'https://x/$${env:A}/${var:b}', headers: { a: '$5 ${ var' } }\n",
    );
    fixture.write(
        "rowcast.yml",
        "project: shop\nversion: 1\nvariables: { b: c }\n",
    );
    let loaded = fixture.load();
    assert_eq!(loaded.problems.len(), 1, "{}", rendered(&loaded));
    let settings = &loaded.project.destinations["hook"].settings;
    assert_eq!(
        settings.get("url").and_then(SettingValue::as_text),
        Some("https://x/${env:A}/c")
    );
}

#[test]
fn positions_lead_to_the_nearest_written_thing() {
    let project = contract().project();
    let sync = &project.syncs["customers_to_crm"];
    let at = |path: &str| sync.position(path).unwrap().to_string();
    assert_eq!(
        at("fields.address.object.country.upper"),
        "syncs/customers_to_crm.yml:17:54"
    );
    assert_eq!(
        at("fields.phones.list[1]"),
        "syncs/customers_to_crm.yml:18:28"
    );
    assert_eq!(
        at("fields.phones.list[1].default"),
        "syncs/customers_to_crm.yml:18:28"
    );
    assert_eq!(at("fields.missing"), "syncs/customers_to_crm.yml:11:1");
    assert_eq!(at("missing"), "syncs/customers_to_crm.yml:1:1");
}

#[test]
fn a_project_is_found_from_its_folders() {
    let fixture = Fixture::good();
    let dir = fixture.dir.path();
    assert_eq!(find(None, &dir.join("syncs")).unwrap(), dir);
    assert_eq!(find(Some(dir), std::path::Path::new("/")).unwrap(), dir);
    assert_eq!(
        find(Some(&dir.join("rowcast.yml")), std::path::Path::new("/")).unwrap(),
        dir
    );
    let reason = find(Some(&dir.join("syncs")), dir).unwrap_err();
    assert_eq!(reason.code, Code::ProjectNotFound);
}

#[test]
fn a_bare_null_names_the_connector_null() {
    let fixture = Fixture::good();
    for value in ["null", "\"null\"", " null # until there is a real one"] {
        fixture.write(
            "destinations/hook.yml",
            format!("destination: hook\nconnector: {value}\n"),
        );
        let loaded = fixture.load();
        assert_eq!(loaded.project.destinations["hook"].connector, "null");
        assert!(!rendered(&loaded).contains("E0106"), "{value}");
    }
    for value in ["", "~", "# null"] {
        fixture.write(
            "destinations/hook.yml",
            format!("destination: hook\nconnector: {value}\n"),
        );
        assert!(rendered(&fixture.load()).contains("E0106"), "{value}");
    }
    // Elsewhere it stays no value.
    let fixture = Fixture::good();
    fixture.write(
        "syncs/customers.yml",
        "sync: customers\nmodel: customers\ndestination: hook\nfields: { connector: null }\n",
    );
    let project = fixture.project();
    assert_eq!(
        to_json(&project.syncs["customers"].fields),
        r#"{"connector":null}"#
    );
}

#[test]
fn channels_hooks_and_what_is_watched_are_read() {
    let mut fixture = Fixture::good();
    for variable in ["SLACK_URL", "ALERT_URL", "NEW", "OLD", "PD", "MAIL", "DBT"] {
        let value = format!("of-{variable}");
        fixture.environment.insert(variable.into(), value);
    }
    fixture.write(
        "rowcast.yml",
        r#"project: shop
version: 1
defaults:
  syncs:
    alerts: { late: 2h, remind: never, to: [chat] }
alerts:
  chat: { slack: "${env:SLACK_URL}" }
  hook: { webhook: { url: "${env:ALERT_URL}", secret: ["${env:NEW}", "${env:OLD}"], allow_addresses: [10.0.0.0/8] } }
  oncall: { pagerduty: "${env:PD}" }
  mail: { email: [ops@example.com] }
smtp: { host: smtp.example.com, user: rowcast, password: "${env:MAIL}", from: rowcast@example.com, tls: implicit }
hooks:
  dbt_cloud: { dbt: { secret: "${env:DBT}" } }
  nightly: { trigger: { secret: "${env:NEW}", syncs: [customers] } }
"#,
    );
    fixture.write(
        "syncs/customers.yml",
        "sync: customers\nmodel: customers\ndestination: hook\nfields: { a: a }\nalerts:\n  rejected: 5%\n  runtime: 30m\n  \
         held: false\n  full: true\n  deviation: { over: 50%, of: changed, runs: 20 }\n",
    );
    let project = fixture.project();
    let alerts = &project.syncs["customers"].alerts;
    assert_eq!(alerts.to, ["chat"]);
    let rules = &alerts.rules;
    assert_eq!(rules.rejected_percent, Some(5.0));
    assert_eq!(rules.late, Some(Duration::from_secs(7_200)));
    assert_eq!(rules.runtime, Some(Duration::from_secs(1_800)));
    assert_eq!(rules.remind, None);
    assert!(rules.failed && !rules.held && rules.full && rules.recovery);
    let deviation = rules.deviation.expect("a deviation");
    assert_eq!(
        (deviation.percent, deviation.runs, deviation.of.as_str()),
        (50.0, 20, "changed")
    );
    let Channel::Webhook {
        url,
        secrets,
        allow_addresses,
    } = &project.channels["hook"]
    else {
        panic!("{:?}", project.channels);
    };
    assert_eq!((url.reveal().as_str(), secrets.len()), ("of-ALERT_URL", 2));
    assert_eq!(allow_addresses, &["10.0.0.0/8"]);
    assert!(
        matches!(&project.channels["oncall"], Channel::Pagerduty { key, url: None, .. } if key.reveal() == "of-PD")
    );
    let smtp = project.smtp.as_ref().expect("a mail server");
    assert_eq!((smtp.port, smtp.tls), (None, SmtpTls::Implicit));
    assert!(
        matches!(&project.hooks["dbt_cloud"], Hook::Dbt { secrets } if secrets[0].reveal() == "of-DBT")
    );
    assert!(
        matches!(&project.hooks["nightly"], Hook::Trigger { syncs, .. } if syncs == &["customers"])
    );
    assert!(!format!("{project:?}").contains("of-"), "a secret is shown");
}
