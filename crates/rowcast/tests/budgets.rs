//! The budget of an account at a service, through the program: a quota ends runs and loses nothing,
//! and what a service says of its rate is obeyed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rowcast_testkit::api::{Answer, Api};
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

fn sync(project: &Project, name: &str) {
    project.sync(
        name,
        "contacts",
        "crm",
        "object: contact\nmode: upsert\nmatch_on: { email: email }\nfields: { name: name }\n",
    );
}

/// How many contacts arrived, each counted once.
fn arrived(service: &Api) -> usize {
    let log = service.log();
    let bodies = log
        .iter()
        .map(|seen| -> Value { serde_json::from_slice(&seen.body).expect("JSON") });
    let emails = bodies.flat_map(|body| {
        let contacts = body["contacts"].as_array().cloned().unwrap_or_default();
        contacts.into_iter().map(|one| one["email"].to_string())
    });
    emails.collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn a_quota_that_is_used_up_ends_the_run_and_the_next_goes_on() {
    let database = contacts("budgets_quota", 50);
    let service = Api::judged(Box::new(|_| Answer::json(200, &json!({}))));
    let project = project(&database, &service, "  quota: { requests: 2, per: 1d }");
    sync(&project, "push");
    let planned = project.ran(&["plan", "push", "--json"]);
    assert_eq!(planned.code, Some(0), "{}", planned.words());

    let mut left = 50;
    for run in 1..=3 {
        let delivered = left.min(20);
        left -= delivered;
        let ended = project.ran(&["run", "push", "--json"]);
        let report = project::report(&ended);
        assert_eq!(report["delivered"], delivered, "{report:#}");
        assert_eq!(report["pending"], left, "{report:#}");
        let told = report["notes"].to_string().contains("quota is used up");
        assert_eq!(told, left > 0, "{report:#}");
        assert!(service.requests() <= 2 * run, "{report:#}");
    }
    assert_eq!((service.requests(), arrived(&service)), (5, 50));
}

#[test]
fn two_syncs_of_one_account_share_its_quota() {
    let database = contacts("budgets_shared", 50);
    let service = Api::judged(Box::new(|_| Answer::json(200, &json!({}))));
    let project = project(&database, &service, "  quota: { requests: 3, per: 1d }");
    sync(&project, "one");
    sync(&project, "two");
    let ended = project.ran(&["run"]);
    assert_eq!(service.requests(), 3, "{}", ended.words());
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
