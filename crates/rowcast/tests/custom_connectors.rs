//! Custom connectors through the program: whole runs from PostgreSQL over both transports, a connector
//! that is killed in the middle of a batch, and the suite that finds wrong connectors.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rowcast_testkit::custom::Connector;
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::{Value, json};

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use project::Project;

fn sql(database: &Database, sql: &str) -> String {
    Cluster::shared().psql(&database.name, sql)
}

/// A table of customers with so many rows.
fn customers(name: &str, rows: usize) -> Database {
    let database = Cluster::shared().database(name);
    sql(
        &database,
        &format!(
            "CREATE TABLE customers (id int PRIMARY KEY, email text, plan text, credits text);
             INSERT INTO customers SELECT n, 'c' || n || '@example.com', 'free', n::text
               FROM generate_series(1, {rows}) n"
        ),
    );
    database
}

/// A mirror of the table, to the connector with these faults.
fn mirror(database: &Database, connector: &Connector, faults: &[&str], more: &str) -> Project {
    let project = Project::new(database);
    project.model("customers", "customers");
    destination(&project, connector, faults, more);
    project.sync(
        "customers_to_contacts",
        "customers",
        "contacts",
        "object: contact\nmode: mirror\nguards: { removed: 100% }\nfields:\n  email: email\n  \
         plan: plan\n",
    );
    project
}

fn destination(project: &Project, connector: &Connector, faults: &[&str], more: &str) {
    project.file(
        "destinations/contacts.yml",
        &format!(
            "destination: contacts\nconnector: custom\n{more}\nsettings:\n  command: {}\n  \
             environment: {{ DOUBLE_FOLDER: {} }}\n",
            json!(connector.command(faults)),
            connector.dir().display()
        ),
    );
}

/// The table as the connector should hold it.
fn rows(database: &Database) -> BTreeMap<i64, Value> {
    let text = sql(
        database,
        "SELECT coalesce(json_object_agg(id, json_build_object('email', email, 'plan', plan)), '{}')
         FROM customers",
    );
    let rows: BTreeMap<i64, Value> = serde_json::from_str(&text).expect("rows");
    rows
}

const SYNC: &str = "customers_to_contacts";

#[test]
fn a_connector_that_is_killed_in_the_middle_of_a_batch_loses_nothing() {
    let database = customers("custom_killed", 100);
    let connector = Connector::new();
    connector.trouble("die-in-the-middle", "");
    let project = mirror(&database, &connector, &[], "");
    let report = project.run(SYNC, &[], 0);
    assert_eq!(report["delivered"], 100, "{report:#}");
    assert!(!connector.is_due("die-in-the-middle"), "it did not die");
    assert_eq!(connector.held(), rows(&database));
    let mut processes: Vec<String> = connector
        .calls("sync_batch")
        .iter()
        .map(|call| call["pid"].to_string())
        .collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 2, "it was not started again");
    // Ten records a call, as the connector asks.
    for call in connector.calls("sync_batch") {
        assert!(call["params"]["records"].as_array().expect("records").len() <= 10);
    }

    // Half of a batch is written, and neither this attempt nor another is ever answered.
    sql(&database, "UPDATE customers SET plan = 'pro' WHERE id <= 4");
    connector.trouble("die-for-good", "");
    let report = project.run(SYNC, &[], 1);
    assert_eq!(report["delivered"], 0, "{report:#}");
    assert_eq!(connector.held()[&1]["plan"], "pro", "half was written");
    // The rows return to what was acknowledged, and a comparison with state alone would see nothing.
    sql(
        &database,
        "UPDATE customers SET plan = 'free' WHERE id <= 4",
    );
    connector.calm("revoked");
    let report = project.run(SYNC, &[], 0);
    assert_eq!(report["delivered"], 4, "{report:#}");
    assert_eq!(connector.held(), rows(&database));

    sql(&database, "DELETE FROM customers WHERE id > 90");
    connector.trouble("die-in-the-middle", "");
    let report = project.run(SYNC, &[], 0);
    assert_eq!(report["removed"], 10);
    assert_eq!(connector.held(), rows(&database));
}

#[test]
fn rule_26_a_record_without_a_clear_result_is_sent_again() {
    let database = customers("custom_unclear", 10);
    let connector = Connector::new();
    let project = mirror(&database, &connector, &[], "");
    for trouble in ["miss-a-result", "repeat-a-result", "name-a-stranger"] {
        sql(&database, "UPDATE customers SET plan = plan || '+'");
        connector.trouble(trouble, "");
        let ended = project.ran(&["run", SYNC, "--json"]);
        let report = project::report(&ended);
        let again = project.run(SYNC, &[], 0);
        let delivered = |report: &Value| report["delivered"].as_u64().expect("a count");
        assert!(
            delivered(&report) >= 9 && delivered(&report) + delivered(&again) >= 10,
            "{trouble}: {report:#}"
        );
        let unclear = connector.calls("sync_batch");
        let sent_alone = unclear.iter().any(|call| {
            let records = call["params"]["records"].as_array().expect("records");
            records.len() == 1
        });
        assert!(sent_alone, "{trouble}: the record was not sent again");
        assert_eq!(connector.held(), rows(&database), "{trouble}");
    }
}

#[test]
fn what_the_connector_does_not_know_is_named_before_anything_is_sent() {
    let database = customers("custom_fields", 1);
    let connector = Connector::new();
    let project = mirror(&database, &connector, &["needs-email"], "");
    let sync = |more: &str| {
        project.sync(
            SYNC,
            "customers",
            "contacts",
            &format!("object: contact\n{more}"),
        );
    };
    sync("fields:\n  emial: email\n  loaded_at: plan\n");
    for words in [["plan", SYNC], ["run", SYNC]] {
        let ended = project.ran(&words);
        assert_eq!(ended.code, Some(2), "{}", ended.words());
        for part in [
            "maps the field `emial`, which contact does not have",
            "did you mean `email`?",
            "maps the field `loaded_at`",
            "does not map the field `email`, which contact needs",
            "syncs/customers_to_contacts.yml:6:",
        ] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.words());
        }
    }
    let checked = project.ran(&["check", "contacts"]);
    assert_eq!(checked.code, Some(1), "{}", checked.words());
    assert!(
        checked.stdout.contains("did you mean `email`?"),
        "{}",
        checked.words()
    );

    sync("mode: insert\nfields:\n  email: email\n");
    let ended = project.ran(&["plan", SYNC]);
    assert_eq!(ended.code, Some(2), "{}", ended.words());
    assert!(
        ended
            .stderr
            .contains("the connector offers update, upsert, delete")
    );

    sync("fields:\n  email: email\n");
    let checked = project.ran(&["check", "contacts"]);
    assert_eq!(checked.code, Some(0), "{}", checked.words());
    for part in [
        "the connector says that it works",
        "10 records a call, 4 calls at once",
        "all mapped fields exist in contact",
    ] {
        assert!(checked.stdout.contains(part), "{part}: {}", checked.words());
    }
    let plan = project.ran(&["plan", SYNC]);
    assert_eq!(plan.code, Some(0), "{}", plan.words());
    assert!(
        plan.stdout.contains("\"method\":\"sync_batch\""),
        "{}",
        plan.words()
    );
    assert!(
        connector.calls("sync_batch").is_empty(),
        "something was sent"
    );

    destination(&project, &connector, &["broken"], "");
    let checked = project.ran(&["check", "contacts"]);
    assert_eq!(checked.code, Some(1), "{}", checked.words());
    assert!(checked.stdout.contains("the service behind it is down"));
}

#[test]
fn secrets_reach_the_connector_and_nothing_else_does() {
    let database = customers("custom_secrets", 3);
    let connector = Connector::new();
    let project = mirror(&database, &connector, &["dies-at-once"], "");
    let settings = |command: &str| {
        project.file(
            "destinations/contacts.yml",
            &format!(
                "destination: contacts\nconnector: custom\nsettings:\n  command: {command}\n  \
                 environment:\n    DOUBLE_FOLDER: {}\n    DOUBLE_SECRET: ${{env:TOKEN}}\n",
                connector.dir().display()
            ),
        );
    };
    let ran = |words: &[&str]| {
        let mut command = project.rowcast(words);
        command
            .env("TOKEN", "canary-7731")
            .env("OTHER", "canary-4242");
        command::run(command)
    };
    settings(&json!(connector.command(&["dies-at-once"])).to_string());
    let ended = ran(&["run", SYNC]);
    assert_eq!(ended.code, Some(3), "{}", ended.words());
    assert!(
        ended.stderr.contains("DOUBLE_SECRET is ***"),
        "{}",
        ended.words()
    );
    assert!(!ended.words().contains("canary"), "{}", ended.words());

    settings("[sh, -c, 'echo \"[$OTHER$TOKEN$DOUBLE_SECRET]\" >&2']");
    let ended = ran(&["run", SYNC]);
    assert!(ended.stderr.contains("[***]"), "{}", ended.words());

    settings("[python3, \"${env:TOKEN}\"]");
    let ended = ran(&["run", SYNC]);
    assert_eq!(ended.code, Some(2), "{}", ended.words());
    assert!(ended.stderr.contains("a secret can't stand in a command"));
    assert!(!ended.words().contains("canary"), "{}", ended.words());

    // What it writes after it has seen rows may be their values.
    settings(&json!(connector.command(&[])).to_string());
    connector.trouble("noisy", "x");
    let ended = ran(&["run", SYNC, "-vv"]);
    assert_eq!(ended.code, Some(0), "{}", ended.words());
    assert!(
        ended.stderr.contains("a line on standard error, not shown"),
        "{}",
        ended.words()
    );
    assert!(!ended.stderr.contains("loading"), "{}", ended.words());
}

/// A wrong connector for every check of the suite.
#[test]
fn the_suite_finds_what_is_wrong_with_a_connector() {
    let folder = tempfile::tempdir().expect("a folder");
    let examined = |faults: &[&str]| {
        let connector = Connector::new();
        let mut words = vec!["connectors", "test", "--json", "--timeout", "5s", "--"];
        let folder = format!("DOUBLE_FOLDER={}", connector.dir().display());
        let command = connector.command(faults);
        words.extend(["env", &folder]);
        words.extend(command.iter().map(String::as_str));
        let ended = command::run(command::rowcast(connector.dir(), &words));
        let findings = ended.json();
        let of = |verdict: &str| -> Vec<String> {
            let all = findings.as_array().expect("findings").iter();
            all.filter(|finding| finding["verdict"] == verdict)
                .map(|finding| finding["check"].as_str().expect("a name").to_owned())
                .collect()
        };
        (ended.code, of("failed"), of("skipped"), findings)
    };
    let (code, failed, skipped, findings) = examined(&["strict"]);
    assert_eq!((code, failed), (Some(0), vec![]), "{findings:#}");
    assert_eq!(skipped, Vec::<String>::new(), "{findings:#}");
    assert_eq!(findings.as_array().map(Vec::len), Some(15));

    for (faults, check) in [
        (&["silent-test"][..], "test_connection"),
        (&["broken"], "test_connection"),
        (&["takes-everything"], "unknown method"),
        (&["no-objects"], "list_objects"),
        (&["object-twice"], "list_objects"),
        (&["bad-operation"], "supported_operations"),
        (&["no-identifier"], "list_fields"),
        (&["unknown-type"], "list_fields"),
        (&["no-speed"], "get_sync_speed"),
        (&["missing-result"], "sync_batch"),
        (&["duplicate-result"], "sync_batch"),
        (&["strange-result"], "sync_batch"),
        (&["text-success"], "sync_batch"),
        (&["no-list"], "sync_batch"),
        (&["not-again"], "the same again"),
        (&["all-or-nothing"], "one bad record"),
        (&["mixes-calls"], "calls at once"),
        (&["small-batches"], "the largest batch"),
        (&["delete-once"], "delete"),
        (&["chatty"], "standard output"),
        (&["never-ends"], "end of input"),
    ] {
        let (code, failed, _, findings) = examined(faults);
        assert_eq!(code, Some(1), "{faults:?}");
        assert_eq!(failed, [check], "{faults:?}: {findings:#}");
        let finding = findings
            .as_array()
            .and_then(|all| all.iter().find(|finding| finding["check"] == check))
            .expect("the finding");
        let of_process = ["standard output", "end of input"].contains(&check);
        assert_eq!(finding["sent"].is_string(), !of_process, "{finding:#}");
    }
    // One that speaks no answer at all fails everything that asks.
    for faults in [&["old-json-rpc"][..], &["dies-at-once"]] {
        let (code, failed, skipped, _) = examined(faults);
        assert_eq!(code, Some(1));
        assert!(failed.contains(&"test_connection".to_owned()), "{failed:?}");
        assert!(skipped.contains(&"sync_batch".to_owned()), "{skipped:?}");
    }
    let absent = command::run(command::rowcast(
        folder.path(),
        &["connectors", "test", "--", "no-such-program-7731"],
    ));
    assert_eq!(absent.code, Some(1), "{}", absent.words());
    assert!(absent.stdout.contains("✗ reached") || absent.stdout.contains("reached"));
    let both = ["connectors", "test", "http://127.0.0.1:1/", "--", "true"];
    let both = command::run(command::rowcast(folder.path(), &both));
    assert_eq!(both.code, Some(2), "{}", both.words());
}

/// One of the two connectors of `examples/custom-connector`.
struct Example {
    program: &'static str,
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl Example {
    fn new(program: &'static str, file: &str) -> Self {
        let examples =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/custom-connector");
        let found = Command::new(program).arg("--version").output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "{program} is missing: apt-get install python3 nodejs"
        );
        Self {
            program,
            file: examples.join(file),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn contacts(&self) -> PathBuf {
        self.folder.path().join("contacts.json")
    }

    fn held(&self) -> Value {
        let text = std::fs::read_to_string(self.contacts()).unwrap_or_else(|_| "{}".to_owned());
        serde_json::from_str(&text).expect("contacts")
    }

    /// Serves over HTTP; the process and its address.
    fn serve(&self) -> (Child, String) {
        let mut child = Command::new(self.program)
            .arg(&self.file)
            .arg("0")
            .env("CONTACTS_FILE", self.contacts())
            .env("CONNECTOR_TOKEN", "token-7731")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the example");
        let mut address = String::new();
        std::io::BufReader::new(child.stdout.take().expect("its output"))
            .read_line(&mut address)
            .expect("its address");
        (child, address.trim().to_owned())
    }
}

fn people(name: &str) -> Database {
    let database = Cluster::shared().database(name);
    sql(
        &database,
        "CREATE TABLE people (id int PRIMARY KEY, email text, first_name text, last_name text,
           plan text, credits int, created_at timestamptz);
         INSERT INTO people SELECT n, CASE n WHEN 60 THEN 'no address' ELSE 'p' || n || '@example.com' END,
           'First' || n, 'Last' || n, 'free', n, '2024-02-29 12:00:00Z'
           FROM generate_series(1, 120) n",
    );
    database
}

fn delivers(name: &str, example: &Example, settings: &str) {
    let database = people(name);
    let project = Project::new(&database);
    project.file(
        "models/people.yml",
        "model: people\nsource: source\ntable: people\nprimary_key: [id]\nsensitive: [email]\n",
    );
    project.file(
        "destinations/contacts.yml",
        &format!(
            "destination: contacts\nconnector: custom\nallow_addresses: [127.0.0.1/32]\n\
             settings:\n{settings}\n"
        ),
    );
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/custom-connector");
    let sync = std::fs::read_to_string(examples.join("syncs/people_to_contacts.yml"));
    project.file(
        "syncs/people_to_contacts.yml",
        &format!(
            "{}guards: {{ removed: 100% }}\n",
            sync.expect("the example's sync")
        ),
    );
    let checked = project.ran(&["check", "contacts"]);
    assert_eq!(checked.code, Some(0), "{}", checked.words());
    let report = project.run("people_to_contacts", &[], 0);
    assert_eq!(report["delivered"], 119, "{report:#}");
    assert_eq!(report["rejected"], 1, "{report:#}");
    assert_eq!(
        example.held()["p7@example.com"],
        json!({ "email": "p7@example.com", "full_name": "First7 Last7", "plan": "free", "credits": 7,
            "signed_up": "2024-02-29" })
    );
    sql(
        &database,
        "UPDATE people SET email = 'p60@example.com' WHERE id = 60;
         UPDATE people SET credits = 0 WHERE id = 1; DELETE FROM people WHERE id > 100",
    );
    let report = project.run("people_to_contacts", &[], 0);
    assert_eq!(report["removed"], 20, "{report:#}");
    let held = example.held();
    assert_eq!(held.as_object().map(serde_json::Map::len), Some(100));
    assert_eq!(held["p1@example.com"]["credits"], 0);
    // The suite finds nothing wrong, and leaves nothing behind.
    let tested = project.ran(&["connectors", "test", "contacts"]);
    assert_eq!(tested.code, Some(0), "{}", tested.words());
    assert_eq!(example.held(), held);
    assert!(!tested.words().contains("token-7731"), "{}", tested.words());
}

fn over_stdio(name: &str, example: &Example) {
    let command = json!([example.program, example.file, "--stdio"]);
    let contacts = example.contacts();
    let settings = format!(
        "  command: {command}\n  environment: {{ CONTACTS_FILE: {} }}",
        contacts.display()
    );
    delivers(name, example, &settings);
}

fn over_http(name: &str, example: &Example) {
    let (mut server, url) = example.serve();
    delivers(
        name,
        example,
        &format!("  url: {url}\n  auth: {{ bearer: token-7731 }}"),
    );
    let folder = example.folder.path();
    let refused = command::run(command::rowcast(folder, &["connectors", "test", &url]));
    assert_eq!(refused.code, Some(1), "{}", refused.words());
    assert!(
        refused.stdout.contains("refused the credentials"),
        "{}",
        refused.words()
    );
    server.kill().expect("end the example");
    server.wait().expect("wait for the example");
}

#[test]
fn the_python_example_delivers_over_stdio() {
    over_stdio(
        "custom_python_stdio",
        &Example::new("python3", "connector.py"),
    );
}

#[test]
fn the_python_example_delivers_over_http() {
    over_http(
        "custom_python_http",
        &Example::new("python3", "connector.py"),
    );
}

#[test]
fn the_node_example_delivers_over_stdio() {
    over_stdio("custom_node_stdio", &Example::new("node", "connector.js"));
}

#[test]
fn the_node_example_delivers_over_http() {
    over_http("custom_node_http", &Example::new("node", "connector.js"));
}
