//! The budget of an account at a service, through the program: a quota ends runs and loses nothing,
//! and what a service says of its rate is obeyed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rowcast_testkit::api::{Answer, Api, Crowd, Gathering};
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::{Value, json};

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use project::Project;

/// Arrivals at a service that takes everything.
type Arrivals = Arc<Mutex<Vec<Instant>>>;

/// A table of contacts with so many rows.
fn contacts(name: &str, rows: usize) -> Database {
    let cluster = Cluster::shared();
    let database = cluster.database(name);
    cluster.psql(
        &database.name,
        &format!(
            "CREATE TABLE contacts (id int PRIMARY KEY, email text, name text);
             INSERT INTO contacts SELECT n, 'c' || n || '@example.com', 'Name ' || n
             FROM generate_series(1, {rows}) n"
        ),
    );
    database
}

/// A service that takes ten contacts a request, with these words about its budget.
fn project(database: &Database, service: &Api, budget: &str) -> Project {
    let project = Project::new(database);
    project.model("contacts", "contacts");
    project.file(
        "connectors/in_house.yml",
        &format!(
            r#"connector: in_house
title: In-house
summary: Writes contacts.
docs: https://api.example.com/docs
status: fixtures
hosts: [api.example.com]
settings:
  token: {{ type: secret, required: true, help: A token }}
connect:
  base_url: https://api.example.com
  auth: {{ bearer: "{{{{ settings.token }}}}" }}
  concurrency: 1
{budget}
objects:
  contact:
    title: Contact
    match_on: {{ choices: [email] }}
    fields:
      "*": {{ help: Any field }}
    operations:
      upsert:
        post: /v1/contacts
        batch: {{ max_records: 10 }}
        body: {{ contacts: {{ each_record: {{ merge: ["{{{{ record.match }}}}", "{{{{ record.fields }}}}"] }} }} }}
"#
        ),
    );
    project.file(
        "destinations/crm.yml",
        &format!(
            "destination: crm\nconnector: in_house\nallow_addresses: [127.0.0.1/32]\n\
             settings:\n  endpoint: {}\n  token: own-token\n",
            service.url("")
        ),
    );
    project
}

const CONTACT: &str =
    "object: contact\nmode: upsert\nmatch_on: { email: email }\nfields: { name: name }\n";

fn sync(project: &Project, name: &str) {
    project.sync(name, "contacts", "crm", CONTACT);
}

/// How many contacts were taken; none is taken twice.
fn arrived(service: &Api) -> usize {
    let log = service.log();
    let bodies = log
        .iter()
        .filter(|seen| seen.status == Some(200))
        .map(|seen| -> Value { serde_json::from_slice(&seen.body).expect("JSON") });
    let emails: Vec<String> = bodies
        .flat_map(|body| body["contacts"].as_array().cloned().unwrap_or_default())
        .map(|contact| contact["email"].to_string())
        .collect();
    let distinct: std::collections::BTreeSet<_> = emails.iter().collect();
    assert_eq!(distinct.len(), emails.len(), "taken twice");
    emails.len()
}

/// Windows that no midnight ends while a test runs: the present one began in 2024.
const LONG: &str = "20000d";

fn quota(requests: u32) -> String {
    format!("  quota: {{ requests: {requests}, per: {LONG} }}")
}

fn takes_everything() -> Api {
    Api::judged(Box::new(|_| Answer::json(200, &json!({}))))
}

/// What state counts of quotas: `test/crm 3`.
fn counted(database: &Database) -> String {
    let sql =
        "SELECT string_agg(account || ' ' || used, ', ' ORDER BY account) FROM _rowcast.budget";
    Cluster::shared()
        .psql(&database.name, sql)
        .trim()
        .to_owned()
}

#[test]
fn a_quota_that_is_used_up_ends_the_run_and_holds_for_the_next_process_too() {
    let database = contacts("budgets_quota", 50);
    let service = takes_everything();
    let project = project(&database, &service, &quota(3));
    sync(&project, "push");

    let report = project.run("push", &[], 0);
    assert_eq!(
        (&report["delivered"], &report["pending"]),
        (&json!(30), &json!(20))
    );
    assert!(
        report["notes"].to_string().contains("quota is used up"),
        "{report:#}"
    );
    assert_eq!(counted(&database), "test/crm 3");

    // As from cron on the same day: nothing is sent, nothing is lost.
    let report = project.run("push", &[], 0);
    assert_eq!(
        (&report["delivered"], &report["pending"]),
        (&json!(0), &json!(20))
    );
    assert_eq!(service.requests(), 3);

    // The next day.
    next_window(&database);
    let report = project.run("push", &[], 0);
    assert_eq!(
        (&report["delivered"], &report["pending"]),
        (&json!(20), &json!(0))
    );
    assert_eq!((service.requests(), arrived(&service)), (5, 50));
    assert_eq!(counted(&database), "test/crm 2");
}

fn next_window(database: &Database) {
    let sql = format!(
        "UPDATE _rowcast.budget SET began_at = began_at - interval '{}'",
        LONG.replace('d', " days")
    );
    Cluster::shared().psql(&database.name, &sql);
}

#[test]
fn two_syncs_and_two_destinations_of_one_account_share_its_quota() {
    let database = contacts("budgets_shared", 50);
    let service = takes_everything();
    let project = project(&database, &service, &quota(4));
    let again =
        std::fs::read_to_string(project.dir().join("destinations/crm.yml")).expect("a file");
    project.file(
        "destinations/same.yml",
        &again.replace("destination: crm", "destination: same"),
    );
    let other = again
        .replace("destination: crm", "destination: other")
        .replace("own-token", "another");
    project.file("destinations/other.yml", &other);
    for (name, destination) in [("one", "crm"), ("two", "same"), ("three", "other")] {
        project.sync(name, "contacts", destination, CONTACT);
    }
    let ended = project.ran(&["run", "one", "two"]);
    assert_eq!(service.requests(), 4, "{}", ended.words());
    assert_eq!(counted(&database), "test/crm 4");
    project.run("three", &[], 0);
    assert_eq!(
        (service.requests(), counted(&database)),
        (8, "test/crm 4, test/other 4".into())
    );
    let secrets = Cluster::shared().psql(
        &database.name,
        "SELECT count(*) FROM _rowcast.budget WHERE account ~ 'token|another'",
    );
    assert_eq!(secrets.trim(), "0");
}

#[test]
fn processes_that_run_at_once_share_a_quota() {
    let database = contacts("budgets_at_once", 50);
    let service = takes_everything();
    let project = project(&database, &service, &quota(7));
    let names = ["one", "two", "three"];
    for name in names {
        sync(&project, name);
    }
    // So that none of them has to make the state tables.
    project.run("one", &["--limit", "10"], 0);
    let running: Vec<_> = names
        .iter()
        .map(|name| {
            let mut command = project.rowcast(&["run", name]);
            command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            command.spawn().expect("the program starts")
        })
        .collect();
    for mut process in running {
        assert!(process.wait().expect("it ends").success());
    }
    assert_eq!(
        (service.requests(), counted(&database)),
        (7, "test/crm 7".into())
    );
}

#[test]
fn a_plan_takes_what_is_used_of_a_quota_into_account() {
    let database = contacts("budgets_plan", 50);
    let service = takes_everything();
    let project = project(&database, &service, &quota(1_000));
    sync(&project, "push");
    let planned = |words: &[&str]| project.ran(&[&["plan", "push"], words].concat());
    let before = planned(&["--json"]).json();
    assert_eq!(before[0]["quota"]["used"], 0, "{before:#}");
    let count = "SELECT count(*) FROM pg_namespace WHERE nspname = '_rowcast'";
    assert_eq!(Cluster::shared().psql(&database.name, count).trim(), "0");

    project.run("push", &["--limit", "20"], 0);
    // The destination's own word takes the place of the connector's.
    let file = project.dir().join("destinations/crm.yml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let own = text.replace(
        "settings:",
        &format!("quota: {{ requests: 4, per: {LONG} }}\nsettings:"),
    );
    project.file("destinations/crm.yml", &own);
    let after = planned(&["--json"]).json();
    let plan = &after[0];
    assert_eq!(
        (
            &plan["calls"],
            &plan["quota"]["used"],
            &plan["quota"]["requests"]
        ),
        (&json!(3), &json!(2), &json!(4))
    );
    // The last call falls into the next window.
    let number = |value: &Value| value.as_u64().expect("a number");
    let (time, anew) = (&plan["time_ms"], &plan["quota"]["anew_in_ms"]);
    assert!(number(time).abs_diff(number(anew)) <= 1, "{plan:#}");
    let words = planned(&[]).words();
    assert!(
        words.contains("2 of 4 requests of the service's quota are used, 2 are left"),
        "{words}"
    );
    assert_eq!(service.requests(), 2);
}

#[test]
fn without_a_quota_state_is_not_asked_about_one() {
    let database = contacts("budgets_none", 50);
    let service = takes_everything();
    let project = project(&database, &service, "");
    sync(&project, "push");
    project.run("push", &[], 0);
    assert_eq!((service.requests(), counted(&database)), (5, String::new()));
}

/// One request holds ten contacts, so 400 requests are 4,000.
#[test]
fn concurrency_falls_to_what_a_service_takes_and_rises_when_it_takes_more() {
    let database = contacts("budgets_crowd", 4_000);
    let service = takes_everything();
    let gathering = |(from, together)| Gathering { from, together };
    // At last fewer than are permitted: batches that wait for their next attempt have places too.
    let gatherings = [(0, 16), (4, 8), (8, 4), (260, 8)].map(gathering);
    let crowd = Arc::new(Crowd::new(4, 60, gatherings));
    service.crowd(&crowd);
    let project = project(&database, &service, "");
    let file = project.dir().join("connectors/in_house.yml");
    let text = std::fs::read_to_string(file).expect("a file");
    project.file(
        "connectors/in_house.yml",
        &text.replace("concurrency: 1", "concurrency: 16"),
    );
    sync(&project, "push");
    let report = project.run("push", &[], 0);
    let seen = crowd.counts();
    assert_eq!(
        (&report["delivered"], &report["pending"]),
        (&json!(4_000), &json!(0))
    );
    assert_eq!(arrived(&service), 4_000);
    assert_eq!(
        (seen.taken, seen.in_vain),
        (400, None),
        "each was taken once"
    );
    assert_eq!(report["request_retries"], seen.refused);
    // 16 at first; half of that after a burst of refusals, and half again.
    assert_eq!(seen.most[..2], [16, 8], "{seen:?}");
    assert!(seen.most[2] <= 5, "{seen:?}");
    // A service that takes more is sent more.
    assert_eq!(seen.most[3], 8, "{seen:?}");
    assert!(seen.refused >= 16 && seen.refused < 60, "{seen:?}");
}

/// What is waited for is at least as long as the service says; how much longer is not looked at.
#[test]
fn a_service_that_says_nothing_remains_is_not_asked_before_its_time() {
    let database = contacts("budgets_headers", 20);
    let arrivals = Arrivals::default();
    let kept = Arc::clone(&arrivals);
    let service = Api::judged(Box::new(move |_| {
        let mut arrivals = kept.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push(Instant::now());
        Answer::json(200, &json!({}))
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "2")
    }));
    let budget = "  rate_headers: { remaining: X-RateLimit-Remaining, reset: X-RateLimit-Reset, reset_in: seconds }";
    let project = project(&database, &service, budget);
    sync(&project, "push");
    let report = project.run("push", &[], 0);
    assert_eq!(report["delivered"], 20, "{report:#}");
    let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(arrivals.len(), 2);
    let waited = arrivals[1] - arrivals[0];
    assert!(waited >= Duration::from_millis(1_900), "{waited:?}");
}
