//! Segment's mappings, triggers and consent columns in syncs: from a table to a service, through
//! the program.

use rowcast_testkit::api::{Api, BadRecords, Seen};
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::{Value, json};

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;
use project::Project;

const MAPPING: &str = r#"mapping:
  what: { "@path": $.event }
  id: { "@path": $.__segment_id }
  email: { "@case": { operator: lower, value: { "@path": $.properties.email } } }
  greeting: { "@template": "Dear {{properties.name}}" }
  total: { "@path": $.properties.total }
"#;

struct World {
    database: Database,
    project: Project,
    api: Api,
}

impl World {
    fn open(name: &str) -> Self {
        let database = Cluster::shared().database(name);
        let world = Self {
            project: Project::new(&database),
            api: Api::start(),
            database,
        };
        world.sql(
            "CREATE TABLE people (id int PRIMARY KEY, email text, name text, plan text, \
             total numeric, ads_ok boolean, extra jsonb);
             INSERT INTO people VALUES \
             (1, 'Ada@X.com', 'Ada', 'pro', 12345678901234567890.10, true, '{\"a\":[1.50]}'),
             (2, 'Bob@x.com', 'Bob', 'free', 7, false, NULL),
             (3, 'Eve@x.com', 'Eve', NULL, NULL, NULL, NULL)",
        );
        world.project.model("people", "people");
        world.project.http("crm", &world.api, "", "");
        world
    }

    fn sql(&self, sql: &str) -> String {
        Cluster::shared()
            .psql(&self.database.name, sql)
            .trim()
            .to_owned()
    }

    fn sync(&self, more: &str) {
        self.project.sync("people", "people", "crm", more);
    }

    /// The bodies of the requests of one run, which must end well.
    fn sent(&self, code: i32) -> (Vec<Value>, Value) {
        let before = self.api.requests();
        let report = self.project.run("people", &["--override", "removed"], code);
        let bodies = self.api.log()[before..]
            .iter()
            .map(|seen| serde_json::from_str(&seen.text()).expect("a body in JSON"))
            .collect();
        (bodies, report)
    }

    /// Operation and fields of what a run sent, one record a request, in the order of the keys.
    fn records(&self) -> Vec<Value> {
        let (mut bodies, _) = self.sent(0);
        bodies.sort_by_key(|body| body["key"]["id"].as_i64());
        bodies
            .iter()
            .map(|body| json!([body["operation"], body["fields"]]))
            .collect()
    }

    fn keys(&self) -> Vec<i64> {
        let (bodies, _) = self.sent(0);
        let mut keys: Vec<i64> = bodies
            .iter()
            .filter_map(|body| body["key"]["id"].as_i64())
            .collect();
        keys.sort_unstable();
        keys
    }

    fn why(&self, key: &str) -> String {
        let ended = self.project.ran(&["why", "people", key, "--json"]);
        assert_eq!(ended.code, Some(0), "{}", ended.words());
        ended.json().to_string()
    }
}

#[test]
fn a_mapping_sees_segments_row_event_of_every_change() {
    let world = World::open("segment_changes");
    world.sync(&format!(
        "{MAPPING}  __segment_internal_sync_mode: mirror\n"
    ));
    let first = world.records();
    assert_eq!(
        first[1..],
        [
            json!(["upsert", {"what": "new", "id": "2", "email": "bob@x.com",
                "greeting": "Dear Bob", "total": 7}]),
            json!(["upsert", {"what": "new", "id": "3", "email": "eve@x.com",
                "greeting": "Dear Eve", "total": null}]),
        ]
    );
    // Rule 30: the exact digits, which a JSON library's number would lose.
    let log = world.api.log();
    let exact = "\"total\":12345678901234567890.10";
    assert!(log.iter().any(|seen| seen.text().contains(exact)));

    // `plan` is not read by the mapping: its changes are no changes of the record.
    world.sql("UPDATE people SET plan = 'x'; UPDATE people SET name = 'Bobby' WHERE id = 2");
    assert_eq!(
        world.records(),
        [
            json!(["upsert", {"what": "updated", "id": "2", "email": "bob@x.com",
            "greeting": "Dear Bobby", "total": 7}])
        ]
    );

    world.sql("DELETE FROM people WHERE id = 1");
    assert_eq!(
        world.records(),
        [
            json!(["delete", {"what": "deleted", "id": "1", "email": null,
            "greeting": "Dear ", "total": null}])
        ]
    );
    assert!(world.records().is_empty());
}

#[test]
fn rule_29_kept_rows_give_a_delete_its_last_values() {
    let world = World::open("segment_kept");
    world.sync(&format!(
        "mode: mirror\nkeep: rows\n{MAPPING}  extra: {{ \"@path\": $.properties.extra }}\n"
    ));
    assert_eq!(world.records().len(), 3);
    world.sql("UPDATE people SET name = 'Augusta' WHERE id = 1");
    assert_eq!(world.records().len(), 1);
    world.sql("DELETE FROM people WHERE id = 1");
    let (bodies, _) = world.sent(0);
    let fields = &bodies[0]["fields"];
    assert_eq!(bodies[0]["operation"], "delete");
    assert_eq!(fields["what"], "deleted");
    assert_eq!(fields["email"], "ada@x.com");
    assert_eq!(fields["greeting"], "Dear Augusta");
    let text = world.api.log().last().map(Seen::text);
    let text = text.expect("a request");
    assert!(text.contains("12345678901234567890.10"), "{text}");
    assert!(text.contains("\"extra\":{\"a\":[1.50]}"), "{text}");
}

#[test]
fn rule_6_an_edit_of_the_mapping_sends_every_row_and_moved_keys_send_none() {
    let world = World::open("segment_edits");
    world.sync("mapping:\n  email: { \"@path\": $.properties.email }\n  plan: { \"@if\": { exists: { \"@path\": $.properties.plan }, then: { \"@path\": $.properties.plan }, else: none } }\n");
    assert_eq!(world.keys(), [1, 2, 3]);
    // Another order, another layout, another size of batches.
    world.sync(
        "mapping:\n  batch_size: 5\n  plan:\n    \"@if\":\n      else: none\n      exists: { \"@path\": $.properties.plan }\n      then: { \"@path\": $.properties.plan }\n  email: { '@path': $.properties.email }\n",
    );
    assert!(world.keys().is_empty());
    // A field less is no change of what is sent.
    world.sync("mapping:\n  email: { \"@path\": $.properties.email }\n");
    assert!(world.keys().is_empty());
    world.sync("mapping:\n  email: { \"@case\": { operator: upper, value: { \"@path\": $.properties.email } } }\n");
    let plan = world.project.ran(&["plan", "people"]);
    assert!(plan.stdout.contains("ADA@X.COM"), "{}", plan.words());
    assert_eq!(world.keys(), [1, 2, 3]);

    // The row as a whole: a new column changes every record.
    world.sync("mapping:\n  row: { \"@path\": $.properties }\n");
    assert_eq!(world.keys(), [1, 2, 3]);
    world.sql("UPDATE people SET plan = 'team' WHERE id = 2");
    assert_eq!(world.keys(), [2]);
    world.sql("ALTER TABLE people ADD COLUMN city text DEFAULT 'Paris'");
    let (bodies, _) = world.sent(0);
    assert_eq!(bodies.len(), 3);
    assert_eq!(bodies[0]["fields"]["row"]["city"], "Paris");
}

#[test]
fn rule_20_a_dropped_column_that_a_mapping_reads_ends_the_run_before_the_first_request() {
    let world = World::open("segment_dropped");
    world.sync("mapping:\n  hello: { \"@liquid\": \"Hi {{ properties.name | upcase }}\" }\n");
    assert_eq!(world.keys(), [1, 2, 3]);
    world.sql("ALTER TABLE people RENAME COLUMN name TO first_name");
    let before = world.api.requests();
    let ended = world.project.ran(&["run", "people"]);
    assert_ne!(ended.code, Some(0));
    assert!(
        ended.words().contains("the model has no column `name`"),
        "{}",
        ended.words()
    );
    assert_eq!(world.api.requests(), before);
}

#[test]
fn batches_are_as_large_and_as_alike_as_the_mapping_says() {
    let world = World::open("segment_batches");
    world.sql(
        "TRUNCATE people; INSERT INTO people (id, plan) \
         SELECT n, CASE WHEN n % 3 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 30) n",
    );
    let mapping =
        "  id: { \"@path\": $.properties.id }\n  list: { \"@path\": $.properties.plan }\n";
    world.sync(&format!(
        "mapping:\n{mapping}  enable_batching: true\n  batch_size: 8\n  batch_keys: [list]\n"
    ));
    let plan = world.project.ran(&["plan", "people", "--json"]);
    assert_eq!(plan.json()[0]["calls"], 5, "{}", plan.words());
    let (bodies, _) = world.sent(0);
    let mut sizes = Vec::new();
    for body in &bodies {
        let records = body.as_array().expect("a batch");
        let list = &records[0]["fields"]["list"];
        assert!(
            records
                .iter()
                .all(|record| record["fields"]["list"] == *list)
        );
        assert!(
            records[0]["fields"].get("batch_size").is_none(),
            "no field of the record"
        );
        sizes.push((list.as_str().map(str::to_owned), records.len()));
    }
    sizes.sort();
    let of = |list: &str, size| (Some(list.to_owned()), size);
    assert_eq!(
        sizes,
        [of("a", 2), of("a", 8), of("b", 4), of("b", 8), of("b", 8)]
    );

    // Without batches every record travels alone, although the destination could take more.
    world
        .project
        .http("crm", &world.api, "", "batch: { max_records: 100 }");
    world.sync(&format!("mapping:\n{mapping}  enable_batching: false\n"));
    world.sql("UPDATE people SET plan = 'c' WHERE id <= 4");
    let (bodies, _) = world.sent(0);
    assert_eq!(bodies.len(), 4);
}

#[test]
fn rule_16_a_trigger_lets_rows_pass_when_their_columns_do() {
    let world = World::open("segment_trigger");
    let sync = |trigger: &str| {
        world.sync(&format!(
            "mode: mirror\non: '{trigger}'\nfields: {{ email: email }}\n"
        ));
    };
    sync("event != \"deleted\" and properties.plan = \"pro\"");
    let (bodies, report) = world.sent(0);
    assert_eq!(bodies.len(), 1);
    assert_eq!(report["skipped"], 2);
    assert!(
        report["reasons"].to_string().contains("E0511"),
        "{report:#}"
    );
    assert!(
        world
            .why("2")
            .contains("the trigger in `on` does not let the row pass"),
        "{}",
        world.why("2")
    );
    let (bodies, report) = world.sent(0);
    assert_eq!((bodies.len(), &report["unchanged"]), (0, &json!(3)));

    // The trigger's column is part of the row now: its change is one.
    world.sql("UPDATE people SET plan = 'pro' WHERE id = 2");
    assert_eq!(world.keys(), [2]);
    // A row that does not pass any more stays where it is, and so does one that is removed.
    world.sql("UPDATE people SET plan = 'free' WHERE id = 2; DELETE FROM people WHERE id = 1");
    let (bodies, report) = world.sent(0);
    assert_eq!((bodies.len(), &report["skipped"]), (0, &json!(2)));

    // A wider trigger: what was skipped is judged anew, what was delivered is not sent again.
    world.sql("INSERT INTO people (id, email, plan) VALUES (4, 'd@x', 'pro')");
    assert_eq!(world.keys(), [4]);
    sync("properties.plan = \"pro\" or properties.plan = \"free\" or event = \"deleted\"");
    // `plan` says so, and a sealed plan is exactly what is sent.
    let plan = world
        .project
        .ran(&["plan", "people", "--json", "--out", "plan.json"]);
    assert_eq!(
        (&plan.json()[0]["updated"], &plan.json()[0]["skipped"]),
        (&json!(2), &json!(1)),
        "{}",
        plan.words()
    );
    let before = world.api.requests();
    world.project.run("people", &["--plan", "plan.json"], 0);
    assert_eq!(world.api.requests(), before + 1);
    world.sql("DELETE FROM people WHERE id = 4");
    let (bodies, _) = world.sent(0);
    assert_eq!(bodies[0]["operation"], "delete");
}

#[test]
fn rule_8_a_doubtful_row_passes_the_trigger_of_its_first_attempt() {
    let world = World::open("segment_doubt");
    world.project.http("crm", &world.api, "", "timeout: 1s");
    world.sync(&format!("on: 'event = \"new\"'\n{MAPPING}"));
    world.sql("DELETE FROM people WHERE id > 1");
    // The service has the record, and the process that sent it dies before it knows.
    let mut killed = world.project.rowcast(&["run", "people"]);
    killed.env("ROWCAST_KILL_AT", "request-answered:1");
    assert_eq!(command::run(killed).signal, Some(9));
    let (bodies, report) = world.sent(0);
    assert_eq!(report["retried"], 1, "{report:#}");
    assert_eq!(bodies[0]["fields"]["what"], "new");
    assert_eq!(bodies.len(), 1);
    world.sql("UPDATE people SET name = 'Augusta'");
    let (bodies, report) = world.sent(0);
    assert_eq!((bodies.len(), &report["skipped"]), (0, &json!(1)));
}

#[test]
fn rows_without_consent_are_skipped_until_it_is_given() {
    let world = World::open("segment_consent");
    let consent = |columns: &str| {
        world.project.file(
            "models/people.yml",
            &format!(
                "model: people\nsource: source\ntable: people\nprimary_key: [id]\nconsent: {columns}\n"
            ),
        );
    };
    consent("{ advertising: ads_ok }");
    world
        .project
        .http("crm", &world.api, "", "consent: [advertising]");
    world.sync("mode: mirror\nlog: errors\nfields: { email: email }\n");
    let (bodies, report) = world.sent(0);
    assert_eq!((bodies.len(), &report["skipped"]), (1, &json!(2)));
    assert_eq!(
        report["reasons"],
        json!([{"code": "E0510", "message": "consent not given: advertising", "count": 2}])
    );
    // Rule 27: the row log names them even when it holds errors alone.
    assert!(
        world.why("3").contains("consent not given: advertising"),
        "{}",
        world.why("3")
    );
    assert_eq!(
        world.sql(
            "SELECT count(*) FROM _rowcast.row_log WHERE outcome = 'skipped' AND code = 'E0510'"
        ),
        "2"
    );
    assert!(world.keys().is_empty());

    world.sql("UPDATE people SET ads_ok = true WHERE id = 3");
    assert_eq!(world.keys(), [3]);
    // Withdrawn: nothing more is sent, and nothing is deleted.
    world.sql("UPDATE people SET ads_ok = NULL, email = 'new@x.com' WHERE id = 1");
    let (bodies, report) = world.sent(0);
    assert_eq!((bodies.len(), &report["skipped"]), (0, &json!(1)));
    // A delete takes a record away, with or without consent.
    world.sql("DELETE FROM people WHERE id = 1");
    let (bodies, _) = world.sent(0);
    assert_eq!(bodies[0]["operation"], "delete");

    // A destination that needs nothing more gets the rows that it did not get before.
    world.project.http("crm", &world.api, "", "");
    assert_eq!(world.keys(), [2]);

    world
        .project
        .http("crm", &world.api, "", "consent: [advertising]");
    consent("{ advertising: plan }");
    let ended = world.project.ran(&["run", "people"]);
    assert_eq!(ended.code, Some(2), "{}", ended.words());
    assert!(
        ended
            .words()
            .contains("the consent column `plan` of model people is not boolean"),
        "{}",
        ended.words()
    );
}

#[test]
fn a_row_that_could_not_be_inserted_for_want_of_consent_stays_new() {
    let world = World::open("segment_consent_insert");
    world.project.file(
        "models/people.yml",
        "model: people\nsource: source\ntable: people\nprimary_key: [id]\nconsent: { ads: ads_ok }\n",
    );
    world.project.http("crm", &world.api, "", "consent: [ads]");
    world.sync(&format!("mode: insert\n{MAPPING}"));
    assert_eq!(world.keys(), [1]);
    let (bodies, report) = world.sent(0);
    assert_eq!(
        (bodies.len(), &report["added"], &report["skipped"]),
        (0, &json!(2), &json!(2))
    );
    world.sql("UPDATE people SET ads_ok = true");
    let (bodies, report) = world.sent(0);
    assert_eq!((bodies.len(), &report["skipped"]), (2, &json!(0)));
    assert!(bodies.iter().all(|body| body["fields"]["what"] == "new"));
    assert!(world.keys().is_empty());
}

#[test]
fn a_mapping_fills_the_columns_of_a_table() {
    let world = World::open("segment_to_table");
    let target = Cluster::shared().database("segment_to_table_target");
    let ask = |sql: &str| Cluster::shared().psql(&target.name, sql).trim().to_owned();
    ask("CREATE TABLE contact (id int PRIMARY KEY, email text, total numeric, extra jsonb)");
    world.project.postgres("crm", &target, "");
    world.sync(
        "object: contact\nmode: mirror\nmapping:\n  email: { \"@path\": $.properties.email }\n  total: { \"@path\": $.properties.total }\n  extra: { \"@path\": $.properties.extra }\n  enable_batching: true\n  batch_size: 2\n",
    );
    world.project.run("people", &[], 0);
    world.sql("DELETE FROM people WHERE id = 3");
    world.project.run("people", &["--override", "removed"], 0);
    assert_eq!(
        ask("SELECT string_agg(contact::text, ' ' ORDER BY id) FROM contact"),
        "(1,Ada@X.com,12345678901234567890.10,\"{\"\"a\"\": [1.50]}\") (2,Bob@x.com,7,)"
    );
}

#[test]
fn a_rejected_row_that_loses_its_consent_is_not_tried_again() {
    let world = World::open("segment_consent_reject");
    world.project.file(
        "models/people.yml",
        "model: people\nsource: source\ntable: people\nprimary_key: [id]\nconsent: { ads: ads_ok }\n",
    );
    world.project.http("crm", &world.api, "", "consent: [ads]");
    world.sync(MAPPING);
    world
        .api
        .refuse(BadRecords::refuse_whole(BadRecords::ids(&[1])));
    let (_, report) = world.sent(0);
    assert_eq!(
        (&report["rejected"], &report["skipped"]),
        (&json!(1), &json!(2))
    );
    world.sql("UPDATE people SET ads_ok = false WHERE id = 1");
    let (bodies, report) = world.sent(0);
    assert_eq!((bodies.len(), &report["skipped"]), (0, &json!(1)));
}

#[test]
fn rule_12_the_matching_key_of_a_mapping_is_the_identity() {
    let world = World::open("segment_matching");
    world.sync(
        "mapping:\n  email: { \"@path\": $.properties.email }\n  name: { \"@path\": $.properties.name }\n  __segment_internal_sync_mode: mirror\n  __segment_internal_matching_key: email\n",
    );
    let (bodies, _) = world.sent(0);
    assert!(
        bodies
            .iter()
            .all(|body| body["match"]["email"] == body["fields"]["email"])
    );
    world.sql("UPDATE people SET email = 'ada@new.com' WHERE id = 1");
    let (bodies, _) = world.sent(0);
    let what: Vec<_> = bodies
        .iter()
        .map(|body| (body["operation"].clone(), body["match"]["email"].clone()))
        .collect();
    assert_eq!(
        what,
        [
            (json!("delete"), json!("Ada@X.com")),
            (json!("upsert"), json!("ada@new.com"))
        ]
    );
}

#[test]
fn a_row_that_the_mapping_fails_on_harms_only_itself() {
    let world = World::open("segment_failing");
    world.sync("mapping:\n  x: { \"@path\": { \"@path\": $.properties.total } }\n  id: 1\n");
    world.sql("UPDATE people SET total = NULL WHERE id = 2; UPDATE people SET extra = '1'");
    let (_, report) = world.sent(0);
    assert!(report["invalid"].as_u64() > Some(0), "{report:#}");
    assert!(
        report["reasons"]
            .to_string()
            .contains("mapping: it failed for the row")
    );
}

#[test]
fn a_mapping_is_tested_and_validated_without_network_or_database() {
    let world = World::open("segment_tests");
    world.project.file(
        "models/people.yml",
        "model: people\nsource: source\ntable: people\nprimary_key: [id]\nconsent: { ads: ads_ok }\n",
    );
    world.project.http("crm", &world.api, "", "consent: [ads]");
    world.project.file(
        "sources/source.yml",
        "source: source\nurl: ${env:NOBODY_SET_THIS}\n",
    );
    world.sync(&format!(
        "mode: mirror\non: 'properties.plan = \"pro\" or event = \"deleted\"'\n{MAPPING}"
    ));
    let rows = "rows:\n  - { id: 1, email: A@X, name: Ada, plan: pro, total: 1.50, ads_ok: true }\n  - { id: 2, plan: free, ads_ok: true }\n  - { id: 3, plan: pro }\n";
    world.project.file(
        "tests/updated.yml",
        &format!(
            "test: updated\nsync: people\nchange: updated\n{rows}expect:\n  - {{ what: updated, id: '1', email: a@x, greeting: Dear Ada, total: 1.50 }}\n  - {{ skipped: trigger }}\n  - {{ skipped: consent }}\n"
        ),
    );
    world.project.file(
        "tests/removed.yml",
        "test: removed\nsync: people\nchange: removed\nrows: [{ id: 7, email: gone }]\nexpect:\n  - { what: deleted, id: '7', email: null, greeting: 'Dear ', total: null }\n",
    );
    let ended = world.project.ran(&["test"]);
    assert_eq!(ended.code, Some(0), "{}", ended.words());
    let ended = world.project.ran(&["validate"]);
    assert_eq!(ended.code, Some(0), "{}", ended.words());

    world.project.file(
        "tests/removed.yml",
        "test: removed\nsync: people\nchange: removed\nrows: [{ id: 7 }]\nexpect:\n  - { what: updated, id: '7', email: null, greeting: 'Dear ', total: null }\n",
    );
    let ended = world.project.ran(&["test"]);
    assert_eq!(ended.code, Some(1));
    for part in ["what", "updated", "deleted"] {
        assert!(ended.stdout.contains(part), "{}", ended.words());
    }

    world.sync("mapping: { a: { \"@pth\": x }, b: { \"@case\": 1 } }\n");
    let ended = world.project.ran(&["validate"]);
    assert_eq!(ended.code, Some(2));
    for part in [
        "syncs/people.yml:4:25",
        "/a/@pth has an invalid directive",
        "/b/@case must be",
    ] {
        assert!(ended.words().contains(part), "{part}: {}", ended.words());
    }
    assert_eq!(world.api.requests(), 0);
}
