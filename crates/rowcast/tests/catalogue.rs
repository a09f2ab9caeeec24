//! Segment's catalogue through the program: from PostgreSQL, through Segment's own code in the actions
//! host, to services that refuse what the real ones would refuse.
//!
//! Needs Node and npm; the packages are installed once into the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rowcast_testkit::api::{Act, Answer, Script, Seen};
use rowcast_testkit::catalogue::Service;
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::{Value, json};

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use command::Ended;
use project::Project;

/// The folder of the actions host, installed by the program itself.
fn host() -> &'static Path {
    static HOST: OnceLock<PathBuf> = OnceLock::new();
    HOST.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("actions-host");
        std::fs::create_dir_all(&folder).expect("a folder below the target folder");
        let mut install = command::rowcast(&folder, &["connectors", "install", "segment"]);
        install.env("ROWCAST_ACTIONS_HOST", &folder);
        let ended = command::run(install);
        assert_eq!(
            ended.code,
            Some(0),
            "these tests need Node and npm: {}",
            ended.words()
        );
        folder
    })
}

/// A table of contacts with so many rows, and a project with a model over it.
struct World {
    database: Database,
    project: Project,
}

impl World {
    fn open(name: &str, rows: usize) -> Self {
        let database = Cluster::shared().database(name);
        let world = Self {
            project: Project::new(&database),
            database,
        };
        world.sql(&format!(
            "CREATE TABLE contacts (id bigint PRIMARY KEY, email text, first_name text, plan text, total numeric);
             INSERT INTO contacts SELECT n, 'c' || n || '@example.com', 'Name ' || n, 'free', n + 0.50
             FROM generate_series(1, {rows}) n"
        ));
        world.project.model("contacts", "contacts");
        world
    }

    fn sql(&self, sql: &str) -> String {
        Cluster::shared().psql(&self.database.name, sql)
    }

    /// A destination whose service is an emulator. `settings` and `more` are lines.
    fn destination(&self, slug: &str, origin: &str, service: &Service, settings: &str, more: &str) {
        let settings = settings.replace('\n', "\n  ");
        self.project.file(
            "destinations/crm.yml",
            &format!(
                "destination: crm\nconnector: segment/{slug}\nallow_addresses: [127.0.0.1/32]\n{more}\n\
                 settings:\n  rewrite: {{ \"{origin}\": \"{}\" }}\n  {settings}\n",
                service.api().url("")
            ),
        );
    }

    fn sync(&self, more: &str) {
        self.project.sync("push", "contacts", "crm", more);
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.project.rowcast(words);
        command.env("ROWCAST_ACTIONS_HOST", host());
        command
    }

    fn ran(&self, words: &[&str]) -> Ended {
        command::run(self.command(words))
    }

    /// Runs the sync, which must end with the code, and gives its report.
    fn run(&self, code: i32) -> Value {
        let ended = self.ran(&["run", "push", "--json"]);
        assert_eq!(ended.code, Some(code), "{}", ended.words());
        project::report(&ended)
    }
}

fn batches(service: &Service, of: impl Fn(&Seen) -> usize) -> Vec<usize> {
    let log = service.api().log();
    log.iter().map(of).filter(|records| *records > 0).collect()
}

fn items(seen: &Seen, member: &str) -> usize {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    body[member].as_array().map_or(0, Vec::len)
}

const HUBSPOT: &str = "https://api.hubapi.com";
const UPSERT: &str = "object: upsertObject\nfields:\n  \
    object_details: { object: { object_type: { literal: contact }, id_field_name: { literal: email }, \
    id_field_value: email, property_group: { literal: contactinformation } } }\n  \
    properties: { object: { firstname: first_name, plan: plan } }\n";

#[test]
fn the_catalogue_is_known_without_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let without = |dir: &Path, words: &[&str]| {
        let mut command = command::rowcast(dir, words);
        command
            .env("PATH", folder.path())
            .env("HOME", folder.path());
        command
            .env_remove("ROWCAST_ACTIONS_HOST")
            .env_remove("XDG_DATA_HOME");
        command::run(command)
    };
    let listed = without(folder.path(), &["connectors", "list", "--json"]).json();
    let rows: Vec<&Value> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter(|row| row["kind"] == "segment")
        .collect();
    assert_eq!(rows.len(), 214);
    let actions: usize = rows
        .iter()
        .map(|row| row["objects"].as_array().map_or(0, Vec::len))
        .sum();
    assert_eq!(actions, 601);
    let of = |name: &str| rows.iter().find(|row| row["name"] == name).expect("a row");
    assert_eq!(of("segment/aws-kinesis")["status"], "unsupported");
    assert_eq!(of("segment/hubspot")["status"], "emulator");
    let shown = without(folder.path(), &["connectors", "show", "segment/hubspot"]);
    assert!(
        shown.stdout.contains("object_details.id_field_value"),
        "{}",
        shown.words()
    );
    assert!(shown.stdout.contains("upsert"), "{}", shown.words());

    let world = World::open("catalogue_without_node", 1);
    let service = Service::hubspot();
    world.destination(
        "hubspot",
        HUBSPOT,
        &service,
        "oauth: { access_token: emulator }",
        "",
    );
    world.sync(UPSERT);
    let dir = world.project.dir();
    let validated = without(dir, &["validate"]);
    assert_eq!(validated.code, Some(0), "{}", validated.words());
    let checked = without(dir, &["check", "crm", "--json"]);
    assert_ne!(checked.code, Some(0));
    assert!(
        checked
            .stdout
            .contains("rowcast connectors install segment"),
        "{}",
        checked.words()
    );
    assert!(checked.stdout.contains("E0614"), "{}", checked.words());
}

#[test]
fn the_catalogue_is_that_of_the_installed_package() {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../actions-host/generate.js"
    );
    let output = Command::new("node")
        .args([script, "--check"])
        .env("NODE_PATH", host().join("node_modules"))
        .output()
        .expect("these tests need Node");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn files_are_held_against_the_catalogue() {
    let world = World::open("catalogue_validate", 1);
    let service = Service::hubspot();
    let refused = |words: &str| {
        let ended = world.ran(&["validate"]);
        assert_eq!(ended.code, Some(2), "{}", ended.words());
        assert!(ended.words().contains(words), "{words}: {}", ended.words());
    };
    world.destination(
        "hubspott",
        HUBSPOT,
        &service,
        "oauth: { access_token: t }",
        "",
    );
    world.sync(UPSERT);
    refused("did you mean `segment/hubspot`?");
    world.destination(
        "hubspot",
        HUBSPOT,
        &service,
        "oauth: { access_tokn: t }",
        "",
    );
    refused("access_token");
    world.destination(
        "hubspot",
        HUBSPOT,
        &service,
        "oauth: { access_token: t }",
        "",
    );
    world.sync(&UPSERT.replace("upsertObject", "upsertObjekt"));
    refused("did you mean `upsertObject`?");
    world.sync(&UPSERT.replace("properties:", "propertys:"));
    refused("did you mean `properties`?");
    world.sync("object: upsertObject\nfields: { properties: { object: { plan: plan } } }\n");
    refused("does not map the field `object_details`");
    world.sync("object: upsertObject\nmapping: { propertys: { plan: { \"@path\": $.properties.plan } } }\n");
    refused("did you mean `properties`?");
    world.sync(&format!("mode: mirror\n{UPSERT}"));
    refused("mirror");
    world.destination("aws-kinesis", HUBSPOT, &service, "iamRoleArn: a", "");
    refused("does not run here");
}

#[test]
fn hubspot_rows_go_in_batches_and_a_bad_one_harms_only_itself() {
    let world = World::open("catalogue_hubspot", 250);
    world.sql(
        "UPDATE contacts SET email = NULL WHERE id = 7;
         UPDATE contacts SET email = 'nobody' WHERE id = 150",
    );
    let service = Service::hubspot();
    world.destination(
        "hubspot",
        HUBSPOT,
        &service,
        "oauth: { access_token: emulator }",
        "",
    );
    world.sync(UPSERT);
    let checked = world.ran(&["check", "crm", "--json"]);
    assert_eq!(checked.code, Some(0), "{}", checked.words());
    let plan = world.ran(&["plan", "push", "--json"]);
    assert!(
        plan.stdout
            .contains("segment/hubspot upsertObject (upsert)"),
        "{}",
        plan.words()
    );
    assert!(!plan.words().contains("access_token"));

    let report = world.run(0);
    assert_eq!(report["delivered"], 248, "{report:#}");
    assert_eq!(report["rejected"], 2, "{report:#}");
    assert_eq!(service.held().records.len(), 248);
    let sizes = batches(&service, |seen| items(seen, "inputs"));
    assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
    // Three batches; the one with the bad address is halved until it stands alone.
    assert!(sizes.len() <= 3 + 21, "{sizes:?}");
    let rejects = world.ran(&["rejects", "push", "--json"]).stdout;
    assert!(rejects.contains("id_field_value"), "{rejects}");
    assert!(rejects.contains("nobody"), "{rejects}");

    world.sql("UPDATE contacts SET plan = 'pro' WHERE id <= 5; UPDATE contacts SET email = 'c150@example.com' WHERE id = 150");
    let report = world.run(0);
    assert_eq!(report["delivered"], 6, "{report:#}");
    assert_eq!(
        service.held().records["c5@example.com"]["plan"],
        json!("pro")
    );
}

#[test]
fn a_stale_token_is_fetched_anew_once_and_a_withdrawn_one_stops_the_run() {
    let world = World::open("catalogue_oauth", 150);
    let service = Service::hubspot();
    let oauth = |secret: &str| {
        format!(
            "oauth: {{ access_token: stale, refresh_token: refresh, client_id: client, client_secret: {secret} }}"
        )
    };
    world.destination("hubspot", HUBSPOT, &service, &oauth("client-secret"), "");
    world.sync(UPSERT);
    let report = world.run(0);
    assert_eq!(report["delivered"], 150, "{report:#}");
    let fetched = |service: &Service| {
        let log = service.api().log();
        log.iter()
            .filter(|seen| seen.path() == "/oauth/v1/token")
            .count()
    };
    assert_eq!(fetched(&service), 1);

    world.sql("UPDATE contacts SET plan = 'pro'");
    world.destination("hubspot", HUBSPOT, &service, &oauth("withdrawn-secret"), "");
    let ended = world.ran(&["run", "push", "--json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.words());
    assert!(ended.stdout.contains("E0602"), "{}", ended.words());
    for secret in ["withdrawn-secret", "stale"] {
        assert!(!ended.words().contains(secret), "{}", ended.words());
    }
    assert_eq!(project::report(&ended)["delivered"], 0);
}

#[test]
fn rule_30_a_webhook_gets_exact_digits_through_a_segment_mapping() {
    let world = World::open("catalogue_webhook", 3);
    world.sql("INSERT INTO contacts VALUES (9007199254740993, 'big@example.com', 'Big', 'pro', 12345678901234567890.10)");
    let service = Service::webhook();
    world.destination("webhook", "https://hooks.example.com", &service, "", "");
    world.sync(
        "object: send\nmode: mirror\nguards: { removed: 100% }\nmapping:\n  \
         url: https://hooks.example.com/hook\n  method: POST\n  enable_batching: true\n  data:\n    \
         what: { \"@path\": $.event }\n    id: { \"@path\": $.__segment_id }\n    \
         row: { \"@path\": $.properties.id }\n    total: { \"@path\": $.properties.total }\n    \
         greeting: { \"@template\": \"Dear {{properties.first_name}}\" }\n",
    );
    let report = world.run(0);
    assert_eq!(report["delivered"], 4, "{report:#}");
    assert_eq!(
        service.held().records["9007199254740993"],
        json!({ "what": "new", "id": "9007199254740993", "row": "9007199254740993",
                "total": "12345678901234567890.10", "greeting": "Dear Big" })
    );
    assert_eq!(service.held().records["2"]["row"], json!(2));
    world.sql("DELETE FROM contacts WHERE id = 3; UPDATE contacts SET plan = 'pro', total = 9 WHERE id = 2");
    let report = world.run(0);
    assert_eq!(report["delivered"], 2, "{report:#}");
    assert_eq!(service.held().records["3"]["what"], "deleted");
    assert_eq!(service.held().records["2"]["what"], "updated");
}

#[test]
fn klaviyo_takes_a_preset_and_a_job_with_one_bad_profile_is_halved() {
    let world = World::open("catalogue_klaviyo", 1000);
    world.sql("UPDATE contacts SET email = 'nobody' WHERE id = 777");
    let service = Service::klaviyo();
    let origin = "https://a.klaviyo.com";
    world.destination(
        "klaviyo",
        origin,
        &service,
        "api_key: emulator",
        "batch: { max_records: 1000 }",
    );
    world.sync("object: upsertProfile\nmapping: preset\n");
    let report = world.run(0);
    // The package itself may see that the address is none; then the service never does.
    assert_eq!(report["delivered"], 999, "{report:#}");
    assert_eq!(report["rejected"], 1, "{report:#}");
    assert_eq!(
        service.held().records["c3@example.com"]["first_name"],
        "Name 3"
    );
    let jobs = service
        .api()
        .log()
        .iter()
        .filter(|seen| seen.method == "POST")
        .count();
    assert!(jobs <= 21, "{jobs} requests for one bad row in a thousand");
    let words = [
        "connectors",
        "choices",
        "crm",
        "list_id",
        "--object",
        "upsertProfile",
    ];
    let choices = world.ran(&words);
    assert!(choices.stdout.contains("Newsletter"), "{}", choices.words());
}

#[test]
fn braze_tells_single_faults_by_their_index() {
    let world = World::open("catalogue_braze", 160);
    world.sql(
        "UPDATE contacts SET plan = 'M'; UPDATE contacts SET plan = 'unknown' WHERE id IN (80, 81)",
    );
    let service = Service::braze();
    let origin = "https://rest.iad-01.braze.com";
    let settings = format!("api_key: emulator\napp_id: app\nendpoint: {origin}");
    world.destination("braze", origin, &service, &settings, "");
    world.sync(
        "object: updateUserProfile2\nmode: update\nfields: { external_id: email, first_name: first_name, gender: plan }\n",
    );
    let report = world.run(0);
    assert_eq!(report["delivered"], 158, "{report:#}");
    assert_eq!(report["rejected"], 2, "{report:#}");
    let mut sizes = batches(&service, |seen| items(seen, "attributes"));
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 75, 75]);
}

#[test]
fn slack_gets_one_message_a_row() {
    let world = World::open("catalogue_slack", 5);
    let service = Service::slack();
    world.destination("slack", "https://hooks.slack.com", &service, "", "");
    let fields = |path: &str| {
        format!(
            "mode: insert\nfields:\n  url: {{ literal: \"https://hooks.slack.com/services/T/B/{path}\" }}\n  \
             text: \"{{{{ first_name }}}} signed up\"\n"
        )
    };
    world.sync(&fields("wrong"));
    let report = world.run(1);
    assert_eq!(report["rejected"], 5, "{report:#}");
    world.sync(&fields("emulator"));
    let report = world.run(0);
    assert_eq!(report["delivered"], 5, "{report:#}");
    let held = service.held();
    let mut texts: Vec<&str> = held
        .records
        .values()
        .filter_map(|m| m["text"].as_str())
        .collect();
    texts.sort_unstable();
    assert_eq!(texts[0], "Name 1 signed up");
    assert!(
        held.records
            .values()
            .all(|message| message.get("username").is_none())
    );
}

#[test]
fn customer_io_names_the_faulty_ones_in_an_answer_207() {
    let world = World::open("catalogue_customerio", 40);
    world.sql("UPDATE contacts SET email = 'nobody' WHERE id = 13");
    let service = Service::customerio();
    let origin = "https://track.customer.io";
    let settings = "siteId: site\napiKey: emulator\naccountRegion: \"US 🇺🇸\"";
    world.destination("customerio", origin, &service, settings, "");
    world.sync("object: createUpdatePerson\nfields:\n  id: id\n  email: email\n  custom_attributes: { object: { plan: plan } }\n");
    let checked = world.ran(&["check", "crm", "--json"]);
    assert_eq!(checked.code, Some(0), "{}", checked.words());
    let report = world.run(0);
    assert_eq!(report["delivered"], 39, "{report:#}");
    assert_eq!(report["rejected"], 1, "{report:#}");
    let held = service.held();
    assert!(!held.records.contains_key("13"));
    assert_eq!(held.records["12"]["plan"], "free");
}

#[test]
fn an_answer_that_asks_to_wait_is_waited_for_and_one_that_is_lost_is_sent_again() {
    let world = World::open("catalogue_waits", 120);
    let service = Service::hubspot();
    let upserts = |seen: &Seen| seen.path().ends_with("/upsert");
    service.api().script(
        Script::when(
            upserts,
            Act::Answer(Answer::status(429).header("retry-after", "1")),
        )
        .times(1),
    );
    service
        .api()
        .script(Script::when(upserts, Act::TakeAndCut).times(1));
    world.destination(
        "hubspot",
        HUBSPOT,
        &service,
        "oauth: { access_token: emulator }",
        "concurrency: 1",
    );
    world.sync(UPSERT);
    let report = world.run(0);
    assert_eq!(report["delivered"], 120, "{report:#}");
    assert_eq!(service.held().records.len(), 120);
}

#[test]
fn no_address_is_reached_that_the_policy_refuses() {
    let world = World::open("catalogue_addresses", 3);
    let service = Service::hubspot();
    world.destination(
        "hubspot",
        HUBSPOT,
        &service,
        "oauth: { access_token: emulator }",
        "",
    );
    let path = world.project.dir().join("destinations/crm.yml");
    let text = std::fs::read_to_string(&path).expect("the file");
    world.project.file(
        "destinations/crm.yml",
        &text.replace("allow_addresses: [127.0.0.1/32]", ""),
    );
    world.sync(UPSERT);
    let ended = world.ran(&["run", "push", "--json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.words());
    assert!(ended.stdout.contains("E0605"), "{}", ended.words());
    assert_eq!(service.api().requests(), 0);
}

/// The process that a process started.
fn child_of(parent: u32) -> u32 {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).expect("a running process");
    let children = tasks.flatten().find_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    });
    children.expect("an actions host")
}

/// What a signal to the host in the middle of a batch comes to.
fn struck(name: &str, signal: &str, more: &str) {
    let world = World::open(name, 300);
    let service = Service::hubspot();
    let upserts = |seen: &Seen| seen.path().ends_with("/upsert");
    service
        .api()
        .script(Script::when(upserts, Act::Hold).times(1));
    let settings = "oauth: { access_token: hunter2-emulator }";
    service.held().tokens.push("hunter2-emulator".to_owned());
    world.destination(
        "hubspot",
        HUBSPOT,
        &service,
        settings,
        &format!("concurrency: 2\n{more}"),
    );
    world.sync(UPSERT);
    let child = world
        .command(&["run", "push", "--json"])
        .spawn()
        .expect("the program");
    service.api().wait(|log| log.iter().any(upserts));
    let host = child_of(child.id());
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{host}/{file}")).expect("a running host");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains("hunter2"), "{file}: {text}");
    }
    let done = Command::new("kill")
        .args(["-s", signal, &host.to_string()])
        .status();
    assert!(done.expect("run kill").success());
    service
        .api()
        .wait(|log| log.iter().filter(|seen| upserts(seen)).count() > 1);
    service.api().release();
    let ended = command::wait(child);
    assert_eq!(ended.code, Some(0), "{}", ended.words());
    let report = project::report(&ended);
    assert_eq!(report["delivered"], 300, "{report:#}");
    assert_eq!(service.held().records.len(), 300, "nothing is lost");
    assert!(
        !Path::new(&format!("/proc/{host}")).exists(),
        "the old host is gone"
    );
    let report = world.run(0);
    assert_eq!(report["delivered"], 0, "nothing is left: {report:#}");
}

#[test]
fn a_host_that_is_killed_in_the_middle_of_a_batch_loses_nothing() {
    struck("catalogue_killed", "KILL", "");
}

#[test]
fn a_host_that_hangs_in_the_middle_of_a_batch_loses_nothing() {
    struck("catalogue_hangs", "STOP", "timeout: 1s");
}
