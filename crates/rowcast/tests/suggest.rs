//! `rowcast suggest`: proposals for a table, for a manifest's fields and for a custom connector's.

use rowcast_testkit::custom::Connector;
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::{Value, json};

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use project::Project;

fn people(name: &str) -> (Database, Project) {
    let cluster = Cluster::shared();
    let database = cluster.database(name);
    cluster.psql(
        &database.name,
        "CREATE TABLE people (id int PRIMARY KEY, mail text, fname text, surname text, plan text,
           signed_up_at timestamptz, credits int, ssn text, shoe_size int)",
    );
    let project = Project::new(&database);
    project.file(
        "models/people.yml",
        "model: people\nsource: source\ntable: people\nprimary_key: [id]\nsensitive: [ssn]\n",
    );
    (database, project)
}

/// What is proposed: field, column, score.
fn proposed(project: &Project) -> Vec<(String, String, u64)> {
    let ended = project.ran(&["suggest", "people_to_crm", "--json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.words());
    let fields = ended.json()["fields"].clone();
    let fields: Vec<Value> = serde_json::from_value(fields).expect("fields");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    fields
        .iter()
        .filter_map(|field| {
            Some((
                text(&field["field"])?,
                text(&field["column"])?,
                field["score"].as_u64()?,
            ))
        })
        .collect()
}

fn pairs(found: &[(String, String, u64)]) -> Vec<(&str, &str)> {
    let found = found.iter();
    found
        .map(|(field, column, _)| (field.as_str(), column.as_str()))
        .collect()
}

#[test]
fn columns_of_a_table_are_proposed_and_the_block_can_be_pasted() {
    let (_source, project) = people("suggest_table");
    let target = Cluster::shared().database("suggest_table_target");
    Cluster::shared().psql(
        &target.name,
        "CREATE TABLE contacts (id int PRIMARY KEY, email text NOT NULL, first_name text,
           last_name text, created_at timestamptz, plan text, ssn text, region text NOT NULL DEFAULT '')",
    );
    project.postgres("crm", &target, "");
    // No fields yet: that is what is asked about.
    project.sync("people_to_crm", "people", "crm", "object: contacts\n");
    let found = proposed(&project);
    assert_eq!(
        pairs(&found),
        [
            ("email", "mail"),
            ("plan", "plan"),
            ("ssn", "ssn"),
            ("first_name", "fname"),
            ("last_name", "surname"),
            ("created_at", "signed_up_at"),
        ]
    );
    let shown = project.ran(&["suggest", "people_to_crm"]);
    for part in [
        "sensitive in its model",
        "columns without a field: credits, shoe_size",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.words());
    }
    let yaml = project.ran(&["suggest", "people_to_crm", "--yaml"]).stdout;
    assert!(yaml.starts_with("fields:\n  email: mail  # "), "{yaml}");
    assert!(yaml.contains("\n  # ssn: ssn  # "), "{yaml}");
    project.sync(
        "people_to_crm",
        "people",
        "crm",
        &format!("object: contacts\n{yaml}"),
    );
    let valid = project.ran(&["validate"]);
    assert_eq!(valid.code, Some(0), "{}", valid.words());
    project.run("people_to_crm", &[], 0);
    // What is mapped is not proposed again; the sensitive column still waits for a person.
    assert_eq!(pairs(&proposed(&project)), [("ssn", "ssn")]);
}

#[test]
fn columns_are_proposed_for_the_fields_of_a_manifest() {
    let (_source, project) = people("suggest_manifest");
    project.file(
        "destinations/crm.yml",
        "destination: crm\nconnector: hubspot\nsettings: { token: pat-7731 }\n",
    );
    project.sync(
        "people_to_crm",
        "people",
        "crm",
        "object: contacts\nmatch_on: { email: mail }\n",
    );
    let found = proposed(&project);
    let pairs = pairs(&found);
    for pair in [("firstname", "fname"), ("lastname", "surname")] {
        assert!(pairs.contains(&pair), "{pairs:?}");
    }
    assert!(
        pairs
            .iter()
            .all(|(field, column)| *field != "email" && *column != "mail")
    );
    let ended = project.ran(&["suggest", "people_to_crm", "--json"]);
    assert!(!ended.words().contains("pat-7731"), "{}", ended.words());
    let fields = ended.json()["fields"].clone();
    let email = fields.as_array().and_then(|all| {
        let mut all = all.iter();
        all.find(|field| field["field"] == "email")
    });
    assert_eq!(
        email.map(|field| field["mapped"].clone()),
        Some(json!(true))
    );
}

#[test]
fn required_fields_of_a_custom_connector_come_first_and_lacking_ones_are_named() {
    let (_source, project) = people("suggest_custom");
    let connector = Connector::new();
    let destination = |faults: &[&str]| {
        project.file(
            "destinations/crm.yml",
            &format!(
                "destination: crm\nconnector: custom\nsettings:\n  command: {}\n  environment: \
                 {{ DOUBLE_FOLDER: {} }}\n",
                json!(connector.command(faults)),
                connector.dir().display()
            ),
        );
    };
    destination(&["needs-email"]);
    project.sync("people_to_crm", "people", "crm", "object: contact\n");
    let found = proposed(&project);
    assert_eq!(
        pairs(&found),
        [("email", "mail"), ("plan", "plan"), ("credits", "credits")]
    );
    project.file(
        "models/people.yml",
        "model: people\nsource: source\nsql: SELECT id, plan FROM people\nprimary_key: [id]\n",
    );
    let shown = project.ran(&["suggest", "people_to_crm"]);
    assert!(
        shown.stdout.contains("required, and no column fits: email"),
        "{}",
        shown.words()
    );
    assert!(connector.calls("sync_batch").is_empty());

    project.sync("people_to_crm", "people", "crm", "object: contcat\n");
    let wrong = project.ran(&["suggest", "people_to_crm"]);
    assert_ne!(wrong.code, Some(0), "{}", wrong.words());
    let unknown = project.ran(&["suggest", "people_to_crn"]);
    assert!(
        unknown.stderr.contains("did you mean `people_to_crm`?"),
        "{}",
        unknown.words()
    );
}
