//! Connectors made of manifests, through the program: their fixtures, the commands around them, and
//! whole runs from PostgreSQL to services that refuse what the real ones would refuse.

use rowcast_testkit::api::{Act, Answer, Api, Script};
use rowcast_testkit::hubspot::HubSpot;
use rowcast_testkit::mailchimp::Mailchimp;
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::{Value, json};

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use command::Ended;
use project::Project;

/// A table of contacts with so many rows.
fn contacts(name: &str, rows: usize) -> Database {
    let cluster = Cluster::shared();
    let database = cluster.database(name);
    cluster.psql(
        &database.name,
        &format!(
            "CREATE TABLE contacts (id int PRIMARY KEY, email text, first_name text, plan text);
             INSERT INTO contacts
               SELECT n, 'c' || n || '@example.com', 'Name ' || n, 'free'
               FROM generate_series(1, {rows}) n"
        ),
    );
    database
}

fn sql(database: &Database, sql: &str) -> String {
    Cluster::shared().psql(&database.name, sql)
}

/// A destination whose service is on this machine.
fn destination(project: &Project, connector: &str, api: &Api, settings: &str) {
    project.file(
        "destinations/crm.yml",
        &format!(
            "destination: crm\nconnector: {connector}\nallow_addresses: [127.0.0.1/32]\n\
             rate: {{ requests: 1000, per: 1s }}\nsettings:\n  endpoint: {}\n  {settings}\n",
            api.url("")
        ),
    );
}

fn passed(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.words());
}

#[test]
fn every_manifest_that_comes_with_the_program_keeps_its_fixtures() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = |words: &[&str]| command::run(command::rowcast(folder.path(), words));
    let ended = ran(&["connectors", "test", "--json"]);
    passed(&ended);
    let shown = ended.json();
    let listed = ran(&["connectors", "list", "--json"]).json();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../connectors");
    let folders = std::fs::read_dir(root).expect("the connectors");
    let mut counted = 0;
    for entry in folders {
        let name = entry.expect("a folder").file_name();
        let name = name.to_string_lossy();
        let all = listed.as_array().expect("a list");
        assert!(
            all.iter().any(|row| row["name"] == *name),
            "{name} can't be read: rowcast connectors test connectors/{name}/manifest.yml"
        );
        let proven = shown.as_array().expect("a list");
        let own = proven.iter().filter(|result| result["connector"] == *name);
        assert!(own.count() > 4, "{name} has too few fixtures");
        counted += 1;
    }
    assert!(counted >= 12, "only {counted} connectors");
}

#[test]
fn hubspot_contacts_mirror_a_table_and_one_bad_row_harms_only_itself() {
    let database = contacts("connectors_hubspot", 250);
    let hubspot = HubSpot::start();
    let project = Project::new(&database);
    project.model("contacts", "contacts");
    destination(&project, "hubspot", hubspot.api(), "token: pat-emulator");
    project.sync(
        "contacts_to_crm",
        "contacts",
        "crm",
        "object: contacts\nmode: mirror\nmatch_on: { email: email }\n\
         guards: { removed: 100% }\nfields:\n  firstname: first_name\n  plan: plan\n",
    );
    let checked = project.ran(&["check", "crm"]);
    passed(&checked);

    let plan = project.ran(&["plan", "contacts_to_crm", "--json"]);
    passed(&plan);
    assert!(
        plan.stdout
            .contains("/crm/v3/objects/contacts/batch/upsert")
    );
    assert!(!plan.stdout.contains("pat-emulator"), "{}", plan.words());

    let report = project.run("contacts_to_crm", &[], 0);
    assert_eq!(report["delivered"], 250);
    assert_eq!(hubspot.contacts().len(), 250);
    let batches: Vec<usize> = hubspot
        .api()
        .log()
        .iter()
        .filter(|seen| seen.path().ends_with("/upsert"))
        .map(|seen| seen.records.len())
        .collect();
    assert_eq!(batches.len(), 3, "{batches:?}");

    sql(
        &database,
        "UPDATE contacts SET plan = 'pro' WHERE id <= 5;
         UPDATE contacts SET email = 'no address' WHERE id = 6;
         DELETE FROM contacts WHERE id > 240",
    );
    let report = project.run("contacts_to_crm", &[], 0);
    assert_eq!(report["rejected"], 1, "{report:#}");
    let held = hubspot.contacts();
    // Row 6 lost its old address; its new one was refused.
    assert_eq!(held.len(), 239);
    assert_eq!(held["c5@example.com"]["plan"], json!("pro"));
    assert!(!held.contains_key("c250@example.com"));
    let rejects = project.ran(&["rejects", "contacts_to_crm", "--json"]);
    assert!(rejects.stdout.contains("is invalid"), "{}", rejects.words());
}

#[test]
fn mailchimp_members_live_at_the_hash_of_their_address() {
    let database = contacts("connectors_mailchimp", 30);
    // The hash as PostgreSQL computes it, for every address of this test.
    let hashes: Vec<(String, String)> = sql(
        &database,
        "SELECT email || ' ' || md5(lower(email)) FROM contacts",
    )
    .lines()
    .filter_map(|line| line.split_once(' '))
    .map(|(email, hash)| (email.to_owned(), hash.to_owned()))
    .collect();
    let service = Mailchimp::start(move |address| {
        let found = hashes.iter().find(|(email, _)| email == address);
        found.map_or_else(String::new, |(_, hash)| hash.clone())
    });
    let project = Project::new(&database);
    project.model("contacts", "contacts");
    destination(
        &project,
        "mailchimp",
        service.api(),
        "api_key: key-us19\n  server: us19\n  audience: a1b2",
    );
    project.sync(
        "members",
        "contacts",
        "crm",
        "mode: mirror\nmatch_on: { email_address: email }\nguards: { removed: 100% }\n\
         fields: { FNAME: first_name, PLAN: plan }\n",
    );
    // A full second of 429 in the middle: the engine waits as it is told and loses nothing.
    let slower = Answer::json(429, &json!({ "title": "Too Many Requests" }));
    let slower = slower.header("retry-after", "0");
    service
        .api()
        .script(Script::when(|seen| seen.method == "PUT", Act::Answer(slower)).times(3));
    let report = project.run("members", &[], 0);
    assert_eq!(report["delivered"], 30, "{report:#}");
    let members = service.members();
    assert_eq!(members.len(), 30);
    let first = &members["c1@example.com"];
    assert_eq!(first["status"], json!("subscribed"));
    assert_eq!(
        first["merge_fields"],
        json!({ "FNAME": "Name 1", "PLAN": "free" })
    );

    sql(&database, "DELETE FROM contacts WHERE id > 28");
    let report = project.run("members", &[], 0);
    assert_eq!(report["delivered"], 2, "{report:#}");
    assert_eq!(service.members().len(), 28);
}

#[test]
fn a_project_is_told_what_its_connector_can_not_do() {
    let database = contacts("connectors_validate", 1);
    let project = Project::new(&database);
    project.model("contacts", "contacts");
    project.file(
        "destinations/crm.yml",
        "destination: crm\nconnector: slack\nsettings: { webhook_urll: https://hooks.slack.com/services/x }\n",
    );
    project.sync(
        "posts",
        "contacts",
        "crm",
        "object: mesage\nmode: mirror\nfields: { text: email }\n",
    );
    let ended = project.ran(&["validate"]);
    assert_eq!(ended.code, Some(2), "{}", ended.words());
    for words in ["did you mean `webhook_url`?", "did you mean `message`?"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.words());
    }
    // Who has such a mistake looks up how it should be.
    for kind in ["slack", "http", "kafka"] {
        let ended = project.ran(&["connectors", "show", kind]);
        passed(&ended);
        assert!(ended.stdout.contains("## Settings"), "{}", ended.words());
    }
    project.file(
        "destinations/crm.yml",
        "destination: crm\nconnector: slack\nsettings: { webhook_url: https://hooks.slack.com/services/x }\n",
    );
    project.sync(
        "posts",
        "contacts",
        "crm",
        "object: message\nmode: mirror\nfields: { txt: email }\n",
    );
    let ended = project.ran(&["validate"]);
    assert_eq!(ended.code, Some(2), "{}", ended.words());
    for words in [
        "possible here: insert",
        "did you mean `text`?",
        "does not map the field `text`",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.words());
    }
}

#[test]
fn no_request_leaves_the_declared_hosts() {
    let database = contacts("connectors_hosts", 1);
    let service = Api::start();
    let project = Project::new(&database);
    project.model("contacts", "contacts");
    // A webhook address of somebody else, and a server name that would change the host.
    for (connector, settings) in [
        (
            "slack",
            format!("webhook_url: {}", service.url("/services/x")),
        ),
        (
            "slack",
            "webhook_url: https://hooks.slack.com.evil.example/services/x".to_owned(),
        ),
        (
            "mailchimp",
            "api_key: key\n  audience: a1b2\n  server: evil.example/x".to_owned(),
        ),
        (
            "mailchimp",
            "api_key: key\n  audience: a1b2\n  server: user@evil.example".to_owned(),
        ),
    ] {
        project.file(
            "destinations/crm.yml",
            &format!(
                "destination: crm\nconnector: {connector}\nallow_addresses: [127.0.0.1/32]\n\
                 settings:\n  {settings}\n"
            ),
        );
        let field = if connector == "slack" {
            "text=hello"
        } else {
            "FNAME=Ada"
        };
        let words = [
            "connectors",
            "try",
            "crm",
            "--operation",
            "insert",
            "--match",
            "email_address=a@example.com",
            "--field",
            field,
        ];
        let ended = project.ran(&words);
        assert_eq!(ended.code, Some(2), "{settings}: {}", ended.words());
        assert!(
            ended.stderr.contains("make no address of"),
            "{settings}: {}",
            ended.words()
        );
    }
    assert_eq!(service.requests(), 0);
}

#[test]
fn a_connector_of_ones_own_is_written_proven_tried_and_run() {
    let database = contacts("connectors_own", 3);
    let project = Project::new(&database);
    project.model("contacts", "contacts");
    passed(&project.ran(&["connectors", "new", "in_house"]));
    let proven = project.ran(&["connectors", "test", "in_house"]);
    passed(&proven);

    let service = Api::judged(Box::new(|seen| {
        if seen.header("authorization") != Some("Bearer own-token") {
            return Answer::status(401);
        }
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let records = body["contacts"].as_array().map_or(0, Vec::len);
        let results = vec![json!({ "status": "ok" }); records];
        Answer::json(200, &json!({ "results": results }))
    }));
    destination(&project, "in_house", &service, "token: own-token");
    let tried = project.ran(&[
        "connectors",
        "try",
        "crm",
        "--match",
        "email=ada@example.com",
        "--field",
        "name=Ada",
    ]);
    passed(&tried);
    assert!(tried.stdout.contains("delivered"), "{}", tried.words());
    assert!(!tried.stdout.contains("own-token"), "{}", tried.words());
    project.sync(
        "own",
        "contacts",
        "crm",
        "object: contact\nmatch_on: { email: email }\nfields: { name: first_name }\n",
    );
    let report = project.run("own", &[], 0);
    assert_eq!(report["delivered"], 3, "{report:#}");

    // A mistake in the manifest is found at its line.
    let path = project.dir().join("connectors/in_house.yml");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    project.file(
        "connectors/in_house.yml",
        &text.replace("settings.token", "settings.tokn"),
    );
    let ended = project.ran(&["validate"]);
    assert_eq!(ended.code, Some(2), "{}", ended.words());
    assert!(
        ended.stderr.contains("there is no setting tokn")
            && ended.stderr.contains("connectors/in_house.yml:"),
        "{}",
        ended.words()
    );
}
